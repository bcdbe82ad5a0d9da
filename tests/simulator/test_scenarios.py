"""The simulator beside the traces of a real switch: the same events, headers and replies.

What is known to differ stands, with its reason, in traced.py (events), headers.yaml and UNLIKE (replies).
"""

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from kazoo_rec.simulator.script import scripts_of
from tests.simulator.traced import CLOSE_S, DOCUMENT, Traced, names

TRACED, UNTRACED = DOCUMENT["traced"], DOCUMENT["untraced"]
HEADERS = yaml.safe_load(Path(__file__).with_name("headers.yaml").read_text())

#: Beginnings of commands whose replies are not the trace's to the byte, and why.
UNLIKE = {
    "api status": "times, counts and version are another switch's",
    "api global_getvar core_uuid": "another core",
    "api uuid_dump": "compared header by header, as events are",
    "api show registrations": "of the trace's five phones only those that a script names; tokens and times differ",
    "api show calls": "not simulated", "api show bridged_calls": "not simulated",
    "api show detailed_calls": "not simulated", "api json": "not simulated", "api sofia": "not simulated",
    "api conference 3500-acme.example xml_list": "not simulated; json_list says the same",
}


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """Plays each scenario once."""
    return cache(lambda name: Traced(name, tmp_path_factory.mktemp(name) / "recordings"))


def executed(event):
    name = event["Event-Name"].removeprefix("CHANNEL_")
    return f"EXECUTE({event['Application']})" if name == "EXECUTE_COMPLETE" else name


# Events

@pytest.mark.parametrize("name", TRACED)
def test_every_leg_sends_the_events_of_the_trace_in_their_order(traced, name):
    played = traced(name)
    assert [names(leg) for leg in played.simulated] == [names(leg) for leg in played.real]
    assert names(played.others[1]) == names(played.others[0])


@pytest.mark.parametrize("name", TRACED)
def test_every_event_comes_when_it_came_in_the_trace(traced, name):
    played = traced(name)
    late = [(event["Event-Name"], played.seconds(real), played.seconds(event))
            for simulated, leg in zip(played.simulated, played.real, strict=True)
            for event, real in zip(simulated, leg, strict=True)
            if abs(played.seconds(event) - played.seconds(real)) > CLOSE_S]
    assert not late


@pytest.mark.parametrize("name", [name for name in TRACED if "legs" in TRACED[name]])
def test_applications_end_between_the_events_as_in_the_whole_trace(traced, name):
    assert [" ".join(executed(event) for event in leg) for leg in traced(name).whole] == TRACED[name]["legs"]


@pytest.mark.parametrize("name", [name for name in TRACED if "controller" not in TRACED[name]])
def test_a_caller_comes_before_whom_he_calls_and_a_bridge_after_both(traced, name):
    created, bridges = [], 0
    for event in sorted((event for leg in traced(name).simulated for event in leg), key=order):
        if event["Event-Name"] == "CHANNEL_CREATE":
            assert event.get("variable_originator", event["Unique-ID"]) in [*created, event["Unique-ID"]]
            created.append(event["Unique-ID"])
        elif event["Event-Name"] == "CHANNEL_BRIDGE":
            bridges += 1
            assert {event["Bridge-A-Unique-ID"], event["Bridge-B-Unique-ID"]} <= set(created)
    assert bridges == sum(names(leg).count("BRIDGE") for leg in traced(name).real)


def order(event):
    return int(event["Event-Date-Timestamp"]), int(event["Event-Sequence"])


def test_early_media_is_bridged_1_2_seconds_before_the_answer(traced):
    played = traced("onnet_to_offnet")
    for leg in (played.real[0], played.simulated[0]):
        when = {event["Event-Name"]: played.seconds(event) for event in leg}
        assert when["CHANNEL_ANSWER"] - when["CHANNEL_BRIDGE"] == pytest.approx(1.22, abs=0.04)


@pytest.mark.parametrize("name", UNTRACED)
def test_further_calls_send_what_a_real_switch_sent_for_them(name, switch, listener):
    scenario, legs = UNTRACED[name], {}
    calls = [switch.play(script) for script in scripts_of({"phones": DOCUMENT["phones"], "calls": scenario["calls"]})]
    for command in scenario.get("commands", ()):
        switch.clock.advance(command["at"] - switch.clock.now)
        assert switch.api(f"uuid_kill {calls[0].legs[command['leg']].uuid}") == "+OK\n"
    switch.clock.advance(12)
    assert all(call.wait(0) for call in calls)
    for event in listener.heard():
        legs.setdefault(event["Unique-ID"], []).append(executed(event))
    assert [" ".join(leg) for leg in legs.values()] == scenario["legs"]


# Headers

def differences(played, real, simulated):
    """The headers of headers.yaml that are not the same in two events."""
    compared = set(HEADERS["equal"])
    compared |= {header for header in real | simulated if header.startswith(tuple(HEADERS["equal_beginnings"]))}
    found = {header for header in compared
             if played.plain(real.get(header)) != played.plain(simulated.get(header))}
    return found | {header for header in HEADERS["present"]
                    if _kind(real.get(header)) != _kind(simulated.get(header))}


def _kind(value):
    return value and ("zero" if value == "0" else "some")


def is_known(scenario, event, header):
    return any(_covers(known, scenario, event, header) for known in HEADERS["differences"])


def _covers(known, scenario, event, header):
    return (header in known["headers"] and scenario in known.get("in", [scenario])
            and event in known.get("events", [event]))


def found_differences(played, name):
    return [(name, real["Event-Name"], header)
            for leg, simulated in (*zip(played.real, played.simulated, strict=True), played.others)
            for real, event in zip(leg, simulated, strict=True) for header in differences(played, real, event)]


@pytest.mark.parametrize("name", TRACED)
def test_headers_are_the_traces(traced, name):
    assert not [found for found in found_differences(traced(name), name) if not is_known(*found)]


def test_every_known_difference_is_still_one(traced):
    found = {each for name in TRACED for each in found_differences(traced(name), name)}
    assert not [known["why"] for known in HEADERS["differences"] if not any(_covers(known, *each) for each in found)]


def test_every_header_that_the_engine_reads_is_compared():
    source = "".join(path.read_text() for path in Path("kazoo_rec/calls").glob("*.py"))
    read = {f"variable_{name}" for name in re.findall(r'variable\("([^"]+)"', source)}
    read |= set(re.findall(r'get\("([A-Z][A-Za-z]+-[A-Za-z-]+)"', source))
    listed = {*HEADERS["equal"], *HEADERS["present"], *HEADERS["not_in_traces"], *HEADERS["not_of_calls"]}
    assert read and not [header for header in read
                         if header not in listed and not header.startswith(tuple(HEADERS["equal_beginnings"]))]


@pytest.mark.parametrize("name", ["onnet_to_onnet", "onnet_to_offnet", "offnet_to_onnet", "ring_group"])
def test_what_the_traces_leave_out_is_there_where_the_switch_has_it(traced, name):
    for leg in traced(name).simulated:
        first = {event["Event-Name"]: event for event in reversed(leg)}
        side = "called" if "variable_originator" in first["CHANNEL_CREATE"] else "caller"
        for moment in ("CHANNEL_CREATE", "CHANNEL_ANSWER"):
            if moment in first:
                assert {header: header in first[moment] for header in HEADERS["not_in_traces"]} == {
                    header: f"{side} {moment}" in where for header, where in HEADERS["not_in_traces"].items()}


# Replies

@pytest.mark.parametrize("name", TRACED)
def test_commands_are_answered_as_in_the_trace_to_the_byte(traced, name):
    assert not [(command, real, simulated) for command, real, simulated in traced(name).replies
                if real != simulated and not command.startswith(tuple(UNLIKE))]


def test_some_twenty_commands_and_more_are_compared(traced):
    same = {re.sub(r"[0-9a-f-]{36}|/\S+", "…", command) for name in TRACED
            for command, real, simulated in traced(name).replies if real == simulated}
    assert len(same) > 80 and {word for line in same for word in line.split()[:2]} >= {
        "uuid_record", "uuid_setvar", "uuid_setvar_multi", "uuid_getvar", "uuid_buglist", "uuid_exists", "uuid_kill",
        "uuid_hold", "show", "event", "nixevent", "bgapi", "sendmsg", "linger", "auth"}


def test_every_reply_that_is_known_to_differ_still_does(traced):
    differ = [command for name in TRACED for command, real, simulated in traced(name).replies if real != simulated]
    assert not [known for known in UNLIKE if not any(command.startswith(known) for command in differ)]


def test_a_program_is_told_of_the_call_and_of_its_end_as_in_the_trace(traced):
    played = traced("outbound_socket")
    for real, simulated in played.introductions:
        assert not differences(played, real, simulated)
        assert not [header for header in real if header not in simulated and not header.startswith("variable_")]
    assert len(played.introductions) == 4
    assert played.farewells[1] == played.farewells[0]


@pytest.mark.parametrize("form", [" json", ""])
def test_a_dump_has_the_headers_of_the_trace(traced, form):
    played, dumps = traced("reconnect_midcall"), 0
    for command, real, simulated in played.replies:
        if re.fullmatch(rf"api uuid_dump \S+{form}", command) and real[0] != "-":
            dumps += 1
            found = differences(played, _headers(real), _headers(simulated))
            assert not [header for header in found if not is_known("reconnect_midcall", "CHANNEL_DATA", header)]
    assert dumps == (4 if form else 1)


def _headers(dump):
    if dump.startswith("{"):
        return json.loads(dump)
    return {name: unquote(value) for name, value in (line.split(": ", 1) for line in dump.splitlines())}
