"""The database: version, rights, and how old what waits in it is."""

import os
import sqlite3
import stat
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.doctor.finding import Finding, failed, ok, several, warning, wrong
from kazoo_rec.errors import StoreError
from kazoo_rec.store import Store, sqlite
from kazoo_rec.store.database import Database

NAME = "database"

#: Seconds for its lock, which no commit of ours holds so long.
LOCK_WITHIN_S = 5.0

#: Milliseconds after which what should be done at once says that nobody does it.
LATE_MS = 600_000
#: Milliseconds that a delivery may be refused before an operator should know.
REFUSED_MS = 86_400_000

_USER = "run it as the engine's user, who must own the database, its directory and all files beside it"


def opened(database: Database, threads) -> tuple[Store | None, list[Finding]]:
    """The store, if it can be used, and what is wrong. Makes nothing: a file of the wrong user would shut the engine
    out."""
    path, is_file = Path(database.beside), database.backend is sqlite
    try:
        if found := threads.apply(_unusable if is_file else _unusable_beside, (path,)):
            return None, [found]
        exposed = threads.apply(_exposed, (path,))
        return Store(database), exposed or [ok(NAME, f"{database.shown} is this version's and can be written")]
    except StoreError as error:
        return None, [failed(NAME, error, "is it kazoo_rec's? keep a copy before you repair it")]
    except (sqlite3.Error, SQLAlchemyError, OSError) as refused:
        return None, [wrong(NAME, f"{database.shown} cannot be used: {refused}",
                            "look at its space, its rights and the disk")]


def _unusable_beside(path):
    if not os.access(path.parent, os.W_OK | os.X_OK):
        there = "may not be written to" if path.parent.is_dir() else "does not exist"
        return wrong(NAME, f"the directory {path.parent} {there}",
                     f"`install -d -o kazoo_rec -g kazoo_rec -m 0700 {path.parent}`; {_USER}")
    return None


def _unusable(path):
    if found := _unusable_beside(path):
        return found
    if not path.exists():
        return warning(NAME, f"there is no {path} yet", "`kazoo-rec run` makes it when it starts")
    for file in _files(path):
        if file.exists() and not os.access(file, os.R_OK | os.W_OK):
            return wrong(NAME, f"{file} may not be read and written", _USER)
    _lock(path)
    return None


def _files(path):
    return [path, *(path.with_name(path.name + beside)
                    for beside in (".lock", ".lock.turn", ".lock.open", "-wal", "-shm", ".key"))]


def _exposed(path):
    """Files that others may read, or lock."""
    modes = {file: stat.S_IMODE(file.stat().st_mode) for file in _files(path) if file.exists()}
    return [wrong(NAME, f"{file} is {mode:04o}: others on this host may read or lock it", f"`chmod 0600 {file}`" + (
        "; then make new passwords, if others can log in" if file.suffix == ".key" else ""))
            for file, mode in modes.items() if mode & 0o077]


def _lock(path):
    """Takes the right to write and gives it back: a damaged file denies it, a read-only one, somebody else's lock."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=LOCK_WITHIN_S, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def waiting(store: Store, now_ms: int) -> list[Finding]:
    """Whether delivery does its work, and what customers' servers have not taken."""
    name, found = "deliveries", []
    start_it = "is the delivery role running? `kazoo-rec run`, and its log"
    stopped, since_ms = store.recordings.unfinished()
    if stopped and since_ms and now_ms - since_ms > LATE_MS:
        found.append(wrong(name, f"not finished: {several(stopped, 'recording')}, the first for "
                           f"{_age(now_ms - since_ms)}", start_it))
    due, made_ms, planned_ms = store.deliveries.waiting()
    if planned_ms is not None and now_ms - planned_ms > LATE_MS:
        found.append(wrong(name, f"late: {several(due, 'upload')}, the first should have begun "
                           f"{_age(now_ms - planned_ms)} ago", start_it))
    elif due and now_ms - made_ms > REFUSED_MS:
        found.append(warning(name, f"not taken: {several(due, 'upload')}, the first for {_age(now_ms - made_ms)}",
                             "`kazoo-rec recordings list` has the last error of each; see `delivery hosts`"))
    if given_up := store.deliveries.given_up():
        found.append(warning(name, f"given up: {several(given_up, 'upload')}",
                             "`kazoo-rec recordings list` shows which, `… retry ID` takes one up again"))
    return found or [ok(name, f"none late: {several(due, 'upload')} due" if due else "nothing waits")]


def _age(ms):
    minutes = ms // 60_000
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
