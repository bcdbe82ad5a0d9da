"""PostgreSQL, by psycopg 3: what `store.sqlite` offers for one host, for many.

Nobody waits for a turn: the server orders what is written to one row, and a change of documents locks the row of their
`seq` first.
"""

import hashlib
import os
import socket
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from functools import cache
from uuid import uuid4

from sqlalchemy import NullPool, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError, OperationalError

from kazoo_rec.errors import StoreError
from kazoo_rec.store.notice import COPY, MOVED, Notice
from kazoo_rec.store.rival import Rival
from kazoo_rec.store.statement import executed
from kazoo_rec.store.tables import metadata

#: Seconds that a statement may wait for another's lock, or take: the server ends it, and it is tried again.
LOCK_WITHIN_S, STATEMENT_WITHIN_S = 5, 25

#: Seconds after which the server ends a transaction of a host that says nothing more: others may wait for its locks.
IDLE_WITHIN_S = 10

#: Seconds that the server may say nothing at all. One that is stopped has a kernel that says all is well.
ANSWER_WITHIN_S = 30

#: Of libpq: a server that has gone without a word is given up after some seconds, not after hours. Texts are UTF-8,
#: whatever the environment says.
CONNECT = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
           "tcp_user_timeout": 10_000, "application_name": "kazoo_rec", "client_encoding": "utf8"}

#: Classes of SQLSTATE (PostgreSQL's appendix A) that are the server's trouble and not the write's, which is good later:
#: lost connections, read-only transactions, wrong passwords and databases, deadlocks, no room or memory, locks, a
#: server that is stopped or starts, its disk, its faults.
_FAULTS = ("08", "25", "26", "28", "3D", "40", "53", "55", "57", "58", "XX")

#: States of class 42 that are as well: a statement that a pooler has mixed up, as 26 is (psycopg makes it anew after a
#: ROLLBACK), and rights that somebody has taken away, and gives back: the tables are ours. While they are missing all
#: writes wait, and the log says why. Not a table that is not there: that may be a write that is wrong for ever.
_FAULTS_42 = ("42P05", "42501")

#: As of `store.sqlite`.
NOT_OURS = "the database cannot be reached"

#: Connections of kazoo_rec to this database, but the one that asks.
_OTHERS = text("SELECT DISTINCT coalesce(host(client_addr), 'this host') FROM pg_stat_activity "
               "WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()")

#: A transaction sees those that were there at its first look.
_LOOK_AGAIN = text("SELECT pg_stat_clear_snapshot()")

#: Seconds for the server to notice that a connection was closed, and between looks.
GONE_WITHIN_S, LOOK_S = 2.0, 0.05

#: Who is in a transaction that has looked at tables (`readers`), or more than that.
_HOLDERS = text("SELECT DISTINCT concat(coalesce(nullif(application_name, ''), 'a session'), ', process ', pid, ', ', "
                "coalesce(host(client_addr), 'this host')) FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE granted AND datname = current_database() AND relation = ANY (CAST(:tables AS regclass[])) "
                "AND pid <> pg_backend_pid() AND (:readers OR mode <> 'AccessShareLock')")

#: SQLSTATE of a lock that was not had within `lock_timeout`.
_LOCKED = "55P03"

#: Of a notice (`store.notice`), each time that somebody connects.
_KIND = "SELECT version_num FROM alembic_version WHERE version_num IN (%s, %s)"
_NOTICE = "SELECT version, other FROM moved"

#: The marks of writers. A process that was killed leaves its row.
_MARKS = ("CREATE TABLE writers (id text PRIMARY KEY, batch bigint NOT NULL, "
          "at_s bigint NOT NULL DEFAULT extract(epoch FROM now()))")
_LEAVE = ("INSERT INTO writers (id, batch) VALUES (%(writer)s, %(number)s) "
          "ON CONFLICT (id) DO UPDATE SET batch = excluded.batch, at_s = excluded.at_s")
_FIND = ("INSERT INTO writers (id, batch) VALUES (%(writer)s, 0) "
         "ON CONFLICT (id) DO UPDATE SET batch = writers.batch RETURNING batch")
_FORGET = "DELETE FROM writers WHERE at_s < extract(epoch FROM now()) - 86400"

#: Of the advisory lock of whoever changes the tables.
_MIGRATING = 0x6B617A6F6F

#: Of the session that has the locks of an engine that acts: of a host that lost its power the server hears in seconds.
_HEARD_OF = ("tcp_keepalives_idle = 1", "tcp_keepalives_interval = 1", "tcp_keepalives_count = 3",
             "tcp_user_timeout = 4000")

_AGE = text("SELECT CAST(extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) AS float)")
_TAKE = text("SELECT pg_try_advisory_lock(:key)")
_LET_GO = text("SELECT pg_advisory_unlock_all()")
_RIVAL = text("""
    SELECT session.application_name, session.client_addr
    FROM pg_locks JOIN pg_stat_activity session USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pg_locks.classid = :high AND pg_locks.objid = :low
    AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())""")

#: Of those keys, as the server has them: of this very session, which a pooler may have given to somebody else.
_OURS = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() "
             "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")

#: Greater each time that it is asked for, whatever becomes of the server or its clock, as it is written among the marks
#: of writers, in a row that is never old; a standby server refuses it.
_TERM = text("INSERT INTO writers (id, batch, at_s) VALUES ('the last engine', 1, 9223372036854775807) "
             "ON CONFLICT (id) DO UPDATE SET batch = writers.batch + 1 RETURNING batch")


def reading(url: str):
    """An engine of one connection whose statements are no transactions. One that was lost is made anew."""
    return _heeding(_limited(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True))


def asking(url: str):
    """An engine for a question or two."""
    return _limited(url)


def writing(url: str):
    """An engine of one connection, which commits what it says. One that was lost costs an attempt: the writer makes
    another."""
    return _heeding(_limited(url))


def changing(url: str):
    """An engine for who changes the tables, which takes as long as it takes."""
    return create_engine(url, hide_parameters=True, connect_args=CONNECT)


def _limited(url, **more):
    return _bounded(create_engine(url, pool_size=1, max_overflow=0, hide_parameters=True, connect_args=CONNECT, **more))


def _heeding(engine):
    event.listen(engine, "connect", _heed)
    return engine


def _bounded(engine):
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
                since_s = time.monotonic()
                while not (came := (yield wanted)):
                    if time.monotonic() - since_s > ANSWER_WITHIN_S:
                        self.close()
                        raise psycopg.OperationalError(f"the server says nothing for {ANSWER_WITHIN_S} s")

    return Connection


def _limit(connection, _record):
    connection.execute(f"SET lock_timeout = '{LOCK_WITHIN_S}s'; SET statement_timeout = '{STATEMENT_WITHIN_S}s'; "
                       f"SET idle_in_transaction_session_timeout = '{IDLE_WITHIN_S}s'")
    connection.commit()


def _heed(connection, _record):
    """Who was cut off while the database was moved away finds it moved. What is raised is the database's trouble: what
    waits to be written is kept."""
    found = connection.execute(_KIND, [COPY, MOVED]).fetchone()
    if found is not None:
        refusal = Notice(*found, *connection.execute(_NOTICE).fetchone()).refusal(connection.info.dbname)
        connection.close()
        raise connection.OperationalError(str(refusal))
    connection.commit()


class Turns(nullcontext):
    """Nobody's: as `store.sqlite.Turns`."""

    def __init__(self, _beside: str):
        super().__init__()

    def close(self):
        """Nothing is open."""


class Marks:
    """What tells whether a transaction was committed of which the COMMIT had no answer: written again it might be
    there twice, or undo what others have made of it meanwhile. Each leaves its number in a row of the writer's own.
    `pg_xact_status` would not do: a server that is killed may give the number of a lost transaction to another."""

    def __init__(self):
        self._mine = {"writer": uuid4().hex, "number": 0}

    def leave(self, connection):
        """As the last of a transaction."""
        if not self._mine["number"]:
            executed(connection, _FORGET)
        self._mine["number"] += 1
        executed(connection, _LEAVE, self._mine)

    def found(self, connection) -> bool:
        """Whether the last transaction that left its mark was committed. Waits for one that still goes on."""
        return connection.exec_driver_sql(_FIND, self._mine).scalar_one() == self._mine["number"]


class EngineLock:
    """As `store.sqlite.EngineLock`, on all hosts: advisory locks, of a session of its own. `term` is greater with each
    engine that takes it."""

    def __init__(self, url: str, _beside: str, switches):
        # As far as the server keeps a name: 63 characters.
        self._name = f"kazoo_rec {uuid4().hex[:8]} {os.getpid()} on {socket.gethostname()}"[:63]
        self._engine = _bounded(create_engine(
            url, poolclass=NullPool, hide_parameters=True, isolation_level="AUTOCOMMIT",
            connect_args={**CONNECT, "application_name": self._name}))
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

    def age_s(self) -> float:
        """Seconds since the server has begun. Raises as `reach`."""
        self.reach()
        with self._telling():
            return self._session.execute(_AGE).scalar()

    def take(self) -> Rival | None:
        """None where the locks of all switches are ours, now or already; else who has one of them. Raises DBAPIError as
        `reach` does, StoreError where they were ours and are not."""
        self.reach()
        if self._held:
            self._look()
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

    def _look(self):
        with self._telling():
            ours = self._session.execute(_OURS).scalar()
        if ours < len(self._keys):
            self._forget()
            raise StoreError("the session has lost the lock of the engine that acts", f"{ours} of {len(self._keys)}",
                             "is there a pooler between that gives a session to many? (docs/deployment.md)")

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
    return state[:2] in _FAULTS or state in _FAULTS_42


def is_there(url: str, _beside: str) -> bool:
    """Whether the server has it. Raises StoreError where it does not answer."""
    return True


@contextmanager
def migrating(url: str, _beside: str, taken: Callable[[], object]):
    """One host at a time changes the tables; `taken` is called before it waits for another. Raises StoreError where
    the database cannot hold every text."""
    engine = changing(url).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            if (encoding := connection.execute(text("SHOW server_encoding")).scalar()) != "UTF8":
                raise StoreError("the database cannot hold every text", f"its encoding is {encoding}, not UTF8",
                                 "make it anew: `createdb kazoo_rec --owner kazoo_rec --encoding=UTF8 "
                                 "--template=template0`")
            if not connection.execute(_TAKE, {"key": _MIGRATING}).scalar():
                taken()
                connection.execute(text(f"SELECT pg_advisory_lock({_MIGRATING})"))
            if not inspect(connection).has_table("writers"):
                connection.exec_driver_sql(_MARKS)
            yield
    finally:
        engine.dispose()


@contextmanager
def alone(connection, _beside: str):
    """Nobody has the database open; `connection` is SQLAlchemy's. Raises StoreError where somebody has."""
    _look_for_others(connection)
    yield


def check_alone(connection):
    """Nobody has opened it meanwhile, and who does so from now on waits for what the connection's transaction makes of
    it."""
    _lock(connection, ["alembic_version"], "ACCESS EXCLUSIVE")
    _look_for_others(connection)


def _look_for_others(connection):
    connection.execute(_LOOK_AGAIN)
    until_s = time.monotonic() + GONE_WITHIN_S
    while others := connection.execute(_OTHERS, {"name": CONNECT["application_name"]}).scalars().all():
        if time.monotonic() < until_s:
            time.sleep(LOOK_S)
            connection.execute(_LOOK_AGAIN)
            continue
        raise StoreError("somebody has the database open", ", ".join(others),
                         "stop kazoo-rec on all hosts; FreeSWITCH goes on recording what it records")


def hold(connection):
    """From now on its transaction is the only one that writes. Raises StoreError where others have written, and do not
    end."""
    quoted = connection.dialect.identifier_preparer.format_table
    _lock(connection, [quoted(one) for one in metadata.sorted_tables], "EXCLUSIVE")


def _lock(connection, tables, mode):
    try:
        with connection.begin_nested():
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WITHIN_S}s'"))
            connection.execute(text(f"LOCK TABLE {', '.join(tables)} IN {mode} MODE"))
    except OperationalError as refused:
        if refused.orig.sqlstate != _LOCKED:
            raise
        connection.execute(_LOOK_AGAIN)
        holders = connection.execute(_HOLDERS, {"tables": tables, "readers": mode == "ACCESS EXCLUSIVE"}).scalars()
        raise StoreError("somebody holds the database's tables", "; ".join(holders) or "who has ended meanwhile",
                         "end that transaction, or wait for its end, and run it again") from refused


def was_sealed(_connection):
    """There is nothing in clear in a database that was never without a key."""


def clean(_engine):
    """As `was_sealed`."""
