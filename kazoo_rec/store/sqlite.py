"""SQLite engines: one that reads, one that writes, each used by one thread alone."""

import json
from collections.abc import Iterable

from sqlalchemy import create_engine, event, func, select
from sqlalchemy.pool import StaticPool

#: A last resort: between our own processes the flock of `writer.py` queues them.
BUSY_TIMEOUT_MS = 5_000


def reading(url: str):
    """An engine whose statements are no transactions, so that no reader holds back a checkpoint."""
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False}, hide_parameters=True,
                           isolation_level="AUTOCOMMIT")
    event.listen(engine, "connect", _prepare)
    return engine


def writing(url: str):
    """An engine whose transactions begin IMMEDIATE: nothing reads first and finds at commit that it lost a race."""
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False}, hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def among(values: Iterable):
    """For IN: one parameter, however many values there are. SQLite keeps 128 statements prepared, and lists of other
    lengths are other statements, of 50 kB each."""
    return select(func.json_each(json.dumps(list(values))).table_valued("value").c.value)


def _prepare(connection, _record):
    # sqlite3 would begin DEFERRED transactions of its own; "begin" above does it instead.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
