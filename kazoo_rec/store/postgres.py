"""PostgreSQL, by psycopg 3: what `store.sqlite` offers for one host, for many.

Nobody waits for a turn: the server orders what is written to one row, and a change of documents locks the row of their
`seq` first.
"""

import hashlib
import os
import socket
from contextlib import contextmanager, nullcontext
from uuid import uuid4

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from kazoo_rec.store.rival import Rival

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


#: Of the session that has the locks of an engine that acts: of a host that lost its power the server hears in seconds.
_HEARD_OF = ("tcp_keepalives_idle = 1", "tcp_keepalives_interval = 1", "tcp_keepalives_count = 3",
             "tcp_user_timeout = 4000")

_TAKE = text("SELECT pg_try_advisory_lock(:key)")
_LET_GO = text("SELECT pg_advisory_unlock_all()")
_RIVAL = text("""
    SELECT session.application_name, session.client_addr
    FROM pg_locks JOIN pg_stat_activity session USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pg_locks.classid = :high AND pg_locks.objid = :low
    AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())""")

#: Greater each time that it is asked for, whatever becomes of the server's clock; a standby server refuses it.
_TERM = text("SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint)")


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


class EngineLock:
    """As `store.sqlite.EngineLock`, on all hosts: advisory locks, of a session of its own. `term` is greater with each
    engine that takes it."""

    def __init__(self, url: str, _beside: str, switches):
        # As far as the server keeps a name: 63 characters.
        self._name = f"kazoo_rec {uuid4().hex[:8]} {os.getpid()} on {socket.gethostname()}"[:63]
        self._engine = create_engine(url, poolclass=NullPool, hide_parameters=True, isolation_level="AUTOCOMMIT",
                                     connect_args={**_CONNECT, "application_name": self._name})
        self._keys = {switch: _key(switch) for switch in sorted(switches)}
        self._session, self._held, self.term = None, False, 0

    def reach(self):
        """Has a session. Raises DBAPIError where there can be none, or the one that there was is lost."""
        with self._telling():
            if self._session is None:
                self._session = self._engine.connect()
                for setting in _HEARD_OF:
                    self._session.execute(text(f"SET {setting}"))
            else:
                self._session.execute(text("SELECT 1"))

    def take(self) -> Rival | None:
        """None where the locks of all switches are ours, now or already; else who has one of them. Raises DBAPIError as
        `reach` does."""
        self.reach()
        if self._held:
            return None
        with self._telling():
            for switch, key in self._keys.items():
                if not self._session.execute(_TAKE, {"key": key}).scalar():
                    rival = self._rival(switch, key)
                    self._session.execute(_LET_GO)
                    return rival
            self.term = self._session.execute(_TERM).scalar()
            self._held = True
            return None

    def release(self):
        if self._session is not None:
            self._forget()
        self._engine.dispose()

    def _rival(self, switch, key):
        high, low = divmod(key % 2**64, 2**32)
        found = self._session.execute(_RIVAL, {"high": high, "low": low}).first()
        if found is None:
            return Rival(switch, "a session that has just ended", is_gone=True)
        name, address = found
        return Rival(switch, f"{name or 'another session'}, {address or 'by a socket of the server'}",
                     is_gone=name == self._name)

    @contextmanager
    def _telling(self):
        try:
            yield
        except DBAPIError:
            if self._session is not None:
                self._forget()
            raise

    def _forget(self):
        session, self._session, self._held = self._session, None, False
        session.invalidate()
        session.close()


def _key(switch):
    """Of its advisory lock: 64 bits, apart from `_MIGRATING` as from those of other switches."""
    return int.from_bytes(hashlib.blake2b(switch.encode(), digest_size=8, person=b"kazoo_rec engine").digest(),
                          signed=True)


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
