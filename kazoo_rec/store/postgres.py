"""PostgreSQL, by psycopg 3: what `store.sqlite` offers for one host, for many.

Nobody waits for a turn: the server orders what is written to one row, and a change of documents locks the row of their
`seq` first.
"""

from contextlib import contextmanager, nullcontext
from functools import cache
from time import monotonic
from uuid import uuid4

from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.exc import OperationalError

#: Seconds that a statement may wait for another's lock, or take: the server ends it, and it is tried again.
LOCK_WITHIN_S, STATEMENT_WITHIN_S = 5, 25

#: Seconds after which the server ends a transaction of a host that says nothing more: others may wait for its locks.
IDLE_WITHIN_S = 10

#: Seconds that the server may say nothing at all. One that is stopped has a kernel that says all is well.
ANSWER_WITHIN_S = 30

#: Of libpq: a server that has gone without a word is given up after some seconds, not after hours.
CONNECT = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
            "tcp_user_timeout": 10_000, "application_name": "kazoo_rec"}

#: Classes of SQLSTATE (PostgreSQL's appendix A) that are the server's trouble and not the write's, which is good later:
#: lost connections, read-only transactions, wrong passwords and databases, deadlocks, no room or memory, locks, a
#: server that is stopped or starts, its disk, its faults.
_FAULTS = ("08", "25", "28", "3D", "40", "53", "55", "57", "58", "XX")

#: As of `store.sqlite`.
NOT_OURS = "the database cannot be reached"

#: The marks of writers. A process that was killed leaves its row.
_MARKS = "CREATE TABLE writers (id text PRIMARY KEY, batch bigint NOT NULL, at timestamptz NOT NULL DEFAULT now())"
_LEAVE = ("INSERT INTO writers (id, batch) VALUES (%(writer)s, %(number)s) "
          "ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, at = now()")
_FIND = ("INSERT INTO writers (id, batch) VALUES (%(writer)s, 0) "
         "ON CONFLICT (id) DO UPDATE SET batch = writers.batch RETURNING batch")
_FORGET = "DELETE FROM writers WHERE at < now() - interval '1 day'"

#: Of the advisory lock of whoever changes the tables.
_MIGRATING = 0x6B617A6F6F


def reading(url: str):
    """An engine of one connection whose statements are no transactions. One that was lost is made anew."""
    return _limited(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)


def writing(url: str):
    """An engine of one connection, which commits what it says. One that was lost costs an attempt: the writer makes
    another."""
    return _limited(url)


def changing(url: str):
    """An engine for who changes the tables, which takes as long as it takes."""
    return create_engine(url, hide_parameters=True, connect_args=CONNECT)


def _limited(url, **more):
    engine = create_engine(url, pool_size=1, max_overflow=0, hide_parameters=True, connect_args=CONNECT, **more)
    event.listen(engine, "do_connect", lambda _dialect, _record, words, named: _connection().connect(*words, **named))
    event.listen(engine, "connect", _limit)
    return engine


@cache
def _connection():
    """psycopg's, which waits for ever. It is not there where the database is SQLite's."""
    import psycopg

    class Connection(psycopg.Connection):
        def wait(self, gen, *more, **named):
            return super().wait(self._bounded(gen), *more, **named)

        def _bounded(self, gen):
            """Who waits comes by ten times a second, with nothing where nothing came."""
            came = None
            while True:
                try:
                    wanted = gen.send(came)
                except StopIteration as done:
                    return done.value
                since_s = monotonic()
                while not (came := (yield wanted)):
                    if monotonic() - since_s > ANSWER_WITHIN_S:
                        self.close()
                        raise psycopg.OperationalError(f"the server says nothing for {ANSWER_WITHIN_S} s")

    return Connection


def _limit(connection, _record):
    connection.execute(f"SET lock_timeout = '{LOCK_WITHIN_S}s'; SET statement_timeout = '{STATEMENT_WITHIN_S}s'; "
                       f"SET idle_in_transaction_session_timeout = '{IDLE_WITHIN_S}s'")
    connection.commit()


class Turns(nullcontext):
    """Nobody's: as `store.sqlite.Turns`."""

    def __init__(self, _beside: str):
        super().__init__()

    def close(self):
        """Nothing is open."""


class Marks:
    """What tells whether a transaction was committed of which the COMMIT had no answer: written again it might be
    there twice, or undo what others have made of it meanwhile. Each leaves its number in a row of the writer's own."""

    def __init__(self):
        self._mine = {"writer": uuid4().hex, "number": 0}

    def leave(self, connection):
        """As the last of a transaction."""
        if not self._mine["number"]:
            connection.exec_driver_sql(_FORGET)
        self._mine["number"] += 1
        connection.exec_driver_sql(_LEAVE, self._mine)

    def found(self, connection) -> bool:
        """Whether the last transaction that left its mark was committed. Waits for one that still goes on."""
        return connection.exec_driver_sql(_FIND, self._mine).scalar_one() == self._mine["number"]


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
    engine = changing(url).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock({_MIGRATING})"))
            if not inspect(connection).has_table("writers"):
                connection.exec_driver_sql(_MARKS)
            yield
    finally:
        engine.dispose()


def was_sealed(_connection):
    """There is nothing in clear in a database that was never without a key."""


def clean(_engine):
    """As `was_sealed`."""
