"""Sets variables of the leg, with `export` of the legs that it calls too. Each is named cav_…: what FreeSWITCH itself
obeys is no tenant's to set."""

from kazoo_rec.callflow.flow import Flow
from kazoo_rec.switch import commands


def run(flow: Flow, data):
    variables = data.get("custom_application_vars") or {}
    for application in [commands.variable(f"cav_{name}", _text(value), export=data.get("export", False))
                        for name, value in variables.items()]:
        flow.say(f"set_variables: {application.argument}")
        flow.session.tell(*application)
    return "_"


def _text(value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
