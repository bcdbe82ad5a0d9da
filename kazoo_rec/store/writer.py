"""Group commit: every write of this process goes through one queue, and what waits when it is its turn is committed
together."""

from collections import deque

import gevent
import structlog
from gevent.event import AsyncResult
from sqlalchemy.exc import DBAPIError

from kazoo_rec.errors import StoreError

#: Rows in one transaction: enough to share an fsync, few enough that other processes wait no longer than one commit.
BATCH = 500

#: Seconds between attempts while the database refuses (locked, full, read-only): doubled up to the last.
RETRY_FIRST_S, RETRY_LAST_S = 0.1, 5.0

#: Writes that may wait: 1.7 kB each, three of a recording, so 170 MB of 33,000. What is refused is found again by its
#: file (`delivery/orphans.py`).
MOST_WAITING = 100_000

log = structlog.get_logger()


class Writer:
    """Runs writes on the store's thread, many in one transaction, in the order in which they were submitted.

    Parameters:
      backend: `store.sqlite` or `store.postgres`.
      engine: its `writing`.
      turns: its `Turns`.
      pool: a `gevent.threadpool.ThreadPool` of one thread.
    """

    def __init__(self, backend, engine, turns, pool):
        self._backend, self._engine, self._turns, self._pool = backend, engine, turns, pool
        self._hub, self._waiting = gevent.get_hub(), deque()
        self._marks, self._unanswered = backend.Marks(), None  # outcomes of what may be committed, or may not
        self._connection = self._draining = None

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
        """Waits for what is queued, then lets go of the turns."""
        while self._draining is not None:
            self._draining.join()
        if self._connection is not None:
            self._pool.apply(self._connection.close)
        self._turns.close()

    def _drain(self):
        try:
            retry_s = RETRY_FIRST_S
            while self._waiting:
                try:
                    self._pool.apply(self._commit_all)
                except Exception as refused:  # noqa: BLE001 - whatever ails the database, what waits is kept
                    log.error("database refuses writes", reason=str(refused), waiting=len(self._waiting),
                              retry_s=retry_s,
                              hint="its server, or free space, rights and other processes of the database file")
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
        with self._turns:
            outcomes = self._committed_before() or self._committed()
            for _ in outcomes:
                self._waiting.popleft()
            return outcomes

    def _committed_before(self):
        """Of a COMMIT whose answer was lost, with the connection or the server: it is not written twice."""
        if self._unanswered is not None:
            with self._engine.begin() as connection:
                is_there = self._marks.found(connection)
            before, self._unanswered = self._unanswered, None
            return before if is_there else None
        return None

    def _committed(self):
        batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
        try:
            return self._commit(batch, _together)
        except Exception as error:  # one write is at fault: the others go on, it gets its own error
            if self._is_fault(error):
                raise
            return self._commit(batch, self._apart)

    def _apart(self, connection, write):
        try:
            with connection.begin_nested():
                return write(connection), None
        except Exception as error:  # travels to whoever submitted the write
            if self._is_fault(error):
                raise
            return None, error

    def _is_fault(self, error):
        """Whether it is none of the write's."""
        return isinstance(error, DBAPIError) and self._backend.is_fault(error)

    def _commit(self, batch, run):
        # One connection for all, until one fails: to take it from SQLAlchemy's pool each time costs more than a small
        # batch itself.
        connection = self._connection = self._connection or self._engine.connect()
        self._unanswered = None
        try:
            with connection.begin():
                outcomes = [(done, *run(connection, write)) for write, done in batch]
                self._marks.leave(connection)
                self._unanswered = outcomes
        except Exception:
            self._connection = None
            connection.close()
            raise
        self._unanswered = None
        return outcomes


def _tell(outcomes):
    for done, value, error in outcomes:
        if error is None:
            done.set(value)
        else:
            done.set_exception(error)


def _together(connection, write):
    return write(connection), None

