"""A call on its way through its callflow, and what becomes of it when something goes wrong."""

import gevent
import pytest

from kazoo_rec.callflow import server
from kazoo_rec.errors import CommandTimeout, WrongState
from tests.callflow.fakes import CHANNEL
from tests.switch.fakes import PATIENCE_S


def step(module, data=None, **children):
    return {"module": module, "data": data or {}, "children": children}


def tone(ms, **children):
    return step("play", {"id": f"tone_stream://%({ms},0,440)", "terminators": []}, **children)


def executed(leg, *, without=("answer", "set socket_resume=true", "set playback_terminators=none",
                              "unset playback_terminators")):
    return [one for one in leg.executed if one not in without]


def ends(leg, *, hung_up=None):
    """Waits for the end of the socket; which `hung_up` says: the cause, or None where the dialplan goes on."""
    assert leg.ended.get(timeout=PATIENCE_S)
    assert leg.hung_up.value == hung_up


def test_actions_follow_each_other_and_the_last_one_hangs_up(engine):
    engine.flow(tone(1, _=tone(2, _=step("sleep", {"duration": 3}))))
    leg = engine.call()
    ends(leg, hung_up="NORMAL_CLEARING")
    assert executed(leg) == ["playback tone_stream://%(1,0,440)", "playback tone_stream://%(2,0,440)", "sleep 3000"]


def test_an_action_that_the_engine_does_not_have_is_left_to_the_dialplan_by_its_name(engine):
    engine.flow(tone(1, _=step("voicemail", {"id": "box"}, _=tone(2))))
    leg = engine.call()
    ends(leg)
    assert executed(leg)[-1] == "set kazoo_rec_unhandled=voicemail" and leg.commands[-1] == ["resume"]


@pytest.mark.parametrize("module", ["x=${system(id)}", "a\nb", "ä", "m" * 64 + "!"])
def test_a_name_that_is_none_does_not_reach_the_switch(engine, module):
    engine.flow(step(module))
    leg = engine.call()
    ends(leg)
    assert executed(leg) == ["set kazoo_rec_unhandled=unknown"]


@pytest.mark.parametrize("skipped", [{"skip_module": True}, {"data": {"skip_module": True}}])
def test_an_action_may_be_passed_over(engine, skipped):
    engine.flow({"module": "voicemail", **skipped, "children": {"_": tone(1), "x": tone(2)}})
    leg = engine.call()
    ends(leg, hung_up="NORMAL_CLEARING")
    assert executed(leg) == ["playback tone_stream://%(1,0,440)"]


def test_an_action_that_fails_costs_no_call(engine, said):
    engine.control.faults["begin"] = WrongState("the leg has no media here")
    engine.flow(step("record_call", {"action": "start"}, _=tone(1)))
    leg = engine.call()
    ends(leg, hung_up="NORMAL_CLEARING")
    assert executed(leg) == ["playback tone_stream://%(1,0,440)"]
    assert said.wait("an action failed")["reason"] == "the leg has no media here"


def test_a_document_that_cannot_be_said_to_the_switch_costs_no_call(engine):
    engine.flow(step("play", {"id": "/etc/passwd"}, _=step("play", {"id": "${x}"}, _=tone(1))))
    leg = engine.call()
    ends(leg, hung_up="NORMAL_CLEARING")
    assert executed(leg) == ["playback tone_stream://%(1,0,440)"]


def test_a_flow_that_goes_round_for_ever_is_left_to_the_dialplan(engine, said):
    engine.flow(step("callflow", {"id": "cf"}))
    leg = engine.call()
    ends(leg)
    assert said.wait("does not end")


def test_the_leg_that_hangs_up_ends_its_flow(engine):
    engine.flow(tone(1, _=tone(2)))
    leg = engine.call(slow=["playback"])
    leg.slow_one()
    leg.hang_up("ORIGINATOR_CANCEL")
    ends(leg, hung_up="ORIGINATOR_CANCEL")
    assert len(executed(leg)) == 1
    engine.no_more_flows()


@pytest.mark.parametrize("number", ["9", "8" * 40, "${x}"])
def test_a_number_without_a_callflow_is_the_dialplan_s(engine, number):
    engine.flow(tone(1))
    leg = engine.call(Caller_Destination_Number=number)
    ends(leg)
    assert executed(leg) == []


def test_a_leg_of_no_account_is_the_dialplan_s(engine):
    engine.flow(tone(1))
    engine.known = dict.fromkeys(engine.known, engine.known[CHANNEL["Unique-ID"]]._replace(account_id=None))
    leg = engine.call()
    ends(leg)
    assert executed(leg) == []


def test_a_leg_that_is_not_heard_of_yet_is_waited_for(engine, monkeypatch):
    asked = gevent.event.Event()
    known, engine.known = engine.known, type("Late", (dict,), {"get": lambda _, uuid: asked.set()})()
    engine.flow(tone(1))
    leg = engine.call()
    assert asked.wait(PATIENCE_S)
    engine.known = known
    ends(leg, hung_up="NORMAL_CLEARING")


def test_a_leg_that_is_never_heard_of_is_the_dialplan_s(engine, monkeypatch):
    monkeypatch.setattr(server, "KNOWN_WITHIN_S", 0.01)
    engine.flow(tone(1))
    leg = engine.call(Unique_ID="another")
    ends(leg)


def test_the_engine_s_end_in_a_flow_leaves_the_call_to_its_dialplan(engine):
    engine.flow(tone(1, _=tone(2)))
    leg = engine.call(slow=["playback"])
    leg.slow_one()
    engine.server.stop()
    ends(leg)
    assert [block[0] for block in leg.commands[-2:]] == ["sendmsg", "resume"]  # it neither hung up nor asked for more


def test_who_does_not_speak_the_protocol_is_cut_off(engine, said):
    leg = engine.call(Socket_Mode="static")
    ends(leg)
    assert "async full" in said.wait("left to its dialplan")["reason"]


def test_more_that_do_not_say_whose_call_it_is_than_are_waited_for_go_on_at_once(engine, said):
    engine.server._strangers.counter = 0
    leg = engine.call()
    ends(leg)
    assert leg.commands == [] and said.wait("too many calls")


def test_hundreds_of_calls_are_in_their_flows_at_once(engine):
    engine.flow(tone(1))
    legs = [engine.call(slow=["playback"]) for _ in range(300)]
    begun = [leg.slow_one() for leg in legs]
    assert len(engine.server) == 300
    for leg, one in zip(legs, begun, strict=True):
        leg.done(one)
    for leg in legs:
        ends(leg, hung_up="NORMAL_CLEARING")
    engine.no_more_flows()


def test_a_command_that_the_control_is_slow_with_costs_no_call(engine):
    engine.control.faults["begin"] = CommandTimeout("the recording has not begun yet")
    engine.flow(step("record_call", {"action": "start"}))
    ends(engine.call(), hung_up="NORMAL_CLEARING")
