"""`kazoo-rec recordings`: what was recorded, and what became of it."""

import json
import time

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from kazoo_rec.cli.options import config_file
from kazoo_rec.config import load
from kazoo_rec.store import Store, epoch_ms
from kazoo_rec.store.urls import masked

#: Width of a table that goes to a pipe or a file, where nothing has to be wrapped.
PIPE_COLUMNS = 240

STATES = ("armed", "recording", "paused", "stopped", "recorded", "discarded", "failed", "deleted")


@click.group()
def recordings():
    """List, show and retry recordings."""


@recordings.command("list")
@config_file
@click.option("--account", help="Only this account's.")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--partial", is_flag=True, help="Only those of which something is missing.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(config_file, account, state, partial, limit, as_json):
    """The newest recordings, and where they are.

    \b
    Example:
      kazoo-rec recordings list --config kazoo_rec.yaml --state failed
    """
    store = Store(load(config_file).database)
    rows = store.recordings.list(account_id=account, state=state, limit=limit, partial=partial)
    for row in rows:
        row["deliveries"] = store.deliveries.of(row["id"])
    store.close()
    if as_json:
        for row in rows:
            click.echo(json.dumps(_told(row)))
        return
    table = Table(Column("recording", no_wrap=True), Column("begun (UTC)", no_wrap=True), "account", "rule", "leg",
                  "length", "state", "delivery")
    for row in rows:
        table.add_row(*(Text(cell) for cell in (
            row["id"], _time(row["started_ms"] or row["created_ms"]), row["account_id"], row["rule"], row["leg"],
            _length(row["duration_ms"]), _state(row), ", ".join(_delivery(one) for one in row["deliveries"]) or "–")))
    console = Console()
    (console if console.is_terminal else Console(width=PIPE_COLUMNS)).print(table)


@recordings.command("show")
@config_file
@click.argument("recording_id")
def show(config_file, recording_id):
    """Everything that is known of one recording, as JSON: why it was made, what happened, where it went.

    \b
    Example:
      kazoo-rec recordings show 202611-0123456789abcdef0123456789abcdef --config kazoo_rec.yaml
    """
    store = Store(load(config_file).database)
    row = store.recordings.get(recording_id)
    if row is not None:
        row["deliveries"] = store.deliveries.of(recording_id)
    store.close()
    if row is None:
        raise click.ClickException(f"there is no recording {recording_id!r}")
    click.echo(json.dumps(_told(row), indent=2))


@recordings.command("retry")
@config_file
@click.argument("recording_id")
def retry(config_file, recording_id):
    """Send a recording again whose delivery failed or waits, from now on for as long as a new one.

    \b
    Example:
      kazoo-rec recordings retry 202611-0123456789abcdef0123456789abcdef --config kazoo_rec.yaml
    """
    config = load(config_file)
    store = Store(config.database)
    now_ms = epoch_ms()
    due = store.deliveries.retry(recording_id, now_ms, now_ms + config.delivery.retry_for_s * 1000).get()
    store.close()
    if not due:
        raise click.ClickException(f"recording {recording_id!r} has nothing that is undelivered")
    click.echo(f"{due} delivery due now" if due == 1 else f"{due} deliveries due now")


def _told(row):
    """Without what is nobody's to see."""
    return masked({name: value for name, value in row.items() if name != "data_key"})


def _time(at_ms):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_ms / 1000))


def _length(ms):
    return "–" if ms is None else f"{ms / 1000:.2f} s"


def _state(row):
    return f"{row['state']}: {row['state_reason']}" if row["state_reason"] else row["state"]


def _delivery(one):
    kind = "" if one["kind"] == "upload" else f"{one['kind']} "
    if one["state"] == "delivered":
        return f"{kind}delivered {one['status']}"
    told = f"{kind}{one['state']} ({one['attempts']} attempts)"
    return f"{told}: {one['last_error']}" if one["last_error"] else told
