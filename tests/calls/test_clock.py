import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.calls.clock import SwitchClock
from kazoo_rec.calls.recording import directory_of, id_of, new_id
from kazoo_rec.errors import CommandFailed

from .fakes import Scene

NOON_MS = 1_795_262_400_000
HOUR_MS = 3_600_000


class Host:
    """A host whose clock jumps, and a switch on it that has its own and takes a while to answer."""

    def __init__(self):
        self.now, self.epoch_ms, self.takes_ms, self.refuses = 5_000, NOON_MS, 0, False
        self._ahead_ms = NOON_MS - self.now
        self.clock = SwitchClock(lambda: self.epoch_ms, lambda: self.now)

    def passes(self, ms, jump_ms=0):
        self.now, self.epoch_ms = self.now + ms, self.epoch_ms + ms + jump_ms

    @property
    def switch_ms(self):
        return self.now + self._ahead_ms

    def send(self, command, timeout_s):
        if self.refuses:
            raise CommandFailed("refused", "-ERR strmicroepoch Command not found!\n")
        self.passes(self.takes_ms // 2)
        said = f"{self.switch_ms * 1000 + 999}\n"
        self.passes(self.takes_ms - self.takes_ms // 2)
        return said


@given(st.lists(st.tuples(st.integers(0, 86_400_000), st.integers(-2 * HOUR_MS, 2 * HOUR_MS)), max_size=8))
def test_no_jump_of_the_host_moves_what_the_switch_s_clock_is_taken_to_be(jumps):
    host = Host()
    host.clock.read(host.send)
    for passed_ms, jump_ms in jumps:
        host.passes(passed_ms, jump_ms)
        assert host.clock.now_ms() == host.switch_ms


def test_until_it_was_read_it_is_the_host_s():
    host = Host()
    assert (host.clock.now_ms(), host.clock.at(4_000)) == (NOON_MS, NOON_MS - 1_000)


def test_a_switch_that_does_not_tell_its_time_goes_by_the_host_s():
    host = Host()
    host.refuses = True
    host.clock.read(host.send)
    host.passes(0, HOUR_MS)
    assert host.clock.now_ms() == NOON_MS + HOUR_MS


def test_an_answer_that_took_long_does_not_change_what_is_known():
    host = Host()
    host.clock.read(host.send)
    host.takes_ms = 4_000
    host.clock.read(lambda *asked: host.send(*asked) and "0")
    assert host.clock.now_ms() == host.switch_ms


def test_another_process_has_a_clock_of_its_own():
    host = Host()
    host.clock.read(host.send)
    host.passes(0, HOUR_MS)
    host._ahead_ms += HOUR_MS
    host.clock.forget()
    host.clock.read(host.send)
    assert host.clock.now_ms() == host.switch_ms == NOON_MS + HOUR_MS


@pytest.mark.parametrize(("at", "month", "day"), [
    ("2026-11-30T23:59:59", "202611", "20261130"), ("2026-12-01T00:00:00", "202612", "20261201"),
    ("2028-02-28T23:59:59", "202802", "20280228"), ("2028-02-29T12:00:00", "202802", "20280229"),
    ("2026-12-31T23:59:59", "202612", "20261231"), ("2027-01-01T00:00:00", "202701", "20270101"),
    ("2026-10-25T00:59:59", "202610", "20261025"), ("2026-10-25T01:00:00", "202610", "20261025"),
    ("2026-03-29T01:30:00", "202603", "20260329")])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/Los_Angeles"])
def test_month_and_day_of_a_recording_are_utc_s_wherever_the_host_is(monkeypatch, at, month, day, zone):
    """Month's ends, the leap day, and the hours at which Berlin's clocks are put back and forward."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    at_s = datetime.fromisoformat(f"{at}+00:00").timestamp()
    recording_id, directory = new_id(at_s), directory_of("acme", at_s)
    monkeypatch.undo()
    time.tzset()
    assert (recording_id[:7], directory) == (f"{month}-", f"acme/{day}")
    assert id_of(f"{directory}/{recording_id}.wav") == recording_id


@pytest.mark.parametrize("set_ms", [0, HOUR_MS, -HOUR_MS])
@pytest.mark.parametrize("hangs_up", [True, False])
def test_a_switch_whose_clock_is_set_while_it_records_is_not_expected_to_record_an_hour_more_or_less(set_ms, hangs_up):
    scene = Scene([("account", "acme", "acme", {"realm": "acme.example", "call_recording": {
        "account": {"any": {"any": {"enabled": True}}}}})])
    scene.phone_calls("a", "1000").answer("a").after(60_000)
    row = scene.row()
    if not hangs_up:
        scene.recorder.ends(scene.tracker.leg("a").recordings[0], scene.now)
    ends = {"Event-Date-Timestamp": str((scene.epoch_ms + set_ms) * 1000)}
    scene.record_stop("a", row["id"], f"/rec/{row['master']}", "success-maxtime", **ends, **(
        {"Answer-State": "hangup"} if hangs_up else {}))
    scene.event("CHANNEL_HANGUP_COMPLETE", "a", **ends).event("CHANNEL_DESTROY", "a", **ends)
    row = scene.row()
    assert (row["state"], row["expected_ms"], row["truncated_by_limit"]) == ("stopped", 60_000, False)
    assert row["stopped_ms"] - row["started_ms"] == 60_000 and row["spans"] == []
