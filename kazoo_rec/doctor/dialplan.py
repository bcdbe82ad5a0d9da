"""The dialplan of a configuration: calls that are handed to callflows, and come back when there is nobody."""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from kazoo_rec.doctor.finding import Finding, ok, several, shown, warning, wrong
from kazoo_rec.doctor.tree import Tree

#: Where callflows are run: host and port of the `socket` application.
PORT = "8084"

NAME = "conf dialplan"

_GATEWAY = re.compile(r"sofia/gateway/(?:[^/$,|]+::)?([^/$,|]+)/")
_CONFERENCE = re.compile(r"@([\w.-]+)")


def examine(read: Tree) -> list[Finding]:
    found, sockets = [], 0
    for context in read.section("dialplan").iterfind("context"):
        extensions = context.findall("extension")
        for number, extension in enumerate(extensions):
            place = f"{extension.get('name', '')!r} in {context.get('name', '')!r}"
            said = list(actions(extension))
            for at, (application, data) in enumerate(said):
                if application == "socket" and data.partition(" ")[0].endswith(f":{PORT}"):
                    sockets += 1
                    goes_on = at + 1 < len(said) or (
                        extension.get("continue") == "true" and number + 1 < len(extensions))
                    found += _socket(place, data, said[:at], goes_on)
    found += _missing(read)
    if not sockets:
        found.append(warning(NAME, "no call is handed to callflows; what documents want recorded is recorded all the "
                             "same", f'<action application="socket" data="127.0.0.1:{PORT} async full"/>, as in '
                             "dialplan/acme.example.xml of freeswitch-conf"))
    return found or [ok(NAME, f"{several(sockets, 'extension')} with callflows, and a way on without the engine")]


def actions(extension: Element) -> Iterator[tuple[str, str]]:
    """(application, data) of each action, in their order."""
    for one in extension.iter("action"):
        yield one.get("application", ""), one.get("data", "")


def _socket(place, data, before, goes_on):
    if not {"async", "full"} <= set(data.split()[1:]):
        yield wrong(NAME, f"{place}: `socket {data}` lets the engine do next to nothing",
                    f"`socket 127.0.0.1:{PORT} async full`")
    set_before = {argument.replace(" ", "") for application, argument in before if application in ("set", "export")}
    if "socket_resume=true" not in set_before:
        yield wrong(NAME, f"{place}: a call ends there when the engine dies",
                    "before it `set socket_resume=true`, with which FreeSWITCH goes on to the next action")
    elif "execute_on_pre_bridge=unsetsocket_resume" not in set_before:
        yield warning(NAME, f"{place}: a talk that a callflow brought about ends when the engine dies",
                      "before it `set execute_on_pre_bridge=unset socket_resume`")
    if not goes_on:
        yield wrong(NAME, f"{place}: there is nothing behind it for when the engine is down",
                    'an action behind it, or continue="true" and another extension')


def _missing(read):
    """Gateways and profiles of conferences that are used, and are nowhere."""
    gateways = {one.get("name") for one in read.root.iter("gateway")}
    conferences = read.configuration("conference.conf")
    profiles = {one.get("name") for one in conferences.iter("profile")} if conferences is not None else set()
    used = [(one.get("application"), one.get("data", "")) for one in read.section("dialplan").iter("action")]
    gateways_used = {name for application, data in used if application == "bridge" for name in _GATEWAY.findall(data)}
    for name in sorted(gateways_used - gateways):
        yield wrong(NAME, f"the gateway {shown(name)} is used, and no SIP profile has it",
                    "sip_profiles/external/carrier.xml of freeswitch-conf, or the name of yours")
    profiles_used = {found[1] for application, data in used if application == "conference"
                     and not data.startswith("bridge:") and (found := _CONFERENCE.search(data))}
    for name in sorted(profiles_used - profiles):
        yield wrong(NAME, f"the conference profile {shown(name)} is used, and conference.conf has none of that name",
                    "autoload_configs/conference.conf.xml of freeswitch-conf")
