"""Calls somebody and connects the caller."""

from kazoo_rec.callflow.flow import Flow
from kazoo_rec.switch import commands

#: Seconds that a phone rings, where the callflow says none (Kazoo's).
TIMEOUT_S = 20

#: With these the caller, not the flow, ends with the talk, and nothing else; should this process die meanwhile, too.
_WHILE_CALLING = {"continue_on_fail": "true", "hangup_after_bridge": "true"}


def dial(flow: Flow, called, *, in_turn: bool = False) -> str:
    """Returns only where nobody answered: FreeSWITCH's cause for it (USER_BUSY, NO_ANSWER), which is the key."""
    application = commands.bridge(called, in_turn=in_turn)
    flow.session.keep()
    flow.have(_WHILE_CALLING)
    event = flow.session.execute(*application)
    flow.give_back(_WHILE_CALLING)
    cause = event.variable("originate_disposition", "_")
    flow.say(f"not connected: {cause}")
    return cause


def phones(flow: Flow, user_id: str, data) -> list[commands.User]:
    """All of a user's, but the one that calls, unless `can_call_self`."""
    return [phone for device_id in flow.directory.devices(flow.account_id, user_id)
            for phone in phone_of(flow, device_id, data)]


def phone_of(flow: Flow, device_id: str, data) -> list[commands.User]:
    """One, or none where there is no such device, it is the caller's own, nobody could call it, or another account
    says that it is theirs."""
    sip = flow.directory.sip(flow.account_id, device_id)
    if sip is None or flow.directory.by_sip(*sip) is None or (sip == _caller(flow) and not data.get("can_call_self")):
        return []
    return [commands.User(*sip, data.get("timeout", TIMEOUT_S), data.get("delay", 0))]


def _caller(flow):
    if flow.channel.variable("sip_authorized") != "true":
        return None
    return flow.channel.variable("sip_auth_username"), flow.channel.variable("sip_auth_realm").lower()
