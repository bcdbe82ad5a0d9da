"""All checks of a deployment, one after the other, each within its time."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gevent
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.config import Config, Switch
from kazoo_rec.delivery import s3
from kazoo_rec.delivery.connections import trusted
from kazoo_rec.delivery.networks import Networks
from kazoo_rec.doctor import database, documents, host, hosts, legs, objects, place, trial
from kazoo_rec.doctor import switch as on_switch
from kazoo_rec.doctor.finding import Finding, failed, skipped, wrong
from kazoo_rec.documents.directory import Directory
from kazoo_rec.errors import KazooRecError, SwitchError
from kazoo_rec.switch.connection import Connection
from kazoo_rec.switch.replies import check
from kazoo_rec.threads import Threads

#: Seconds that a check may take, and that the delivery hosts may.
CHECK_S, HOSTS_S = 30.0, hosts.ALL_S + 10.0

#: Seconds that a write, a read and a removal may take.
LIBRARY_S = 60.0

#: Seconds for letting go of the database and of the threads.
CLOSE_S = 5.0

#: Threads for what blocks: one that a dead file system holds must not hold up the others.
THREADS = 8


def epoch_us() -> int:
    return time.time_ns() // 1000


class Diagnosis:
    """Of one configuration.

    Parameters:
      realtime: tells whether a process like this one may have realtime priority.
      connect: makes a connection to a switch, not yet connected.
      mounts: gives /proc/self/mountinfo.
      pause: waits while the switch records.
      clock_us: microseconds since the epoch.
      check_s: seconds that a check may take.
    """

    def __init__(self, config: Config, realtime: Callable[[], bool], *, connect=Connection,
                 mounts: Callable[[], str] = Path("/proc/self/mountinfo").read_text, pause=gevent.sleep,
                 clock_us: Callable[[], int] = epoch_us, check_s: float = CHECK_S):
        self._config, self._realtime, self._connect, self._mounts = config, realtime, connect, mounts
        self._pause, self._clock_us, self._check_s = pause, clock_us, check_s
        self._threads = Threads(THREADS)
        self._store = None
        self._findings: list[Finding] = []

    def run(self) -> list[Finding]:
        """Every finding. Whatever ends it, what was made for it is removed."""
        try:
            self._host()
            directory = self._documents()
            for switch in self._config.switches:
                self._switch(switch, directory)
        finally:
            with gevent.Timeout(CLOSE_S, False):  # a thread that a dead disk holds is left behind
                if self._store is not None:
                    self._store.close()
                self._threads.kill()
        return self._findings

    def _host(self):
        config, run = self._config, self._threads.apply
        self._findings += host.user(os.geteuid())
        self._note("realtime priority", lambda: host.priority(run(self._realtime)))
        groups = frozenset((*os.getgroups(), os.getegid()))
        self._note("directory", lambda: run(place.rights, (config.recordings_dir, groups, self._mounts())))
        self._note("certificate", lambda: run(host.certificate, (config.api,)))
        self._note("control certificate", lambda: run(host.control, (config.control, self._now_ms() / 1000)))
        self._store, found = self._within(database.NAME, lambda: database.opened(config.database, self._threads),
                                          (None, []))
        self._findings += found
        written = None
        if self._store is not None:
            self._note("deliveries", lambda: database.waiting(self._store, self._now_ms()))
            self._note("engines", lambda: host.engines(self._store, config.control))
            written = self._store.recordings.written_since
        self._note(objects.NAME, lambda: objects.library(
            config.delivery.s3, s3.opened(config.delivery, self._threads), lambda: self._now_ms() / 1000), LIBRARY_S)
        self._note("disk space", lambda: place.space(
            config.recordings_dir.here, written, self._now_ms(), config.delivery.remove_after_delivery,
            config.disk, lambda path: run(os.statvfs, (path,))))

    def _documents(self) -> Directory:
        """As the engine has them, else as they are in the files."""
        source, rows, in_store = self._config.documents, None, None
        if source is not None:
            rows, found = self._within(documents.NAME, lambda: self._threads.apply(documents.read, (source,)),
                                       (None, []))
            self._findings += found
        if self._store is not None:
            in_store = self._within(documents.NAME, lambda: self._store.documents.since(0), None)
        if in_store is not None:
            sealed = rows and [{**row, "body": self._store.secrets.seal(row["body"])} for row in rows]
            self._findings += documents.stored(in_store, sealed)
        read = [{**row, "deleted": False, "seq": 0} for row in rows or ()]
        urls = dict.fromkeys(documents.urls([row for row in (*(in_store or ()), *read) if not row["deleted"]]))
        delivery = self._config.delivery
        self._note(hosts.NAME, lambda: hosts.reachable(urls, self._now_ms() / 1000, trusted(delivery.ca_file),
                                                       Networks(delivery.allow_networks), delivery.s3 is not None),
                   HOSTS_S)
        return Directory().apply(in_store or read)

    def _switch(self, switch: Switch, directory: Directory):
        before = len(self._findings)
        connection = self._connect(switch.host, switch.port, switch.password)
        try:
            connection.connect()
            connection.subscribe()
            self._asked(switch, lambda *asked: check(connection.send(*asked)), directory)
        except SwitchError as error:
            self._findings += [on_switch.unreachable(error, switch),
                               skipped("the switch", "nothing more can be asked")]
        finally:
            connection.stop()
            self._findings[before:] = [replace(one, switch=switch.name) for one in self._findings[before:]]

    def _asked(self, switch, ask, directory):
        config = self._config
        self._note("event socket", lambda: on_switch.event_socket(ask, switch))
        found, missing = self._within("modules", lambda: on_switch.modules(ask), ([], set()))
        self._findings += found
        if "mod_commands" in missing:
            self._findings.append(skipped("the switch", "nothing more can be asked"))
            return
        self._note("version", lambda: on_switch.version(ask))
        self._note("clock", lambda: on_switch.clock(ask, self._clock_us))
        self._note("test recording", lambda: trial.trial(ask, config.recordings_dir, missing, self._threads,
                                                         self._pause))
        self._note("bypassed media", lambda: on_switch.media_around(ask))
        self._note("other recorders", lambda: on_switch.global_recorders(ask))
        seen = self._within("legs", lambda: legs.look(ask, config.identity, directory), None)
        if seen is not None:
            self._note("legs", lambda: [*legs.placed(seen, directory), *legs.media_around(seen),
                                        *legs.others(seen, config.recordings_dir, self._is_ours)])

    def _is_ours(self, recording_id):
        return self._store is None or self._store.recordings.get(recording_id) is not None

    def _now_ms(self):
        return self._clock_us() // 1000

    def _note(self, name: str, look: Callable[[], list[Finding]], within_s: float | None = None):
        self._findings += self._within(name, look, [], within_s)

    def _within(self, name: str, look: Callable, otherwise, within_s: float | None = None):
        """What `look` gives, `otherwise` where it fails or takes too long, which then is the finding."""
        within_s = within_s or self._check_s
        limit = gevent.Timeout(within_s)
        try:
            with limit:
                return look()
        except gevent.Timeout as expired:
            if expired is not limit:
                raise
            found = wrong(name, f"not done within {within_s:g} s", "does a disk, the network or the switch hang?")
        except KazooRecError as error:
            found = failed(name, error, "look at the log of FreeSWITCH and of kazoo-rec")
        except (OSError, SQLAlchemyError) as error:
            found = wrong(name, f"{type(error).__name__}: {error}", "look at the disk and at the rights")
        self._findings.append(found)
        return otherwise
