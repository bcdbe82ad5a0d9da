"""The same events in the same order, leg by leg, as a real switch sent them."""

from pathlib import Path

import pytest
import yaml

from kazoo_rec.simulator.script import scripts_of

DOCUMENT = yaml.safe_load(Path(__file__).with_name("scenarios.yaml").read_text())
COMMANDS = {"kill": "uuid_kill {uuid}", "start": "uuid_record {uuid} start {directory}/{uuid}.wav 0 {{id=1}}",
            "arm 1": "uuid_setvar {uuid} execute_on_answer_1 record_session {directory}/1.wav",
            "arm 2": "uuid_setvar {uuid} execute_on_answer_2 record_session {directory}/2.wav +0 "
                     "{{RECORD_BRIDGE_REQ=true}}"}


def play(name, switch, directory):
    scenario = DOCUMENT["scenarios"][name]
    calls = [switch.play(script) for script in scripts_of({"phones": DOCUMENT["phones"], "calls": scenario["calls"]})]
    for command in scenario.get("commands", ()):
        switch.clock.advance(command["at"] - switch.clock.now)
        uuid = calls[0].legs[command["leg"]].uuid
        line = COMMANDS.get(command["send"], f"uuid_record {{uuid}} {command['send']}")
        reply = switch.api(line.format(uuid=uuid, directory=directory))
        assert reply.startswith("+OK")
    switch.clock.advance(12)
    assert all(call.wait(0) for call in calls)
    return scenario, calls


def short(event):
    name = event["Event-Name"].removeprefix("CHANNEL_")
    return f"EXECUTE({event['Application']})" if name == "EXECUTE_COMPLETE" else name


def legs_of(events):
    legs = {}
    for event in events:
        if "Unique-ID" in event:
            legs.setdefault(event["Unique-ID"], []).append(short(event))
    return legs


@pytest.mark.parametrize("name", DOCUMENT["scenarios"])
def test_a_call_sends_the_events_of_a_real_switch_in_their_order(name, switch, listener, tmp_path):
    scenario, _ = play(name, switch, tmp_path)
    assert [" ".join(names) for names in legs_of(listener.heard()).values()] == scenario["legs"]


@pytest.mark.parametrize("name", DOCUMENT["scenarios"])
def test_a_caller_comes_before_whom_he_calls_and_a_bridge_after_both(name, switch, listener, tmp_path):
    play(name, switch, tmp_path)
    created = []
    for event in listener.heard("CHANNEL_CREATE", "CHANNEL_BRIDGE"):
        if event["Event-Name"] == "CHANNEL_CREATE":
            assert event.get("variable_originator", event["Unique-ID"]) in [*created, event["Unique-ID"]]
            created.append(event["Unique-ID"])
        else:
            assert {event["Bridge-A-Unique-ID"], event["Bridge-B-Unique-ID"]} <= set(created)
