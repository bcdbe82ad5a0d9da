"""The switch itself: its event socket, its version, its modules, its clock."""

from collections.abc import Callable, Iterable, Mapping

from kazoo_rec.config import Switch
from kazoo_rec.doctor.finding import Finding, ok, warning, wrong
from kazoo_rec.errors import CommandFailed, ProtocolBroken, SwitchError
from kazoo_rec.switch import commands, replies

#: Sends a command and gives the answer; takes the seconds to wait for it, and raises, as `Pool.ask` does.
Ask = Callable[..., str]

#: Releases before do not resume a paused recording where it was (uuid_record … pause, 1.10.7).
OLDEST = (1, 10, 7)

#: What recording needs, and what else the test recording does.
NEEDED = {
    "mod_dptools": "record_session, which every arming runs",
    "mod_sndfile": "WAV files",
}
FOR_THE_TEST = {
    "mod_loopback": "the call of the test recording",
    "mod_tone_stream": "the tone of the test recording",
}

#: Variables that a recording takes from the global ones where it has none of its own, and that ours has not; each makes
#: it another recording than was ordered (switch_ivr_async.c, get_recording_var).
SPOILING = ("RECORD_ANSWER_REQ", "RECORD_APPEND", "RECORD_BRIDGE_REQ", "RECORD_CHECK_BRIDGE", "RECORD_FINAL_TIMEOUT_MS",
            "RECORD_HANGUP_ON_ERROR", "RECORD_INITIAL_TIMEOUT_MS", "RECORD_MIN_SEC", "RECORD_READ_ONLY",
            "RECORD_STEREO_SWAP", "RECORD_TOGGLE_ON_REPEAT", "RECORD_WRITE_ONLY")

#: Seconds that the switch's clock may be off: the names of days, `Retry-After` and gaps are told by it.
CLOCK_WARNING_S, CLOCK_WRONG_S = 1.0, 5.0

#: What event_socket.conf.xml comes with, and what is not an address of this host alone.
SHIPPED_PASSWORD = "ClueCon"
EVERYWHERE = ("0.0.0.0", "::", "*")


def unreachable(error: SwitchError, switch: Switch) -> Finding:
    return wrong("event socket", f"{switch.host}:{switch.port}: {error.message}: {error.detail}",
                 error.hint or "look at event_socket.conf.xml")


def event_socket(ask: Ask, switch: Switch) -> list[Finding]:
    """Who may log in to it: a password that everybody knows, or a door that is open to every address."""
    name, address = "event socket", f"{switch.host}:{switch.port}"
    found = []
    if switch.password == SHIPPED_PASSWORD:
        found.append(warning(name, "its password is the one that FreeSWITCH is shipped with",
                             "choose another in event_socket.conf.xml and in `switches` of the configuration"))
    settings = {name: value for _, name, value in _settings(ask, "event_socket.conf")}
    if settings.get("listen-ip") in EVERYWHERE and not settings.get("apply-inbound-acl"):
        found.append(warning(name, f"it listens on every address ({settings['listen-ip']}) and asks no ACL",
                             "set listen-ip to 127.0.0.1, or apply-inbound-acl, in event_socket.conf.xml: who "
                             "logs in may run any command on the switch"))
    return found or [ok(name, f"{address} takes the password")]


def version(ask: Ask) -> list[Finding]:
    told = replies.version(ask(commands.version()))
    if told is None:
        return [warning("version", "FreeSWITCH does not tell its version", "look at `fs_cli -x version`")]
    text = ".".join(map(str, told))
    if told < OLDEST:
        return [wrong("version", f"FreeSWITCH {text}: pause and resume of a recording need 1.10.7",
                      "upgrade FreeSWITCH to 1.10.7 or newer")]
    return [ok("version", f"FreeSWITCH {text}")]


def modules(ask: Ask) -> tuple[list[Finding], set[str]]:
    """The findings, and which modules are missing."""
    try:
        missing = {module for module in (*NEEDED, *FOR_THE_TEST)
                   if not replies.exists(ask(commands.module_exists(module)))}
    except CommandFailed:
        return [wrong("modules", "mod_commands is not loaded: FreeSWITCH knows none of the commands that are sent",
                      _load("mod_commands"))], {"mod_commands"}
    found = [wrong("modules", f"{module} is not loaded: {NEEDED[module]}", _load(module))
             for module in NEEDED if module in missing]
    found += [warning("modules", f"{module} is not loaded: {FOR_THE_TEST[module]}", _load(module))
              for module in FOR_THE_TEST if module in missing]
    return found or [ok("modules", ", ".join((*NEEDED, *FOR_THE_TEST)))], missing


def clock(ask: Ask, epoch_us: Callable[[], int]) -> list[Finding]:
    """The switch's clock against ours; half of the way of the question is taken off."""
    before_us = epoch_us()
    answer = ask(commands.clock()).strip()
    after_us = epoch_us()
    if not answer.isdecimal():
        return [warning("clock", "FreeSWITCH does not tell its time", "mod_dptools has `strmicroepoch`: is it loaded?")]
    off_s = (int(answer) - (before_us + after_us) / 2) / 1_000_000
    beyond_s = max(0.0, abs(off_s) - (after_us - before_us) / 2_000_000)
    text = f"FreeSWITCH's clock is {abs(off_s):.1f} s {'ahead of' if off_s > 0 else 'behind'} this host's"
    advice = ("keep both hosts at one time (NTP); on one host FreeSWITCH keeps a time of its own, which "
              "`fs_cli -x 'fsctl sync_clock'` sets right")
    if beyond_s > CLOCK_WRONG_S:
        return [wrong("clock", text, advice)]
    if beyond_s > CLOCK_WARNING_S:
        return [warning("clock", text, advice)]
    return [ok("clock", f"{abs(off_s):.1f} s between FreeSWITCH's and this host's")]


def media_around(ask: Ask) -> list[Finding]:
    """Settings by which media goes around the switch, or through it unread: such legs cannot be recorded."""
    return (bypassing(replies.variables(ask(commands.global_getvars())), _settings(ask, "sofia.conf"))
            or [ok("bypassed media", "no global variable and no sofia profile asks for it")])


def bypassing(variables: Mapping[str, str], profiles: Iterable[tuple[str, str, str]]) -> list[Finding]:
    """What of global variables and of (sofia profile, name, value) leads media around the switch."""
    advice = "take it out where calls are to be recorded: FreeSWITCH must have the media to record it"
    found = [wrong("bypassed media", f"the global variable {name}={variables[name][:20]} holds for every call", advice)
             for name in ("bypass_media", "bypass_media_after_bridge", "proxy_media")
             if _true(variables.get(name, ""))]
    found += [wrong("bypassed media", f"the sofia profile {profile!r} says {name}={value[:20]}", advice)
              for profile, name, value in profiles
              if name in ("inbound-bypass-media", "inbound-no-media", "inbound-proxy-media") and _true(value)]
    return found


def global_recorders(ask: Ask) -> list[Finding]:
    """Global variables that have every leg recorded by others, or ours otherwise than it was ordered."""
    return recorders(replies.variables(ask(commands.global_getvars())))


def recorders(variables: Mapping[str, str]) -> list[Finding]:
    found = []
    for name, value in variables.items():
        if "record_session" in value or "uuid_record" in value or (name == "user_record" and value):
            found.append(warning("other recorders", f"the global variable {name} records every leg on its own",
                                 "it is left alone; take it out if kazoo_rec is to be the only recorder"))
        elif name in SPOILING:
            found.append(wrong("other recorders", f"the global variable {name}={value[:20]} changes every recording",
                               "take it out, or set it only on the legs that it is meant for"))
    return found


def _settings(ask, configuration):
    try:
        return list(replies.settings(ask(commands.configuration(configuration))))
    except (CommandFailed, ProtocolBroken):  # a switch without this configuration says "can't find anything"
        return []


def _true(value):
    """As switch_true of switch_utils.h has it."""
    value = value.strip().lower()
    return value in ("yes", "on", "true", "t", "enabled", "active", "allow") or (value.isdecimal() and int(value) != 0)


def _load(module):
    return f"`fs_cli -x 'load {module}'`, and a line for it in autoload_configs/modules.conf.xml"
