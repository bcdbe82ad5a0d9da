"""A recording begins at the answer of its leg, whoever answers and however fast; without an answer there is none."""


import pytest

from tests.freeswitch.talk import assert_whole, states, talk


def test_a_leg_that_an_ivr_answers_at_once_is_recorded(lab, carrier):
    lab.obey({"acme/account": {"account": {"inbound": {"offnet": lab.record()}}}})
    call = carrier.call("15550003200").answered()
    call.hear(1500)
    call.hang_up()

    found = lab.recordings()
    assert states(found) == {"acme account.inbound A": "recorded"}
    assert_whole(found["acme account.inbound A"], call.talk_ms, says=[270], hears=[440])


def test_an_ivr_is_onnet_for_a_caller_of_its_account(lab, alice):
    lab.obey({"acme/account": {
        "account": {"outbound": {"offnet": lab.record()}},
        "endpoint": {"outbound": {"onnet": lab.record()}},
    }})
    call = alice.call("3200").answered()
    call.hear(1500)
    call.hang_up()

    found = lab.recordings()
    assert states(found) == {"acme caller.outbound A 1000": "recorded"}
    assert_whole(found["acme caller.outbound A 1000"], call.talk_ms, says=[930], hears=[440])


def test_after_an_announcement_the_way_to_the_carrier_is_decided_anew(lab, alice, carrier):
    lab.obey({"acme/account": {
        "account": {"outbound": {"offnet": lab.record()}},
        "endpoint": {"outbound": {"onnet": lab.record()}},
    }})
    call = alice.call("3300").answered()
    called = carrier.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == {"acme account.outbound A 1000": "recorded", "acme caller.outbound A 1000": "recorded"}
    assert_whole(found["acme caller.outbound A 1000"], call.talk_ms, says=[930], hears=[880, 270])
    dialled_ms = (called.ended_at - called.begun_at) * 1000
    assert_whole(found["acme account.outbound A 1000"], dialled_ms, says=[930], hears=[270])


def test_a_callee_that_answers_at_once_is_recorded(lab, alice, bob):
    lab.obey({"acme/account": {"endpoint": {"any": {"any": lab.record()}}}})
    call = alice.call("1001")
    called = bob.rings().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == {"acme caller.outbound A 1000": "recorded", "acme callee.inbound B 1001": "recorded"}
    assert_whole(found["acme caller.outbound A 1000"], call.talk_ms, says=[930], hears=[610])
    assert_whole(found["acme callee.inbound B 1001"], called.talk_ms, says=[610], hears=[930])


def test_early_media_is_not_in_the_recording(lab, alice, carrier):
    lab.obey({"acme/account": {
        "account": {"outbound": {"offnet": lab.record()}},
        "endpoint": {"outbound": {"offnet": lab.record(record_on_bridge=True)}},
    }})
    call = alice.call("3600")
    called = carrier.rings().early_media()
    call.hear(1000)
    talk(call, called.answer())

    found = lab.recordings()
    assert states(found) == {"acme account.outbound A 1000": "recorded", "acme caller.outbound A 1000": "recorded"}
    assert_whole(found["acme account.outbound A 1000"], call.talk_ms, says=[930], hears=[270])
    assert_whole(found["acme caller.outbound A 1000"], call.talk_ms, says=[930], hears=[270])


def test_record_on_bridge_leaves_out_what_comes_before_the_bridge(lab, alice, bob):
    lab.obey({"acme/account": {
        "account": {"outbound": {"any": lab.record()}},
        "endpoint": {"outbound": {"any": lab.record(record_on_bridge=True)}},
    }})
    call = alice.call("*61001").answered()
    called = bob.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == {"acme account.outbound A 1000": "recorded", "acme caller.outbound A 1000": "recorded"}
    assert_whole(found["acme account.outbound A 1000"], call.talk_ms, says=[930], hears=[880, 610])
    assert_whole(found["acme caller.outbound A 1000"], called.talk_ms, says=[930], hears=[610])


def test_of_a_ring_group_who_answers_is_recorded(lab, alice, bob, carol):
    lab.obey({"acme/account": {"endpoint": {"inbound": {"any": lab.record()}}}})
    call = alice.call("3000")
    other = carol.rings().ring()
    called = bob.rings().ring().answer()
    talk(call, called)
    other.ended()

    found = lab.recordings()
    assert states(found) == {"acme callee.inbound B 1001": "recorded", "acme callee.inbound B 1002": "discarded"}
    assert_whole(found["acme callee.inbound B 1001"], called.talk_ms, says=[610], hears=[930])


def test_of_two_that_answer_together_the_one_in_the_call_is_recorded(lab, alice, bob, carol):
    lab.obey({"acme/account": {"endpoint": {"inbound": {"any": lab.record()}}}})
    call = alice.call("3000")
    both = bob.rings(), carol.rings()
    for called in both:
        called.answer()
    call.answered().hear(1500)
    winner = max(both, key=lambda called: called.ended_at or float("inf"))
    call.hang_up()
    winner.ended()

    found = lab.recordings()
    number, tone_hz, other = (1001, 610, 1002) if winner is both[0] else (1002, 730, 1001)
    assert states(found) == {f"acme callee.inbound B {number}": "recorded",
                             f"acme callee.inbound B {other}": "discarded"}
    assert_whole(found[f"acme callee.inbound B {number}"], winner.talk_ms, says=[tone_hz], hears=[930])


def test_a_busy_callee_leaves_discarded_rows_and_no_file(lab, alice, bob):
    lab.obey({"acme/account": {"endpoint": {"any": {"any": lab.record()}}}})
    call = alice.call("1001")
    bob.rings().ring().reject(486, "Busy Here")
    assert call.ended().code == 486

    found = lab.recordings()
    assert states(found) == {"acme caller.outbound A 1000": "discarded", "acme callee.inbound B 1001": "discarded"}
    assert found["acme callee.inbound B 1001"].row["state_reason"] == "never answered: USER_BUSY"


def test_a_callee_that_does_not_answer_leaves_discarded_rows_and_no_file(lab, alice, bob):
    lab.obey({"acme/account": {"endpoint": {"any": {"any": lab.record()}}}})
    call = alice.call("*51001")
    bob.rings().ring().ended()
    assert call.ended().code == 480

    found = lab.recordings()
    assert states(found) == {"acme caller.outbound A 1000": "discarded", "acme callee.inbound B 1001": "discarded"}
    assert found["acme callee.inbound B 1001"].row["state_reason"] == "never answered: NO_ANSWER"


def test_a_caller_that_gives_up_leaves_discarded_rows_and_no_file(lab, alice, bob):
    lab.obey({"acme/account": {"endpoint": {"any": {"any": lab.record()}}}})
    call = alice.call("1001")
    called = bob.rings().ring()
    call.hang_up()
    called.ended()

    found = lab.recordings()
    assert states(found) == {"acme caller.outbound A 1000": "discarded", "acme callee.inbound B 1001": "discarded"}


@pytest.mark.parametrize("rings_ms", [0, 300], ids=["answered at once", "armed before the answer"])
def test_a_leg_without_media_is_a_failure_within_a_second_and_its_call_goes_on(lab, alice, bob, rings_ms):
    lab.obey({"acme/account": {"endpoint": {"any": {"any": lab.record()}}}})
    call = alice.call("*41001")
    called = bob.rings().ring(rings_ms).answer()
    call.answered()
    lab.until_rows(lambda row: row["state"] == "failed", within_s=1)
    talk(call, called, duration_ms=500)

    found = lab.recordings()
    assert states(found) == {"acme caller.outbound A 1000": "failed", "acme callee.inbound B 1001": "failed"}
    assert {recording.row["state_reason"] for recording in found.values()} == {"no media"}
