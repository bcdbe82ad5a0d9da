"""Plays, and goes on by what the caller pressed; the menu is in the action itself, with the keys of Kazoo's menus."""

from kazoo_rec.callflow.flow import LEAVE, Flow
from kazoo_rec.switch import commands

_KEYS = frozenset("0123456789*#")

#: Kazoo's.
RETRIES, TIMEOUT_MS, BETWEEN_MS = 3, 10_000, 2_000


def run(flow: Flow, data):
    """The keys pressed, where they are a child's. Who pressed nothing goes on with `timeout` where that is a child, who
    did so too often, or pressed what is none, with `max_retries`. A menu of another document is left to the dialplan.
    """
    if "media" not in data:
        return LEAVE
    choices = {key for key in flow.children if set(key) <= _KEYS}
    application = commands.digits(max(map(len, choices), default=1), data.get("timeout", TIMEOUT_MS),
                                  data.get("interdigit_timeout", BETWEEN_MS), data["media"].get("greeting"))
    flow.answer()
    for _ in range(data.get("retries", RETRIES)):
        flow.session.tell(*commands.forget(commands.DIGITS))
        pressed = flow.session.execute(*application).variable(commands.DIGITS)
        flow.say(f"menu: {pressed if pressed in choices else 'no choice' if pressed else 'nothing'} pressed")
        if pressed in choices:
            return pressed
        if not pressed and "timeout" in flow.children:
            return "timeout"
    return "max_retries"
