"""`kazoo-rec callflow`: callflow documents, before a call meets them."""

import sys
from pathlib import Path

import click

from kazoo_rec.callflow.actions import ACTIONS
from kazoo_rec.documents.clashes import clashes
from kazoo_rec.documents.files import parse
from kazoo_rec.documents.schema import check as check_document


@click.group()
def callflow():
    """Check callflows, and try them."""


@callflow.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True,
                type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(files: tuple[Path, ...]):
    """Print every fault of callflows, with its path in the document.

    The files are the callflows of one account, JSON or YAML: no two may have one number, or one pattern. Actions that
    are left to the dialplan are named, and no fault. Exit status: 0, or 2 where there was a fault.
    """
    rows, faulty = [], False
    for file in files:
        body, faults = read(file)
        for path, message in faults:
            click.echo(f"{file}: {path + ': ' if path else ''}{message}")
        faulty |= bool(faults)
        if not faults:
            rows.append({"kind": "callflow", "account_id": "", "id": str(file), "body": body, "source": str(file)})
    account = {"kind": "account", "account_id": "", "id": "", "body": {}, "source": ""}
    for clash in clashes([account, *rows]):
        faulty = True
        row, rival = clash["row"], clash["rival"]
        click.echo(f"{row['source']}: {clash['field']}: {clash['message']} is {rival['source']}'s already")
    for row in rows:
        others = sorted({one["module"] for one in actions(row["body"]["flow"])} - ACTIONS.keys())
        click.echo(f"{row['source']}: {_summary(row['body'])}"
                   + (f"; left to the dialplan: {', '.join(map(ascii, others))}" if others else ""))
    if faulty:
        sys.exit(2)


def read(file):
    """A document, and its faults as (path, message)."""
    try:
        body = parse(file.read_bytes(), file.suffix == ".json")
    except ValueError as broken:
        return None, [("", f"cannot be read: {' '.join(str(broken).split())}")]
    except OSError as unreadable:
        return None, [("", f"cannot be read: {unreadable.strerror}")]
    body, faults = check_document("callflow", body)
    return body, [(fault["path"], fault["message"]) for fault in faults]


def actions(action):
    """It and all below it; a document that was checked is not too deep for this."""
    yield action
    for child in (action.get("children") or {}).values():
        yield from actions(child)


def _summary(body):
    numbers, patterns = len(body.get("numbers") or ()), len(body.get("patterns") or ())
    return f"{numbers} number(s), {patterns} pattern(s), {sum(1 for _ in actions(body['flow']))} action(s)"
