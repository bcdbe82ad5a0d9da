"""Which legs of which calls are recorded, as events come."""

import gc
import re

import pytest

from kazoo_rec.calls.leg import Call, Leg
from kazoo_rec.calls.recording import Recording
from kazoo_rec.documents.directory import Directory
from kazoo_rec.policy.settings import digest

from .fakes import NO_MEDIA, Scene

ON = {"enabled": True}
ALL = {"any": {"any": ON}}


def acme(**call_recording):
    return ("account", "acme", "acme", {
        "realm": "acme.example", "country": "US", "numbers": ["+15550001001"], "call_recording": call_recording})


def globex(**call_recording):
    return ("account", "globex", "globex", {"realm": "globex.example", "call_recording": call_recording})


def phone(user, account="acme", **settings):
    body = {"sip": {"username": user}, **({"call_recording": settings} if settings else {})}
    return "device", account, f"dev-{user}", body


def test_a_call_between_phones_is_recorded_by_every_rule_that_is_on():
    scene = Scene([acme(account=ALL), phone("1000", **ALL), phone("1001", **ALL)])
    scene.phone_calls("a", "1000").rings("b", "a", "1001").answer("b").answer("a").bridge("a", "b")
    assert scene.recordings() == {
        ("account.inbound", "a"): "recording", ("caller.outbound", "a"): "recording",
        ("callee.inbound", "b"): "recording"}
    scene.after(2000).hang_up("a").hang_up("b")
    assert set(scene.recordings().values()) == {"stopped"}


def test_a_recording_is_armed_while_its_leg_rings_and_nothing_is_started_by_command():
    scene = Scene([acme(), phone("1001", inbound={"onnet": ON})])
    scene.phone_calls("a", "1000").rings("b", "a", "1001").answer("b").answer("a").bridge("a", "b").after(1000)
    row = scene.row()
    assert scene.switch.commands == [
        f"api uuid_setvar_multi b execute_on_answer_{row['id']}=record_session /rec/{row['master']} +10801 "
        f"{{kazoo_rec_id={row['id']},kazoo_rec_account=acme,kazoo_rec_rule=callee.inbound,"
        f"RECORD_COMMENT=kazoo_rec/b/a/callee.inbound/B//{row['device_id']}/{digest(row['settings'])}/fs1,"
        "RECORD_STEREO=true,RECORD_PRE_BUFFER_FRAMES=0,enable_file_write_buffering=false,record_sample_rate=8000,RECORD_BRIDGE_REQ=false,"
        "RECORD_STEREO_SWAP=false,RECORD_READ_ONLY=false,RECORD_WRITE_ONLY=false,RECORD_APPEND=false,"
        "RECORD_ANSWER_REQ=false,RECORD_MIN_SEC=0,RECORD_INITIAL_TIMEOUT_MS=0,RECORD_FINAL_TIMEOUT_MS=0,"
        "RECORD_TOGGLE_ON_REPEAT=false,RECORD_HANGUP_ON_ERROR=false,RECORD_CHECK_BRIDGE=false}"]


def test_a_call_to_the_carrier_is_outbound_offnet():
    scene = Scene([acme(), phone("1000", outbound={"offnet": ON})])
    scene.phone_calls("a", "1000")
    assert scene.recordings() == {}
    scene.rings_carrier("b", "a").answer("b").answer("a").bridge("a", "b")
    assert scene.recordings() == {("caller.outbound", "a"): "recording"}
    assert scene.row()["destination"] == "offnet"


def test_a_did_is_known_by_the_number_that_was_called():
    scene = Scene([acme(account={"inbound": {"offnet": ON}}), phone("1001")])
    scene.carrier_calls("a", "15550001001").rings("b", "a", "1001").answer("b").answer("a")
    assert scene.recordings() == {("account.inbound", "a"): "recording"}


def test_an_unknown_number_is_the_account_s_whose_phone_it_reaches():
    scene = Scene([acme(account={"inbound": {"offnet": ON}}), phone("1001")])
    scene.carrier_calls("a", "999").rings("b", "a", "1001")
    assert scene.recordings() == {("account.inbound", "a"): "armed"}
    assert scene.row()["account_id"] == "acme"


def test_a_call_between_two_accounts_is_two_calls():
    scene = Scene([acme(account={"outbound": {"offnet": ON}}), globex(account={"inbound": {"offnet": ON}}),
                   phone("1000"), phone("2000", "globex", inbound={"offnet": ON})])
    scene.phone_calls("a", "1000").rings("b", "a", "2000", "globex.example").answer("b").answer("a").bridge("a", "b")
    whose = {(row["rule"], row["call_id"]): row["account_id"] for row in scene.rows.by_id.values()}
    assert whose == {("account.outbound", "a"): "acme", ("account.inbound", "b"): "globex",
                     ("callee.inbound", "b"): "globex"}


def test_an_ivr_that_answers_at_once_is_onnet_and_started_by_command():
    scene = Scene([acme(account={"inbound": {"offnet": ON}, "outbound": {"onnet": {"enabled": False}}})])
    with scene.slow_switch():
        scene.carrier_calls("a", "15550001001")
        scene.answer_unarmed("a")
    row = scene.row()
    assert scene.switch.of("uuid_record a start") and not scene.switch.of("execute_on_answer")
    assert f"/rec/{row['master'].removesuffix('.wav')}.f.wav 10801 " in scene.switch.commands[0]


def test_an_answered_caller_is_asked_again_for_each_leg_that_is_called_for_it():
    """Answer, announce, bridge to the PSTN."""
    scene = Scene([acme(), phone("1000", outbound={"offnet": ON})])
    scene.phone_calls("a", "1000").answer("a")
    assert scene.recordings() == {}
    scene.after(2000).rings_carrier("b", "a")
    assert len(scene.switch.of("uuid_record a start")) == 1
    assert scene.row()["destination"] == "offnet"


def test_a_rule_says_yes_once_though_several_phones_ring():
    scene = Scene([acme(account={"outbound": {"onnet": ON}}), phone("1001", **ALL), phone("1002", **ALL)])
    scene.phone_calls("a", "1000").rings("b", "a", "1001").rings("c", "a", "1002")
    assert sorted(scene.recordings()) == [
        ("account.outbound", "a"), ("callee.inbound", "b"), ("callee.inbound", "c")]
    scene.answer("b").hang_up("c", "LOSE_RACE").answer("a").bridge("a", "b")
    assert scene.recordings() == {("account.outbound", "a"): "recording", ("callee.inbound", "b"): "recording",
                                  ("callee.inbound", "c"): "discarded"}


def test_when_legs_of_both_networks_ring_the_winner_decides():
    scene = Scene([acme(), phone("1000", outbound={"onnet": {**ON, "url": "http://on.example"},
                                                   "offnet": {**ON, "url": "http://off.example"}})])
    scene.phone_calls("a", "1000").rings("b", "a", "1001").rings_carrier("c", "a")
    scene.answer("c").answer("a").bridge("a", "c")
    states = {row["destination"]: (row["state"], row["master"]) for row in scene.rows.by_id.values()}
    assert states["offnet"][0] == "recording"
    assert scene.switch.of(f"uuid_record a stop /rec/{states['onnet'][1]}")
    scene.record_stop("a", next(id for id, row in scene.rows.by_id.items() if row["destination"] == "onnet"),
                      f"/rec/{states['onnet'][1]}", "success-maxtime")
    assert scene.removed == [states["onnet"][1]]
    assert {row["destination"]: row["state"] for row in scene.rows.by_id.values()} == {
        "offnet": "recording", "onnet": "discarded"}


def test_a_call_that_failed_offnet_and_reaches_voicemail_went_onnet():
    scene = Scene([acme(), phone("1000", outbound={"offnet": ON})])
    scene.phone_calls("a", "1000").rings_carrier("b", "a").hang_up("b", "USER_BUSY").answer("a")
    assert scene.switch.of("uuid_record a stop")


def test_what_never_answers_leaves_a_discarded_row():
    scene = Scene([acme(account=ALL)])
    scene.phone_calls("a", "1000").rings("b", "a", "1001").hang_up("b", "NO_ANSWER").hang_up("a", "NORMAL_CLEARING")
    assert scene.recordings() == {("account.inbound", "a"): "discarded"}
    assert scene.row()["state_reason"] == "never answered: NORMAL_CLEARING"
    assert len(scene.tracker) == 0 and len(scene.recorder) == 0


def test_click_to_call_s_first_leg_is_the_caller():
    scene = Scene([acme(), phone("1000", outbound={"offnet": ON}, inbound={"any": {"enabled": False}})])
    scene.create("a", "outbound", dialed_user="1000", dialed_domain="acme.example").answer("a")
    scene.rings_carrier("b", "a").answer("b").bridge("a", "b")
    assert list(scene.recordings()) == [("caller.outbound", "a")]


def test_loopback_legs_are_looked_through_and_never_recorded():
    scene = Scene([acme(account=ALL), phone("1000", **ALL), phone("1001", **ALL)])
    scene.phone_calls("a", "1000")
    scene.create("la", "outbound", "loopback/1001-a", originator="a", other_loopback_leg_uuid="lb")
    scene.create("lb", "inbound", "loopback/1001-b", other_loopback_leg_uuid="la")
    scene.rings("b", "lb", "1001").bridge("a", "la").answer("b").answer("lb").answer("la").answer("a").bridge("lb", "b")
    assert sorted(scene.recordings()) == [
        ("account.inbound", "a"), ("callee.inbound", "b"), ("caller.outbound", "a")]
    assert {row["interaction_id"] for row in scene.rows.by_id.values()} == {"a"}


def test_click_to_call_through_loopback_takes_its_first_real_leg_for_the_caller():
    scene = Scene([acme(), phone("1000", outbound={"offnet": ON})])
    scene.create("la", "outbound", "loopback/1000-a", other_loopback_leg_uuid="lb")
    scene.create("lb", "inbound", "loopback/1000-b", other_loopback_leg_uuid="la")
    scene.rings("b", "lb", "1000").answer("b").answer("lb").answer("la")
    scene.rings_carrier("c", "la").answer("c").bridge("la", "c")
    assert list(scene.recordings()) == [("caller.outbound", "b")]


def test_legs_that_a_transfer_brings_together_are_asked_anew():
    """A customer reaches the receptionist, who calls sales and hands the call over: now sales talks to offnet."""
    scene = Scene([acme(), phone("1001"), phone("1002", inbound={"offnet": ON})])
    scene.carrier_calls("l1", "15550001001").rings("l2", "l1", "1001").answer("l2").answer("l1").bridge("l1", "l2")
    scene.phone_calls("l3", "1001").rings("l4", "l3", "1002").answer("l4").answer("l3").bridge("l3", "l4")
    assert scene.recordings() == {}
    scene.bridge("l1", "l4").hang_up("l2").hang_up("l3")
    assert list(scene.recordings()) == [("callee.inbound", "l4")]
    assert scene.row()["interaction_id"] == "l1"
    assert scene.switch.of("uuid_record l4 start")


def test_an_account_rule_speaks_again_when_the_leg_that_it_recorded_is_gone():
    scene = Scene([acme(account={"any": {"offnet": ON}}), phone("1000"), phone("1001")])
    scene.phone_calls("a", "1000").rings_carrier("b", "a").answer("b").answer("a").bridge("a", "b")
    scene.hang_up("a").rings("c", "b", "1001")
    assert list(scene.recordings()) == [("account.outbound", "a"), ("account.inbound", "b")]


def test_of_legs_whose_end_was_never_heard_what_ran_has_ended_and_what_was_armed_is_left_to_recovery():
    """What was not heard may be that the recording started and stopped: only its file can tell."""
    scene = Scene([acme(account=ALL)])
    scene.phone_calls("a", "1000").answer("a").phone_calls("b", "1000")
    scene.tracker.keep_only({"b"}, "gone from the switch")
    assert scene.recordings() == {("account.inbound", "a"): "stopped", ("account.inbound", "b"): "armed"}
    assert (len(scene.tracker), len(scene.recorder)) == (1, 1)


def test_an_answered_caller_s_recording_for_the_leg_that_lost_is_dropped():
    """Answered, the carrier is busy, a phone takes the call: outbound offnet was not where it went."""
    scene = Scene([acme(), phone("1000", outbound={"offnet": ON})])
    scene.phone_calls("a", "1000").answer("a").rings_carrier("b", "a")
    row = scene.row()
    scene.record_start("a", row["id"], f"/rec/{row['master'].removesuffix('.wav')}.f.wav")
    scene.hang_up("b", "USER_BUSY").rings("c", "a", "1001").answer("c").bridge("a", "c")
    assert scene.switch.of("uuid_record a stop")


def test_a_phone_of_a_known_account_is_recorded_though_its_onnet_caller_is_nobody_s():
    scene = Scene([acme(account={"inbound": {"offnet": ON}}), phone("1001", inbound={"offnet": ON})])
    scene.phone_calls("a", "7", realm="nobody.example").rings("b", "a", "1001").answer("b").answer("a")
    assert sorted(scene.recordings()) == [("account.inbound", "b"), ("callee.inbound", "b")]


def test_a_leg_that_gets_another_uuid_is_commanded_by_it():
    scene = Scene([acme(account=ALL)])
    scene.phone_calls("a", "1000").event("CHANNEL_UUID", "z", **{"Old-Unique-ID": "a"})
    scene.answer_unarmed("z")
    assert scene.switch.of("uuid_record z start") and scene.row()["call_id"] == "z"


def test_what_a_phone_claims_does_not_make_it_one_of_ours():
    scene = Scene([acme(account=ALL)])
    scene.create("a", sip_from_user="1000", sip_from_host="acme.example", sip_auth_username="1000",
                 sip_auth_realm="acme.example", sofia_profile_name="internal", Caller__Context="acme.example")
    assert scene.recordings() == {}
    assert scene.tracker.unplaced == 1


def test_exported_variables_on_a_callee_are_its_caller_s():
    scene = Scene([acme(account=ALL), globex(account=ALL)])
    scene.create("a", kazoo_rec_account_id="acme", kazoo_rec_network="onnet")
    scene.create("b", "outbound", originator="a", dialed_user="2000", dialed_domain="globex.example",
                 kazoo_rec_account_id="acme")
    whose = {row["call_id"]: row["account_id"] for row in scene.rows.by_id.values()}
    assert whose == {"a": "acme", "b": "globex"}


def test_observing_commands_nothing_and_writes_nothing():
    scene = Scene([acme(account=ALL), phone("1001", **ALL)], observe=True)
    scene.phone_calls("a", "1000").rings("b", "a", "1001").answer("b").answer("a").bridge("a", "b").hang_up("a")
    assert scene.switch.commands == [] and scene.rows.by_id == {}


def test_hostile_names_reach_the_row_as_text_and_no_command():
    name = 'x\nvariable_account: evil;}{,"' + "\ud800" + "y" * 300
    scene = Scene([acme(account=ALL)])
    scene.create("a", sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example",
                 **{"Caller-Caller-ID-Name": name})
    row = scene.row()
    assert len(row["caller_id_name"]) == 256 and row["caller_id_name"].encode()
    assert not any("evil" in command for command in scene.switch.commands)


def test_a_wanted_leg_without_media_is_reported_within_a_second_of_its_answer():
    scene = Scene([acme(account=ALL)])
    scene.switch.replies = {"uuid_buglist": "<media-bugs>\n</media-bugs>\n", "uuid_record": NO_MEDIA}
    scene.phone_calls("a", "1000").answer("a", start=False)
    for _ in range(10):
        scene.after(50)
    assert scene.row()["state"] == "failed" and scene.row()["state_reason"] == "no media"


BYPASS = {"rtp_local_sdp_str": "v=0…"}


def rings_around_the_switch(scene, uuid, originator, user):
    """The called leg of `bypass_media=true`: its partner's SDP, and no port of the switch's."""
    return scene.create(uuid, "outbound", originator=originator, dialed_user=user, dialed_domain="acme.example",
                        **BYPASS)


def test_legs_without_media_are_neither_armed_nor_started_as_that_would_end_their_call():
    scene = Scene([acme(account=ALL), phone("1001", **ALL)])
    scene.phone_calls("a", "1000")
    armed, = scene.armed("a")
    rings_around_the_switch(scene, "b", "a", "1001")
    assert scene.armed("a") == {} and scene.armed("b") == {}
    scene.event("CHANNEL_ANSWER", "b").event("CHANNEL_ANSWER", "a").bridge("a", "b").after(1000)
    assert scene.recordings() == {("account.inbound", "a"): "failed", ("callee.inbound", "b"): "failed"}
    assert {row["state_reason"] for row in scene.rows.by_id.values()} == {"no media"}
    assert not scene.switch.of("uuid_record") and len(scene.switch.of(armed)) == 2


def test_a_caller_whose_next_leg_has_media_is_recorded_after_all():
    scene = Scene([acme(account=ALL)])
    scene.phone_calls("a", "1000")
    rings_around_the_switch(scene, "b", "a", "1001").hang_up("b", "USER_BUSY")
    scene.rings("c", "a", "1002").answer("c").answer_unarmed("a")
    assert scene.switch.of("uuid_record a start")


def with_override(document, allow):
    kind, account, id, body = document
    return kind, account, id, {**body, "allow_override": allow}


@pytest.mark.parametrize(("allow", "says", "recorded"), [
    (True, "no", False), (False, "no", True), (True, "No", True), (True, "no\r\nforce", True), (True, "", True),
    (True, ["yes", "no"], True),
])
def test_a_channel_that_says_no_is_kept_out_where_its_account_allows_it(allow, says, recorded):
    scene = Scene([with_override(acme(account=ALL), allow)])
    scene.create("a", kazoo_rec=says, sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example",
                 sofia_profile_name="internal")
    assert bool(scene.recordings()) == recorded


@pytest.mark.parametrize(("allow", "says", "recorded"), [
    (True, "force", True), (False, "force", False), (True, "true", False), (True, "force ", False)])
def test_a_called_leg_is_forced_in_by_its_own_channel_where_its_account_allows_it(allow, says, recorded):
    scene = Scene([with_override(acme(endpoint={"any": {"any": {"url": "https://files.example/"}}}), allow)])
    scene.phone_calls("a", "1000")
    scene.create("b", "outbound", originator="a", dialed_user="1001", dialed_domain="acme.example", kazoo_rec=says)
    scene.answer("b").answer("a").bridge("a", "b")
    assert scene.recordings() == ({("callee.inbound", "b"): "recording"} if recorded else {})
    if recorded:
        assert scene.row()["settings"]["url"] and scene.row()["settings_from"]["enabled"] == "override"
        assert "kazoo_rec=force, which the account allows" in scene.row()["reason"]


def test_a_callees_account_is_asked_for_its_own_recordings_and_no_other():
    scene = Scene([with_override(acme(), True), globex(account=ALL), phone("1000"), phone("2000", "globex")])
    scene.phone_calls("a", "1000")
    scene.create("b", "outbound", originator="a", dialed_user="2000", dialed_domain="globex.example", kazoo_rec="no")
    assert scene.recordings() == {("account.inbound", "b"): "armed"}
    assert scene.row()["reason"].endswith("kazoo_rec=no asked otherwise, which the account does not allow.")


def test_an_ended_call_leaves_nothing_to_the_garbage_collector():
    def kept():
        return [one for one in gc.get_objects() if isinstance(one, Call | Leg | Recording)]

    scene = Scene([acme(account=ALL), phone("1000", **ALL), phone("1001", **ALL)])
    gc.collect()
    gc.disable()
    try:
        before = kept()
        scene.phone_calls("a", "1000").rings("b", "a", "1001").answer("b").answer("a").bridge("a", "b")
        assert len(kept()) == len(before) + 6
        scene.after(2000).hang_up("a").hang_up("b")
        assert len(kept()) == len(before)
    finally:
        gc.enable()


def test_the_settings_of_a_recording_are_known_again_when_its_url_has_another_password_or_is_sealed_anew():
    """A rotation of keys seals it anew, in documents and not in files."""
    def documents(userinfo, host="files.example"):
        on = {"any": {"any": {**ON, "url": f"https://{userinfo}@{host}/"}}}
        return [acme(account=on), phone("1000")]

    scene = Scene(documents("sealed:aaaaaaaa.QUJD"))
    scene.phone_calls("a", "1000").answer("a")
    command, = scene.switch.of("RECORD_COMMENT")
    said = re.search(r"/([0-9a-f]{16})/", command)[1]

    def known(*now):
        rows = [{"kind": kind, "account_id": account, "id": id, "seq": 1, "deleted": False, "body": body}
                for kind, account, id, body in documents(*now)]
        return Directory().apply(rows).settings("acme", None, None, said) is not None

    assert known("sealed:bbbbbbbb.REVG") and known("ann:hunter2") and not known("ann:hunter2", "other.example")
