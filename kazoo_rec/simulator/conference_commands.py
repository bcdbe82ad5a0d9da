"""`api conference …`: its replies to the byte (conference_api.c)."""

import orjson


def conference(switch, arguments):
    words = arguments.split()
    if not words:
        return ""
    room, order, rest = switch.rooms.get(words[0]), "".join(words[1:2]).lower(), words[2:]
    if room is None and words[0].lower() == "json_list":
        return _listed(switch.rooms.values())
    if room is None:
        return f"-ERR Conference {words[0]} not found\n"
    if order in _OF_MEMBERS:
        return _to_members(room, order, rest)
    if order not in _OF_ROOMS:
        return f"-ERR Conference command '{order}' not found.\n"
    return _OF_ROOMS[order](room, rest)


def _recording(room, words):
    """`recording start|stop|check|pause|resume <path|all>`."""
    order, path = words[0].lower() if words else "", words[1] if len(words) > 1 else ""
    if order in ("stop", "check"):
        path = path or "all"
    if not path:
        return _record(room, words)
    match order:
        case "start":
            return _record(room, [path])
        case "stop":
            return _norecord(room, [path])
        case "check":
            return _check(room)
        case "pause" | "resume":
            return _pause(room, order, path)
    return "conference recording [start|stop|check|pause|resume] [<filename>|all]"


def _record(room, words):
    if not words:
        return "conference record <filename>"
    if words[0] in room.recordings:
        return f"-ERR file [{words[0]}] is already being used for recording.\n"
    room.record(words[0])
    return f"+OK Record file {words[0]}\n"


def _norecord(room, words):
    if not words:
        return "conference norecord <[filename|all]>"
    found = [path for path in room.recordings if words[0].lower() in ("all", path.lower())]
    for path in found:
        room.recordings[path].end_soon()
    said = "".join(f"Stopped recording file {path}\n" for path in found)
    if not found and words[0].lower() != "all":
        said = f"-ERR non-existant recording '{words[0]}'\n"
    return f"{said}+OK Stopped recording 0 files\n"


def _check(room):
    return ("".join(f"+OK Record file {path}\n" for path in room.recordings)
            or "-ERR Conference is not being recorded.\n")


def _pause(room, order, path):
    said = f"+OK {order.capitalize()} recording file {path}\n"
    if path not in room.recordings:
        return f"{said}-ERR non-existant recording '{path}'\n"
    room.recordings[path].pause(order == "pause")
    return said


def _to_members(room, order, rest):
    """`mute|unmute|kick <number>|all|last`."""
    if not rest:
        return f"conference {order} <[member_id|all]|last>"
    who, members = rest[0].lower(), sorted(room.members, key=lambda member: member.number)
    chosen = {"all": members, "last": members[-1:]}.get(who, [each for each in members if str(each.number) == who])
    if not chosen:
        return f"-ERR Non-Existant ID {who}\n"
    for member in chosen:
        getattr(member, order)()
    done = "kicked" if order == "kick" else order
    return "".join(f"+OK {done} {member.number}\n" for member in chosen)


def _list(room, _):
    lines = []
    for member in _latest_first(room):
        profile = member.leg.profile
        can = ["hear", *(["speak"] if member.can_speak else []), *(["talking"] if member.is_talking else []),
               *(["floor"] if member.has_floor else [])]
        lines.append(f"{member.number};{member.leg.name};{member.leg.uuid};{profile.caller_id_name};"
                     f"{profile.caller_id_number};{'|'.join(can)};0;0;100\n")
    return "".join(lines)


def _json_list(room, _):
    return _listed([room])


def _listed(rooms):
    return _printed([_room(room) for room in rooms], 0) + "\n"


def _room(room):
    now_s, epoch = room.clock.epoch_us() // 1_000_000, room.clock.epoch
    off = dict.fromkeys(("locked", "destruct", "wait_mod", "audio_always"), False)
    on = dict.fromkeys(("running", "answered", "enforce_min"), True)
    recordings = [{"type": "recording_node", "record_path": each.path, "join_time": each.begun_s}
                  for each in room.recordings.values()]
    return {
        "conference_name": room.name, "member_count": len(room.members), "ghost_count": 0, "rate": 8000,
        "run_time": now_s - int(epoch + room.created), "conference_uuid": room.uuid, "canvas_count": 0, "max_bw_in": 0,
        "force_bw_in": 0, "video_floor_packets": 0, **off, **on, "bridge_to": False, "dynamic": True,
        "exit_sound": True, "enter_sound": True, **({"recording": True} if recordings else {}), "video_bridge": False,
        "video_floor_only": False, "video_rfc4579": False, "variables": {},
        "members": [*recordings, *(_as_json(member, now_s - int(epoch + member.joined))
                                   for member in _latest_first(room))]}


def _as_json(member, since_s):
    profile = member.leg.profile
    return {
        "type": "caller", "id": member.number,
        "flags": {"can_hear": True, "can_see": True, "can_speak": member.can_speak, "hold": False,
                  "mute_detect": False, "talking": member.is_talking, "has_video": False, "video_bridge": False,
                  "has_floor": member.has_floor, "is_moderator": False, "end_conference": False,
                  "mandatory_member_end_conference": False, "pass_digits": False},
        "uuid": member.leg.uuid, "caller_id_name": profile.caller_id_name,
        "caller_id_number": profile.caller_id_number, "join_time": since_s, "last_talking": 0, "energy": 100,
        "volume_in": 0, "volume_out": 0, "output-volume": 0, "input-volume": 0}


def _latest_first(room):
    return sorted(room.members, key=lambda member: -member.number)


def _printed(value, depth) -> str:
    """JSON as cJSON_Print() sets it."""
    if isinstance(value, dict):
        inner = "\t" * (depth + 1)
        lines = ",\n".join(f'{inner}"{name}":\t{_printed(each, depth + 1)}' for name, each in value.items())
        return "{\n" + (f"{lines}\n" if lines else "") + "\t" * depth + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_printed(each, depth + 1) for each in value) + "]"
    return orjson.dumps(value).decode()


_OF_MEMBERS = ("mute", "unmute", "kick")
_OF_ROOMS = {"recording": _recording, "record": _record, "norecord": _norecord, "list": _list, "json_list": _json_list}
