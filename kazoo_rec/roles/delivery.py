"""The delivery: finishes recordings that stopped, and sends them where their settings say."""

import fcntl
import os
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

import gevent
import structlog
from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.config import Config
from kazoo_rec.delivery import s3
from kazoo_rec.delivery.backlog import Backlog
from kazoo_rec.delivery.clock import HostClock, monotonic_ms
from kazoo_rec.delivery.connections import Connections, trusted
from kazoo_rec.delivery.disk import Clearing, Disk
from kazoo_rec.delivery.jobs import RETRY_LAST_MS
from kazoo_rec.delivery.mark import LOCK, check, read
from kazoo_rec.delivery.networks import Networks
from kazoo_rec.delivery.orphans import FOUND_EVERY_S, Orphans
from kazoo_rec.delivery.quotas import GB, Quotas
from kazoo_rec.delivery.worker import Worker
from kazoo_rec.documents.directory import Directory
from kazoo_rec.errors import ConfigError, StoreError
from kazoo_rec.policy.settings import DEFAULTS
from kazoo_rec.roles.memory import GIVE_BACK_EVERY_S, give_back
from kazoo_rec.roles.vitals import Vitals, families
from kazoo_rec.store import Store, epoch_ms
from kazoo_rec.store.recordings import OPEN_STATES
from kazoo_rec.switch.redial import place
from kazoo_rec.threads import Threads

#: Threads of each switch that encode, hash and read files; half of them at most encode.
THREADS = 4

#: Seconds between looks at what is free.
DISK_EVERY_S = 2.0

#: Seconds without an answer of the disk after which it is said not to take anything.
DISK_HANGS_S = 10.0

#: Seconds between looks for what was delivered and is still here though it is not to be.
DELIVERED_EVERY_S = 300.0

#: Seconds between looks at what accounts have on the disk: with 100,000 recordings one takes some 0.2 s of a thread.
QUOTAS_EVERY_S = 60.0

log = structlog.get_logger()


class Delivery:
    """Role `delivery`, for the recordings of every switch of the configuration."""

    def __init__(self, config: Config):
        self._config = config
        self._store = self._lock = None
        self._workers: dict[str, tuple[Worker, Threads]] = {}
        self._quotas: dict[str, Quotas] = {}
        self._vitals, self._looking, self._registry = None, Threads(1), CollectorRegistry()
        self._disk_free = Gauge("kazoo_rec_disk_free_bytes", "Free where recordings are kept.", registry=self._registry)
        self._disk_alarm = Gauge("kazoo_rec_disk_alarm", "1 while less than disk.alarm_below is free, or nothing more "
                                 "can be written.", registry=self._registry)
        self._disk = Disk(Path(config.recordings_dir.here), config.disk, self._looking.apply)
        self._clearings: list[Clearing] = []
        self._unfinished = {switch.name: Backlog(monotonic_ms) for switch in config.switches}
        self._watching, self._looked_s, self._documents = [], time.monotonic(), Directory()

    def start(self):
        """Raises StoreError where the database is another version's, ConfigError where the recordings directory is
        not there or another delivery process works it, or `delivery.ca_file` cannot be used."""
        directory = Path(self._config.recordings_dir.here)
        self._lock = _locked(directory)
        self._disk.look()
        self._store = Store(self._config.database)
        mark = _mark(self._store.recordings, self._config.node, directory, self._lock)
        settings = self._config.delivery
        authorities, networks = trusted(settings.ca_file), Networks(settings.allow_networks)
        for switch in self._config.switches:
            threads = Threads(THREADS)
            deliveries, now_ms = self._store.deliveries, epoch_ms()
            deliveries.bring_near(switch.name, now_ms, now_ms + RETRY_LAST_MS).get()
            worker = Worker(self._store, switch.name, directory, threads, settings,
                            Connections(settings.uploads, authorities, networks),
                            HostClock(epoch_ms, monotonic_ms, partial(deliveries.shift, switch.name)), mark=mark,
                            objects=s3.opened(settings, threads))
            worker.start()
            self._workers[switch.name] = worker, threads
            quota_gb = settings.account_quota_gb
            self._quotas[switch.name] = Quotas(self._store.recordings, switch.name, quota_gb and quota_gb * GB,
                                               worker.meter)
            self._clearings.append(
                Clearing(self._store, switch.name, directory, self._disk, threads.apply, epoch_ms, monotonic_ms,
                         worker.meter, mark))
        meters = {switch: worker.meter for switch, (worker, _) in self._workers.items()}
        orphans = Orphans(self._store, self._config.node, meters, directory, self._looking.apply, self._settings_of,
                          DEFAULTS, time.monotonic, mark)
        self._watching = [gevent.spawn(run) for run in (
            lambda: self._watch_disk(mark), self._make_room, self._remove_delivered,
            self._watch_quotas, lambda: self._look_for(orphans), self._give_back)]
        self._vitals = Vitals(self._store, self._config.node, "delivery", self._tell)
        self._vitals.start()

    def stop(self):
        if self._vitals is not None:
            self._vitals.stop()
        gevent.killall(self._watching)
        for worker, threads in self._workers.values():
            worker.stop()
            threads.kill()
        self._looking.kill()
        if self._store is not None:
            self._store.close()
        if self._lock is not None:
            self._lock.close()

    def _tell(self):
        """How it is. A disk that hangs holds up nothing else."""
        disk, hangs = self._disk, time.monotonic() - self._looked_s > DISK_HANGS_S
        refuses = hangs or any(worker.disk_refuses for worker, _ in self._workers.values())
        self._disk_free.set(disk.free_bytes)
        self._disk_alarm.set(disk.alarmed or refuses)
        backlog, metrics = {}, families(self._registry)
        for switch, (worker, _) in self._workers.items():
            backlog[switch] = self._backlog(switch, worker)
            metrics += families(worker.meter.registry, switch=switch)
        return {"disk": {"free_bytes": disk.free_bytes, "least_bytes": disk.least_bytes, "refuses": refuses},
                "refused": {switch: sorted(quotas.over) if disk.alarmed else []
                            for switch, quotas in self._quotas.items()},
                "backlog": backlog, "metrics": metrics}

    def _watch_disk(self, mark):
        fault = None
        while True:
            gevent.sleep(DISK_EVERY_S)
            before, fault = fault, None
            try:
                self._disk.look()
                self._looking.apply(check, (Path(self._config.recordings_dir.here), mark))
                self._looked_s = time.monotonic()
            except OSError as refused:
                fault = str(refused)
                if fault != before:
                    log.error("the recordings directory cannot be looked at", reason=fault)

    def _look_for(self, orphans):
        fault = None
        while True:
            before, fault = fault, None
            try:
                orphans.look()
            except Exception as refused:  # noqa: BLE001  whatever it is, the next look may find it well
                foreseen = isinstance(refused, (OSError, SQLAlchemyError, StoreError))
                fault = str(refused) if foreseen else place(refused)
                if fault != before:
                    log.error("files without a row cannot be looked for", reason=fault)
            gevent.sleep(FOUND_EVERY_S)

    def _settings_of(self, *asked):
        rows = self._store.documents.since(self._documents.seq)
        if rows:
            self._documents = self._looking.apply(self._documents.apply, (rows,))
        return self._documents.settings(*asked)

    def _make_room(self):
        while True:
            for clearing in self._clearings:
                clearing.tick()
            gevent.sleep(DISK_EVERY_S)

    def _remove_delivered(self):
        while self._config.delivery.remove_after_delivery:
            for clearing in self._clearings:
                clearing.remove_delivered()
            gevent.sleep(DELIVERED_EVERY_S)

    def _give_back(self):
        while True:
            gevent.sleep(GIVE_BACK_EVERY_S)
            self._looking.apply(give_back)

    def _watch_quotas(self):
        while True:
            try:
                for quotas in self._quotas.values():
                    quotas.look()
            except SQLAlchemyError as refused:  # the next look may find the database well
                log.warning("quotas cannot be looked at", reason=str(refused))
            gevent.sleep(QUOTAS_EVERY_S)

    def _backlog(self, switch, worker):
        """What waits of one switch's, and by how much the first of it is late."""
        now_ms, meter = epoch_ms(), worker.meter
        states, first_ms, last_ms = self._store.recordings.waiting(switch)
        unfinished_ms = self._unfinished[switch].waits_ms(first_ms, last_ms)
        due, made_ms = self._store.deliveries.waiting_on(switch)
        late_ms = worker.servers.late_ms(self._store.deliveries.queues(switch), now_ms)
        meter.failing.set(worker.servers.failing)
        for state in (*OPEN_STATES, "stopped"):
            meter.open.labels(state).set(states.get(state, 0))
        undelivered_ms = max(0, now_ms - made_ms) if made_ms is not None else 0
        waiting = {"finish": (states.get("stopped", 0), unfinished_ms), "upload": (due, undelivered_ms)}
        for work, (count, oldest_ms) in waiting.items():
            meter.backlog.labels(work).set(count)
            meter.backlog_age.labels(work).set(oldest_ms / 1000)
        return {**{work: {"waiting": count, "oldest_ms": oldest_ms} for work, (count, oldest_ms) in waiting.items()},
                "late_ms": max(unfinished_ms, late_ms)}


def _locked(directory: Path):
    """The directory's lock file, locked: two processes that finish one recording would deliver a half-written file."""
    try:
        lock = open(directory / LOCK, "ab")  # noqa: SIM115 - held as long as the role
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as taken:
        raise ConfigError("another delivery process works this recordings directory", str(directory)) from taken
    except OSError as refused:
        raise ConfigError("the recordings directory cannot be used", f"{directory}: {refused.strerror}",
                          "make it: mode 2770, a group that FreeSWITCH and kazoo_rec share") from refused
    return lock


def _mark(recordings, node, directory, lock):
    """The mark that the node's directory has to have. The first start takes the directory as it is."""
    known = recordings.mark(node)
    if known is None:
        known = read(directory)
        if known is None:
            known = uuid4().hex
            lock.write(known.encode())
            lock.flush()
            os.fsync(lock.fileno())
        recordings.set_mark(node, known).get()
    return known
