"""Conferences, beyond what conference_three of the traces shows."""

import pytest

from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import alice
from tests.simulator.sounds import seconds, tones


@pytest.fixture
def join(switch, clock):
    """A caller who says a tone joins the room `r`; gives his leg."""
    def joined(user, hz, **habits):
        call = switch.play(Script(alice(user=user, says=hz, **habits), dials="3500",
                                  dialplan=("conference r@default", "set came_behind=yes")))
        clock.advance(0.1)
        return call.legs[0]
    return joined


def said(listener, *actions):
    return [event for event in listener.heard("CUSTOM") if not actions or event["Action"] in actions]


@pytest.fixture
def hears(client):
    client.ask("event json CUSTOM conference::maintenance")
    return client


def test_a_recording_holds_all_that_is_said_without_what_is_muted(join, switch, clock, tmp_path):
    join("1000", 1000)
    join("1001", 440)
    path = tmp_path / "rooms" / "r.wav"
    assert switch.api(f"conference r recording start {path}") == f"+OK Record file {path}\n"
    clock.advance(1.02)
    switch.api("conference r mute 2")
    clock.advance(1)
    switch.api("conference r recording stop all")
    clock.advance(0.1)
    assert tones(path, end=0.9) == [440, 1000] and tones(path, begin=1.1) == [1000]


def test_each_member_hears_the_others(join, switch, clock, tmp_path):
    legs = [join(user, hz) for user, hz in (("1000", 1000), ("1001", 440), ("1002", 660))]
    path = tmp_path / "a.wav"
    switch.api(f"uuid_record {legs[0].uuid} start {path} 0 {{RECORD_STEREO=true,RECORD_PRE_BUFFER_FRAMES=0}}")
    clock.advance(1)
    switch.api(f"uuid_record {legs[0].uuid} stop {path}")
    assert (tones(path, 0), tones(path, 1)) == ([1000], [440, 660])


def test_who_is_alone_hears_music(join, switch, clock, hears, tmp_path):
    leg, path = join("1000", 1000), tmp_path / "a.wav"
    switch.api(f"uuid_record {leg.uuid} start {path} 0 {{RECORD_STEREO=true,RECORD_PRE_BUFFER_FRAMES=0}}")
    clock.advance(1)
    switch.api(f"uuid_record {leg.uuid} stop {path}")
    assert tones(path, 1) == [280]


def test_a_room_outlives_its_first_member_and_ends_with_its_last(join, switch, clock, hears, tmp_path):
    join("1000", 1000, hangs_up=1)
    join("1001", 440, hangs_up=3)
    path = tmp_path / "r.wav"
    switch.api(f"conference r recording start {path}")
    clock.advance(2)
    assert [event["New-ID"] for event in said(hears, "floor-change")] == ["1", "2"]
    assert "r" in switch.rooms
    clock.advance(2)
    assert [event["Action"] for event in said(hears)][-2:] == ["stop-recording", "conference-destroy"]
    assert "r" not in switch.rooms and 2.6 < seconds(path) < 3.1


def test_a_pause_leaves_a_gap_out(join, switch, clock, tmp_path):
    join("1000", 1000)
    path = tmp_path / "r.wav"
    switch.api(f"conference r recording start {path}")
    clock.advance(1.02)
    assert switch.api(f"conference r recording pause {path}") == f"+OK Pause recording file {path}\n"
    clock.advance(1)
    assert switch.api(f"conference r recording resume {path}") == f"+OK Resume recording file {path}\n"
    clock.advance(1)
    switch.api(f"conference r recording stop {path}")
    clock.advance(0.1)
    assert seconds(path) == pytest.approx(2, abs=0.06)


def test_a_member_who_is_kicked_goes_on_in_his_dialplan(join, switch, clock):
    leg = join("1000", 1000)
    assert switch.api("conference r kick all") == "+OK kicked 1\n"
    clock.advance(0.1)
    assert leg.variables["came_behind"] == "yes" and leg.cause == "NORMAL_CLEARING"


@pytest.mark.parametrize(("command", "reply"), [
    ("nowhere list", "-ERR Conference nowhere not found\n"),
    ("r mute 9", "-ERR Non-Existant ID 9\n"),
    ("r dance", "-ERR Conference command 'dance' not found.\n"),
    ("r recording check", "-ERR Conference is not being recorded.\n"),
    ("r recording pause /x.wav", "+OK Pause recording file /x.wav\n-ERR non-existant recording '/x.wav'\n"),
    ("r recording stop /x.wav", "-ERR non-existant recording '/x.wav'\n+OK Stopped recording 0 files\n"),
    ("r unmute last", "+OK unmute 1\n"),
])
def test_replies(join, switch, command, reply):
    join("1000", 1000)
    assert switch.api(f"conference {command}") == reply


def test_a_file_that_cannot_be_opened_is_told_by_an_event(join, switch, clock, hears):
    join("1000", 1000)
    assert switch.api("conference r recording start /dev/null/a.wav") == "+OK Record file /dev/null/a.wav\n"
    clock.advance(0.1)
    assert said(hears, "start-recording")[0]["Error"] == "File could not be opened for recording"


def test_twice_on_one_path_is_refused(join, switch, clock, tmp_path):
    join("1000", 1000)
    path = tmp_path / "r.wav"
    switch.api(f"conference r recording start {path}")
    assert switch.api(f"conference r recording start {path}") == (
        f"-ERR file [{path}] is already being used for recording.\n")


def test_a_switch_that_is_killed_has_no_rooms_any_more(join, switch, clock, tmp_path):
    join("1000", 1000)
    switch.api(f"conference r recording start {tmp_path}/r.wav")
    clock.advance(1)
    switch.kill()
    assert not switch.rooms and (tmp_path / "r.wav").exists()


def test_who_begins_to_talk_later_is_told_then(join, clock, hears):
    join("1000", {0: 0, 2: 1000})
    clock.advance(1)
    assert not said(hears, "start-talking")
    clock.advance(1.5)
    assert [event["Member-ID"] for event in said(hears, "start-talking")] == ["1"]
