"""The calls of the demo: for each setting of the published matrix an account that enables it and nothing else, and in
each account a call between every pair of networks. What is to happen is Kazoo's user guide "Call Recording"; the
offnet → offnet rows, which the page leaves out, follow from its rules.
"""

from dataclasses import dataclass

from kazoo_rec.policy.decision import Call, decide
from kazoo_rec.policy.settings import account_policy, endpoint_policy
from kazoo_rec.simulator.script import Phone, Script

ON, OFF = "onnet", "offnet"
PAIRS = ((ON, ON), (ON, OFF), (OFF, ON), (OFF, OFF))

#: Setting → the rule and leg that record, and between which networks.
MATRIX = {
    "account inbound.onnet": ("account.inbound", "A", {(ON, ON), (ON, OFF)}),
    "account inbound.offnet": ("account.inbound", "A", {(OFF, ON), (OFF, OFF)}),
    "account outbound.onnet": ("account.outbound", "A", {(ON, ON), (OFF, ON)}),
    "account outbound.offnet": ("account.outbound", "A", {(ON, OFF), (OFF, OFF)}),
    "account any.any": ("account.inbound", "A", set(PAIRS)),
    "endpoint inbound.onnet": ("callee.inbound", "B", {(ON, ON)}),
    "endpoint inbound.offnet": ("callee.inbound", "B", {(OFF, ON)}),
    "endpoint outbound.onnet": ("caller.outbound", "A", {(ON, ON)}),
    "endpoint outbound.offnet": ("caller.outbound", "A", {(ON, OFF)}),
}

#: Seconds: between calls, of ringing, of talk.
EVERY_S, RINGS_S, TALKS_S = 0.25, 0.4, 1.5

#: What callers and callees say, in Hz.
CALLER_HZ, CALLEE_HZ = 440, 660


@dataclass(frozen=True, eq=False)
class DemoCall:
    """One call: `expected` is what has to be recorded as (rule, leg), or None; `refusal` is why nothing is."""

    setting: str
    source: str
    destination: str
    expected: tuple[str, str] | None
    refusal: str
    script: Script


def account_of(setting: str) -> str:
    return setting.replace(" ", "-").replace(".", "-")


def documents(url: str) -> dict[str, dict]:
    """{file below the directory of documents: document}; recordings go to `url`."""
    found = {}
    for number, setting in enumerate(MATRIX):
        level, cell = setting.split()
        direction, network = cell.split(".")
        said = {direction: {network: {"enabled": True, "url": url, "format": "wav", "channels": "dual"}}}
        account = account_of(setting)
        found[f"{account}/account"] = {"name": setting, "realm": f"{account}.example", "country": "US",
                                       "numbers": [f"+{_did(number)}"]}
        if level == "account":
            found[f"{account}/account"]["call_recording"] = {"account": said}
        for user in ("100", "101"):
            found[f"{account}/users/user-{user}"] = {"call_recording": said} if level == "endpoint" else {}
            found[f"{account}/devices/phone-{user}"] = {"owner_id": f"user-{user}", "sip": {"username": user}}
    return found


def calls() -> list[DemoCall]:
    """Every setting between every pair of networks, one after the other."""
    found, known = [], documents("")
    for number, (setting, (rule, leg, recorded)) in enumerate(MATRIX.items()):
        for source, destination in PAIRS:
            account = account_of(setting)
            domain = f"{account}.example"
            caller = Phone("100" if source == ON else "442079460123", domain if source == ON else "", says=CALLER_HZ,
                           hangs_up=RINGS_S + TALKS_S)
            callee = Phone("101" if destination == ON else "442071838750", domain if destination == ON else "",
                           says=CALLEE_HZ, answers=RINGS_S)
            script = Script(caller, (callee,), dials=_did(number) if source == OFF else "", at=EVERY_S * len(found))
            expected = (rule, leg) if (source, destination) in recorded else None
            said = known[f"{account}/account"], known[f"{account}/users/user-100"]
            refusal = _refusal(*said, rule, source, destination)
            found.append(DemoCall(setting, source, destination, expected, refusal, script))
    return found


def _refusal(account, user, rule, source, destination):
    endpoint = endpoint_policy(account, user, None)
    decision = decide(Call(
        account=account_policy(account), callee_account=None, caller=endpoint if source == ON else None,
        callee=endpoint if destination == ON else None, source=source, destination=destination))
    return next((refusal.reason for refusal in decision.refusals if refusal.rule == rule), "")


def _did(number):
    return f"1555000{1000 + number}"
