"""`kazoo-rec decide`: what would be recorded of a call, and why, from nothing but its documents."""

import sys
from collections.abc import Mapping
from functools import partial
from typing import BinaryIO

import click
import orjson
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table

from kazoo_rec.documents.files import parse
from kazoo_rec.documents.schema import check, quoted
from kazoo_rec.errors import DocumentError
from kazoo_rec.policy import settings
from kazoo_rec.policy.decision import Call, Decision
from kazoo_rec.policy.decision import decide as decide_call
from kazoo_rec.store.urls import masked

LOOKED_AT = ("call_recording", "record_call", "allow_override")


@click.command()
@click.option("--json", "as_lines", is_flag=True, help="Read and write JSON lines, one call each (no FILE: stdin).")
@click.argument("files", metavar="[FILE]...", type=click.File("rb"), nargs=-1)
def decide(as_lines: bool, files: tuple[BinaryIO, ...]):
    """Say what would be recorded of a call, and why.

    FILE is JSON or YAML: the documents of the two parties, and where the call comes from and goes to. Of a
    document only call_recording (record_call of Kazoo 4) and an account's allow_override are looked at. A destination
    of null is not known yet; an absent callee_account is the caller's own; override, if it is there, is what the
    channel variable kazoo_rec of both legs says: no, force or null. Exit status: 0, or 2 where an input was faulty.

    \b
    Example, call.yaml:
      source: onnet
      destination: offnet
      account: {call_recording: {account: {inbound: {offnet: {enabled: true}}}}}
      caller:
        user: {call_recording: {outbound: {any: {enabled: true, url: "https://files.example/calls"}}}}
        device: null
      callee: null

    \b
      kazoo-rec decide call.yaml
      kazoo-rec decide --json calls.jsonl
    """
    if as_lines:
        lines = (line for file in files or [sys.stdin.buffer] for line in file if line.strip())
        valid = map(_answer_line, lines)
    elif files:
        valid = map(_show_file, files)
    else:
        raise click.UsageError("Name a FILE, or give --json.")
    faulty = sum(not one for one in valid)
    if faulty:
        sys.exit(2)


def _answer_line(line: bytes) -> bool:
    """Writes the answer to one line; whether it was a call to decide on."""
    answer = _answer(line, orjson.loads)
    click.echo(orjson.dumps(answer))
    return "error" not in answer


def _show_file(file: BinaryIO) -> bool:
    """Prints the answer to one file for people; whether it was a call to decide on."""
    console = Console(markup=False, highlight=False)
    answer = _answer(file.read(), partial(parse, is_json=file.name.endswith(".json")))
    console.print(file.name, style="bold", soft_wrap=True)
    if "error" in answer:
        error = answer["error"]
        console.print(f"  {error['path'] or 'the file'} {error['message']}", style="red", soft_wrap=True)
        return False
    for recording in answer["recordings"]:
        console.print(f"  {recording['reason']}", style="green", soft_wrap=True)
        table = Table("setting", Column("value", overflow="fold"), "from", box=None)
        for key, value in recording["settings"].items():
            table.add_row(key, orjson.dumps(value).decode(), recording["from"][key])
        console.print(Padding(table, (0, 3)))
    for refusal in answer["not_recorded"]:
        console.print(f"  {refusal['reason']}", style="dim", soft_wrap=True)
    return True


def _answer(text: bytes, load) -> dict:
    try:
        entry = load(text)
    except ValueError as broken:
        return {"error": {"path": "", "message": f"cannot be read: {' '.join(str(broken).split())}"}}
    try:
        decision = decide_call(_call(entry))
    except DocumentError as error:
        return {"error": error.faults[0]}
    return _as_json(decision)


def _as_json(decision: Decision) -> dict:
    return {
        "recordings": [
            {
                "rule": plan.rule,
                "leg": plan.leg,
                "settings": masked(plan.settings),
                "reason": plan.reason,
                "from": dict(plan.origin),
            }
            for plan in decision.plans
        ],
        "not_recorded": [{"rule": refusal.rule, "reason": refusal.reason} for refusal in decision.refusals],
    }


def _call(entry: object) -> Call:
    """Raises DocumentError with the path and message of what is wrong first."""
    if not isinstance(entry, dict):
        raise _fault("", f"must be an object, not {quoted(entry)}")
    for key in ("account", "caller", "callee", "source", "destination"):
        if key not in entry:
            raise _fault(key, "is missing")
    for key, allowed in (("source", settings.NETWORKS), ("destination", (*settings.NETWORKS, None)),
                         ("override", (*settings.OVERRIDES, None))):
        if entry.get(key) not in allowed:
            names = ", ".join(name or "null" for name in allowed)
            raise _fault(key, f"must be one of {names}, not {quoted(entry[key])}")
    account = _document("account", entry["account"], "account")
    theirs = entry.get("callee_account")
    callee_account = None if theirs is None else _document("account", theirs, "callee_account")
    return Call(
        account=settings.account_policy(account),
        callee_account=None if theirs is None else settings.account_policy(callee_account),
        caller=_endpoint(account, entry["caller"], "caller"),
        callee=_endpoint(account if theirs is None else callee_account, entry["callee"], "callee"),
        source=entry["source"],
        destination=entry["destination"],
        override=entry.get("override"),
        callee_override=entry.get("override"),
    )


def _endpoint(account: Mapping, party: object, path: str) -> settings.Grid | None:
    if party is None:
        return None
    if not isinstance(party, dict):
        raise _fault(path, f"must be an object of user and device, or null, not {quoted(party)}")
    documents = {kind: party.get(kind) for kind in ("user", "device")}
    checked = {
        kind: None if document is None else _document(kind, document, f"{path}.{kind}")
        for kind, document in documents.items()
    }
    return settings.endpoint_policy(account, checked["user"], checked["device"])


def _document(kind: str, document: object, path: str) -> dict:
    if not isinstance(document, dict):
        raise _fault(path, f"must be an object, not {quoted(document)}")
    document, faults = check(kind, {key: document[key] for key in LOOKED_AT if key in document})
    for fault in faults:
        raise _fault(".".join(filter(None, (path, fault["path"]))), fault["message"])
    return document


def _fault(path: str, message: str) -> DocumentError:
    return DocumentError("this is not a call to decide on", [{"path": path, "message": message}])
