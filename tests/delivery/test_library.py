"""The library in an object store: what was recorded is there, stays there, and is deleted from there."""

import hashlib
from functools import partial

import pytest
from gevent.event import Event

from kazoo_rec.delivery import jobs, library
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.delivery.worker import Worker
from kazoo_rec.media import sealed
from kazoo_rec.store import Store, epoch_ms
from kazoo_rec.store.migrations import migrate
from tests import database
from tests.media.sounds import write_talk

from .fakes import RECORDING_ID, Customer, refusing_url, stopped_row
from .test_way import OTHER_COLUMNS

OTHER_ID = RECORDING_ID[:-1] + "0"
KEY = f"library/acme/{RECORDING_ID}.wav"


class Site:
    """A node whose worker does one thing after the other, and can be one that comes after a kill."""

    def __init__(self, store, directory, pool, connections, objects, s3_settings):
        self.store, self.directory, self.objects, self._parts = store, directory, objects, (pool, connections)
        self._s3, self.settings, self._worker = s3_settings, {}, None
        self.ahead_ms = 0

    @property
    def worker(self):
        if self._worker is None:
            pool, connections = self._parts
            self._worker = Worker(
                self.store, "fs1", self.directory, pool, DeliverySettings(s3=self._s3, **self.settings), connections,
                lambda: epoch_ms() + self.ahead_ms, lambda: 1.0, (2, 2), lambda: self.ahead_ms, objects=self.objects)
        return self._worker

    def restart(self):
        self._worker = None

    def leave_library(self):
        self._s3 = self.objects = None
        self.restart()

    def stopped(self, url=None, recording_id=RECORDING_ID, **settings):
        row = stopped_row(recording_id, {"url": url, "channels": "dual", **settings}, expected_ms=500)
        write_talk(self.directory / row["master"], 0.5)
        self.store.recordings.insert({**row, **OTHER_COLUMNS}).get()

    def step(self, later_s=0):
        self.ahead_ms += later_s * 1000
        self.worker.tick()
        self.worker.join()

    def steps(self):
        for _ in range(4):
            self.step(later_s=3600)

    @property
    def row(self):
        return self.store.recordings.get(RECORDING_ID)

    @property
    def master(self):
        return self.directory / self.row["master"]

    def delivery(self, kind=library.KIND):
        return next(one for one in self.store.deliveries.of(RECORDING_ID) if one["kind"] == kind)


@pytest.fixture
def site(tmp_path, pool, connections, objects, s3_settings):
    url = database.of(tmp_path)
    migrate(url)
    store = Store(url)
    site = Site(store, tmp_path / "recordings", pool, connections, objects, s3_settings)
    yield site
    site.worker.stop()
    store.close()


@pytest.fixture
def there(stored):
    """What is in the bucket."""
    return partial(stored.ask, "objects", bucket="calls")


def test_a_recording_without_a_url_is_in_the_library_as_its_master_lies_on_the_disk(site, there):
    site.stopped()
    site.step()
    assert (site.row["state"], site.delivery()["state"], site.delivery()["host"]) == (
        "recorded", "due", "library:s3://calls")
    site.step()
    assert site.delivery()["state"] == "delivered"
    sha256 = hashlib.sha256(site.master.read_bytes()).hexdigest()
    assert {key: one["sha256"] for key, one in there().items()} == {KEY: sha256}
    assert site.delivery()["proof_sha256"] == site.delivery()["sha256"] == sha256


def test_one_that_is_encrypted_is_encrypted_there_too_and_delivered_in_clear(site, there):
    site.settings = {"encrypt": True}
    site.stopped("s3://calls/of/acme")
    site.steps()
    found, raw = there(), site.master.read_bytes()
    assert raw.startswith(sealed.MAGIC)
    assert (found[KEY]["sha256"], found[KEY]["type"]) == (
        hashlib.sha256(raw).hexdigest(), "application/octet-stream")
    assert found[f"of/acme/call_recording_{RECORDING_ID}.wav"]["sha256"] == site.row["sha256"]


def test_what_is_not_recorded_is_not_in_it(site, there):
    site.stopped(record_min_sec=60)
    site.steps()
    assert site.row["state"] == "discarded" and not there() and not site.store.deliveries.of(RECORDING_ID)


def test_audio_leaves_the_disk_only_once_it_is_where_it_is_to_be_in_the_library_too(site, stored, there):
    site.settings = {"remove_after_delivery": True}
    stored.ask("mode", mode="other")
    with Customer() as customer:
        site.stopped(customer.url)
        site.step()
        site.step()
        assert site.delivery("upload")["state"] == "delivered"
        assert site.delivery()["last_error"] == "took it, and has other bytes"
        assert site.master.exists() and site.row["audio_removed_ms"] is None
        assert not site.store.recordings.claim(RECORDING_ID, epoch_ms()).get()
        stored.ask("mode", mode="ok")
        site.steps()
    assert not site.master.exists() and site.row["audio_removed_ms"] is not None
    assert list(there()) == [KEY]


@pytest.mark.parametrize("url", [None, refusing_url()])
def test_what_is_in_the_library_may_go_unless_its_server_is_still_to_have_it(site, url):
    site.settings = {"remove_after_delivery": True}
    site.stopped(url)
    site.step()
    site.step()
    assert site.delivery()["state"] == "delivered" and site.master.exists() == (url is not None)


def test_it_neither_waits_nor_is_given_up_with_what_its_account_sends_into_the_same_bucket_in_vain(site):
    site.settings = {"retry_for_s": 7200}
    site.stopped("s3://AKNOBODY:wrong@calls/x", recording_id=OTHER_ID)
    site.step()
    site.step()
    site.step(later_s=10)
    site.stopped()
    site.step()
    site.step()
    assert site.delivery()["state"] == "delivered" and site.worker.servers.failing == 1
    site.store.deliveries.update(site.delivery()["id"], state="due", next_attempt_ms=2 ** 52, give_up_ms=0).get()
    site.step(later_s=7200)
    [upload] = [one for one in site.store.deliveries.of(OTHER_ID) if one["kind"] == "upload"]
    assert (upload["state"], site.delivery()["state"]) == ("failed", "due")


def test_a_recording_that_is_deleted_is_deleted_there(site, there):
    site.stopped()
    site.steps()
    assert site.store.recordings.request_delete(RECORDING_ID, "ann").get()
    site.step()
    assert site.row["state"] == "deleted" and not there() and not site.master.exists()


def test_what_is_there_and_not_on_the_disk_is_proved_by_what_is_there(site, stored, there):
    """The database was put back to a copy of before."""
    site.stopped()
    site.steps()
    site.master.unlink()
    site.store.deliveries.update(site.delivery()["id"], state="due", proof_sha256=None).get()
    found = there()
    stored.ask("requests")
    site.step(later_s=3600)
    assert site.delivery()["state"] == "delivered" and there() == found
    assert site.delivery()["proof_sha256"] == site.delivery()["sha256"]
    assert [line.partition(" ")[0] for line in stored.ask("requests")] == ["HEAD"]


@pytest.mark.parametrize("size", [None, "as it was", 10])
def test_what_is_neither_there_nor_on_the_disk_is_not_proved(site, stored, there, size):
    site.stopped()
    site.steps()
    site.master.unlink()
    stored.ask("clear", bucket="calls")
    if size is not None:
        stored.ask("put", bucket="calls", key=KEY, size=site.delivery()["size_bytes"] if size == "as it was" else size)
    site.store.deliveries.update(site.delivery()["id"], state="due", proof_sha256=None).get()
    site.step(later_s=3600)
    assert site.delivery()["state"] == "due" and "FileNotFoundError" in site.delivery()["last_error"]


@pytest.mark.parametrize("state", ["due", "delivered"])
def test_a_row_that_an_older_version_had_meanwhile_says_what_ails_it_and_is_deleted_all_the_same(site, there, state):
    site.stopped()
    site.steps()
    site.store.deliveries.update(site.delivery()["id"], state=state, size_bytes=None, sha256=None).get()
    site.step(later_s=3600)
    assert state == "delivered" or "an older version had the database" in site.delivery()["last_error"]
    site.store.recordings.request_delete(RECORDING_ID, "ann").get()
    site.step()
    assert site.row["state"] == "deleted" and not there()


@pytest.mark.parametrize("mode", ["unrouted", "nobucket"])
def test_a_404_that_is_not_of_the_object_does_not_say_that_it_is_deleted(site, stored, there, mode):
    site.stopped()
    site.steps()
    site.store.recordings.request_delete(RECORDING_ID, "ann").get()
    if mode == "nobucket":
        stored.ask("move", bucket="calls", to="elsewhere")
    else:
        stored.ask("mode", mode=mode)
    site.step()
    state = site.row["state"]
    stored.ask("mode", mode="ok")
    if mode == "nobucket":
        stored.ask("move", bucket="elsewhere", to="calls")
    assert state == "recorded" and list(there()) == [KEY]
    site.step(later_s=3600)
    assert site.row["state"] == "deleted" and not there()


@pytest.mark.parametrize("killed", [False, True])
def test_a_library_that_is_down_has_it_deleted_when_it_is_back(site, stored, there, killed):
    site.stopped()
    site.steps()
    site.store.recordings.request_delete(RECORDING_ID, "ann").get()
    stored.ask("down")
    site.step()
    stored.ask("up")
    assert site.row["state"] == "recorded" and list(there()) == [KEY] and not site.master.exists()
    if killed:
        site.restart()
    site.step(later_s=0 if killed else 3600)
    assert site.row["state"] == "deleted" and not there()


def test_deletions_that_wait_for_the_library_hold_up_no_others(site, stored, there, monkeypatch):
    monkeypatch.setattr(jobs, "ASIDE_MOST", 1)
    site.stopped(recording_id=OTHER_ID)
    site.steps()
    site.leave_library()
    site.stopped()
    site.steps()
    for recording_id in (OTHER_ID, RECORDING_ID):
        site.store.recordings.request_delete(recording_id, "ann").get()
        site.step()
    assert site.row["state"] == "deleted" and site.store.recordings.get(OTHER_ID)["state"] == "recorded"
    assert len(there()) == 1


def test_one_that_is_deleted_while_it_is_on_its_way_is_not_there_in_the_end(site, stored, there):
    site.stopped(recording_id=OTHER_ID)
    site.steps()
    site.stopped()
    site.step()
    stored.ask("mode", mode="held")
    site.worker.tick()
    until(lambda: stored.ask("waiting"))
    for recording_id in (RECORDING_ID, OTHER_ID):
        site.store.recordings.request_delete(recording_id, "ann").get()
    site.worker.tick()
    until(lambda: site.store.recordings.get(OTHER_ID)["state"] == "deleted")
    assert site.row["state"] == "recorded"
    stored.ask("mode", mode="ok")
    site.steps()
    assert site.row["state"] == "deleted" and not there()


def test_one_that_is_deleted_before_its_turn_is_never_there(site, stored, there, monkeypatch):
    """Its row was read as due, and the deletion came before the upload began."""
    site.stopped()
    site.step()
    due = site.store.deliveries.due

    def late(*asked):
        found = due(*asked)
        site.store.recordings.request_delete(RECORDING_ID, "ann").get()
        return found

    monkeypatch.setattr(site.store.deliveries, "due", late)
    site.step()
    monkeypatch.undo()
    site.steps()
    assert site.row["state"] == "deleted" and not there()
    assert not any(line.startswith("PUT") for line in stored.ask("requests"))


def test_without_an_object_store_nothing_is_said_to_be_deleted_that_is_there(site):
    site.stopped()
    site.steps()
    site.store.recordings.request_delete(RECORDING_ID, "ann").get()
    site.objects = None
    site.restart()
    site.step()
    assert site.row["state"] == "recorded"


def until(condition):
    while not condition():
        Event().wait(0.02)
