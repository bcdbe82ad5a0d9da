"""Commands after `api` that ask the switch as a whole: their replies to the byte."""

import orjson

from kazoo_rec.simulator.channel_commands import CHANNEL_COMMANDS, words_of
from kazoo_rec.simulator.events import date
from kazoo_rec.simulator.headers import channel_headers
from kazoo_rec.simulator.leg import new_uuid
from kazoo_rec.simulator.record_start import parse_variables
from kazoo_rec.simulator.script import Script

VERSION = "1.10.12-release"
#: `show channels` asks a database that is this many seconds behind.
_DATABASE_LAG_S = 0.1


def execute(switch, line: str) -> str:
    """The reply to a command line; a command without an output answers `-ERR no reply`."""
    name, _, arguments = line.partition(" ")
    command = _COMMANDS.get(name.lower())
    if command is None:
        return f"-ERR {name} Command not found!\n"
    return command(switch, arguments.strip()) or "-ERR no reply\n"


def _status(switch, _):
    sessions, seconds = len(switch.legs), switch.clock.now
    return (f"UP {uptime(seconds)}\nFreeSWITCH (Version {VERSION} simulated 64bit) is ready\n"
            f"{switch.sessions} session(s) since startup\n{sessions} session(s) - peak {switch.peak}, last 5min {switch.peak} \n"
            "0 session(s) per Sec out of max 1000, peak 0, last 5min 0 \n10000 session(s) max\nmin idle cpu 0.00/100.00\n"
            "Current Stack Size/Max 240K/240K\n")


def _version(switch, _):
    return f"FreeSWITCH Version {VERSION}~64bit ( 64bit)\n"


def _uptime(switch, arguments):
    seconds = switch.clock.now
    return f"{int(seconds * 1000)}\n" if arguments == "ms" else f"{int(seconds)}\n"


def _hostname(switch, _):
    return switch.hostname


def _global_getvar(switch, name):
    known = {"hostname": switch.hostname, "local_ip_v4": "192.0.2.2", "recordings_dir": switch.recordings,
             "core_uuid": switch.core_uuid}
    return known.get(name, "") if name else "".join(f"{each}={value}\n" for each, value in known.items())


def _create_uuid(switch, _):
    return new_uuid()


def _show(switch, arguments):
    words = arguments.split()
    if not words or words[0] not in ("channels", "registrations"):
        return "-USAGE: channels [count|like <match string>]|registrations [as json]\n"
    rows = _channels(switch) if words[0] == "channels" else switch.phones.rows(switch.hostname, switch.clock.epoch_us() // 1_000_000)
    if words[1:2] == ["like"] and len(words) > 2:
        rows = [row for row in rows if any(words[2] in row[column] for column in ("uuid", "name", "cid_name", "cid_num"))]
    if words[-2:] == ["as", "json"]:
        if words[1:2] == ["count"]:
            return f'{{"row_count":{len(rows)},"rows":[]}}'
        return orjson.dumps({"row_count": len(rows), "rows": rows}).decode() if rows else '{"row_count": 0}\n'
    if "as" in words[:-1]:
        return f"-ERR Cannot find format {words[-1]}\n"
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)] if rows and words[1:2] != ["count"] else []
    return "".join(f"{line}\n" for line in lines) + f"\n{len(rows)} total.\n"


def _channels(switch):
    return [_row(leg) for leg in switch.legs_at(switch.clock.now - _DATABASE_LAG_S)]


def _row(leg):
    profile, codec = leg.profile, channel_headers(leg, variables=False)
    epoch = profile.times["Channel-Created"] // 1_000_000
    sent = "last_sent_callee_id_name" in leg.variables
    application = leg.direction == "inbound"
    return {
        "uuid": leg.uuid, "direction": leg.direction, "created": date(epoch), "created_epoch": str(epoch),
        "name": leg.name, "state": leg.state[0], "cid_name": profile.caller_id_name, "cid_num": profile.caller_id_number,
        "ip_addr": profile.network_address, "dest": profile.destination,
        "application": leg.variables.get("current_application", "") if application else "",
        "application_data": leg.variables.get("current_application_data", "") if application else "",
        "dialplan": profile.dialplan, "context": profile.context,
        **{f"{side}_{what}": codec.get(f"Channel-{side.title()}-Codec-{header}", "") for side in ("read", "write")
           for what, header in (("codec", "Name"), ("rate", "Rate"), ("bit_rate", "Bit-Rate"))},
        "secure": "", "hostname": leg.switch.hostname, "presence_id": leg.presence_id, "presence_data": "",
        "accountcode": leg.variables.get("accountcode", ""), "callstate": leg.call_state,
        "callee_name": profile.callee_id_name, "callee_num": profile.callee_id_number,
        "callee_direction": "SEND" if sent else "", "call_uuid": leg.variables.get("call_uuid", "") if leg.partner else "",
        "sent_callee_name": leg.variables.get("last_sent_callee_id_name", ""),
        "sent_callee_num": leg.variables.get("last_sent_callee_id_number", ""),
        "initial_cid_name": profile.caller_id_name, "initial_cid_num": profile.caller_id_number,
        "initial_ip_addr": profile.network_address, "initial_dest": profile.rdnis or profile.destination,
        "initial_dialplan": profile.dialplan, "initial_context": "public" if profile.rdnis else profile.context,
    }


def _originate(switch, arguments):
    """`{variables}<dial string> &<application>(<data>)`: waits for the answer."""
    variables, text = {}, arguments
    if text.startswith("{"):
        inside, _, text = text.partition("}")
        variables = parse_variables(inside + "}")
    words = words_of(text)
    if len(words) < 2:
        return ("-USAGE: <call url> <exten>|&<application_name>(<app_args>) [<dialplan>] [<context>] [<cid_name>] "
                "[<cid_num>] [<timeout_sec>]\n")
    phone = switch.phones.at(words[0])
    if phone is None or not words[1].startswith("&"):
        return "-ERR SUBSCRIBER_ABSENT\n" if phone is None else "-ERR NO_ROUTE_DESTINATION\n"
    application, _, data = words[1][1:].rstrip(")").partition("(")
    call = switch.play(Script(phone, dialplan=(f"{application} {data}",), click_to_call=True),
                       uuid=variables.pop("origination_uuid", ""))
    for name, value in variables.items():
        call.legs[0].set(name, value)
    uuid = call.answered.get()
    return f"+OK {uuid}\n" if uuid else f"-ERR {call.legs[0].cause}\n"


def uptime(seconds: float) -> str:
    """As `status` and HEARTBEAT say it."""
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    us = int(seconds * 1_000_000) % 1_000_000
    parts = ((0, "year"), (hours // 24, "day"), (hours % 24, "hour"), (minutes, "minute"), (whole, "second"),
             (us // 1000, "millisecond"), (us % 1000, "microsecond"))
    return ", ".join(f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in parts)


_COMMANDS = {
    "status": _status, "version": _version, "uptime": _uptime, "hostname": _hostname, "global_getvar": _global_getvar,
    "create_uuid": _create_uuid, "show": _show, "originate": _originate, **CHANNEL_COMMANDS,
}
