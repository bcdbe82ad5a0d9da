"""Refuses the call with a SIP status; what was answered already is hung up."""

from kazoo_rec.callflow.flow import Flow
from kazoo_rec.switch import commands

CODE = 486


def run(flow: Flow, data):
    application = commands.respond(data.get("code", CODE), data.get("message", ""))
    if "media" in data:
        flow.session.execute(*commands.play(data["media"]))
    flow.say(f"response: {application.argument}")
    flow.session.tell(*application)
    flow.session.hangup()
