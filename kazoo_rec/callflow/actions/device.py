"""Calls one phone."""

from kazoo_rec.callflow.actions.dial import dial, phone_of
from kazoo_rec.callflow.flow import Flow


def run(flow: Flow, data):
    flow.say(f"device: {data.get('id', '')}")
    return dial(flow, phone_of(flow, data.get("id", ""), data))
