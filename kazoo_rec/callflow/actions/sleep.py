"""Waits."""

from kazoo_rec.callflow.flow import Flow
from kazoo_rec.switch import commands

_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


def run(flow: Flow, data):
    duration, unit = data.get("duration", 0), data.get("unit", "s")
    flow.say(f"sleep: {duration} {unit}")
    flow.session.execute(*commands.wait(duration * _MS[unit]))
    return "_"
