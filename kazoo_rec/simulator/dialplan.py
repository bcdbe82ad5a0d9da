"""Dialplan applications. A lasting one is a generator for the leg's Process and gives its response."""

import re

from kazoo_rec.simulator.bridge import bridge
from kazoo_rec.simulator.process import HungUp, Mailbox
from kazoo_rec.simulator.record_start import record_session

_TONES = re.compile(r"tone_stream://%\((\d+),(\d+),(\d+)[^)]*\)(?:;loops=(\d+))?")


def run(leg, lines):
    """A leg's dialplan, `application data` each, and the leg's end; a generator for its Process. A leg that was handed
    on goes on with the lines for its new goal."""
    while lines and not leg.cause:
        yield from execute(leg, lines[0])
        lines, leg.handed_on = leg.handed_on or lines[1:], []
    leg.hangup()
    leg.finish()


def execute(leg, line: str):
    """One application, `app data` or `app::data`; an unknown one hangs the leg up."""
    name, colons, data = line.partition("::")
    if not colons or " " in name:
        name, _, data = line.partition(" ")
    application, data = APPLICATIONS.get(name), data.strip()
    if application is None:
        leg.hangup("DESTINATION_OUT_OF_ORDER")
        return
    leg.variables |= {"current_application_data": data, "current_application": name}
    response = None
    try:
        lasting = application(leg, data)
        if lasting is not None:
            response = yield from lasting
    except HungUp:
        pass
    leg.executed(name, data, response or "_none_")


def _set(leg, data):
    name, _, value = data.partition("=")
    leg.set(name, value)


def _export(leg, data):
    name, _, value = data.partition("=")
    leg.set(name, value)
    names = leg.variables.get("export_vars")
    leg.variables["export_vars"] = f"{names},{name}" if names else name


def _transfer(leg, data):
    number, _, context = [*data.split(), "XML", leg.profile.context][:3]
    redirect(leg, number, context)


def redirect(leg, number, context):
    """The leg has another destination: its profile says so, and whose it was before."""
    source = f"{leg.clock.epoch_us() // 1_000_000}:{leg.uuid}:bl_xfer:{number}/{context}/XML"
    leg.profile = leg.profile.copied(destination=number, context=context, rdnis=leg.profile.destination,
                                     transfer_source=source, index=leg.profile.index + 1)
    leg.variables |= {"max_forwards": str(int(leg.variables.get("max_forwards", "70")) - 1),
                      "transfer_history": source, "transfer_source": source}
    leg.match(number)


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
    arguments = [*data.split(), *[""] * 9]
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
