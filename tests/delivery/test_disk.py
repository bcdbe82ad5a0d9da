"""Watermarks: what goes to make room, what never does, and who is told."""

import errno
import os
from types import SimpleNamespace

import gevent
import pytest
from gevent.event import AsyncResult
from sqlalchemy import event

from kazoo_rec.delivery import disk as disk_module
from kazoo_rec.delivery.disk import Clearing, Disk
from kazoo_rec.delivery.meter import Meter
from kazoo_rec.delivery.settings import DiskSettings
from kazoo_rec.errors import StoreError
from kazoo_rec.media.names import PLAYED
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from tests import database
from tests.store.test_store import row, upload

SHA256 = "ab" * 32
NOW_MS = 1_795_221_338_000

#: Blocks of one byte that the disk has: its shares are easily told.
ALL_BYTES = 1000


def call(function, args=()):
    return function(*args)


class Site:
    """A store and a disk of 1000 bytes; each recording's files take 10."""

    def __init__(self, store, directory):
        self.store, self.directory, self.free_bytes, self.refusal = store, directory, 500, None
        self.now_ms, self.now_at, self.meter = NOW_MS, 5000, Meter()
        self.disk = Disk(directory, DiskSettings(), call, self._stat)
        self.clearing = Clearing(store, "fs1", directory, self.disk, self._run, lambda: self.now_ms,
                                 lambda: self.now_at, self.meter)

    def _stat(self, path):
        assert path == self.directory
        return SimpleNamespace(f_blocks=ALL_BYTES, f_bavail=self.free_bytes, f_frsize=1)

    def _run(self, function, args):
        if self.refusal:
            raise self.refusal
        return function(*args)

    def passes(self, time_ms):
        self.now_ms += time_ms
        self.now_at += time_ms

    def files(self):
        return {path.name for path in self.directory.rglob("*.*")}

    def recorded(self, name, stopped_ms, deliveries=({"state": "delivered", "proof_sha256": SHA256},), **columns):
        """A recording with its master and its file to deliver, and its deliveries."""
        master = f"acme/20261121/{name}.wav"
        self.store.recordings.insert(row(name, state="stopped", master=master, stopped_ms=stopped_ms))
        told = [upload(name, **{"proof_sha256": None, **one}) for one in deliveries]
        finished = {"state": "recorded", "sha256": SHA256, "file": f"acme/20261121/{name}.mp3", **columns}
        self.store.recordings.finish(name, finished, told).get()
        for suffix in ("wav", "mp3"):
            path = self.directory / f"acme/20261121/{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"audio")

    def look(self):
        self.disk.look()
        self.clearing.tick()
        self.store.recordings.update("nobody", label="").get()  # writes keep their order: what was submitted is there

    def names(self):
        return {name.partition(".")[0] for name in self.files()}


@pytest.fixture
def site(tmp_path):
    url = database.of(tmp_path)
    migrate(url)
    store = Store(url)
    yield Site(store, tmp_path / "recordings")
    store.close()


@pytest.fixture
def said(monkeypatch):
    """(event, what it was told with) of each line of the log."""
    lines = []
    log = SimpleNamespace(**{level: lambda event, **told: lines.append((event, told))
                             for level in ("info", "warning", "error")})
    monkeypatch.setattr(disk_module, "log", log)
    return lines


def test_below_the_first_mark_what_was_delivered_goes_the_oldest_first_until_there_is_room(site, said):
    for number in range(10):
        site.recorded(f"r{number}", stopped_ms=1000 - number)
    site.free_bytes = 100
    site.look()
    assert len(site.names()) == 10 and not said
    site.free_bytes = 95
    site.look()
    assert site.names() == {f"r{number}" for number in range(8)}, "110 are wanted, so that the next file fits too"
    assert site.store.recordings.get("r9")["audio_removed_ms"] == NOW_MS
    assert site.store.recordings.get("r9")["state"] == "recorded"
    assert [event for event, _ in said] == ["audio of delivered recordings was removed to make room"]
    assert site.meter.registry.get_sample_value("kazoo_rec_audio_removed_total") == 2


def test_what_was_made_for_who_plays_it_goes_before_any_master(site):
    for number in range(3):
        site.recorded(f"r{number}", stopped_ms=number, deliveries=())
        site.recorded(f"s{number}", stopped_ms=number)
        (site.directory / f"acme/20261121/r{number}.mono{PLAYED}.wav").write_bytes(b"12345")
    (site.directory / f"acme/20261121/r0.mono{PLAYED}.mp3.part").write_bytes(b"is being made")
    kept = {f"{name}{number}.{suffix}" for name in "rs" for number in range(3) for suffix in ("wav", "mp3")}
    site.free_bytes = 95
    site.look()
    assert site.files() == kept | {f"r0.mono{PLAYED}.mp3.part"} and site.disk.wanted_bytes == 0
    site.passes(30_000)
    site.look()
    assert site.names() == {"r0", "r1", "r2", "s2"}, "what is wanted still is made of the others"


def test_what_is_not_free_at_once_is_not_made_good_by_more(site):
    for number in range(9):
        site.recorded(f"r{number}", stopped_ms=number)
    site.free_bytes = 60
    for _ in range(3):
        site.look()
        assert site.names() == {"r5", "r6", "r7", "r8"}
    site.free_bytes = 90
    site.passes(disk_module.AGAIN_MS)
    site.look()
    assert site.names() == {"r7", "r8"}


@pytest.mark.parametrize("kept", [
    {"deliveries": ()},
    {"deliveries": ({"state": "due"},)},
    {"deliveries": ({"state": "failed"},)},
    {"deliveries": ({"state": "delivered", "proof_sha256": "cd" * 32},)},
    {"deliveries": ({"state": "delivered", "proof_sha256": SHA256}, {"state": "due"})},
    {"deliveries": ({"state": "delivered", "kind": "webhook.completed", "proof_sha256": SHA256},)},
    {"legal_hold": True},
    {"state": "failed"},
    {"node": "fs2"},
    {"delete_requested_ms": 5},
], ids=str)
def test_what_may_not_go_stays_however_little_room_there_is(site, monkeypatch, kept):
    monkeypatch.setattr(disk_module, "AT_ONCE", 1)
    site.recorded("kept", stopped_ms=1, **kept)
    site.recorded("goes", stopped_ms=2)
    site.free_bytes = 0
    site.look()
    assert site.names() == {"kept"}


def test_what_a_link_promises_stays_until_the_link_ends(site):
    site.recorded("linked", stopped_ms=1)
    site.store.access.add_link({
        "id": "l", "hash": "h", "account_id": "acme", "recording_id": "linked", "format": "mp3", "channels": "mono",
        "track": "both", "made_by": "t", "expires_ms": NOW_MS + 3_600_000, "revoked_ms": None}).get()
    site.free_bytes = 0
    site.look()
    assert site.names() == {"linked"}
    site.passes(3_600_000)
    site.look()
    assert not site.names()


def test_what_is_put_on_hold_meanwhile_stays(site, monkeypatch):
    for number in range(2):
        site.recorded(f"r{number}", stopped_ms=number)
    on_disk = site.store.recordings.on_disk

    def then_held(*asked):
        found = on_disk(*asked)
        site.store.recordings.hold("r0", True).get()
        return found

    monkeypatch.setattr(site.store.recordings, "on_disk", then_held)
    site.free_bytes = 0
    site.look()
    assert site.names() == {"r0"}


def test_a_hold_that_comes_before_the_row_says_so_keeps_it_and_one_that_comes_after_is_told(site, monkeypatch):
    """Threads that read and encode may keep a removal waiting for seconds."""
    site.recorded("r", stopped_ms=1)
    held = []

    def held_meanwhile(function, args):
        if function is disk_module._remove_all:
            site.store.recordings.hold("r", True).get()
            held.append(site.store.recordings.get("r")["audio_removed_ms"])
        return function(*args)

    monkeypatch.setattr(site.clearing, "_run", held_meanwhile)
    site.free_bytes = 0
    site.look()
    assert held == [NOW_MS] and not site.names()


def test_what_was_to_go_and_could_not_goes_when_it_may_whatever_room_there_is(site, said):
    """Killed before it was removed; held, or promised by a link, when it was delivered; not delivered."""
    for name, columns in {"killed": {}, "held": {"legal_hold": True}, "linked": {},
                          "due": {"deliveries": ({"state": "due"},)}}.items():
        site.recorded(name, stopped_ms=1, **columns)
    site.store.access.add_link({
        "id": "l", "hash": "h", "account_id": "acme", "recording_id": "linked", "format": "mp3", "channels": "mono",
        "track": "both", "made_by": "t", "expires_ms": NOW_MS + 3_600_000, "revoked_ms": None}).get()
    site.clearing.remove_delivered()
    assert site.names() == {"held", "linked", "due"} and site.store.recordings.get("killed")["audio_removed_ms"]
    site.store.recordings.hold("held", False).get()
    site.passes(3_600_000)
    site.clearing.remove_delivered()
    site.clearing.remove_delivered()
    assert site.names() == {"due"}
    assert [(event, told["recordings"]) for event, told in said] == [
        ("audio of delivered recordings was removed", 1), ("audio of delivered recordings was removed", 2)]


def test_without_need_nothing_goes_while_the_database_takes_nothing(site, monkeypatch):
    site.recorded("r", stopped_ms=1)
    monkeypatch.setattr(disk_module, "CLAIMED_IN_S", 0)
    monkeypatch.setattr(site.store.recordings, "claim", lambda *_: AsyncResult())
    site.clearing.remove_delivered()
    assert site.names() == {"r"}


def test_a_file_that_cannot_be_removed_is_told_once_and_its_row_says_nothing(site, said):
    site.recorded("r", stopped_ms=1)
    site.free_bytes, site.refusal = 0, PermissionError(errno.EACCES, "Permission denied")
    for _ in range(3):
        site.look()
        site.passes(disk_module.AGAIN_MS)
    assert site.store.recordings.get("r")["audio_removed_ms"] is None
    assert [event for event, _ in said].count("no room can be made") == 1
    site.refusal = None
    site.passes(disk_module.AGAIN_MS)
    site.look()
    assert not site.names() and site.store.recordings.get("r")["audio_removed_ms"]


def test_killed_between_file_and_row_it_is_told_by_the_next_look(site):
    site.recorded("r", stopped_ms=1)
    for name in site.files():
        os.unlink(site.directory / "acme/20261121" / name)
    site.free_bytes = 0
    site.look()
    assert site.store.recordings.get("r")["audio_removed_ms"] == NOW_MS


def test_a_host_s_clock_that_is_put_back_holds_up_nothing(site):
    for number in range(9):
        site.recorded(f"r{number}", stopped_ms=number)
    site.free_bytes = 60
    site.look()
    site.passes(disk_module.AGAIN_MS)
    site.now_ms -= 3_600_000
    site.look()
    assert len(site.names()) == 0


def test_room_is_made_while_the_database_takes_nothing(site, monkeypatch):
    """It may be on the same disk, and wait for that room."""
    for number in range(12):
        site.recorded(f"r{number}", stopped_ms=number)
    asked = []
    monkeypatch.setattr(disk_module, "CLAIMED_IN_S", 0)
    monkeypatch.setattr(site.store.recordings, "claim", lambda recording_id, _: asked.append(recording_id)
                        or AsyncResult())
    for left in (7, 2):
        site.free_bytes = 60
        with gevent.Timeout(20):
            site.disk.look()
            site.clearing.tick()
        assert len(site.names()) == left
        site.passes(disk_module.AGAIN_MS)
    assert asked == [f"r{number}" for number in range(10)], "each is said once: what waits is written in the end"
    monkeypatch.undo()


def test_what_the_database_refused_is_said_by_the_next_look(site, monkeypatch):
    site.recorded("r", stopped_ms=1)
    refused = AsyncResult()
    refused.set_exception(StoreError("too much waits for the database"))
    site.free_bytes = 0
    with monkeypatch.context() as patch:
        patch.setattr(site.store.recordings, "claim", lambda *_: refused)
        site.disk.look()
        site.clearing.tick()
    assert not site.names() and site.store.recordings.get("r")["audio_removed_ms"] is None
    site.passes(disk_module.AGAIN_MS)
    site.look()
    assert site.store.recordings.get("r")["audio_removed_ms"] == site.now_ms


def test_where_nothing_may_go_it_is_not_looked_for_all_the_time(site, monkeypatch):
    site.recorded("kept", stopped_ms=1, legal_hold=True)
    asked, on_disk = [], site.store.recordings.on_disk
    monkeypatch.setattr(site.store.recordings, "on_disk", lambda *args: asked.append(args) or on_disk(*args))
    site.free_bytes = 0
    for _ in range(5):
        site.look()
    assert [after for _, _, after, _ in asked] == [None, (1, "kept")]
    site.passes(disk_module.AGAIN_MS)
    site.look()
    assert len(asked) == 4


def test_below_the_second_mark_it_is_told_once_and_once_more_when_there_is_room(site, said):
    for free_bytes in (31, 29, 28, 0, 30, 400):
        site.free_bytes = free_bytes
        site.disk.look()
        assert site.disk.alarmed == (free_bytes < 30)
    assert [(event, told["free_bytes"]) for event, told in said] == [
        ("the disk is nearly full", 29), ("the disk has room again", 30)]


def test_at_0_percent_nothing_goes_and_nobody_is_told(site, said):
    site.recorded("r", stopped_ms=1)
    site.disk._settings = DiskSettings(remove_delivered_below=0, alarm_below=0)
    site.free_bytes = 0
    site.look()
    assert site.names() == {"r"} and not said and not site.disk.alarmed


@pytest.mark.sqlite
def test_what_may_go_comes_from_an_index_in_its_order(site):
    site.recorded("r", stopped_ms=1)
    asked = []
    event.listen(site.store._reading, "before_cursor_execute", lambda *told: asked.append((told[2], told[3])))
    site.store.recordings.on_disk("fs1", NOW_MS, (0, ""), 10)
    (sql, values), *_ = asked
    plan = site.store._read(lambda connection: [
        step[-1] for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()])
    assert "recordings USING INDEX recordings_on_disk" in plan[0] and not any("TEMP B-TREE" in step for step in plan)
