"""Group commit: every write of this process goes through one queue, and what waits together is committed together.

SQLite has one writer at a time, and its waiters sleep up to 100 ms, so three busy processes starve each other. A
`flock` beside the database queues them in the kernel instead: it is taken first, then what waits by now is collected.
A second one is the turn to take it: a busy process that lets go cannot take it again before one that waited.
"""

import fcntl
import os
import sqlite3
from collections import deque

import gevent
import structlog
from gevent.event import AsyncResult
from sqlalchemy.exc import DBAPIError, OperationalError

from kazoo_rec.errors import StoreError

#: Rows in one transaction: enough to share an fsync, few enough that other processes wait no longer than one commit.
BATCH = 500

#: Seconds between attempts while the database refuses (locked, full, read-only): doubled up to the last.
RETRY_FIRST_S, RETRY_LAST_S = 0.1, 5.0

#: Writes that may wait: 1.7 kB each, three of a recording, so 170 MB of 33,000. What is refused is found again by its
#: file (`delivery/orphans.py`).
MOST_WAITING = 100_000

#: What ails the database and not the write: the same write is good later (SQLite's primary result codes).
FAULTS_OF_THE_DATABASE = frozenset((
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_NOTADB))

log = structlog.get_logger()


class Writer:
    """Runs writes on the store's thread, many in one transaction, in the order in which they were submitted.

    Parameters:
      engine: an SQLAlchemy engine whose transactions begin IMMEDIATE.
      lock_path: the file to `flock`, the same for every process that writes this database.
      pool: a `gevent.threadpool.ThreadPool` of one thread.
    """

    def __init__(self, engine, lock_path, pool):
        self._engine, self._pool = engine, pool
        # Nobody else's to lock either: who holds it holds up every write.
        self._lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        self._turn = os.open(f"{lock_path}.turn", os.O_RDWR | os.O_CREAT, 0o600)
        self._hub, self._waiting = gevent.get_hub(), deque()
        self._draining = None

    def submit(self, write) -> AsyncResult:
        """Queues `write(connection)`, called inside a transaction on the store's thread.

        Its return value, or what it raised, is in the AsyncResult once the transaction is durable. A database that
        refuses for a while (locked, full, broken) is asked again until it does not, and what waits keeps its order.
        With MOST_WAITING of them the next has a StoreError at once; those that wait are kept.
        """
        done = AsyncResult()
        if len(self._waiting) >= MOST_WAITING:
            done.set_exception(StoreError("too much waits for the database", f"{MOST_WAITING} writes"))
            return done
        self._waiting.append((write, done))
        if self._draining is None:
            self._draining = gevent.spawn(self._drain)
        return done

    @property
    def waiting(self) -> int:
        """How many writes are not durable yet."""
        return len(self._waiting)

    def close(self):
        """Waits for what is queued, then lets go of the lock file."""
        while self._draining is not None:
            self._draining.join()
        os.close(self._turn)
        os.close(self._lock)

    def _drain(self):
        try:
            retry_s = RETRY_FIRST_S
            while self._waiting:
                try:
                    self._pool.apply(self._commit_all)
                except Exception as refused:  # noqa: BLE001 - whatever ails the database, what waits is kept
                    log.error("database refuses writes", reason=str(refused), waiting=len(self._waiting),
                              retry_s=retry_s, hint="free space, rights and other processes of the database file")
                    gevent.sleep(retry_s)
                    retry_s = min(retry_s * 2, RETRY_LAST_S)
                    continue
                retry_s = RETRY_FIRST_S
        finally:
            self._draining = None

    def _commit_all(self):
        """On the thread until nothing waits: a busy hub takes as long to send it back to work as a commit does."""
        while self._waiting:
            self._hub.loop.run_callback_threadsafe(_tell, self._commit_waiting())

    def _commit_waiting(self):
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)
        try:
            batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
            try:
                outcomes = self._commit(batch, _together)
            except Exception as error:  # one write is at fault: the others go on, it gets its own error
                if _of_the_database(error):
                    raise
                outcomes = self._commit(batch, _apart)
            for _ in batch:
                self._waiting.popleft()
            return outcomes
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _commit(self, batch, run):
        with self._engine.begin() as connection:
            return [(done, *run(connection, write)) for write, done in batch]


def _tell(outcomes):
    for done, value, error in outcomes:
        if error is None:
            done.set(value)
        else:
            done.set_exception(error)


def _together(connection, write):
    return write(connection), None


def _apart(connection, write):
    try:
        with connection.begin_nested():
            return write(connection), None
    except Exception as error:  # travels to whoever submitted the write
        if _of_the_database(error):
            raise
        return None, error


def _of_the_database(error):
    """Whether an error is none of the write's. A connection that is lost has no code of SQLite's, nor has a value that
    sqlite3 cannot bind."""
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is None:
        return error.connection_invalidated or isinstance(error, OperationalError)
    return code & 0xFF in FAULTS_OF_THE_DATABASE
