"""Commands after `api` on one channel, `uuid_…`: their replies to the byte, and what they do."""

import shlex

from kazoo_rec.simulator import wire
from kazoo_rec.simulator.displace import displace
from kazoo_rec.simulator.headers import channel_headers
from kazoo_rec.simulator.hold import hold, unhold
from kazoo_rec.simulator.record_start import THREAD_START_S, parse_variables, start_recording

_NO_CHANNEL = "-ERR No such channel!\n"


def _uuid_exists(switch, uuid):
    return "true" if uuid in switch.legs else "false"


def _uuid_dump(switch, arguments):
    if not arguments:
        return "-USAGE: <uuid> [format]\n"
    uuid, _, form = arguments.partition(" ")
    leg = switch.legs.get(uuid)
    if leg is None:
        return _NO_CHANNEL
    event = {**switch.core_headers("CHANNEL_DATA"), **channel_headers(leg)}
    if form.lower() == "json":
        return wire.json_body(event).decode("utf-8", "surrogateescape")
    if form.lower() == "plain":
        return "".join(f"{name}: [{value}]\n" for name, value in event.items()) + "\n"
    return wire.plain_body(event).decode("utf-8", "surrogateescape")


def _uuid_buglist(switch, uuid):
    if not uuid:
        return "-USAGE: <uuid>\n"
    if uuid not in switch.legs:
        return ""
    leg = switch.legs[uuid]
    found = [*(("session_record", recording.path) for recording in leg.recordings),
             *(("displace", path) for path in leg.displaced)]
    bugs = "".join(f" <media-bug>\n  <function>{function}</function>\n  <target>{target}</target>\n"
                   "  <thread-locked>0</thread-locked>\n </media-bug>\n" for function, target in found)
    return f"<media-bugs>\n{bugs}</media-bugs>\n"


def _uuid_record(switch, arguments):
    words = words_of(arguments)
    order = words[1].lower() if len(words) > 1 else ""
    if len(words) < 3 or order not in ("start", "stop", "mask", "unmask", "pause", "resume"):
        return "-USAGE: <uuid> [start|stop|mask|unmask] <path> [<limit>] [<recording_vars>]\n"
    leg, path = switch.legs.get(words[0]), words[2]
    if leg is None:
        return "-ERR Cannot locate session!\n"
    if order == "start":
        limit = int(words[3]) if len(words) > 3 and words[3].isdigit() else 0
        variables = parse_variables(words[4]) if len(words) > 4 else {}
        done = start_recording(leg, path, limit, variables, armed=False)
        switch.clock.sleep(THREAD_START_S)
    elif order == "stop" and path.lower() == "all":
        done = leg.stop_recordings("success-maxtime")
    else:
        recording = leg.files.get(path)
        done = recording is not None
        if done:
            recording.end("success-maxtime") if order == "stop" else getattr(recording, order)()
    what = "record" if order in ("start", "stop") else "recording"
    failed = "Cannot record session!" if order == "start" else f"Cannot {order} {what} session!"
    return "+OK Success\n" if done else f"-ERR {failed}\n"


def _uuid_setvar(switch, arguments):
    words = arguments.split(" ", 2)
    if len(words) < 2:
        return "-USAGE: <uuid> <var> [value]\n"
    leg = switch.legs.get(words[0])
    if leg is None:
        return _NO_CHANNEL
    leg.set(words[1], words[2].strip().replace("'", "") if len(words) > 2 else "")
    return "+OK\n"


def _uuid_setvar_multi(switch, arguments):
    usage = "-USAGE: <uuid> <var>=<value>;<var>=<value>...\n"
    if not arguments:
        return usage
    uuid, _, pairs = arguments.partition(" ")
    if not pairs:
        return ""
    leg = switch.legs.get(uuid)
    if leg is None:
        return _NO_CHANNEL + usage
    for pair in pairs.split(";"):
        name, equals, value = pair.partition("=")
        if equals:
            leg.set(name, value)
    return "+OK\n"


def _uuid_getvar(switch, arguments):
    uuid, _, name = arguments.partition(" ")
    if not name:
        return "-USAGE: <uuid> <var>\n"
    return switch.legs[uuid].get(name) or "_undef_" if uuid in switch.legs else _NO_CHANNEL


def _uuid_kill(switch, arguments):
    uuid, _, cause = arguments.partition(" ")
    if not uuid:
        return "-USAGE: <uuid> [cause]\n"
    if uuid not in switch.legs:
        return _NO_CHANNEL
    switch.legs[uuid].hangup(cause or "NORMAL_CLEARING")
    return "+OK\n"


def _uuid_hold(switch, arguments):
    off, _, uuid = arguments.rpartition(" ")
    leg = switch.legs.get(uuid)
    if leg is None:
        return ("" if uuid else "-USAGE: [off|toggle] <uuid> [<display>]\n") + "-ERR Operation failed\n"
    unhold(leg) if off == "off" else hold(leg)
    return "+OK Success\n"


def _uuid_broadcast(switch, arguments):
    """Plays something, or `application::data`, to a leg, its partner or both, in the midst of what they execute."""
    words = words_of(arguments)
    if len(words) < 2:
        return "-USAGE: <uuid> <path> [aleg|bleg|holdb|both]\n"
    leg, whom = switch.legs.get(words[0]), words[2].lower() if len(words) > 2 else "aleg"
    if leg is None:
        return "-ERR invalid uuid\n"
    name, colons, data = words[1].partition("::")
    order = {"call-command": "execute", "execute-app-name": name if colons else "playback",
             "execute-app-arg": data if colons else words[1], "event-lock": "true"}
    for each, ends in ((leg.partner, ("bleg", "both")), (leg, ("aleg", "both"))):
        if each is not None and whom in ends:
            each.orders.put(order)
    return "+OK Message sent\n"


def _uuid_displace(switch, arguments):
    words = [*words_of(arguments), "", ""]
    if len(words) < 5 or words[1].lower() not in ("start", "stop"):
        return "-USAGE: <uuid> [start|stop] <path> [<limit>] [mux]\n"
    leg, path = switch.legs.get(words[0]), words[2]
    if leg is None:
        return "-ERR Cannot locate session!\n"
    if words[1].lower() == "start":
        return "+OK Success\n" if displace(leg, path, words[4]) else "-ERR Cannot displace session!\n"
    if path not in leg.displaced:
        return "-ERR Cannot stop displace session!\n"
    leg.displaced[path].end()
    return "+OK Success\n"


def _uuid_recv_dtmf(switch, arguments):
    words = words_of(arguments)
    if len(words) < 2:
        return "-USAGE: <uuid> <dtmf_data>\n"
    if words[0] not in switch.legs:
        return "-ERR Cannot locate session!\n"
    switch.legs[words[0]].press(words[1])
    return f"+OK {words[0]} received DTMF {words[1]}.\n"


def words_of(text: str, at: str = " ") -> list[str]:
    """Parted at blanks, or at another character; single quotes and backslashes protect (switch_separate_string)."""
    splitter = shlex.shlex(text, posix=True)
    splitter.whitespace, splitter.whitespace_split, splitter.commenters, splitter.quotes = at, True, "", "'"
    try:
        return list(splitter)
    except ValueError:
        return text.split(at)


CHANNEL_COMMANDS = {
    "uuid_exists": _uuid_exists, "uuid_dump": _uuid_dump, "uuid_buglist": _uuid_buglist, "uuid_record": _uuid_record,
    "uuid_setvar": _uuid_setvar, "uuid_setvar_multi": _uuid_setvar_multi, "uuid_getvar": _uuid_getvar,
    "uuid_kill": _uuid_kill, "uuid_hold": _uuid_hold, "uuid_broadcast": _uuid_broadcast,
    "uuid_displace": _uuid_displace, "uuid_recv_dtmf": _uuid_recv_dtmf,
}
