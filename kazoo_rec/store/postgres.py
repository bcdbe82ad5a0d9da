"""PostgreSQL, by psycopg 3: what `store.sqlite` offers for one host, for many.

Nobody waits for a turn: the server orders what is written to one row, and a change of documents locks the row of their
`seq` first.
"""

import time
from contextlib import contextmanager, nullcontext

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from kazoo_rec.errors import StoreError
from kazoo_rec.store.tables import metadata

#: Of libpq: a server that has gone without a word is given up after some seconds, not after hours.
_CONNECT = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
            "tcp_user_timeout": 10_000, "application_name": "kazoo_rec"}

#: Classes of SQLSTATE (PostgreSQL's appendix A) that are the server's trouble and not the write's, which is good later:
#: lost connections, read-only transactions, wrong passwords and databases, deadlocks, no room or memory, locks, a
#: server that is stopped or starts, its disk, its faults.
_FAULTS = ("08", "25", "28", "3D", "40", "53", "55", "57", "58", "XX")

#: As of `store.sqlite`.
NOT_OURS = "the database cannot be reached"

#: Connections of kazoo_rec to this database, but the one that asks.
_OTHERS = text("SELECT DISTINCT coalesce(host(client_addr), 'this host') FROM pg_stat_activity "
               "WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()")

#: A transaction sees those that were there at its first look.
_LOOK_AGAIN = text("SELECT pg_stat_clear_snapshot()")

#: Seconds for the server to notice that a connection was closed, and between looks.
GONE_WITHIN_S, LOOK_S = 2.0, 0.05

#: Of the advisory lock of whoever changes the tables.
_MIGRATING = 0x6B617A6F6F


def reading(url: str):
    """An engine of one connection whose statements are no transactions. One that was lost is made anew."""
    return create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, hide_parameters=True,
                         isolation_level="AUTOCOMMIT", connect_args=_CONNECT)


def writing(url: str):
    """An engine of one connection, which commits what it says."""
    return create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, hide_parameters=True,
                         connect_args=_CONNECT)


class Turns(nullcontext):
    """Nobody's: as `store.sqlite.Turns`."""

    def __init__(self, _beside: str):
        super().__init__()

    def close(self):
        """Nothing is open."""


def is_fault(error) -> bool:
    """As `store.sqlite.is_fault`."""
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return error.connection_invalidated or isinstance(error, OperationalError)
    return state[:2] in _FAULTS


def is_there(url: str, _beside: str) -> bool:
    """Whether the server has it. Raises StoreError where it does not answer."""
    return True


@contextmanager
def migrating(url: str, _beside: str):
    """One host at a time changes the tables. Raises StoreError where the server does not answer, or has no such
    database."""
    engine = create_engine(url, hide_parameters=True, isolation_level="AUTOCOMMIT", connect_args=_CONNECT)
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({_MIGRATING})"))
            yield
    finally:
        engine.dispose()


@contextmanager
def alone(connection, _beside: str):
    """Nobody has the database open; `connection` is SQLAlchemy's. Raises StoreError where somebody has."""
    check_alone(connection)
    yield


def check_alone(connection):
    """Nobody has opened it meanwhile: nothing keeps others from it."""
    connection.execute(_LOOK_AGAIN)
    until_s = time.monotonic() + GONE_WITHIN_S
    while others := connection.execute(_OTHERS, {"name": _CONNECT["application_name"]}).scalars().all():
        if time.monotonic() < until_s:
            time.sleep(LOOK_S)
            connection.execute(_LOOK_AGAIN)
            continue
        raise StoreError("somebody has the database open", ", ".join(others),
                         "stop kazoo-rec on all hosts; FreeSWITCH goes on recording what it records")


def hold(connection):
    """From now on its transaction is the only one that writes."""
    names = ", ".join(connection.dialect.identifier_preparer.format_table(one) for one in metadata.sorted_tables)
    connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))


def was_sealed(_connection):
    """There is nothing in clear in a database that was never without a key."""


def clean(_engine):
    """As `was_sealed`."""
