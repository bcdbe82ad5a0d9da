"""SQLite: one engine that reads, one that writes, each used by one thread alone."""

import fcntl
import math
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from pathlib import Path

import structlog
from sqlalchemy import create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from kazoo_rec.errors import AlreadyActs, StoreError
from kazoo_rec.store.rival import Rival
from kazoo_rec.store.statement import executed

#: A last resort: between our own processes the flock of `Turns` queues them.
BUSY_TIMEOUT_MS = 5_000

#: What ails the database and not the write: the same write is good later (SQLite's primary result codes).
FAULTS_OF_THE_DATABASE = frozenset((
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_NOTADB))

#: Seconds for an engine whose supervisor was killed to end, before the next is refused.
ENDS_WITHIN_S = 20.0

#: The database's user_version while pages that nothing uses may still have something in clear.
_TO_VACUUM = 1

#: What a database is that nothing can be read of.
NOT_OURS = "this is no database of kazoo_rec"

#: What to do where somebody has it open.
IN_USE = "stop kazoo-rec, all of it; FreeSWITCH goes on recording what it records"

log = structlog.get_logger()


def reading(url: str):
    """An engine whose statements are no transactions, so that no reader holds back a checkpoint."""
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False}, hide_parameters=True,
                           isolation_level="AUTOCOMMIT")
    event.listen(engine, "connect", _prepare)
    return engine


def asking(url: str):
    """An engine for a question or two, which leaves the file as it is."""
    return create_engine(url)


def writing(url: str):
    """An engine whose transactions begin IMMEDIATE: nothing reads first and finds at commit that it lost a race."""
    engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False}, hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", lambda connection: executed(connection, "BEGIN IMMEDIATE"))
    return engine


changing = writing


def _prepare(connection, _record):
    # sqlite3 would begin DEFERRED transactions of its own; "begin" above does it instead.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


class Turns:
    """Whose turn it is to write: a context. SQLite has one writer at a time, and its waiters sleep up to 100 ms, so
    three busy processes starve each other. A `flock` beside the database queues them in the kernel instead. A second
    one is the turn to take it: a busy process that lets go cannot take it again before one that waited. A third one is
    shared by all that have the database open, for who wants it `alone`."""

    def __init__(self, beside: str):
        # Nobody else's to lock either: who holds it holds up every write.
        self._lock, self._turn, self._open = (
            os.open(f"{beside}.lock{more}", os.O_RDWR | os.O_CREAT, 0o600) for more in ("", ".turn", ".open"))
        fcntl.flock(self._open, fcntl.LOCK_SH)

    def __enter__(self):
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def __exit__(self, *_):
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self):
        for lock in (self._turn, self._lock, self._open):
            os.close(lock)


class Marks:
    """SQLite answers each COMMIT: one that it refuses has written nothing."""

    def leave(self, _connection):
        """There is nothing to tell."""

    def found(self, _connection) -> bool:
        return False


class EngineLock:
    """That one engine alone acts for these switches: a `flock` for each beside the database, which the kernel frees
    when its process ends. Methods block, and are for one thread. `term` tells on the switch whose turn came later; None
    here, where two cannot be."""

    term = None

    def __init__(self, _url: str, beside: str, switches, clock_s=time.monotonic):
        self._paths = {switch: f"{beside}.{switch}.engine" for switch in sorted(switches)}
        self._held: list[int] = []
        self._clock_s, self._refused_s = clock_s, None

    def reach(self):
        """Nothing is to be reached."""

    def age_s(self) -> float:
        """A file is there as ever."""
        return math.inf

    def take(self) -> Rival | None:
        """None where the locks of all switches are ours, now or already; else who has one of them. Raises AlreadyActs
        where somebody had for ENDS_WITHIN_S."""
        if self._held:
            return None
        for switch, path in self._paths.items():
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            self._held.append(lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                rival = Rival(switch, f"process {os.read(lock, 20).decode('ascii', 'replace').strip()} of this host")
                self.release()
                return self._wait_for(rival)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return None

    def release(self):
        while self._held:
            os.close(self._held.pop())

    def _wait_for(self, rival):
        if self._refused_s is None:
            self._refused_s = self._clock_s()
        if self._clock_s() - self._refused_s < ENDS_WITHIN_S:
            return rival
        raise AlreadyActs("another engine acts for this switch", f"{rival.switch}: {rival.who}",
                          "end that one first: two for one switch want PostgreSQL (docs/deployment.md)")


def is_fault(error) -> bool:
    """Whether what SQLAlchemy raised is the database's trouble, and none of the write's. A connection that is lost has
    no code of SQLite's, nor has a value that sqlite3 cannot bind."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is None:
        return error.connection_invalidated or isinstance(error, OperationalError)
    return code & 0xFF in FAULTS_OF_THE_DATABASE


def is_there(url: str, path: str) -> bool:
    return bool(path) and os.path.exists(path)


@contextmanager
def migrating(url: str, path: str, taken: Callable[[], object]):
    """One process at a time changes the tables of the database, which is made (0600) where there is none; `taken` is
    called before it waits for another. Raises StoreError where its directory is not there."""
    directory = Path(path).parent
    if not directory.is_dir():
        raise StoreError("the database's directory is not there", str(directory), "make it, owned by this user")
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            taken()
            fcntl.flock(lock, fcntl.LOCK_EX)
        for file in (path, f"{path}.lock.turn", f"{path}.lock.open"):
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        yield
    finally:
        os.close(lock)


@contextmanager
def alone(_connection, path: str):
    """Nobody has the database open, and nobody opens it meanwhile. Raises StoreError where somebody has."""
    lock = os.open(f"{path}.lock.open", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as taken:
        raise StoreError("somebody has the database open", path, IN_USE) from taken
    finally:
        os.close(lock)


def check_alone(_connection):
    """Nobody can have opened it meanwhile."""


def hold(_connection):
    """Its transaction is the only one that writes."""


def was_sealed(connection):
    """What was in clear until now may still be in pages that nothing uses: `clean` looks after them."""
    connection.exec_driver_sql(f"PRAGMA user_version = {_TO_VACUUM}")


def clean(engine):
    """Where the disk has no room for a copy, what nothing uses stays in the file until a later start."""
    with engine.connect() as connection:
        if connection.exec_driver_sql("PRAGMA user_version").scalar() != _TO_VACUUM:
            return
    try:
        with closing(engine.raw_connection()) as connection:
            for statement in ("VACUUM", "PRAGMA user_version = 0", "PRAGMA wal_checkpoint(TRUNCATE)"):
                connection.cursor().execute(statement)
    except sqlite3.Error as refused:
        log.warning("passwords of URLs are still in clear in unused parts of the database's file",
                    database=engine.url.database, reason=str(refused),
                    hint="it wants room for a copy of itself, and is tried at the next start")
