"""What a callflow may do, by Kazoo's names. Each `run(flow, data)` answers the key of the child to go on with, an
action to go on with instead, `flow.LEAVE`, or None where the call has ended."""

from kazoo_rec.callflow.actions import (
    callflow,
    conference,
    device,
    menu,
    play,
    record_call,
    record_caller,
    resources,
    response,
    ring_group,
    set_variables,
    sleep,
    user,
)

ACTIONS = {
    "callflow": callflow.run,
    "conference": conference.run,
    "device": device.run,
    "menu": menu.run,
    "offnet": resources.run,
    "play": play.run,
    "record_call": record_call.run,
    "record_caller": record_caller.run,
    "resources": resources.run,
    "response": response.run,
    "ring_group": ring_group.run,
    "set_variables": set_variables.run,
    "sleep": sleep.run,
    "user": user.run,
}
