"""Every trace of the real switch through tracker, identity, policy and recorder, held against what was worked out by
hand (expected.yaml)."""

import itertools
import json
import re

import pytest
import yaml

from kazoo_rec.documents.directory import Directory
from kazoo_rec.traces.mask import Mask
from kazoo_rec.traces.replay import Replay
from tests.traces import HERE, SCENARIOS, documents, lines

EXPECTED = yaml.safe_load((HERE / "expected.yaml").read_text())


def directory(rows):
    return Directory().apply([{**row, "seq": seq, "deleted": False} for seq, row in enumerate(rows, 1)])


DIRECTORY = directory(documents(EXPECTED["documents"]))


def as_found(told):
    whose = told.leg.identity
    return {
        "who": {"role": told.role, "network": whose.network, "account": whose.account_id, "user": whose.user_id,
                "device": whose.device_id, "how": whose.how},
        "source": told.source, "destination": told.destination,
        "recordings": {row["rule"]: said_of(row) for row in told.rows},
        "origins": {row["rule"]: row["origin"] for row in told.rows},
        "holds": {len(row["spans"]) for row in told.rows},
        "refused": sorted(told.refusals),
    }


def said_of(row):
    how = {"arming": "armed", "command": "started"}.get(row["by"])
    return [how or row["state_reason"], row["settings_from"]["enabled"], row["outcome"] if how else None]


def origin(rule, source, destination):
    """Kazoo's word for a recording: "inbound from offnet to account"."""
    side = "account" if rule.startswith("account.") else "endpoint"
    return f"inbound from {source} to {side}" if rule.endswith(".inbound") else f"outbound to {destination} from {side}"


def as_expected(leg):
    who, source, destination, recordings, refused, *more = leg
    more = more[0] if more else {}
    end = "recording when the trace ended" if more.get("ends") == "recording" else "recorded"
    return {
        "who": EXPECTED["people"][who], "source": source, "destination": destination,
        "recordings": {rule: [how, where, end if how in ("armed", "started") else None]
                       for rule, (how, where) in recordings.items()},
        "origins": {rule: origin(rule, source, destination) for rule in recordings},
        "holds": {more.get("holds", 0)} if recordings else set(),
        "refused": sorted(refused),
    }


def test_every_trace_has_its_expectation():
    assert set(EXPECTED["scenarios"]) == set(SCENARIOS) and len(SCENARIOS) == 28


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_legs_of_a_trace_are_whose_they_are_and_recorded_as_they_should(scenario):
    expected = list(itertools.chain(*EXPECTED["scenarios"][scenario]))
    replay = Replay(DIRECTORY).feed(lines(scenario))
    found = [as_found(told) for told in replay.legs]
    assert found == [as_expected(leg) for leg in expected]
    for told, leg in zip(replay.legs, expected, strict=True):
        for rule, piece in leg[4].items():
            assert piece in told.refusals[rule]
    assert replay.faults == []


def masked(scenario, mask):
    for line in lines(scenario):
        if "event" in line:
            yield {"t": line["t"], "event": mask.headers(line["event"])}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_masked_trace_is_decided_as_the_true_one_and_names_nobody(scenario):
    rows = documents(EXPECTED["documents"])
    mask = Mask(rows)
    hidden = list(masked(scenario, mask))
    legs = Replay(directory([mask.document(row) for row in rows])).feed(hidden).legs
    expected = Replay(DIRECTORY).feed(lines(scenario)).legs
    assert [without_ids(leg) for leg in legs] == [without_ids(leg) for leg in expected]
    told = " ".join(str(value) for line in hidden for name, value in line["event"].items() if name != "Event-Sequence")
    for somebody in ("1000", "1001", "1002", "2000", "442079460123", "442071838750", r"15550001\d\d\d", "Jane", "Alice",
                     "evil", "etc"):
        assert not re.search(rf"(?<![\w-]){somebody}(?![\w-])", told)


def without_ids(told):
    found = as_found(told)
    whose = found["who"]
    return {**found, "who": {**whose, "user": bool(whose["user"]), "device": bool(whose["device"])}}


def event(name, uuid, at_s, **headers):
    return {"t": at_s, "event": {"Event-Name": name, "Unique-ID": uuid, "Core-UUID": "core", "Channel-Name": "sofia/x",
                                 "Event-Date-Timestamp": str(round(at_s * 1e6)), **headers}}


def call(uuid="a", ends_s=20, **at_answer):
    """1000 calls the PSTN, is answered after 1 s, and hangs up."""
    who = {"variable_sip_authorized": "true", "variable_sip_auth_username": "1000",
           "variable_sip_auth_realm": "acme.example", "Call-Direction": "inbound"}
    media = {"Channel-Read-Codec-Name": "PCMU", **at_answer}
    return [event("CHANNEL_CREATE", uuid, 0.0, **who),
            event("CHANNEL_CREATE", f"{uuid}-b", 0.1, variable_originator=uuid),
            event("CHANNEL_ANSWER", uuid, 1.0, **media),
            event("CHANNEL_BRIDGE", uuid, 1.0, **{"Bridge-A-Unique-ID": uuid, "Bridge-B-Unique-ID": f"{uuid}-b"}),
            event("CHANNEL_HANGUP_COMPLETE", uuid, ends_s, **{"Hangup-Cause": "NORMAL_CLEARING"}),
            event("CHANNEL_DESTROY", uuid, ends_s)]


def outcomes(replay):
    return {row["rule"]: (row["outcome"], bool(row.get("truncated_by_limit"))) for row in replay.legs[0].rows}


def recording(**settings):
    account = {"realm": "acme.example", "call_recording": {"account": {"any": {"any": {"enabled": True, **settings}}}}}
    return Replay(directory(documents({"acme/account": account})))


@pytest.mark.parametrize("settings", [{"time_limit": 5}, {"time_limit": 5, "record_on_bridge": True}])
def test_a_recording_ends_by_its_limit(settings):
    assert outcomes(recording(**settings).feed(call())) == {"account.inbound": ("recorded", True)}
    assert outcomes(recording(**settings).feed(call(ends_s=5.0))) == {"account.inbound": ("recorded", False)}


def test_a_leg_without_media_is_not_recorded():
    played = recording().feed(call(**{"Channel-Read-Codec-Name": ""}))
    assert outcomes(played) == {"account.inbound": ("not recorded: no media", False)}


def test_nothing_lives_on_when_the_switch_is_another_process():
    before, after = call()[:4], event("CHANNEL_CREATE", "c", 9.0, **{"Core-UUID": "another"})
    played = recording().feed([*before, after])
    assert outcomes(played) == {"account.inbound": ("recorded until the switch was restarted", False)}
    assert played.legs[2].leg.identity.account_id is None
    unanswered = recording().feed([*call()[:2], after])
    assert outcomes(unanswered) == {"account.inbound": ("not recorded: the switch was restarted", False)}


def test_a_trace_that_ends_in_a_call_says_how_far_it_had_come():
    assert outcomes(recording().feed(call()[:2])) == {"account.inbound": ("armed when the trace ended", False)}
    assert outcomes(recording().feed(call()[:3])) == {"account.inbound": ("recording when the trace ended", False)}


def test_a_leg_that_is_renamed_keeps_its_recording():
    create, *rest = call()
    renamed = event("CHANNEL_UUID", "b", 0.5, **{"Old-Unique-ID": "a"})
    rest = [{**line, "event": {**line["event"], "Unique-ID": line["event"]["Unique-ID"].replace("a", "b", 1)}}
            for line in rest[1:]]
    played = recording().feed([create, renamed, *rest])
    assert outcomes(played) == {"account.inbound": ("recorded", False)}
    assert played.legs[0].rows[0]["by"] == "arming"


def test_replies_tell_who_is_registered_and_what_was_up_before():
    def show(what, reply):
        return {"t": 0, "t_reply": 0, "command": f"api show {what} as json", "reply": reply}

    phone = {"reg_user": "1001", "realm": "acme.example", "url": "sofia/internal/sip:1001@10.0.0.9:5062"}
    registered = show("registrations", json.dumps({"row_count": 1, "rows": [phone]}))
    up, broken = show("channels", '{"row_count":1,"rows":[{"uuid":"z"}]}'), show("registrations", "-ERR no")
    by_contact = event("CHANNEL_CREATE", "n", 0.2, variable_originator="a",
                       variable_sip_destination_url="sip:1001@10.0.0.9:5062")
    played = recording().feed([registered, up, call()[0], by_contact])
    assert (played.up_before, played.legs[1].leg.identity.how, played.legs[1].leg.identity.network) == (
        1, "registration", "onnet")
    assert len(recording().feed([broken]).faults) == 1


def test_what_the_traces_switch_recorded_is_told_and_never_taken_for_ours():
    other = event("RECORD_START", "a", 1.1, **{
        "Record-File-Path": "/rec/x.wav", "Recording-Variable-kazoo_rec_id": "old"})
    stop = {**other, "event": {**other["event"], "Event-Name": "RECORD_STOP"}}
    lines_ = call()
    played = recording().feed([*lines_[:4], other, stop, *lines_[4:]])
    assert played.legs[0].on_switch == ["/rec/x.wav"]
    assert outcomes(played) == {"account.inbound": ("recorded", False)}
