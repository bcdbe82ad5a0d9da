"""Finishes what has stopped and uploads what is due, on the one node whose disk this process sees.

The row is the job: the store is asked again and again, and what is not done is due. Nothing is kept here that a kill
could lose.
"""

import random
from collections import Counter
from functools import partial
from pathlib import Path

import gevent
import structlog
from gevent.event import Event

from kazoo_rec.delivery import http, target, webhook
from kazoo_rec.delivery.finish import all_of, finish, remove
from kazoo_rec.delivery.meter import Meter
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.errors import TargetError
from kazoo_rec.store.spans import is_declined, is_moved

#: Seconds after which the store is looked into again, if nothing that ends makes room before.
LOOK_S = 0.2

#: Seconds in which what ends together is waited for: looking costs as much as an upload.
TOGETHER_S = 0.01

#: Recordings whose audio is removed at once.
DELETE_AT_ONCE = 20

#: Seconds to wait when the store cannot be read.
STORE_RETRY_S = 2.0

#: Milliseconds after a first failure; each further one doubles it, up to the last.
RETRY_FIRST_MS, RETRY_LAST_MS = 5_000, 3_600_000

#: Seconds that uploads are given to end when the worker stops.
GRACE_S = 5.0

#: In the place of its host, of an upload whose outcome is being written.
SENT = ""

log = structlog.get_logger()


class Worker:
    """Delivery of one node.

    Parameters:
      store: a Store.
      node: the switch whose recordings these are.
      recordings_dir: where their files are, as this host sees it.
      pool: a `gevent.threadpool.ThreadPool`; half of its threads encode, so that reading for uploads finds one free.
      settings: DeliverySettings.
      connections: `delivery.connections.Connections`, for as many as `settings.uploads`.
      clock_ms: milliseconds since the epoch.
      spread: numbers of [0, 1), for the jitter of retries.
      timeout_s: to connect, and to answer.
    """

    def __init__(self, store, node: str, recordings_dir: Path, pool, settings: DeliverySettings, connections,
                 clock_ms,
                 spread=random.random, timeout_s=http.TIMEOUT_S):
        self._store, self._node, self._recordings_dir, self._pool = store, node, recordings_dir, pool
        self._settings, self._connections, self._clock_ms, self._spread = settings, connections, clock_ms, spread
        self._timeout_s, self.meter = timeout_s, Meter()
        # id of a recording or delivery → (its greenlet, the host that it is sent to; SENT once it was, None for others)
        self._at_work: dict = {}
        self._aside: dict = {}  # the same ids → (failures, not before ms)
        # What looks for work → whether some has ended, so that there is room, or more to do.
        self._ended = {look: Event() for look in (self._take_stopped, self._take_due, self._take_to_delete)}
        self._loops = []

    def start(self):
        """Begins to look into the store."""
        self._loops = [gevent.spawn(self._run, look) for look in self._ended]

    def stop(self):
        """Takes up nothing more; what has not ended after GRACE_S is broken off and is still due."""
        gevent.killall(self._loops)
        self._loops = []
        greenlets = self._greenlets()
        gevent.joinall(greenlets, timeout=GRACE_S)
        gevent.killall(greenlets)

    def tick(self):
        """Takes up what there is room for, and does not wait for it. Raises what the store raises on reading."""
        for look in self._ended:
            look()

    def join(self):
        """Waits until everything that was taken up has ended."""
        gevent.joinall(self._greenlets())

    def _run(self, look):
        ended = self._ended[look]
        while True:
            ended.clear()
            try:
                look()
            except Exception:  # whatever ails the database, the next look may find it well
                log.exception("cannot read what is to be delivered", node=self._node, retry_s=STORE_RETRY_S)
                gevent.sleep(STORE_RETRY_S)
            if ended.wait(LOOK_S):
                gevent.sleep(TOGETHER_S)

    def _take_stopped(self):
        room = max(1, self._pool.maxsize // 2) - self._busy()[None]
        if room > 0:
            rows = self._free(room, partial(self._store.recordings.stopped, self._node))
            for row in rows[:room]:
                self._begin(row, None, self._finish, self._take_stopped, self._take_due)

    def _take_due(self):
        per_host = self._settings.uploads_per_host
        while (room := self._room(busy := self._busy())) > 0:
            full = [host for host, count in busy.items() if host and count >= per_host]
            jobs = self._free(room, partial(self._store.deliveries.due, self._node, self._clock_ms(), skip_hosts=full))
            if not jobs:
                return
            for job in jobs[:room]:
                busy[job["host"]] += 1
                if busy[job["host"]] <= per_host:
                    self._begin(job, job["host"], self._upload, self._take_due)

    def _take_to_delete(self):
        for row in self._free(DELETE_AT_ONCE, partial(self._store.recordings.to_delete, self._node)):
            self._begin(row, None, self._delete, self._take_to_delete)

    def _room(self, busy):
        """For uploads: what was sent makes room before its row is written, unless that takes long."""
        uploads, sent = self._settings.uploads, busy[SENT]
        return min(uploads - busy.total() + busy[None] + sent, uploads - sent)

    def _busy(self):
        return Counter(host for _, host in self._at_work.values())

    def _free(self, room, read):
        """Rows that nobody works on. What was at work before the read may be done after it, and its row is then old;
        during the read another look may have taken one up."""
        taken = set(self._at_work)
        rows = read(limit=room + len(taken) + len(self._aside))
        now_ms = self._clock_ms()
        taken |= self._at_work.keys()
        return [row for row in rows if row["id"] not in taken and self._aside.get(row["id"], (0, 0))[1] <= now_ms]

    def _begin(self, row, host, work, *looks):
        self._at_work[row["id"]] = gevent.spawn(self._do, row, work, looks), host

    def _greenlets(self):
        return [greenlet for greenlet, _ in self._at_work.values()]

    def _do(self, row, work, looks):
        try:
            work(row)
            self._aside.pop(row["id"], None)
        except Exception as error:  # noqa: BLE001 - the trouble of one recording is no other's
            self._set_aside(row, error)
        finally:
            del self._at_work[row["id"]]
            for look in looks:
                self._ended[look].set()

    def _set_aside(self, row, error):
        """The row could not be changed, so only this process knows not to try again at once."""
        failures = self._aside.get(row["id"], (0, 0))[0] + 1
        wait_ms = self._back_off_ms(failures)
        self._aside[row["id"]] = failures, self._clock_ms() + wait_ms
        log.error("recording set aside", recording_id=row.get("recording_id", row["id"]), error=http.explain(error),
                  retry_ms=wait_ms)

    def _back_off_ms(self, failures):
        longest_ms = min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** min(failures - 1, 16))
        return round(longest_ms * (1 - self._spread() / 2))

    def _finish(self, row):
        if is_declined(row["spans"]):
            self._remove_all(row)  # before the row says so: killed in between, it is done again
        try:
            state = finish(row, self._store, self._recordings_dir, self._pool, self._clock_ms(), self._settings,
                           self.meter)
        except Exception as error:
            self._store.recordings.update(row["id"], state_reason=http.explain(error))
            raise
        if state == "discarded":
            self._try_to_remove(row, partial(self._remove_all, row))
        elif state == "recorded" and is_moved(row["spans"]):
            master = self._recordings_dir / row["master"]  # what was to be kept has a file of its own
            self._try_to_remove(row, lambda: self._pool.apply(remove, (master,)))

    def _delete(self, row):
        """The audio first, then the row says so: killed in between, it is done again."""
        self._remove_all(row)
        self._store.recordings.update(row["id"], state="deleted", file=None).get()
        self.meter.states.labels("deleted").inc()
        log.info("recording deleted", recording_id=row["id"], call_id=row["call_id"], by=row["deleted_by"])

    def _upload(self, job):
        outcome = self._attempt(job)
        self._at_work[job["id"]] = gevent.getcurrent(), SENT
        self._ended[self._take_due].set()
        now_ms, attempts, recording = self._clock_ms(), job["attempts"] + 1, job["recording"]
        told = log.bind(recording_id=recording["id"], call_id=recording["call_id"], kind=job["kind"], host=job["host"],
                        attempts=attempts)
        if isinstance(outcome, http.Proof):
            proved = self._store.deliveries.update(
                job["id"], state="delivered", attempts=attempts, status=outcome.status, etag=outcome.etag,
                proof_sha256=outcome.sha256, delivered_ms=now_ms, last_error=None).get()
            self.meter.attempts.labels("delivered").inc()
            told.info("recording delivered", status=outcome.status)
            sent = proved and job["kind"] == "upload"
            if sent and self._settings.remove_after_delivery and not self._held(recording):
                self._try_to_remove(recording, partial(self._remove_all, recording))
            return
        over = outcome.final or now_ms >= job["give_up_ms"]
        self.meter.attempts.labels("given_up" if over else "failed").inc()
        wait_ms = max(self._back_off_ms(attempts), (outcome.retry_after_s or 0) * 1000)
        next_ms = round(min(now_ms + wait_ms, job["give_up_ms"]))
        changed = self._store.deliveries.update_due(
            job["id"], state="failed" if over else "due", attempts=attempts, status=outcome.status,
            last_error=outcome.text, next_attempt_ms=next_ms).get()
        if not changed:
            told.info("delivery ended meanwhile, its recording was deleted")
        elif over:
            told.error("delivery given up", error=outcome.text, hint="`kazoo-rec recordings retry` takes it up again")
        else:
            told.warning("delivery failed", error=outcome.text, next_attempt_ms=next_ms)

    def _held(self, recording):
        return self._store.recordings.get(recording["id"])["legal_hold"]

    def _attempt(self, job):
        recording, told = job["recording"], webhook.status(job["kind"])
        try:
            address = self._store.secrets.open(job["url"])
            if told:
                return http.tell(self._connections, address, webhook.body(recording, told),
                                 webhook.key(recording, told), self._clock_ms() / 1000, self._timeout_s)
            url = target.build(address, recording, self._settings.file_name, self._settings.query)
            key = self._store.secrets.unwrap(recording["account_id"], recording["id"], recording.get("data_key"))
            return http.send(self._connections, job["method"], url, recording, self._recordings_dir / recording["file"],
                             self._pool, self._clock_ms() / 1000, self._timeout_s, key)
        except TargetError as error:
            return http.Failure(http.printable(str(error)), final=True)
        except Exception as error:  # noqa: BLE001 - becomes this delivery's last_error
            return http.Failure(http.explain(error))

    def _remove_all(self, recording):
        master = self._recordings_dir / recording["master"]
        self._pool.apply(lambda: remove(*all_of(recording["id"], master)))

    def _try_to_remove(self, recording, remove_some):
        try:
            remove_some()
        except OSError as error:
            log.error("cannot remove a file that is done with", recording_id=recording["id"], error=http.explain(error),
                      hint="its directory has to be writable for this user")
