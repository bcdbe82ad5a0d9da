"""Conferences: the room and its members recorded, from orders and from what the switch says of them."""

import re

import pytest
from structlog.testing import capture_logs

from kazoo_rec.errors import CommandFailed, CommandRefused, CommandTimeout, NotConnected, WrongState
from kazoo_rec.switch.events import Event
from tests import traces

from .fakes import ROOT
from .hall import NAME, ROOM_ID, Hall


@pytest.fixture
def hall():
    return Hall()


def test_a_room_is_recorded_from_the_middle_to_its_end_whoever_leaves(hall):
    hall.comes("alice", "bob").after(2000)
    (told,) = hall.record(format="wav", url="https://customer.example/")
    (row,) = hall.rows.by_id.values()
    path = f"{ROOT}/{row['master']}"
    assert hall.switch.of("conference") == [f"api conference {NAME} recording start {path}"]
    assert re.fullmatch(r"acme/\d{8}/(.*)\.wav", row["master"])[1] == told["id"] == row["id"]
    assert row["state"] == told["state"] == "recording" and told["what"] == "room"
    hall.after(1000).goes("alice").comes("carol").after(3000)
    assert row["state"] == "recording" and len(hall.rows.by_id) == 1
    hall.goes("bob", "carol").after(1000)
    assert (row["state"], row["state_reason"], row["expected_ms"]) == ("stopped", None, 4000)
    assert not row["truncated_by_limit"] and row["stopped_ms"] == row["started_ms"] + 4000


def test_the_row_of_a_room_says_what_it_is_of(hall):
    hall.comes("alice").record()
    (row,) = hall.rows.by_id.values()
    said = {"call_id": ROOM_ID, "interaction_id": ROOM_ID, "leg": "room", "rule": "conference",
            "origin": f"conference : {NAME}", "to_uri": NAME, "from_uri": ""}
    assert {name: row[name] for name in said} == said
    assert (row["account_id"], row["user_id"], row["reason"]) == ("acme", None, "token t had it recorded.")


def test_recording_a_room_again_changes_nothing(hall):
    first = hall.comes("alice").record()
    assert hall.after(1000).comes("bob").record() == first
    assert len(hall.rows.by_id) == 1 and len(hall.switch.of("start")) == 1


def test_a_room_that_is_not_there_yet_is_recorded_from_its_first_member(hall):
    assert hall.record() == []
    hall.after(5000).comes("alice")
    (row,) = hall.rows.by_id.values()
    assert row["state"] == "recording" and not row.get("partial")


def test_nothing_is_wanted_any_more_of_a_room_that_does_not_come(hall):
    hall.record("both")
    hall.after(60_000).comes("alice")
    assert not hall.rows.by_id


def test_members_are_recorded_each_by_what_it_says_those_too_that_come_later(hall):
    hall.comes("alice").after(1000)
    told = hall.record("members")
    hall.after(1000).comes("bob")
    assert [(one["what"], one["call_id"]) for one in told] == [("member", "alice")]
    for uuid in ("alice", "bob"):
        (row,) = hall.rows_of(uuid)
        assert (row["state"], row["leg"], row["interaction_id"], row["settings"]["track"]) == (
            "recording", "A", ROOM_ID, "inbound")
        assert row["origin"] == f"conference : {NAME}"
    assert not hall.rows_of(ROOM_ID) and not hall.switch.of("api conference")


def test_both_is_a_file_of_the_room_and_one_of_each_member_with_its_own_settings(hall):
    hall.comes("alice", "bob")
    told = hall.record("both", track="both", channels="dual", format="wav")
    assert [one["what"] for one in told] == ["room", "member", "member"]
    assert {row["settings"]["track"] for row in hall.rows.by_id.values()} == {"both"}
    assert len({row["master"] for row in hall.rows.by_id.values()}) == 3


def test_of_one_member_alone_nobody_else_is_recorded(hall):
    hall.comes("alice", "bob").record("both", uuid="bob")
    hall.comes("carol")
    assert {row["call_id"] for row in hall.rows.by_id.values()} == {ROOM_ID, "bob"}


def test_a_callflow_asks_before_its_leg_is_in_the_room_and_finds_what_it_asked_for(hall):
    hall.comes("alice").phone_calls("bob", "bob").answer("bob")
    assert hall.record("members", uuid="bob") == []
    hall.after(1000).comes("bob")
    assert [row["state"] for row in hall.rows_of("bob")] == ["recording"] and not hall.rows_of("alice")


def test_a_callflow_s_leg_that_is_not_the_account_s_own_brings_the_room_about(hall):
    hall.phone_calls("gina", "gina", "globex.example").answer("gina")
    assert hall.record("room", uuid="gina") == []
    hall.comes("gina")
    (row,) = hall.rows.by_id.values()
    assert (row["call_id"], row["account_id"]) == (ROOM_ID, "acme")


def test_a_wish_that_is_repeated_waits_anew(hall):
    hall.record()
    hall.after(50_000).record()
    hall.after(50_000).comes("alice")
    assert len(hall.rows.by_id) == 1


def test_a_member_that_is_not_known_yet_is_recorded_when_it_is(hall):
    hall.comes("alice").record("members")
    hall.room("add-member", "bob", Speak="true").after(50)
    assert not hall.rows_of("bob")
    hall.phone_calls("bob", "bob").answer("bob").after(50)
    assert [row["state"] for row in hall.rows_of("bob")] == ["recording"]


def test_who_leaves_and_goes_on_elsewhere_is_not_recorded_there(hall):
    hall.comes("alice", "bob").record("both")
    (row,) = hall.rows_of("bob")
    hall.after(1000).goes("bob", hangs_up=False)
    assert row["state"] == "stopped" and hall.tracker.leg("bob").alive
    hall.after(1000).comes("bob")
    assert [row["state"] for row in hall.rows_of("bob")] == ["stopped", "recording"]
    assert hall.rows_of(ROOM_ID)[0]["state"] == "recording"


@pytest.mark.parametrize("name", [NAME, "3600"])
def test_who_comes_in_before_its_recording_has_ended_as_it_had_left_is_recorded_anew(hall, name):
    hall.comes("alice", "bob").record("members")
    hall.record("members", name="3600")
    with hall.slow_switch():
        hall.goes("bob", hangs_up=False)
        if name == NAME:
            hall.comes("bob")
        else:
            hall.room("add-member", "bob", Conference_Name=name, Conference_Unique_ID="another", Speak="true")
    assert [row["state"] for row in hall.rows_of("bob")] == ["stopped", "recording"]


@pytest.mark.parametrize("what", ["room", "members"])
def test_what_is_recorded_while_another_ends_begins(hall, what):
    hall.comes("alice").record(what)
    hall.deaf, hall.switch.replies = True, {" stop ": CommandTimeout("no reply")}
    with pytest.raises(CommandTimeout):
        hall.rooms.stop("acme", NAME, "token t")
    hall.deaf, hall.switch.replies = False, {}
    (told,) = hall.record(what)
    hall.after(1000)
    assert {row["id"] == told["id"]: row["state"] for row in hall.rows.by_id.values()} == {
        False: "stopped", True: "recording"}


@pytest.mark.parametrize("how", ["stopped", "left"])
def test_an_end_by_order_just_after_one_by_nobody_s_is_one_for_what_would_take_its_place(hall, how):
    hall.comes("alice", "bob").record("members")
    (row,) = hall.after(5000).rows_of("bob")
    hall.legs["bob"].clear()
    hall.record_stop("bob", row["id"], f"{ROOT}/{row['master']}", "success-maxtime")
    if how == "stopped":
        hall.rooms.stop("acme", NAME, "token t", "members", "bob")
    else:
        hall.goes("bob", hangs_up=False)
    hall.after(250)
    assert [row["state"] for row in hall.rows_of("bob")] == ["stopped"]


def test_who_hangs_up_is_not_told_to_stop(hall):
    hall.comes("alice", "bob").record("members")
    hall.goes("bob").after(1000)
    assert not hall.switch.of(" stop ") and hall.rows_of("bob")[0]["state"] == "stopped"


def test_a_stop_of_who_left_is_repeated_until_the_switch_has_obeyed(hall):
    hall.comes("alice", "bob").record("members")
    (row,) = hall.rows_of("bob")
    hall.switch.replies = {"uuid_record bob stop": CommandTimeout("no reply")}
    hall.deaf = True
    hall.goes("bob", hangs_up=False)
    assert row["state"] == "recording"
    hall.switch.replies, hall.deaf = {}, False
    hall.after(1000)
    assert row["state"] == "stopped" and len(hall.switch.of("uuid_record bob stop")) == 2
    hall.after(1000).after(1000)
    assert len(hall.switch.of("uuid_record bob stop")) == 2


def test_who_is_muted_is_masked_in_its_own_recording_alone(hall):
    hall.comes("alice", "bob").record("both")
    hall.after(1000).mutes("bob")
    (bob,), (alice,), (room,) = map(hall.rows_of, ("bob", "alice", ROOM_ID))
    assert hall.told(" mask ") == ["bob"]
    assert [(span["kind"], span["to_ms"]) for span in bob["spans"]] == [("mask", None)]
    hall.after(2000).mutes("bob", False)
    (span,) = bob["spans"]
    assert span["to_ms"] - span["from_ms"] == 2000 and hall.told(" unmask ") == ["bob"]
    assert span["by"] == "mute"
    assert alice["spans"] == room["spans"] == [] and room["state"] == "recording"


def test_a_mask_by_order_does_not_end_with_a_mute_nor_a_mute_with_an_order(hall):
    hall.comes("alice").record("members")
    hall.change("mask")
    hall.mutes("alice").mutes("alice", False)
    assert not hall.switch.of("unmask")
    hall.change("unmask")
    hall.mutes("alice")
    with pytest.raises(WrongState, match="muted"):
        hall.change("unmask")
    assert len(hall.switch.of("unmask")) == 1


def test_a_member_that_comes_muted_is_recorded_from_when_it_may_speak(hall):
    hall.comes("alice").record("members")
    with hall.slow_switch():
        hall.comes("bob", speak="false")
    (row,) = hall.rows_of("bob")
    hall.after(1000)
    assert row["state"] == "armed" and not hall.switch.of("uuid_record bob start")
    hall.mutes("bob", False).after(250)
    assert row["state"] == "recording"


def test_recording_a_member_that_is_muted_does_not_wait_for_it_to_speak(hall):
    hall.comes("alice", speak="false")
    with hall.slow_switch():
        (told,) = hall.record("members")
    assert (told["state"], told["masked"]) == ("armed", True)


def test_a_mute_that_the_switch_did_not_hear_of_is_told_again_and_counts_from_its_beginning(hall):
    hall.comes("alice").record("members")
    (row,) = hall.rows_of("alice")
    hall.switch.replies = {" mask ": CommandTimeout("no reply")}
    hall.after(1000).mutes("alice")
    assert row["spans"][0]["to_ms"] is None
    hall.switch.replies = {}
    hall.after(1000).after(1000)
    assert len(hall.switch.of(" mask ")) == 2 and len(row["spans"]) == 1


def test_a_mute_that_is_over_before_the_switch_has_heard_of_it_leaves_the_member_audible(hall):
    hall.comes("alice").record("members")
    with hall.slow_switch():
        hall.mutes("alice").mutes("alice", False)
    assert [command.split()[3] for command in hall.switch.of("mask ")] in ([], ["mask", "unmask"])


def test_pause_and_resume_are_of_the_room_and_its_members_and_cut_what_is_expected(hall):
    hall.comes("alice").record("both")
    hall.after(1000)
    assert {one["state"] for one in hall.change("pause")} == {"paused"}
    hall.after(2000)
    hall.change("pause")
    assert {row["state"] for row in hall.rows.by_id.values()} == {"paused"}
    assert {one["state"] for one in hall.change("resume")} == {"recording"}
    hall.after(1000).goes("alice").after(1000)
    assert [(row["expected_ms"], len(row["spans"])) for row in hall.rows.by_id.values()] == [(2000, 1), (2000, 1)]
    assert f"api conference {NAME} recording pause {ROOT}/{hall.rows_of(ROOM_ID)[0]['master']}" in hall.switch.commands


@pytest.mark.parametrize("fault", [CommandTimeout("no reply"), NotConnected("gone")])
def test_a_pause_that_the_switch_did_not_confirm_is_told_at_once_and_said_again(hall, fault):
    hall.comes("alice").record("both")
    hall.switch.replies = {" pause ": fault}
    with pytest.raises(type(fault)):
        hall.change("pause", what="room")
    hall.switch.replies = {}
    hall.after(1000).after(1000)
    assert len(hall.switch.of(" recording pause ")) == 2


def test_a_room_that_is_paused_after_it_began_unheard_is_found_and_paused(hall):
    hall.quiet = True
    hall.record("room")
    hall.comes("alice").change("pause", what="room")
    assert not hall.switch.of(" recording pause ")
    hall.after(250)
    (row,) = hall.rows_of(ROOM_ID)
    assert (row["state"], len(hall.switch.of(" recording pause "))) == ("paused", 1)


def test_a_pause_that_somebody_else_made_is_in_the_row(hall):
    hall.comes("alice").record()
    (row,) = hall.rows.by_id.values()
    path = f"{ROOT}/{row['master']}"
    hall.after(1000).room("pause-recording", Path=path).after(1000).room("pause-recording", Path=path)
    assert row["state"] == "paused"
    hall.after(500).room("resume-recording", Path=path)
    (span,) = row["spans"]
    assert (row["state"], span["kind"], span["to_ms"] - span["from_ms"]) == ("recording", "pause", 1500)


def test_a_resume_of_before_does_not_end_the_pause_of_now(hall):
    hall.comes("alice").record()
    (row,) = hall.rows.by_id.values()
    resumed_us = str(hall.epoch_ms * 1000)
    hall.after(100).change("pause")
    hall.room("resume-recording", Path=f"{ROOT}/{row['master']}", **{"Event-Date-Timestamp": resumed_us})
    assert row["state"] == "paused"


def test_a_pause_that_the_switch_knows_no_recording_for_is_a_wrong_state(hall):
    hall.comes("alice").record()
    hall.switch.replies, hall.deaf = {" pause ": "+OK Pause recording file x\n-ERR non-existant recording 'x'\n"}, True
    with pytest.raises(WrongState, match="non-existant"):
        hall.change("pause")
    (row,) = hall.rows.by_id.values()
    assert row["state"] == "recording" and all(span["from_ms"] >= span["to_ms"] for span in row["spans"])


def test_a_room_is_not_masked_and_nothing_else_then_is(hall):
    hall.comes("alice").record("both")
    with pytest.raises(WrongState, match="cannot be masked"):
        hall.change("mask")
    assert not hall.switch.of(" mask ")
    hall.change("mask", "members")
    assert hall.told(" mask ") == ["alice"]


def test_a_stop_ends_what_is_recorded_and_what_was_wanted_of_who_comes(hall):
    hall.comes("alice").record("both")
    told = hall.rooms.stop("acme", NAME, "token t")
    assert {one["state"] for one in told} == {"stopped"} and len(told) == 2
    hall.comes("bob")
    assert len(hall.rows.by_id) == 2
    (again,) = hall.record()
    assert again["state"] == "recording" and again["id"] not in {one["id"] for one in told}


def test_a_stop_of_one_leaves_the_others_and_the_room(hall):
    hall.comes("alice", "bob").record("both")
    (told,) = hall.rooms.stop("acme", NAME, "token t", "members", "bob")
    assert told["call_id"] == "bob"
    assert {row["call_id"]: row["state"] for row in hall.rows.by_id.values()} == {
        ROOM_ID: "recording", "alice": "recording", "bob": "stopped"}


def test_who_was_stopped_is_recorded_again_by_an_order_and_by_nothing_else(hall):
    hall.comes("alice", "bob").record("members")
    hall.rooms.stop("acme", NAME, "token t", "members", "bob")
    hall.rooms.sweep(hall.send)
    hall.goes("bob", hangs_up=False).comes("bob")
    assert len(hall.rows_of("bob")) == 1
    hall.record("members")
    assert [row["state"] for row in hall.rows_of("bob")] == ["stopped", "recording"]


@pytest.mark.parametrize("how", ["stopped", "left"])
def test_whose_recording_was_ended_by_order_is_not_missing_and_not_hung_up(hall, how):
    hall.directory = hall.directory.apply([{
        "kind": "account", "account_id": "acme", "id": "acme", "deleted": False, "seq": 99,
        "body": {"realm": "acme.example", "on_no_recording": "hangup"}}])
    hall.comes("alice", "bob").record("members")
    if how == "stopped":
        hall.rooms.stop("acme", NAME, "token t", "members", "bob")
    else:
        hall.goes("bob", hangs_up=False)
    for _ in range(10):
        hall.after(1000)
    assert hall.rows_of("bob")[0]["state"] == "stopped" and hall.tracker.leg("bob").alive
    assert hall.recorder.missing(hall.now) == (0, 0) and not hall.switch.of("uuid_kill")


def test_a_room_is_no_leg_that_is_missing(hall):
    hall.comes("alice").record("room")
    hall.rooms.stop("acme", NAME, "token t")
    (row,) = hall.rows_of(ROOM_ID)
    hall.record("room")
    hall.room("stop-recording", Path=f"{ROOT}/{hall.rows_of(ROOM_ID)[1]['master']}", Samples_Out="8000")
    with capture_logs() as lines:
        for _ in range(10):
            hall.after(1000)
    assert row["state"] == "stopped" and not [line for line in lines if "not being recorded" in line["event"]]
    assert not hall.switch.of("sched_del")


def test_a_recording_of_a_room_of_which_only_the_end_is_told_began_when_it_was_ordered(hall):
    hall.quiet = True
    with pytest.raises(CommandTimeout):
        hall.comes("alice").after(60_000).record("room")
    hall.now += 200
    (row,) = hall.rows_of(ROOM_ID)
    hall.obey("stop", f"{ROOT}/{row['master']}")
    (row,) = hall.rows_of(ROOM_ID)
    assert (row["state"], row["expected_ms"], row.get("partial", False)) == ("stopped", 200, False)


def test_a_room_whose_recording_a_moderator_ends_is_not_recorded_again(hall):
    hall.comes("alice").record("room")
    (row,) = hall.rows_of(ROOM_ID)
    hall.after(5000).obey("stop", f"{ROOT}/{row['master']}")
    hall.after(1000).after(1000)
    assert hall.rows_of(ROOM_ID) == [row] and not row.get("partial")


def test_a_stop_that_the_switch_did_not_hear_is_repeated(hall):
    hall.comes("alice").record("both")
    hall.switch.replies, hall.deaf = {" stop ": CommandTimeout("no reply")}, True
    for what in ("room", "members"):
        with pytest.raises(CommandTimeout):
            hall.rooms.stop("acme", NAME, "token t", what)
    hall.switch.replies, hall.deaf = {}, False
    hall.after(1000).after(1000)
    assert [row["state"] for row in hall.rows.by_id.values()] == ["stopped", "stopped"]
    assert len(hall.switch.of(" stop ")) == 4


def test_what_is_stopped_before_its_room_is_there_never_begins(hall):
    hall.rooms.sweep(hall.send)
    hall.record("both")
    assert hall.rooms.stop("acme", NAME, "token t") == []
    hall.comes("alice")
    assert not hall.rows.by_id
    assert hall.rooms.stop("acme", "another", "token t") is None


def test_the_engine_ends_a_room_s_recording_at_its_limit(hall):
    hall.comes("alice").record(time_limit=10)
    (row,) = hall.rows.by_id.values()
    hall.after(9_950)
    assert row["state"] == "recording"
    hall.after(50)
    assert row["state"] == "stopped" and row["truncated_by_limit"] and row["expected_ms"] == 10_000
    hall.after(1000).comes("bob")
    assert len(hall.rows.by_id) == 1


@pytest.mark.parametrize("told", [True, False])
def test_a_file_that_the_switch_cannot_open_is_a_failed_recording(hall, told):
    hall.comes("alice").cannot_open = [told]
    with pytest.raises(WrongState, match="could not open"):
        hall.record()
    (row,) = hall.rows.by_id.values()
    assert row["state"] == "failed"
    hall.after(1000)
    assert len(hall.switch.of("recording start")) == 1


def test_a_start_that_the_switch_refuses_is_a_failed_recording(hall):
    hall.deaf, hall.switch.replies = True, {"recording start": CommandFailed("refused", "-ERR Invalid canvas\n")}
    hall.comes("alice")
    with pytest.raises(WrongState, match="the switch refused"):
        hall.record()
    assert hall.rows.by_id.popitem()[1]["state"] == "failed"


def test_a_start_that_came_twice_is_one_recording(hall):
    hall.deaf = True
    refusal = CommandFailed("refused", "-ERR file [x] is already being used for recording.")
    hall.switch.replies = {"recording start": refusal}
    hall.record()
    hall.comes("alice")
    (row,) = hall.rows.by_id.values()
    assert row["state"] == "armed"
    hall.recorded[f"{ROOT}/{row['master']}"] = hall.epoch_ms // 1000
    hall.after(250)
    assert row["state"] == "recording"


def test_a_start_that_the_switch_did_not_hear_is_repeated(hall):
    hall.deaf, hall.switch.replies = True, {"recording start": CommandTimeout("no reply")}
    hall.record()
    hall.comes("alice")
    (row,) = hall.rows.by_id.values()
    hall.deaf, hall.switch.replies = False, {}
    hall.after(250)
    assert row["state"] == "recording" and len(hall.switch.of("recording start")) == 2


def test_a_room_whose_profile_tells_nothing_of_recordings_is_recorded_all_the_same(hall):
    hall.quiet = True
    hall.record(time_limit=5)
    hall.comes("alice").after(250)
    (row,) = hall.rows.by_id.values()
    assert row["state"] == "recording" and len(hall.switch.of("recording start")) == 1
    hall.after(5000).after(1000)
    assert row["state"] == "stopped" and row["truncated_by_limit"]


@pytest.mark.parametrize(("within_ms", "late_s", "partial"), [(0, 0, False), (900, 0, False), (0, 1, True)])
def test_a_room_that_is_found_to_be_recorded_is_partial_where_the_switch_began_in_a_later_second_than_it_was_told(
        hall, within_ms, late_s, partial):
    hall.quiet, hall.now = True, hall.now + within_ms - hall.epoch_ms % 1000
    hall.record()
    hall.comes("alice")
    hall.recorded = {path: began_s + late_s for path, began_s in hall.recorded.items()}
    hall.after(250)
    (row,) = hall.rows.by_id.values()
    assert row["state"] == "recording" and row.get("partial", False) == partial


def test_an_end_that_is_heard_after_that_of_its_room_is_heard(hall):
    hall.comes("alice").record()
    (row,) = hall.rows.by_id.values()
    path = f"{ROOT}/{row['master']}"
    hall.after(1000).room("conference-destroy").after(500)
    hall.room("stop-recording", Path=path, **{"Samples-Out": "8000"}).after(1000)
    assert (row["state"], row["state_reason"]) == ("stopped", None)


def test_a_room_whose_recording_s_end_is_not_heard_leaves_it_to_its_file(hall):
    hall.comes("alice").record()
    (row,) = hall.rows.by_id.values()
    hall.after(1000).room("conference-destroy").after(1000)
    assert row["state"] == "stopped" and "not heard" in row["state_reason"]


def test_another_account_has_no_room_in_which_none_of_its_own_is(hall):
    hall.rooms.sweep(hall.send)
    hall.comes("alice").record()
    assert hall.rooms.change("globex", NAME, "pause", "x") is None
    assert hall.rooms.stop("globex", NAME, "x") is None
    assert hall.record(account="globex") == []
    assert len(hall.rows.by_id) == 1
    hall.comes("gina", realm="globex.example")
    assert {row["account_id"] for row in hall.rows.by_id.values()} == {"acme", "globex"}
    hall.rooms.stop("globex", NAME, "x")
    assert [row["state"] for row in hall.rows.by_id.values()] == ["recording", "stopped"]


def test_of_another_account_s_members_none_is_recorded_singly(hall):
    hall.comes("alice").comes("gina", realm="globex.example").record("members")
    assert {row["call_id"] for row in hall.rows.by_id.values()} == {"alice"}


def test_a_room_that_may_be_there_is_not_said_not_to_be(hall):
    with pytest.raises(NotConnected):
        hall.change("pause")
    hall.rooms.sweep(hall.send)
    assert hall.change("pause") is None
    hall.rooms.lost()
    with pytest.raises(NotConnected):
        hall.rooms.stop("acme", NAME, "x")


@pytest.mark.parametrize("name", ["a b", "x recording stop all", "list", "a\nb", ""])
def test_a_name_that_is_none_is_refused_and_nothing_is_sent(hall, name):
    with pytest.raises(CommandRefused):
        hall.record(name=name)
    assert not hall.switch.commands


@pytest.mark.parametrize("what", ["room", "both"])
def test_nothing_is_recorded_of_a_room_that_something_should_be_announced_to(hall, what):
    hall.comes("alice")
    with pytest.raises(WrongState, match="announced"):
        hall.record(what, announce={"file": "consent.wav", "required": True})
    assert not hall.rows.by_id


def test_recordings_of_others_are_not_touched(hall):
    hall.comes("alice")
    for action in ("start-recording", "pause-recording", "stop-recording"):
        hall.room(action, Path="/elsewhere/their.wav")
        hall.room(action, Path=f"{ROOT}/acme/20261121/their.wav")
    hall.rooms.sweep(hall.send)
    assert not hall.rows.by_id and not hall.switch.of(" recording ")


class Traced(Hall):
    """`conference_three`, whose own orders are given here: what the switch then said is heard, with our paths."""

    def __init__(self):
        super().__init__()
        self.lines, self.paths = list(traces.lines("conference_three")), {}
        first = next(line for line in self.lines if "event" in line)
        self.began_ms = int(first["event"]["Event-Date-Timestamp"]) // 1000 - round(first["t"] * 1000)

    def play(self, orders):
        """`orders` maps a piece of a command of the trace to what is done in its place."""
        self.orders = orders
        while self.lines:
            self.step()
        return self.after(1000)

    def step(self):
        line = self.lines.pop(0)
        command = line.get("command", "")
        order = next((order for piece, order in self.orders.items() if f"{piece} " in command), None)
        if order:
            self.theirs = re.search(r"\S+\.wav", command)[0]
            self.clock_is(self.began_ms + round(line["t"] * 1000))
            order()
        elif "event" in line:
            self.hear(line["event"])

    def obey(self, action, path):
        """The event that the switch sent for the trace's own command."""
        self.paths[self.theirs] = path
        wanted = next(line for line in self.lines if line.get("event", {}).get("Path") == self.theirs
                      and line["event"]["Action"] == f"{action}-recording")
        while wanted in self.lines:
            self.step()

    def clock_is(self, epoch_ms):
        self.now += epoch_ms - self.epoch_ms

    def hear(self, headers):
        self.clock_is(int(headers["Event-Date-Timestamp"]) // 1000)
        path = headers.get("Path")
        self.tracker.feed(Event({**headers, **({"Path": self.paths[path]} if path else {})}), self.now)


def test_a_conference_of_three_as_a_switch_told_of_it():
    hall, name, member = Traced(), "conference 3500-acme.example", "6f522a68-459c-46ef-844d-87e749769503"
    hall.play({
        f"{name} recording start": hall.record, f"{name} record": hall.record,
        f"{name} recording pause": lambda: hall.switch.of(" pause ") or hall.change("pause", "room"),
        f"{name} recording resume": lambda: hall.change("resume", "room"),
        f"uuid_record {member} start": lambda: hall.record("members", uuid=member)})
    rooms = [row for row in hall.rows.by_id.values() if row["leg"] == "room"]
    assert [(row["state"], row["state_reason"]) for row in rooms] == [("stopped", None)] * 3
    for row, written_ms in zip(rooms, (3340, 720, 2080), strict=True):
        assert abs(row["expected_ms"] - written_ms) <= 60
    assert [len(row["spans"]) for row in rooms] == [1, 0, 0]
    (own,) = hall.rows_of(member)
    (span,) = own["spans"]
    assert (span["kind"], 280 <= span["to_ms"] - span["from_ms"] <= 320) == ("mask", True)
    assert hall.told(" mask ") == hall.told(" unmask ") == [member]
