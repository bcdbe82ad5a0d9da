"""The delivery: finishes recordings that stopped, and sends them where their settings say."""

import fcntl
import os
from pathlib import Path

import gevent
import structlog
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.config import Config
from kazoo_rec.delivery.connections import Connections
from kazoo_rec.delivery.quotas import GB, Quotas
from kazoo_rec.delivery.worker import Worker
from kazoo_rec.doctor.place import LEAST_FREE_BYTES
from kazoo_rec.errors import ConfigError
from kazoo_rec.roles.vitals import Vitals, families
from kazoo_rec.store import Store, epoch_ms
from kazoo_rec.store.recordings import OPEN_STATES
from kazoo_rec.threads import Threads

#: Threads of each switch that encode, hash and read files; half of them at most encode.
THREADS = 4

#: Seconds between looks at what accounts have on the disk: with 100,000 recordings one takes some 0.2 s of a thread.
QUOTAS_EVERY_S = 60.0

log = structlog.get_logger()


class Delivery:
    """Role `delivery`, for the recordings of every switch of the configuration."""

    def __init__(self, config: Config):
        self._config = config
        self._store = self._lock = None
        self._workers: dict[str, tuple[Worker, Threads]] = {}
        self._quotas, self._watching = [], None
        self._vitals, self._looking, self._registry = None, Threads(1), CollectorRegistry()
        self._disk_free = Gauge("kazoo_rec_disk_free_bytes", "Free where recordings are kept.", registry=self._registry)

    def start(self):
        """Raises StoreError where the database is another version's, ConfigError where the recordings directory is
        not there or another delivery process works it."""
        directory = Path(self._config.recordings_dir.here)
        self._lock = _locked(directory)
        self._store = Store(self._config.database)
        settings = self._config.delivery
        for switch in self._config.switches:
            threads = Threads(THREADS)
            worker = Worker(self._store, switch.name, directory, threads, settings, Connections(settings.uploads),
                            epoch_ms)
            worker.start()
            self._workers[switch.name] = worker, threads
            quota_gb = settings.account_quota_gb
            self._quotas.append(Quotas(self._store.recordings, switch.name, quota_gb and quota_gb * GB, worker.meter))
        self._watching = gevent.spawn(self._watch_quotas)
        self._vitals = Vitals(self._store, self._config.node, "delivery", self._tell)
        self._vitals.start()

    def stop(self):
        if self._vitals is not None:
            self._vitals.stop()
        if self._watching is not None:
            self._watching.kill()
        for worker, threads in self._workers.values():
            worker.stop()
            threads.kill()
        self._looking.kill()
        if self._store is not None:
            self._store.close()
        if self._lock is not None:
            self._lock.close()

    def _tell(self):
        """How it is; raises OSError where the directory is not to be had. A disk that hangs holds up nothing else."""
        disk = self._looking.apply(os.statvfs, (self._config.recordings_dir.here,))
        free_bytes = disk.f_bavail * disk.f_frsize
        self._disk_free.set(free_bytes)
        backlog, metrics = {}, families(self._registry)
        for switch, (worker, _) in self._workers.items():
            backlog[switch] = self._backlog(switch, worker)
            metrics += families(worker.meter.registry, switch=switch)
        return {"disk": {"free_bytes": free_bytes, "least_bytes": LEAST_FREE_BYTES},
                "backlog": backlog, "metrics": metrics}

    def _watch_quotas(self):
        while True:
            try:
                for quotas in self._quotas:
                    quotas.look()
            except SQLAlchemyError as refused:  # the next look may find the database well
                log.warning("quotas cannot be looked at", reason=str(refused))
            gevent.sleep(QUOTAS_EVERY_S)

    def _backlog(self, switch, worker):
        """What waits of one switch's, and by how much the first of it is late."""
        now_ms, meter = epoch_ms(), worker.meter
        states, stopped_ms = self._store.recordings.waiting(switch)
        due, made_ms = self._store.deliveries.waiting_on(switch)
        late_ms = worker.servers.late_ms(self._store.deliveries.queues(switch), now_ms)
        meter.failing.set(worker.servers.failing)
        for state in (*OPEN_STATES, "stopped"):
            meter.open.labels(state).set(states.get(state, 0))
        since = {"finish": (states.get("stopped", 0), stopped_ms), "upload": (due, made_ms)}
        for work, (count, first_ms) in since.items():
            meter.backlog.labels(work).set(count)
            meter.backlog_age.labels(work).set(_past(now_ms, first_ms) / 1000)
        return {**{work: {"waiting": count, "oldest_ms": _past(now_ms, first_ms)}
                   for work, (count, first_ms) in since.items()},
                "late_ms": max(_past(now_ms, stopped_ms), late_ms)}


def _past(now_ms, then_ms):
    return max(0, now_ms - then_ms) if then_ms is not None else 0


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
