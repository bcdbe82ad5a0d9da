import errno
import os
from collections import Counter
from contextlib import ExitStack

import pytest
from gevent.event import Event

from kazoo_rec.delivery import worker as worker_module
from kazoo_rec.delivery.finish import finish
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.delivery.worker import Worker
from kazoo_rec.media import encode, names
from tests.media.sounds import write_talk

from .fakes import RECORDING_ID, Clock, Customer, Store, refusing_url, rude_server, stopped_row

SECOND_MS = 1000


class Site:
    """A node with its worker: what is stopped is finished, what is due is uploaded, when it is told to."""

    def __init__(self, directory, pool, connections):
        self.directory, self.pool, self.connections = directory, pool, connections
        self.store, self.clock, self.at = Store(), Clock(), Clock(5000)
        self.timeout_s = (5, 5)
        self.spread = 0.0
        self.settings, self.objects = {}, None
        self._worker = None

    @property
    def worker(self):
        if self._worker is None:
            self._worker = Worker(self.store, "fs1", self.directory, self.pool, DeliverySettings(**self.settings),
                                  self.connections, self.clock, lambda: self.spread, self.timeout_s, self.at,
                                  objects=self.objects)
        return self._worker

    def stopped(self, url, recording_id=RECORDING_ID, seconds=0.5, settings=(), **columns):
        row = stopped_row(recording_id, {"url": url, "channels": "dual", **dict(settings)},
                          **{"expected_ms": round(seconds * 1000), **columns})
        self.store.rows[recording_id] = row
        write_talk(self.directory / row["master"], seconds)
        return row

    def due(self, recording_url, recording_id=RECORDING_ID, seconds=0.5, **columns):
        """A recording that is finished already; the result is its upload."""
        row = self.stopped(recording_url, recording_id, seconds)
        finish(row, self.store, self.directory, self.pool, self.clock.now_ms, DeliverySettings())
        upload = next(upload for upload in self.store.uploads.values() if upload["recording_id"] == recording_id)
        upload.update(columns)
        return upload

    def prove(self, url):
        """The server takes a first recording: it is given several at once from now on."""
        upload = self.due(url, f"202611-first-{len(self.store.uploads)}")
        self.step()
        assert upload["state"] == "delivered"

    def step(self, later_s=0):
        """One look into the store, `later_s` after the last, and the end of what it took up."""
        for clock in (self.clock, self.at):
            clock.now_ms += round(later_s * SECOND_MS)
        self.worker.tick()
        self.worker.join()

    def file(self, recording_id=RECORDING_ID):
        return self.directory / self.store.rows[recording_id]["master"]


@pytest.fixture
def site(tmp_path, pool, connections):
    site = Site(tmp_path, pool, connections)
    yield site
    site.worker.stop()


def test_what_stopped_is_finished_then_uploaded_and_the_proof_is_kept(site):
    with Customer() as customer:
        site.stopped(f"{customer.url}/rec")
        site.step()
        site.step()
    [upload] = site.store.uploads.values()
    row = site.store.rows[RECORDING_ID]
    assert (row["state"], upload["state"], upload["attempts"], upload["status"]) == ("recorded", "delivered", 1, 200)
    assert (upload["etag"], upload["proof_sha256"]) == ('"tag"', row["sha256"])
    assert upload["delivered_ms"] == site.clock.now_ms
    [(_, path, _, body)] = customer.requests
    assert path == f"/rec/call_recording_{RECORDING_ID}.wav"
    assert body == site.file().read_bytes()


def test_nothing_is_sent_twice(site):
    with Customer() as customer:
        site.due(customer.url)
        for _ in range(3):
            site.step(later_s=3600)
    assert len(customer.requests) == 1


def test_another_nodes_recordings_are_left_alone(site):
    site.stopped("http://a.example/", node="fs2")
    site.step()
    assert site.store.rows[RECORDING_ID]["state"] == "stopped"


@pytest.mark.parametrize("remove", [True, False])
def test_files_go_after_the_delivery_only_if_the_settings_say_so(site, remove):
    site.settings = {"remove_after_delivery": remove}
    with Customer() as customer:
        site.stopped(customer.url, settings={"format": "mp3"})
        site.step()
        mp3 = site.file().with_suffix(".mp3")
        assert mp3.exists()
        site.step()
    assert (site.file().exists(), mp3.exists()) == (not remove, not remove)


def test_what_was_made_to_be_played_goes_with_the_files_after_the_delivery(site):
    site.settings = {"remove_after_delivery": True}
    with Customer() as customer:
        site.due(customer.url)
        played = site.file().with_suffix(f".mono{names.PLAYED}.mp3")
        played.touch()
        site.step()
    assert not played.exists()


def test_an_upload_that_fails_after_the_recording_was_deleted_is_not_due_again(site):
    def delete(_number):
        upload.update(state="failed", last_error="the recording was deleted")

    with Customer([("500 Error", {})], before=delete) as customer:
        upload = site.due(customer.url)
        site.step()
    assert (upload["state"], upload["last_error"]) == ("failed", "the recording was deleted")


def test_files_on_legal_hold_stay_after_the_delivery(site):
    site.settings = {"remove_after_delivery": True}
    with Customer() as customer:
        site.due(customer.url)
        site.store.rows[RECORDING_ID]["legal_hold"] = True
        site.step()
    assert len(customer.requests) == 1 and site.file().exists()


def test_what_is_to_be_deleted_leaves_no_file_and_says_so(site):
    site.stopped(None, settings={"format": "mp3"})
    site.step()
    others = site.directory / "acme" / "20261121" / "202611-ffffffffffffffffffffffffffffffff.wav"
    others.touch()
    for name in (f"{RECORDING_ID}.f.wav", f"{RECORDING_ID}.dual.wav"):
        site.file().with_name(name).touch()
    site.store.rows[RECORDING_ID]["delete_requested_ms"] = 1
    site.store.refusals = [OSError("the database is locked")]
    site.step()
    assert site.store.rows[RECORDING_ID]["state"] == "recorded"
    site.step(later_s=3600)
    assert (site.store.rows[RECORDING_ID]["state"], site.store.rows[RECORDING_ID]["file"]) == ("deleted", None)
    assert list(site.file().parent.iterdir()) == [others]


def test_files_that_cannot_be_removed_do_not_stand_before_the_others_and_rest(site, monkeypatch):
    tried, remove = Counter(), worker_module.remove

    def refuse(*paths):
        name = paths[0].name
        tried["stuck" if "stuck" in name else name] += 1
        if "stuck" in name:
            raise IsADirectoryError(errno.EISDIR, "Is a directory")
        remove(*paths)

    for number in range(worker_module.DELETE_AT_ONCE):
        site.stopped(None, f"202611-stuck{number}", state="recorded", delete_requested_ms=1)
    site.stopped(None, "202611-sound", state="recorded", delete_requested_ms=2)
    monkeypatch.setattr(worker_module, "remove", refuse)
    for _ in range(3):
        site.step()
    assert site.store.rows["202611-sound"]["state"] == "deleted"
    assert tried["stuck"] == worker_module.DELETE_AT_ONCE


def test_files_stay_until_the_proof_is_durable(site):
    site.settings = {"remove_after_delivery": True}
    with Customer() as customer:
        upload = site.due(customer.url)
        site.store.refusals = [OSError("database gone")]
        site.step()
        assert (upload["state"], site.file().exists()) == ("due", True)
        site.step(later_s=1)
        assert len(customer.requests) == 1
        site.step(later_s=5)
    assert (upload["state"], site.file().exists()) == ("delivered", False)
    assert {headers["IDEMPOTENCY_KEY"] for _, _, headers, _ in customer.requests} == {RECORDING_ID}


def test_files_stay_where_the_proof_found_no_row(site):
    site.settings = {"remove_after_delivery": True}
    with Customer(before=lambda number: site.store.uploads.clear()) as customer:
        site.due(customer.url)
        site.step()
    assert site.file().exists()


def test_a_file_that_cannot_be_removed_changes_nothing_about_its_delivery(site, monkeypatch):
    def refuse(*paths):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(worker_module, "remove", refuse)
    site.settings = {"remove_after_delivery": True}
    with Customer() as customer:
        upload = site.due(customer.url)
        site.step()
        site.step(later_s=3600)
    assert (upload["state"], len(customer.requests)) == ("delivered", 1)


def test_a_discarded_recordings_file_goes_when_its_row_is_durable(site):
    site.stopped("http://a.example/", settings={"record_min_sec": 3})
    site.store.refusals = [OSError("database gone")]
    site.step()
    assert (site.store.rows[RECORDING_ID]["state"], site.file().exists()) == ("stopped", True)
    site.step(later_s=5)
    assert (site.store.rows[RECORDING_ID]["state"], site.file().exists()) == ("discarded", False)


@pytest.mark.parametrize(("columns", "kept"), [
    ({"settings": {"record_min_sec": 3}}, True), ({"seconds": 0, "cause": "empty-file"}, True),
    ({"spans": [{"kind": "declined", "from_ms": 1, "to_ms": 1}]}, False)], ids=str)
def test_legal_hold_keeps_what_is_discarded_but_not_against_a_party_s_word(site, columns, kept):
    site.stopped(None, legal_hold=True, **columns)
    site.step()
    assert (site.store.rows[RECORDING_ID]["state"], site.file().exists()) == ("discarded", kept)


@pytest.mark.parametrize("name", [f"{RECORDING_ID}.wav", f"{RECORDING_ID}.f.wav"])
def test_what_a_mark_says_was_declined_is_erased_though_its_row_does_not(site, monkeypatch, name):
    """The row says it before the mark goes: broken off as files are removed, it is done again."""
    row = site.stopped("http://a.example/", legal_hold=True)
    file = site.file().rename(site.file().with_name(name))
    row["master"] = str(file.relative_to(site.directory))
    mark = file.with_name(names.declined(RECORDING_ID))
    mark.touch()

    def refuse(*paths):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(worker_module, "remove", refuse)
        site.step()
    row = site.store.rows[RECORDING_ID]
    assert (row["state"], [span["kind"] for span in row["spans"]], file.exists()) == ("stopped", ["declined"], True)
    mark.unlink()
    site.step(later_s=3600)
    row = site.store.rows[RECORDING_ID]
    assert (row["state"], row["state_reason"], list(file.parent.iterdir())) == ("discarded", "declined", [])
    assert not site.store.uploads


def test_nothing_is_left_of_the_mark_of_one_that_was_declined(site):
    site.stopped(None)
    mark = site.file().with_name(names.declined(RECORDING_ID))
    mark.touch()
    site.step()
    assert site.store.rows[RECORDING_ID]["state_reason"] == "declined" and not list(mark.parent.iterdir())


def test_the_row_says_that_files_are_gone_before_they_are_and_not_where_they_stay(site, monkeypatch):
    site.settings, said = {"remove_after_delivery": True}, []

    def refuse(*paths):
        said.append(site.store.rows[RECORDING_ID]["audio_removed_ms"])
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(worker_module, "remove", refuse)
    with Customer() as customer:
        site.due(customer.url)
        site.step()
    assert said == [site.clock.now_ms] and site.store.rows[RECORDING_ID]["audio_removed_ms"] is None


def test_failures_are_further_and_further_apart(site):
    upload = site.due(refusing_url(), give_up_ms=site.clock.now_ms + 10**9)
    waits_s = []
    for _ in range(13):
        site.step()
        waits_s.append((upload["next_attempt_ms"] - site.clock.now_ms) / SECOND_MS)
        site.clock.now_ms = upload["next_attempt_ms"]
    assert waits_s == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    assert (upload["attempts"], upload["state"]) == (13, "due")
    assert upload["last_error"] == "ConnectionRefusedError: Connection refused"


def test_jitter_takes_up_to_half_of_a_wait(site):
    site.spread = 0.5
    upload = site.due(refusing_url())
    site.step()
    assert upload["next_attempt_ms"] - site.clock.now_ms == 3750


def test_nothing_is_tried_before_its_time(site):
    with Customer([("503 Unavailable", {})]) as customer:
        site.due(customer.url)
        site.step()
        site.step(later_s=4.9)
        assert len(customer.requests) == 1
        site.step(later_s=0.1)
    assert len(customer.requests) == 2


def test_the_server_is_not_asked_again_before_it_wants_to_be(site):
    with Customer([("503 Unavailable", {"Retry-After": "90"})]) as customer:
        upload = site.due(customer.url)
        site.step()
        assert upload["next_attempt_ms"] == site.clock.now_ms + 90 * SECOND_MS
        assert (upload["status"], upload["last_error"]) == (503, "answered 503 said so")
        site.step(later_s=90)
    assert (upload["state"], upload["last_error"]) == ("delivered", None)


def test_a_server_that_wants_to_wait_for_ever_is_asked_a_last_time_at_the_end(site):
    with Customer([("503 Unavailable", {"Retry-After": "9" * 400})]) as customer:
        upload = site.due(customer.url)
        site.step()
        assert upload["next_attempt_ms"] == upload["give_up_ms"]


def test_after_its_time_an_upload_is_given_up_and_its_file_stays(site):
    site.settings = {"remove_after_delivery": True}
    upload = site.due(refusing_url(), give_up_ms=site.clock.now_ms + 7 * SECOND_MS)
    site.step()
    site.step(later_s=5)
    assert (upload["state"], upload["next_attempt_ms"]) == ("due", upload["give_up_ms"])
    site.step(later_s=2)
    assert (upload["state"], upload["attempts"]) == ("failed", 3)
    assert site.file().exists()
    site.step(later_s=3600)
    assert upload["attempts"] == 3


def test_a_url_that_can_never_be_is_given_up_at_once(site):
    upload = site.due("http://a.example/", url="ftp://ann:secret@a.example/")
    site.step()
    assert (upload["state"], upload["attempts"]) == ("failed", 1)
    assert "ftp" in upload["last_error"]
    assert "secret" not in upload["last_error"]


def test_a_file_that_is_gone_is_told_and_looked_for_again(site):
    with Customer() as customer:
        upload = site.due(customer.url)
        away = site.file().rename(site.file().with_suffix(".away"))
        site.step()
        assert upload["last_error"] == "FileNotFoundError: No such file or directory"
        away.rename(site.file())
        site.step(later_s=5)
    assert upload["state"] == "delivered"


def test_whatever_is_wrong_with_one_recording_is_no_others_trouble(site):
    with Customer() as customer:
        broken = site.due(customer.url, "202611-broken")
        sound = site.due(customer.url, "202611-sound")
        site.store.rows["202611-broken"]["sha256"] = "no hex"
        site.store.rows["202611-stuck"] = stopped_row("202611-stuck", settings={"record_min_sec": "three"})
        write_talk(site.file("202611-stuck"))
        site.step()
        site.step()
    assert sound["state"] == "delivered"
    assert (broken["state"], broken["attempts"]) == ("due", 1)
    assert broken["last_error"].startswith("ValueError: ")
    assert site.store.rows["202611-stuck"]["state"] == "stopped"
    assert site.store.rows["202611-stuck"]["state_reason"].startswith("TypeError: ")


def test_recordings_that_cannot_be_finished_do_not_stand_before_the_others(site):
    for number in range(10):
        site.stopped(None, f"202611-stuck{number}", settings={"record_min_sec": "three"})
    site.stopped(None, "202611-sound")
    for _ in range(6):
        site.step()
    assert site.store.rows["202611-sound"]["state"] == "recorded"


def test_what_could_not_be_finished_is_finished_when_it_can_be(site):
    row = site.stopped(None, settings={"record_min_sec": "three"})
    site.step()
    row["settings"]["record_min_sec"] = 0
    site.step(later_s=4.9)
    assert row["state"] == "stopped"
    site.step(later_s=0.1)
    assert (row["state"], row["state_reason"]) == ("recorded", None)


@pytest.mark.parametrize("by_s", [-3600, 3600])
def test_a_host_s_clock_that_jumps_neither_holds_up_what_waits_nor_hurries_it(site, monkeypatch, by_s):
    row = site.stopped(None, settings={"record_min_sec": "three"})
    site.step()
    row["settings"]["record_min_sec"] = 0
    site.clock.now_ms += by_s * SECOND_MS
    site.step(later_s=4.9)
    assert row["state"] == "stopped"
    site.step(later_s=0.1)
    assert row["state"] == "recorded"
    another, whole = site.stopped(None, "202611-full", settings={"format": "mp3"}), encode.to_mp3
    monkeypatch.setattr(encode, "to_mp3", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    site.step()
    monkeypatch.setattr(encode, "to_mp3", whole)
    site.clock.now_ms += by_s * SECOND_MS
    site.step(later_s=worker_module.DISK_RETRY_MS / SECOND_MS - 0.1)
    assert another["state"] == "stopped"
    site.step(later_s=0.1)
    assert another["state"] == "recorded"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_on_a_disk_that_takes_nothing_more_all_wait_and_go_on_by_themselves_when_it_does(site, monkeypatch, number):
    whole = encode.to_mp3
    refusals = []

    def full(*args):
        refusals.append(1)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(encode, "to_mp3", full)
    with Customer() as customer:
        for n in range(9):
            site.stopped(f"{customer.url}/rec", f"202611-{n:032x}", settings={"format": "mp3"})
        for _ in range(60):
            site.step(later_s=worker_module.DISK_RETRY_MS / SECOND_MS / 6)
        assert site.worker.disk_refuses and 9 < len(refusals) <= 24
        assert {row["state"] for row in site.store.rows.values()} == {"stopped"} and not customer.requests
        assert any(os.strerror(number) in (row["state_reason"] or "") for row in site.store.rows.values())
        monkeypatch.setattr(encode, "to_mp3", whole)
        for _ in range(10):
            site.step(later_s=2)
        assert not site.worker.disk_refuses and len(customer.requests) == 9
    assert {row["state"] for row in site.store.rows.values()} == {"recorded"}


def test_a_dead_server_holds_up_nobody_else(site):
    done = Event()
    with Customer() as customer, rude_server(lambda connection: done.wait()) as dead_url:
        dead = [site.due(dead_url, f"202611-dead{number}") for number in range(20)]
        alive = site.due(customer.url, "202611-alive")
        arrived = Event()
        customer.before = lambda number: arrived.set()
        site.worker.tick()
        assert arrived.wait(5)
        done.set()
        site.worker.join()
    assert alive["state"] == "delivered"
    assert sum(upload["attempts"] for upload in dead) == 1


def test_no_server_has_more_uploads_than_it_may_and_all_together_no_more_than_they_may(site):
    site.settings = {"uploads_per_host": 2, "uploads": 5}
    release, five = Event(), Event()
    running, most = Counter(), Counter()

    def serve(server):
        running[server] += 1
        most[server] = max(most[server], running[server])
        most["all"] = max(most["all"], running.total())
        if running.total() == 5:
            five.set()
        release.wait()
        running[server] -= 1

    with ExitStack() as stack:
        servers = [stack.enter_context(Customer(before=lambda _, server=server: serve(server))) for server in range(3)]
        for server in servers:
            before, server.before = server.before, lambda number: None
            site.prove(server.url)
            server.before = before
        for server in servers:
            for number in range(4):
                site.due(server.url, f"202611-{server.url[-5:]}-{number}")
        site.worker.tick()
        assert five.wait(5)
        site.worker.tick()
        release.set()
        for _ in range(3):
            site.worker.join()
            site.worker.tick()
        site.worker.join()
    assert [len(server.requests) for server in servers] == [5, 5, 5]
    assert most.pop("all") == 5
    assert max(most.values()) == 2


def test_a_row_that_was_read_before_its_upload_ended_is_not_sent_again(site):
    site.settings = {"remove_after_delivery": True}
    entered, release = Event(), Event()
    with Customer() as customer:
        site.prove(customer.url)
        customer.before = lambda number: entered.set() or release.wait()
        upload = site.due(customer.url)
        site.worker.tick()
        assert entered.wait(5)

        def finish_meanwhile(read):
            if read == "due":
                release.set()
                site.worker.join()

        site.store.reading = finish_meanwhile
        site.worker.tick()
        site.store.reading = None
        site.worker.join()
    assert (upload["state"], upload["attempts"], len(customer.requests)) == ("delivered", 1, 2)


def test_what_ends_makes_room_at_once(site, monkeypatch):
    monkeypatch.setattr(worker_module, "LOOK_S", 3600)
    arrived = Event()
    with Customer(before=lambda number: arrived.set() if number == 9 else None) as customer:
        for number in range(9):
            site.stopped(customer.url, f"202611-{number}")
        site.worker.start()
        assert arrived.wait(5)


def test_stopping_breaks_off_what_does_not_end_and_it_stays_due(site, monkeypatch):
    monkeypatch.setattr(worker_module, "GRACE_S", 0.05)
    entered = Event()
    with rude_server(lambda connection: entered.set() or Event().wait()) as url:
        upload = site.due(url)
        site.worker.start()
        assert entered.wait(5)
        site.worker.stop()
    assert (upload["state"], upload["attempts"]) == ("due", 0)


def test_it_looks_again_and_again_also_after_the_store_could_not_be_read(site, monkeypatch):
    monkeypatch.setattr(worker_module, "LOOK_S", 0.001)
    monkeypatch.setattr(worker_module, "STORE_RETRY_S", 0.001)
    looks = []

    def unwell(read):
        looks.append(1)
        if len(looks) < 3:
            raise OSError("database is locked")

    arrived = Event()
    with Customer(before=lambda number: arrived.set()) as customer:
        site.stopped(customer.url)
        site.store.reading = unwell
        site.worker.start()
        assert arrived.wait(5)
    assert len(looks) > 3
