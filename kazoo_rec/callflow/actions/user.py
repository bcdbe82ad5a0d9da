"""Calls all phones of a user."""

from kazoo_rec.callflow.actions.dial import dial, phones
from kazoo_rec.callflow.flow import Flow


def run(flow: Flow, data):
    called = phones(flow, data.get("id", ""), data)
    flow.say(f"user: {data.get('id', '')}, {len(called)} phone(s)")
    return dial(flow, called)
