"""Calls that are more than one leg calling another: by command, through a loopback channel, on hold."""

import gevent
from pytest import approx

from tests.freeswitch.talk import LENGTH_MS, assert_whole, states, talk

BOTH_SIDES = {"acme caller.outbound A 1000": "recorded", "acme callee.inbound B 1001": "recorded"}


def test_of_a_click_to_call_the_first_leg_is_the_caller(lab, switch, alice, bob):
    lab.obey({"acme/account": {"endpoint": {"any": {"onnet": lab.record()}}}})
    switch.api("bgapi originate user/1000@acme.example &bridge(user/1001@acme.example)")
    call = alice.rings().ring().answer()
    called = bob.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == BOTH_SIDES
    assert_whole(found["acme caller.outbound A 1000"], call.talk_ms, says=[930], hears=[610])
    assert_whole(found["acme callee.inbound B 1001"], called.talk_ms, says=[610], hears=[930])


def test_a_loopback_channel_is_looked_through_and_not_recorded(lab, alice, bob):
    lab.obey({"acme/account": {"endpoint": {"any": {"onnet": lab.record()}}}})
    call = alice.call("3400")
    called = bob.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == BOTH_SIDES
    assert_whole(found["acme caller.outbound A 1000"], call.talk_ms, says=[930], hears=[610])
    assert_whole(found["acme callee.inbound B 1001"], called.talk_ms, says=[610], hears=[930])


def test_a_hold_shortens_the_recording_of_the_leg_that_holds_and_is_told(lab, alice, bob):
    lab.obey({"acme/account": {"endpoint": {"any": {"onnet": lab.record()}}}})
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().hear(1000)
    call.hold()
    called.hear(1500)
    call.unhold()
    talk(call, called, duration_ms=1000)

    found = lab.recordings()
    assert states(found) == BOTH_SIDES
    holder = found["acme caller.outbound A 1000"]
    [hold] = holder.row["spans"]
    assert hold["kind"] == "hold"
    held_ms = hold["to_ms"] - hold["from_ms"]
    assert held_ms == approx(call.held_ms, abs=LENGTH_MS)
    # Both ends of the talk and both of the hold are as late as their packets: twice as much.
    assert_whole(holder, call.talk_ms - held_ms, says=[930], hears=[610], longer_ms=2 * LENGTH_MS)
    assert_whole(found["acme callee.inbound B 1001"], called.talk_ms, says=[610], hears=[930, 350, 930])


def test_each_recording_of_a_leg_is_made_once(lab, switch, alice, bob):
    lab.obey({"acme/account": {
        "account": {"outbound": {"onnet": lab.record()}},
        "endpoint": {"any": {"onnet": lab.record()}},
    }})
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    lab.until_rows(lambda row: row["state"] == "recording")
    call.hear(500)  # longer than the engine waits before it starts by command what did not start
    for leg in {row["call_id"] for row in lab.rows()}:
        masters = [row["master"] for row in lab.rows() if row["call_id"] == leg]
        assert sorted(lab.recorded_by_the_switch(leg)) == sorted(masters)
    talk(call, called, duration_ms=100)
    assert states(lab.recordings()) == {**BOTH_SIDES, "acme account.outbound A 1000": "recorded"}


def test_four_calls_at_once_keep_their_recordings_apart(lab, alice, bob, carol, zoe, carrier):
    lab.obey({"acme/account": {"endpoint": {"outbound": {"offnet": lab.record()}}},
              "globex/account": {"endpoint": {"outbound": {"offnet": lab.record()}}}})
    callers = {"acme caller.outbound A 1000": alice, "acme caller.outbound A 1001": bob,
               "acme caller.outbound A 1002": carol, "globex caller.outbound A 2000": zoe}
    calls = {whose: phone.call("442071838750") for whose, phone in callers.items()}
    called = [carrier.rings().ring() for _ in calls]
    for one in called:
        one.answer()
    gevent.joinall([gevent.spawn(talk, call, one) for call, one in zip(calls.values(), called, strict=True)],
                   raise_error=True)

    found = lab.recordings()
    assert states(found) == dict.fromkeys(callers, "recorded")
    for whose, call in calls.items():
        assert_whole(found[whose], call.talk_ms, says=[callers[whose].tone_hz], hears=[270])
