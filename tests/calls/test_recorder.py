"""Armed, verified, fallen back on; held, limited, doubled, dropped."""

import pytest
from gevent.event import AsyncResult, Event

from kazoo_rec.calls.files import Files
from kazoo_rec.errors import CommandFailed, CommandTimeout, NotConnected

from .fakes import CODEC, ROOT, Scene, done

BUGS = """<media-bugs>
 <media-bug>
  <function>session_record</function>
  <target>{}</target>
 </media-bug>
</media-bugs>
"""


def scene(files=None, **settings):
    return Scene([("account", "acme", "acme", {"realm": "acme.example", "call_recording": {
        "account": {"any": {"any": {"enabled": True, **settings}}}}})], files=files)


def path_of(one):
    return f"/rec/{one.row()['master']}"


def fallback_of(one):
    return f"/rec/{one.row()['account_id']}/{path_of(one).split('/')[3]}/{one.row()['id']}.f.wav"


def test_an_arming_that_comes_too_late_is_followed_by_a_start_at_once_under_another_name():
    one = scene()
    with one.slow_switch():
        one.phone_calls("a", "1000")
        waiting = one.held_back[:]
        one.held_back.clear()
        one.answer_unarmed("a")
    started = one.switch.of("uuid_record a start")
    assert len(started) == 1 and f" {fallback_of(one)} " in started[0]
    for function, args in waiting:  # the arming leaves its queue only now: the leg has answered, it stays unsent
        function(*args)
    assert not one.switch.of("execute_on_answer")


def test_a_leg_is_armed_though_its_row_and_its_directory_hang(monkeypatch):
    hang = Event()
    one = scene(files=Files(ROOT, ROOT, lambda function, args: hang.wait()))
    monkeypatch.setattr(one.rows, "insert", lambda row: AsyncResult())
    one.phone_calls("a", "1000")
    assert one.switch.of("execute_on_answer") and not hang.is_set()


def test_a_leg_that_is_heard_of_at_its_answer_is_recorded_from_there():
    one = scene().phone_calls("a", "1000")
    for uuid, headers in (("b", {"Call-Direction": "outbound", "variable_originator": "a",
                                 "Channel-Presence-ID": "1001@acme.example"}),
                          ("c", {"Call-Direction": "inbound", "variable_sip_authorized": "true",
                                 "variable_sip_auth_username": "1002", "variable_sip_auth_realm": "acme.example"})):
        one.event("CHANNEL_ANSWER", uuid, **{"Channel-Name": "sofia/internal/x", "variable_sofia_profile_name":
                                             "internal", "Channel-Read-Codec-Name": "PCMU", **headers})
    one.answer("a").bridge("a", "b")
    assert one.tracker.leg("b").called and one.tracker.leg("b").call is one.tracker.leg("a").call
    assert one.recordings() == {("account.inbound", "a"): "recording", ("account.inbound", "c"): "armed"}
    assert len(one.switch.of("uuid_record c start")) == 1


def test_an_armed_recording_is_given_time_to_start():
    one = scene()
    one.phone_calls("a", "1000").answer("a", start=False).after(200)
    assert not one.switch.of("uuid_record") and not one.switch.of("uuid_buglist")
    (id, path), = one.armed("a").items()
    one.record_start("a", id, path).after(200)
    assert one.row()["state"] == "recording" and not one.switch.of("uuid_record")


def test_an_armed_recording_that_does_not_start_is_looked_for_then_started():
    one = scene()
    one.switch.replies = {"uuid_buglist": "<media-bugs>\n</media-bugs>\n"}
    one.phone_calls("a", "1000").answer("a", start=False).after(250)
    assert [command.split()[1] for command in one.switch.commands[1:]] == [
        "uuid_buglist", "uuid_record"]


def test_what_the_switch_lists_is_not_started_again():
    one = scene()
    one.phone_calls("a", "1000")
    one.switch.replies = {"uuid_buglist": BUGS.format(path_of(one))}
    one.answer("a", start=False).after(250).after(250).after(250)
    assert one.row()["state"] == "recording"
    assert not one.switch.of("uuid_record") and len(one.switch.of("uuid_buglist")) == 1


def ring_group():
    """Two phones of an account that records every callee ring for a third."""
    one = Scene([("account", "acme", "acme", {"realm": "acme.example", "call_recording": {
        "endpoint": {"inbound": {"any": {"enabled": True}}}}}),
        *(("device", "acme", f"dev-{user}", {"sip": {"username": user}}) for user in ("1000", "1001", "1002"))])
    one.phone_calls("a", "1000")
    return one.rings("b", "a", "1001").rings("c", "a", "1002")


def test_of_two_callees_that_answer_at_once_one_is_started_when_the_bridge_says_which():
    one = ring_group()
    one.answer_unarmed("b").answer_unarmed("c")
    assert not one.switch.of("uuid_record")
    one.bridge("a", "c")
    assert [command.split()[2] for command in one.switch.of("uuid_record")] == ["c"]
    started = next(row for row in one.rows.by_id.values() if row["call_id"] == "c")
    one.record_start("c", started["id"], f"/rec/{started['master']}").hang_up("b", "LOSE_RACE").after(1000)
    assert [command.split()[2] for command in one.switch.of("uuid_record")] == ["c"]


def test_a_callee_that_is_never_bridged_is_started_all_the_same():
    one = ring_group()
    one.switch.replies = {"uuid_buglist": "<media-bugs>\n</media-bugs>\n"}
    one.answer_unarmed("b").after(250)
    assert [command.split()[2] for command in one.switch.of("uuid_record")] == ["b"]


def test_of_a_start_that_came_late_the_row_says_how_much_is_missing():
    one = scene()
    one.phone_calls("a", "1000").answer_unarmed("a").after(480)
    one.record_start("a", one.row()["id"], fallback_of(one))
    row = one.row()
    assert row["partial"] and row["state_reason"] == "0.5 s before it were missed: the switch began late"
    (gap,) = row["spans"]
    assert (gap["from_ms"], gap["to_ms"]) == (row["answered_ms"], row["started_ms"])


def test_of_a_late_start_of_which_only_the_end_was_heard_the_row_says_how_much_is_missing():
    one = scene()
    one.phone_calls("a", "1000")
    with one.slow_switch():
        one.answer_unarmed("a").after(480)
    one.now += 200
    one.record_stop("a", one.row()["id"], fallback_of(one), **{"Answer-State": "hangup"})
    one.event("CHANNEL_HANGUP_COMPLETE", "a").event("CHANNEL_DESTROY", "a")
    row = one.row()
    assert (row["state"], row["partial"]) == ("stopped", True)
    assert row["state_reason"] == "0.5 s before it were missed: the switch began late"
    assert (row["started_ms"] - row["answered_ms"], row["expected_ms"]) == (480, 200)


def test_what_is_looked_for_late_began_when_the_switch_took_the_command():
    one = scene()
    one.phone_calls("a", "1000").answer_unarmed("a")
    one.switch.runs = lambda uuid: [fallback_of(one)]
    with one.slow_switch():
        one.after(3000)
    row = one.row()
    assert row["state"] == "recording" and row["started_ms"] == row["answered_ms"]


def test_a_leg_that_is_gone_is_not_told_of_for_each_look_for_its_recording(capsys):
    one = scene()
    one.phone_calls("a", "1000").answer("a", start=False)
    capsys.readouterr()
    one.switch.replies["uuid_buglist"] = CommandFailed("FreeSWITCH refused a command", "-ERR no reply")
    for _ in range(4):
        one.after(250)
    assert one.switch.of("uuid_buglist") and "did not hear" not in capsys.readouterr().out


@pytest.mark.parametrize("answer", [None, OSError("it was refused")])
def test_a_recording_whose_row_does_not_say_that_it_was_dropped_keeps_its_file(answer):
    one = scene()
    one.phone_calls("a", "1000")
    one.answer("a")
    (recording,) = one.tracker.leg("a").recordings
    one.recorder.drop(recording, "the call went onnet", one.now)
    one.rows.update = lambda *_, **columns: done(0, answer)
    one.record_stop("a", recording.id, f"{ROOT}/{recording.armed_path}")
    assert recording.state == "discarded" and one.removed == []


def test_if_both_start_the_later_is_stopped_by_its_path_and_removed():
    one = scene()
    one.phone_calls("a", "1000")
    one.answer_unarmed("a")
    id, fallback = one.row()["id"], fallback_of(one)
    one.record_start("a", id, path_of(one))
    one.record_start("a", id, fallback)
    assert one.switch.of("uuid_record a stop") == [f"api uuid_record a stop {fallback}"]
    one.record_stop("a", id, fallback, "success-maxtime")
    assert one.removed == [fallback.removeprefix("/rec/")]
    assert one.row()["state"] == "recording" and "/" + one.row()["id"] + ".wav" in one.row()["master"]
    one.hang_up("a")
    assert one.row()["state"] == "stopped"


def test_a_stop_that_is_not_obeyed_is_sent_again():
    one = scene()
    one.phone_calls("a", "1000")
    one.answer_unarmed("a")
    one.record_start("a", one.row()["id"], path_of(one)).record_start("a", one.row()["id"], fallback_of(one))
    one.after(999)
    assert len(one.switch.of("stop")) == 1
    one.after(1)
    assert len(one.switch.of("stop")) == 2
    one.record_stop("a", one.row()["id"], fallback_of(one)).after(1000).after(1000)
    assert len(one.switch.of("stop")) == 2


def test_a_stop_that_waits_for_its_turn_is_not_sent_beside_another():
    one = scene()
    one.phone_calls("a", "1000").answer_unarmed("a")
    one.record_start("a", one.row()["id"], path_of(one))
    with one.slow_switch():
        one.record_start("a", one.row()["id"], fallback_of(one)).after(1000).after(1000)
        assert len(one.held_back) == 1
    assert len(one.switch.of("stop")) == 1


def test_a_start_that_nobody_answered_is_verified_and_tried_again():
    one = scene()
    one.switch.replies = {"uuid_record": CommandTimeout("no answer"), "uuid_buglist": NotConnected("gone")}
    one.phone_calls("a", "1000")
    one.answer_unarmed("a").after(250)
    assert one.row()["state"] == "armed"
    one.switch.replies = {"uuid_buglist": "<media-bugs>\n</media-bugs>\n"}
    one.after(250)
    assert len(one.switch.of("uuid_record a start")) == 2


def test_the_switch_gets_one_second_more_than_the_limit():
    one = scene(time_limit=5)
    one.phone_calls("a", "1000")
    assert " +6 " in one.switch.commands[0]


def test_a_recording_ended_by_its_limit_says_so():
    one = scene(time_limit=5)
    one.phone_calls("a", "1000").answer("a").after(5980)
    one.record_stop("a", one.row()["id"], path_of(one), "success-maxtime")
    assert one.row()["state"] == "stopped" and one.row()["truncated_by_limit"] is True


def test_record_on_bridge_counts_its_limit_from_the_bridge():
    one = scene(record_on_bridge=True, time_limit=5)
    one.phone_calls("a", "1000")
    assert " +0 " in one.switch.commands[0] and "RECORD_BRIDGE_REQ=true" in one.switch.commands[0]
    one.answer("a").after(2500).rings("b", "a", "1001").answer("b").bridge("a", "b").after(4999)
    assert not one.switch.of("stop")
    one.after(1)
    assert one.switch.of("stop") == [f"api uuid_record a stop {path_of(one)}"]
    one.record_stop("a", one.row()["id"], path_of(one), "success-maxtime")
    assert one.row()["truncated_by_limit"] is True and one.row()["expected_ms"] == 5000


def test_record_on_bridge_that_is_never_bridged_is_discarded():
    one = scene(record_on_bridge=True)
    one.phone_calls("a", "1000").answer("a").after(9000)
    one.record_stop("a", one.row()["id"], path_of(one), "empty-file")
    assert one.row()["state"] == "discarded" and one.row()["state_reason"] == "empty"


def test_a_long_talk_without_a_sample_is_a_loss():
    one = scene()
    one.phone_calls("a", "1000").answer("a").after(5000)
    one.record_stop("a", one.row()["id"], path_of(one), "empty-file")
    assert (one.row()["state"], one.row()["state_reason"]) == ("failed", "no media")


def test_a_hold_by_the_leg_is_a_span_and_shortens_what_is_expected():
    one = scene()
    one.phone_calls("a", "1000").answer("a").after(1500)
    one.event("CHANNEL_HOLD", "a").after(3000).event("CHANNEL_UNHOLD", "a").after(1500).hang_up("a")
    row = one.row()
    assert [span["to_ms"] - span["from_ms"] for span in row["spans"]] == [3000]
    assert row["expected_ms"] == 3000


def test_a_hold_that_lasts_to_the_end_is_closed_by_it():
    one = scene()
    one.phone_calls("a", "1000").answer("a").after(1500).event("CHANNEL_HOLD", "a").after(2000).hang_up("a")
    assert one.row()["expected_ms"] == 1500


def test_a_stop_that_is_heard_after_a_restart_closes_the_row():
    one, restarted = scene(), scene()
    one.phone_calls("a", "1000").answer("a")
    restarted.rows.by_id.update(one.rows.by_id)
    restarted.record_stop("a", one.row()["id"], path_of(one))
    assert restarted.row()["state"] == "stopped"


def test_recordings_of_others_are_left_alone():
    one = scene()
    one.phone_calls("a", "1000").answer("a")
    before = list(one.switch.commands)
    one.event("RECORD_START", "a", **{"Record-File-Path": "/var/lib/freeswitch/theirs.wav"})
    one.event("RECORD_STOP", "a", **{"Record-File-Path": "/var/lib/freeswitch/theirs.wav"})
    assert one.switch.commands == before and one.removed == [] and one.row()["state"] == "recording"


@pytest.mark.parametrize(("codecs", "rate"), [
    ("mod_opus.opus@48000h@20i@2c,CORE_PCM_MODULE.PCMU@8000h@20i@64000b", 16000),
    ("mod_spandsp.G722@8000h@20i@64000b,CORE_PCM_MODULE.PCMU@8000h@20i@64000b", 16000),
    ("CORE_PCM_MODULE.PCMU@8000h@20i@64000b,mod_opus.opus@48000h@20i", 8000),
    ("", 8000),
])
def test_a_wideband_leg_gets_a_wideband_master(codecs, rate):
    one = scene()
    one.create("a", sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example",
               ep_codec_string=codecs)
    assert f"record_sample_rate={rate}" in one.switch.commands[0]


def test_a_leg_whose_id_cannot_be_part_of_a_command_is_reported():
    one = scene()
    one.phone_calls("a b;c", "1000")
    assert one.switch.commands == []
    assert (one.row()["state"], one.row()["state_reason"]) == ("failed", "the leg's id cannot be part of a command")


def test_a_talk_of_which_nothing_was_recorded_is_a_loss_whatever_was_in_the_way():
    one = scene()
    one.switch.replies = {"uuid_": NotConnected("gone")}
    one.phone_calls("a", "1000").answer_unarmed("a")
    for _ in range(30):
        one.after(100)
    one.hang_up("a")
    assert (one.row()["state"], one.row()["state_reason"]) == ("failed", "never started: the switch did not obey")


def test_a_leg_that_ends_at_its_answer_is_no_loss():
    one = scene()
    one.phone_calls("a", "1000").answer("a", start=False).after(200).hang_up("a")
    assert one.row()["state"] == "discarded"


def test_one_start_at_a_time_is_on_its_way():
    one = scene()
    one.phone_calls("a", "1000")
    with one.slow_switch():
        one.answer_unarmed("a").after(250).after(250).after(250)
        assert len(one.held_back) == 1
    assert len(one.switch.of("uuid_record a start")) == 1


def test_nothing_is_set_on_a_leg_that_other_recordings_go_by():
    one = scene()
    one.phone_calls("a", "1000").answer_unarmed("a")
    assert [command.split()[1] for command in one.switch.commands] == ["uuid_setvar_multi", "uuid_record"]
    names = [part.partition("=")[0] for part in one.switch.commands[0].split(" ", 3)[3].split(";")]
    assert names == [f"execute_on_answer_{one.row()['id']}"]


def test_a_leg_that_hung_up_before_its_start_is_no_failure_of_media():
    one = scene()
    one.switch.replies = {"uuid_record": CommandFailed("refused", "-ERR Cannot locate session!")}
    one.phone_calls("a", "1000")
    one.answer_unarmed("a").hang_up("a")
    assert (one.row()["state"], one.row()["state_reason"]) == ("discarded", "ended before it started")


def test_a_call_that_an_engine_hears_of_when_it_is_over_is_a_loss_however_fast_it_hears_it():
    one = scene()
    one.switch.replies = {"uuid_record": CommandFailed("refused", "-ERR Cannot locate session!")}
    five_s_ago = str((one.epoch_ms - 5000) * 1000)
    one.phone_calls("a", "1000").event("CHANNEL_ANSWER", "a", **CODEC, **{"Event-Date-Timestamp": five_s_ago})
    one.hang_up("a")
    assert (one.row()["state"], one.row()["state_reason"]) == (
        "failed", "ended before it started: the engine heard late of the call")


def test_a_stop_by_somebody_else_is_not_the_limit():
    one = scene()
    one.phone_calls("a", "1000").answer("a").after(3000)
    one.record_stop("a", one.row()["id"], path_of(one), "success-maxtime")
    assert one.row()["truncated_by_limit"] is False


def test_a_hold_begun_before_the_recording_is_a_span_from_its_start():
    one = scene()
    one.phone_calls("a", "1000").event("CHANNEL_HOLD", "a").answer("a").after(1000)
    one.event("CHANNEL_UNHOLD", "a").after(2000).hang_up("a")
    assert one.row()["expected_ms"] == 2000


def test_a_stop_whose_start_was_not_heard_tells_where_the_file_is():
    one = scene()
    one.phone_calls("a", "1000")
    one.answer_unarmed("a").record_stop("a", one.row()["id"], fallback_of(one))
    assert one.row()["state"] == "stopped" and one.row()["master"].endswith(".f.wav")


def test_the_limit_of_record_on_bridge_waits_for_the_answer_where_the_bridge_was_early():
    one = scene(record_on_bridge=True, time_limit=5)
    one.phone_calls("a", "1000").rings_carrier("b", "a").bridge("a", "b").after(6000)
    one.answer("b").answer("a").after(4999)
    assert not one.switch.of("stop")
    one.after(1)
    assert one.switch.of("uuid_record a stop")


def test_record_on_bridge_wanted_at_the_bridge_has_its_limit_from_there():
    one = Scene([("account", "acme", "acme", {"realm": "acme.example"}),
                 ("device", "acme", "d", {"sip": {"username": "1002"}, "call_recording": {"inbound": {"offnet": {
                     "enabled": True, "record_on_bridge": True, "time_limit": 5}}}})])
    one.carrier_calls("l1", "1").answer("l1").phone_calls("l3", "1001").rings("l4", "l3", "1002").answer("l4")
    one.bridge("l1", "l4")
    row = one.row()
    one.record_start("l4", row["id"], f"/rec/{row['master'].removesuffix('.wav')}.f.wav").after(5000)
    assert one.switch.of("uuid_record l4 stop")


def carried(one, to="b"):
    return one.event("MEDIA_BUG_START", to, **{"Media-Bug-Target": path_of(one)})


def test_a_recording_that_a_transfer_took_along_is_finished_with_what_its_leg_had():
    one = scene()
    one.phone_calls("a", "1000").answer("a").after(2000)
    carried(one).event("CHANNEL_DESTROY", "a").after(3000)
    row = one.row()
    assert (row["state"], row["expected_ms"], [span["kind"] for span in row["spans"]]) == ("stopped", 2000, ["moved"])
    one.rows.update_open = None  # its end on the other leg is no news, and not that of an unknown recording
    one.record_stop("b", row["id"], path_of(one))
    assert one.row() == row and not one.switch.of("uuid_record") and one.removed == []


def test_a_leg_that_goes_on_after_a_transfer_took_its_recording_along_gets_another():
    one = scene()
    one.phone_calls("a", "1000").answer("a").after(2000)
    carried(one).after(250)
    first, second = one.rows.by_id.values()
    assert one.switch.of("uuid_record") and f"/{second['id']}.f.wav " in one.switch.of("uuid_record")[0]
    one.record_start("a", second["id"], f"/rec/{second['master'].replace('.wav', '.f.wav')}")
    (gap,) = second["spans"]
    assert (first["state"], second["state"], second["partial"]) == ("stopped", "recording", True)
    assert gap["to_ms"] - gap["from_ms"] == 250
    assert second["state_reason"] == "0.2 s before it were missed: a transfer took the recording before it along"


def test_their_recording_that_a_transfer_took_along_is_none_of_ours():
    one = scene()
    one.phone_calls("a", "1000").answer("a")
    before = list(one.switch.commands)
    one.event("MEDIA_BUG_START", "b", **{"Media-Bug-Target": f"/theirs/{one.row()['id']}.wav"})
    one.event("MEDIA_BUG_START", "a", **{"Media-Bug-Target": path_of(one)})
    assert one.switch.commands == before and one.row()["state"] == "recording"


def test_what_another_recorder_says_on_the_leg_does_not_change_ours():
    one = scene()
    one.phone_calls("a", "1000")
    braces = one.switch.commands[0].partition("{")[2].rstrip("}").split(",")
    ours = dict(pair.split("=") for pair in braces)
    no = {name for name, value in ours.items() if value in ("false", "0")}
    assert {"RECORD_STEREO_SWAP", "RECORD_READ_ONLY", "RECORD_WRITE_ONLY", "RECORD_APPEND", "RECORD_BRIDGE_REQ",
            "RECORD_MIN_SEC", "RECORD_FINAL_TIMEOUT_MS"} <= no


def test_a_leg_of_which_only_the_hang_up_tells_that_it_was_answered_is_told_by_its_file():
    one = scene()
    one.phone_calls("a", "1000").after(3000)
    answered_us = (one.epoch_ms - 2500) * 1000
    one.event("CHANNEL_HANGUP_COMPLETE", "a", **{"Caller-Channel-Answered-Time": str(answered_us)})
    one.event("CHANNEL_DESTROY", "a")
    row = one.row()
    assert (row["state"], row["state_reason"]) == ("stopped", "its end was not heard: events of its leg were lost")
    assert row["started_ms"] == row["answered_ms"] == answered_us // 1000
    assert row["expected_ms"] == 2500


def test_a_leg_of_which_the_hang_up_tells_that_it_was_not_answered_was_not():
    one = scene()
    one.phone_calls("a", "1000").after(3000)
    one.event("CHANNEL_HANGUP_COMPLETE", "a", **{"Caller-Channel-Answered-Time": "0", "Hangup-Cause": "NO_ANSWER"})
    one.event("CHANNEL_DESTROY", "a")
    assert (one.row()["state"], one.row()["state_reason"]) == ("discarded", "never answered: NO_ANSWER")


UNORDERED = "it was ended by nobody's order, while its leg went on"


def test_what_ends_by_nobody_s_order_while_its_leg_goes_on_is_partial_and_another_takes_its_place():
    one = scene().obedient()
    one.phone_calls("a", "1000").answer("a").after(5000)
    one.record_stop("a", one.row()["id"], path_of(one), "success-maxtime")
    first = one.row()
    assert (first["state"], first["expected_ms"], first["partial"], first["state_reason"]) == (
        "stopped", 5000, True, UNORDERED)
    one.after(250).after(600_000).hang_up("a")
    _, second = one.rows.by_id.values()
    assert (second["state"], second["expected_ms"], second["rule"]) == ("stopped", 600_000, first["rule"])
    assert second["state_reason"] == "0.2 s before it were missed: the recording before it was ended by nobody's order"


def test_what_is_ended_as_soon_as_it_has_begun_is_not_begun_again():
    one = scene().obedient()
    one.phone_calls("a", "1000").answer("a").after(900)
    one.record_stop("a", one.row()["id"], path_of(one), "success-maxtime")
    assert one.after(5000).row()["partial"] is True


@pytest.mark.parametrize("how", ["an order", "its limit", "its leg's end"])
def test_what_ends_by_order_at_its_limit_or_with_its_leg_is_whole_and_no_other_begins(how):
    one = scene(time_limit=5).obedient()
    one.phone_calls("a", "1000").answer("a").after(3000)
    if how == "an order":
        one.recorder.ends(one.tracker.leg("a").recordings[0], one.now)
    if how == "its limit":
        one.after(2500)
    one.record_stop("a", one.row()["id"], path_of(one), "success-maxtime", **(
        {"Answer-State": "hangup"} if how == "its leg's end" else {}))
    one.after(5000).hang_up("a")
    assert not one.row().get("partial") and one.row()["state_reason"] is None


def test_what_its_leg_s_end_ends_within_a_moment_is_not_begun_again():
    one = scene().obedient()
    one.phone_calls("a", "1000").answer("a").after(5000)
    one.record_stop("a", one.row()["id"], path_of(one), "success-maxtime").after(200).hang_up("a").after(1000)
    assert len(one.rows.by_id) == 1


def late_scene(late_ms):
    """A caller of nobody knows whom has answered; whose leg it calls is heard of `late_ms` late."""
    one = Scene([("account", "acme", "acme", {"realm": "acme.example", "call_recording": {
        "account": {"any": {"any": {"enabled": True}}}}})]).obedient()
    one.carrier_calls("a", "999").event("CHANNEL_ANSWER", "a", **CODEC).after(5000)
    created_ms = one.epoch_ms - late_ms
    one.event("CHANNEL_CREATE", "b", **{
        "Event-Date-Timestamp": str(created_ms * 1000), "Call-Direction": "outbound",
        "Channel-Name": "sofia/internal/x",
        "variable_originator": "a", "variable_dialed_user": "1001", "variable_dialed_domain": "acme.example",
        "variable_sofia_profile_name": "internal"})
    return one


def test_what_an_engine_hears_late_began_late_and_says_so():
    row = late_scene(2100).row()
    assert row["state"] == "recording" and row["partial"]
    (gap,) = row["spans"]
    assert (gap["kind"], gap["to_ms"] - gap["from_ms"]) == ("gap", 2100)
    assert row["state_reason"] == "2.1 s before it were missed: the engine heard of it late"


def test_what_is_wanted_later_than_the_answer_and_heard_in_time_is_whole():
    row = late_scene(40).row()
    assert row["state"] == "recording" and not row.get("partial") and not row["spans"]


@pytest.mark.parametrize("answered_ms", [1_795_221_000_000, None])
def test_of_one_from_before_a_restart_of_which_only_the_end_is_heard_the_row_has_when_its_leg_was_answered(answered_ms):
    one, recording_id = scene(), "202611-" + "a" * 32
    row = one.rows.by_id[recording_id] = {"id": recording_id, "state": "armed"}
    one.record_stop("a", recording_id, f"{ROOT}/acme/20261121/{recording_id}.f.wav",
                    **{"Caller-Channel-Answered-Time": f"{answered_ms}000" if answered_ms else "0"})
    assert row["state"] == "stopped" and row.get("answered_ms") == answered_ms
