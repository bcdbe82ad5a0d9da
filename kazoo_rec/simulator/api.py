"""Commands after `api` that ask the switch as a whole: their replies to the byte."""

import json
from dataclasses import replace

from kazoo_rec.simulator.channel_commands import CHANNEL_COMMANDS, words_of
from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.conference_commands import conference
from kazoo_rec.simulator.events import date, new_uuid
from kazoo_rec.simulator.headers import channel_headers
from kazoo_rec.simulator.meeting import bring_together
from kazoo_rec.simulator.record_start import parse_variables
from kazoo_rec.simulator.recover import recover
from kazoo_rec.simulator.script import Script
from kazoo_rec.simulator.transfer import divert, transfer

VERSION = "1.10.12-release"

#: What is here of each.
_MODULES = {"mod_conference", "mod_dialplan_xml", "mod_dptools", "mod_event_socket", "mod_loopback", "mod_sndfile",
            "mod_sofia", "mod_tone_stream"}


def execute(switch, line: str) -> str:
    """The reply to a command line; a command without an output answers `-ERR no reply`."""
    name, _, arguments = line.partition(" ")
    command = _COMMANDS.get(name.lower())
    if command is None:
        return f"-ERR {name} Command not found!\n"
    return command(switch, arguments.strip()) or "-ERR no reply\n"


def _status(switch, _):
    return (f"UP {uptime(switch.clock.now - switch.started)}\n"
            f"FreeSWITCH (Version {VERSION} simulated 64bit) is ready\n"
            f"{switch.sessions} session(s) since startup\n"
            f"{len(switch.legs)} session(s) - peak {switch.peak}, last 5min {switch.peak} \n"
            "0 session(s) per Sec out of max 1000, peak 0, last 5min 0 \n"
            "10000 session(s) max\n"
            "min idle cpu 0.00/100.00\n"
            "Current Stack Size/Max 240K/240K\n")


def _version(switch, _):
    return f"FreeSWITCH Version {VERSION}~64bit ( 64bit)\n"


def _strmicroepoch(switch, _):
    return f"{switch.clock.epoch_us()}"


def _module_exists(switch, name):
    return "true" if name in _MODULES else "false"


def _uptime(switch, arguments):
    seconds = switch.clock.now - switch.started
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
    if words[:1] == ["registrations"]:
        rows = switch.phones.rows(switch.hostname, switch.clock.epoch_us() // 1_000_000)
    elif words[:1] == ["channels"]:
        rows = [_row(leg) for leg in switch.legs_at(switch.clock.now - switch.database_lag_s)]
    else:
        return "-USAGE: channels [count|like <match string>]|registrations\n"
    if words[1:2] == ["like"] and len(words) > 2:
        columns = ("uuid", "name", "cid_name", "cid_num")
        rows = [row for row in rows if any(words[2] in row[column] for column in columns)]
    form = words[-1] if words[-2:-1] == ["as"] else "delim"
    if form == "json":
        if rows:  # what is no UTF-8 is passed on as it came, as cJSON does
            return json.dumps({"row_count": len(rows), "rows": rows}, ensure_ascii=False, separators=(",", ":"))
        return '{"row_count": 0}\n'
    if form != "delim":
        return f"-ERR Cannot find format {form}\n"
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)] if rows else []
    return "".join(f"{line}\n" for line in lines) + f"\n{len(rows)} total.\n"


def _row(leg):
    profile, variable = leg.profile, leg.variables.get
    codec = channel_headers(leg, variables=False).get
    epoch_s = profile.times["Channel-Created"] // 1_000_000
    inbound = leg.direction == "inbound"
    transferred = inbound and bool(profile.rdnis)
    told = variable("last_sent_callee_id_name")
    application = leg.shown_application or (
        (variable("current_application", ""), variable("current_application_data", "")) if inbound else ("", ""))
    return {
        "uuid": leg.uuid, "direction": leg.direction, "created": date(epoch_s), "created_epoch": str(epoch_s),
        "name": leg.name, "state": leg.state[0],
        "cid_name": profile.caller_id_name, "cid_num": profile.caller_id_number,
        "ip_addr": profile.network_address, "dest": profile.destination,
        "application": application[0], "application_data": application[1],
        "dialplan": profile.dialplan, "context": profile.context,
        "read_codec": codec("Channel-Read-Codec-Name", ""), "read_rate": codec("Channel-Read-Codec-Rate", ""),
        "read_bit_rate": codec("Channel-Read-Codec-Bit-Rate", ""),
        "write_codec": codec("Channel-Write-Codec-Name", ""), "write_rate": codec("Channel-Write-Codec-Rate", ""),
        "write_bit_rate": codec("Channel-Write-Codec-Bit-Rate", ""),
        "secure": "", "hostname": leg.switch.hostname, "presence_id": leg.presence_id, "presence_data": "",
        "accountcode": "" if leg.is_lone_user else variable("accountcode", ""), "callstate": leg.call_state,
        "callee_name": profile.callee_id_name, "callee_num": profile.callee_id_number,
        "callee_direction": "SEND" if told else "",
        "call_uuid": variable("call_uuid", "") if leg.partner is not None else "",
        "sent_callee_name": told or "", "sent_callee_num": variable("last_sent_callee_id_number", ""),
        "initial_cid_name": leg.first_profile.caller_id_name, "initial_cid_num": leg.first_profile.caller_id_number,
        "initial_ip_addr": profile.network_address,
        "initial_dest": profile.rdnis if transferred else profile.destination,
        "initial_dialplan": profile.dialplan, "initial_context": "public" if transferred else profile.context,
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
    uuid = variables.pop("origination_uuid", "")
    call = switch.play(Script(replace(phone, leg_variables=variables), dialplan=(f"{application} {data}",),
                              click_to_call=True), uuid)
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


def _uuid_transfer(switch, arguments):
    """`<uuid> [-bleg] <number> [<dialplan> [<context>]]`."""
    words = words_of(arguments)
    if not 2 <= len(words) <= 5:
        return "-USAGE: <uuid> [-bleg|-both] <dest-exten> [<dialplan>] [<context>]\n"
    leg = switch.legs.get(words.pop(0))
    if leg is None:
        return "-ERR No such channel!\n"
    other = words[0].lower() == "-bleg" and bool(words.pop(0))
    number, context = words[0], words[2] if len(words) > 2 else leg.profile.context
    if leg.partner is not None and (other or leg.process is None):
        # Of two legs the one that goes on is the other's partner.
        leaving = leg if other else leg.partner
        switch.clock.after(FRAME_S, lambda: transfer(leaving, number))
    else:
        divert(leg, number, context)
    return "+OK\n"


def _uuid_bridge(switch, arguments):
    words = words_of(arguments)
    if len(words) < 2:
        return "-USAGE: <uuid> <other_uuid>\n"
    leg, other = (switch.legs.get(word) for word in words[:2])
    if leg is None or other is None or leg is other or not (leg.early or leg.answered) or not (
            other.early or other.answered):
        return "-ERR Invalid uuid\n"
    bring_together(leg, other)
    return f"+OK {other.uuid}\n"


def _sofia(switch, arguments):
    if arguments != "recover":
        return "-USAGE: recover\n"
    count = recover(switch)
    return f"Recovered {count} call(s)\n" if count else "No calls to recover.\n"


_COMMANDS = {
    "status": _status, "version": _version, "uptime": _uptime, "strmicroepoch": _strmicroepoch,
    "module_exists": _module_exists, "hostname": _hostname,
    "global_getvar": _global_getvar, "create_uuid": _create_uuid, "show": _show, "originate": _originate,
    "sofia": _sofia, "conference": conference, "uuid_transfer": _uuid_transfer, "uuid_bridge": _uuid_bridge,
    **CHANNEL_COMMANDS,
}
