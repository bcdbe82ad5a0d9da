"""Wanted and not recorded: who is told, when the call is ended for it, and when that is over."""

import pytest
from structlog.testing import capture_logs

from kazoo_rec.calls.recording import Past, told
from kazoo_rec.errors import CommandFailed, CommandTimeout, NotConnected
from kazoo_rec.policy.settings import DEFAULTS

from .fakes import NO_MEDIA, Scene

NOTHING = "<media-bugs>\n</media-bugs>\n"
LISTED = """<media-bugs>
 <media-bug>
  <function>session_record</function>
  <target>{}</target>
 </media-bug>
</media-bugs>
"""


def scene(stance="alarm", documents=(), **settings):
    return Scene([("account", "acme", "acme", {
        "realm": "acme.example", **({"on_no_recording": stance} if stance else {}), "call_recording": {
            "account": {"any": {"any": {"enabled": True, "status_callback": "https://told.example", **settings}}}}}),
        *documents])


def silent(stance="alarm", **settings):
    """A phone that is answered, and a switch that takes every command and begins nothing."""
    one = scene(stance, **settings)
    one.switch.replies = {"uuid_buglist": NOTHING}
    return one.phone_calls("a", "1000").answer("a", start=False)


def passes(one, ms):
    for _ in range(ms // 50):
        one.after(50)
    return one


def missing(one):
    """(legs without their recording, alarms so far, webhooks that said so)"""
    value = one.meter.registry.get_sample_value
    return (one.recorder.missing(one.now)[0], value("kazoo_rec_not_recorded_alarms_total"),
            [state for _, state in one.rows.told].count("missing"))


def starts(one, path=None):
    row = one.row()
    return one.record_start("a", row["id"], path or f"/rec/{row['master']}")


def test_a_leg_that_is_not_recorded_for_more_than_a_second_is_an_alarm_once():
    with capture_logs() as lines:
        one = passes(silent(), 1000)
        assert missing(one) == (0, 0, 0)
        passes(one, 5000)
    assert missing(one) == (1, 1, 1)
    (line,) = [line for line in lines if line["event"] == "a leg is not being recorded"]
    assert (line["call_id"], line["recording_id"], line["account"]) == ("a", one.row()["id"], "acme")
    (recording,) = one.tracker.leg("a").recordings
    assert 0 <= told(recording)["not_recorded_since_ms"] - one.tracker.leg("a").answered_ms <= 50
    assert not one.switch.of("uuid_kill")


def test_what_begins_in_time_is_none_and_what_begins_later_ends_it():
    one = passes(starts(passes(silent(), 900)), 3000)
    assert missing(one) == (0, 0, 0)
    one = passes(silent(), 1500)
    assert missing(one) == (1, 1, 1)
    passes(starts(one), 100)
    assert missing(one) == (0, 1, 1)
    assert told(one.tracker.leg("a").recordings[0])["not_recorded_since_ms"] is None


def test_the_end_of_the_leg_ends_it_and_the_row_is_failed():
    one = passes(silent(), 2000)
    passes(one.hang_up("a"), 100)
    assert missing(one) == (0, 1, 1) and one.row()["state"] == "failed"


@pytest.mark.parametrize("stance", [None, "alarm"])
def test_an_alarm_is_what_an_account_has_that_says_nothing(stance):
    assert missing(passes(silent(stance), 2000)) == (1, 1, 1)


def test_who_continues_has_no_alarm_and_a_failed_row():
    one = passes(silent("continue"), 5000)
    assert missing(one) == (0, 0, 0) and not one.switch.of("uuid_kill")
    assert one.hang_up("a").row()["state"] == "failed"


def test_before_the_answer_nothing_is_missing():
    one = scene("hangup").phone_calls("a", "1000")
    assert missing(passes(one, 30_000)) == (0, 0, 0)


def test_what_waits_for_the_bridge_is_missing_after_both():
    one = scene(record_on_bridge=True).phone_calls("a", "1000").answer("a", start=False)
    one.switch.replies = {"uuid_buglist": NOTHING}
    assert missing(passes(one, 5000)) == (0, 0, 0)
    one.rings_carrier("b", "a").bridge("a", "b")
    assert missing(passes(one, 1500))[:2] == (1, 1)


def test_a_held_leg_is_not_missing_until_it_is_back():
    one = silent().event("CHANNEL_HOLD", "a")
    assert missing(passes(one, 5000)) == (0, 0, 0)
    passes(one.event("CHANNEL_UNHOLD", "a"), 1000)
    assert missing(one) == (0, 0, 0)
    assert missing(passes(one, 500)) == (1, 1, 1)


def test_what_is_silenced_before_it_begins_is_silent_on_purpose():
    one = silent("hangup")
    one.recorder.silence(one.tracker.leg("a").recordings[0], "mask")
    assert missing(passes(one, 10_000)) == (0, 0, 0) and not one.switch.of("uuid_kill")


def test_what_waits_to_be_announced_is_none():
    one = silent("hangup", announce={"tone": "tone_stream://%(500,100,440)", "required": True})
    assert missing(passes(one, 900)) == (0, 0, 0)
    assert missing(passes(one, 5000))[:2] == (0, 0) and not one.switch.of("uuid_kill")


def test_what_somebody_stopped_or_declined_is_none():
    one = silent("hangup")
    one.recorder.call_off(one.tracker.leg("a").recordings[0], "an agent", one.now)
    assert missing(passes(one, 5000)) == (0, 0, 0) and not one.switch.of("uuid_kill")
    one = starts(silent("hangup"))
    one.recorder.ends(one.tracker.leg("a").recordings[0], one.now)
    one.record_stop("a", one.row()["id"], f"/rec/{one.row()['master']}")
    assert missing(passes(one, 5000)) == (0, 0, 0) and not one.switch.of("uuid_kill")


def test_what_has_reached_its_limit_is_none():
    one = starts(silent("hangup", time_limit=5))
    passes(one, 5000).record_stop("a", one.row()["id"], f"/rec/{one.row()['master']}", "success-maxtime")
    assert missing(passes(one, 5000)) == (0, 0, 0) and not one.switch.of("uuid_kill")


def test_what_ends_by_nobodys_order_while_its_leg_goes_on_is_missing():
    one = passes(starts(silent("hangup")), 3000)
    one.record_stop("a", one.row()["id"], f"/rec/{one.row()['master']}", "uri-failure")
    assert missing(passes(one, 1500))[:2] == (1, 1)
    passes(one, 1000)
    assert one.switch.of("uuid_kill")


def test_what_was_taken_along_by_a_transfer_is_none_once_another_follows_it():
    one = passes(starts(silent("hangup")), 3000)
    one.switch.replies = {}
    one.obedient()
    one.event("MEDIA_BUG_START", "b", **{"Media-Bug-Target": f"/rec/{one.row()['master']}"})
    assert missing(passes(one, 5000)) == (0, 0, 0) and not one.switch.of("uuid_kill")
    assert [row["state"] for row in one.rows.by_id.values()] == ["stopped", "recording"]


def test_a_recording_that_the_switch_refuses_is_missing_too():
    one = scene("hangup")
    one.switch.replies = {"uuid_record": NO_MEDIA, "uuid_buglist": NOTHING}
    one.phone_calls("a", "1000").answer_unarmed("a")
    assert one.row()["state"] == "failed"
    assert missing(passes(one, 1500))[:2] == (1, 1)
    assert passes(one, 1000).switch.of("uuid_kill") == ["api uuid_kill a SERVICE_UNAVAILABLE"]


# -- the call is ended for it


def test_the_call_is_hung_up_after_the_fallback_has_had_its_time():
    one = passes(silent("hangup"), 1950)
    assert missing(one) == (1, 1, 1) and not one.switch.of("uuid_kill")
    passes(one, 200)
    assert one.switch.of("uuid_kill") == ["api uuid_kill a SERVICE_UNAVAILABLE"]
    assert one.switch.commands.index("api uuid_kill a SERVICE_UNAVAILABLE") > one.switch.commands.index(
        "api uuid_buglist a")
    assert one.meter.registry.get_sample_value("kazoo_rec_not_recorded_hangups_total") == 1


def test_what_the_switch_lists_goes_on_though_its_start_was_not_heard():
    one = silent("hangup")
    one.switch.replies = {"uuid_buglist": CommandTimeout("no answer")}
    passes(one, 1950)
    one.switch.replies = {"uuid_buglist": LISTED.format(f"/rec/{one.row()['master']}")}
    passes(one, 5000)
    assert not one.switch.of("uuid_kill") and one.row()["state"] == "recording" and missing(one)[0] == 0


@pytest.mark.parametrize("unheard", [CommandTimeout("no answer"), NotConnected("gone")])
def test_where_the_switch_does_not_answer_nothing_is_hung_up_and_it_is_asked_again(unheard):
    one = silent("hangup")
    one.switch.replies = {"uuid_buglist": unheard}
    passes(one, 5000)
    assert not one.switch.of("uuid_kill")
    one.switch.replies = {"uuid_buglist": NOTHING}
    assert passes(one, 1500).switch.of("uuid_kill")


def test_a_kill_that_was_not_heard_is_said_again():
    one = silent("hangup")
    one.switch.replies |= {"uuid_kill": CommandTimeout("no answer")}
    assert len(passes(one, 4500).switch.of("uuid_kill")) == 3
    assert one.meter.registry.get_sample_value("kazoo_rec_not_recorded_hangups_total") == 0


def test_what_begins_while_the_switch_is_asked_is_not_hung_up():
    one = passes(silent("hangup"), 2000)
    one.switch.replies, one.switch.obeys = {}, lambda command: starts(one)
    one.held_back = []
    one.after(50)
    orders, one.held_back = one.held_back, None
    (hang_up,) = [order for order in orders if order[0].__name__ == "_hang_up"]
    hang_up[0](*hang_up[1])
    assert passes(one, 3000).row()["state"] == "recording" and not one.switch.of("uuid_kill")


def test_a_leg_of_another_account_is_never_hung_up():
    beta = ("account", "beta", "beta", {"realm": "beta.example"})
    one = scene("hangup", [beta])
    one.switch.replies = {"uuid_buglist": NOTHING}
    one.phone_calls("a", "1000", "beta.example").answer("a", start=False)
    leg = one.tracker.leg("a")
    one.recorder.want(leg, [(Past("api", "A", dict(DEFAULTS), {}, "acme had it recorded"), "acme", None, True)],
                      "onnet", one.now)
    passes(one, 5000)
    assert missing(one)[:2] == (1, 1) and not one.switch.of("uuid_kill")


def test_an_engine_that_comes_back_and_begins_now_hangs_nobody_up():
    one = scene("hangup").obedient()
    one.phone_calls("a", "1000")
    one.now += 60_000
    one.answer_unarmed("a")
    passes(one, 5000)
    assert missing(one) == (0, 0, 0) and not one.switch.of("uuid_kill")


def test_nothing_is_left_of_legs_that_are_gone():
    one = passes(silent(), 3000)
    one.tracker.keep_only(set(), "the switch does not have it")
    passes(one, 200)
    assert missing(one)[0] == 0 and one.recorder.missing(one.now) == (0, 0)


def test_the_dialplan_s_guard_is_called_off_as_recording_begins_and_only_where_there_may_be_one():
    one = scene("hangup", [("device", "acme", "dev-1001", {"sip": {"username": "1001"}})])
    one.switch.replies = {"sched_del": CommandFailed("refused", "-ERR")}
    one.phone_calls("a", "1000").rings("b", "a", "1001").answer("b").answer("a").bridge("a", "b")
    assert one.switch.of("sched_del") == ["api sched_del kazoo_rec_a"]
    one = scene("alarm").phone_calls("a", "1000").answer("a")
    assert one.row()["state"] == "recording" and not one.switch.of("sched_del")


def test_where_the_callee_is_recorded_the_caller_s_guard_is_called_off_too():
    one = Scene([("account", "acme", "acme", {"realm": "acme.example", "on_no_recording": "hangup", "call_recording": {
        "endpoint": {"inbound": {"any": {"enabled": True}}}}}),
        *(("device", "acme", f"dev-{user}", {"sip": {"username": user}}) for user in ("1000", "1001"))])
    one.phone_calls("a", "1000").rings("b", "a", "1001").answer("b")
    assert one.switch.of("sched_del") == ["api sched_del kazoo_rec_b", "api sched_del kazoo_rec_a"]


def guarded(**replies):
    """A leg that is recorded, whose account may have a guard on it."""
    one = scene("hangup")
    one.switch.replies = replies
    return one.phone_calls("a", "1000").answer("a")


def test_a_guard_that_is_set_as_recording_begins_is_called_off_all_the_same():
    """The switch executes what is armed before it sets the guard (switch_channel.c, perform_mark_answered)."""
    one = passes(guarded(), 900)
    assert len(one.switch.of("sched_del")) == 1
    assert len(passes(one, 10_000).switch.of("sched_del")) == 2


@pytest.mark.parametrize("unheard", [CommandTimeout("no answer"), NotConnected("gone")])
def test_a_guard_of_which_the_switch_did_not_hear_is_called_off_until_it_has(unheard):
    one = passes(guarded(sched_del=unheard), 2500)
    assert len(one.switch.of("sched_del")) == 3
    one.switch.replies.clear()
    passes(one, 1000)
    assert len(one.switch.of("sched_del")) == 4 and len(passes(one, 10_000).switch.of("sched_del")) == 4


def test_a_caller_that_answers_long_after_the_callee_is_recorded_has_no_guard_left():
    one = Scene([("account", "acme", "acme", {"realm": "acme.example", "on_no_recording": "hangup", "call_recording": {
        "endpoint": {"inbound": {"any": {"enabled": True}}}}}),
        *(("device", "acme", f"dev-{user}", {"sip": {"username": user}}) for user in ("1000", "1001"))])
    passes(one.phone_calls("a", "1000").rings("b", "a", "1001").answer("b"), 5000)
    before = len(one.switch.of("sched_del kazoo_rec_a"))
    passes(one.answer("a"), 2000)
    assert len(one.switch.of("sched_del kazoo_rec_a")) == before + 1
    assert not passes(one.hang_up("a").hang_up("b"), 2000).switch.of("uuid_kill")


def test_a_guard_of_a_leg_that_is_gone_is_not_called_off():
    one = guarded(sched_del=NotConnected("gone"))
    passes(one.hang_up("a"), 5000)
    assert len(one.switch.of("sched_del")) == 1
