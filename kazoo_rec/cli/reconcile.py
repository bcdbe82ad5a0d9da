"""`kazoo-rec reconcile`: the calls of a day that should have been recorded, beside what there is of them."""

import json
import logging
import sys
import time
from collections import Counter
from itertools import chain
from pathlib import Path

import click
import structlog

from kazoo_rec.cli.options import config_file
from kazoo_rec.cli.replay import shown
from kazoo_rec.config import load
from kazoo_rec.documents.directory import Directory
from kazoo_rec.store import Store
from kazoo_rec.store.recordings import IDS_AT_ONCE
from kazoo_rec.traces.cdr import Details
from kazoo_rec.traces.day import Day, wanted

#: What there may be of a recording that had to be, the worst first.
NOTHING, FAILED, PARTIAL = "nothing", "failed", "partial"
WAITS, RECORDED, DISCARDED, DELETED = "waits", "recorded", "discarded", "deleted"
NOT_WHOLE = (NOTHING, FAILED, PARTIAL)

_OUTCOMES = {"recorded": RECORDED, "failed": FAILED, "discarded": DISCARDED, "deleted": DELETED}


@click.command()
@config_file
@click.option("--cdr", "files", required=True, multiple=True, type=click.Path(exists=True, path_type=Path),
              help="A file of call detail records, or a directory of them (mod_json_cdr: one a leg); several times.")
@click.option("--columns", help="Of CSV from a template of one's own: its variables in order, with commas between.")
@click.option("--all", "everything", is_flag=True, help="Those that are whole as well.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def reconcile(config_file, files, columns, everything, as_json):
    """Find calls that should have been recorded and were not.

    FILE is what FreeSWITCH's mod_json_cdr or mod_cdr_csv wrote, of both legs. Whose each leg is and what was to be
    recorded of it is decided as the engine decides it, by the documents of now; beside it stands what the database has.
    CSV has to be of the template in freeswitch-conf, to begin with a line of names, or --columns says what is in it.
    Legs that had not answered are left out, and times are UTC. Exit status: 0, or 1 where something is missing,
    failed or partial, or could not be read.

    \b
    Example:
      kazoo-rec reconcile --config kazoo_rec.yaml --cdr /var/log/freeswitch/json_cdr/2026-11-21
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    config = load(config_file)
    store = Store(config.database)
    try:
        documents = Directory().apply(store.documents.since(0))
        sources = [Details(file, config.identity, columns and columns.split(","))
                   for place in files for file in _files(place)]
        day, counts = Day(documents, config.identity), Counter()
        for ended in day.play(chain.from_iterable(sources)):
            for told, row, outcome, found in _compared(store, ended):
                counts[outcome] += 1
                if everything or outcome in NOT_WHOLE:
                    say = _as_json if as_json else _line
                    click.echo(say(told, row, outcome, found))
    finally:
        store.close()
    unreadable = sum(source.unreadable for source in sources)
    click.echo(_summary(day, counts, unreadable), err=True)
    if unreadable or any(counts[outcome] for outcome in NOT_WHOLE):
        sys.exit(1)


def _files(place):
    return sorted(file for file in place.iterdir() if file.is_file()) if place.is_dir() else [place]


def _compared(store, ended):
    """(leg, the recording that had to be, what there is, the rows that tell it)"""
    found = {}
    uuids = [told.leg.uuid for told in ended]
    for first in range(0, len(uuids), IDS_AT_ONCE):
        for row in store.recordings.of_legs(uuids[first:first + IDS_AT_ONCE]):
            found.setdefault((row["call_id"], row["account_id"]), []).append(row)
    for told in ended:
        for row in wanted(told):
            beside = found.get((told.leg.uuid, row["account_id"]), ())
            # Documents may have changed since: what another rule of the account recorded is recorded.
            rows = [one for one in beside if one["rule"] == row["rule"]] or list(beside)
            yield told, row, _outcome(rows), rows


def _outcome(rows):
    outcomes = {PARTIAL if row["state"] == "recorded" and row["partial"] else _OUTCOMES.get(row["state"], WAITS)
                for row in rows}
    if not outcomes:
        return NOTHING
    if FAILED in outcomes and len(outcomes - {DISCARDED}) > 1:
        return PARTIAL  # a piece of it is there
    return next(one for one in (FAILED, PARTIAL, WAITS, RECORDED, DELETED, DISCARDED) if one in outcomes)


def _line(told, row, outcome, found):
    leg = told.leg
    reasons = "; ".join(dict.fromkeys(one["state_reason"] for one in found if one["state_reason"]))
    heard_ms = sum(one["duration_ms"] or 0 for one in found)
    there = f"{outcome}: {shown(reasons)}" if reasons else outcome
    there += f", {heard_ms / 1000:.1f} s of it" if outcome == PARTIAL else ""
    return "  ".join((
        _time(leg.answered_ms), f"call {shown(leg.call.interaction_id if leg.call else leg.uuid)}",
        f"leg {row['leg']} {shown(leg.uuid)}", row["account_id"], row["rule"],
        f"from {shown(leg.facts['from_uri']) or '–'} to {shown(leg.facts['to_uri']) or '–'}", there))


def _as_json(told, row, outcome, found):
    leg = told.leg
    return json.dumps({
        "call_id": leg.uuid, "interaction_id": row["interaction_id"], "leg": row["leg"],
        "account_id": row["account_id"], "rule": row["rule"], "reason": row["reason"],
        "answered_ms": leg.answered_ms, "from": leg.facts["from_uri"], "to": leg.facts["to_uri"],
        "outcome": outcome, "recordings": [{name: one[name] for name in (
            "id", "rule", "state", "state_reason", "partial", "duration_ms", "expected_ms")} for one in found]})


def _summary(day, counts, unreadable):
    said = [f"{day.legs} legs", f"{counts.total()} recordings that had to be",
            *(f"{counts[one]} {one}" for one in (RECORDED, PARTIAL, FAILED, NOTHING, WAITS, DISCARDED, DELETED)
              if counts[one])]
    if unreadable:
        said.append(f"{unreadable} lines or objects that are no call detail record")
    if day.outside:
        said.append(f"{day.outside} legs whose other leg is in no file: log both legs, and give the files around them")
    return ", ".join(said)


def _time(at_ms):
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at_ms / 1000))
