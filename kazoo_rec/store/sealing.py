"""The key of a database: made with it, known by its id, and what is stored in clear or by another key sealed by it."""

from contextlib import suppress
from functools import partial

from sqlalchemy import Text, cast, insert, select, tuple_, update

from kazoo_rec.errors import StoreError
from kazoo_rec.store.secrets import Secrets, key_file, make_key
from kazoo_rec.store.tables import deliveries, documents, recordings, sealing

#: Rows of one transaction.
ROWS_AT_ONCE = 1_000

#: Tables, and their columns that have URLs.
_PLACES = ((documents, documents.c.body), (recordings, recordings.c.settings), (deliveries, deliveries.c.url))

_KEY_ID = select(sealing.c.key_id)


def prepare(backend, engine, beside: str):
    """Makes the key of a database that has none yet, and seals what is in it. Blocks. May be killed and done again.

    Raises StoreError where a database that was sealed has lost its key.
    """
    with engine.connect() as connection:
        known = connection.execute(_KEY_ID).scalar()
    if known is None:
        _seal_all(backend, engine, beside)
    else:
        opened(engine, beside)
    backend.clean(engine)


def _seal_all(backend, engine, beside):
    try:
        secrets = Secrets(beside)
    except StoreError as refused:
        if not isinstance(refused.__cause__, FileNotFoundError):
            raise
        make_key(key_file(beside))
        secrets = Secrets(beside)
    for place in _PLACES:
        last = ()
        while last is not None:
            with engine.begin() as connection:
                last, _ = _seal(connection, secrets, place, last)
    with engine.begin() as connection:
        connection.execute(insert(sealing).values(id=1, key_id=secrets.key_id))
        backend.was_sealed(connection)


def opened(engine, beside: str) -> Secrets:
    """The secrets of a database. Blocks. Raises StoreError where its key is not there."""
    secrets = Secrets(beside)
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
        last = ()
        while last is not None:
            last, count = submit(partial(_seal, secrets=secrets, place=place, after=last)).get()
            changed += count
    last = ()
    while last is not None:
        last, count = submit(partial(_wrap, secrets=secrets, after=last)).get()
        changed += count
    submit(lambda connection: connection.execute(update(sealing).values(key_id=secrets.key_id)).rowcount).get()
    return changed


def _seal(connection, secrets, place, after):
    """(the last row looked at, None where there are no more; how many were changed)."""
    table, column = place
    rows = connection.execute(_page(table, column, after).where(cast(column, Text).like("%://%@%"))).all()
    changed = 0
    for value, *key in rows:
        sealed = secrets.seal(secrets.open_known(value))
        if sealed != value:
            connection.execute(update(table).where(*_is(table, key)).values({column: sealed}))
            changed += 1
    return tuple(rows[-1][1:]) if rows else None, changed


def _wrap(connection, secrets, after):
    """As `_seal`, of the keys of recordings."""
    row = recordings.c
    rows = connection.execute(_page(recordings, row.data_key, after).add_columns(row.account_id).where(
        row.data_key.is_not(None), row.data_key.not_like(f"{secrets.key_id}.%"))).all()
    changed = 0
    for wrapped, recording_id, account_id in rows:
        with suppress(StoreError):  # by a key that is lost
            data_key = secrets.unwrap(account_id, recording_id, wrapped)
            connection.execute(update(recordings).where(row.id == recording_id).values(
                data_key=secrets.wrap(account_id, recording_id, data_key)))
            changed += 1
    return (rows[-1][1],) if rows else None, changed


def _page(table, column, after):
    """The column, and what each row is known by, ROWS_AT_ONCE from behind `after`."""
    key = table.primary_key.columns
    query = select(column, *key).order_by(*key).limit(ROWS_AT_ONCE)
    return query.where(tuple_(*key) > tuple_(*after)) if after else query


def _is(table, key):
    return [column == value for column, value in zip(table.primary_key.columns, key, strict=True)]
