"""Takes part in a room of the account's, and has it recorded."""

from kazoo_rec.callflow.flow import LEAVE, Flow
from kazoo_rec.errors import KazooRecError, LegGone
from kazoo_rec.switch import commands, replies

#: Of conference.conf.xml; others are not a tenant's to choose: they may have `auto-record`.
PROFILE = "default"

#: `record` of the action, and what `calls.rooms.Rooms.record` calls it.
_WHAT = {"all": "room", "participant": "members", "both": "both"}

#: Keys of the recording, as schemas/callflows.conference.json has them: others of Kazoo's may hold anything.
_SETTINGS = ("announce", "channels", "format", "label", "media_name", "method", "record_min_sec", "record_sample_rate",
             "status_callback", "time_limit", "track", "url")


def run(flow: Flow, data):
    """The room is `<account>.<id>`, and ids have no dot: no account gets into another's. Without an id, or without
    mod_conference, the dialplan does it."""
    if "id" not in data or not replies.exists(flow.session.ask(commands.module_exists("mod_conference"))):
        return LEAVE
    room = f"{flow.account_id}.{data['id']}"
    application = commands.conference(room, PROFILE, moderator=data.get("moderator", False))
    if "record" in data:
        _record(flow, room, data)
    flow.say(f"conference: {data['id']}")
    flow.answer()
    flow.session.keep()
    flow.session.execute(*application)
    return "_"


def _record(flow, room, data):
    """The whole room, once, whoever comes first; or what this leg says; or both. A room that is not recorded is one to
    talk in all the same."""
    settings = {key: data[key] for key in data if key in _SETTINGS}
    flow.say(f"conference: records {data['record']}")
    try:
        flow.rooms.record(flow.account_id, room, _WHAT[data["record"]], settings, flow.who, uuid=flow.uuid)
    except LegGone:
        raise
    except KazooRecError as refused:
        flow.say(f"conference: not recorded: {refused}")
        flow.log.warning("a conference is not recorded", room=room, reason=str(refused))
