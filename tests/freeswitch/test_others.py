"""Beside recordings that somebody else makes of the same legs: neither harms the other."""

import shutil
from pathlib import Path

import pytest
import soundfile
from pytest import approx

from tests.freeswitch.product import until
from tests.freeswitch.sound import Channel
from tests.freeswitch.talk import LENGTH_MS, assert_whole, states, talk

OURS = "acme caller.outbound A 1000"


class Theirs:
    """Files that the dialplan records to, and what a test records in the name of others."""

    def __init__(self, switch):
        self._switch = switch
        self.directory = Path(switch.api("global_getvar recordings_dir")) / "theirs"
        self.remove()

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, leg, name="by_command"):
        path = self.directory / f"{name}.wav"
        assert self._switch.api(f"uuid_record {leg} start {path}").startswith("+OK")
        return path

    def stop(self, leg, path):
        assert self._switch.api(f"uuid_record {leg} stop {path}").startswith("+OK")

    def file(self) -> Path:
        (path,) = self.directory.iterdir()
        return path


def heard(path):
    """(length in ms, tones of each channel) of a file of theirs."""
    samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
    return len(samples) * 1000 / rate_hz, [Channel(channel, rate_hz).tones() for channel in samples.T]


def legs(switch) -> dict[str, str]:
    """{direction: uuid} of a call of two legs."""
    return {row["direction"]: row["uuid"] for row in switch.legs(2)}


@pytest.fixture
def theirs(switch):
    return Theirs(switch)


def test_both_are_armed_and_each_is_whole_and_as_its_owner_wants_it(lab, theirs, alice, bob):
    lab.obey({"acme/account": {"endpoint": {"any": {"onnet": lab.record()}}}})
    call = alice.call("*71001")
    called = bob.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == {OURS: "recorded", "acme callee.inbound B 1001": "recorded"}
    assert_whole(found[OURS], call.talk_ms, says=[930], hears=[610])
    length_ms, tones = heard(theirs.file())
    assert length_ms == approx(call.talk_ms, abs=LENGTH_MS)
    assert tones == [[610], [930]]  # RECORD_STEREO_SWAP is theirs


def test_theirs_is_first_and_ours_by_command(lab, theirs, alice, bob):
    missing_ms = []
    for ours in ({}, {"account": {"outbound": {"any": lab.record()}}}):
        theirs.remove()
        lab.obey({"acme/account": ours})
        call = alice.call("*81001").answered()
        called = bob.rings().ring().answer()
        talk(call, called)
        found = lab.recordings()
        length_ms, tones = heard(theirs.file())
        missing_ms.append(call.talk_ms - length_ms)
        assert tones == [[930], [610]]

    assert states(found) == {"acme account.outbound A 1000": "recorded"}
    assert_whole(found["acme account.outbound A 1000"], call.talk_ms, says=[930], hears=[610])
    assert missing_ms[0] == approx(missing_ms[1], abs=LENGTH_MS)  # theirs begins late, by itself


def test_theirs_begins_and_ends_within_ours(lab, switch, theirs, alice, bob):
    lab.obey({"acme/account": {"endpoint": {"outbound": {"onnet": lab.record()}}}})
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().hear(700)
    leg = legs(switch)["inbound"]
    path = theirs.start(leg)
    call.hear(1000)
    theirs.stop(leg, path)
    ended_at = path.stat()
    talk(call, called, duration_ms=700)

    found = lab.recordings()
    assert states(found) == {OURS: "recorded"}
    assert_whole(found[OURS], call.talk_ms, says=[930], hears=[610])
    assert heard(path)[0] == approx(1000, abs=150)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (ended_at.st_size, ended_at.st_mtime_ns)


def test_theirs_goes_on_where_ours_has_reached_its_limit(lab, theirs, alice, bob):
    lab.obey({"acme/account": {"endpoint": {"outbound": {"onnet": lab.record(time_limit=5)}}}})
    call = alice.call("*71001")
    called = bob.rings().ring().answer()
    talk(call, called, duration_ms=7000)

    found = lab.recordings()
    assert states(found) == {OURS: "recorded"} and found[OURS].row["truncated_by_limit"]
    assert heard(theirs.file())[0] == approx(call.talk_ms, abs=LENGTH_MS)


def test_theirs_follows_a_transfer_and_ours_ends_with_its_leg(lab, switch, theirs, alice, bob, carol):
    lab.obey({"acme/account": {"endpoint": {"outbound": {"onnet": lab.record()}}}})
    call = alice.call("*71001")
    called = bob.rings().ring().answer()
    call.answered().hear(1500)
    switch.api(f"uuid_transfer {legs(switch)['inbound']} -bleg 1002 XML acme.example")
    third = carol.rings().ring().answer()
    third.hear(1500)
    called.hang_up()
    third.ended()

    found = lab.recordings()
    ours = found.pop(OURS)
    assert_whole(ours, call.talk_ms, says=[930], hears=[610])
    assert heard(theirs.file())[0] == approx(called.talk_ms, abs=2 * LENGTH_MS)
    # Nothing of what Bob and Carol said is kept in our name but what was asked for.
    assert heard(lab.recordings_dir / ours.row["master"])[0] == approx(call.talk_ms, abs=LENGTH_MS)
    assert not [row for row in lab.rows() if row["call_id"] == ours.row["call_id"] and row["id"] != ours.row["id"]]
    assert ours.row["expected_ms"] == approx(call.talk_ms, abs=LENGTH_MS)


def test_where_a_transfer_takes_ours_along_and_its_leg_goes_on_so_does_its_recording(
        lab, switch, theirs, alice, bob, carol):
    lab.obey({"acme/devices/dev-acme-1000": {"outbound": {"onnet": lab.record()}}})
    call = alice.call("*71001")
    called = bob.rings().ring().answer()
    call.answered().hear(1000)
    leg = legs(switch)["inbound"]
    # Alice hears herself when she is left alone.
    for name, value in (("hangup_after_bridge", "false"), ("transfer_after_bridge", "9196:XML:acme.example")):
        switch.api(f"uuid_setvar {leg} {name} {value}")
    switch.api(f"uuid_transfer {leg} -bleg 1002 XML acme.example")
    third = carol.rings().ring().answer()
    third.hear(500)
    until(lambda: len([row for row in lab.rows() if row["call_id"] == leg and row["started_ms"]]) == 2)
    call.hear(1000)
    call.hang_up()
    called.hang_up()
    third.ended()

    until(lambda: not switch.sessions)
    until(lambda: all(row["state"] in ("recorded", "discarded") for row in lab.rows()))
    first, second = (row for row in lab.rows() if row["call_id"] == leg)
    assert (first["state"], second["state"]) == ("recorded", "recorded")
    (gap,) = second["spans"]
    assert gap["from_ms"] == first["stopped_ms"] and gap["to_ms"] - gap["from_ms"] < 600
    assert first["duration_ms"] + second["duration_ms"] + gap["to_ms"] - gap["from_ms"] == approx(
        call.talk_ms, abs=2 * LENGTH_MS)
    assert second["partial"] and second["state_reason"].endswith("a transfer took the recording before it along")
