"""Calls a number through the gateway that the dialplan named in the variable kazoo_rec_gateway."""

from kazoo_rec.callflow.actions.dial import dial
from kazoo_rec.callflow.flow import LEAVE, Flow
from kazoo_rec.switch.commands import Carrier

#: Seconds; a mobile phone may be slow to be found.
TIMEOUT_S = 60


def run(flow: Flow, data):
    """`to_did`, else what the callflow's pattern captured, else the number that was called. Without a gateway the
    dialplan, which knows the way out, does it."""
    gateway = flow.channel.variable("kazoo_rec_gateway")
    if not gateway:
        return LEAVE
    captured = next(filter(None, reversed(flow.captures)), "")
    number = data.get("to_did") or captured or flow.number
    flow.say(f"resources: {number} through {gateway}")
    return dial(flow, [Carrier(gateway, number, data.get("timeout", TIMEOUT_S))])
