"""Files without a row: whose they are, and what becomes of them."""

import errno
import fcntl
import os
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from kazoo_rec.delivery import orphans
from kazoo_rec.delivery.meter import Meter
from kazoo_rec.delivery.orphans import ALL_EVERY_S, AT_REST_S, FOUND_EVERY_S, Orphans
from kazoo_rec.media import names, sealed, wav
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from tests import database
from tests.store.test_store import row

ID = "202611-0123456789abcdef0123456789abcdef"
ANOTHER = ID.replace("0123", "9999", 1)
SAID = "kazoo_rec/leg-a/talk/account.inbound/A/u1//0123456789abcdef/switch1"
SETTINGS = {"url": "https://files.example/", "format": "mp3"}
KEPT = {"url": None, "format": "wav"}


class Site:
    """A recordings directory and a store; an engine that says that it lives; what documents say by digest."""

    def __init__(self, store, directory):
        self.store, self.directory, self.now_s, self.said_ms, self.meter = store, directory, 1000.0, 5000, Meter()
        self.known, self.asked, self.runs, self.refuses = {}, [], [], set()
        self.switches = {"switch1": self.meter}
        self.orphans = Orphans(store, "fs1", self.switches, directory, self._run, self._settings_of, KEPT,
                               lambda: self.now_s)
        directory.mkdir()

    def _run(self, function, args):
        self.runs.append((function.__name__, args[-1]))
        if function.__name__ != "_stat" and self.refuses & {args[0], args[-1]}:
            raise PermissionError(errno.EACCES, "Permission denied")
        return function(*args)

    def _settings_of(self, *asked):
        self.asked.append(asked)
        return self.known.get(asked)

    def file(self, name=f"{ID}.wav", comment="", day="acme/20261121", seconds=2.0):
        path = self.directory / day / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with soundfile.SoundFile(path, "w", 8000, 2, "PCM_16") as file:
            if comment:
                file.comment = comment
            file.write(np.full((round(seconds * 8000), 2), 1000, "<i2"))
        return path

    def look(self, times=1, engine=True):
        for _ in range(times):
            if engine:
                self.said_ms += 2000
                self.store.vitals._clock_ms = lambda: self.said_ms
                self.store.vitals.say("fs1", "engine", {}).get()
            self.orphans.look()
            self.now_s += FOUND_EVERY_S

    def row(self, recording_id=ID):
        return self.store.recordings.get(recording_id)


@pytest.fixture
def said(monkeypatch):
    """(event, what it was told with) of each line of the log."""
    lines = []
    monkeypatch.setattr(orphans, "log", SimpleNamespace(error=lambda event, **told: lines.append((event, told))))
    return lines


@pytest.fixture
def site(tmp_path):
    url = database.of(tmp_path)
    migrate(url)
    store = Store(url)
    yield Site(store, tmp_path / "recordings")
    store.close()


def test_a_file_whose_settings_are_known_again_becomes_an_open_row_for_the_engine_to_close(site):
    site.known = {("acme", "u1", "", "0123456789abcdef"): (SETTINGS, {"url": "account"})}
    site.file(comment=SAID)
    site.look(3)
    found = site.row()
    assert (found["state"], found["node"], found["account_id"]) == ("recording", "switch1", "acme")
    assert (found["call_id"], found["interaction_id"], found["rule"], found["leg"], found["user_id"]) == (
        "leg-a", "talk", "account.inbound", "A", "u1")
    assert (found["settings"], found["settings_from"]) == (SETTINGS, {"url": "account"})
    assert found["device_id"] is None and found["master"] == f"acme/20261121/{ID}.wav"
    assert found["stopped_ms"] - found["started_ms"] == 2000
    assert site.store.recordings.open_ids("switch1") == [ID]


def test_of_several_switches_it_is_the_one_s_that_the_file_names(site):
    """Another does not record it, so that the row would be closed and the file finished while it is written."""
    site.switches["switch2"] = Meter()
    site.known = {("acme", "u1", "", "0123456789abcdef"): (SETTINGS, {})}
    site.file(comment=SAID.replace("switch1", "switch2"))
    site.file(f"{ANOTHER}.wav", comment=SAID.replace("switch1", "renamed"))
    site.look(3)
    assert site.row()["node"] == "switch2" and site.row(ANOTHER) is None
    assert site.switches["switch2"].registry.get_sample_value(
        "kazoo_rec_recording_states_total", {"state": "recording"}) == 1
    site.now_s += AT_REST_S
    site.look()
    assert site.row(ANOTHER)["state"] == "recording", "it is not written any more, whosever it was"


def test_of_one_switch_it_is_also_where_the_file_names_another(site):
    site.known = {("acme", "u1", "", "0123456789abcdef"): (SETTINGS, {})}
    site.file(comment=SAID.replace("switch1", "renamed"))
    site.look(3)
    assert site.row()["node"] == "switch1"


def test_what_an_engine_that_lives_may_have_in_memory_is_left_to_it(site):
    site.known = {("acme", "u1", "", "0123456789abcdef"): (SETTINGS, {})}
    site.file(comment=SAID)
    site.look(2)
    site.look(200, engine=False)
    assert site.row() is None
    site.store.recordings.insert(row(ID, reason="its own")).get()
    site.look(5)
    assert site.row()["reason"] == "its own"


@pytest.mark.parametrize("comment", ["", "somebody's words", SAID, SAID.rpartition("/")[0],
                                     "kazoo_rec/" + "x/" * 9, f"{SAID}\u2028"])
def test_one_whose_settings_are_not_known_is_reported_when_it_has_come_to_rest_and_its_file_is_kept(site, comment):
    path = site.file(comment=comment)
    site.look(5)
    assert site.row() is None
    site.now_s += AT_REST_S
    site.look()
    found = site.row()
    assert found["state"] == "failed" and "its settings are not known; the file is kept" in found["state_reason"]
    assert (found["account_id"], found["settings"], found["duration_ms"]) == ("acme", KEPT, 2000)
    assert path.exists() and site.meter.registry.get_sample_value(
        "kazoo_rec_recording_states_total", {"state": "failed"}) == 1


@pytest.mark.parametrize("is_sealed", [False, True], ids=["plain", "encrypted"])
def test_one_that_was_declined_is_not_kept_though_its_settings_are_not_known(site, is_sealed):
    """A row that has stopped is finished: what has a mark, by being erased."""
    path = site.file(comment=SAID)
    path.with_name(names.declined(ID)).touch()
    if is_sealed:
        sealed.seal(path, bytes(32))
    site.look(5)
    assert site.row() is None
    site.now_s += AT_REST_S
    site.look()
    assert (site.row()["state"], site.row()["state_reason"], site.row()["node"]) == ("stopped", None, "switch1")


def test_a_mark_alone_is_no_recording(site):
    site.file(f"{ANOTHER}.wav").with_name(names.declined(ID)).touch()
    site.look(5)
    site.now_s += AT_REST_S
    site.look()
    assert site.row() is None and site.row(ANOTHER)["state"] == "failed"


def test_one_that_grows_is_not_at_rest(site):
    path = site.file()
    for _ in range(5):
        site.look(3)
        site.now_s += AT_REST_S
        with open(path, "ab") as file:
            file.write(bytes(320))
    assert site.row() is None


def test_one_that_is_gone_is_forgotten(site):
    path = site.file()
    site.look(2)
    path.unlink()
    site.look(5)
    site.now_s += AT_REST_S
    site.look()
    assert site.row() is None and not site.orphans._found


def test_the_file_of_one_that_was_discarded_goes_also_after_a_kill(site):
    """Killed between its row and its removal. What an engine discarded, which saw no audio of it, is left to it."""
    for name in (ID, ANOTHER):
        site.store.recordings.insert(row(name, state="stopped"))
    site.store.recordings.finish(ID, {"state": "discarded", "duration_ms": 1200}, [])
    site.store.recordings.update(ANOTHER, state="discarded").get()
    file, others = site.file(), site.file(f"{ANOTHER}.wav")
    site.look()
    assert (file.exists(), others.exists()) == (False, True)


def test_all_files_go_of_one_whose_row_says_that_they_did(site):
    """Killed between its row and their removal."""
    site.store.recordings.insert(row(ID, state="recorded", audio_removed_ms=5))
    site.store.recordings.insert(row(ANOTHER, state="recorded")).get()
    site.file().with_suffix(".mp3").touch()
    others = site.file(f"{ANOTHER}.wav")
    site.look()
    assert list(others.parent.iterdir()) == [others]


def test_the_file_of_one_that_was_discarded_on_legal_hold_stays_until_it_is_let_go(site):
    site.store.recordings.insert(row(ID, state="discarded", duration_ms=1200, legal_hold=True)).get()
    file = site.file()
    site.look()
    assert file.exists()
    site.store.recordings.hold(ID, False).get()
    os.utime(file.parent, ns=(1, 1))
    site.now_s += ALL_EVERY_S
    site.look()
    assert not file.exists()


@pytest.mark.parametrize("unread", [f"acme/20261121/{ID}.wav", "acme", "acme/20261121"])
def test_what_cannot_be_read_is_told_once_and_holds_up_no_other(site, said, unread):
    site.file()
    site.file(f"{ANOTHER}.wav", day="other/20261121")
    site.refuses.add(unread)
    for _ in range(2):
        site.look(4)
        site.now_s += max(AT_REST_S, ALL_EVERY_S)
    assert site.row(ANOTHER)["state"] == "failed" and site.row() is None
    assert [(event, told["path"]) for event, told in said if "cannot" in event] == [
        ("files without a row cannot be looked for here", unread)]
    site.refuses.clear()
    for _ in range(2):
        site.look(4)
        site.now_s += max(AT_REST_S, ALL_EVERY_S)
    assert site.row()["state"] == "failed"


def test_what_is_no_recording_is_left_alone(site):
    for name in (f"{ID}.mp3", f"{ID}.mono.wav", f"{ID}.mp3.abc.part", "notes.wav", f"{ID}.WAV"):
        site.file().rename(site.directory / "acme/20261121" / name)
    for day in ("acme/trial", "acme/2026112", ".hidden/20261121", "a b/20261121"):
        site.file(f"{ANOTHER}.wav", day=day)
    os.symlink(site.directory / "a b", site.directory / "linked")
    (site.directory / "file").touch()
    site.look(4)
    site.now_s += AT_REST_S
    site.look()
    assert site.store.recordings.count_by_state() == {}


def test_a_fallback_s_file_is_its_recording_s(site):
    site.store.recordings.insert(row(ANOTHER)).get()
    site.file(f"{ID}.f.wav"), site.file(f"{ANOTHER}.f.wav")
    site.look(4)
    site.now_s += AT_REST_S
    site.look()
    assert site.row()["master"] == f"acme/20261121/{ID}.f.wav" and site.row(ANOTHER)["state"] == "armed"


def test_what_is_no_wav_is_reported_too(site):
    site.file().write_bytes(b"no sound at all")
    site.look(4)
    site.now_s += AT_REST_S
    site.look()
    assert (site.row()["state"], site.row()["duration_ms"]) == ("failed", 0)


def test_of_one_that_is_encrypted_it_is_said_that_its_key_went_with_its_row(site):
    path = site.file(comment=SAID)
    sealed.seal(path, bytes(32))
    site.look(4)
    site.now_s += AT_REST_S
    site.look()
    assert site.row()["state"] == "failed" and "encrypted, and its key was in its row" in site.row()["state_reason"]
    assert path.exists()


def test_what_a_killed_process_was_making_beside_another_goes_and_what_is_being_made_stays(site):
    site.store.recordings.insert(row(ID)).get()
    day = site.file().parent
    abandoned, written = (day / f"{ID}.mp3.{32 * digit}.part" for digit in "ab")
    abandoned.touch(), (day / f"{ID}.mp3.part").touch(), (day / f"notes.{32 * 'a'}.part").touch()
    with open(written, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        site.look()
    assert not abandoned.exists() and written.exists()
    assert sorted(path.suffix for path in day.iterdir()) == [".part", ".part", ".part", ".wav"]


def test_only_days_that_have_changed_are_looked_into_again(site):
    for day in ("acme/20261120", "acme/20261121", "other/20261121"):
        site.file(f"{ANOTHER}.wav", day=day)
    site.store.recordings.insert(row(ANOTHER)).get()
    site.look(3)
    site.now_s += ALL_EVERY_S
    site.file(f"{ID}.wav")
    os.utime(site.directory / "acme/20261121", ns=(1, 1))
    site.runs.clear()
    site.look()
    assert {last for name, last in site.runs if name == "_some"} == {"acme/20261121"}


def test_a_day_of_any_size_is_looked_into_some_files_at_a_time(site, monkeypatch):
    monkeypatch.setattr(orphans, "AT_ONCE", 5)
    for number in range(10):
        (site.file().parent / f"202611-{number:032x}.wav").touch()
    asked, unknown = [], site.store.recordings.unknown
    monkeypatch.setattr(site.store.recordings, "unknown", lambda ids: asked.append(len(ids)) or unknown(ids))
    site.look(4)
    site.now_s += AT_REST_S
    site.look()
    assert asked[:3] == [5, 5, 1]
    assert site.store.recordings.count_by_state() == {"failed": 11}


def test_what_freeswitch_writes_into_a_file_is_read_and_stays_after_a_repair(site):
    path = site.file(comment=SAID, seconds=1)
    data = path.read_bytes()
    assert data[36:40] == b"LIST", "libsndfile writes it before the audio, as FreeSWITCH has it do"
    with open(path, "r+b") as file:
        file.seek(4), file.write(b"\x08\0\0\0")
        file.seek(wav.probe(path).data_offset - 4), file.write(bytes(4))
    assert not wav.probe(path).intact and wav.probe(path).duration_ms == 1000
    assert wav.repair(path).intact and wav.comment(path) == SAID and path.read_bytes() == data
