"""The store: documents, recordings and deliveries in one database, SQLite for one host, PostgreSQL for many.

Look-ups, lists and writes each run on a thread of their own: no greenlet waits for a disk, no reader for a writer's
turn, and no look-up for a list.
"""

import time

from gevent.event import AsyncResult

from kazoo_rec.store.access import Access
from kazoo_rec.store.database import Database
from kazoo_rec.store.deliveries import Deliveries
from kazoo_rec.store.documents import Documents
from kazoo_rec.store.engines import Engines
from kazoo_rec.store.failing import FailingServers
from kazoo_rec.store.migrations import head, revision, unfit
from kazoo_rec.store.outages import Outages
from kazoo_rec.store.reader import Reader
from kazoo_rec.store.recordings import Recordings
from kazoo_rec.store.sealing import opened, reseal
from kazoo_rec.store.vitals import Vitals
from kazoo_rec.store.writer import Writer
from kazoo_rec.threads import Threads


def epoch_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


class Store:
    """An open database.

    Parameters:
      database: a `Database`, or the URL of one of SQLite, such as `sqlite:////var/lib/kazoo_rec/kazoo_rec.db`.
      clock_ms: what is written into `created_ms` and `updated_ms`.

    `beside` begins the names of its files on this host, `secrets` opens the URLs that its rows have.

    Raises StoreError where the schema is not this version's (only `kazoo-rec run` and `docs import` migrate), where it
    was moved, and where the key is not the database's.
    """

    def __init__(self, database: str | Database, clock_ms=epoch_ms):
        url, self.beside = self._database = database = Database.of(database)
        backend = database.backend
        self._looks, self._reads, self._writes = Threads(1), Threads(1), Threads(1)
        ask = self._reads.apply  # a server may take its time to answer, or to say nothing
        ask(_check, (database,))
        turns = backend.Turns(self.beside)
        try:
            ask(_check, (database,))  # again: who waited for who changed it finds it changed
            self._looking, self._reading = backend.reading(url), backend.reading(url)
            self.secrets = secrets = ask(opened, (self._reading, self.beside))
        except BaseException:
            turns.close()
            raise
        self._writing = backend.writing(url)
        self._writer = Writer(backend, self._writing, turns, self._writes)
        self._reader = Reader(self._looking, self._looks)
        submit, look_up = self._writer.submit, self._reader.ask
        self.documents = Documents(self._read, submit, clock_ms, secrets)
        self.access = Access(self._read, look_up, submit, clock_ms)
        self.engines = Engines(self._read, submit, clock_ms)
        self.vitals = Vitals(self._read, submit, clock_ms)
        self.outages = Outages(self._read, submit)
        self.recordings = Recordings(self._read, look_up, submit, clock_ms, secrets)
        self.deliveries = Deliveries(self._read, look_up, submit)
        self.failing_servers = FailingServers(self._read, submit)

    def engine_lock(self, switches):
        """That one engine alone acts for these switches: `store.sqlite.EngineLock` or PostgreSQL's, not taken yet."""
        return self._database.backend.EngineLock(self._database.url, self.beside, switches)

    @property
    def waiting(self) -> int:
        """How many writes of this process are not durable yet."""
        return self._writer.waiting

    def written(self) -> AsyncResult:
        """Is there when all is durable that waits now."""
        return self._writer.submit(lambda _connection: None)

    def answer(self):
        """Returns when the database answers."""
        self._read(lambda connection: connection.exec_driver_sql("SELECT 1"))

    def reseal(self) -> int:
        """Seals by the first key what is sealed by others that are known; the result is how many rows."""
        return reseal(self._writer.submit, self.secrets)

    def close(self):
        """Writes what is queued, then closes."""
        self._writer.close()
        self._looks.apply(self._reader.forget)
        for threads, engine in ((self._looks, self._looking), (self._reads, self._reading),
                                (self._writes, self._writing)):
            threads.apply(engine.dispose)
            threads.kill()

    def _read(self, query):
        return self._reads.apply(self._query, (query,))

    def _query(self, query):
        with self._reading.connect() as connection:
            return query(connection)


def _check(database):
    if (found := revision(database)) != head():
        raise unfit(database, found)
