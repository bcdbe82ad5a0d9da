"""`kazoo-rec replay`: what the engine makes of a trace, leg by leg, without a switch."""

import json
import logging
from pathlib import Path

import click
import structlog

from kazoo_rec.calls.identity import IdentityRules
from kazoo_rec.config import load
from kazoo_rec.documents import files
from kazoo_rec.documents.directory import Directory
from kazoo_rec.store.urls import masked
from kazoo_rec.traces.file import Trace
from kazoo_rec.traces.replay import Replay

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("traces", metavar="FILE...", nargs=-1, required=True, type=_file)
@click.option("--documents", type=click.Path(file_okay=False, path_type=Path),
              help="Directory of documents; without it, the configuration's.")
@click.option("--config", "config_file", type=_file, envvar="KAZOO_REC_CONFIG",
              help="The configuration, for its `identity` (and documents), or $KAZOO_REC_CONFIG.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a leg.")
def replay(traces, documents, config_file, as_json):
    """Say of each leg in a trace whose it is, how that is known, and what is recorded of it and why.

    FILE is what `kazoo-rec trace` writes. It goes through the parts that the engine itself runs, with these documents,
    so that documents, identity settings and new versions can be tried on yesterday's traffic. Nothing is commanded:
    that the switch starts and stops as told is taken for granted. What is armed before the answer is "by arming"; an
    engine that is late starts it by command. Legs that were up before the trace began are not known to it.

    \b
    Example:
      kazoo-rec replay monday.jsonl --documents /etc/kazoo_rec/documents
    """
    # The engine's own lines would repeat, less readably, what is told here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    config = load(config_file) if config_file else None
    place = documents or (config and config.documents)
    if not place:
        raise click.UsageError("Name the documents with --documents, or a --config that does.")
    rows = [{**row, "seq": number, "deleted": False} for number, row in enumerate(files.read(place), 1)]
    directory = Directory().apply(rows)
    for path in traces:
        trace = Trace(path)
        played = Replay(directory, config.identity if config else IdentityRules()).feed(trace)
        for told in played.legs:
            if as_json:
                click.echo(json.dumps({"trace": str(path), **_as_json(told)}))
            else:
                click.echo("\n".join(_lines(told)))
        for remark in _remarks(played, trace):
            click.echo(f"{shown(str(path))}: {remark}", err=as_json)


def shown(text: object, limit: int = 120) -> str:
    """Foreign text for a terminal: what is not printable is escaped, quotes tell where it begins and ends."""
    text = str(text)
    text = text if len(text) <= limit else text[:limit] + "…"
    return text if text.isprintable() else ascii(text)[1:-1]


def _remarks(played, trace):
    if played.up_before:
        yield f"{played.up_before} legs were up before it began, and are not placed"
    for fault in played.faults:
        yield f"a reply was left out: {shown(fault)}"
    if trace.cut_short:
        yield "its last line is cut short and was left out"
    recorded = sum(row["by"] is not None for told in played.legs for row in told.rows)
    yield f"{played.events} events, {len(played.legs)} legs, {recorded} recordings"


def _as_json(told) -> dict:
    leg, whose = told.leg, told.leg.identity
    return {
        "leg": told.number, "at_s": told.at_s, "call_id": leg.uuid, "role": told.role,
        "interaction_id": leg.call.interaction_id, "account_id": whose.account_id, "user_id": whose.user_id,
        "device_id": whose.device_id, "network": whose.network, "known_by": whose.how,
        **leg.facts, "source": told.source, "destination": told.destination,
        "recordings": [{
            "rule": row["rule"], "account_id": row["account_id"], "source": row["source"],
            "destination": row["destination"], "outcome": row["outcome"], "by": row["by"], "reason": row["reason"],
            "truncated_by_limit": bool(row.get("truncated_by_limit")),
            "settings": masked(row["settings"]), "from": row["settings_from"]} for row in told.rows],
        "not_recorded": [{"rule": rule, "reason": reason} for rule, reason in told.refusals.items()],
        "on_switch": told.on_switch,
    }


def _lines(told):
    leg, whose = told.leg, told.leg.identity
    yield f"leg {told.number}, {told.role}, after {told.at_s:.3f} s: {shown(leg.uuid)}"
    facts = leg.facts
    yield (f"  from {shown(facts['from_uri']) or '–'} (\"{shown(facts['caller_id_name'])}\") "
           f"to {shown(facts['to_uri']) or '–'}")
    ids = [f"{kind} {shown(one)}" for kind, one in (
        ("account", whose.account_id), ("user", whose.user_id), ("device", whose.device_id)) if one]
    known = "partner's account" if whose.how == "partner" else f"known by {whose.how}"
    yield f"  {whose.network}, {', '.join(ids) if ids else 'nobody’s that the documents know'} ({known})"
    if told.role == "plumbing":
        return
    if told.source is None:
        yield "  policy was not asked: no account is known for it"
        return
    yield f"  {told.source} to {told.destination or 'a destination that was never known'}"
    for row in told.rows:
        by = f", started by {row['by']}" if row["by"] else ""
        limit = ", ended by its limit" if row.get("truncated_by_limit") else ""
        theirs = f", for account {row['account_id']}" if row["account_id"] != whose.account_id else ""
        yield f"  + {row['rule']}: {shown(row['outcome'])}{by}{limit}{theirs}"
        yield f"      {shown(row['reason'], 1000)}"
        settings = masked(row["settings"])
        said = [f"{key} {json.dumps(settings[key])} ({where})" for key, where in row["settings_from"].items()
                if where != "default"]
        yield f"      {shown(', '.join(said), 1000)}; the rest is default"
    for rule, reason in told.refusals.items():
        yield f"  - {rule}: {shown(reason, 1000)}"
    for path in told.on_switch:
        yield f"  the switch recorded it to {shown(path)}"
