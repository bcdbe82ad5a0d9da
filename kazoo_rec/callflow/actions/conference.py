"""Takes part in a room of the account's."""

from kazoo_rec.callflow.flow import LEAVE, Flow
from kazoo_rec.switch import commands, replies

#: Of conference.conf.xml.
PROFILE = "default"


def run(flow: Flow, data):
    """The room is `<account>-<id>`: no account gets into another's. Without an id, or without mod_conference, the
    dialplan does it."""
    if "id" not in data or not replies.exists(flow.session.ask(commands.module_exists("mod_conference"))):
        return LEAVE
    application = commands.conference(f"{flow.account_id}-{data['id']}", data.get("profile", PROFILE),
                                      moderator=data.get("moderator", False))
    flow.say(f"conference: {data['id']}")
    flow.answer()
    flow.session.keep()
    flow.session.execute(*application)
    return "_"
