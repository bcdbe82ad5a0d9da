"""Which legs of a call are recorded, and why: the matrix of Kazoo's user guide "Call Recording", its 24 rows and
the offnet → offnet rows that it leaves out.

| rule             | leg | records where                                                                        |
|------------------|-----|--------------------------------------------------------------------------------------|
| account.inbound  | A   | the account enables inbound[source]                                                  |
| account.outbound | A   | the account enables outbound[destination], and its inbound rule does not record      |
| caller.outbound  | A   | A is onnet and its endpoint enables outbound[destination]                            |
| callee.inbound   | B   | B is onnet and its endpoint enables inbound[source]                                  |

A call between two accounts is two calls: for the caller's account it goes offnet; for the callee's it comes from
offnet, and that account's inbound rule and the callee's endpoint record B.

A leg's channel may ask to be kept out (`kazoo_rec=no`) or recorded (`force`). That decides each rule for this leg that
has a cell, where the account whose rule it is allows it, and nothing else.
"""

from collections.abc import Mapping
from typing import NamedTuple

from kazoo_rec.policy.settings import Cell, Grid

UNKNOWN = "the destination is not known yet"
INBOUND_RECORDS = "the account's inbound rule records this call already"
CALLER_OFFNET = "the calling leg is offnet, and only an onnet leg has an endpoint's settings"
CALLEE_OFFNET = "the called leg is offnet, and only an onnet leg has an endpoint's settings"
NO_CALLER = "no endpoint placed this call"
NO_CALLEE = "no endpoint was called"


class Call(NamedTuple):
    """One A leg and at most one B leg. `account` and `callee_account` are account policies (the latter None where
    both legs are one account's), `caller` and `callee` endpoint policies (None: that leg is no endpoint).

    `source` is the network of A, `destination` that of B, None while there is neither a B leg nor an answer.
    `override` and `callee_override` are what the channels of A and B ask for: one of `settings.OVERRIDES`, or None.
    """

    account: Grid
    callee_account: Grid | None
    caller: Grid | None
    callee: Grid | None
    source: str
    destination: str | None
    override: str | None = None
    callee_override: str | None = None


class Plan(NamedTuple):
    """One recording to make. `for_callee_account`: it belongs to the callee's account, which is not the caller's."""

    rule: str
    leg: str
    cell: Cell
    for_callee_account: bool

    @property
    def settings(self) -> Mapping[str, object]:
        return self.cell.settings

    @property
    def origin(self) -> Mapping[str, str]:
        return self.cell.origin

    @property
    def reason(self) -> str:
        return f"{_rule(self)} records leg {self.leg}: {_finding(self.cell)}."


class Refusal(NamedTuple):
    """A rule that does not record, by what its cell says or for a cause that comes before any cell."""

    rule: str
    leg: str
    cause: Cell | str
    for_callee_account: bool

    @property
    def reason(self) -> str:
        cause = self.cause if isinstance(self.cause, str) else _finding(self.cause)
        return f"{_rule(self)} does not record leg {self.leg}: {cause}."


class Decision(NamedTuple):
    plans: tuple[Plan, ...]
    refusals: tuple[Refusal, ...]


def decide(call: Call) -> Decision:
    """Asks every rule once; each ends as a Plan or as a Refusal. Reasons are put into words when they are read."""
    crosses = call.callee_account is not None
    known = call.destination is not None
    destination = "offnet" if crosses and known else call.destination
    inbound = call.account["inbound", call.source].overridden(call.override)

    if inbound.enabled:
        outbound = INBOUND_RECORDS
    else:
        outbound = call.account["outbound", destination] if known else UNKNOWN

    if call.source == "offnet":
        caller = CALLER_OFFNET
    elif call.caller is None:
        caller = NO_CALLER
    else:
        caller = call.caller["outbound", destination] if known else UNKNOWN

    if not known:
        callee = UNKNOWN
    elif destination == "offnet" and not crosses:
        callee = CALLEE_OFFNET
    elif call.callee is None:
        callee = NO_CALLEE
    else:
        callee = call.callee["inbound", "offnet" if crosses else call.source]

    answers = [
        ("account.inbound", "A", inbound, False),
        ("account.outbound", "A", outbound, False),
        ("caller.outbound", "A", caller, False),
        ("callee.inbound", "B", callee, crosses),
    ]
    if crosses:
        theirs = call.callee_account["inbound", "offnet"] if known else UNKNOWN
        answers.append(("account.inbound", "B", theirs, True))

    plans, refusals = [], []
    for rule, leg, answer, for_callee_account in answers:
        override = call.override if leg == "A" else call.callee_override
        if override and answer.__class__ is Cell:
            answer = answer.overridden(override)
        if answer.__class__ is Cell and answer.enabled:
            plans.append(Plan(rule, leg, answer, for_callee_account))
        else:
            refusals.append(Refusal(rule, leg, answer, for_callee_account))
    return Decision(tuple(plans), tuple(refusals))


def _rule(outcome: Plan | Refusal) -> str:
    theirs = outcome.for_callee_account and outcome.rule == "account.inbound"
    return f"{outcome.rule} of the callee's account" if theirs else outcome.rule


def _finding(cell: Cell) -> str:
    verb = "disables" if cell.said_in and not cell.enabled else "enables"
    said = f"{cell.said_in or 'no document'} {verb} {cell.direction} {cell.network}"
    if cell.silent:
        *others, last = cell.silent
        said += f"; nothing is said in {', '.join(others) + ' and ' if others else ''}{last}"
    if cell.denied:
        said += f"; the channel's kazoo_rec={cell.denied} asked otherwise, which the account does not allow"
    return said
