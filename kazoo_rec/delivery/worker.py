"""Finishes what has stopped and uploads what is due, on the one node whose disk this process sees.

The row is the job: the store is asked again and again, and what is not done is due. Nothing is kept here that a kill
could lose.
"""

import random
import time
from functools import partial
from operator import itemgetter
from pathlib import Path

import gevent
import structlog
from gevent.event import Event

from kazoo_rec.delivery import bucket, http, library, target, webhook
from kazoo_rec.delivery.clock import monotonic_ms
from kazoo_rec.delivery.finish import finish, is_marked, remove
from kazoo_rec.delivery.jobs import Jobs
from kazoo_rec.delivery.mark import check
from kazoo_rec.delivery.meter import Meter
from kazoo_rec.delivery.places import DELETING, FINISHING, SENT, FinishingPlaces, Place, UploadPlaces
from kazoo_rec.delivery.s3 import Content, ObjectStore
from kazoo_rec.delivery.servers import Servers
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.errors import LibraryError, TargetError
from kazoo_rec.media import sealed
from kazoo_rec.media.names import all_of
from kazoo_rec.store.spans import declined, is_declined

#: Seconds after which the store is looked into again, if nothing that ends makes room before.
LOOK_S = 0.2

#: Seconds in which what ends together is waited for: looking costs as much as an upload.
TOGETHER_S = 0.01

#: Looking for what is due takes longer with each account and server; then it rests so many times as long, and no longer
#: than these seconds: it may have been the database that hung.
LOOK_RESTS, LOOK_RESTS_MOST_S = 20, 10.0

#: Recordings whose audio is removed at once.
DELETE_AT_ONCE = 20

#: Seconds to wait when the store cannot be read.
STORE_RETRY_S = 2.0

#: Milliseconds before a disk that takes nothing more is tried again.
DISK_RETRY_MS = 10_000

#: Seconds that uploads are given to end when the worker stops.
GRACE_S = 5.0

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
      now_at: milliseconds that no jump of a clock moves.
      mark: the directory's.
      objects: `delivery.s3.ObjectStore`, None: there is none.
    """

    def __init__(self, store, node: str, recordings_dir: Path, pool, settings: DeliverySettings, connections,
                 clock_ms, spread=random.random, timeout_s=http.TIMEOUT_S, now_at=monotonic_ms,
                 mark: str | None = None, objects: ObjectStore | None = None):
        self._store, self._node, self._recordings_dir, self._pool = store, node, recordings_dir, pool
        self._settings, self._connections, self._clock_ms = settings, connections, clock_ms
        self._timeout_s, self._now_at, self._mark, self.meter = timeout_s, now_at, mark, Meter()
        self._objects = objects
        self.servers = Servers(store.failing_servers, node)
        self._finishing = FinishingPlaces(max(1, pool.maxsize // 2))
        self._uploads = UploadPlaces(settings, self.servers)
        self._jobs = Jobs(now_at, spread, self._make_room, self._disk_full)
        self._queues, self._look_again_s = [], 0.0
        # What looks for work → whether some has ended, so that there is room, or more to do.
        self._ended = {look: Event() for look in (self._take_stopped, self._take_due, self._take_to_delete)}
        self._loops = []
        self._disk_tried_at, self.disk_refuses = 0, False
        self._into_library: set[str] = set()  # recordings that are on their way

    def start(self):
        """Begins to look into the store."""
        self._loops = [gevent.spawn(self._run, look) for look in self._ended]

    def stop(self):
        """Takes up nothing more; what has not ended after GRACE_S is broken off and is still due."""
        gevent.killall(self._loops)
        self._loops = []
        greenlets = self._jobs.greenlets
        gevent.joinall(greenlets, timeout=GRACE_S)
        gevent.killall(greenlets)

    def tick(self):
        """Takes up what there is room for, and does not wait for it. Raises what the store raises on reading."""
        self._look_again_s = 0.0
        for look in self._ended:
            look()

    def join(self):
        """Waits until everything that was taken up has ended."""
        gevent.joinall(self._jobs.greenlets)

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
        """Accounts in turn; of an account what stopped first."""
        if self._disk_rests():
            return

        def begin(queue, row):
            self._jobs.begin(row, Place(queue, FINISHING), self._finish)

        def read(most, taken):
            return [row for (account_id,), limit in most.items()
                    for row in self._store.recordings.stopped(self._node, account_id, limit, taken)]

        accounts = self._store.recordings.accounts_stopped(self._node)
        self._jobs.take([(account_id,) for account_id in accounts], self._finishing.give, read, begin)

    def _take_due(self):
        """Accounts in turn; of an account the server that is behind most, of that what was to begin first."""
        now_ms = self._clock_ms()
        self._look_for_queues()
        queues = [queue for *queue, planned_ms in self._queues if planned_ms <= now_ms]
        queues = [queue for queue in map(tuple, queues) if not self.servers.rests(queue, now_ms)]

        def begin(queue, job):
            self._jobs.begin(job, Place(queue, self.servers.standing(queue)), self._upload)

        def read(most, taken):
            return self._store.deliveries.due(self._node, most, now_ms, taken)

        self._jobs.take(queues, self._uploads.give, read, begin)

    def _look_for_queues(self):
        since_s = time.monotonic()
        if since_s >= self._look_again_s:
            self._queues = sorted(self._store.deliveries.queues(self._node), key=itemgetter(2))
            self.servers.look((account_id, host) for account_id, host, _ in self._queues)
            now_s = time.monotonic()
            self._look_again_s = now_s + min(LOOK_RESTS * (now_s - since_s), LOOK_RESTS_MOST_S)

    def _take_to_delete(self):
        """What waits for the library is set aside apart: it holds up nothing that was never there."""
        if self._disk_rests():
            return
        for queue in ((), ("", library.KIND)):
            if self._jobs.stuck(queue):
                continue
            for row in self._jobs.free({queue: DELETE_AT_ONCE}, partial(self._to_delete, queue)):
                if row["id"] not in self._into_library:  # what is on its way would be there again after it
                    self._jobs.begin(row, Place(queue, DELETING), self._delete)

    def _to_delete(self, queue, most, taken):
        return self._store.recordings.to_delete(self._node, most[queue], bool(queue), taken)

    def _make_room(self, place):
        looks = {FINISHING: (self._take_stopped, self._take_due), DELETING: (self._take_to_delete,)}
        for look in looks.get(place.kind, (self._take_due,)):
            self._ended[look].set()

    def _disk_rests(self):
        return self.disk_refuses and self._now_at() - self._disk_tried_at < DISK_RETRY_MS

    def _disk_full(self, error):
        """A disk that takes nothing more, or is not there, is the trouble of all that stopped: they wait, and none for
        longer than the others."""
        self._disk_tried_at = self._now_at()
        if not self.disk_refuses:
            log.error("the disk takes nothing more: what has stopped waits", node=self._node,
                      error=http.explain(error), retry_ms=DISK_RETRY_MS)
        self.disk_refuses = True

    def _disk_takes(self):
        if self.disk_refuses:
            self.disk_refuses = False
            log.info("the disk takes files again", node=self._node)

    def _finish(self, row):
        if not is_declined(row["spans"]) and self._pool.apply(is_marked, (row, self._recordings_dir)):
            # Said before the mark goes with the rest: killed in between, nothing would tell it from others.
            row = {**row, "spans": [*row["spans"], declined(row["stopped_ms"])]}
            self._store.recordings.update(row["id"], spans=row["spans"]).get()
        if is_declined(row["spans"]):
            self._remove_all(row)  # before the row says so: killed in between, it is done again
        try:
            state = finish(row, self._store, self._recordings_dir, self._pool, self._clock_ms(), self._settings,
                           self.meter, self._mark)
        except Exception as error:
            self._store.recordings.update(row["id"], state_reason=http.explain(error))
            raise
        self._disk_takes()
        if state == "discarded":
            self._remove_unless_held(row)

    def _delete(self, row):
        """The audio first, then the row says so: killed in between, it is done again."""
        self._remove_all(row)
        self._disk_takes()
        self._remove_from_library(row)
        self._store.recordings.update(row["id"], state="deleted", file=None).get()
        self.meter.states.labels("deleted").inc()
        log.info("recording deleted", recording_id=row["id"], call_id=row["call_id"], by=row["deleted_by"])

    def _remove_from_library(self, row):
        for kept in self._store.deliveries.of(row["id"]):
            if kept["kind"] != library.KIND:
                continue
            if self._objects is None:
                raise LibraryError("the library has a recording that is to be deleted, and there is no object store",
                                   hint="the configuration's `s3`")
            left = self._objects.remove(library.place(self._objects, kept, row), kept["size_bytes"],
                                        self._clock_ms() / 1000, self._timeout_s)
            if left:
                raise LibraryError("the library does not remove what is to be deleted", left.text)

    def _upload(self, job):
        if job["kind"] != library.KIND:
            self._deliver(job)
            return
        recording_id = job["recording"]["id"]
        self._into_library.add(recording_id)
        try:
            if self._store.recordings.get(recording_id)["delete_requested_ms"] is None:
                self._deliver(job)
        finally:
            self._into_library.remove(recording_id)

    def _deliver(self, job):
        outcome = self._attempt(job)
        queue = job["account_id"], job["host"]
        now_ms, attempts, recording = self._clock_ms(), job["attempts"] + 1, job["recording"]
        self.servers.told(queue, outcome, now_ms)
        self._jobs.move(job, sent := Place(queue, SENT))
        self._make_room(sent)
        told = log.bind(recording_id=recording["id"], call_id=recording["call_id"], kind=job["kind"], host=job["host"],
                        attempts=attempts)
        if isinstance(outcome, http.Proof):
            proved = self._store.deliveries.update(
                job["id"], state="delivered", attempts=attempts, status=outcome.status, etag=outcome.etag,
                proof_sha256=outcome.sha256, delivered_ms=now_ms, last_error=None).get()
            self.meter.attempts.labels("delivered").inc()
            told.info("recording delivered", status=outcome.status)
            there = proved and job["kind"] in ("upload", library.KIND)
            if there and self._settings.remove_after_delivery:
                self._remove_unless_held(recording)
            return
        over = outcome.final or now_ms >= job["give_up_ms"]
        self.meter.attempts.labels("given_up" if over else "failed").inc()
        wait_ms = max(self._jobs.back_off_ms(attempts), (outcome.retry_after_s or 0) * 1000)
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
        if outcome.of_server:
            self._give_up(job, now_ms, outcome.text)

    def _give_up(self, job, now_ms, text):
        """What a failing server kept waiting has its time as well."""
        error = f"not tried again: {text}"[:http.TEXT_LIMIT]
        count = self._store.deliveries.give_up(self._node, job["account_id"], job["host"], now_ms, error).get()
        if count:
            self.meter.attempts.labels("given_up").inc(count)
            log.error("deliveries given up", account_id=job["account_id"], host=job["host"], count=count, error=text,
                      hint="`kazoo-rec recordings retry` takes one up again")

    def _attempt(self, job):
        recording, told = job["recording"], webhook.status(job["kind"])
        try:
            if job["kind"] == library.KIND:
                self._need_objects()
                return library.put(self._objects, job, self._recordings_dir, self._clock_ms() / 1000, self._timeout_s)
            address = self._store.secrets.open(job["url"])
            if told:
                return http.tell(self._connections, address, webhook.body(recording, told),
                                 webhook.key(recording, told), self._clock_ms() / 1000, self._timeout_s)
            key = self._store.secrets.unwrap(recording["account_id"], recording["id"], recording.get("data_key"))
            if bucket.is_one(address):
                return self._put(address, recording, key)
            url = target.build(address, recording, self._settings.file_name, self._settings.query)
            return http.send(self._connections, job["method"], url, recording, self._recordings_dir / recording["file"],
                             self._pool, self._clock_ms() / 1000, self._timeout_s, key)
        except TargetError as error:
            return http.Failure(http.printable(str(error)), final=True, ours=True)
        except Exception as error:  # noqa: BLE001 - becomes this delivery's last_error
            return http.Failure(http.explain(error), ours=True)

    def _put(self, url, recording, key):
        self._need_objects()
        name = target.object_name(recording, self._settings.file_name)
        content = Content(self._recordings_dir / recording["file"], partial(sealed.opened, key=key, finished=True),
                          recording["size_bytes"], recording["sha256"], recording["content_type"], recording["id"])
        return self._objects.put(self._objects.delivered(url, recording["account_id"], name), content,
                                 self._clock_ms() / 1000, self._timeout_s)

    def _need_objects(self):
        if self._objects is None:
            raise TargetError("cannot deliver to this URL", "there is no object store", "the configuration's `s3`")

    def _remove_all(self, recording):
        master = self._recordings_dir / recording["master"]
        self._pool.apply(self._remove_from_disk, (recording["id"], master))

    def _remove_from_disk(self, recording_id, master):
        check(self._recordings_dir, self._mark)
        remove(*all_of(recording_id, master))

    def _remove_unless_held(self, recording):
        """The row first: a hold that comes after it is told that nothing is there. What a kill leaves goes by
        `Orphans`, what may not go yet by `Clearing`."""
        if not self._store.recordings.claim(recording["id"], self._clock_ms()).get():
            return
        try:
            self._remove_all(recording)
        except OSError as error:
            self._store.recordings.update(recording["id"], audio_removed_ms=None)
            log.error("cannot remove a file that is done with", recording_id=recording["id"], error=http.explain(error),
                      hint="its directory has to be writable for this user")
