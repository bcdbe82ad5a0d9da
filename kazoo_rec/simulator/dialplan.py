"""Dialplan applications. A lasting one is a generator for the leg's Process and gives its response."""

import re

from .bridge import bridge
from .process import HungUp, Mailbox
from .recording import record_session

_TONES = re.compile(r"tone_stream://%\((\d+),(\d+),(\d+)[^)]*\)(?:;loops=(\d+))?")


def usual(script) -> list[str]:
    """What a usual dialplan executes for a call that brings none of its own."""
    caller, called, sets = script.caller, script.called, dict(script.sets)
    onnet = bool(called and called[0].domain)
    lines = []
    if not caller.domain:
        account = called[0].variables if onnet else {}
        sets = {"domain_name": called[0].domain, **{name: account[name] for name in ("accountcode", "account_id")
                                                    if name in account}, **sets} if onnet else sets
        lines += [f"set {name}={value}" for name, value in sets.items()]
        if not onnet:
            return [*lines, "set hangup_after_bridge=true", f"export nolocal:forwarded_for={script.dials}", "bridge"]
        lines.append(f"transfer {called[0].user} XML {called[0].domain}")
    domain = caller.domain or called[0].domain
    account = caller.variables if caller.domain else called[0].variables
    lines += [f"set domain_name={domain}", "set hangup_after_bridge=true",
              f"export account_name={account.get('accountcode', domain.partition('.')[0])}"]
    if not onnet:
        for which in ("number", "name"):
            value = account.get(f"outbound_caller_id_{which}")
            lines += [f"set effective_caller_id_{which}={value}"] if value else []
    lines.append("set call_timeout=30")
    if onnet and len(called) == 1:
        lines.append("set ringback=%(2000,4000,440,480)")
    elif onnet:
        lines.append("set ignore_early_media=true")
    return [*lines, "bridge"]


def _set(leg, data):
    name, _, value = data.partition("=")
    leg.set(name, value)


def _export(leg, data):
    name, _, value = data.partition("=")
    leg.set(name, value)
    names = leg.variables.get("export_vars")
    leg.variables["export_vars"] = f"{names},{name}" if names else name


def _transfer(leg, data):
    number, _, context = (data.split() + ["XML", leg.profile.context])[:3]
    source = f"{leg.clock.epoch_us() // 1_000_000}:{leg.uuid}:bl_xfer:{number}/{context}/XML"
    leg.profile = leg.profile.copied(destination=number, context=context, rdnis=leg.profile.destination,
                                     transfer_source=source, index=leg.profile.index + 1)
    leg.variables |= {"max_forwards": str(int(leg.variables.get("max_forwards", "70")) - 1),
                      "transfer_history": source, "transfer_source": source}


def _ring_ready(leg, data):
    leg.ring()


def _pre_answer(leg, data):
    leg.pre_answer()


def _answer(leg, data):
    leg.pre_answer()
    leg.answer()
    yield from leg.armed()


def _sleep(leg, data):
    yield int(data) / 1000


def _playback(leg, data):
    try:
        yield from _tones(leg, data)
    except HungUp:
        return "PLAYBACK ERROR"
    return "FILE PLAYED"


def _play_and_get_digits(leg, data):
    """Of its many arguments it heeds the time-out (fourth), the file (sixth) and the name of the variable (eighth)."""
    arguments = data.split() + [""] * 9
    digit = yield from _tones(leg, arguments[5], leg.digits)
    if digit is None:
        digit = yield leg.digits, int(arguments[3]) / 1000
    leg.set(arguments[7], digit or "")


def _tones(leg, path, digits=None):
    """Plays `tone_stream://%(on,off,Hz);loops=N`; gives the digit that cut it short, if any."""
    found = _TONES.match(path)
    on, off, hz, loops = (int(part or 1) for part in found.groups()) if found else (1000, 0, 0, 1)
    leg.playback_started(path)
    digit, status = None, "done"
    try:
        for seconds, heard in ((on / 1000, hz), (off / 1000, 0)) * loops:
            leg.call.settle()
            leg.playing_hz = heard
            digit = (yield digits, seconds) if digits is not None else (yield seconds)
            if digit is not None:
                status = "break"
                break
    finally:
        leg.call.settle()
        leg.playing_hz = None
        leg.playback_stopped(path, status)
    return digit


def _echo(leg, data):
    leg.call.settle()
    leg.playing_hz = leg.tone_hz
    yield Mailbox()


def _park(leg, data):
    leg.publish("CHANNEL_PARK")
    yield Mailbox()


def _hangup(leg, data):
    leg.hangup(data or "NORMAL_CLEARING")


def _record_session(leg, data):
    record_session(leg, data)


def _stop_record_session(leg, data):
    if data in leg.files:
        leg.files[data].end("success-maxtime")


APPLICATIONS = {
    "set": _set, "export": _export, "transfer": _transfer, "ring_ready": _ring_ready, "pre_answer": _pre_answer,
    "answer": _answer, "sleep": _sleep, "playback": _playback, "play_and_get_digits": _play_and_get_digits,
    "bridge": bridge, "echo": _echo, "park": _park, "hangup": _hangup, "record_session": _record_session,
    "stop_record_session": _stop_record_session,
}
