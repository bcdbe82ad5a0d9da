"""Walks a call through its callflow: an action ends with a key, the name of the child to go on with (cf_exe.erl)."""

from collections.abc import Mapping

from kazoo_rec.callflow.actions import ACTIONS
from kazoo_rec.callflow.flow import LEAVE, Flow
from kazoo_rec.errors import KazooRecError, LegGone
from kazoo_rec.switch import commands

#: Actions of one call: one that comes back to itself for ever is ended by it.
MOST_STEPS = 1000


def run(flow: Flow):
    """Until the flow ends: the leg was hung up, or is left to its dialplan. Raises LegGone.

    Without a child for its key, nor `_`, the last action hangs the leg up. An action that fails goes on with `_`: no
    call is lost for it.
    """
    action = flow.document["flow"]
    for _ in range(MOST_STEPS):
        children = action.get("children") or {}
        flow.children = frozenset(children)
        key = _act(flow, action["module"], action.get("data") or {}, action.get("skip_module"))
        if key is LEAVE:
            _leave(flow, action["module"])
            return
        if key is None:
            return
        action = key if isinstance(key, Mapping) else children.get(key) or children.get("_")
        if action is None:
            flow.say(f"no child {key!r}: hangs up")
            flow.session.hangup()
            return
    flow.log.warning("a callflow does not end: its call is left to the dialplan", steps=MOST_STEPS)
    flow.session.resume()


def _act(flow, module, data, skip):
    """What the action answers: a key, an action to go on with instead, LEAVE, or None where the flow has ended."""
    if skip or data.get("skip_module"):
        flow.say(f"{module}: passed over")
        return "_"
    if module not in ACTIONS:
        return LEAVE
    try:
        return ACTIONS[module](flow, data)
    except LegGone:
        raise
    except KazooRecError as failed:
        flow.say(f"{module}: {failed}")
        flow.log.warning("an action failed", module=module, reason=str(failed))
        return "_"


def _leave(flow, module):
    flow.say(f"{module}: left to the dialplan")
    flow.session.execute(*commands.unhandled(module))
    flow.session.resume()
