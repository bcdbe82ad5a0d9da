"""PostgreSQL, by psycopg 3: what `store.sqlite` offers for one host, for many.

Nobody waits for a turn: the server orders what is written to one row, and a change of documents locks the row of their
`seq` first.
"""

from contextlib import contextmanager, nullcontext

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

#: Of libpq: a server that has gone without a word is given up after some seconds, not after hours.
_CONNECT = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
            "tcp_user_timeout": 10_000, "application_name": "kazoo_rec"}

#: Classes of SQLSTATE (PostgreSQL's appendix A) that are the server's trouble and not the write's, which is good later:
#: lost connections, read-only transactions, wrong passwords and databases, deadlocks, no room or memory, locks, a
#: server that is stopped or starts, its disk, its faults.
_FAULTS = ("08", "25", "28", "3D", "40", "53", "55", "57", "58", "XX")

#: As of `store.sqlite`.
NOT_OURS = "the database cannot be reached"

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


def was_sealed(_connection):
    """There is nothing in clear in a database that was never without a key."""


def clean(_engine):
    """As `was_sealed`."""
