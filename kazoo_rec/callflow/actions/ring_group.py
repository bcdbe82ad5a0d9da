"""Calls users and devices, at once or in turn, and again as often as `repeats` says."""

from kazoo_rec.callflow.actions.dial import TIMEOUT_S, dial, phone_of, phones
from kazoo_rec.callflow.flow import Flow


def run(flow: Flow, data):
    each = {}
    for endpoint in data.get("endpoints") or ():
        for phone in _phones(flow, data, endpoint):
            each.setdefault((phone.name, phone.domain), phone)
    called = list(each.values())
    in_turn = data.get("strategy", "simultaneous") != "simultaneous"
    cause = "_"
    for _ in range(data.get("repeats", 1)):
        flow.say(f"ring_group: {len(called)} phone(s){' in turn' if in_turn else ''}")
        cause = dial(flow, called, in_turn=in_turn)
    return cause


def _phones(flow, data, endpoint):
    ring = {"timeout": endpoint.get("timeout", data.get("timeout", TIMEOUT_S)), "delay": endpoint.get("delay", 0)}
    of = {"user": phones, "device": phone_of}.get(endpoint.get("endpoint_type"))
    return of(flow, endpoint.get("id", ""), ring) if of else []
