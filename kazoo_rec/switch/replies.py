"""What FreeSWITCH answers to commands, as values."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from xml.etree import ElementTree

from kazoo_rec.errors import CommandFailed, ProtocolBroken
from kazoo_rec.switch.events import Event, parse

#: switch_core_media_bug_enumerate does not escape the path; a path that commands.start accepts needs no escape.
_RECORDING = re.compile(r"<function>session_record</function>\s*<target>(.*)</target>")
_VERSION = re.compile(r"\b(\d{1,4})\.(\d{1,4})\.(\d{1,4})")


class Room(NamedTuple):
    """A conference room: `age_s` seconds old; `members` is {leg's uuid: whether it may speak}, `recorded` {path: when
    that recording began, in seconds since the epoch}."""

    name: str
    uuid: str
    age_s: int
    members: Mapping[str, bool]
    recorded: Mapping[str, int]


def check(reply: str) -> str:
    """The reply as it is; raises CommandFailed for `-ERR …` and `-USAGE: …`."""
    if reply.startswith("-"):
        raise CommandFailed("FreeSWITCH refused a command", reply.strip()[:200])
    return reply


def check_lines(reply: str) -> str:
    """As `check`, of every line: a conference says `+OK Pause …` first, and then that there is no such recording."""
    for line in reply.splitlines():
        check(line)
    return reply


def channels(reply: str) -> list[dict[str, str]]:
    """The legs in the reply to `show channels as json`: `uuid`, `direction`, `callstate`, `created_epoch` …"""
    return _rows(reply, "uuid")


def registrations(reply: str) -> list[dict[str, str]]:
    """The phones in the reply to `show registrations as json`: `reg_user`, `realm`, `url` (their contact) …"""
    return _rows(reply, "reg_user")


def leg(reply: str) -> Event:
    """The leg in the reply to `uuid_dump <uuid> json`; its name is CHANNEL_DATA."""
    return _json(reply)


def recorded(reply: str) -> list[str]:
    """The paths in the reply to `uuid_buglist`, one for each running recording, so twice where it runs twice."""
    return _RECORDING.findall(check(reply))


def rooms(reply: str) -> list[Room]:
    """The rooms in the reply to `conference json_list` (conference_api.c, conference_jlist)."""
    try:
        found = parse(f'{{"rooms":{check(reply)}}}'.encode("utf-8", "surrogateescape")).headers["rooms"]
        return [_room(one) for one in (found if isinstance(found, list) else [found])]
    except (LookupError, TypeError) as fault:
        raise ProtocolBroken("the list of rooms is not what it should be", str(fault)) from None


def exists(reply: str) -> bool:
    """The answer to `uuid_exists`, `module_exists` and `file_exists`."""
    return check(reply).strip() == "true"


def clock(reply: str) -> int:
    """Milliseconds since the epoch by the switch's own clock, in the reply to `strmicroepoch`.

    Raises ProtocolBroken for what is no number.
    """
    text = check(reply).strip()
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise ProtocolBroken("the switch's time is no number", repr(text[:40]))
    return int(text) // 1000


def variables(reply: str) -> dict[str, str]:
    """The global variables in the reply to `global_getvar`, one a line."""
    return dict(line.partition("=")[::2] for line in check(reply).splitlines() if "=" in line)


def version(reply: str) -> tuple[int, int, int] | None:
    """The numbers in the reply to `version`; None where there are none."""
    found = _VERSION.search(check(reply))
    return found and tuple(map(int, found.groups()))


def settings(reply: str) -> Iterator[tuple[str, str, str]]:
    """(profile, name, value) of every parameter in the reply to `xml_locate`; the profile is empty outside of one.

    Raises ProtocolBroken for what is not XML.
    """
    try:
        root = ElementTree.fromstring(check(reply))
    except ElementTree.ParseError as fault:
        raise ProtocolBroken("a configuration of the switch is not XML", str(fault)) from None
    for owner, within in (("", root), *((one.get("name", ""), one) for one in root.iter("profile"))):
        for one in within.iterfind("settings/param"):
            yield owner, one.get("name", ""), one.get("value", "")


def _room(one):
    callers = [member for member in one["members"] if member["type"] == "caller"]
    nodes = [member for member in one["members"] if member["type"] == "recording_node"]
    return Room(one["conference_name"], one["conference_uuid"], one["run_time"],
                {member["uuid"]: member["flags"]["can_speak"] for member in callers},
                {node["record_path"]: node["join_time"] for node in nodes})


def _rows(reply: str, key: str) -> list[dict[str, str]]:
    try:
        return [row for row in _json(reply).headers.get("rows", []) if row[key]]
    except (LookupError, TypeError) as fault:
        raise ProtocolBroken("a list of the switch is not what it should be", str(fault)) from None


def _json(reply: str) -> Event:
    return parse(check(reply).encode("utf-8", "surrogateescape"))
