"""Recordings that actions begin, end and silence; what rules and people began is none of theirs."""

import re

import gevent
import pytest

from kazoo_rec.calls.control import Control
from kazoo_rec.documents.schema import check, keys
from kazoo_rec.errors import CommandFailed, CommandTimeout, NotConnected, WrongState

from .fakes import ROOT
from .flows import Flows
from .test_recovery import Site

#: Every key of the action's table, with what it becomes.
SAID = {"format": "wav", "label": "sales", "media_name": "monday", "method": "post", "record_min_sec": 3,
        "record_on_answer": True, "record_on_bridge": True, "record_sample_rate": 16000, "time_limit": 600,
        "url": "https://files.example/a", "channels": "dual", "track": "inbound", "should_follow_transfer": False,
        "announce": {"file": "ivr/consent.wav", "to": "party"}, "status_callback": "https://files.example/told"}


@pytest.mark.parametrize(("key", "value"), SAID.items(), ids=SAID)
def test_each_key_of_the_action_is_in_the_row_with_who_said_it(key, value):
    data, faults = check("record_call", {"action": "start", key: value})
    one = Flows().talks()
    one.begin(**data)
    assert not faults and one.row()["settings"][key] == value and one.row()["settings_from"][key] == "callflow"


def test_what_the_action_does_not_say_is_kazoos_default():
    one = Flows().talks()
    one.begin()
    said, origin = one.row()["settings"], one.row()["settings_from"]
    assert (said["format"], said["method"], said["time_limit"], said["should_follow_transfer"]) == (
        "mp3", "put", 3600, True)
    assert said["url"] is None and said["announce"] is None and set(origin.values()) == {"default"}
    assert keys("record_call") - {"action", "skip_module", "origin"} == SAID.keys()


def test_a_leg_that_talks_is_recorded_from_now_on_under_the_label():
    one = Flows().talks()
    told = one.begin(label="sales", time_limit=600)
    row = one.row()
    assert (told["id"], told["state"], told["rule"]) == (row["id"], "recording", "callflow") == (
        row["id"], row["state"], row["rule"])
    assert (row["origin"], row["label"], row["leg"], row["account_id"]) == ("callflow : sales", "sales", "A", "acme")
    assert row["reason"] == "Callflow main had it recorded."
    assert re.search(r"uuid_record a start /rec/acme/\d+/\S+\.wav 601 ", one.switch.of(" start ")[0])


@pytest.mark.parametrize("settings", [{}, {"record_on_answer": True}, {"record_on_bridge": True}])
def test_a_leg_that_rings_is_armed_and_nothing_is_started(settings):
    one = Flows().phone_calls("a", "1000")
    told = one.begin(**settings)
    assert told["state"] == "armed" and list(one.armed("a")) == [told["id"]] and not one.switch.of("uuid_record")
    bridged = "RECORD_BRIDGE_REQ=true" in one.switch.of("uuid_setvar_multi")[0]
    assert bridged == ("record_on_bridge" in settings)
    one.answer("a")
    assert one.row()["state"] == "recording"


def test_several_recordings_of_a_leg_have_each_their_own_file_and_url():
    one = Flows().talks()
    ids = [one.begin(url=f"https://files.example/{number}")["id"] for number in range(3)]
    rows = [one.rows.by_id[id] for id in ids]
    assert len({row["master"] for row in rows}) == 3
    assert [row["settings"]["url"][-1] for row in rows] == ["0", "1", "2"]
    one.end(ids=[ids[1]])
    assert one.states() == ["recording", "stopped", "recording"]


def test_stop_is_for_what_the_flow_began_or_the_label_names_and_nothing_else():
    one = Flows(records=True).talks()
    mine, other = one.begin()["id"], one.begin(label="qa")["id"]
    assert one.end() == [] == one.end(label="nobody's") == one.end(ids=[one.row("account.inbound")["id"]])
    assert one.end(ids=[mine], account="globex") == []
    assert [told["id"] for told in one.end(label="qa")] == [other]
    assert [told["id"] for told in one.end(ids=[mine])] == [mine]
    assert one.states("callflow") == ["stopped", "stopped"] and one.row("account.inbound")["state"] == "recording"
    assert one.end(ids=[mine, other]) == []


def test_a_label_that_says_nothing_names_nothing():
    one = Flows().talks()
    one.begin()
    assert one.end(label="") == [] == one.end(label=None)
    assert one.row()["origin"] == "callflow"


def test_stop_before_the_answer_disarms_it():
    one = Flows().phone_calls("a", "1000")
    (told,) = one.end(ids=[one.begin()["id"]])
    assert told["state"] == "discarded" and not one.armed("a")
    assert one.row()["state_reason"] == "Callflow main stopped it before it began"


@pytest.mark.parametrize(("begin", "end", "state"), [("mask", "unmask", "recording"), ("pause", "resume", "paused")])
def test_an_action_silences_what_the_flow_began_and_rules_go_on_hearing(begin, end, state):
    one = Flows(records=True).talks().after(1000)
    mine = one.begin()["id"]
    one.change(begin, ids=[mine])
    row = one.row("callflow")
    assert row["state"] == state and row["spans"] == [
        {"kind": begin, "from_ms": one.epoch_ms, "to_ms": None, "by": "callflow"}]
    assert [command.split()[4] for command in one.switch.of(f" {begin} ")] == [f"{ROOT}/{row['master']}"]
    one.after(2000).change(end, ids=[mine])
    (span,) = one.row("callflow")["spans"]
    assert span["to_ms"] - span["from_ms"] == 2000 and one.row("callflow")["state"] == "recording"
    assert one.row("account.inbound")["spans"] == []
    assert one.change(begin, label="nobody's") == []


def test_what_is_masked_before_it_begins_begins_with_the_unmasking_and_nothing_of_before_is_heard():
    one = Flows().phone_calls("a", "1000")
    one.begin(label="x")
    assert [told["masked"] for told in one.change("mask", label="x")] == [True] and not one.armed("a")
    one.answer("a").after(1000)
    assert one.row()["state"] == "armed" and not one.switch.of(" start ")
    one.change("unmask", label="x")
    one.after(300)
    assert len(one.switch.of(" start ")) == 1


def test_what_a_rule_begins_while_a_flow_is_masked_is_not_masked():
    one = Flows().talks()
    one.change("mask", ids=[one.begin()["id"]])
    assert one.begin()["masked"] is False
    one.control.order("acme", "a", "start", {}, "token t")
    assert one.row("api")["spans"] == []


def test_what_a_flow_begins_while_people_have_the_leg_masked_is_masked_until_they_unmask_it():
    one = Flows(records=True).talks()
    one.control.order("acme", "a", "mask", {}, "token t")
    told = one.begin()
    assert told["masked"] and told["state"] == "armed" and not one.switch.of(" start ")
    one.change("unmask", ids=[told["id"]])
    assert one.row("callflow")["spans"][0]["to_ms"] is None
    one.control.order("acme", "a", "unmask", {}, "token t")
    one.after(250)
    assert one.row("callflow")["state"] == "recording"


def test_people_take_a_mask_of_a_flow_over():
    one = Flows().talks()
    mine = one.begin()["id"]
    one.change("mask", ids=[mine])
    one.control.order("acme", "a", "mask", {}, "token t")
    one.change("unmask", ids=[mine])
    assert one.row()["spans"][0]["to_ms"] is None and not one.switch.of(" unmask ")
    one.control.order("acme", "a", "unmask", {}, "token t")
    assert one.row()["spans"][0]["to_ms"] is not None


def test_an_order_to_record_is_not_met_by_what_a_flow_records():
    one = Flows().talks()
    one.begin()
    one.control.order("acme", "a", "start", {}, "token t")
    assert one.states() == ["recording", "recording"]
    one.control.order("acme", "a", "stop", {}, "token t")
    assert one.states() == ["stopped", "stopped"]


def test_a_flow_does_not_keep_a_rule_from_recording():
    one = Flows(records=True).phone_calls("a", "1000")
    one.begin()
    one.rings("b", "a", "1001").answer("b").answer("a").bridge("a", "b")
    assert one.recordings() == {("callflow", "a"): "recording", ("account.inbound", "a"): "recording"}


def test_a_leg_that_is_heard_of_a_moment_later_is_waited_for():
    one = Flows()
    begun = gevent.spawn(one.begin)
    gevent.idle()
    one.phone_calls("a", "1000")
    assert begun.get(timeout=5)["state"] == "armed"


def test_a_leg_that_is_not_there_is_a_wrong_state_and_one_that_may_be_is_not(monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.actions.LEG_WITHIN_S", 0)
    one = Flows()
    with pytest.raises(WrongState, match="no such leg"):
        one.begin()
    one.knows_all = False
    with pytest.raises(NotConnected):
        one.end(label="x")
    one.create("l", name="loopback/x-a")
    with pytest.raises(WrongState, match="loopback"):
        one.change("mask", uuid="l")
    assert not one.rows.by_id


def test_a_leg_without_media_is_a_wrong_state():
    one = Flows().talks()
    one.tracker.leg("a").bypassed = True
    with pytest.raises(WrongState, match="no media"):
        one.begin()
    assert not one.rows.by_id


def test_what_the_switch_did_not_do_is_told():
    one = Flows().talks()
    one.switch.replies = {" start ": CommandFailed("refused", "-ERR Cannot record session!")}
    with pytest.raises(WrongState):
        one.begin()


def test_one_that_begins_late_is_known_to_who_began_it_and_can_be_ended(monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.execution.COMMAND_WITHIN_S", 0.01)
    one = Flows().talks()
    one.switch.replies = {" start ": CommandTimeout("no reply")}
    told = one.begin()
    assert told["state"] == "armed"
    one.end(ids=[told["id"]])
    one.record_start("a", told["id"], f"{ROOT}/{one.row()['master'].replace('.wav', '.f.wav')}")
    assert len(one.switch.of(" stop ")) == 1 and one.states() == ["discarded"]


def test_one_that_a_transfer_takes_along_is_the_flows_all_the_same_when_it_goes_on():
    one = Flows().talks().after(1000)
    mine = one.begin()["id"]
    one.event("MEDIA_BUG_START", "b", **{"Media-Bug-Target": f"{ROOT}/{one.row()['master']}"}).after(250)
    assert one.states() == ["stopped", "recording"]
    (told,) = one.end(ids=[mine])
    assert told["id"] != mine and one.states() == ["stopped", "stopped"]


def test_text_that_no_database_takes_becomes_text():
    one = Flows().talks()
    one.begin(label="a\udcff", media_name="b\udcff")
    assert one.row()["origin"] == "callflow : a?" and one.row()["settings"]["media_name"] == "b?"


@pytest.mark.parametrize("rule", ["callflow", "event"])
def test_an_engine_after_this_one_has_them_go_on(monkeypatch, rule):
    one = Flows(records=True).talks()
    masked, plain = one.begin(rule=rule, label="x", should_follow_transfer=False)["id"], one.begin(rule=rule)["id"]
    one.change("mask", label="x")
    site = Site(monkeypatch, [("account", "acme", "acme", {"realm": "acme.example", "call_recording": {
        "account": {"any": {"any": {"enabled": True}}}}})], one.rows)
    site.leg("a", ago_ms=3000, sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example")
    site.running = {"a": [f"{ROOT}/{row['master']}" for row in one.rows.by_id.values()]}
    site.sweep()
    path = f"{ROOT}/{one.rows.by_id[masked]['master']}"
    assert one.states() == ["recording"] * 3
    assert site.scene.switch.of("uuid_record") == [f"api uuid_record a mask {path}"]
    control = Control(site.scene.tracker, site.recorder, site.answer, site.files, lambda: site.scene.epoch_ms,
                      lambda: site.scene.now, lambda: True)
    (told,) = control.change("acme", "a", "unmask", label="x", who="The dialplan")
    assert told["id"] == masked and one.rows.by_id[masked]["spans"][0]["to_ms"] is not None
    site.scene.hang_up("a")
    assert one.states() == ["stopped"] * 3 and one.rows.by_id[plain]["rule"] == rule


def test_of_one_that_was_armed_before_a_restart_there_is_still_one(monkeypatch):
    one = Flows().phone_calls("a", "1000")
    id = one.begin()["id"]
    site = Site(monkeypatch, [("account", "acme", "acme", {"realm": "acme.example"})], one.rows)
    site.leg("a", sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example",
             **{f"execute_on_answer_{id}": "record_session"}).sweep()
    assert one.states() == ["armed"] and id in site.recorder


@pytest.mark.parametrize("disarmed", [False, True])
def test_what_is_masked_after_it_began_unheard_is_found_and_masked(monkeypatch, disarmed):
    site = Site(monkeypatch, [("account", "acme", "acme", {"realm": "acme.example"})])
    control = Control(site.scene.tracker, site.recorder, site.answer, site.files, lambda: site.scene.epoch_ms,
                      lambda: site.scene.now, lambda uuid: True)
    site.scene.phone_calls("a", "1000")
    id = control.begin("acme", "a", {}, rule="callflow", who="Callflow main")["id"]
    path = site.scene.armed("a")[id]
    site.recovery.lost()
    site.leg("a", ago_ms=100, sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example",
             **({} if disarmed else {f"execute_on_answer_{id}": "record_session"}))
    site.running = {"a": [path]}
    (told,) = control.change("acme", "a", "mask", ids=[id], who="Callflow main")
    assert told["masked"]
    site.sweep().scene.after(250)
    assert f"api uuid_record a mask {path}" in site.asked and not site.scene.switch.of(" start ")
    row = site.scene.rows.by_id[id]
    assert row["state"] == "recording" and row["started_ms"] and row["spans"][0]["to_ms"] is None


def test_what_waits_for_the_end_of_its_mask_is_looked_for_once_a_second():
    one = Flows().phone_calls("a", "1000")
    one.begin(label="x")
    one.change("mask", label="x")
    one.answer("a")
    for _ in range(40):
        one.after(250)
    assert 9 <= len(one.switch.of("uuid_buglist")) <= 11 and not one.switch.of(" start ")


@pytest.mark.parametrize("gone", [False, True])
def test_what_is_called_off_while_it_is_looked_for_is_stopped(gone):
    one = Flows().phone_calls("a", "1000")
    id = one.begin()["id"]
    path = one.armed("a")[id]

    def listed(uuid):
        one.end(ids=[id])
        if gone:
            one.tracker.keep_only(set(), "the switch does not have it")
        return [path]

    one.switch.runs = listed
    one.answer("a", start=False).after(250)
    assert one.row()["state"] == "discarded"
    assert one.switch.of(" stop ") == ([] if gone else [f"api uuid_record a stop {path}"])
    assert one.removed == ([] if gone else [path.removeprefix(f"{ROOT}/")])


def test_what_is_called_off_and_heard_to_begin_while_it_is_looked_for_is_stopped_once():
    one = Flows().phone_calls("a", "1000")
    one.switch.obeys = lambda command: None
    id = one.begin()["id"]
    path = one.armed("a")[id]

    def listed(uuid):
        one.end(ids=[id])
        one.record_start("a", id, path)
        return [path]

    one.switch.runs = listed
    one.answer("a", start=False).after(250)
    assert one.row()["state"] == "discarded" and one.switch.of(" stop ") == [f"api uuid_record a stop {path}"]
    one.record_stop("a", id, path)
    assert one.removed == [path.removeprefix(f"{ROOT}/")] and one.row()["state"] == "discarded"


UNHEARD = [CommandTimeout("no reply"), NotConnected("there is no connection")]


@pytest.mark.parametrize("unheard", UNHEARD)
def test_a_stop_that_the_switch_did_not_hear_is_said_again_as_the_flow_goes_on(unheard):
    one = Flows().talks()
    for label in "xx":
        one.begin(label=label)
    one.switch.replies = {" stop ": unheard}
    with pytest.raises(type(unheard)):
        one.end(label="x")
    one.switch.replies = {}
    assert one.states() == ["recording"] * 2
    one.after(1000)
    assert one.states() == ["stopped"] * 2


@pytest.mark.parametrize("unheard", UNHEARD)
def test_a_stop_before_the_answer_holds_though_the_switch_did_not_hear_it(unheard):
    one = Flows().phone_calls("a", "1000")
    id = one.begin()["id"]
    path = one.armed("a")[id]
    one.switch.replies = {"uuid_setvar_multi": unheard}
    with pytest.raises(type(unheard)):
        one.end(ids=[id])
    one.switch.replies = {}
    one.answer_unarmed("a").record_start("a", id, path)
    assert one.states() == ["discarded"] and len(one.switch.of(" stop ")) == 1


@pytest.mark.parametrize("unheard", UNHEARD)
@pytest.mark.parametrize("action", ["mask", "pause"])
def test_a_silence_that_the_switch_did_not_hear_is_said_again_until_it_has(action, unheard):
    one = Flows().talks()
    for label in "xx":
        one.begin(label=label)
    one.switch.replies = {f" {action} ": unheard}
    with pytest.raises(type(unheard)):
        one.change(action, label="x")
    one.after(1000)
    one.switch.replies, one.switch.commands = {}, []
    one.after(1000)
    paths = {f"{ROOT}/{row['master']}" for row in one.rows.by_id.values()}
    assert {command.split()[-1] for command in one.switch.of(f" {action} ")} == paths
    one.switch.commands = []
    one.after(1000)
    assert one.switch.of(f" {action} ") == []


def test_a_silence_that_was_not_heard_and_has_ended_is_not_said_again():
    one = Flows().talks()
    one.begin(label="x")
    one.switch.replies = {" mask ": CommandTimeout("no reply")}
    with pytest.raises(CommandTimeout):
        one.change("mask", label="x")
    one.change("unmask", label="x")
    one.switch.replies, one.switch.commands = {}, []
    one.after(1000)
    assert one.switch.commands == []


def test_one_that_waits_for_its_announcement_is_announced_and_recorded_by_an_engine_after_this_one(monkeypatch):
    one = Flows().phone_calls("a", "1000")
    id = one.begin(announce={"file": "ivr/consent.wav", "required": True})["id"]
    site = Site(monkeypatch, [("account", "acme", "acme", {"realm": "acme.example"})], one.rows)
    site.leg("a", ago_ms=500, sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example").sweep()
    assert one.states() == ["armed"] and id in site.recorder
    site.scene.after(250)
    (announced,) = site.scene.switch.of("uuid_broadcast a ")
    assert not site.scene.switch.of(" start ")
    named = {"kazoo_rec_announce": re.search("[0-9a-f]{32}", announced)[0], "Channel-State-Number": "4"}
    site.scene.event("PLAYBACK_START", "a", **named)
    site.scene.event("PLAYBACK_STOP", "a", **named, **{"Playback-Status": "done"})
    assert len(site.scene.switch.of(f" start {ROOT}/")) == 1


@pytest.mark.parametrize("answered", [None, 3000])
def test_one_of_which_the_switch_was_not_told_before_its_engine_died_is_begun_by_the_next(monkeypatch, answered):
    one = Flows().phone_calls("a", "1000")
    with one.slow_switch():
        id = one.begin()["id"]
        row = dict(one.row())
    one.rows.by_id = {id: row}
    site = Site(monkeypatch, [("account", "acme", "acme", {"realm": "acme.example"})], one.rows)
    site.leg("a", ago_ms=answered, sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example")
    site.sweep()
    assert id in site.recorder and len(site.scene.switch.of(" start " if answered else f"execute_on_answer_{id}")) == 1


def test_one_that_has_a_file_and_does_not_run_is_not_begun_again(monkeypatch):
    one = Flows().talks()
    id = one.begin()["id"]
    one.rows.by_id[id]["state"] = "armed"
    site = Site(monkeypatch, [("account", "acme", "acme", {"realm": "acme.example"})], one.rows, has_files=True)
    site.leg("a", ago_ms=3000, sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example").sweep()
    assert not site.scene.switch.of(" start ")


@pytest.mark.parametrize("key", ["url", "status_callback"])
def test_a_long_url_is_whole(key):
    """Cut within its password, what is left of one would be taken for a path."""
    url = f"https://user:{'k' * 300}@files.example/a"
    one = Flows().talks()
    one.begin(**{key: url})
    assert one.row()["settings"][key] == url


@pytest.mark.parametrize("mine", [True, False])
def test_an_end_just_after_one_by_nobody_s_order_is_one_for_what_would_take_its_place(mine):
    one = Flows().talks()
    id = one.begin()["id"]
    one.after(5000).record_stop("a", id, f"{ROOT}/{one.row()['master']}", "success-maxtime")
    one.end(ids=[id if mine else "another"])
    one.after(250)
    assert one.states() == ["stopped"] if mine else ["stopped", "recording"]
