"""Every trace of the real switch through tracker, identity, policy and recorder, held against what was worked out by
hand (expected.yaml)."""

import itertools

import pytest
import yaml

from kazoo_rec.documents.directory import Directory
from kazoo_rec.traces.replay import Replay
from tests.traces import HERE, SCENARIOS, lines

EXPECTED = yaml.safe_load((HERE / "expected.yaml").read_text())
KINDS = {"users": "user", "devices": "device"}


def directory():
    rows = []
    for seq, (name, body) in enumerate(EXPECTED["documents"].items(), 1):
        account, kind, *id = name.split("/")
        rows.append({"kind": KINDS.get(kind, "account"), "account_id": account, "id": id[0] if id else account,
                     "body": body, "seq": seq, "deleted": False})
    return Directory().apply(rows)


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
    replay = Replay(directory()).feed(lines(scenario))
    found = [as_found(told) for told in replay.legs]
    assert found == [as_expected(leg) for leg in expected]
    for told, leg in zip(replay.legs, expected, strict=True):
        for rule, piece in leg[4].items():
            assert piece in told.refusals[rule]
    assert replay.faults == []
