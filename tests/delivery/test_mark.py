"""A recordings directory that is not the database's: a mount that is late or lost. Nothing is judged or removed."""

import json

import gevent
import pytest

from kazoo_rec.config import load
from kazoo_rec.delivery.disk import Clearing, Disk
from kazoo_rec.delivery.finish import finish
from kazoo_rec.delivery.mark import LOCK, check, read
from kazoo_rec.delivery.meter import Meter
from kazoo_rec.delivery.orphans import Orphans
from kazoo_rec.delivery.settings import DeliverySettings, DiskSettings
from kazoo_rec.delivery.worker import DISK_RETRY_MS, Worker
from kazoo_rec.roles.delivery import Delivery
from kazoo_rec.store import Store, epoch_ms
from kazoo_rec.store.migrations import migrate
from tests import database
from tests.media.sounds import write_talk

from .fakes import RECORDING_ID, Clock, stopped_row
from .test_way import OTHER_COLUMNS

MARK = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def store(tmp_path):
    url = database.of(tmp_path)
    migrate(url)
    store = Store(url)
    yield store
    store.close()


@pytest.fixture
def directory(tmp_path):
    """The one beneath the mount: a first call has made its account's."""
    directory = tmp_path / "recordings"
    (directory / "acme/20261122").mkdir(parents=True)
    (directory / LOCK).touch()
    return directory


@pytest.fixture
def stopped(store):
    def stopped(**columns):
        row = stopped_row(settings={"url": None}, **{**OTHER_COLUMNS, **columns})
        store.recordings.insert(row).get()
        return row
    return stopped


@pytest.mark.parametrize("row", [{}, {"started_ms": None, "expected_ms": None}, {"cause": "empty-file"}], ids=str)
def test_a_recording_is_neither_missing_nor_empty(store, directory, stopped, pool, row):
    stopped(**row)
    with pytest.raises(OSError, match="not mounted"):
        finish(store.recordings.get(RECORDING_ID), store, directory, pool, epoch_ms(), DeliverySettings(), mark=MARK)
    assert store.recordings.get(RECORDING_ID)["state"] == "stopped"


@pytest.mark.parametrize("columns", [
    {}, {"state": "recorded", "delete_requested_ms": 5},
    {"spans": [{"kind": "declined", "from_ms": 1, "to_ms": 1}]}], ids=str)
def test_what_is_to_be_finished_or_deleted_waits_for_the_mount(store, directory, stopped, pool, connections, columns):
    row, now_at = stopped(**columns), Clock(5000)
    worker = Worker(store, "fs1", directory, pool, DeliverySettings(), connections, epoch_ms, now_at=now_at, mark=MARK)
    for _ in range(3):
        worker.tick()
        worker.join()
    assert store.recordings.get(RECORDING_ID)["state"] == row["state"] and worker.disk_refuses
    (directory / LOCK).write_text(f"{MARK}\n")
    write_talk(directory / row["master"], 2.0)
    now_at.now_ms += DISK_RETRY_MS
    worker.tick()
    worker.join()
    kept = not columns
    assert store.recordings.get(RECORDING_ID)["state"] == (
        "recorded" if kept else "discarded" if "spans" in columns else "deleted")
    assert (directory / row["master"]).exists() == kept and not worker.disk_refuses


def test_what_was_discarded_stays_and_nothing_is_adopted(store, directory, stopped):
    row = stopped(state="discarded", duration_ms=0)
    write_talk(directory / row["master"], 2.0)
    orphans = Orphans(store, "fs1", {"fs1": Meter()}, directory, lambda function, args: function(*args),
                      lambda *_: None, {}, lambda: 0.0, MARK)
    with pytest.raises(OSError, match="not mounted"):
        orphans.look()
    assert (directory / row["master"]).exists()


def test_no_room_is_made_in_it(store, directory, stopped):
    row = stopped(state="recorded", sha256="ab")
    delivery = {"recording_id": RECORDING_ID, "node": "fs1", "account_id": "acme", "kind": "upload", "url": "",
                "host": "", "method": "put", "state": "delivered", "proof_sha256": "ab", "next_attempt_ms": 0,
                "give_up_ms": 0, "created_ms": 0}
    store.recordings.notify(delivery).get()
    disk = Disk(directory, DiskSettings(), lambda function, args: function(*args))
    disk.wanted_bytes = 1
    Clearing(store, "fs1", directory, disk, lambda function, args: function(*args), epoch_ms, Clock(5000 + 10**9),
             Meter(), MARK).tick()
    assert store.recordings.get(row["id"])["audio_removed_ms"] is None


@pytest.fixture
def role(tmp_path, store):
    """Starts a delivery of this database on a directory, and stops it; the mark that the directory then has."""
    def role(name):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "kazoo_rec.yaml").write_text(json.dumps({
            "node": "fs1", **database.said(tmp_path), "recordings_dir": str(tmp_path / name),
            "switches": [{"password": "x"}]}))
        delivery = Delivery(load(tmp_path / "kazoo_rec.yaml"))
        delivery.start()
        gevent.idle()
        delivery.stop()
        return read(tmp_path / name)
    return role


def test_the_first_start_marks_the_directory_and_no_other_is_marked(tmp_path, store, role):
    mark = role("recordings")
    assert mark and store.recordings.mark("fs1") == mark == role("recordings")
    assert role("beneath") is None and store.recordings.mark("fs1") == mark
    with pytest.raises(OSError, match=f"echo {mark} >{LOCK}"):
        check(tmp_path / "beneath", mark)


def test_a_database_that_is_new_takes_the_directory_as_it_is(tmp_path, store, role):
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / LOCK).write_text(MARK)
    assert role("recordings") == MARK == store.recordings.mark("fs1")
