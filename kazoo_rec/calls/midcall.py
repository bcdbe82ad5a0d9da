"""A leg that is in progress, read as if its CHANNEL_CREATE had been heard.

What a leg shows later is not what it showed then (seen on FreeSWITCH 1.10.12): a dialplan's transfer writes context
and number anew, and `dialed_user` becomes whom the leg calls after a transfer, on a caller too. What stays is what
`show channels` calls initial, the contact that was called, and the presence id that a directory's dial-string gives.
"""

from dataclasses import dataclass

from kazoo_rec.calls.registrations import Registrations
from kazoo_rec.switch.events import Event


def as_created(event: Event, registrations: Registrations, listed: dict | None = None) -> Event:
    """`event` is a leg's dump, or the CHANNEL_CREATE of one that was recovered; `listed` its row of `show channels`."""
    headers, listed = dict(event.headers), listed or {}
    for header, column in (("Caller-Context", "initial_context"), ("Caller-Destination-Number", "initial_dest")):
        if listed.get(column):
            headers[header] = listed[column]
    if event.get("Call-Direction") == "outbound":
        headers["variable_dialed_user"], headers["variable_dialed_domain"] = _dialled(event, registrations)
    return Event(headers)


def _dialled(event, registrations):
    if event.variable("sip_gateway_name"):
        return "", ""
    behind = registrations.behind(event.variable("sip_destination_url") or event.variable("sip_req_uri"))
    if behind:
        return behind
    user, _, domain = event.get("Channel-Presence-ID").partition("@")
    if user and domain:
        return user, domain
    return event.variable("dialed_user"), event.variable("dialed_domain")


#: What is armed says RECORD_START within 22 ms of the answer: what has not by then, ms, does not begin any more.
BEGINS_WITHIN_MS = 250


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a leg is. Times are the switch's clock, ms since the epoch, None where it has not happened; `bridged_to`
    is the uuid of the leg that it is bridged to now, "" where there is none. `may_begin`: what is armed may begin
    yet."""

    answered_ms: int | None
    bridged_ms: int | None
    held_ms: int | None
    bridged_to: str
    over: bool
    may_begin: bool

    @classmethod
    def of(cls, event: Event) -> "Progress":
        answered_ms, bridged_ms = _ms(event, "Answered-Time"), _ms(event, "Bridged-Time")
        held = event.get("Channel-Call-State") == "HELD"
        return cls(answered_ms, bridged_ms, _ms(event, "Last-Hold") if held else None,
                   event.variable("signal_bond") if bridged_ms else "", event.get("Answer-State") == "hangup",
                   answered_ms is None or event.time_us // 1000 - answered_ms <= BEGINS_WITHIN_MS)


def _ms(event, name):
    us = event.get(f"Caller-Channel-{name}")
    return int(us) // 1000 or None if us.isdecimal() else None
