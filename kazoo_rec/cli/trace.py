"""`kazoo-rec trace`: what a live switch says, in a file."""

import json
import signal
import sys
from pathlib import Path

import click
import gevent
from gevent.event import Event

from kazoo_rec.calls.identity import IdentityRules
from kazoo_rec.cli.replay import shown
from kazoo_rec.config import Switch, load
from kazoo_rec.documents import files
from kazoo_rec.errors import TraceError
from kazoo_rec.switch.connection import Connection
from kazoo_rec.traces.file import Writer
from kazoo_rec.traces.mask import Mask
from kazoo_rec.traces.secrets import without_secrets
from kazoo_rec.traces.taking import Taking

#: Between two words on how far it is.
PROGRESS_S = 1.0


@click.command()
@click.option("--seconds", default=60.0, show_default=True, type=click.FloatRange(0.1, 7 * 86400), help="How long.")
@click.option("--to", "to", required=True, type=click.Path(path_type=Path), help="The file; it must not be there yet.")
@click.option("--config", "config_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              envvar="KAZOO_REC_CONFIG", help="The configuration, for its switch, or $KAZOO_REC_CONFIG.")
@click.option("--switch", "name", help="Which switch of the configuration; without it, the first.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The event socket, without a configuration.")
@click.option("--port", default=8021, show_default=True, type=click.IntRange(1, 65535))
@click.option("--password", envvar="ESL_PASSWORD", help="Its password, or $ESL_PASSWORD, which no `ps` shows.")
@click.option("--mask", is_flag=True, help="Replace names, SIP users and telephone numbers.")
@click.option("--documents", type=click.Path(file_okay=False, path_type=Path),
              help="With --mask: mask these documents too, into the directory FILE.documents.")
def trace(seconds, to, config_file, name, host, port, password, mask, documents):
    """Write what a live switch says to a file that `kazoo-rec replay` reads.

    That is who is registered and which legs are up, then every event that the engine hears: of channels, recordings and
    registrations. The switch is commanded nothing. The file is new, its owner's alone (0600), and whole whenever it
    ends: after --seconds, by Ctrl-C, or with the switch. Passwords, keys, tokens and typed digits are left out always,
    by the names of their variables and in dial strings, URLs and SDPs; a secret in a variable with an innocent name is
    not found, so look before you pass a trace on.

    With --mask a name, a SIP user or a number is the same made-up one throughout the trace, and another one in the
    next: the key is drawn anew and thrown away. Only headers that a replay needs are kept. Realms, addresses, contexts,
    gateways, account ids, uuids and times stay true. Your own documents do not match such users and numbers: give
    --documents, and FILE.documents has them masked alike, without names and URLs, to be passed on with the trace.

    \b
    Example:
      ESL_PASSWORD=… kazoo-rec trace --seconds 600 --to monday.jsonl
      ESL_PASSWORD=… kazoo-rec trace --to masked.jsonl --mask --documents /etc/kazoo_rec/documents
      kazoo-rec replay masked.jsonl --documents masked.jsonl.documents
    """
    switch, rules = _switch(config_file, name, host, port, password)
    if documents and not mask:
        raise click.UsageError("--documents goes with --mask.")
    rows = files.read(documents) if documents else []
    masking = Mask(rows, rules) if mask else None
    taking = Taking(Connection(switch.host, switch.port, switch.password),
                    masking.headers if masking else without_secrets)
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stopped.set)
    ended_by = None
    taking.begin()
    try:
        writer = Writer(to)
        if masking and rows:
            _write_documents(to.with_name(f"{to.name}.documents"), map(masking.document, rows))
        progress = gevent.spawn(_progress, taking, seconds) if sys.stderr.isatty() else None
        try:
            ended_by = taking.take(writer, seconds, stopped)
        finally:
            writer.close()
            if progress:
                progress.kill()
                click.echo(err=True)
    finally:
        taking.stop()
    click.echo(f"{shown(to)}: {taking.events} events, {taking.legs} legs begun")
    if taking.lost:
        click.echo(f"The switch lost {taking.lost} events of one of its listeners: the trace may have a gap.", err=True)
    if ended_by:
        click.echo("The trace ends early, and is whole so far.", err=True)
        raise ended_by


def _switch(config_file, name, host, port, password):
    if config_file and not password:
        config = load(config_file)
        found = next((one for one in config.switches if name in (None, one.name)), None)
        if found is None:
            raise click.UsageError(f"The configuration has no switch {name!r}.")
        return found, config.identity
    if not password:
        raise click.UsageError("Name the switch: --config, or --password (or $ESL_PASSWORD) with --host and --port.")
    return Switch("", host, port, password), load(config_file).identity if config_file else IdentityRules()


def _write_documents(directory, rows):
    try:
        directory.mkdir(mode=0o700)
    except OSError as refused:
        raise TraceError("the masked documents cannot be written",
                         f"{str(directory)!r}: {refused.strerror}") from refused
    for row in rows:
        file = directory / files.place_of(row["kind"], row["account_id"], row["id"])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(row["body"], indent=2) + "\n")


def _progress(taking, seconds):
    passed = 0
    while True:
        click.echo(f"\r{passed} of {seconds:g} s: {taking.events} events, {taking.legs} legs begun", err=True, nl=False)
        gevent.sleep(PROGRESS_S)
        passed += 1
