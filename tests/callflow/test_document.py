"""What a callflow document may say: everything that is taken can be said to the switch, every fault has its path."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.callflow.actions import ACTIONS
from kazoo_rec.documents.schema import check
from kazoo_rec.errors import CommandRefused
from kazoo_rec.switch import commands


def faults(flow, **more):
    return {fault["path"]: fault["message"] for fault in check("callflow", {"flow": flow, **more})[1]}


def play(sound):
    return {"module": "play", "data": {"id": sound}}


@pytest.mark.parametrize(("module", "data", "path"), [
    ("callflow", {}, "id"), ("callflow", {"id": "../x"}, "id"),
    ("conference", {"id": "a b"}, "id"), ("conference", {"id": "a", "moderator": "maybe"}, "moderator"),
    ("device", {}, "id"), ("device", {"id": "d", "timeout": 0}, "timeout"), ("user", {}, "id"),
    ("user", {"id": "u", "delay": -1}, "delay"),
    ("menu", {"media": {"greeting": "/etc/passwd"}}, "media.greeting"), ("menu", {"retries": 0}, "retries"),
    ("menu", {"timeout": "soon"}, "timeout"), ("menu", {"interdigit_timeout": 0}, "interdigit_timeout"),
    ("offnet", {"to_did": "1,2"}, "to_did"), ("resources", {"to_did": "12\n"}, "to_did"),
    ("resources", {"timeout": 0}, "timeout"),
    ("play", {}, "id"), ("play", {"id": "../a.wav"}, "id"), ("play", {"id": "a.wav\n"}, "id"),
    ("play", {"id": "tone_stream://path=/etc/passwd"}, "id"), ("play", {"id": "https://x.example/a.wav"}, "id"),
    ("play", {"id": "a", "answer": 3}, "answer"), ("play", {"id": "a", "terminators": ["x"]}, "terminators.0"),
    ("response", {"code": 200}, "code"), ("response", {"message": "a\r\nVia: x"}, "message"),
    ("response", {"media": "$${x}"}, "media"),
    ("ring_group", {}, "endpoints"), ("ring_group", {"endpoints": []}, "endpoints"),
    ("ring_group", {"endpoints": [{"id": "a"}]}, "endpoints.0.endpoint_type"),
    ("ring_group", {"endpoints": [{"id": "a", "endpoint_type": "user", "timeout": 0}]}, "endpoints.0.timeout"),
    ("ring_group", {"endpoints": [{"id": "a", "endpoint_type": "user"}], "repeats": 0}, "repeats"),
    ("ring_group", {"endpoints": [{"id": "a", "endpoint_type": "user"}], "strategy": "all"}, "strategy"),
    ("set_variables", {"custom_application_vars": {"a-b": "x"}}, "custom_application_vars"),
    ("set_variables", {"custom_application_vars": {"a": "${x}"}}, "custom_application_vars.a"),
    ("set_variables", {"custom_application_vars": {"a": ["x"]}}, "custom_application_vars.a"),
    ("sleep", {"duration": -1}, "duration"), ("sleep", {"unit": "y"}, "unit"),
    ("record_call", {"action": "begin"}, "action"), ("record_caller", {"time_limit": 1}, "time_limit")])
def test_data_of_each_action_is_checked_wherever_it_is(module, data, path):
    action = {"module": module, "data": data}
    assert set(faults(action)) == {f"flow.data.{path}"}
    inside = {"module": "x", "children": {"_": {"module": "y", "children": {"2": action}}}}
    assert set(faults(inside)) == {f"flow.children._.children.2.data.{path}"}


@pytest.mark.parametrize("module", sorted(ACTIONS))
def test_every_action_of_ours_has_a_schema(module):
    assert any(path.startswith("flow.data") for path in faults({"module": module, "data": {"skip_module": "perhaps"}}))


def test_actions_that_are_not_ours_and_keys_of_kazoo_s_are_taken():
    assert not faults({"module": "voicemail", "data": {"id": 3}}, metadata={"x": 1})
    assert not faults({"module": "user", "data": {"id": "u", "fail_on_single_reject": True}, "skip_module": True})


@pytest.mark.parametrize("module", ["record_call", "conference"])
def test_a_recording_that_an_action_begins_is_asked_for_as_one_of_a_document_is(module):
    more = {"action": "start"} if module == "record_call" else {"id": "a", "record": "all"}
    said = {"format": "ogg", "time_limit": 1, "record_min_sec": -1, "record_sample_rate": 1, "url": "x", "method": "x",
            "channels": "x", "track": "x"}
    assert set(faults({"module": module, "data": {**more, **said}})) == {f"flow.data.{key}" for key in said}


@pytest.mark.parametrize(("children", "message"), [
    ({"": {"module": "x"}}, "named by a key"), ({"1": {}}, "is missing")])
def test_a_fault_of_children_is_told(children, message):
    assert message in str(faults({"module": "menu", "children": children}))


@pytest.mark.parametrize("sound", [
    "ivr/8000/welcome.wav", "message", "tone_stream://%(200,100,440)", "tone_stream://%(2000,4000,440,480);loops=3",
    "tone_stream://%(200,100,440);%(200,100,880.5)", "silence_stream://500", "local_stream://moh"])
def test_sounds_that_are_taken(sound):
    assert not faults(play(sound))
    assert sound == "message" or commands.play(sound).argument == sound


@given(st.text(st.sampled_from([*string.printable, *"é٣\u2028"]), max_size=12)
       | st.from_regex(r"tone_stream://%\([0-9,.]{1,9}\);?(loops=[0-9-]{1,3})?"))
def test_a_sound_is_one_to_the_schema_exactly_where_it_is_one_to_the_switch(sound):
    try:
        commands.play(sound)
        plays = True
    except CommandRefused:
        plays = False
    assert (not faults(play(sound))) == plays
