"""The application `record`, beyond what record_caller of the traces shows."""

import pytest

from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import alice
from tests.simulator.sounds import seconds, tones


@pytest.fixture
def leave(switch, clock, tmp_path):
    """A caller leaves a message with these arguments of `record`; gives (its path, the leg)."""
    def left(arguments="", after=20, name="a.wav", sets=(), **habits):
        call = switch.play(Script(alice(**habits), dials="7002", dialplan=(
            "answer", *(f"set {each}" for each in sets), f"record {tmp_path}/{name} {arguments}", "set came_behind=yes",
            "hangup")))
        clock.advance(after)
        assert call.wait(0)
        return tmp_path / name, call.legs[0]
    return left


def test_it_holds_what_the_caller_says_and_nothing_else(leave):
    path, leg = leave("3")
    assert tones(path) == [1000] and leg.variables["came_behind"] == "yes"
    assert leg.variables["record_ms"] == str(round(seconds(path) * 1000))


def test_the_limit_is_in_whole_seconds_never_below_and_up_to_one_above(leave):
    path, _ = leave("3")
    assert 3 < seconds(path) <= 4


@pytest.mark.parametrize(("sets", "pressed", "ends"), [
    ((), "1*", "*"), (("playback_terminators=#",), "*1#", "#"), (("playback_terminators=any",), "7", "7"),
    (("playback_terminators=none",), "1*#", None)])
def test_digits_end_it_that_playback_terminators_names(leave, sets, pressed, ends):
    path, leg = leave("5", sets=sets, presses={1: pressed})
    assert leg.variables.get("playback_terminator_used") == ends
    assert seconds(path) == 1.0 if ends else seconds(path) > 5


def test_silence_ends_it_counted_from_when_the_caller_falls_silent(leave):
    path, leg = leave("60 200 2", says={0: 1000, 1: 0, 2: 1000, 4: 0})
    assert seconds(path) == 6.0 and leg.variables["silence_hits_exhausted"] == "true"
    path, _ = leave("60 200", says=0)
    assert seconds(path) == 3.0


def test_without_a_threshold_silence_ends_nothing(leave):
    path, leg = leave("4", says=0)
    assert seconds(path) > 4 and leg.variables["silence_hits_exhausted"] == "false" and tones(path) == []


def test_a_caller_who_goes_leaves_what_he_said(leave):
    path, leg = leave("60", hangs_up=2)
    assert seconds(path) == 2.0 and "came_behind" not in leg.variables


def test_the_rate_is_the_variables(leave):
    path, _ = leave("1", sets=("record_rate=16000",))
    assert tones(path) == [1000] and path.stat().st_size > 32000


@pytest.mark.parametrize("name", ["absent/a.wav", "a.nothing", "a"])
def test_what_cannot_be_opened_hangs_the_call_up(leave, name):
    path, leg = leave(name=name)
    assert leg.cause == "DESTINATION_OUT_OF_ORDER" and not path.exists()


def test_a_switch_that_is_killed_leaves_the_file_as_it_is_on_disk(switch, clock, tmp_path):
    switch.play(Script(alice(), dials="7002", dialplan=("answer", f"record {tmp_path}/a.wav")))
    clock.advance(2)
    switch.kill()
    assert (tmp_path / "a.wav").stat().st_size == 44 + 2 * 16000
