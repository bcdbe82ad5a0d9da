"""Conferences that were there before the engine was, or went on while it did not hear of them."""

import pytest

from kazoo_rec.errors import CommandFailed, NotConnected, WrongState

from .fakes import ROOT
from .hall import NAME, ROOM_ID, Hall


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.recovery.NEWS_WITHIN_S", 0)


@pytest.fixture
def hall():
    return Hall()


def test_an_engine_that_was_killed_finds_room_and_members_being_recorded_and_doubles_nothing(hall):
    hall.comes("alice", "bob").record("both", format="wav", time_limit=600)
    later = hall.after(4000).killed_and_started(after_ms=2000).sweep()
    assert not later.switch.of(" start ")
    assert {row["call_id"]: row["state"] for row in later.rows.by_id.values()} == {
        ROOM_ID: "recording", "alice": "recording", "bob": "recording"}
    (room,) = later.rows_of(ROOM_ID)
    later.after(3000).goes("alice", "bob").after(1000)
    assert {row["state"] for row in later.rows.by_id.values()} == {"stopped"}
    assert (room["expected_ms"], room["state_reason"]) == (9000, None)


def test_who_comes_after_a_restart_is_recorded_as_was_wanted(hall):
    hall.comes("alice").record("both", channels="dual", track="both")
    later = hall.killed_and_started().sweep().comes("bob")
    (row,) = later.rows_of("bob")
    assert (row["state"], row["settings"]["channels"], row["settings"]["track"]) == ("recording", "dual", "both")
    assert row["reason"] == later.rows_of("alice")[0]["reason"]
    assert len(later.rows.by_id) == 3


def test_who_comes_after_a_restart_is_recorded_by_what_it_says(hall):
    hall.comes("alice").record("members")
    hall.record("room")
    later = hall.killed_and_started().sweep().comes("bob")
    assert later.rows_of("bob")[0]["settings"]["track"] == "inbound"


def test_what_was_stopped_is_not_wanted_again_after_a_look_or_a_restart(hall):
    hall.comes("alice").record("both")
    hall.rooms.stop("acme", NAME, "token t", "members")
    hall.sweep().comes("bob")
    later = hall.killed_and_started().sweep().comes("carol")
    assert not later.rows_of("bob") and not later.rows_of("carol")
    assert later.rows_of(ROOM_ID)[0]["state"] == "recording"


def test_who_came_while_nobody_heard_is_recorded_from_now_on(hall):
    hall.comes("alice").record("members")
    later = hall.killed_and_started(after_ms=1000)
    later.members["bob"] = True
    later.sweep()
    assert [row["state"] for row in later.rows_of("bob")] == ["recording"]


def test_of_one_member_that_was_wanted_alone_nobody_else_is_after_a_restart(hall):
    hall.comes("alice", "bob").record("members", uuid="bob")
    later = hall.killed_and_started().sweep().comes("carol")
    assert {row["call_id"] for row in later.rows.by_id.values()} == {"bob"}


def test_orders_reach_what_was_found_again(hall):
    hall.comes("alice").record("both")
    later = hall.after(1000).killed_and_started().sweep()
    later.change("pause")
    assert {row["state"] for row in later.rows.by_id.values()} == {"paused"}
    assert {one["state"] for one in later.rooms.stop("acme", NAME, "token t")} == {"stopped"}
    assert later.recorded == {}


def test_a_pause_of_before_is_still_one_and_ends_with_resume(hall):
    hall.comes("alice").record()
    hall.after(1000).change("pause")
    later = hall.killed_and_started(after_ms=1000).sweep()
    (row,) = later.rows.by_id.values()
    assert row["state"] == "paused"
    later.change("resume")
    later.after(1000).goes("alice").after(1000)
    assert (row["state"], row["expected_ms"]) == ("stopped", 2000)


def test_a_mute_that_ended_while_nobody_heard_ends_now_and_one_that_began_begins(hall):
    hall.comes("alice", "bob").record("members")
    hall.mutes("alice")
    later = hall.killed_and_started(after_ms=1000)
    later.members.update(alice=True, bob=False)
    later.sweep()
    assert later.told(" unmask ") == ["alice"] and later.told(" mask ") == ["bob"]
    assert later.rows_of("alice")[0]["spans"][0]["to_ms"] is not None


def test_mutes_and_leavings_that_were_not_heard_are_seen(hall):
    hall.comes("alice").comes("gina", realm="globex.example").record("members")
    hall.members["alice"] = False
    del hall.members["gina"]
    hall.rooms.sweep(hall.send)
    assert hall.told(" mask ") == ["alice"] and hall.rooms.stop("globex", NAME, "x") is None


def test_who_left_unheard_is_not_recorded_where_it_goes_on(hall):
    hall.comes("alice", "bob").record("both")
    hall.after(1000).goes_unheard("bob").sweep()
    assert [row["state"] for row in hall.rows_of("bob")] == ["stopped"] and hall.tracker.leg("bob").alive
    assert [row["state"] for row in hall.rows_of("alice")] == ["recording"]


def test_who_left_unheard_for_another_room_is_recorded_in_that_alone(hall):
    hall.comes("alice", "bob").record("members")
    hall.room("add-member", "bob", Conference_Name="3600", Conference_Unique_ID="another", Speak="true")
    hall.record("members", name="3600")
    hall.goes_unheard("bob")
    rooms = [*hall.listed(), {"conference_name": "3600", "conference_uuid": "another", "run_time": 5, "members": [
        {"type": "caller", "uuid": "bob", "flags": {"can_speak": True}}]}]
    hall.listed = lambda: rooms
    hall.sweep()
    assert {(row["interaction_id"], row["state"]) for row in hall.rows_of("bob")} == {
        (ROOM_ID, "stopped"), ("another", "recording")}


def test_who_goes_on_when_its_room_has_ended_unheard_is_not_recorded_there(hall):
    hall.comes("alice", "bob").record("members")
    hall.after(1000).goes_unheard("alice", "bob").sweep()
    assert {row["state"] for row in hall.rows.by_id.values()} == {"stopped"}


@pytest.mark.parametrize("left", [("bob",), ("alice", "bob")])
def test_who_left_while_the_engine_was_dead_is_not_recorded_where_it_goes_on(hall, left):
    hall.comes("alice", "bob").record("members")
    later = hall.after(1000).goes_unheard(*left).killed_and_started().sweep()
    assert {row["call_id"] for row in later.rows.by_id.values() if row["state"] == "stopped"} == set(left)
    assert {row["state"] for row in later.rows.by_id.values() if row["call_id"] not in left} <= {"recording"}


def test_the_limit_counts_from_the_beginning(hall):
    hall.comes("alice").record(time_limit=10)
    later = hall.after(8000).killed_and_started().sweep()
    later.after(1900)
    (row,) = later.rows.by_id.values()
    assert row["state"] == "recording"
    later.after(200)
    assert row["state"] == "stopped" and row["truncated_by_limit"]


def test_a_beginning_that_was_not_heard_is_found(hall):
    hall.deaf = True
    hall.record()
    hall.comes("alice")
    later = hall.killed_and_started(after_ms=2500)
    (row,) = later.rows.by_id.values()
    assert row["state"] == "armed"
    later.recorded[f"{ROOT}/{row['master']}"] = later.epoch_ms // 1000 - 2
    later.sweep()
    assert row["state"] == "recording" and 1000 <= later.epoch_ms - row["started_ms"] <= 3000


def test_a_room_that_ended_while_nobody_heard_leaves_its_row_to_its_file(hall):
    hall.comes("alice").record("both")
    later = hall.killed_and_started()
    later.members, later.recorded, later.legs = {}, {}, {}
    later.sweep()
    assert {(row["state"], row["state_reason"]) for row in later.rows.by_id.values()} == {
        ("stopped", "its end was not heard")}


def test_a_room_that_ended_while_events_were_lost_is_forgotten(hall):
    hall.comes("alice").record("both")
    hall.members, hall.recorded, hall.legs = {}, {}, {}
    hall.sweep().sweep()
    assert {row["state"] for row in hall.rows.by_id.values()} == {"stopped"}
    assert hall.change("pause") is None


def test_a_room_s_recording_that_ended_while_events_were_lost_has_ended(hall):
    hall.comes("alice").record()
    hall.recorded.clear()
    hall.sweep()
    (row,) = hall.rows.by_id.values()
    assert row["state"] == "stopped"
    with pytest.raises(WrongState):
        hall.change("pause")


def test_what_begins_while_the_switch_is_asked_has_not_ended(hall):
    hall.comes("alice")

    def answers_late(command, timeout_s):
        reply = hall.send(command, timeout_s)
        hall.record()
        return reply

    hall.rooms.sweep(answers_late)
    assert [row["state"] for row in hall.rows.by_id.values()] == ["recording"]


def test_a_second_look_changes_nothing(hall):
    hall.comes("alice", "bob").record("both")
    told = len([command for command in hall.switch.commands if "record" in command])
    hall.after(1000).sweep().sweep()
    assert len([command for command in hall.switch.commands if "record" in command]) == told
    assert {row["state"] for row in hall.rows.by_id.values()} == {"recording"} and len(hall.rows.by_id) == 3


def test_a_switch_without_conferences_has_no_rooms(hall):
    def refuse(command, timeout_s):
        raise CommandFailed("the switch refused", "-ERR conference Command not found!\n")

    hall.rooms.sweep(refuse)
    assert hall.change("pause") is None


def test_a_list_that_the_switch_refuses_ends_nothing(hall):
    hall.comes("alice").record()
    hall.switch.replies = {"json_list": CommandFailed("the switch refused", "-ERR something else\n")}
    with pytest.raises(CommandFailed):
        hall.sweep()
    assert [row["state"] for row in hall.rows.by_id.values()] == ["recording"]


def test_a_look_during_which_the_connection_ended_does_not_know_all_rooms(hall):
    hall.comes("alice")
    send = hall.send

    def lost_meanwhile(command, timeout_s, into=None):
        if "json_list" in command:
            hall.recovery.lost()
        return send(command, timeout_s, into)

    hall.recovery.sweep(lost_meanwhile, doubtful=True)
    with pytest.raises(NotConnected):
        hall.rooms.stop("acme", "another", "x")
