"""The application `socket`: a program controls a leg, goes, or is not there. What a real switch sent is compared in
test_scenarios.py (outbound_socket)."""

import gevent
import pytest

from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import Controller, alice, bob, pstn


@pytest.fixture
def dialled(switch, clock, controller):
    """A call that was handed to a program: (the call, the program's connection), the leg parked and not answered."""
    def dial(options="async full", then=("set came_behind=yes", "hangup USER_BUSY"), caller=None, called=()):
        call = switch.play(Script(caller or alice(), called, dials="7000",
                                  dialplan=(f"socket {controller.address} {options}", *then)))
        clock.advance(0.02)
        program = controller.accept()
        program.ask("connect")
        clock.advance(0.02)
        return call, program
    return dial


def told(app, arg="", **headers):
    headers |= {"execute_app_name": app, **({"execute_app_arg": arg} if arg else {})}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\n".join(["sendmsg", "call-command: execute", *lines])


def applications(events):
    return [(event["Event-Name"].removeprefix("CHANNEL_"), event["Application"], event["Application-UUID"])
            for event in events if "Application" in event]


def test_what_it_is_told_is_executed_at_the_next_frame_and_called_by_the_uuid_it_was_given(dialled, clock):
    call, program = dialled()
    assert program.ask("myevents json") == "+OK Events Enabled"
    assert program.ask(told("answer", Event_UUID="one")) == "+OK"
    assert not call.legs[0].answered
    clock.advance(0.04)
    assert call.legs[0].answered
    assert applications(program.events) == [("EXECUTE", "answer", "one"), ("EXECUTE_COMPLETE", "answer", "one")]
    assert {event["Unique-ID"] for event in program.events} == {call.legs[0].uuid}


def test_the_dialplan_goes_on_when_the_program_goes(dialled, clock):
    call, program = dialled()
    program.ask(told("answer"))
    clock.advance(0.1)
    program.close()
    clock.advance(0.1)
    assert call.wait(1) and call.legs[0].cause == "USER_BUSY" and call.legs[0].variables["came_behind"] == "yes"


def test_what_it_was_told_last_is_done_first(dialled, clock):
    call, program = dialled()
    program.ask("sendmsg\ncall-command: hangup\nhangup-cause: CALL_REJECTED")
    program.close()
    clock.advance(0.1)
    assert call.wait(1) and call.legs[0].cause == "CALL_REJECTED"


@pytest.mark.parametrize("resumes", [True, False])
def test_only_who_said_resume_cuts_an_application_short_by_going(dialled, clock, resumes):
    call, program = dialled()
    if resumes:
        assert program.ask("resume") == "+OK"
    program.ask(told("playback", "silence_stream://2000"))
    clock.advance(0.5)
    program.close()
    clock.advance(0.5)
    assert ("came_behind" in call.legs[0].variables) == resumes
    clock.advance(1.5)
    assert call.legs[0].variables["came_behind"] == "yes"


@pytest.mark.parametrize("resumes", [True, False])
def test_a_bridge_survives_the_programs_going_unless_it_said_resume(dialled, switch, clock, resumes):
    switch.phones.add(bob())
    call, program = dialled()
    if resumes:
        program.ask("resume")
    program.ask(told("bridge", "user/1001@acme.example"))
    clock.advance(1)
    program.close()
    clock.advance(0.5)
    assert (call.legs[0].partner is None) == resumes


def test_nobody_listens_and_the_dialplan_goes_on(switch, clock):
    nobody = Controller()
    nobody.close()
    call = switch.play(Script(alice(), dials="7000", dialplan=(
        f"socket {nobody.address} async full", "set came_behind=yes")))
    clock.advance(0.1)
    assert call.wait(1) and call.legs[0].variables["came_behind"] == "yes"


def test_of_several_hosts_the_first_that_answers_is_taken(switch, clock, controller):
    nobody = Controller()
    nobody.close()
    call = switch.play(Script(alice(), dials="7000", dialplan=(f"socket {nobody.address}|{controller.address} async",)))
    clock.advance(0.02)
    assert controller.accept().ask("connect")
    assert call.legs[0].variables["socket_host"] == "127.0.0.1"


def test_a_program_that_is_gone_at_once_leaves_the_leg_parked_for_ever(switch, clock, controller):
    call = switch.play(Script(alice(hangs_up=700), dials="7000", dialplan=(f"socket {controller.address} async full",)))
    clock.advance(0.02)
    program = controller.accept()
    program.ask("connect")
    program.close()
    clock.advance(600)
    assert not call.legs[0].cause
    clock.advance(200)
    assert call.legs[0].cause == "ORIGINATOR_CANCEL"


def test_a_leg_that_is_parked_for_ever_may_still_be_transferred(switch, clock, controller):
    call = switch.play(Script(alice(), dials="7000", dialplan=(f"socket {controller.address} async full",)))
    clock.advance(0.02)
    controller.accept().close()
    clock.advance(60)
    switch.extensions["7001"] = ("set came_here=yes", "hangup")
    switch.api(f"uuid_transfer {call.legs[0].uuid} 7001")
    clock.advance(0.1)
    assert call.wait(0) and call.legs[0].variables["came_here"] == "yes"


@pytest.mark.parametrize("parked", [True, False])
def test_one_that_says_nothing_is_left_after_25_seconds(switch, clock, controller, parked):
    call = switch.play(Script(alice(), dials="7000", dialplan=(
        f"socket {controller.address} {'async' if parked else ''}", "set came_behind=yes")))
    clock.advance(24)
    program = controller.accept()
    assert not program.ended
    clock.advance(2)
    program.wait_for_end()
    assert call.wait(0) != parked


def test_without_event_lock_the_next_is_executed_in_the_midst_of_the_one_before(dialled, clock):
    call, program = dialled()
    program.ask("myevents json")
    program.ask(told("playback", "silence_stream://1000"))
    clock.advance(0.1)
    program.ask(told("set", "a=b"))
    clock.advance(0.1)
    assert call.legs[0].variables["a"] == "b"
    clock.advance(1)
    ended = [app for name, app, _ in applications(program.events) if name == "EXECUTE_COMPLETE"]
    assert ended == ["set", "playback"]


def test_with_event_lock_it_waits(dialled, clock):
    call, program = dialled()
    program.ask(told("playback", "silence_stream://1000", event_lock="true"))
    program.ask(told("set", "a=b"))
    clock.advance(0.9)
    assert "a" not in call.legs[0].variables
    clock.advance(0.2)
    assert call.legs[0].variables["a"] == "b"


def test_an_unknown_application_is_answered_and_hangs_up(dialled, clock):
    call, program = dialled()
    assert program.ask(told("nosuch")) == "+OK"
    clock.advance(0.05)
    assert call.wait(1) and call.legs[0].cause == "DESTINATION_OUT_OF_ORDER"


def test_a_leg_that_goes_ends_the_connection(dialled, clock):
    call, program = dialled()
    program.ask("myevents json")
    program.ask(told("hangup", "CALL_REJECTED"))
    clock.advance(0.05)
    program.wait_for_end()
    assert program.events[-1]["Event-Name"] == "CHANNEL_HANGUP_COMPLETE"
    assert [head["Content-Disposition"] for head in program.heads if "Content-Disposition" in head] == ["disconnect"]
    assert call.wait(0)


def test_who_lingers_is_told_and_gets_that_many_seconds(dialled, switch, clock):
    call, program = dialled(caller=alice(hangs_up=1))
    assert program.ask("linger 5") == "+OK will linger 5 seconds"
    clock.advance(2)
    assert call.legs[0].uuid in switch.legs and not call.wait(0)
    assert [head["Content-Disposition"] for head in program.heads if "Linger-Time" in head] == ["linger"]
    clock.advance(6)
    program.wait_for_end()
    assert call.wait(0) and call.legs[0].uuid not in switch.legs


def test_the_end_of_a_lingering_connection_is_the_end_of_the_leg(dialled, clock):
    call, program = dialled(caller=alice(hangs_up=1))
    assert program.ask("linger") == "+OK will linger"
    clock.advance(2)
    program.close()
    assert call.wait(1)


def test_a_transfer_leaves_the_program_behind(dialled, switch, clock):
    switch.phones.add(bob())
    call, program = dialled()
    program.ask(told("transfer", "1001 XML acme.example"))
    clock.advance(1)
    assert [leg.phone.user for leg in call.legs] == ["1000", "1001"] and call.legs[0].partner is call.legs[1]
    assert call.legs[0].profile.destination == "1001" and "came_behind" not in call.legs[0].variables
    assert program.ask("getvar uuid") == call.legs[0].uuid


def test_an_extension_is_a_number_that_many_may_dial_or_be_transferred_to(switch, clock, controller):
    switch.extensions["7000"] = (f"socket {controller.address} async full", "hangup")
    switch.play(Script(alice(), dials="7000"))
    switch.play(Script(pstn(), dials="15550007000", dialplan=("transfer 7000 XML acme.example",)))
    clock.advance(0.04)
    heads = [controller.accept() for _ in range(2)]
    for program in heads:
        program.ask("connect")
    assert {program.heads[0]["Channel-Caller-ID-Number"] for program in heads} == {"1000", "442079460123"}
    assert {program.heads[0]["Caller-Destination-Number"] for program in heads} == {"7000"}


def test_digits_come_as_events_to_all_or_diverted_to_the_program_alone(dialled, listener, clock):
    call, program = dialled(caller=alice(presses={1: "1", 2: "23"}))
    program.ask("myevents json")
    clock.advance(1)
    program.ask("divert_events on")
    clock.advance(1.5)
    assert [event["DTMF-Digit"] for event in listener.heard("DTMF")] == ["1"]
    assert [event["DTMF-Digit"] for event in program.events if "DTMF-Digit" in event] == ["1", "2", "3"]
    assert not call.legs[0].digits.has()


def test_without_full_there_is_nothing_beyond_the_leg(dialled):
    _, program = dialled("async")
    for refused in ("api status", "bgapi status", "event json ALL", "linger", "sendevent CUSTOM", "log", "nosuch"):
        assert program.ask(refused) == "-ERR command not found"
    assert program.ask("getvar nothing") == "-ERR command not found"
    assert program.heads[0]["Control"] == "single-channel" and program.heads[0]["Socket-Mode"] == "async"


def test_with_full_it_may_do_what_any_connection_may(dialled, clock):
    call, program = dialled()
    assert program.api(f"uuid_exists {call.legs[0].uuid}") == "true"
    program.ask("event json BACKGROUND_JOB")
    job = program.ask("bgapi uuid_buglist nobody").removeprefix("+OK Job-UUID: ")
    clock.advance(0.1)
    (done,) = [event for event in program.events if event["Event-Name"] == "BACKGROUND_JOB"]
    assert (done["Job-UUID"], done["Job-Owner-UUID"]) == (job, call.legs[0].uuid)
    assert program.ask("myevents") == "+OK Events Enabled" and program.ask("myevents") == "-ERR aready enabled."


def test_a_filter_lets_only_what_it_names_pass(dialled, clock):
    _, program = dialled()
    program.ask("myevents json")
    assert program.ask("filter Event-Name CHANNEL_ANSWER") == "+OK filter added. [Event-Name]=[CHANNEL_ANSWER]"
    program.ask(told("answer"))
    clock.advance(0.1)
    assert [event["Event-Name"] for event in program.events] == ["CHANNEL_ANSWER"]
    assert program.ask("filter delete Event-Name") == "+OK filter deleted. [Event-Name][]"
    program.ask(told("set", "a=b"))
    clock.advance(0.1)
    assert [event["Event-Name"] for event in program.events[1:]] == ["CHANNEL_EXECUTE", "CHANNEL_EXECUTE_COMPLETE"]


def test_a_body_is_an_argument(dialled, clock):
    call, program = dialled()
    program.ask(told("set") + "\ncontent-type: text/plain\ncontent-length: 3\n\na=b")
    clock.advance(0.05)
    assert call.legs[0].variables["a"] == "b"


def test_static_each_order_is_answered_when_it_is_done(dialled, clock):
    call, program = dialled("")
    program.send(told("playback", "silence_stream://500"))
    program.send(told("set", "a=b"))
    clock.advance(0.4)
    assert program.replies == ["%2BOK%0A"]
    clock.advance(0.2)
    assert program.replies == ["%2BOK%0A", "+OK", "+OK"] and call.legs[0].variables["a"] == "b"
    program.close()
    clock.advance(0.1)
    assert call.wait(1) and call.legs[0].variables["came_behind"] == "yes"


def test_static_a_program_that_is_gone_at_once_holds_nobody_up(switch, clock, controller):
    call = switch.play(Script(alice(), dials="7000", dialplan=(f"socket {controller.address}", "set came_behind=yes")))
    clock.advance(0.02)
    controller.accept().close()
    clock.advance(0.1)
    assert call.wait(1) and call.legs[0].variables["came_behind"] == "yes"


def test_an_order_to_another_leg_goes_by_its_uuid(dialled, switch, client, clock):
    call, program = dialled()
    other = switch.play(Script(alice(user="1002"), dials="7001", dialplan=("answer", "park")))
    clock.advance(0.1)
    for connection in (program, client):
        assert connection.ask("sendmsg nobody\ncall-command: hangup") == "-ERR invalid session id [nobody]"
    assert program.ask(f"sendmsg {other.legs[0].uuid}\ncall-command: hangup") == "+OK"
    assert client.ask(f"sendmsg {call.legs[0].uuid}\ncall-command: hangup\nhangup-cause: USER_BUSY") == "+OK"
    clock.advance(0.1)
    assert other.wait(1) and call.wait(1) and call.legs[0].cause == "USER_BUSY"


def test_a_switch_that_is_killed_or_shut_down_ends_its_programs_connections(dialled, switch, clock):
    call, program = dialled()
    switch.shut_down()
    clock.advance(2)
    program.wait_for_end()
    assert call.wait(1)
    switch.start()
    call, program = dialled()
    switch.kill()
    program.wait_for_end()
    assert call.wait(1)


def test_a_leg_that_lingers_when_the_switch_is_killed_does_not_come_back(dialled, switch, clock):
    call, program = dialled(caller=alice(hangs_up=1))
    program.ask(told("answer"))
    program.ask("linger 60")
    clock.advance(2)
    switch.kill()
    program.wait_for_end()
    switch.start()
    clock.advance(1)
    assert switch.api("sofia recover") == "No calls to recover.\n" and call.wait(0)


def test_two_hundred_legs_are_controlled_at_once(switch, clock, controller):
    calls = [switch.play(Script(alice(user=str(2000 + place)), dials="7000", dialplan=(
        f"socket {controller.address} async full", "hangup"))) for place in range(200)]
    clock.advance(0.1)
    programs = [controller.accept() for _ in calls]
    with gevent.Timeout(20):
        for program in programs:
            program.ask("connect")
            program.ask("myevents json")
            program.ask(told("answer", Event_UUID="one"))
        clock.advance(0.1)
    for program in programs:
        assert applications(program.events)[-1] == ("EXECUTE_COMPLETE", "answer", "one")
        assert len({event["Unique-ID"] for event in program.events}) == 1
