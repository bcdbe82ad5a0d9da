"""Announced before or as it begins; declined."""

import re

import pytest
from structlog.testing import capture_logs

from kazoo_rec.errors import CommandFailed, CommandTimeout, NotConnected

from .fakes import CODEC, Scene

SOUND = "ivr/consent.wav"


class Told(Scene):
    """An account whose calls are recorded from their A leg and announced as `announce` says; `endpoint` for callees."""

    def __init__(self, endpoint=None, enabled=True, **announce):
        said = {"any": {"any": {"enabled": enabled, "announce": {"file": SOUND, **announce}}}}
        documents = [("account", "acme", "acme", {"realm": "acme.example", "call_recording": {
            "account": said, **({"endpoint": endpoint} if endpoint else {})}})]
        documents += [("device", "acme", f"dev-{user}", {"sip": {"username": user}}) for user in ("1000", "1001")]
        super().__init__(documents)

    def asked(self, uuid):
        """The ids of what the switch was told to play to a leg, in order."""
        return [re.search(r"kazoo_rec_announce=([0-9a-f]{32})", command)[1]
                for command in self.switch.of(f"uuid_broadcast {uuid} ")]

    def plays(self, uuid, state="4"):
        return self.event("PLAYBACK_START", uuid, **{
            "kazoo_rec_announce": self.asked(uuid)[-1], "Channel-State-Number": state, "Answer-State": "answered"})

    def played(self, uuid, status="done", state="4", answer_state="answered", id=None):
        return self.event("PLAYBACK_STOP", uuid, **{
            "kazoo_rec_announce": id or self.asked(uuid)[-1], "Channel-State-Number": state, "Playback-Status": status,
            "Answer-State": answer_state})

    def hears(self, uuid, ms=2000):
        return self.plays(uuid).after(ms).played(uuid)

    def presses(self, uuid, digit):
        return self.event("DTMF", uuid, **{"DTMF-Digit": digit})

    def starts(self, uuid="a"):
        """RECORD_START of what was started by command, last."""
        path = self.switch.of(f"uuid_record {uuid} start")[-1].split()[4]
        return self.record_start(uuid, re.search(r"([0-9]{6}-[0-9a-f]{32})", path)[1], path)

    def stops(self, uuid="a"):
        """RECORD_STOP of what was told to stop, last."""
        path = self.switch.of(f"uuid_record {uuid} stop")[-1].split()[4]
        return self.record_stop(uuid, re.search(r"([0-9]{6}-[0-9a-f]{32})", path)[1], path)

    def call(self):
        """1000 calls 1001: bridged; nothing started yet that was not armed."""
        self.phone_calls("a", "1000").rings("b", "a", "1001")
        return self.event("CHANNEL_ANSWER", "b", **CODEC).answer("a").bridge("a", "b").after(50)

    def ivr(self):
        """1000 talks to the switch itself."""
        return self.phone_calls("a", "1000").answer("a").after(50)

    @classmethod
    def after_restart(cls, one):
        """Another engine, which finds 1000's leg and the row of it, and of whose rules none asks."""
        two = cls(enabled=False)
        two.rows.by_id = {id: dict(row) for id, row in one.rows.by_id.items()}
        leg, (row,) = two.phone_calls("a", "1000").tracker.leg("a"), two.rows.by_id.values()
        leg.answered_ms = row["answered_ms"]
        two.recorder.resumption.resume(leg, row, False, frozenset([row["master"]]), two.now)
        return two

    def spans(self, rule="account.inbound"):
        return [(span["kind"], span["to_ms"] - span["from_ms"]) for span in self.row(rule)["spans"]]


def rows(one, **columns):
    return [row for row in one.rows.by_id.values() if all(row.get(name) == value for name, value in columns.items())]


def test_what_need_not_be_announced_first_is_recorded_at_once_and_its_party_is_played_to():
    one = Told().ivr()
    assert one.row()["state"] == "recording" and one.row()["spans"] == []
    assert one.switch.of("uuid_broadcast") == [
        f"api uuid_broadcast a {{kazoo_rec_announce={one.asked('a')[0]}}}{SOUND} aleg"]
    assert one.listened == {"PLAYBACK_START", "PLAYBACK_STOP", "DTMF"}
    one.hears("a").after(50).hang_up("a")
    assert one.row()["state"] == "stopped" and one.spans() == [("announced", 2000)]
    assert len(one.asked("a")) == 1


def test_a_tone_is_played_as_well():
    one = Scene([("account", "acme", "acme", {"realm": "acme.example", "call_recording": {"account": {"any": {"any": {
        "enabled": True, "announce": {"tone": "tone_stream://%(500,100,440)"}}}}}})])
    one.phone_calls("a", "1000").answer("a").after(50)
    assert one.switch.of("uuid_broadcast a ")[0].endswith("}tone_stream://%(500,100,440) aleg")


def test_nothing_is_subscribed_to_where_nothing_is_announced():
    one = Scene([("account", "acme", "acme", {"realm": "acme.example", "call_recording": {
        "account": {"any": {"any": {"enabled": True}}}}})])
    one.phone_calls("a", "1000").answer("a").after(50)
    assert one.listened == set() and not one.switch.of("uuid_broadcast")


def test_what_must_be_announced_is_neither_armed_nor_started_before_it_was_heard_to_its_end():
    one = Told(required=True).ivr().plays("a").after(3000)
    assert not one.switch.of("execute_on_answer") and not one.switch.of("uuid_record")
    assert one.row()["state"] == "armed"
    one.played("a")
    assert len(one.switch.of("uuid_record a start")) == 1
    one.starts()
    row = one.row()
    assert (row["state"], row.get("partial")) == ("recording", None) and one.spans() == [("announced", 3000)]


def test_a_party_is_played_to_once_it_is_bridged_and_not_while_it_rings():
    one = Told(required=True)
    one.phone_calls("a", "1000").rings("b", "a", "1001").after(50)
    one.event("CHANNEL_ANSWER", "b", **CODEC).answer("a").after(50)
    assert not one.switch.of("uuid_broadcast")
    one.bridge("a", "b").after(50)
    assert len(one.asked("a")) == 1 and not one.asked("b")


@pytest.mark.parametrize("how", [{"status": "break"}, {"state": "2"}], ids=["broken off", "transferred"])
def test_what_was_not_played_whole_is_played_again_and_only_then_recorded(how):
    one = Told(required=True).ivr().plays("a").after(500).played("a", **how).after(50)
    assert len(one.asked("a")) == 2 and not one.switch.of("uuid_record")
    one.hears("a")
    assert len(one.switch.of("uuid_record a start")) == 1


def test_after_three_times_that_it_was_broken_off_it_is_not_recorded_and_the_row_says_why():
    one = Told(required=True).ivr()
    for _ in range(3):
        one.plays("a").after(500).played("a", status="break").after(50)
    assert len(one.asked("a")) == 3 and not one.switch.of("uuid_record")
    assert (one.row()["state"], one.row()["state_reason"]) == ("failed", "never announced: it was broken off each time")


def test_a_done_that_comes_with_the_hang_up_is_none():
    one = Told(required=True).ivr().plays("a").after(500).played("a", answer_state="hangup").after(50)
    assert not one.switch.of("uuid_record") and len(one.asked("a")) == 1
    one.hang_up("a")
    assert (one.row()["state"], one.row()["state_reason"]) == ("discarded", "ended before it was announced")


def test_the_end_of_another_sound_and_an_end_without_beginning_are_none():
    one = Told(required=True).ivr().plays("a").after(500).played("a", id="f" * 32).after(50)
    assert not one.switch.of("uuid_record")
    one = Told(required=True).ivr().played("a").after(50)
    assert not one.switch.of("uuid_record") and len(one.asked("a")) == 2


def test_what_the_switch_never_plays_is_a_failure():
    one = Told(required=True).ivr().after(6000).hang_up("a")
    assert (one.row()["state"], one.row()["state_reason"]) == (
        "failed", "never announced: the switch did not play it")
    one = Told(required=True).phone_calls("a", "1000").hang_up("a", "NO_ANSWER")
    assert (one.row()["state"], one.row()["state_reason"]) == ("discarded", "never answered: NO_ANSWER")


@pytest.mark.parametrize("deaf", [NotConnected("gone"), CommandFailed("refused", "-ERR"), CommandTimeout("late")])
def test_nothing_is_played_of_which_the_end_would_not_be_heard(deaf):
    one = Told(required=True)
    one.deaf = deaf
    one.ivr()
    assert not one.switch.of("uuid_broadcast")
    for _ in range(5):
        one.after(1000)
    assert one.row()["state"] == "armed"
    one.deaf = None
    one.after(1000).hears("a")
    assert len(one.switch.of("uuid_record a start")) == 1


@pytest.mark.parametrize(("fault", "asked"), [(NotConnected("gone"), 6), (CommandTimeout("late"), 3)])
def test_who_cannot_be_told_to_play_is_told_later(fault, asked):
    one = Told(required=True)
    one.switch.replies = {"uuid_broadcast": fault}
    one.ivr()
    for _ in range(5):
        one.after(1000)
    assert len(one.asked("a")) == asked
    one.switch.replies = {}
    one.after(1000)
    assert one.row()["state"] == ("failed" if asked == 3 else "armed") and not one.switch.of("uuid_record")


def test_who_cannot_be_listened_to_is_listened_to_later():
    one = Scene([("account", "acme", "acme", {"realm": "acme.example", "call_recording": {"account": {"any": {"any": {
        "enabled": True, "announce": {"opt_out_digit": "9"}}}}}})])
    one.deaf = NotConnected("gone")
    one.phone_calls("a", "1000").answer("a").after(50)
    one.deaf = None
    one.after(1000)
    assert "DTMF" in one.listened and not one.switch.of("uuid_broadcast")
    one.event("DTMF", "a", **{"DTMF-Digit": "9"})
    assert len(one.switch.of("uuid_record a stop")) == 1


def test_what_may_have_been_missed_is_played_again():
    one = Told(required=True).ivr().plays("a")
    one.recorder.endings.lose(one.recorder.resumption.unlisted(one.tracker.leg("a"), frozenset()), one.now)
    one.after(50).hears("a")
    assert len(one.asked("a")) == 2 and len(one.switch.of("uuid_record a start")) == 1


def test_for_both_both_have_to_hear_it():
    one = Told(required=True, to="both").call()
    assert len(one.asked("a")) == len(one.asked("b")) == 1
    one.plays("a").plays("b").after(1000).played("a").after(500)
    assert not one.switch.of("uuid_record")
    one.played("b").starts()
    assert one.row("account.inbound")["state"] == "recording" and one.spans() == [("announced", 1500)]


def test_for_both_it_is_not_recorded_while_there_is_nobody_else():
    one = Told(required=True, to="both").ivr().after(9000)
    assert not one.switch.of("uuid_broadcast") and not one.switch.of("uuid_record")
    one.hang_up("a")
    assert (one.row()["state"], one.row()["state_reason"]) == (
        "discarded", "never announced: there was nobody on the other side")


def test_who_comes_by_a_transfer_hears_it_too_and_what_must_be_announced_begins_anew():
    one = Told(required=True, to="both").call().plays("a").plays("b").after(1000).played("a").played("b").starts()
    first, = rows(one, state="recording")
    one.hang_up("b").rings("c", "a", "1002").event("CHANNEL_ANSWER", "c", **CODEC).bridge("a", "c").after(50)
    assert len(one.switch.of("uuid_record a stop")) == 1 and len(one.asked("c")) == 1 and len(one.asked("a")) == 1
    one.after(50).stops().hears("c").starts()
    second, = rows(one, state="recording")
    assert one.rows.by_id[first["id"]]["state"] == "stopped" and second["id"] != first["id"]
    assert second["interaction_id"] == first["interaction_id"]
    assert [span["kind"] for span in second["spans"]] == ["announced"]


def test_who_comes_by_a_transfer_hears_what_need_not_be_announced_first_and_the_recording_goes_on():
    one = Told(to="both").call().plays("a").plays("b").after(1000).played("a").played("b")
    one.hang_up("b").rings("c", "a", "1002").event("CHANNEL_ANSWER", "c", **CODEC).bridge("a", "c").after(50)
    assert len(one.asked("c")) == 1 and not one.switch.of("uuid_record a stop")


def test_a_leg_hears_a_sound_once_for_all_its_recordings():
    one = Told(endpoint={"outbound": {"any": {"enabled": True, "announce": {"file": SOUND, "required": True}}}},
               required=True).call().hears("a")
    assert len(one.asked("a")) == 1 and len(one.switch.of("uuid_record a start")) == 2


def test_what_is_paused_as_it_was_announced_waits_for_the_end_of_the_pause():
    one = Told(required=True).ivr().plays("a")
    recording, = one.tracker.leg("a").recordings
    one.recorder.silence(recording, "pause")
    one.after(500).played("a").after(500)
    assert not one.switch.of("uuid_record")
    one.recorder.unsilence(recording, "pause", one.epoch_ms)
    one.switch.replies = {"uuid_buglist": "<media-bugs>\n</media-bugs>\n"}
    one.after(250)
    assert len(one.switch.of("uuid_record a start")) == 1


def test_an_announced_recording_that_is_taken_up_again_is_not_announced_again():
    one = Told(required=True).ivr().hears("a").starts()
    two = Told.after_restart(one).after(1000)
    assert not two.switch.of("uuid_broadcast") and two.listened and two.row()["id"] in two.recorder



# -- no


def test_who_presses_the_digit_is_not_recorded_any_more_and_what_exists_is_to_be_erased():
    one = Told(opt_out_digit="9").ivr().plays("a").presses("a", "8")
    assert not one.switch.of("uuid_record a stop")
    one.presses("a", "9")
    assert len(one.switch.of("uuid_record a stop")) == 1 and one.spans() == [("declined", 0)]
    one.stops()
    assert one.row()["state"] == "stopped"  # delivery discards it: the span says so


def test_what_was_not_begun_is_discarded_and_no_rule_asks_again():
    one = Told(required=True, opt_out_digit="9", endpoint={"any": {"any": {"enabled": True}}}).ivr().plays("a")
    one.presses("a", "9").played("a", status="break").after(50)
    assert one.row("account.inbound")["state_reason"] == "declined" and len(one.asked("a")) == 1
    one.rings("b", "a", "1001").answer("b").bridge("a", "b").after(50)
    assert {row["state"] for row in one.rows.by_id.values()} <= {"discarded", "recording"}
    assert {(row["rule"], row["state_reason"]) for row in rows(one, state="discarded")} >= {
        ("account.inbound", "declined"), ("callee.inbound", "declined")}
    assert not one.switch.of("uuid_record b start")


def test_all_that_the_account_records_of_the_call_ends():
    one = Told(opt_out_digit="*", to="both", endpoint={"inbound": {"any": {"enabled": True}}}).call()
    one.answer("b")
    for id, path in one.armed("b").items():
        one.record_start("b", id, path)
    one.presses("b", "*")
    assert len(one.switch.of("uuid_record a stop")) == len(one.switch.of("uuid_record b stop")) == 1


def test_who_it_is_not_announced_to_presses_his_keys_for_something_else():
    one = Told(opt_out_digit="*").call().presses("b", "*")
    assert not one.switch.of("uuid_record a stop")


def test_a_start_that_was_on_its_way_as_it_was_declined_is_stopped_and_removed():
    one = Told(required=True, opt_out_digit="9").ivr().hears("a").presses("a", "9")
    assert one.row()["state"] == "discarded"
    one.starts().stops()
    assert one.removed and one.row()["state_reason"] == "declined"


def test_an_engine_after_it_stops_and_erases_what_was_declined():
    one = Told(opt_out_digit="9").ivr().presses("a", "9")
    two = Told.after_restart(one)
    assert len(two.switch.of("uuid_record a stop")) == 1
    two.stops()
    assert two.row()["state"] == "stopped" and two.spans() == [("declined", 0)]


def test_an_engine_after_it_stops_what_was_declined_as_it_was_about_to_begin():
    one = Told(required=True, opt_out_digit="9").ivr().hears("a").presses("a", "9")
    two = Told.after_restart(one)
    assert two.row()["state"] == "discarded" and len(two.switch.of("uuid_record a stop")) == 1
    two.stops()
    assert two.row()["state"] == "stopped"


def test_a_digit_is_in_no_log_and_no_row():
    one = Told(opt_out_digit="9").ivr()
    with capture_logs() as said:
        one.presses("a", "4").presses("a", "9")
    assert [set(line) for line in said] == [{"event", "log_level", "call_id", "recording_id"}]
    assert one.row()["spans"] == [{"kind": "declined", "from_ms": one.epoch_ms, "to_ms": one.epoch_ms}]


def test_a_leg_that_is_gone_as_it_is_played_to_is_no_failure():
    one = Told(required=True)
    one.switch.replies = {"uuid_broadcast": CommandFailed("refused", "-ERR invalid uuid")}
    one.ivr().hang_up("a")
    assert one.row()["state"] == "discarded"
