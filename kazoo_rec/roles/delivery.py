"""The delivery: finishes recordings that stopped, and sends them where their settings say."""

import fcntl
from pathlib import Path

from kazoo_rec.config import Config
from kazoo_rec.delivery.http import new_session
from kazoo_rec.delivery.worker import Worker
from kazoo_rec.errors import ConfigError
from kazoo_rec.store import Store, epoch_ms
from kazoo_rec.threads import Threads

#: Threads of each switch that encode, hash and read files; half of them at most encode.
THREADS = 4


class Delivery:
    """Role `delivery`, for the recordings of every switch of the configuration."""

    def __init__(self, config: Config):
        self._config = config
        self._store = self._lock = None
        self._workers: list[tuple[Worker, Threads]] = []

    def start(self):
        """Raises StoreError where the database is another version's, ConfigError where the recordings directory is
        not there or another delivery process works it."""
        directory = Path(self._config.recordings_dir.here)
        self._lock = _locked(directory)
        self._store = Store(self._config.database)
        settings = self._config.delivery
        for switch in self._config.switches:
            threads = Threads(THREADS)
            worker = Worker(self._store, switch.name, directory, threads, settings, new_session(settings.uploads),
                            epoch_ms)
            worker.start()
            self._workers.append((worker, threads))

    def stop(self):
        for worker, threads in self._workers:
            worker.stop()
            threads.kill()
        if self._store is not None:
            self._store.close()
        if self._lock is not None:
            self._lock.close()


def _locked(directory: Path):
    """The directory's lock file, locked: two processes that finish one recording would deliver a half-written file."""
    try:
        lock = open(directory / ".kazoo_rec.lock", "ab")  # noqa: SIM115 - held as long as the role
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        raise ConfigError("another delivery process works this recordings directory", str(directory)) from taken
    except OSError as refused:
        raise ConfigError("the recordings directory cannot be used", f"{directory}: {refused.strerror}",
                          "make it: mode 2770, a group that FreeSWITCH and kazoo_rec share") from refused
    return lock
