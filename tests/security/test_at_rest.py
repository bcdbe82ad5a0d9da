"""What lies on the disk is its owner's alone, whatever the umask; masters are FreeSWITCH's group's as well."""

import os
import stat

import gevent
import pytest
from gevent.threadpool import ThreadPool

from kazoo_rec.calls.files import Files
from kazoo_rec.delivery.finish import examine
from kazoo_rec.media import encode, sealed, wav
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from tests import database
from tests.delivery.fakes import stopped_row
from tests.media.sounds import write_talk


@pytest.fixture(autouse=True)
def _patience():
    with gevent.Timeout(20):
        yield


@pytest.fixture(params=[0o000, 0o022, 0o007, 0o077], autouse=True)
def _umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(place):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.rglob("*") if path.is_file()}


def test_the_database_and_all_beside_it_are_its_owners_alone(tmp_path):
    url = database.of(tmp_path)
    migrate(url)
    store = Store(url)
    store.recordings.insert(stopped_row(leg="A", rule="r", reason="r", settings_from={}, source="onnet", origin="",
                                        direction="inbound", callee_id_name="", callee_id_number="")).get()
    found = modes(tmp_path)
    store.close()
    assert set(found) == ({"kazoo_rec.key"} if database.SERVER else {
        f"kazoo_rec.db{beside}" for beside in ("", "-wal", "-shm", ".lock", ".lock.turn", ".lock.open", ".key")})
    assert set(found.values()) == {0o600}


@pytest.mark.parametrize("settings", [{"format": "mp3"}, {"format": "wav"}, {"format": "wav", "channels": "dual"},
                                      {"format": "wav", "track": "inbound"}])
def test_what_was_finished_is_its_owners_alone(tmp_path, settings):
    row = stopped_row(settings=settings, started_ms=1)
    master = tmp_path / row["master"]
    write_talk(master)
    master.chmod(0o660)
    assert examine(row, tmp_path)["state"] == "recorded"
    assert set(modes(tmp_path).values()) == {0o600}


def test_what_is_made_of_a_master_to_be_heard_is_its_owners_alone_from_its_first_byte(tmp_path, monkeypatch):
    master, seen = tmp_path / "a.wav", []
    write_talk(master)
    master.chmod(0o600)
    fsync = os.fsync
    monkeypatch.setattr(sealed.os, "fsync", lambda handle: seen.append(modes(tmp_path)) or fsync(handle))
    encode.to_mp3(wav.probe(master), tmp_path / "a.mono.mp3", "mono", "both")
    assert seen and all(set(found.values()) == {0o600} for found in (*seen, modes(tmp_path)))


def test_directories_of_masters_are_the_shared_groups_and_nobody_elses(tmp_path):
    pool = ThreadPool(1)
    Files("/rec", str(tmp_path), pool.apply).make("acme/20261121")
    pool.kill()
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("acme", "acme/20261121")] == [0o2770] * 2


def test_a_master_of_another_user_is_finished_as_it_is(tmp_path, monkeypatch):
    row = stopped_row(settings={"format": "mp3"}, started_ms=1)
    master = tmp_path / row["master"]
    write_talk(master)
    master.chmod(0o640)

    def refused(self, mode):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(type(master), "chmod", refused)
    assert examine(row, tmp_path)["state"] == "recorded"
    assert modes(tmp_path)[master.name] == 0o640
