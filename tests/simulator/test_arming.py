"""execute_on_answer*, and what happens when a command races it."""

import pytest

from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import alice, bob
from tests.simulator.sounds import seconds, tones


@pytest.fixture
def ring(switch, clock):
    """Alice calls Bob, who answers at 0.5 s; the clock is at 0.1 s."""
    call = switch.play(Script(alice(hangs_up=3.0), (bob(),)))
    clock.advance(0.1)
    return call


def arm(switch, leg, value, name="execute_on_answer_1"):
    assert switch.api(f"uuid_setvar {leg.uuid} {name} {value}") == "+OK\n"


@pytest.mark.parametrize("arming", [
    "record_session {path}", "record_session::{path}", "record_session {path} +0 {{id=1}}",
    "record_session {path} {{id=1}}",
])
@pytest.mark.parametrize("leg", [0, 1])
def test_an_armed_leg_is_recorded_from_its_answer_to_its_end(switch, clock, ring, tmp_path, arming, leg):
    arm(switch, ring.legs[leg], arming.format(path=f"{tmp_path}/a.wav"))
    clock.advance(4)
    (recording,) = ring.legs[leg].recorded
    assert recording.ms == pytest.approx(2490, abs=30) and recording.cause == "success-silence"
    assert recording.variables == ({"id": "1"} if "id=1" in arming else {})
    assert tones(recording.path) == [440, 1000]


def test_the_answer_carries_an_arming_that_is_in_time_and_none_that_is_not(switch, clock, ring, listener, tmp_path):
    arm(switch, ring.legs[1], f"record_session {tmp_path}/a.wav")
    clock.advance(0.45)
    arm(switch, ring.legs[1], f"record_session {tmp_path}/b.wav", "execute_on_answer_2")
    clock.advance(0.5)
    (answer,) = [event for event in listener.heard("CHANNEL_ANSWER") if event["Unique-ID"] == ring.legs[1].uuid]
    assert "variable_execute_on_answer_1" in answer and "variable_execute_on_answer_2" not in answer
    assert [each.path for each in ring.legs[1].recorded] == [f"{tmp_path}/a.wav"]


def test_several_start_in_order_of_setting_a_frame_apart(switch, clock, ring, listener, tmp_path):
    armed = ";".join(f"execute_on_answer_{name}=record_session {tmp_path}/{name}.wav +0 {{n={name}}}" for name in "zam")
    assert switch.api(f"uuid_setvar_multi {ring.legs[0].uuid} {armed}") == "+OK\n"
    clock.advance(4)
    starts = listener.heard("RECORD_START")
    answered = int(listener.heard("CHANNEL_ANSWER")[-1]["Event-Date-Timestamp"])
    assert [event["Recording-Variable-n"] for event in starts] == ["z", "a", "m"]
    assert [int(event["Event-Date-Timestamp"]) - answered for event in starts] == [0, 20000, 40000]


def test_a_list_in_one_variable_starts_each(switch, clock, ring, tmp_path):
    arm(switch, ring.legs[0], f"ARRAY::record_session {tmp_path}/a.wav|:record_session {tmp_path}/b.wav")
    clock.advance(4)
    assert len(ring.legs[0].recorded) == 2


def test_an_arming_can_be_taken_back_and_the_last_one_counts(switch, clock, ring, tmp_path):
    arm(switch, ring.legs[0], f"record_session {tmp_path}/a.wav")
    arm(switch, ring.legs[0], f"record_session {tmp_path}/b.wav")
    arm(switch, ring.legs[1], f"record_session {tmp_path}/c.wav")
    arm(switch, ring.legs[1], "")
    clock.advance(4)
    assert [[each.path for each in leg.recorded] for leg in ring.legs] == [[f"{tmp_path}/b.wav"], []]


@pytest.mark.parametrize("path", ["/proc/nope/x.wav", "{tmp}/bad.xyz", ""])
def test_an_arming_that_cannot_be_written_fails_without_a_word(switch, clock, ring, listener, tmp_path, path):
    arm(switch, ring.legs[0], f"record_session {path.format(tmp=tmp_path)}")
    clock.advance(1)
    assert not listener.heard("RECORD_START", "MEDIA_BUG_START") and not ring.legs[0].cause


def test_an_application_that_does_not_exist_hangs_the_call_up(switch, clock, ring):
    arm(switch, ring.legs[0], "no_such_application x")
    clock.advance(1)
    assert ring.legs[0].cause == "DESTINATION_OUT_OF_ORDER" and ring.wait(0)


def test_a_blank_in_a_path_or_in_the_variables_spoils_what_follows(switch, clock, ring, tmp_path):
    arm(switch, ring.legs[0], f"record_session {tmp_path}/a.wav +0 {{id=a b}}")
    clock.advance(1)
    (recording,) = ring.legs[0].recorded
    assert (recording.path, recording.variables) == (f"{tmp_path}/a.wav", {})


def test_one_that_is_never_answered_records_nothing(switch, clock, listener, tmp_path):
    call = switch.play(Script(alice(), (bob(refuses="USER_BUSY"),)))
    clock.advance(0.1)
    arm(switch, call.legs[0], f"record_session {tmp_path}/a.wav")
    clock.advance(1)
    assert call.wait(0) and not listener.heard("RECORD_START", "RECORD_STOP") and not list(tmp_path.iterdir())


def test_a_leg_that_answers_at_once_beats_the_arming(switch, clock, listener, tmp_path):
    call = switch.play(Script(alice(), dials="9196", dialplan=("answer", "echo")))
    clock.advance(0.02)
    listener.heard("CHANNEL_CREATE")
    arm(switch, call.legs[0], f"record_session {tmp_path}/a.wav")
    clock.advance(1)
    assert not call.legs[0].recorded


def test_bridge_req_waits_for_the_bridge_and_answer_req_for_the_answer(switch, clock, tmp_path):
    call = switch.play(Script(alice(hangs_up=4.0), (bob(),), dialplan=(
        "sleep 500", "answer", "playback tone_stream://%(1000,0,880)", "bridge")))
    clock.advance(0.1)
    uuid = call.legs[0].uuid
    for name in ("BRIDGE", "ANSWER"):
        arm(switch, call.legs[0], f"record_session {tmp_path}/{name}.wav +0 {{RECORD_{name}_REQ=true}}",
            f"execute_on_answer_{name}")
    switch.api(f"uuid_record {uuid} start {tmp_path}/early.wav 0 {{RECORD_ANSWER_REQ=true}}")
    switch.api(f"uuid_record {uuid} start {tmp_path}/all.wav")
    clock.advance(5)
    lengths = {each.path.rpartition("/")[2]: each.ms for each in call.legs[0].recorded}
    assert lengths == {"BRIDGE.wav": 1960, "ANSWER.wav": 3480, "early.wav": 3500, "all.wav": 3900}


def test_one_that_waits_for_a_bridge_that_never_comes_is_removed(switch, clock, listener, tmp_path):
    call = switch.play(Script(alice(hangs_up=2.0), dials="9196", dialplan=("sleep 100", "answer", "echo")))
    arm(switch, call.legs[0], f"record_session {tmp_path}/a.wav +0 {{RECORD_BRIDGE_REQ=true}}")
    clock.advance(3)
    (stop,) = listener.heard("RECORD_STOP")
    assert stop["Record-Completion-Cause"] == "empty-file" and not list(tmp_path.iterdir())


# Races

@pytest.mark.parametrize("leg", [0, 1])
def test_a_command_at_the_moment_of_the_answer_doubles_the_recording(switch, clock, ring, listener, tmp_path, leg):
    uuid, path = ring.legs[leg].uuid, f"{tmp_path}/a.wav"
    arm(switch, ring.legs[leg], f"record_session {path}")
    clock.advance(0.43)
    assert switch.api(f"uuid_record {uuid} start {path}") == "+OK Success\n"
    clock.advance(0.57)
    assert len(ring.legs[leg].recordings) == 2
    assert switch.api(f"uuid_buglist {uuid}").count(f"<target>{path}</target>") == 2
    assert switch.api(f"uuid_record {uuid} mask {path}") == "+OK Success\n"
    assert switch.api(f"uuid_record {uuid} stop {path}") == "+OK Success\n"
    for order in ("mask", "unmask", "pause", "resume", "stop"):
        assert switch.api(f"uuid_record {uuid} {order} {path}").startswith("-ERR")
    assert switch.api(f"uuid_record {uuid} stop all") == "+OK Success\n"
    clock.advance(0.1)
    assert [len(listener.heard(name)) for name in ("RECORD_START", "RECORD_STOP")] == [2, 2]


def test_a_command_that_waits_a_moment_does_not(switch, clock, ring, tmp_path):
    path = f"{tmp_path}/a.wav"
    arm(switch, ring.legs[0], f"record_session {path}")
    clock.advance(0.6)
    assert switch.api(f"uuid_record {ring.legs[0].uuid} start {path}") == "+OK Success\n"
    assert len(ring.legs[0].recordings) == 1


# Before the answer

def test_to_record_a_called_leg_that_only_rings_kills_the_call(switch, clock, ring, listener, tmp_path):
    assert switch.api(f"uuid_record {ring.legs[1].uuid} start {tmp_path}/a.wav") == "-ERR Cannot record session!\n"
    clock.advance(1)
    assert {leg.cause for leg in ring.legs} == {"INCOMPATIBLE_DESTINATION"} and ring.wait(0)
    names = [event["Event-Name"].removeprefix("CHANNEL_") for event in listener.heard()
             if event["Unique-ID"] == ring.legs[0].uuid]
    assert names == ["BRIDGE", "UNBRIDGE", "HANGUP", "EXECUTE_COMPLETE", "HANGUP_COMPLETE", "DESTROY"]


def test_to_record_one_with_early_media_is_harmless(switch, clock, tmp_path):
    call = switch.play(Script(alice(hangs_up=3.0), (bob(early_media=0.0, answers=1.0),)))
    clock.advance(0.5)
    assert switch.api(f"uuid_record {call.legs[1].uuid} start {tmp_path}/a.wav") == "+OK Success\n"
    clock.advance(4)
    assert seconds(f"{tmp_path}/a.wav") == 2.5


def test_to_record_a_caller_who_waits_starts_early_media(switch, clock, listener, tmp_path):
    call = switch.play(Script(alice(), dials="7000", dialplan=("sleep 2000", "answer", "park")))
    clock.advance(0.1)
    assert switch.api(f"uuid_record {call.legs[0].uuid} start {tmp_path}/a.wav") == "+OK Success\n"
    clock.advance(0.1)
    names = [event["Event-Name"] for event in listener.heard()]
    assert names[-3:] == ["CHANNEL_PROGRESS_MEDIA", "RECORD_START", "MEDIA_BUG_START"]
