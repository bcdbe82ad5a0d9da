"""Dialplan applications. A lasting one is a generator for the leg's Process and gives its response."""

import re

from kazoo_rec.simulator import outbound
from kazoo_rec.simulator.bridge import bridge
from kazoo_rec.simulator.channel_commands import words_of
from kazoo_rec.simulator.conference import conference
from kazoo_rec.simulator.message import record
from kazoo_rec.simulator.playing import play_and_get_digits, playback
from kazoo_rec.simulator.process import HungUp, Mailbox
from kazoo_rec.simulator.record_start import record_session

_VARIABLE = re.compile(r"\$\{([^{}]+)\}")


def run(leg, lines):
    """A leg's dialplan, `application data` each, and the leg's end; a generator for its Process. A leg that was handed
    on goes on with the lines for its new goal, or with a generator of the leg."""
    while lines and not leg.cause:
        yield from lines[0](leg) if callable(lines[0]) else execute(leg, lines[0])
        lines, leg.handed_on = leg.handed_on or lines[1:], []
    leg.hangup()
    leg.finish()


def execute(leg, line: str):
    """One application of a dialplan, `app data` or `app::data`."""
    name, colons, data = line.partition("::")
    if not colons or " " in name:
        name, _, data = line.partition(" ")
    yield from perform(leg, name, data)


def perform(leg, name: str, data: str, uuid: str = ""):
    """One application, with the uuid by which its events call it; an unknown one hangs the leg up."""
    application, data = APPLICATIONS.get(name), _VARIABLE.sub(lambda found: leg.get(found[1]), data.strip())
    if application is None:
        leg.hangup("DESTINATION_OUT_OF_ORDER")
        return
    if name in _NEED_MEDIA:
        leg.pre_answer()
    leg.set("current_application_data", data)
    leg.variables["current_application"] = name
    eaten, leg.eats_digits = leg.eats_digits, name in _EAT_DIGITS
    uuid, response = leg.executing(name, data, uuid), None
    try:
        lasting = application(leg, data)
        if lasting is not None:
            response = yield from lasting
    except HungUp:
        pass
    leg.eats_digits = eaten
    leg.executed(name, data, response or "_none_", uuid)


def _set(leg, data):
    name, _, value = data.partition("=")
    leg.set(name, value)


def _unset(leg, data):
    leg.variables.pop(data, None)


def _respond(leg, data):
    """A status that ends the call, where it is not answered."""
    code = data.partition(" ")[0]
    if not leg.answered:
        leg.hangup(_CAUSES.get(code, "NORMAL_UNSPECIFIED"))


def _export(leg, data):
    name, _, value = data.partition("=")
    leg.set(name, value)
    names = leg.variables.get("export_vars")
    leg.variables["export_vars"] = f"{names},{name}" if names else name


def _transfer(leg, data):
    leg.transfer(data)


def _ring_ready(leg, data):
    leg.ring()


def _pre_answer(leg, data):
    leg.pre_answer()


def _answer(leg, data):
    leg.pre_answer()
    leg.answer()
    yield from leg.armed()


def _sleep(leg, data):
    """A digit ends it, and stays for who asks for digits."""
    digit = yield leg.digits, int(data) / 1000
    if digit is not None:
        leg.digits.give_back(digit)


def _event(leg, data):
    """`Event-Name=…,Event-Subclass=…,<header>=<value>,…`, and all that the leg's events have."""
    pairs = (word.partition("=") for word in words_of(data, ","))
    headers = {name.strip(): value.strip() for name, equals, value in pairs if equals}
    leg.publish(headers.get("Event-Name", "CHANNEL_APPLICATION"), before=headers,
                subclass=headers.get("Event-Subclass"))


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


#: Of a status (mod_sofia, sofia_glue.c sofia_glue_sip_cause_to_freeswitch).
_CAUSES = {"403": "CALL_REJECTED", "404": "UNALLOCATED_NUMBER", "480": "NO_USER_RESPONSE", "486": "USER_BUSY",
           "603": "CALL_REJECTED"}
#: Without early media they send 183 first.
_NEED_MEDIA = {"playback", "play_and_get_digits", "echo", "record"}
#: What executes them takes every digit as it comes, so that none is left for the next.
_EAT_DIGITS = {"bridge", "conference", "echo", "park", "socket"}

APPLICATIONS = {
    "set": _set, "unset": _unset, "export": _export, "respond": _respond, "transfer": _transfer,
    "ring_ready": _ring_ready, "pre_answer": _pre_answer, "answer": _answer, "sleep": _sleep, "playback": playback,
    "play_and_get_digits": play_and_get_digits, "bridge": bridge, "echo": _echo, "park": _park, "hangup": _hangup,
    "record_session": _record_session, "stop_record_session": _stop_record_session, "conference": conference,
    "event": _event, "record": record, "socket": outbound.dial,
}
