"""Look-ups by a key: those that wait together are made in one turn of the thread.

A turn costs more than a look-up: two threads of Python hand the interpreter to each other, each time after up to 5 ms
where both are busy. What scans goes elsewhere: it would hold up the others of its turn.
"""

from collections import deque

import gevent
from gevent.event import AsyncResult


class Reader:
    """Parameters: an SQLAlchemy engine, and a `gevent.threadpool.ThreadPool` of one thread that has it for itself."""

    def __init__(self, engine, pool):
        self._engine, self._pool, self._database = engine, pool, None
        self._waiting: deque = deque()
        self._turn = None

    def ask(self, statement, values: dict) -> AsyncResult:
        """The result is what a `Statement` finds, or what it raises."""
        done = AsyncResult()
        self._waiting.append((statement, values, done))
        if self._turn is None:
            self._turn = gevent.spawn(self._look_up)
        return done

    def _look_up(self):
        try:
            while self._waiting:
                asked = [self._waiting.popleft() for _ in range(len(self._waiting))]
                for (_, _, done), (rows, error) in zip(asked, self._pool.apply(self._all, (asked,)), strict=True):
                    if error is None:
                        done.set(rows)
                    else:
                        done.set_exception(error)
        finally:
            self._turn = None

    def _all(self, asked):
        found = []
        for statement, values, _ in asked:
            try:
                if self._database is None:
                    self._database = self._engine.connect()  # whose errors are SQLAlchemy's
                found.append((statement.rows(self._database, values), None))
            except Exception as error:  # noqa: BLE001 - travels to whoever asked
                found.append((None, error))
                self.forget()
        return found

    def forget(self):
        """Lets its connection go, on its thread: the next look-up connects anew. A server may have gone."""
        if self._database is not None:
            database, self._database = self._database, None
            database.invalidate()
            database.close()
