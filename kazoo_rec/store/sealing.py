"""The key of a database: made with it, known by its id, and what is stored in clear or by another key sealed by it."""

import sqlite3
from contextlib import closing, suppress
from functools import partial

import orjson
import structlog
from sqlalchemy import insert, select, update

from kazoo_rec.errors import StoreError
from kazoo_rec.store.secrets import Secrets, key_file, make_key
from kazoo_rec.store.tables import sealing

#: Rows of one transaction.
ROWS_AT_ONCE = 1_000

#: Tables and columns that have URLs, and whether they are JSON.
_PLACES = (("documents", "body", True), ("recordings", "settings", True), ("deliveries", "url", False))

#: The database's user_version while pages that nothing uses may still have something in clear.
_TO_VACUUM = 1

_KEY_ID = select(sealing.c.key_id)

log = structlog.get_logger()


def prepare(engine, database: str):
    """Makes the key of a database that has none yet, and seals what is in it. Blocks. May be killed and done again.
    Where the disk has no room for a copy, what nothing uses any more stays in the file until a later start.

    Raises StoreError where a database that was sealed has lost its key.
    """
    with engine.connect() as connection:
        known = connection.execute(_KEY_ID).scalar()
    if known is None:
        _seal_all(engine, database)
    else:
        opened(engine, database)
    _vacuum(engine, database)


def _seal_all(engine, database):
    try:
        secrets = Secrets(database)
    except StoreError as refused:
        if not isinstance(refused.__cause__, FileNotFoundError):
            raise
        make_key(key_file(database))
        secrets = Secrets(database)
    for place in _PLACES:
        last = 0
        while last is not None:
            with engine.begin() as connection:
                last, _ = _seal(connection, secrets, place, last)
    with engine.begin() as connection:
        connection.execute(insert(sealing).values(id=1, key_id=secrets.key_id))
        connection.exec_driver_sql(f"PRAGMA user_version = {_TO_VACUUM}")


def _vacuum(engine, database):
    """Pages that nothing uses have in clear what was sealed."""
    with engine.connect() as connection:
        if connection.exec_driver_sql("PRAGMA user_version").scalar() != _TO_VACUUM:
            return
    try:
        with closing(engine.raw_connection()) as connection:
            for statement in ("VACUUM", "PRAGMA user_version = 0", "PRAGMA wal_checkpoint(TRUNCATE)"):
                connection.cursor().execute(statement)
    except sqlite3.Error as refused:
        log.warning("passwords of URLs are still in clear in unused parts of the database's file", database=database,
                    reason=str(refused), hint="it wants room for a copy of itself, and is tried at the next start")


def opened(engine, database: str) -> Secrets:
    """The secrets of a database. Blocks. Raises StoreError where its key is not there."""
    secrets = Secrets(database)
    with engine.connect() as connection:
        known = connection.execute(_KEY_ID).scalar()
    if known is not None and not secrets.has(known):
        raise StoreError("this is not the database's key", f"{secrets.place} has not {known}",
                         "bring that one back: without it no password of a URL can be read any more")
    return secrets


def reseal(submit, secrets: Secrets) -> int:
    """Seals, and wraps keys of recordings, by the first key where others that are known did, some rows at a time; the
    result is how many there were. No file is touched. May be killed and done again."""
    changed = 0
    for place in _PLACES:
        last = 0
        while last is not None:
            last, count = submit(partial(_seal, secrets=secrets, place=place, after=last)).get()
            changed += count
    last = 0
    while last is not None:
        last, count = submit(partial(_wrap, secrets=secrets, after=last)).get()
        changed += count
    submit(lambda connection: connection.execute(update(sealing).values(key_id=secrets.key_id)).rowcount).get()
    return changed


def _seal(connection, secrets, place, after):
    """(the last row looked at, None where there are no more; how many were changed)."""
    table, column, is_json = place
    rows = connection.exec_driver_sql(
        f"SELECT rowid, {column} FROM {table} WHERE rowid > ? AND {column} LIKE '%://%@%' ORDER BY rowid LIMIT ?",
        (after, ROWS_AT_ONCE)).all()
    changed = 0
    for row, said in rows:
        value = orjson.loads(said) if is_json else said
        sealed = secrets.seal(secrets.open_known(value))
        if sealed != value:
            connection.exec_driver_sql(f"UPDATE {table} SET {column} = ? WHERE rowid = ?",
                                       (orjson.dumps(sealed).decode() if is_json else sealed, row))
            changed += 1
    return rows[-1][0] if rows else None, changed


def _wrap(connection, secrets, after):
    """As `_seal`, of the keys of recordings."""
    rows = connection.exec_driver_sql(
        "SELECT rowid, id, account_id, data_key FROM recordings WHERE rowid > ? AND data_key IS NOT NULL AND "
        "data_key NOT LIKE ? ORDER BY rowid LIMIT ?", (after, f"{secrets.key_id}.%", ROWS_AT_ONCE)).all()
    changed = 0
    for row, recording_id, account_id, wrapped in rows:
        with suppress(StoreError):  # by a key that is lost
            data_key = secrets.unwrap(account_id, recording_id, wrapped)
            connection.exec_driver_sql("UPDATE recordings SET data_key = ? WHERE rowid = ?",
                                       (secrets.wrap(account_id, recording_id, data_key), row))
            changed += 1
    return rows[-1][0] if rows else None, changed
