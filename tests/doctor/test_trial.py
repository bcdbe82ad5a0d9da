"""The test recording on a simulated switch, and every way in which it goes wrong."""

import errno
import os

import gevent
import pytest

from kazoo_rec.config import RecordingsDir
from kazoo_rec.delivery.receiver import Received
from kazoo_rec.doctor import trial
from kazoo_rec.errors import CommandFailed, NotConnected
from kazoo_rec.switch.connection import Connection
from kazoo_rec.switch.replies import check
from kazoo_rec.threads import Threads
from tests.doctor.conftest import findings_of, only


class Trial:
    def __init__(self, deployment):
        self.switch, self.recordings = deployment.switch, deployment.recordings
        self.on_switch = str(self.recordings)
        self._connection = Connection(*self.switch.address, self.switch.password)
        self._connection.connect()
        self._connection.subscribe()
        self.threads = Threads(4)
        self.meanwhile = lambda: None

    def ask(self, *asked):
        return check(self._connection.send(*asked))

    def run(self, ask=None, missing=()):
        return trial.trial(ask or self.ask, RecordingsDir(self.on_switch, str(self.recordings)), set(missing),
                           self.threads, self._pause)

    def _pause(self, seconds):
        self.switch.clock.sleep(seconds)
        self.meanwhile()

    def file(self):
        """What the switch is recording to."""
        (path,) = self.recordings.glob("*/*.wav")
        return path

    def nothing_is_left(self):
        self.switch.until(lambda: not self.switch.legs)
        return not os.listdir(self.recordings)

    def close(self):
        self._connection.stop()
        self.threads.kill()


@pytest.fixture
def tried(deployment):
    made = Trial(deployment)
    yield made
    made.close()


def test_it_is_made_found_encoded_and_sent_and_nothing_is_left(tried):
    found = tried.run()
    assert [(one.name, one.state) for one in found] == [
        ("same place", "ok"), ("test recording", "ok"), ("test delivery", "ok")]
    assert "8000 Hz, both sides heard" in found[1].seen and "digest verified" in found[2].seen
    assert tried.nothing_is_left()
    started = next(line for line in tried.switch.commands if " start " in line)
    assert "kazoo_rec_id" not in started and " 15 {RECORD_STEREO=true," in started


def test_what_is_there_already_is_not_touched(tried):
    kept = tried.recordings / "acme" / "20261121" / "a.wav"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"audio")
    tried.run()
    assert kept.read_bytes() == b"audio" and os.listdir(tried.recordings) == ["acme"]


def test_a_directory_that_the_switch_does_not_have_is_wrong_and_nothing_is_recorded(tried):
    tried.on_switch = "/recordings"
    found = only(tried.run(), "same place")
    assert found.state == "wrong" and found.seen == "FreeSWITCH sees no /recordings"
    assert tried.nothing_is_left() and not [line for line in tried.switch.commands if line.startswith("originate")]


def test_another_directory_of_the_switch_is_wrong_and_nothing_is_recorded(tried, tmp_path):
    (tmp_path / "other").mkdir()
    tried.on_switch = str(tmp_path / "other")
    found = only(tried.run(), "same place")
    assert found.state == "wrong" and f"{tmp_path}/other of FreeSWITCH is not {tried.recordings}" in found.seen
    assert tried.nothing_is_left() and not os.listdir(tmp_path / "other")


def test_a_directory_that_the_switch_may_not_go_into_is_wrong(tried):
    tried.switch.sees = lambda path: path == str(tried.recordings)
    found = only(tried.run(), "same place")
    assert found.state == "wrong" and "may not go into" in found.seen and "usermod" in found.advice


@pytest.mark.parametrize("missing, why", [
    ((), "its user may not write there"), (("mod_sndfile",), "mod_sndfile is not loaded"),
])
def test_a_switch_that_cannot_record_there_is_wrong_and_the_call_is_ended(tried, missing, why):
    tried.switch.says["uuid_record"] = "-ERR Cannot record session!\n"
    found = only(tried.run(missing=missing), "test recording")
    assert found.state == "wrong" and "Cannot record session!" in found.seen and why in found.seen
    assert tried.nothing_is_left()


def test_a_full_disk_is_named(tried, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((4096, 4096, 10, 0, 0, 10, 10, 10, 0, 255)))
    tried.switch.says["uuid_record"] = "-ERR Cannot record session!\n"
    assert "as the disk is full" in only(tried.run(), "test recording").seen


def test_a_directory_that_we_cannot_write_is_wrong(tried, monkeypatch):
    def mkdir(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(trial.os, "mkdir", mkdir)
    found = only(tried.run(), "test recording")
    assert found.state == "wrong" and "cannot be made here: Permission denied" in found.seen


def test_no_directory_is_left_to_the_check_of_the_directory(tried):
    tried.recordings.rmdir()
    assert only(tried.run(), "test recording").state == "skipped"


@pytest.mark.parametrize("missing, seen", [((), "NO_ROUTE"), (("mod_loopback",), "made without mod_loopback")])
def test_without_a_test_call_there_is_a_warning(tried, missing, seen):
    tried.switch.says["originate"] = "-ERR NO_ROUTE_DESTINATION\n"
    found = only(tried.run(missing=missing), "test recording")
    assert found.state == "warning" and seen in found.seen and tried.nothing_is_left()


def test_a_file_that_is_recorded_elsewhere_is_wrong(tried):
    tried.meanwhile = lambda: tried.file().unlink()
    found = only(tried.run(), "same place")
    assert found.state == "wrong" and "says that it recorded" in found.seen and tried.nothing_is_left()


def test_a_file_that_the_switch_removes_is_wrong(tried):
    def ask(command, *timeout_s):
        said = tried.ask(command, *timeout_s)
        if " stop " in command:
            tried.file().unlink()  # as RECORD_MIN_SEC does
        return said

    found = only(tried.run(ask), "test recording")
    assert found.state == "wrong" and "RECORD_MIN_SEC" in found.advice and tried.nothing_is_left()


def test_a_file_that_cannot_be_read_is_wrong(tried):
    def hide():
        path = tried.file()
        path.unlink()
        path.mkdir()  # as root, who runs tests, may read any file

    tried.meanwhile = hide
    found = only(tried.run(), "test recording")
    assert found.state == "wrong" and "cannot be read here" in found.seen and "umask" in found.advice
    assert tried.nothing_is_left()


def test_a_file_that_is_no_sound_is_wrong(tried):
    def spoil():
        path = tried.file()
        path.unlink()
        path.write_text("no sound at all")

    tried.meanwhile = spoil
    found = only(tried.run(), "test recording")
    assert found.state == "wrong" and "not a WAV file" in found.seen


def test_a_header_of_zero_is_repaired(tried):
    def leave_it_open():
        """RIFF 8 and data 0 above good audio, as the switch closes another file than this copy."""
        (leg,) = tried.switch.legs.values()
        leg.call.settle()
        path = tried.file()
        audio = path.read_bytes()
        assert audio[4:8] == b"\x08\0\0\0" and audio[40:44] == bytes(4)
        path.unlink()
        path.write_bytes(audio)

    tried.meanwhile = leave_it_open
    assert only(tried.run(), "test recording").state == "ok"


def test_a_side_without_sound_is_a_warning(tried, monkeypatch):
    monkeypatch.setattr(trial, "LOUD", 30_000)
    assert "a side of it is silent" in only(tried.run(), "test recording").seen


def test_a_recording_that_is_too_short_is_a_warning(tried):
    found = trial.trial(tried.ask, RecordingsDir(tried.on_switch, str(tried.recordings)), set(), tried.threads,
                        lambda seconds: tried.switch.clock.sleep(seconds / 3))
    assert "of 1.00 s" in only(found, "test recording").seen and found[1].state == "warning"


def test_an_upload_that_fails_is_wrong(tried, monkeypatch):
    monkeypatch.setattr(trial.http, "send", lambda *_: trial.http.Failure("ConnectionRefusedError"))
    found = only(tried.run(), "test delivery")
    assert found.state == "wrong" and "ConnectionRefusedError" in found.seen and tried.nothing_is_left()


def test_another_file_than_was_sent_is_wrong(tried, monkeypatch):
    monkeypatch.setattr(trial.Receiver, "files", [Received("id", "x.mp3", 1, "00" * 32, True)])
    found = only(tried.run(), "test delivery")
    assert found.state == "wrong" and "not what was sent" in found.seen and tried.nothing_is_left()


def test_whatever_ends_it_the_call_and_the_files_go(tried):
    def interrupt():
        assert tried.switch.legs and tried.file().exists()
        raise KeyboardInterrupt

    tried.meanwhile = interrupt
    with pytest.raises(KeyboardInterrupt):
        tried.run()
    assert tried.nothing_is_left()


def test_a_switch_that_is_lost_ends_it_and_the_files_go(tried):
    tried.meanwhile = tried.switch.kill
    with pytest.raises(NotConnected):
        tried.run()
    assert not os.listdir(tried.recordings)


def test_a_time_out_ends_it_and_the_files_go(tried):
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.2):
        trial.trial(tried.ask, RecordingsDir(tried.on_switch, str(tried.recordings)), set(), tried.threads,
                    lambda seconds: gevent.get_hub().wait(gevent.get_hub().loop.timer(60)))
    assert tried.nothing_is_left()


def test_a_stop_that_comes_too_late_is_no_fault(tried):
    def ask(command, *timeout_s):
        if " stop " in command:
            tried.ask(command)
            raise CommandFailed("refused", "-ERR Cannot stop record session!")
        return tried.ask(command, *timeout_s)

    assert not findings_of(tried.run(ask), "test recording", "wrong")
