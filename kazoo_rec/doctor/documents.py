"""The documents: faults of the directory, and whether the store has what is in it."""

from collections.abc import Iterator
from pathlib import Path

from kazoo_rec.doctor.finding import Finding, ok, several, warning, wrong
from kazoo_rec.documents import files
from kazoo_rec.errors import DocumentError

NAME = "documents"

#: Faults that are shown one by one.
SHOWN = 20


def read(directory: Path) -> tuple[list[dict] | None, list[Finding]]:
    """The rows of a directory of documents, None where it has a fault, and the faults. Blocks."""
    try:
        rows = files.read(directory)
    except DocumentError as faulty:
        shown, more = faulty.faults[:SHOWN], len(faulty.faults) - SHOWN
        found = [wrong(NAME, f"{fault['path']}: {fault['message']}", "until it is right the documents of before stay "
                       f"in force; `kazoo-rec docs check {directory}` shows all faults") for fault in shown]
        return None, [*found, wrong(NAME, f"and {more} faults more", "as above")] if more > 0 else found
    return rows, [ok(NAME, f"{_counted(rows)} in {directory}, no fault")]


def stored(in_store: list[dict], rows: list[dict] | None) -> list[Finding]:
    """What the engine goes by (rows of `store.documents.since(0)`), against those of the directory, if there is one."""
    alive = [row for row in in_store if not row["deleted"]]
    if not alive:
        return [warning(NAME, "the store has none: nobody is recorded",
                        "name a directory as `documents` in the configuration, or `kazoo-rec docs import`")]
    if rows is not None:
        theirs = {_key(row): row["body"] for row in alive if row["source"] is not None}
        ours = {_key(row): row["body"] for row in rows}
        differ = sum(theirs.get(key) != ours.get(key) for key in theirs.keys() | ours.keys())
        if differ:
            return [warning(NAME, f"the engine has {several(differ, 'document')} otherwise than the directory",
                            "`kill -HUP` the main process of `kazoo-rec run` (systemctl reload kazoo_rec)")]
    return [ok(NAME, f"the engine goes by {_counted(alive)}")]


def urls(rows: list[dict]) -> Iterator[tuple[str, str]]:
    """(url, whose) of every URL in the recording settings of documents."""
    for row in rows:
        for key in ("call_recording", "record_call"):
            for url in _urls(row["body"].get(key)):
                yield url, f"{row['kind']} {row['id']}"


def _urls(tree):
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in ("url", "status_callback") and isinstance(value, str):
                yield value
            else:
                yield from _urls(value)


def _key(row):
    return row["kind"], row["account_id"], row["id"]


def _counted(rows):
    counts = {kind: sum(row["kind"] == kind for row in rows) for kind in ("account", "user", "device")}
    return ", ".join(several(count, kind) for kind, count in counts.items())
