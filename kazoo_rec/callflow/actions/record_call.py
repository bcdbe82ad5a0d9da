"""Starts, stops, masks or pauses a recording of the caller's leg, and goes on at once."""

from kazoo_rec.callflow.flow import Flow
from kazoo_rec.calls.actions import NOT_SETTINGS


def run(flow: Flow, data):
    """`stop` is for the last that this flow began, the others for all of those; with a label, for that one."""
    action, label = data.get("action", "start"), data.get("label")
    flow.say(f"record_call: {action}" + (f" {label!r}" if label else ""))
    if action == "start":
        settings = {key: data[key] for key in data if key not in NOT_SETTINGS}
        begun = flow.control.begin(flow.account_id, flow.uuid, settings, rule="callflow",
                                   label=label or flow.document.get("name"), who=flow.who)
        flow.began.append(begun["id"])
        return "_"
    those = {"label": label} if label else {"ids": flow.began[-1:] if action == "stop" else list(flow.began)}
    if not label and not flow.began:
        flow.say("record_call: this flow records nothing")
    elif action == "stop":
        ended = {one["id"] for one in flow.control.end(flow.account_id, flow.uuid, who=flow.who, **those)}
        flow.began = [id for id in flow.began if id not in ended | set(those.get("ids", ()))]
    else:
        flow.control.change(flow.account_id, flow.uuid, action, who=flow.who, **those)
    return "_"
