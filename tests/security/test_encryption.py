"""`delivery.encrypt`: once a recording is finished, no file on the disk has its audio in clear, and everybody who may
hear it does."""

import hashlib
import os
import socket
import sqlite3
from pathlib import Path

import gevent
import pytest
from click.testing import CliRunner
from falcon.testing import TestClient
from gevent.threadpool import ThreadPool

from kazoo_rec.api import tokens
from kazoo_rec.api.app import make_app
from kazoo_rec.cli.keys import keys
from kazoo_rec.delivery import finish as finishing
from kazoo_rec.delivery.connections import Connections
from kazoo_rec.delivery.networks import Networks
from kazoo_rec.delivery.receiver import Receiver
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.delivery.worker import Worker
from kazoo_rec.errors import StoreError
from kazoo_rec.media import sealed
from kazoo_rec.store import Store, epoch_ms
from kazoo_rec.store.migrations import migrate
from tests.delivery.fakes import RECORDING_ID, stopped_row
from tests.delivery.test_way import OTHER_COLUMNS
from tests.media.sounds import write_talk

ENCRYPTED = DeliverySettings(encrypt=True)


@pytest.fixture(autouse=True)
def _patience():
    with gevent.Timeout(30):
        yield


@pytest.fixture
def pool():
    pool = ThreadPool(4)
    yield pool
    pool.kill()


@pytest.fixture
def store(tmp_path):
    url = f"sqlite:///{tmp_path}/kazoo_rec.db"
    migrate(url)
    store = Store(url)
    yield store
    store.close()


@pytest.fixture
def recordings(tmp_path):
    return tmp_path / "recordings"


@pytest.fixture
def stopped(store, recordings):
    """Adds a recording that has stopped; the bytes of its master."""

    def add(settings=(), **columns):
        row = stopped_row(settings=settings, **{**OTHER_COLUMNS, **columns})
        write_talk(recordings / row["master"], 5.0)
        store.recordings.insert(row).get()
        return (recordings / row["master"]).read_bytes()

    return add


def worker(store, recordings, pool, settings=ENCRYPTED):
    connections = Connections(2, networks=Networks(["127.0.0.0/8"]))
    return Worker(store, "fs1", recordings, pool, settings, connections, epoch_ms)


def work(store, recordings, pool, settings=ENCRYPTED):
    """Finishes, then sends."""
    once = worker(store, recordings, pool, settings)
    for _ in range(2):
        once.tick()
        once.join()


def in_clear(place):
    return [path.name for path in place.rglob("*") if path.is_file() and not sealed.is_sealed(path)]


@pytest.fixture
def receiver(tmp_path):
    receiver = Receiver(tmp_path / "received", socket.create_server(("127.0.0.1", 0)))
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.mark.parametrize("settings", [{"format": "mp3"}, {"format": "wav", "channels": "dual"}, {"format": "wav"},
                                      {"format": "mp3", "track": "inbound"}])
def test_what_is_kept_is_encrypted_and_what_arrives_is_not(store, recordings, stopped, pool, receiver, tmp_path,
                                                           settings):
    stopped({**settings, "url": receiver.url})
    work(store, recordings, pool)
    row, (upload,) = store.recordings.get(RECORDING_ID), store.deliveries.of(RECORDING_ID)
    assert (row["state"], upload["state"], upload["last_error"]) == ("recorded", "delivered", None)
    assert in_clear(recordings) == [] and (recordings / row["file"]).exists()
    received, = receiver.files
    plain = (tmp_path / "received" / received.file).read_bytes()
    assert received.verified and received.sha256 == row["sha256"] == upload["proof_sha256"]
    assert hashlib.sha256(plain).hexdigest() == row["sha256"] and len(plain) == row["size_bytes"]
    assert plain[:4] == b"RIFF" if settings["format"] == "wav" else plain[:1] == b"\xff"


def test_without_the_setting_nothing_is_encrypted(store, recordings, stopped, pool):
    stopped({"url": None})
    work(store, recordings, pool, DeliverySettings())
    assert store.recordings.get(RECORDING_ID)["data_key"] is None
    assert len(in_clear(recordings)) == len([path for path in recordings.rglob("*") if path.is_file()])


def test_a_message_that_the_callflow_may_play_again_stays_as_the_switch_can_read_it(store, recordings, stopped, pool):
    master = stopped({"url": None, "format": "wav", "channels": "dual"}, rule="record_caller")
    work(store, recordings, pool)
    row = store.recordings.get(RECORDING_ID)
    assert (recordings / row["master"]).read_bytes() == master and row["data_key"] is None


def ask(store, recordings, pool):
    secret, row = tokens.make("superadmin", None, None, "test", None)
    store.access.add_token(row).get()
    client = TestClient(make_app(store, "fs1", recordings, pool.apply, epoch_ms, epoch_ms),
                        headers={"X-Auth-Token": secret})
    place = f"/v2/accounts/acme/recordings/{RECORDING_ID}"
    return lambda path="", **headers: client.simulate_get(place + path, headers=headers)


def test_who_may_hear_it_hears_what_he_would_hear_without_encryption(store, recordings, stopped, pool):
    shapes = [f"?accept=audio/{form}&channels={channels}&track={track}" for form in ("mpeg", "wav")
              for channels, track in (("mono", "both"), ("dual", "both"), ("mono", "inbound"))]
    master = stopped({"url": None, "format": "mp3"})
    listen = ask(store, recordings, pool)
    work(store, recordings, pool, DeliverySettings())
    plain, outline = [listen(shape).content for shape in shapes], listen("/peaks").json["data"]
    for path in recordings.rglob("*.*"):
        path.unlink()
    row = store.recordings.get(RECORDING_ID)
    (recordings / row["master"]).write_bytes(master)
    with sqlite3.connect(store.beside) as database:  # past the store, which moves no state backwards
        database.execute("UPDATE recordings SET state = 'stopped'")
    work(store, recordings, pool)
    for _ in range(2):  # made, and found made
        for shape, expected in zip(shapes, plain, strict=True):
            answer = listen(shape)
            assert answer.status_code == 200 and answer.content == expected, shape
            assert answer.headers["Content-Length"] == str(len(expected))
    for first, last in ((0, 0), (100, 65_535), (65_535, 65_540), (len(plain[4]) - 7, len(plain[4]) - 1)):
        part = listen(shapes[4], Range=f"bytes={first}-{last}")
        assert part.status_code == 206 and part.content == plain[4][first:last + 1]
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{len(plain[4])}"
    assert listen("/peaks").json["data"] == outline
    assert in_clear(recordings) == []
    assert "data_key" not in listen().text and store.recordings.get(RECORDING_ID)["data_key"] not in listen().text


@pytest.mark.parametrize("shape", ["?accept=audio/mpeg", "?accept=audio/wav", "?accept=audio/wav&channels=dual",
                                   "/peaks"])
@pytest.mark.parametrize("replaced", ["all", "masters", "others"])
def test_a_plain_file_in_the_place_of_an_encrypted_one_is_not_heard(store, recordings, stopped, pool, shape, replaced):
    stopped({"url": None, "format": "mp3"})
    work(store, recordings, pool)
    listen, row = ask(store, recordings, pool), store.recordings.get(RECORDING_ID)
    assert listen(shape).status_code == 200  # some is made now
    for path in recordings.rglob("*.*"):
        if replaced == "all" or (path == recordings / row["master"]) == (replaced == "masters"):
            write_talk(path, 2.0)
    made = listen(shape)
    if made.status_code == 200:  # of what was not replaced
        assert (replaced, shape) in {("masters", "?accept=audio/mpeg"), ("others", "/peaks")}
    else:
        assert made.status_code == 404 and "not here" in made.text


def test_of_what_its_switch_still_writes_a_part_is_kept_and_that_is_encrypted(store, recordings, stopped, pool):
    """A recording that went on in another file: the switch goes on with one that has no name any more."""
    stopped({"url": None, "format": "mp3"}, spans=[{"kind": "moved", "from_ms": 0, "to_ms": 0}], expected_ms=4000)
    finishing.finish(store.recordings.get(RECORDING_ID), store, recordings, pool, epoch_ms(), ENCRYPTED)
    assert store.recordings.get(RECORDING_ID)["state"] == "recorded" and not in_clear(recordings)
    listen = ask(store, recordings, pool)
    assert [listen(f"?accept=audio/{form}").status_code for form in ("mpeg", "wav")] == [200, 200]


class Killed(BaseException):
    """The process is gone here."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["update", "deliverable", "seal", "finish"])
@pytest.mark.parametrize("settings", [{"format": "mp3"}, {"format": "wav", "channels": "dual"}])
def test_killed_at_any_step_it_is_finished_the_next_time(store, recordings, stopped, pool, monkeypatch, step, when,
                                                         settings):
    master = stopped({"url": None, **settings})
    place, name = {"update": (store.recordings, "update"), "deliverable": (finishing, "_deliverable"),
                   "seal": (finishing.sealed, "seal"), "finish": (store.recordings, "finish")}[step]
    done = getattr(place, name)

    def killed(*args, **more):
        if when == "after":
            result = done(*args, **more)
            if hasattr(result, "get"):
                result.get()
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(place, name, killed)
        with pytest.raises(Killed):
            finishing.finish(store.recordings.get(RECORDING_ID), store, recordings, pool, epoch_ms(), ENCRYPTED)
    work(store, recordings, pool)
    row = store.recordings.get(RECORDING_ID)
    assert row["state"] == "recorded" and in_clear(recordings) == []
    with sealed.opened(recordings / row["master"],
                       store.secrets.unwrap("acme", RECORDING_ID, row["data_key"])) as file:
        assert file.read() == master


def test_every_recording_and_every_account_has_another_key(store):
    key = os.urandom(32)
    wrapped = store.secrets.wrap("acme", "r1", key)
    assert store.secrets.unwrap("acme", "r1", wrapped) == key
    for account_id, recording_id in (("globex", "r1"), ("acme", "r2")):
        with pytest.raises(StoreError):
            store.secrets.unwrap(account_id, recording_id, wrapped)


def test_a_new_key_of_the_database_wraps_anew_and_touches_no_file(store, recordings, stopped, pool, tmp_path):
    stopped({"url": None})
    work(store, recordings, pool)
    (tmp_path / "kazoo_rec.yaml").write_text(
        f"node: fs1\ndatabase: sqlite:///{tmp_path}/kazoo_rec.db\nrecordings_dir: /rec\nswitches: [{{password: x}}]\n")
    before = {path: path.read_bytes() for path in recordings.rglob("*.*")}
    row = store.recordings.get(RECORDING_ID)
    key = store.secrets.unwrap("acme", RECORDING_ID, row["data_key"])
    rotated = CliRunner().invoke(keys, ["rotate", "--config", str(tmp_path / "kazoo_rec.yaml")])
    assert rotated.exit_code == 0 and "1 rows" in rotated.output
    anew = store.recordings.get(RECORDING_ID)["data_key"]
    assert anew != row["data_key"] and store.secrets.unwrap("acme", RECORDING_ID, anew) == key
    assert {path: path.read_bytes() for path in recordings.rglob("*.*")} == before
    assert ask(store, recordings, pool)("?accept=audio/wav").status_code == 200


def test_a_lost_key_is_lost_audio_and_is_said(store, recordings, stopped, pool, tmp_path, receiver):
    stopped({"url": receiver.url})
    worker(store, recordings, pool)._finish(store.recordings.get(RECORDING_ID))
    (tmp_path / "kazoo_rec.db.key").unlink()
    with pytest.raises(StoreError):
        Store(f"sqlite:///{tmp_path}/kazoo_rec.db")
    with sqlite3.connect(tmp_path / "kazoo_rec.db") as database:
        database.execute("DELETE FROM sealing")
    migrate(f"sqlite:///{tmp_path}/kazoo_rec.db")
    again = Store(f"sqlite:///{tmp_path}/kazoo_rec.db")
    work(again, recordings, pool)
    answer = ask(again, recordings, pool)("?accept=audio/wav")
    upload, = again.deliveries.of(RECORDING_ID)
    again.close()
    assert answer.status_code == 404 and "its key is lost" in answer.text
    assert upload["state"] == "due" and "its key is not there" in upload["last_error"] and not receiver.files


def test_a_file_that_was_changed_on_the_disk_is_not_delivered(store, recordings, stopped, pool, receiver):
    stopped({"url": receiver.url, "format": "wav", "channels": "dual"})
    worker(store, recordings, pool)._finish(store.recordings.get(RECORDING_ID))
    file: Path = recordings / store.recordings.get(RECORDING_ID)["file"]
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    work(store, recordings, pool)
    upload, = store.deliveries.of(RECORDING_ID)
    assert upload["state"] == "due" and "MediaError" in upload["last_error"] and not receiver.files


def test_a_plain_file_in_the_place_of_an_encrypted_one_is_not_sent(store, recordings, stopped, pool, receiver):
    master = stopped({"url": receiver.url, "format": "wav", "channels": "dual"})
    worker(store, recordings, pool)._finish(store.recordings.get(RECORDING_ID))
    file = recordings / store.recordings.get(RECORDING_ID)["file"]
    file.write_bytes(master[:-1] + bytes([master[-1] ^ 1]))  # of the same size
    work(store, recordings, pool)
    upload, = store.deliveries.of(RECORDING_ID)
    assert upload["state"] == "due" and "the file is not sealed" in upload["last_error"]
    assert upload["status"] is None and not receiver.files
