import hashlib
import os
from pathlib import Path

import pytest
import soundfile

from kazoo_rec.delivery.finish import finish
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.media import wav
from tests.media.sounds import HEARD, SAID, tone, tones, unclose, write_talk, write_wav

from .fakes import RECORDING_ID, Clock, Store, stopped_row

NOW_MS = Clock().now_ms


@pytest.fixture
def finished(tmp_path, pool):
    """Finishes a row whose master lasts `seconds` (None: no file); the result is (its row, its uploads, its state)."""

    def finished(seconds=2.0, prepare=lambda master: None, **row):
        store = Store(stopped_row(**row))
        master = tmp_path / store.rows[RECORDING_ID]["master"]
        if seconds is None:
            master.parent.mkdir(parents=True, exist_ok=True)
        else:
            write_talk(master, seconds)
        prepare(master)
        state = finish(dict(store.rows[RECORDING_ID]), store, tmp_path, pool, NOW_MS, DeliverySettings(retry_for_s=60))
        return store.rows[RECORDING_ID], list(store.uploads.values()), state

    return finished


@pytest.mark.parametrize(("settings", "file", "content_type", "channels"), [
    ({"format": "mp3"}, "{id}.mp3", "audio/mpeg", [{SAID, HEARD}]),
    ({"format": "mp3", "channels": "dual"}, "{id}.mp3", "audio/mpeg", [{SAID}, {HEARD}]),
    ({"format": "mp3", "channels": "dual", "track": "inbound"}, "{id}.mp3", "audio/mpeg", [{SAID}]),
    ({"format": "wav"}, "{id}.mono.wav", "audio/wav", [{SAID, HEARD}]),
    ({"format": "wav", "track": "outbound"}, "{id}.wav", "audio/wav", [{HEARD}]),
    ({"format": "wav", "channels": "dual"}, "{id}.wav", "audio/wav", [{SAID}, {HEARD}]),
])
def test_the_file_to_deliver_is_what_the_settings_say(finished, tmp_path, settings, file, content_type, channels):
    row, _, state = finished(settings=settings)
    assert (state, row["state"], row["state_reason"], row["partial"]) == ("recorded", "recorded", None, False)
    assert row["file"] == f"acme/20261121/{file.format(id=RECORDING_ID)}"
    assert (row["content_type"], row["channels"], row["sample_rate"]) == (content_type, len(channels), 8000)
    assert row["duration_ms"] == 2000
    content = (tmp_path / row["file"]).read_bytes()
    assert (row["size_bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    samples, rate = soundfile.read(tmp_path / row["file"], always_2d=True)
    assert [tones(channel, rate) for channel in samples.T] == channels
    assert (tmp_path / row["master"]).exists()


def test_a_mono_master_is_delivered_as_it_is(finished):
    row, _, _ = finished(prepare=lambda master: write_wav(master, [tone(SAID, 2.0)]), settings={"channels": "dual"})
    assert row["file"] == row["master"]
    assert row["channels"] == 1


def test_an_upload_is_due_at_once_in_the_transaction_of_its_recording(finished):
    _, [upload], _ = finished(settings={"url": "HTTPS://Ann:secret@Customer.example/rec", "method": "post"})
    assert upload == {
        "id": 1, "recording_id": RECORDING_ID, "node": "fs1", "account_id": "acme", "kind": "upload",
        "url": "HTTPS://Ann:secret@Customer.example/rec", "host": "https://customer.example:443", "method": "post",
        "state": "due", "attempts": 0, "next_attempt_ms": NOW_MS, "give_up_ms": NOW_MS + 60_000, "created_ms": NOW_MS,
        "last_error": None,
    }


def test_without_a_url_a_recording_is_kept_here(finished):
    row, uploads, _ = finished(settings={"url": None})
    assert (row["state"], uploads) == ("recorded", [])


def test_a_url_that_can_never_be_is_a_failed_delivery_that_says_so(finished):
    row, [upload], _ = finished(settings={"url": "ftp://ann:secret@customer.example/"})
    assert (row["state"], upload["state"]) == ("recorded", "failed")
    assert "ftp" in upload["last_error"]
    assert "secret" not in upload["last_error"]


@pytest.mark.parametrize(("row", "state", "reason"), [
    ({"started_ms": None, "expected_ms": None}, "discarded", "empty"),
    ({"cause": "empty-file"}, "discarded", "empty"),
    ({"expected_ms": 150}, "discarded", "empty"),
    ({"expected_ms": None}, "failed", "file missing"),
    ({"expected_ms": 2000}, "failed", "file missing"),
])
def test_a_missing_file_is_a_loss_only_where_there_should_have_been_audio(finished, row, state, reason):
    row, uploads, _ = finished(seconds=None, **row)
    assert (row["state"], row["state_reason"], uploads) == (state, reason, [])


@pytest.mark.parametrize("content", [b"", None])
def test_an_empty_file_counts_as_none(finished, content):
    def empty(master):
        if content is None:
            write_wav(master, [tone(SAID, 0), tone(SAID, 0)])
        else:
            master.write_bytes(content)

    assert finished(prepare=empty, cause="empty-file")[0]["state"] == "discarded"
    row, _, _ = finished(prepare=empty)
    assert (row["state"], row["state_reason"]) == ("failed", "file empty")


def test_a_directory_that_is_not_mounted_is_no_loss(tmp_path, pool):
    store = Store(stopped_row())
    (tmp_path / ".kazoo_rec.lock").touch()
    with pytest.raises(FileNotFoundError):
        finish(dict(store.rows[RECORDING_ID]), store, tmp_path, pool, NOW_MS, DeliverySettings())
    assert store.rows[RECORDING_ID]["state"] == "stopped"


def test_what_is_too_short_is_discarded_and_says_by_how_much(finished):
    row, uploads, state = finished(seconds=1.2, settings={"record_min_sec": 3}, expected_ms=1200)
    assert state == "discarded"
    assert (row["state_reason"], row["duration_ms"]) == ("too short: 1.2 s of at least 3 s", 1200)
    assert uploads == []


def test_exactly_the_least_length_is_long_enough(finished):
    assert finished(seconds=3.0, settings={"record_min_sec": 3}, expected_ms=3000)[2] == "recorded"


@pytest.mark.parametrize("fault", [
    {"expected_ms": 60_000}, {"expected_ms": 60_000, "cause": "uri-failure"}, {"partial": True}, {"expected_ms": 3100},
    *({"spans": [{"kind": kind, "from_ms": 1, "to_ms": 2, "why": "of this", "sent_ms": 1, "of_ms": 2}]}
      for kind in ("gap", "cut", "moved", "unheard", "unordered", "silent"))], ids=str)
def test_what_a_fault_made_short_is_never_too_short(finished, fault):
    row, uploads, state = finished(seconds=2.95, settings={"record_min_sec": 3}, **{"expected_ms": 2950, **fault})
    assert (state, row["duration_ms"], len(uploads)) == ("recorded", 2950, 1)


@pytest.mark.parametrize(("expected_ms", "partial"), [(2000, False), (2200, False), (2201, True), (None, False)])
def test_more_than_200_ms_too_few_is_partial(finished, expected_ms, partial):
    row, _, _ = finished(expected_ms=expected_ms)
    assert row["partial"] is partial
    assert row["state_reason"] == (f"partial: 2000 ms of {expected_ms} ms" if partial else None)


def test_what_the_switch_could_not_write_is_told(finished):
    row, _, _ = finished(expected_ms=13_000, cause="uri-failure")
    assert row["partial"] and row["state_reason"] == (
        "partial: 2000 ms of 13000 ms; the switch could not write all of it: was the disk full?")
    assert finished(cause="uri-failure")[0]["state_reason"] is None


def test_of_a_long_call_one_percent_may_be_missing(finished):
    assert finished(seconds=60.0, expected_ms=60_600)[0]["partial"] is False
    assert finished(seconds=60.0, expected_ms=60_700)[0]["partial"] is True


@pytest.mark.parametrize(("ending", "columns", "lacks"), [
    (".f.wav", {}, "it began late, by how much was not heard"),
    (".f.wav", {"answered_ms": 5000, "stopped_ms": 8700}, "it began late: up to 1.7 s before it were missed"),
    (".f.wav", {"answered_ms": 5000, "stopped_ms": 8700, "spans": [{"kind": "unheard", "from_ms": 1, "to_ms": 1}]},
     "its end was not heard; it began late, by how much was not heard"),
    (".f.wav", {"answered_ms": 5000, "stopped_ms": 8700, "spans": [
        {"kind": "gap", "from_ms": 5000, "to_ms": 6000, "why": "nobody heard"}]},
     "1.0 s before it were missed: nobody heard; it began late: up to 0.7 s before it were missed"),
    (".f.wav", {"answered_ms": 5000, "stopped_ms": 7100}, None), (".f.wav", {"started_ms": 1000}, None),
    (".wav", {}, None)])
def test_one_begun_by_command_whose_beginning_nobody_heard_is_partial(finished, ending, columns, lacks):
    columns = {"started_ms": None, "answered_ms": None, "expected_ms": None, **columns}
    row, _, _ = finished(master=f"acme/20261121/{RECORDING_ID}{ending}", **columns)
    assert (row["state"], row["partial"], row["state_reason"]) == ("recorded", bool(lacks), lacks)


def test_what_the_engine_called_partial_stays_so(finished):
    assert finished(partial=True)[0]["partial"] is True


GAP = {"kind": "gap", "from_ms": 1_699_999_987_600, "to_ms": 1_700_000_000_000, "why": "the engine was not connected"}


def test_what_is_in_the_file_was_not_missed(finished):
    """The answer to the command that began it came when its leg had ended."""
    ended_ms = GAP["to_ms"] + 9_000
    lost = {"kind": "gap", "from_ms": GAP["to_ms"], "to_ms": ended_ms, "why": "x"}
    row, _, _ = finished(spans=[lost], started_ms=ended_ms, stopped_ms=ended_ms, expected_ms=0, partial=True)
    assert row["state_reason"] == "7.0 s before it were missed: x" and row["partial"]
    assert row["spans"] == [{**lost, "to_ms": ended_ms - 2_000}]
    assert (row["started_ms"], row["expected_ms"]) == (ended_ms - 2_000, 2_000)
    whole, _, _ = finished(spans=[GAP], started_ms=GAP["to_ms"], stopped_ms=GAP["to_ms"] + 2_000, partial=True)
    assert whole["spans"] == [GAP]


def test_what_was_missed_before_a_recording_is_told_whatever_else_is(finished):
    told = "12.4 s before it were missed: the engine was not connected"
    row, _, _ = finished(spans=[GAP], state_reason="its end was not heard")
    assert (row["state"], row["partial"], row["state_reason"]) == ("recorded", True, told)
    row, _, _ = finished(spans=[GAP], expected_ms=3000)
    assert row["state_reason"] == f"{told}; partial: 2000 ms of 3000 ms"


MOVED = {"kind": "moved", "from_ms": 1_700_000_001_200, "to_ms": 1_700_000_001_200}


@pytest.mark.parametrize(("settings", "own", "sides"), [
    ({"channels": "dual"}, False, 2), ({"format": "wav"}, True, 2), ({"format": "mp3"}, True, 2),
    ({"track": "inbound"}, False, 1)])
def test_of_a_file_that_a_transfer_took_along_the_rest_is_nobody_s(finished, tmp_path, settings, own, sides):
    row, _, _ = finished(prepare=unclose, spans=[MOVED], expected_ms=1200, settings=settings)
    assert (row["state"], row["partial"], row["duration_ms"]) == ("recorded", False, 1200)
    assert (row["file"] != row["master"]) == own
    assert 1.2 <= soundfile.info(tmp_path / row["file"]).duration <= 1.45  # an MP3 has frames of its encoder
    master = soundfile.info(tmp_path / row["master"])
    assert (master.duration, master.channels) == (1.2, sides)


def test_killed_before_its_row_a_file_that_was_taken_along_has_no_more_than_is_kept(tmp_path, pool):
    store = Store(stopped_row(spans=[MOVED], expected_ms=1200))
    row = dict(store.rows[RECORDING_ID])
    master = tmp_path / row["master"]
    write_talk(master, 2.0)
    store.refusals = [OSError("killed")]
    with open(master, "r+b") as switch:
        for refusal in ("killed", None):
            if refusal:
                with pytest.raises(OSError, match=refusal):
                    finish(row, store, tmp_path, pool, NOW_MS, DeliverySettings())
            else:
                assert finish(row, store, tmp_path, pool, NOW_MS, DeliverySettings()) == "recorded"
            switch.seek(0, os.SEEK_END)
            switch.write(bytes(32_000))  # the switch goes on with what it has open
            switch.flush()
            assert soundfile.info(master).duration == 1.2


def test_the_file_of_a_killed_switch_is_repaired_and_delivered(finished, tmp_path):
    row, _, _ = finished(prepare=unclose, settings={"channels": "dual"})
    assert (row["state"], row["duration_ms"], row["file"]) == ("recorded", 2000, row["master"])
    assert soundfile.info(tmp_path / row["master"]).duration == 2.0


def test_a_file_that_only_the_switch_may_repair_is_delivered_as_a_copy(finished, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("kazoo_rec.media.wav.repair", refuse)
    row, _, _ = finished(prepare=unclose, settings={"channels": "dual"})
    assert row["file"] == f"acme/20261121/{RECORDING_ID}.dual.wav"
    assert soundfile.info(tmp_path / row["file"]).duration == 2.0


def test_a_broken_file_is_a_failure_that_names_it_and_the_file_stays(finished, tmp_path):
    row, uploads, state = finished(prepare=lambda master: master.write_bytes(b"ID3" + bytes(99)))
    assert (state, uploads) == ("failed", [])
    assert row["state_reason"].startswith("not a WAV file: begins with")
    assert (tmp_path / row["master"]).exists()


@pytest.mark.parametrize("format", ["mp3", "wav"])
def test_killed_between_file_and_row_it_is_finished_again_to_the_same_end(tmp_path, pool, format):
    store = Store(stopped_row(settings={"format": format}))
    write_talk(tmp_path / store.rows[RECORDING_ID]["master"])
    store.refusals = [OSError("killed")]
    row = dict(store.rows[RECORDING_ID])
    with pytest.raises(OSError, match="killed"):
        finish(row, store, tmp_path, pool, NOW_MS, DeliverySettings())
    left = sorted(os.listdir(tmp_path / "acme/20261121"))
    assert finish(row, store, tmp_path, pool, NOW_MS, DeliverySettings()) == "recorded"
    assert finish(row, store, tmp_path, pool, NOW_MS, DeliverySettings()) is None
    assert sorted(os.listdir(tmp_path / "acme/20261121")) == left
    assert len(store.uploads) == 1


def test_a_full_disk_leaves_the_row_for_later_and_nothing_of_the_file(finished, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        finished()
    assert [path.name for path in Path(tmp_path, "acme/20261121").iterdir()] == [f"{RECORDING_ID}.wav"]


def test_a_file_that_the_switch_did_not_close_is_delivered_as_partial_with_its_true_length(finished):
    row, [upload], state = finished(prepare=unclose, settings={"url": "https://customer.example/"}, expected_ms=2000)
    assert (state, row["partial"], row["duration_ms"], upload["state"]) == ("recorded", True, 2000, "due")
    assert row["state_reason"] == "the switch did not close its file: 2000 ms are there"


def test_both_lengths_are_told_of_one_that_the_switch_did_not_finish(finished):
    row, _, _ = finished(prepare=unclose, expected_ms=5000, spans=[
        {"kind": "unheard", "from_ms": 1, "to_ms": 1, "why": "the switch was restarted"}])
    assert row["partial"] and row["state_reason"] == (
        "its end was not heard: the switch was restarted; the switch did not close its file: 2000 ms are there; "
        "partial: 2000 ms of 5000 ms")


def test_killed_after_the_repair_it_is_still_known_that_the_file_was_not_closed(finished, tmp_path):
    def repaired(master):
        unclose(master)
        wav.repair(master)
    row, _, _ = finished(prepare=repaired, spans=[{"kind": "cut", "from_ms": 1, "to_ms": 1}])
    assert row["partial"] and row["state_reason"].startswith("the switch did not close its file")


def test_the_row_says_that_the_file_was_not_closed_before_it_is_repaired(tmp_path, pool):
    store = Store(stopped_row())
    row = store.rows[RECORDING_ID]
    master = tmp_path / row["master"]
    write_talk(master, 2.0)
    unclose(master)
    store.refusals = [OSError("killed")]
    with pytest.raises(OSError, match="killed"):
        finish(dict(row), store, tmp_path, pool, NOW_MS, DeliverySettings(retry_for_s=60))
    assert not wav.probe(master).intact


def test_one_whose_end_was_not_heard_and_that_the_switch_closed_is_whole(finished):
    row, _, _ = finished(expected_ms=1900, spans=[{"kind": "unheard", "from_ms": 1, "to_ms": 1, "why": "of this"}])
    assert (row["state"], row["partial"]) == ("recorded", False)
    assert row["state_reason"] == "its end was not heard: of this"
