"""Media that goes past the switch, or does not come: no event tells of it, and no recording of it is called whole."""

import re

import pytest
from gevent.event import Event
from pytest import approx

from tests.freeswitch.talk import LENGTH_MS, assert_whole, states, talk

BOTH = ("acme caller.outbound A 1000", "acme callee.inbound B 1001")

#: What a phone sends and hears meanwhile goes past the switch, so that a test can only let time pass, in seconds.
AWHILE_S = 2.0


@pytest.fixture
def recorded(lab):
    lab.obey({"acme/account": {"endpoint": {"any": {"onnet": lab.record()}}}})
    return lab


def awhile(call, called):
    Event().wait(AWHILE_S)
    call.hang_up()
    called.ended()


@pytest.mark.parametrize("who", "AB")
def test_both_lengths_are_told_of_a_call_whose_media_leave_the_switch(recorded, switch, alice, bob, who):
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().hear(1500)
    recorded.until_rows(lambda row: row["state"] == "recording")
    leg = next(row["call_id"] for row in recorded.rows() if row["leg"] == who)
    assert switch.api(f"uuid_media off {leg}").startswith("+OK")
    awhile(call, called)

    found = recorded.recordings()
    assert states(found) == dict.fromkeys(BOTH, "recorded")
    for whose, phone in zip(BOTH, (call, called), strict=True):
        row = found[whose].row
        assert row["partial"] and row["duration_ms"] < phone.talk_ms - AWHILE_S * 1000 + 200
        assert row["expected_ms"] == approx(phone.talk_ms, abs=LENGTH_MS)
        assert row["state_reason"].endswith(f"partial: {row['duration_ms']} ms of {row['expected_ms']} ms")


RINGS = pytest.mark.parametrize("rings_ms", [0, 300], ids=["answered at once", "armed before the answer"])


@RINGS
def test_media_around_the_switch_are_a_failure_and_no_harm(recorded, alice, bob, rings_ms):
    call = alice.call("*41001")
    called = bob.rings().ring(rings_ms).answer()
    call.answered()
    recorded.until_rows(lambda row: row["state"] == "failed", within_s=1)
    awhile(call, called)

    found = recorded.recordings()
    assert states(found) == dict.fromkeys(BOTH, "failed")
    assert {one.row["state_reason"] for one in found.values()} == {"no media"}


@RINGS
def test_of_media_that_the_switch_passes_on_unread_nothing_is_called_whole(recorded, alice, bob, rings_ms):
    call = alice.call("*21001")
    called = bob.rings().ring(rings_ms).answer()
    call.answered()
    awhile(call, called)

    for one in recorded.recordings().values():
        row = one.row
        if row["state"] == "recorded":  # armed: it got one frame
            assert row["partial"] and row["duration_ms"] <= 40 < AWHILE_S * 900 < row["expected_ms"]
            assert row["state_reason"] == f"partial: {row['duration_ms']} ms of {row['expected_ms']} ms"
        else:
            assert (row["state"], row["state_reason"]) == ("failed", "no media")


@pytest.mark.parametrize("who", [0, 1], ids="AB")
def test_of_a_phone_that_stops_sending_it_is_told_how_much_it_sent(recorded, alice, bob, who):
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().hear(1500)
    silent = (call, called)[who]
    silent.fall_silent()
    awhile(call, called)

    found = recorded.recordings()
    assert states(found) == dict.fromkeys(BOTH, "recorded")
    one, row = found[BOTH[who]], found[BOTH[who]].row
    # The file is as long as the talk: what is not sent is silence in it.
    assert one.wav().length_ms == approx(silent.talk_ms, abs=LENGTH_MS)
    assert one.wav().left.silence_ms() >= AWHILE_S * 1000 - 200
    sent_s, of_s = map(float, re.fullmatch(
        r"its phone sent (\d\.\d) s of media in (\d\.\d) s", row["state_reason"]).groups())
    assert row["partial"] and of_s - sent_s == approx(AWHILE_S, abs=0.2)
    assert_whole(found[BOTH[1 - who]], (call, called)[1 - who].talk_ms, says=[(610, 930)[who]], hears=[(930, 610)[who]])


def test_a_phone_that_says_nothing_and_sends_that_is_recorded_whole(recorded, alice, bob):
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().hear(500)
    call.say(0)
    talk(call, called, 2500)
    found = recorded.recordings()
    assert_whole(found[BOTH[0]], call.talk_ms, says=[930], hears=[610])
    assert not found[BOTH[1]].row["partial"]
