"""Takes down what the caller says, until a key, silence, the limit or the hang-up; each counts."""

from kazoo_rec.callflow.actions.play import ANY_KEY
from kazoo_rec.callflow.flow import Flow
from kazoo_rec.calls.actions import ACTION_DEFAULTS
from kazoo_rec.switch import commands

BEEP = "tone_stream://%(300,0,1000)"


def run(flow: Flow, data):
    settings = {key: data[key] for key in data if key not in ("beep", "skip_module")}
    flow.answer()
    if data.get("beep"):
        flow.session.execute(*commands.play(BEEP))
    message = flow.control.message(flow.account_id, flow.uuid, settings, label=flow.document.get("name"), who=flow.who)
    application = commands.record(message.path, data.get("time_limit", ACTION_DEFAULTS["time_limit"]))
    flow.say("record_caller: records")
    flow.session.keep()
    flow.have(message.variables)
    flow.session.tell(*commands.end_by(ANY_KEY))
    # Where the leg hangs up meanwhile, the switch closes the file after saying so: RECORD_STOP ends it then.
    flow.control.message_ended(message.id, flow.session.execute(*application))
    flow.message = message.path
    flow.give_back([*message.variables, "playback_terminators"])
    return "_"
