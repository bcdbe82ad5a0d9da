"""Callflows on a real switch: what they have a call do, and what becomes of it when the engine dies."""

import pytest
from pytest import approx

from tests.freeswitch.product import until
from tests.freeswitch.talk import LATE_MS, LENGTH_MS, assert_whole, states, talk

#: How the lab's dialplan goes on.
DIALPLAN_MS = 1500


def step(module, data=None, **children):
    return {"module": module, "data": data or {}, "children": children}


def tone(ms, **children):
    return step("play", {"id": f"tone_stream://%({ms},0,440)"}, **children)


BOB = step("user", {"id": "usr-acme-1001", "timeout": 3}, _=step("voicemail"))


@pytest.fixture
def flow(lab):
    def flow(action):
        lab.callflows = {"tested": {"numbers": ["8100"], "flow": action}}
        lab.obey({})

    yield flow
    lab.callflows = {}


def heard_dialplan(call, since_ms=0):
    call.ended()
    return call.talk_ms - since_ms == approx(DIALPLAN_MS, abs=2 * LATE_MS)


def test_what_is_masked_before_the_answer_has_nothing_of_before_the_unmasking(lab, flow, alice, bob):
    flow(step("record_call", {"action": "start", "label": "x", "format": "wav", "channels": "dual",
                              "url": lab.receiver.url},
              _=step("record_call", {"action": "mask", "label": "x"}, _=step(
                  "play", {"id": "tone_stream://%(1000,0,750)"}, _=step(
                      "record_call", {"action": "unmask", "label": "x"}, _=BOB)))))
    call = alice.call("8100").answered()
    talk(call, bob.rings().ring().answer(), 1500)
    (recording,) = lab.finished()
    left, right = recording.channels()
    assert right.has_ms(750) <= 100 and right.has_ms(610) > 800 and left.has_ms(930) > 800


def test_a_call_is_recorded_from_a_step_of_its_flow_on(lab, flow, alice, bob):
    flow(tone(500, _=step("record_call", {
        "action": "start", "label": "sale", "format": "wav", "channels": "dual", "url": lab.receiver.url}, _=BOB)))
    call = alice.call("8100").answered()
    called = bob.rings().ring().answer()
    called.hear(1500)
    call.hang_up()
    called.ended()

    found = lab.recordings()
    assert states(found) == {"acme callflow A 1000": "recorded"}
    recording = found["acme callflow A 1000"]
    assert recording.row["origin"] == "callflow : sale"
    assert recording.row["duration_ms"] == approx(call.talk_ms - 500, abs=2 * LATE_MS)
    assert recording.wav().left.tones() == [930] and recording.wav().right.tones()[-1] == 610


def test_a_recording_that_begins_before_the_answer_is_whole(lab, flow, alice, bob):
    flow(step("record_call", {"action": "start", "format": "wav", "channels": "dual", "url": lab.receiver.url}, _=BOB))
    call = alice.call("8100")
    called = bob.rings().ring(800).answer()
    talk(call, called)
    found = lab.recordings()
    assert states(found) == {"acme callflow A 1000": "recorded"}
    assert_whole(found["acme callflow A 1000"], call.talk_ms, says=[930], hears=[610])


def test_a_message_is_taken_down_and_delivered(lab, flow, switch, alice):
    flow(step("record_caller", {"format": "wav", "time_limit": 20, "url": lab.receiver.url},
              _=step("play", {"id": "message", "terminators": []})))
    call = alice.call("8100").answered()
    call.hear(1500)
    switch.api(f"uuid_recv_dtmf {switch.legs(1)[0]['uuid']} 1")
    call.ended()
    (recording,) = lab.recordings().values()
    assert recording.row["duration_ms"] == approx(1500, abs=3 * LATE_MS)
    assert recording.state == "recorded" and recording.body.startswith(b"RIFF")
    assert call.talk_ms == approx(2 * recording.row["duration_ms"], abs=4 * LATE_MS)


@pytest.mark.parametrize("action", [
    step("voicemail"), step("conference"), step("response", {"skip_module": True}, _=step("nosuchthing"))])
def test_what_the_engine_does_not_do_the_dialplan_does(flow, alice, action):
    flow(action)
    assert heard_dialplan(alice.call("8100").answered())


def test_a_number_without_a_callflow_is_the_dialplan_s(flow, alice):
    flow(tone(100))
    assert heard_dialplan(alice.call("8101").answered())


def test_who_does_not_answer_is_left_for_the_next_step(flow, alice, bob):
    flow(BOB)
    call = alice.call("8100")
    bob.rings().ring()
    assert heard_dialplan(call.answered())


def test_a_refusal_reaches_the_caller(flow, alice):
    flow(step("response", {"code": 480, "message": "Closed"}))
    assert alice.call("8100").ended().code == 480


def test_a_menu_goes_on_by_the_key(flow, switch, alice):
    flow(step("menu", {"media": {"greeting": "tone_stream://%(300,0,450)"}, "timeout": 5000},
              **{"2": step("voicemail"), "_": step("response")}))
    call = alice.call("8100").answered()
    call.hear(200)
    switch.api(f"uuid_recv_dtmf {switch.legs(1)[0]['uuid']} 2")
    call.ended()
    assert call.talk_ms > DIALPLAN_MS


class TestTheEngineIsKilled:
    def test_in_a_prompt_and_the_dialplan_goes_on_at_once(self, flow, kill, alice):
        flow(tone(20_000))
        call = alice.call("8100").answered()
        call.hear(500)
        kill()
        call.ended()
        assert call.talk_ms < 20_000

    def test_in_a_talk_which_ends_as_it_would_have(self, flow, kill, alice, bob):
        flow(BOB)
        call = alice.call("8100")
        called = bob.rings().ring().answer()
        call.answered().hear(500)
        kill()
        call.hear(1000)
        called.hear(500)
        called.hang_up()
        call.ended()
        assert call.talk_ms == approx(called.talk_ms, abs=2 * LENGTH_MS)  # nothing of the dialplan behind it

    def test_while_a_phone_rings_that_then_answers(self, flow, kill, alice, bob):
        flow(BOB)
        call, called = alice.call("8100"), bob.rings()
        kill()
        called.ring(100).answer()
        talk(call, called, duration_ms=500)

    def test_while_a_phone_rings_that_is_busy(self, flow, kill, alice, bob):
        flow(BOB)
        call, called = alice.call("8100"), bob.rings()
        kill()
        called.reject(486, "Busy Here")
        assert heard_dialplan(call.answered())

    def test_in_a_conference_which_goes_on(self, flow, kill, switch, alice, bob):
        flow(step("conference", {"id": "team"}))
        first, second = alice.call("8100").answered(), bob.call("8100").answered()
        until(lambda: "2 members" in switch.api("conference list"))
        kill()
        first.hear(800)
        second.hear(200)
        assert "2 members" in switch.api("conference list")
        first.hang_up()
        second.hang_up()

    def test_before_the_call_comes(self, flow, kill, alice):
        flow(tone(100))
        kill()
        assert heard_dialplan(alice.call("8100").answered())
