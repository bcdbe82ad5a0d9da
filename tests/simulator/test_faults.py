"""What a script's faults do: one sentence each."""

import json
import os
import socket

import gevent
import pytest

from kazoo_rec.errors import ConfigError
from kazoo_rec.simulator.faults import __doc__ as SENTENCES
from kazoo_rec.simulator.faults import strike_all
from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import Client, alice, bob, pstn
from tests.simulator.sounds import seconds

UNBUFFERED = "RECORD_PRE_BUFFER_FRAMES=0,enable_file_write_buffering=false"


@pytest.fixture
def play(switch, clock):
    """Alice calls Bob, who answers at 0.5 s, with these faults; the clock is at 0.1 s."""

    def begin(*faults, **habits):
        call = switch.play(Script(alice(**{"hangs_up": 3.0, **habits}), (bob(),), faults=faults))
        clock.advance(0.1)
        return call

    return begin


@pytest.fixture
def arm(switch, tmp_path):
    """Arms a leg; gives the path."""

    def order(leg, variables=UNBUFFERED):
        path = f"{tmp_path}/{leg.phone.user}.wav"
        line = f"uuid_setvar {leg.uuid} execute_on_answer_1 record_session {path} +0 {{{variables}}}"
        assert switch.api(line) == "+OK\n"
        return path

    return order


def of(leg, events):
    return [event["Event-Name"].removeprefix("CHANNEL_") for event in events if event.get("Unique-ID") == leg.uuid]


def test_a_fault_that_is_no_sentence_is_refused(switch):
    with pytest.raises(ConfigError, match="no such fault"):
        switch.play(Script(alice(), (bob(),), faults=("the moon falls at 1.0",)))


def test_every_sentence_of_the_list_is_one(switch):
    listed = [line.strip().split("  ")[0] for line in SENTENCES.splitlines() if line.startswith("    ")]
    assert len(listed) == 32
    for sentence in listed:
        switch.play(Script(alice(), (bob(),), faults=(sentence,), at=1000.0)).begin()


@pytest.mark.parametrize("sentence", ["no media for 1001", "media bypasses the switch", "the answer of 1000 waits 1"])
def test_what_is_of_a_call_as_it_begins_is_not_of_all_legs(switch, sentence):
    with pytest.raises(ConfigError, match="no such fault"):
        strike_all(sentence, switch)


def test_a_leg_without_media_is_not_recorded(switch, clock, tmp_path):
    call = switch.play(Script(alice(), (bob(),), faults=("no media for 1000",)))
    clock.advance(0.1)
    switch.api(f"uuid_setvar {call.legs[0].uuid} execute_on_answer record_session {tmp_path}/a.wav")
    clock.advance(1)
    assert not call.legs[0].recorded and call.legs[0].answered
    assert switch.api(f"uuid_record {call.legs[0].uuid} start {tmp_path}/a.wav") == "-ERR Cannot record session!\n"
    assert switch.api(f"uuid_record {call.legs[1].uuid} start {tmp_path}/b.wav") == "+OK Success\n"


@pytest.mark.parametrize(("fault", "listens"), [("switch killed at 1.0", False), ("switch shut down at 1.0", True)])
def test_a_switch_dies_in_the_middle_of_a_call(switch, clock, listener, fault, listens):
    call = switch.play(Script(alice(), (bob(),), faults=(fault,)))
    clock.advance(3)
    listener.wait_for_end()
    assert call.wait(0) and bool(listener.notices) == listens
    assert ("SHUTDOWN" in [event["Event-Name"] for event in listener.events]) == listens


def test_commands_stall_for_a_while(switch, clock, client):
    switch.play(Script(alice(), (bob(),), faults=("commands stall from 0.5 to 1.5",)))
    clock.advance(1)
    client.send("api hostname")
    clock.advance(0.4)
    assert client.replies == ["+OK accepted"]
    clock.advance(0.2)
    assert client.ask("api version") and client.replies[1] == "fs1.example"


# Media that goes around the switch, as seen with bypass_media on FreeSWITCH 1.10.12

def test_media_that_bypasses_the_switch_shows_in_the_legs(switch, clock, listener, play):
    call = play("media bypasses the switch")
    clock.advance(4)
    caller, callee = call.legs
    first = {leg: {event["Event-Name"]: event for event in reversed(listener.heard()) if event["Unique-ID"] == leg.uuid}
             for leg in call.legs}
    created = first[callee]["CHANNEL_CREATE"]
    assert "variable_rtp_local_sdp_str" in created and "variable_local_media_port" not in created
    assert all("Channel-Read-Codec-Name" not in first[leg]["CHANNEL_ANSWER"] for leg in call.legs)
    assert of(caller, listener.heard()) == [
        "CREATE", *["EXECUTE_COMPLETE"] * 5, "PROGRESS", "ANSWER", "BRIDGE", "CALL_UPDATE", "HANGUP", "UNBRIDGE",
        "EXECUTE_COMPLETE", "HANGUP_COMPLETE", "DESTROY"]
    assert {leg.cause for leg in call.legs} == {"NORMAL_CLEARING"}


def test_to_arm_a_called_leg_without_media_leaves_its_caller_unanswered(clock, listener, play, arm):
    call = play("media bypasses the switch")
    arm(call.legs[1])
    clock.advance(2)
    assert of(call.legs[1], listener.heard())[-1] == "ANSWER"
    assert not call.legs[0].answered and not call.legs[1].recorded
    clock.advance(2)
    assert [leg.cause for leg in call.legs] == ["ORIGINATOR_CANCEL"] * 2


def test_to_arm_a_caller_without_media_ends_the_call(clock, listener, play, arm):
    call = play("media bypasses the switch")
    arm(call.legs[0])
    clock.advance(1)
    assert {leg.cause for leg in call.legs} == {"INCOMPATIBLE_DESTINATION"} and call.wait(0)
    names = of(call.legs[0], listener.heard())
    assert names[names.index("ANSWER"):] == [
        "ANSWER", "RECORD_START", "MEDIA_BUG_START", "EXECUTE_COMPLETE", "BRIDGE", "CALL_UPDATE", "UNBRIDGE", "HANGUP",
        "EXECUTE_COMPLETE", "RECORD_STOP", "MEDIA_BUG_STOP", "HANGUP_COMPLETE", "DESTROY"]


def test_to_record_a_leg_without_media_by_command_is_refused_and_harmless(switch, clock, play, tmp_path):
    call = play("media bypasses the switch")
    clock.advance(1)
    for leg in call.legs:
        assert switch.api(f"uuid_record {leg.uuid} start {tmp_path}/a.wav") == "-ERR Cannot record session!\n"
    clock.advance(3)
    assert {leg.cause for leg in call.legs} == {"NORMAL_CLEARING"}


def test_media_that_leaves_in_mid_recording_ends_its_sound_and_no_event_tells(switch, clock, listener, play, arm):
    call = play("media of 1000 leaves the switch at 1.5")
    path = arm(call.legs[0])
    clock.advance(2)
    assert switch.api(f"uuid_buglist {call.legs[0].uuid}").count("<media-bug>") == 1
    assert of(call.legs[0], listener.heard())[-1] == "CALL_UPDATE"
    clock.advance(2)
    (stop,) = listener.heard("RECORD_STOP")
    assert (stop["Record-Completion-Cause"], stop["variable_record_ms"]) == ("success-silence", "980")
    assert seconds(path) == 0.98


# The disk

def test_on_a_disk_that_fills_up_nothing_more_is_written_and_nothing_new_begins(switch, clock, play, arm, tmp_path):
    call = play("disk full at 1.5")
    path, buffered = arm(call.legs[0]), arm(call.legs[1], "RECORD_PRE_BUFFER_FRAMES=0")
    clock.advance(1.9)
    assert switch.api(f"uuid_record {call.legs[0].uuid} start {tmp_path}/new.wav") == "-ERR Cannot record session!\n"
    clock.advance(2)
    true, lie = (leg.recorded[0] for leg in call.legs)
    assert (true.cause, lie.cause) == ("uri-failure", "uri-failure")
    assert true.ms == 980 and lie.ms == 2480
    assert seconds(path) == 0.98 and seconds(buffered) == 0.0


def test_a_disk_that_has_room_again_takes_new_files(switch, clock, play, arm, tmp_path):
    call = play("disk full at 0.2", "disk has room at 1.0")
    path = arm(call.legs[0])
    clock.advance(0.8)
    assert not call.legs[0].recorded
    clock.advance(0.2)
    assert switch.api(f"uuid_record {call.legs[0].uuid} start {path} 0 {{{UNBUFFERED}}}") == "+OK Success\n"
    clock.advance(3)
    assert call.legs[0].recorded[0].ms == 1900 and seconds(path) == 1.9


def test_a_file_that_is_cut_is_shorter_than_its_recording_says(clock, listener, play, arm):
    call = play("files of 1000 are cut to 8044 bytes at 1.0")
    path, whole = arm(call.legs[0]), arm(call.legs[1])
    clock.advance(4)
    said = {stop["Record-File-Path"]: stop["variable_record_ms"] for stop in listener.heard("RECORD_STOP")}
    assert said[path] == "2480" and os.path.getsize(path) == 8044
    assert said[whole] == "2480" and seconds(whole) == 2.48


# A switch that comes back

def test_a_switch_that_was_killed_starts_again_and_recovers_its_calls(switch, clock, play):
    call = play("switch killed at 1.0", "switch starts at 2.0", "switch recovers its calls at 2.5", hangs_up=5.0)
    core = switch.core_uuid
    clock.advance(1.5)
    with pytest.raises(ConnectionRefusedError):
        Client(switch.address)
    clock.advance(1.5)
    client = Client(switch.address)
    assert client.api("global_getvar core_uuid") not in ("", core)
    assert [client.api(f"uuid_exists {leg.uuid}") for leg in call.legs] == ["true", "true"]


# What reaches whom, and when

def test_a_switch_that_hangs_accepts_and_says_nothing(switch, clock, listener, play):
    play("event sockets hang from 0.2 to 1.5")
    clock.advance(0.2)
    heard = len(listener.events)
    late = Client(switch.address, None)
    listener.send("api hostname")
    clock.advance(1.0)
    assert (len(listener.events), listener.replies[-1], late.raw) == (heard, "+OK events nixed", b"")
    assert not listener.ended
    clock.advance(0.3)
    assert late.ask("auth ClueCon") == "+OK accepted" and late.api("hostname") == "fs1.example"
    assert "CHANNEL_ANSWER" in [event["Event-Name"] for event in listener.heard()]


@pytest.mark.parametrize(("whose", "of_listener", "of_other"), [
    ("event", True, True), ("listening", True, False), ("commanding", False, True)])
def test_only_those_sockets_end_that_are_named(switch, clock, listener, play, whose, of_listener, of_other):
    other = Client(switch.address)
    play(f"{whose} sockets end at 0.2")
    clock.advance(0.5)
    assert (listener.ended, other.ended) == (of_listener, of_other)


def test_a_socket_that_is_reset_is_so_for_the_client(switch, clock, play):
    sock = socket.create_connection(switch.address)
    assert sock.recv(100).startswith(b"Content-Type: auth/request")
    play("event sockets reset at 0.2")
    clock.advance(0.2)
    with gevent.Timeout(5), pytest.raises(ConnectionResetError):
        sock.recv(100)
    sock.close()


def test_a_dead_socket_stays_and_carries_nothing_while_new_ones_do(switch, clock, listener, play):
    play("event sockets go dead at 0.2")
    clock.advance(0.2)
    heard = len(listener.events)
    listener.send("api hostname")
    clock.advance(1.0)
    assert (len(listener.events), listener.replies[-1], listener.ended) == (heard, "+OK events nixed", False)
    assert Client(switch.address).api("hostname") == "fs1.example"


def test_a_listener_that_is_slow_loses_events_and_then_its_connection(switch, clock, listener, play):
    play("event queues hold 10", "event sockets hang from 0.2 to 5.0")
    clock.advance(1.0)
    assert not listener.ended
    for _ in range(510):
        switch.api("version")
        switch.publish("CUSTOM", dict, None)
    clock.advance(0.1)
    assert listener.ended and not listener.notices


def test_events_come_twice_late_or_once_not_at_all(clock, listener, play):
    play("the next CHANNEL_ANSWER comes 1.0 late", "CALL_UPDATE comes twice", "the next CHANNEL_HANGUP is lost")
    clock.advance(4)
    events = listener.heard()
    names = [event["Event-Name"] for event in events]
    assert names.count("CHANNEL_ANSWER") == 2 and names.count("CALL_UPDATE") == 4 and names.count("CHANNEL_HANGUP") == 1
    late = [event for event in events if event["Event-Name"] == "CHANNEL_ANSWER"][1]
    others = [int(event["Event-Sequence"]) for event in events[:events.index(late)]]
    assert max(others) > int(late["Event-Sequence"]) and "variable_last_bridge_to" not in late
    first, second, *_ = (event for event in events if event["Event-Name"] == "CALL_UPDATE")
    assert first == second


def test_a_command_waits_answers_late_or_fails(switch, clock, play, tmp_path):
    call = play("the next uuid_record start fails", "the next uuid_setvar waits 2.0",
                "uuid_record mask answers 3.0 late")
    clock.advance(1)
    uuid, asked = call.legs[0].uuid, []
    switch.clock.sleep = lambda seconds: (asked.append((seconds, dict(call.legs[0].variables).get("x"))),
                                          gevent.sleep(0))
    start = f"uuid_record {uuid} start {tmp_path}/a.wav"
    assert [switch.api(start)[:4], len(call.legs[0].recordings)] == ["-ERR", 0]
    assert [switch.api(start)[:3], len(call.legs[0].recordings)] == ["+OK", 1]
    asked.clear()
    for value in ("1", "2"):
        assert switch.api(f"uuid_setvar {uuid} x {value}") == "+OK\n"
    assert switch.api(f"uuid_record {uuid} mask {tmp_path}/a.wav") == "+OK Success\n"
    assert asked == [(2.0, None), (3.0, "2")]

def test_event_sockets_end_and_calls_go_on(switch, clock, listener, play):
    call = play("event sockets end at 0.5")
    clock.advance(1)
    listener.wait_for_end()
    assert not listener.notices and call.legs[0].answered
    assert Client(switch.address).api(f"uuid_exists {call.legs[0].uuid}") == "true"


def test_a_database_that_lags_shows_neither_who_came_nor_who_went(switch, clock, play):
    call = play("show channels lags 0.3", hangs_up=1.0)
    assert json.loads(switch.api("show channels as json"))["row_count"] == 0
    assert switch.api(f"uuid_exists {call.legs[0].uuid}") == "true"
    clock.advance(1.1)
    assert json.loads(switch.api("show channels as json"))["row_count"] == 2
    assert switch.api(f"uuid_exists {call.legs[0].uuid}") == "false"


def test_an_event_that_is_lost_reaches_nobody_and_leaves_a_gap(clock, listener, play):
    play("CHANNEL_PROGRESS is lost")
    clock.advance(4)
    numbers = [int(event["Event-Sequence"]) for event in listener.heard()]
    assert not listener.heard("CHANNEL_PROGRESS") and numbers[-1] - numbers[0] > len(numbers) - 1


def test_the_first_start_waits_and_no_other_command(switch, clock, play, tmp_path):
    call = play("the first start waits 1.0")
    uuid, asked = call.legs[0].uuid, []
    switch.clock.sleep = lambda seconds: (asked.append(seconds), gevent.sleep(0))
    clock.advance(0.5)
    for _ in range(2):
        assert switch.api(f"uuid_record {uuid} start {tmp_path}/a.wav") == "+OK Success\n"
    assert asked == [1.0, 0.011, 0.011] and len(call.legs[0].recordings) == 1


def test_an_answer_that_waits_for_another_application_starts_what_is_armed_later(clock, listener, play, arm):
    call = play("the answer of 1001 waits 0.4")
    arm(call.legs[1])
    clock.advance(0.7)
    assert not listener.heard("RECORD_START") and call.legs[1].answered
    clock.advance(0.3)
    assert len(listener.heard("RECORD_START")) == 1


# Transfers

def test_a_recording_ends_with_the_leg_that_transfers_its_partner(switch, clock, play, arm):
    switch.phones.add(bob(user="1002"))
    call = play("1001 transfers to 1002 at 1.5")
    arm(call.legs[1])
    clock.advance(5)
    assert [leg.phone.user for leg in call.legs] == ["1000", "1001", "1002"] and call.wait(0)
    assert call.legs[1].recorded[0].ms == 980 and call.legs[2].answered


@pytest.mark.parametrize(("who", "to", "owner"), [("1001", "1002", 0), ("1000", "442071838750", 1)])
def test_a_recording_that_goes_along_is_found_by_no_command_but_stop_all(
        switch, clock, listener, play, arm, who, to, owner):
    switch.phones.add(bob(user="1002"))
    call = play(f"{who} transfers to {to} at 1.5, recordings go along", hangs_up=6.0)
    path = arm(call.legs[1 - owner])
    clock.advance(2)
    uuid = call.legs[owner].uuid
    for order in ("stop", "mask", "unmask", "pause", "resume"):
        assert switch.api(f"uuid_record {uuid} {order} {path}").startswith("-ERR Cannot")
    assert path in switch.api(f"uuid_buglist {uuid}") and call.legs[1 - owner].cause == "NORMAL_CLEARING"
    assert switch.api(f"uuid_record {uuid} stop all") == "+OK Success\n"
    clock.advance(0.1)
    (start,), (stop,) = listener.heard("RECORD_START"), listener.heard("RECORD_STOP")
    assert (start["Unique-ID"], stop["Unique-ID"]) == (call.legs[1 - owner].uuid, uuid)
    assert start["Record-File-Path"] == stop["Record-File-Path"] == path


def test_a_leg_whose_variable_says_so_takes_its_recordings_along(switch, clock, play, arm):
    switch.phones.add(pstn())
    call = play("1001 transfers to 442079460123 at 1.5")
    arm(call.legs[1])
    switch.api(f"uuid_setvar {call.legs[1].uuid} recording_follow_transfer true")
    clock.advance(1.9)
    assert call.legs[0].recordings and not call.legs[1].recordings
