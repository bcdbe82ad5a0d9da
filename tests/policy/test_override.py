"""A channel's `kazoo_rec` decides where the account allows it, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.policy.decision import Call, decide
from kazoo_rec.policy.settings import DEFAULTS, NETWORKS, OVERRIDES, account_policy, endpoint_policy

ON, OFF = {"enabled": True}, {"enabled": False}
settings = st.fixed_dictionaries({}, optional={"enabled": st.booleans(), "url": st.just("https://files.example/")})
trees = st.fixed_dictionaries({direction: st.fixed_dictionaries(dict.fromkeys(NETWORKS, settings))
                               for direction in ("inbound", "outbound")})
overrides = st.sampled_from([None, *OVERRIDES])


@st.composite
def calls(draw, allow):
    """A call whose accounts say of `allow_override` what is drawn from `allow`."""
    own, theirs = ({"call_recording": {"account": draw(trees), "endpoint": draw(trees)}, "allow_override": draw(allow)}
                   for _ in range(2))
    crosses, user = draw(st.booleans()), {"call_recording": draw(trees)}
    return Call(
        account_policy(own), account_policy(theirs) if crosses else None,
        draw(st.sampled_from([None, endpoint_policy(own, user, None)])),
        draw(st.sampled_from([None, endpoint_policy(theirs if crosses else own, user, None)])),
        draw(st.sampled_from(NETWORKS)), draw(st.sampled_from([*NETWORKS, None])), draw(overrides), draw(overrides))


def recorded(decision):
    return [(plan.rule, plan.leg, dict(plan.settings), dict(plan.origin)) for plan in decision.plans]


def of_endpoint(override, document, allow=True, user=None):
    """What the rule of the calling endpoint answers, and why."""
    account = {"call_recording": {"endpoint": {"any": {"any": document}}}, "allow_override": allow}
    decision = decide(Call(account_policy({}), None, endpoint_policy(account, user, None), None, "onnet", "offnet",
                           override))
    return next(one for one in (*decision.plans, *decision.refusals) if one.rule == "caller.outbound")


@given(calls(st.sampled_from([None, False])))
def test_where_no_account_allows_it_all_is_as_without_the_variable(one):
    assert recorded(decide(one)) == recorded(decide(one._replace(override=None, callee_override=None)))


@given(calls(st.just(True)))
def test_where_it_is_allowed_no_keeps_a_leg_out_of_every_rule(one):
    assert not decide(one._replace(override="no", callee_override="no")).plans


@given(calls(st.just(True)))
def test_where_it_is_allowed_force_records_whatever_could_be_enabled_with_the_cells_own_settings(one):
    forced = decide(one._replace(override="force", callee_override="force"))
    assert {(plan.rule, plan.leg) for plan in decide(one).plans} <= {
        (plan.rule, plan.leg) for plan in forced.plans} | {("account.outbound", "A")}
    assert ("account.inbound", "A") in {(plan.rule, plan.leg) for plan in forced.plans}
    assert all(plan.settings["enabled"] for plan in forced.plans)
    assert one.source == "onnet" or "caller.outbound" not in {plan.rule for plan in forced.plans}


@given(calls(st.booleans()))
def test_what_one_leg_asks_changes_nothing_on_the_other(one):
    def of_leg(leg, **asked):
        return [plan for plan in recorded(decide(one._replace(**asked))) if plan[1] == leg]

    assert of_leg("B") == of_leg("B", override=None) and of_leg("A") == of_leg("A", callee_override=None)


def test_of_two_accounts_each_decides_for_its_own_recordings():
    ours, theirs = ({"call_recording": {"any": {"any": ON}}, "allow_override": allow} for allow in (True, False))
    decision = decide(Call(account_policy(ours), account_policy(theirs), None, None, "onnet", "onnet", "no", "no"))
    assert [(plan.rule, plan.for_callee_account) for plan in decision.plans] == [("account.inbound", True)]
    assert decision.plans[0].reason.endswith("; the channel's kazoo_rec=no asked otherwise, which the account does not "
                                             "allow.")


def test_a_forced_recording_has_the_settings_of_its_cell_and_says_who_enabled_it():
    plan = of_endpoint("force", {**OFF, "url": "https://files.example/", "format": "wav"})
    assert plan.settings == {**DEFAULTS, "enabled": True, "url": "https://files.example/", "format": "wav"}
    assert (plan.origin["enabled"], plan.origin["url"]) == ("override", "account.endpoint")


@pytest.mark.parametrize(("override", "document", "allow", "reason"), [
    ("no", ON, True, "does not record leg A: the channel's kazoo_rec=no, which the account allows, disables outbound "
     "offnet."),
    ("force", OFF, True, "records leg A: the channel's kazoo_rec=force, which the account allows, enables outbound "
     "offnet."),
    ("no", ON, False, "records leg A: account call_recording.endpoint.any.any enables outbound offnet; the channel's "
     "kazoo_rec=no asked otherwise, which the account does not allow."),
    ("force", OFF, None, "does not record leg A: account call_recording.endpoint.any.any disables outbound offnet; the "
     "channel's kazoo_rec=force asked otherwise, which the account does not allow."),
    ("force", ON, False, "records leg A: account call_recording.endpoint.any.any enables outbound offnet."),
])
def test_the_reason_shows_which_it_was(override, document, allow, reason):
    def of_account(text):
        return text.partition("; nothing is said in ")

    head, said, rest = of_account(of_endpoint(override, document, allow).reason)
    told = head + (rest[rest.index("; the channel"):] if "; the channel" in rest else "." if said else "")
    assert told == f"caller.outbound {reason}"


def test_only_the_accounts_own_true_allows_it():
    assert of_endpoint("no", ON, allow=None, user={"allow_override": True}).settings["enabled"]
