"""Which legs are recorded, and the reasons."""

import csv
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.policy.decision import Call, decide
from kazoo_rec.policy.settings import NETWORKS, OVERRIDES, account_policy, endpoint_policy

ON, OFF = {"enabled": True}, {"enabled": False}
ALL_ON = {"any": {"any": ON}}
PUBLISHED = list(csv.DictReader(Path(__file__).with_name("published_rows.csv").open()))
OFFNET_TO_OFFNET = [
    {"level": level, "setting": setting, "source": "offnet", "destination": "offnet", "recorded": recorded}
    for level, setting, recorded in [
        ("account", "inbound.onnet", "no"),
        ("account", "inbound.offnet", "yes"),
        ("account", "outbound.onnet", "no"),
        ("account", "outbound.offnet", "yes unless inbound"),
        ("endpoint", "inbound.onnet", "no"),
        ("endpoint", "inbound.offnet", "no"),
        ("endpoint", "outbound.onnet", "no"),
        ("endpoint", "outbound.offnet", "no"),
    ]
]
LEGS = {"account.inbound": "A", "account.outbound": "A", "caller.outbound": "A", "callee.inbound": "B"}

NOBODY = account_policy({})
NO_SETTINGS = endpoint_policy({}, None, None)
ACCOUNT_ON = account_policy({"call_recording": ALL_ON})
ENDPOINT_ON = endpoint_policy({}, {"call_recording": ALL_ON}, None)

networks = st.fixed_dictionaries({network: st.sampled_from([ON, OFF, {}]) for network in NETWORKS})
grids = st.builds(
    lambda inbound, outbound: account_policy({"call_recording": {"inbound": inbound, "outbound": outbound}}),
    networks,
    networks,
)
calls = st.builds(
    Call,
    account=grids,
    callee_account=st.none() | grids,
    caller=st.none() | grids,
    callee=st.none() | grids,
    source=st.sampled_from(NETWORKS),
    destination=st.sampled_from([*NETWORKS, None]),
    override=st.sampled_from([*OVERRIDES, None]),
    callee_override=st.sampled_from([*OVERRIDES, None]),
)


def call(
    account=NOBODY, callee_account=None, caller=NO_SETTINGS, callee=NO_SETTINGS, source="onnet", destination="onnet"
):
    return Call(account, callee_account, caller, callee, source, destination)


def recorded(decision):
    return [(plan.rule, plan.leg) for plan in decision.plans]


def why_not(decision, rule):
    (reason,) = [refusal.reason for refusal in decision.refusals if refusal.rule == rule]
    return reason


def said(setting, settings):
    direction, network = setting.split(".")
    return {direction: {network: settings}}


@pytest.mark.parametrize("row", [*PUBLISHED, *OFFNET_TO_OFFNET], ids=lambda row: "-".join(row.values()))
def test_the_matrix(row):
    direction, _ = row["setting"].split(".")
    document = {"call_recording": said(row["setting"], ON)}
    if row["level"] == "account":
        rule = f"account.{direction}"
        decision = decide(call(account_policy(document), source=row["source"], destination=row["destination"]))
    else:
        rule = {"inbound": "callee.inbound", "outbound": "caller.outbound"}[direction]
        grid = endpoint_policy({}, document, None)
        decision = decide(call(caller=grid, callee=grid, source=row["source"], destination=row["destination"]))
    assert recorded(decision) == ([] if row["recorded"] == "no" else [(rule, LEGS[rule])])
    assert {plan.rule for plan in decision.plans} | {refusal.rule for refusal in decision.refusals} == set(LEGS)


def test_all_published_rows_are_here():
    assert len({tuple(row.values())[:4] for row in PUBLISHED}) == 24


@pytest.mark.parametrize(
    "row", [row for row in PUBLISHED if row["recorded"] == "yes unless inbound"], ids=lambda row: "-".join(row.values())
)
def test_the_accounts_outbound_rule_gives_way_to_an_enabled_inbound_rule_only(row):
    for inbound, rule in ((ON, "account.inbound"), (OFF, "account.outbound")):
        document = {"call_recording": {"inbound": {row["source"]: inbound}, **said(row["setting"], ON)}}
        decision = decide(call(account_policy(document), source=row["source"], destination=row["destination"]))
        assert recorded(decision) == [(rule, "A")]
        if inbound is ON:
            assert "inbound rule records this call already" in why_not(decision, "account.outbound")


def test_each_rule_makes_its_own_recording():
    decision = decide(call(ACCOUNT_ON, caller=ENDPOINT_ON, callee=ENDPOINT_ON))
    assert recorded(decision) == [("account.inbound", "A"), ("caller.outbound", "A"), ("callee.inbound", "B")]


def test_what_needs_the_destination_waits_for_it():
    outbound_only = account_policy({"call_recording": {"outbound": {"any": ON}}})
    decision = decide(call(outbound_only, caller=ENDPOINT_ON, callee=ENDPOINT_ON, destination=None))
    assert recorded(decision) == []
    for rule in ("account.outbound", "caller.outbound", "callee.inbound"):
        assert "destination is not known yet" in why_not(decision, rule)
    assert recorded(decide(call(ACCOUNT_ON, destination=None))) == [("account.inbound", "A")]


def test_an_endpoint_without_user_and_device_has_the_accounts_default():
    account = {"call_recording": {"endpoint": ALL_ON}}
    decision = decide(call(callee=endpoint_policy(account, None, None)))
    assert recorded(decision) == [("callee.inbound", "B")]
    assert decision.plans[0].origin["enabled"] == "account.endpoint"


def test_where_no_endpoint_is_there_is_no_endpoint_rule():
    decision = decide(call(caller=None, callee=None))
    assert "no endpoint placed this call" in why_not(decision, "caller.outbound")
    assert "no endpoint was called" in why_not(decision, "callee.inbound")


@pytest.mark.parametrize("destination", NETWORKS)
@pytest.mark.parametrize("source", NETWORKS)
def test_a_call_between_two_accounts_is_offnet_for_both(source, destination):
    to_offnet = account_policy({"call_recording": {"outbound": {"offnet": ON}}})
    url = "https://theirs.example"
    from_offnet = account_policy({"call_recording": {"inbound": {"offnet": {"enabled": True, "url": url}}}})
    callee = endpoint_policy({}, {"call_recording": {"inbound": {"offnet": ON, "onnet": OFF}}}, None)
    decision = decide(call(to_offnet, from_offnet, None, callee, source, destination))
    assert recorded(decision) == [("account.outbound", "A"), ("callee.inbound", "B"), ("account.inbound", "B")]
    assert [plan.for_callee_account for plan in decision.plans] == [False, True, True]
    assert decision.plans[-1].settings["url"] == url


def test_between_two_accounts_no_onnet_rule_records_what_is_offnet():
    onnet = {"inbound": {"onnet": ON}, "outbound": {"onnet": ON}}
    account, endpoint = account_policy({"call_recording": onnet}), endpoint_policy({}, {"call_recording": onnet}, None)
    decision = decide(call(account, account, endpoint, endpoint))
    assert recorded(decision) == [("account.inbound", "A")]


def test_the_callees_account_waits_for_the_destination_too():
    decision = decide(call(callee_account=ACCOUNT_ON, destination=None))
    assert recorded(decision) == []
    assert any("account.inbound of the callee's account" in refusal.reason for refusal in decision.refusals)


@pytest.mark.parametrize(
    ("documents", "reason"),
    [
        (
            ({}, {"call_recording": {"any": {"offnet": ON}}}, None),
            "caller.outbound records leg A: user call_recording.any.offnet enables outbound offnet; nothing is said in "
            "user call_recording.outbound.offnet.",
        ),
        (
            ({}, {"call_recording": ALL_ON}, {"call_recording": {"any": {"any": {"format": "wav"}}}}),
            "caller.outbound records leg A: user call_recording.any.any enables outbound offnet; nothing is said in "
            "device call_recording, user call_recording.outbound.offnet, user call_recording.any.offnet and "
            "user call_recording.outbound.any.",
        ),
        (
            ({}, {"call_recording": ALL_ON}, {"call_recording": {"outbound": {"offnet": OFF}}}),
            "caller.outbound does not record leg A: device call_recording.outbound.offnet disables outbound offnet.",
        ),
        (
            ({"call_recording": {"endpoint": {}}}, {}, {}),
            "caller.outbound does not record leg A: no document enables outbound offnet; nothing is said in "
            "device (no call_recording), user (no call_recording) and account call_recording.endpoint.",
        ),
        (
            ({}, None, {"record_call": True}),
            "caller.outbound records leg A: device record_call enables outbound offnet.",
        ),
    ],
)
def test_a_reason_names_the_document_and_the_cell_as_it_is_written(documents, reason):
    decision = decide(call(caller=endpoint_policy(*documents), destination="offnet"))
    found = {outcome.rule: outcome.reason for outcome in (*decision.plans, *decision.refusals)}
    assert found["caller.outbound"] == reason


@pytest.mark.parametrize(
    ("call_recording", "place"),
    [
        ({"inbound": {"onnet": ON}}, "call_recording.inbound.onnet"),
        ({"account": {"inbound": {"onnet": ON}}}, "call_recording.account.inbound.onnet"),
    ],
)
def test_a_reason_shows_the_accounts_own_shape(call_recording, place):
    (plan,) = decide(call(account_policy({"call_recording": call_recording}))).plans
    assert plan.reason == f"account.inbound records leg A: account {place} enables inbound onnet."


def test_no_text_of_a_document_gets_into_a_reason():
    hostile = "x\r\n\x1b[2J<script>"
    settings = {"enabled": True, "url": hostile, "label": hostile}
    document = {"id": hostile, "name": hostile, "call_recording": {"any": {"any": settings, hostile: settings}}}
    grid = endpoint_policy(document, document, document)
    decision = decide(call(account_policy(document), caller=grid, callee=grid))
    for outcome in (*decision.plans, *decision.refusals):
        assert re.fullmatch(r"[a-zA-Z ._:;,()'-]+", outcome.reason)


@given(calls)
def test_each_rule_is_answered_once_in_one_sentence(one):
    decision = decide(one)
    outcomes = (*decision.plans, *decision.refusals)
    theirs = [] if one.callee_account is None else ["account.inbound"]
    assert sorted(outcome.rule for outcome in outcomes) == sorted([*LEGS, *theirs])
    assert all(re.fullmatch(r"[a-z].*[a-z)]\.", outcome.reason) for outcome in outcomes)


@given(calls)
def test_an_account_has_at_most_one_plan_of_a_call(one):
    plans = [plan for plan in decide(one).plans if plan.rule.startswith("account.")]
    owners = [plan.for_callee_account for plan in plans]
    assert len(owners) == len(set(owners))


@given(calls, st.none() | grids, st.none() | grids)
def test_an_account_plan_never_depends_on_endpoints(one, caller, callee):
    other = one._replace(caller=caller, callee=callee)
    plans, others = ([p for p in decide(c).plans if p.rule.startswith("account.")] for c in (one, other))
    assert plans == others


@given(calls)
def test_only_what_is_enabled_is_recorded_and_never_an_endpoint_rule_for_an_offnet_leg(one):
    decision = decide(one)
    assert all(plan.settings["enabled"] for plan in decision.plans)
    rules = {plan.rule for plan in decision.plans}
    assert one.source == "onnet" or "caller.outbound" not in rules
    assert one.callee_account is not None or one.destination == "onnet" or "callee.inbound" not in rules


def test_all_four_pairs_of_networks_can_be_asked():
    pairs = [recorded(decide(call(ACCOUNT_ON, source=s, destination=d))) for s, d in product(NETWORKS, NETWORKS)]
    assert pairs == [[("account.inbound", "A")]] * 4
