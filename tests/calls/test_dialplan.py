"""The dialplan's event `kazoo_rec::record_call`: as record_call's data, for the leg that fires it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kazoo_rec.calls.tracker import EVENTS, SUBCLASSES
from kazoo_rec.documents.schema import keys
from kazoo_rec.switch import commands

from .flows import Flows


class Dialplan(Flows):
    def fires(self, uuid="a", **said):
        return self.event("CUSTOM", uuid, **{"Event-Subclass": "kazoo_rec::record_call", "Channel-Name": "sofia/x",
                                             "variable_label": "the channel's", **said})


def test_the_event_is_subscribed_to():
    assert "kazoo_rec::record_call" in commands.subscribe(EVENTS, SUBCLASSES).split()


def test_start_records_the_leg_that_fires_it_with_the_settings_of_the_event():
    one = Dialplan().talks()
    one.fires(action="start", label="sales", url="https://files.example/", format="wav", time_limit="600",
              record_min_sec="2", channels="dual", media_name="m", record_on_bridge="true", method="post")
    row = one.row()
    assert (row["rule"], row["origin"], row["label"], row["account_id"], row["call_id"], row["state"]) == (
        "event", "event : sales", "sales", "acme", "a", "recording")
    assert row["reason"] == "The dialplan had it recorded."
    said = {key: row["settings"][key] for key, who in row["settings_from"].items() if who == "event"}
    assert said == {"label": "sales", "url": "https://files.example/", "format": "wav", "time_limit": 600,
                    "record_min_sec": 2, "channels": "dual", "media_name": "m", "record_on_bridge": True,
                    "method": "post"}


def test_keys_in_the_manner_of_headers_are_the_same_keys():
    one = Dialplan().talks()
    one.fires(**{"Action": "start", "Time-Limit": "600", "Media-Name": "m", "FORMAT": "wav", "url": ""})
    said = one.row()["settings"]
    assert (said["time_limit"], said["media_name"], said["format"], said["url"]) == (600, "m", "wav", None)


def test_a_callee_that_fires_it_is_recorded_itself():
    one = Dialplan().phone_calls("a", "1000").rings("b", "a", "1001")
    one.fires("b", action="start")
    assert (one.row()["call_id"], one.row()["leg"], one.row()["state"]) == ("b", "B", "armed")
    one.answer("b")
    assert one.row()["state"] == "recording"


def test_without_a_label_it_is_for_what_the_dialplan_began_and_nobody_elses():
    one = Dialplan(records=True).talks()
    one.begin(label="flow")
    one.fires(action="start").fires(action="start", label="qa")
    for action, kind in (("mask", "mask"), ("pause", "pause")):
        one.fires(action=action)
        spans = {row["rule"]: [span["kind"] for span in row["spans"] if span["to_ms"] is None]
                 for row in one.rows.by_id.values()}
        assert kind in spans["event"] and not spans["callflow"] and not spans["account.inbound"]
        one.fires(action={"mask": "unmask", "pause": "resume"}[action])
    assert all(span["to_ms"] is not None for row in one.rows.by_id.values() for span in row["spans"])
    one.fires(action="stop", label="qa")
    assert one.states("event") == ["recording", "stopped"]
    one.fires(action="stop")
    assert one.states("event") == ["stopped", "stopped"]
    assert one.states("callflow") == one.states("account.inbound") == ["recording"]


def test_orders_of_a_leg_are_carried_out_in_their_order_and_no_event_waits():
    one = Dialplan().talks()
    with one.slow_switch():
        one.fires(action="start").fires(action="mask").fires(action="stop")
        assert not one.rows.by_id
    assert one.states() == ["stopped"] and one.row()["spans"][0]["kind"] == "mask"
    one.fires(action="start")
    assert one.states() == ["stopped", "recording"]


@pytest.mark.parametrize(("said", "path"), [
    ({}, "action"), ({"action": "begin"}, "action"), ({"action": "start", "format": "ogg"}, "format"),
    ({"action": "start", "time_limit": "5;secret"}, "time_limit"),
    ({"action": "start", "url": "ftp://ann:secret@files.example/"}, "url"),
    ({"action": "start", "url": "https://sealed:00000000.secret@files.example/"}, "url"),
    ({"action": "start", "status_callback": "https://sealed:00000000.secret@files.example/"}, "status_callback"),
    ({"action": "start", "label": "x" * 256}, "label")])
def test_what_breaks_the_schema_is_one_line_and_is_ignored(said, path):
    one = Dialplan().talks()
    with capture_logs() as lines:
        one.fires(**said)
    (line,) = [line for line in lines if line["log_level"] == "warning"]
    assert line["event"] == "an order of the dialplan is not understood" and line["faults"].startswith(f"{path}: ")
    assert "secret" not in str(lines)
    assert not one.rows.by_id and not one.switch.commands


@given(st.dictionaries(st.sampled_from(sorted(keys("record_call"))), st.text(
    alphabet=st.characters() | st.sampled_from("\r\n\x1b{}$`;'\"\udcff"), max_size=300)))
def test_whatever_an_event_holds_no_line_of_the_log_and_no_command_is_its_own(said):
    one = Dialplan().talks()
    with capture_logs() as lines:
        one.fires(**said)
    for line in lines:
        assert all(str(value).isprintable() for value in line.values())
    for command in one.switch.commands:
        assert command.isascii() and command.isprintable()
    for row in one.rows.by_id.values():
        json.dumps(row).encode()
        row["origin"].encode()


def test_a_leg_that_is_not_there_and_one_that_is_nobodys_are_told_and_left(monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.actions.LEG_WITHIN_S", 0)
    one = Dialplan().carrier_calls("x1", "15550009999").answer("x1")
    for leg in ("x", "x1"):
        with capture_logs() as lines:
            one.fires(leg, action="start")
        assert "an order of the dialplan was not carried out" in [line["event"] for line in lines]
    assert not one.rows.by_id


def test_a_module_that_is_skipped_does_nothing():
    one = Dialplan().talks().fires(action="start", skip_module="true")
    assert not one.rows.by_id


def test_the_event_as_a_switch_sent_it():
    """FreeSWITCH 1.10.12, `event` with keys that are the action's, keys that are not, and the channel's headers."""
    one = Dialplan().talks()
    one.event("CUSTOM", "a", **{
        "Event-Subclass": "kazoo_rec::record_call", "Event-Calling-File": "mod_dptools.c",
        "Event-Calling-Function": "event_function", "Action": "start", "Account-ID": "acc-acme",
        "Media-Name": "64df8825-d224-461a-81c5-1690a9906a1e.mp3", "Time-Limit": "600", "Format": "mp3",
        "Record-On": "answer", "Note": "hello world", "Channel-State": "CS_EXECUTE", "Call-Direction": "inbound",
        "Answer-State": "answered", "Channel-Read-Codec-Name": "PCMU", "Caller-Destination-Number": "7001",
        "variable_direction": "inbound", "variable_current_application": "event"})
    row = one.row()
    assert (row["account_id"], row["state"], row["settings"]["media_name"], row["settings"]["time_limit"]) == (
        "acme", "recording", "64df8825-d224-461a-81c5-1690a9906a1e.mp3", 600)


def test_an_event_that_is_of_no_leg_is_left():
    """`sendevent` from somewhere, as a switch sent it on: it has no Unique-ID."""
    one = Dialplan().talks()
    with capture_logs() as lines:
        one.fires("", Action="stop", **{"Call-ID": "nobody", "Multi": "line%0aone"})
    assert [line["event"] for line in lines] == ["an order of the dialplan is of no leg"]
    assert not one.rows.by_id


def test_who_only_observes_records_nothing():
    one = Dialplan(observe=True).talks().fires(action="start").fires(action="mask").fires(action="stop")
    assert not one.rows.by_id and not one.switch.commands
