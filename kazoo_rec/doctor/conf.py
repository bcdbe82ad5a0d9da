"""A directory of FreeSWITCH's configuration, before FreeSWITCH runs on it: what is needed, and what is dangerous.

What a configuration must have is in freeswitch-conf/, with its README.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from kazoo_rec.calls.identity import IdentityRules
from kazoo_rec.config import Switch
from kazoo_rec.doctor import dialplan, tree, users
from kazoo_rec.doctor.finding import Finding, failed, ok, several, shown, warning, wrong
from kazoo_rec.doctor.preprocess import VARIABLE
from kazoo_rec.doctor.switch import FOR_THE_TEST, NEEDED, SHIPPED_PASSWORD, bypassing, recorders
from kazoo_rec.doctor.tree import Tree
from kazoo_rec.errors import ConfigError

#: What a configuration must load besides.
ALSO_NEEDED = {
    "mod_event_socket": "the engine's way to the switch",
    "mod_commands": "the engine's commands",
    "mod_dialplan_xml": "the dialplan",
    "mod_sofia": "SIP",
}

#: Characters below which a password can be guessed.
SHORT = 12

#: Names that a finding tells of, at most.
TOLD = 3


def examine(directory: Path, rules: IdentityRules, switches: Sequence[Switch] = ()) -> list[Finding]:
    """Everything that is wrong with a configuration directory. Blocks; reads nothing outside of it.

    Parameters:
      rules: which variables and contexts tell whose a leg is.
      switches: of the engine's configuration, where there is one: their passwords have to be those of the directory.
    """
    name = "conf"
    try:
        read = tree.read(directory)
    except ConfigError as error:
        return [failed(name, error)]
    found = [ok(name, f"{directory} is read as FreeSWITCH reads it")]
    if read.text.unread:
        found.append(warning(name, f"not looked at: {_some(read.text.unread)}",
                             "what is included from there is not in any of these findings"))
    if read.text.open_to_all:
        found.append(warning(name, f"everybody on this host may read passwords in {_some(read.text.open_to_all)}",
                             f"`chmod -R o-rwx {directory}`, and FreeSWITCH's group as theirs"))
    return [*found, *_event_socket(read, switches), *_modules(read), *_profiles(read), *users.examine(read, rules),
            *dialplan.examine(read), *recorders(read.text.variables)]


def _event_socket(read, switches):
    name = "conf event socket"
    configuration = read.configuration("event_socket.conf")
    if configuration is None:
        return [wrong(name, "there is no event_socket.conf: FreeSWITCH takes its own password, which everybody knows",
                      "autoload_configs/event_socket.conf.xml of freeswitch-conf")]
    said = list(params(configuration.find("settings")))
    last = dict(said)
    listen, port = last.get("listen-ip") or "127.0.0.1", last.get("listen-port") or "8021"
    lists = [value for key, value in said if key == "apply-inbound-acl" and value]
    found = _password(name, read, last.get("password", ""), [one for one in switches if str(one.port) == port])
    if not _is_loopback(listen) and not lists:
        found.append(warning(name, f"it listens on {shown(listen)} and asks no ACL",
                             "listen-ip 127.0.0.1, or an apply-inbound-acl: who logs in may run any command"))
    acl = read.configuration("acl.conf")
    known = {one.get("name") for one in acl.iter("list")} if acl is not None else set()
    found += [wrong(name, f"apply-inbound-acl is {shown(one)}, and acl.conf has no such list: nobody gets in",
                    "loopback.auto, which FreeSWITCH makes itself, or a list in acl.conf.xml")
              for one in lists if one not in known and not one.endswith(".auto")]
    return found or [ok(name, f"{listen}:{port}, {' and '.join(lists) or 'loopback.auto'}, a password of its own")]


def _password(name, read, password, switches):
    choose = "set event_socket_password in kazoo_rec.xml to one of 12 characters or more, and ESL_PASSWORD to the same"
    made_by = read.text.made_by(password)
    if made_by is not None and users.RANDOM in made_by:
        return [wrong(name, "no password has been chosen: it is random, and nobody gets in", choose)]
    if made_by is not None:
        return [warning(name, "its password comes from a command or the environment, and cannot be looked at here",
                        "it must be the engine's ESL_PASSWORD")]
    if not VARIABLE.sub("", password):
        return [wrong(name, "it has no password: FreeSWITCH takes its own, which everybody knows", choose)]
    if password == SHIPPED_PASSWORD:
        return [wrong(name, "its password is the one that FreeSWITCH is shipped with", choose)]
    found = []
    if len(password) < SHORT:
        found.append(warning(name, f"its password has {several(len(password), 'character')}", choose))
    found += [wrong(name, f"its password is not that of {one.name} in the engine's configuration",
                    "the same in both: event_socket_password and ESL_PASSWORD")
              for one in switches if one.password != password]
    return found


def _modules(read):
    name = "conf modules"
    configuration = read.configuration("modules.conf")
    loaded = {one.get("module") for one in configuration.iter("load")} if configuration is not None else set()
    needed = ALSO_NEEDED | NEEDED
    found = [wrong(name, f"{module} is not loaded: {needed[module]}",
                   f'<load module="{module}"/> in autoload_configs/modules.conf.xml')
             for module in needed if module not in loaded]
    found += [warning(name, f"{module} is not loaded: {FOR_THE_TEST[module]}",
                      f'<load module="{module}"/> in autoload_configs/modules.conf.xml')
              for module in FOR_THE_TEST if module not in loaded]
    return found or [ok(name, ", ".join((*needed, *FOR_THE_TEST)))]


def _profiles(read):
    name = "conf sofia profiles"
    profiles = sofia_profiles(read)
    if not profiles:
        return [wrong(name, "there is no SIP profile", "autoload_configs/sofia.conf.xml, sip_profiles/*.xml")]
    said = [(profile.get("name", ""), key, value) for profile in profiles
            for key, value in params(profile.find("settings"))]
    found = bypassing(read.text.variables, said)
    domains = [one.get("name", "") for one in read.section("directory").iter("domain")]
    for profile, key, value in said:
        others = [domain for domain in domains if domain != value]
        if key in ("force-register-domain", "force-register-db-domain") and value and others:
            found.append(wrong(name, f"the profile {shown(profile)} says {key}={shown(value)}: phones of "
                               f"{_some(others)} cannot register", f"take {key} out of it"))
    return found or [ok(name, ", ".join(profile.get("name", "") for profile in profiles))]


def sofia_profiles(read: Tree) -> list[Element]:
    configuration = read.configuration("sofia.conf")
    return [] if configuration is None else list(configuration.iterfind("profiles/profile"))


def params(settings: Element | None) -> Iterator[tuple[str, str]]:
    """(name, value) of each `param`, in their order."""
    for one in settings.iterfind("param") if settings is not None else ():
        yield one.get("name", ""), one.get("value", "")


def _is_loopback(address):
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _some(names):
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + more
