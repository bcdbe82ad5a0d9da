"""Decisions a second on one core: `python bench/decide.py`.

Ours has each party's documents compiled once, as the engine has, and puts into words the reason of each recording.
The peer is what Kazoo's published code does, told plainly: at each call it merges account, user and device
(kz_endpoint.erl) and looks the cells up (cf_route_win.erl, kz_account_recording.erl, kz_endpoint_recording.erl).
Both must come to the same recordings; documents on which the two differ on purpose are not in the mix.
"""

import json
import random
import statistics
import sys
import time

from kazoo_rec.policy.decision import Call, decide
from kazoo_rec.policy.settings import DIRECTIONS, NETWORKS, account_policy, endpoint_policy

GOAL = 50_000  #: decisions a second
CALLS = 20_000
ROUNDS = 5

URL = "https://files.example/calls"
ON, OFF = {"enabled": True, "url": URL}, {"enabled": False}
CUSTOMERS_ONLY = {"inbound": {"offnet": ON}, "outbound": {"offnet": ON}}
ENDPOINTS = {"any": {"any": {"time_limit": 600}}}
ACCOUNTS = (
    {},
    {"call_recording": {"account": CUSTOMERS_ONLY}},
    {"call_recording": {"account": {"any": {"any": {**ON, "format": "wav"}}}, "endpoint": ENDPOINTS}},
    {"call_recording": {"account": {"outbound": {"any": ON}}, "endpoint": ENDPOINTS}},
)
# What names only some cells switches off the others of weaker documents in Kazoo, and not here. So ENDPOINTS enables
# nothing, and a device says one thing of all cells.
USERS = (None, {}, {"call_recording": CUSTOMERS_ONLY}, {"call_recording": {"any": {"any": ON}}})
DEVICES = (None, {}, {"call_recording": {"any": {"any": OFF}}}, {"call_recording": {"any": {"any": {"format": "wav"}}}})


def merged(weak: dict, strong: dict) -> dict:
    """kz_json:merge_recursive/2."""
    result = dict(weak)
    for key, value in strong.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def kazoo_cells(call_recording: dict | None) -> dict:
    if not call_recording:
        return {}
    cells = {}
    for direction in DIRECTIONS:
        networks = merged(call_recording.get("any", {}), call_recording.get(direction, {}))
        weakest = networks.pop("any", {"enabled": False})
        cells[direction] = {network: merged(weakest, networks.get(network, {})) for network in NETWORKS}
    return cells


def kazoo_decide(account, other, caller, callee, source, destination) -> list[tuple[str, str]]:
    """(rule, leg) of each recording. A call to another account is asked again there, as one from offnet."""
    found, own = [], (account.get("call_recording") or {})
    cells = kazoo_cells(own.get("account"))
    theirs = account if other is None else other
    beyond = destination and ("offnet" if other is not None else destination)
    if cells.get("inbound", {}).get(source, {}).get("enabled"):
        found.append(("account.inbound", "A"))
    elif beyond and cells.get("outbound", {}).get(beyond, {}).get("enabled"):
        found.append(("account.outbound", "A"))
    if beyond and source == "onnet" and kazoo_endpoint(account, caller)["outbound"][beyond].get("enabled"):
        found.append(("caller.outbound", "A"))
    if destination == "onnet":
        seen = source if other is None else "offnet"
        if kazoo_endpoint(theirs, callee)["inbound"][seen].get("enabled"):
            found.append(("callee.inbound", "B"))
    if destination == "onnet" and other is not None:
        cells = kazoo_cells((other.get("call_recording") or {}).get("account"))
        if cells.get("inbound", {}).get("offnet", {}).get("enabled"):
            found.append(("account.inbound", "B"))
    return found


def kazoo_endpoint(account, party) -> dict:
    cells = {direction: {network: {} for network in NETWORKS} for direction in DIRECTIONS}
    cells = merged(cells, kazoo_cells((account.get("call_recording") or {}).get("endpoint")))
    for document in party:
        cells = merged(cells, kazoo_cells((document or {}).get("call_recording")))
    return cells


def mix(count: int) -> list[tuple]:
    """Calls between 1,000 endpoints of 50 accounts: 40 % from the PSTN, 40 % to it or inside, 15 % with a destination
    that is not known yet, 5 % to another account."""
    chance = random.Random(1)
    accounts = [chance.choice(ACCOUNTS) for _ in range(50)]
    parties = [[(chance.choice(USERS), chance.choice(DEVICES)) for _ in range(20)] for _ in accounts]
    calls = []
    for _ in range(count):
        kind = chance.choices(["in", "out", "inside", "not yet", "other account"], [40, 25, 15, 15, 5])[0]
        here, there = chance.sample(range(len(accounts)), 2)
        theirs = there if kind == "other account" else here
        calls.append((
            accounts[here],
            accounts[there] if kind == "other account" else None,
            chance.choice(parties[here]),
            chance.choice(parties[theirs]),
            "offnet" if kind == "in" else "onnet",
            {"out": "offnet", "not yet": None}.get(kind, "onnet"),
        ))
    return calls


def compiled(calls: list[tuple]) -> list[tuple]:
    grids = {}

    def once(make, *documents):
        key = (make, *map(id, documents))
        if key not in grids:
            grids[key] = make(*documents)
        return grids[key]

    return [
        (
            once(account_policy, account),
            None if other is None else once(account_policy, other),
            once(endpoint_policy, account, *caller),
            once(endpoint_policy, account if other is None else other, *callee),
            source,
            destination,
        )
        for account, other, caller, callee, source, destination in calls
    ]


def ours(calls: list[tuple]) -> list[list[tuple[str, str]]]:
    found = []
    for facts in calls:
        plans = decide(Call(*facts)).plans
        found.append([(plan.rule, plan.leg) for plan in plans if plan.reason])
    return found


def peer(calls: list[tuple]) -> list[list[tuple[str, str]]]:
    return [kazoo_decide(*facts) for facts in calls]


def rate(decider, calls: list[tuple]) -> float:
    started = time.perf_counter()
    decider(calls)
    return len(calls) / (time.perf_counter() - started)


def main():
    calls = mix(CALLS)
    ready = compiled(calls)
    if ours(ready) != peer(calls):
        sys.exit("the two do not come to the same recordings")
    rates = [(rate(ours, ready), rate(peer, calls)) for _ in range(ROUNDS)]
    value, beside = (statistics.median(column) for column in zip(*rates, strict=True))
    print(f"{CALLS} calls, median of {ROUNDS}: {value:,.0f}/s compiled once, {beside:,.0f}/s merged at each call")
    result = {"bench": "decide", "value": round(value), "peer": round(beside), "ratio": round(value / beside, 2)}
    print(json.dumps({**result, "goal": GOAL, "ok": value >= GOAL}))
    sys.exit(value < GOAL)


if __name__ == "__main__":
    main()
