"""Calls that come back after a kill, as `sofia recover` brings them."""

from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import Client, alice, bob


def test_answered_legs_come_back_by_their_old_names_and_without_recordings(switch, clock, talk, tmp_path):
    a, b = talk.legs
    switch.api(f"uuid_record {a.uuid} start {tmp_path}/a.wav 0 {{RECORD_PRE_BUFFER_FRAMES=0}}")
    switch.api(f"uuid_setvar {b.uuid} execute_on_answer_x record_session {tmp_path}/b.wav")
    answered_us = a.profile.times["Channel-Answered"]
    clock.advance(1)
    switch.kill()
    switch.start()
    client = Client(switch.address)
    client.ask("event json CHANNEL_CREATE CHANNEL_ANSWER CHANNEL_BRIDGE RECORD_START CHANNEL_DESTROY")
    assert client.api("sofia recover") == "Recovered 2 call(s)\n"
    clock.advance(0.2)
    heard = client.heard()
    assert [(event["Event-Name"], event["Unique-ID"]) for event in heard] == [
        ("CHANNEL_CREATE", b.uuid), ("CHANNEL_CREATE", a.uuid), ("CHANNEL_BRIDGE", a.uuid)]
    assert heard[1]["Caller-Channel-Answered-Time"] == str(answered_us) and heard[1]["Answer-State"] == "answered"
    assert (heard[1]["variable_recovered"], heard[1]["Caller-Channel-Bridged-Time"]) == ("true", "0")
    assert client.api(f"uuid_buglist {a.uuid}") == "<media-bugs>\n</media-bugs>\n"
    switch.api(f"uuid_kill {b.uuid}")
    clock.advance(0.1)
    assert {event["Unique-ID"] for event in client.heard("CHANNEL_DESTROY")} == {a.uuid, b.uuid}
    assert client.api("sofia recover") == "No calls to recover.\n"


def test_legs_that_ring_do_not_come_back(switch, clock):
    switch.play(Script(alice(), (bob(answers=None),)))
    clock.advance(0.2)
    switch.kill()
    switch.start()
    assert switch.api("sofia recover") == "No calls to recover.\n"
