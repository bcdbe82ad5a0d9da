"""Whatever an event says, the switch is told nothing but what we mean."""

import re

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.calls.fakes import NO_MEDIA, Scene

from .hostile import TEXTS, texts

ON = {"any": {"any": {"enabled": True}}}

DOCUMENTS = [
    ("account", "acme", "acme", {"realm": "acme.example", "country": "US", "numbers": ["+15550001001"],
                                 "call_recording": {"account": ON, "endpoint": ON}}),
    ("device", "acme", "dev-a", {"sip": {"username": "1000"}}),
    ("device", "acme", "dev-b", {"sip": {"username": "1001"}}),
]

#: What a caller, a phone, a carrier or a registration puts into a leg's events, beyond who it is.
FACTS = (
    "Caller-Caller-ID-Name", "Caller-Caller-ID-Number", "Caller-Callee-ID-Name", "Caller-Callee-ID-Number",
    "Caller-Orig-Caller-ID-Name", "Caller-Destination-Number", "Caller-Username", "Caller-ANI", "Caller-RDNIS",
    "Caller-Network-Addr", "Other-Leg-Caller-ID-Name", "Presence-Call-Direction",
    "variable_sip_from_user", "variable_sip_from_display", "variable_sip_from_host", "variable_sip_from_uri",
    "variable_sip_to_user", "variable_sip_to_uri", "variable_sip_user_agent", "variable_sip_call_id",
    "variable_sip_contact_uri", "variable_sip_h_X-Evil", "variable_sip_full_from", "variable_effective_caller_id_name",
    "variable_switch_r_sdp", "variable_rtp_use_codec_name", "variable_kazoo_rec",
)

#: What says who a leg is.
WHO = (
    "Channel-Name", "Call-Direction", "Caller-Context", "variable_sip_auth_username", "variable_sip_auth_realm",
    "variable_sip_authorized", "variable_sip_acl_authed_by", "variable_dialed_user", "variable_dialed_domain",
    "variable_domain_name", "variable_user_name", "variable_sip_req_user", "variable_sip_req_host",
    "variable_sip_gateway_name", "variable_sip_destination_url", "variable_sofia_profile_name", "variable_originator",
    "Other-Leg-Unique-ID", "variable_call_uuid", "Channel-Call-UUID",
)

ID = r"[0-9]{6}-[0-9a-f]{32}"
UUID = r"[A-Za-z0-9_.@:-]{1,256}"
PATH = rf"/rec/acme/[0-9]{{8}}/{ID}(\.f)?\.wav"
BRACES = r"\{([A-Za-z_]+=[A-Za-z0-9._:/@-]*,)*[A-Za-z_]+=[A-Za-z0-9._:/@-]*\}"

#: Every command that a call may cause, to the letter.
COMMAND = re.compile(
    rf"api uuid_setvar_multi {UUID} execute_on_answer_{ID}=(record_session {PATH} \+[0-9]+ {BRACES})?"
    rf"(;execute_on_answer_{ID}=(record_session {PATH} \+[0-9]+ {BRACES})?)*"
    rf"|api uuid_record {UUID} start {PATH} [0-9]+ {BRACES}"
    rf"|api uuid_record {UUID} (stop|mask|unmask|pause|resume) {PATH}"
    rf"|api (uuid_buglist|uuid_exists|uuid_dump) {UUID}( json)?")

several = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def call(scene, a="a", b="b", **headers):
    """A call from its creation to its end, each event with `headers`."""
    one, other = {"Unique-ID": a, "variable_uuid": a, **headers}, {"Unique-ID": b, **headers}
    event = scene.event

    def noisy(name, uuid, **more):
        return event(name, uuid, **{**more, **(one if uuid == a else other)})

    scene.event = noisy
    scene.phone_calls(a, "1000").rings(b, a, "1001").answer(b).answer(a).bridge(a, b).after(1200)
    scene.hang_up(b).hang_up(a)
    return scene


def told(scene):
    """The commands, their recordings numbered in order."""
    ids = {}
    return [re.sub(ID, lambda found: ids.setdefault(found[0], f"#{len(ids)}"), command)
            for command in scene.switch.commands]


@several
@given(st.dictionaries(st.sampled_from(FACTS), texts, min_size=1))
@example(dict.fromkeys(FACTS, "\n\napi status\n\n"))
@example(dict.fromkeys(FACTS, TEXTS[-1]))
def test_what_a_caller_says_of_itself_changes_no_command(facts):
    assert told(call(Scene(DOCUMENTS), **facts)) == told(call(Scene(DOCUMENTS)))


@several
@given(st.dictionaries(st.sampled_from(FACTS + WHO), texts, min_size=1))
def test_no_command_has_anything_of_who_a_leg_says_it_is(headers):
    for command in call(Scene(DOCUMENTS), **headers).switch.commands:
        assert COMMAND.fullmatch(command), command


@several
@given(texts.filter(bool), texts.filter(bool))
def test_a_leg_with_an_impossible_uuid_is_told_nothing_and_its_loss_is_reported(a, b):
    scene = call(Scene(DOCUMENTS), a, f"{b}b")
    for command in scene.switch.commands:
        assert COMMAND.fullmatch(command), command
    unsaid = [row for row in scene.rows.by_id.values() if not re.fullmatch(UUID, row["call_id"])]
    assert all(row["state"] == "failed" and row["state_reason"] for row in unsaid)


@several
@given(st.sampled_from(("Record-File-Path", "Recording-Variable-kazoo_rec_id", "Recording-Variable-kazoo_rec_account")),
       texts)
def test_a_recording_event_that_is_not_ours_moves_no_row_out_of_its_directory(header, text):
    scene = Scene(DOCUMENTS)
    scene.phone_calls("a", "1000").answer("a", start=False)
    row = scene.row("account.inbound")
    headers = {"Recording-Variable-kazoo_rec_id": row["id"], "Record-File-Path": f"/rec/{row['master']}", header: text}
    for name in ("RECORD_START", "RECORD_STOP"):
        scene.event(name, "a", **headers)
    scene.hang_up("a")
    for kept in scene.rows.by_id.values():
        assert re.fullmatch(rf"acme/[0-9]{{8}}/{kept['id']}(\.f)?\.wav", kept["master"])


def test_an_answer_of_the_switch_is_no_command():
    scene = Scene(DOCUMENTS)
    scene.switch.replies["uuid_setvar_multi"] = NO_MEDIA
    for text in TEXTS:
        scene.switch.replies["uuid_record"] = text
        scene.switch.replies["uuid_buglist"] = text
        scene.phone_calls("a", "1000").answer_unarmed("a").after(300).after(2000).hang_up("a")
    assert all(COMMAND.fullmatch(command) for command in scene.switch.commands)
