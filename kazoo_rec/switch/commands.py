"""Every command that is sent to FreeSWITCH, built from typed values and nowhere else.

A value that could end an argument, a variable or the command raises CommandRefused: no text of a caller or a tenant
gets further. How FreeSWITCH takes a command apart: mod_event_socket.c read_packet (lines), mod_commands.c
uuid_setvar_multi_function and session_record_function, mod_dptools.c record_session_function,
switch_utils.c switch_separate_string (blanks, quotes, `\\`, `^^`), switch_event.c switch_event_create_brackets.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kazoo_rec.errors import CommandRefused

#: switch_types.h SWITCH_UUID_FORMATTED_LENGTH; `origination_uuid` may be any text, these characters are harmless.
_UUID = re.compile(r"[A-Za-z0-9_.@:-]{1,256}")
_RECORDING_ID = re.compile(r"[0-9]{6}-[0-9a-f]{32}")
#: Absolute, nothing hidden, no `..`; `.wav` in lower case, as any other ending makes raw files or none at all.
_PATH = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9_.@-]*)+\.wav")
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
#: No `%`: the braces are url-decoded before they are split. No `$`: an arming is expanded by the leg.
_VALUE = re.compile(r"[A-Za-z0-9._:/@-]*")
_EVENT = re.compile(r"[A-Z][A-Z_]*")
_SUBCLASS = re.compile(r"[A-Za-z0-9_.:@/-]{1,128}")
_MODULE = re.compile(r"mod_[a-z0-9_]{1,60}")
_CONFIGURATION = re.compile(r"[a-z0-9_]{1,60}\.conf")
#: Absolute and no `..`; at its end `/.`, which is there for who may go into the directory.
_PLACE = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9_.@-]*)+(/\.)?")
#: No `@` nor `+`, which end it in a dialplan. Not a word that `conference` takes for a command where no room has it.
_ROOM = re.compile(r"(?!(?i:list|count|xml_list|json_list|help|commands)\Z)[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
#: Below the switch's sounds: no `/` before, nothing hidden, no `..`, no `:` (a protocol, or an application).
_SOUND_FILE = re.compile(r"([A-Za-z0-9_-]+[./])*[A-Za-z0-9_-]+\.(wav|mp3|ogg|flac)")
_TONE = re.compile(r"tone_stream://(%\([0-9]{1,4},[0-9]{1,4}(,[0-9]{1,4}){1,4}\)){1,8}")
_HEX = re.compile(r"[0-9a-f]{32}")
_LINE = re.compile(r"[^\x00-\x1f\x7f]+")

#: uuid_setvar_multi takes so many assignments.
MOST_ARMINGS = 64
#: The switch reads a limit with atoi.
MOST_SECONDS = 2**31 - 1
#: `originate` gives up after so many seconds.
_ORIGINATE_S = 5
#: Characters of a sound's name.
_SOUND_LIMIT = 256
#: 0.2 s of 1400 Hz, as recorders beep.
_BEEP = "tone_stream://%(200,0,1400)"


class Arming(NamedTuple):
    """A recording that begins when its leg is answered.

    `limit_s` 0 is no limit. A variable with an empty value is left out: FreeSWITCH sets none from `name=`.
    """

    id: str
    path: str
    limit_s: int
    variables: Mapping[str, str]


def arm(uuid: str, armings: Iterable[Arming]) -> str:
    """Have FreeSWITCH record an unanswered leg from its answer on; nothing goes out on the wire before it."""
    return _set(uuid, [
        (f"execute_on_answer_{_recording_id(arming.id)}",
         f"record_session {_path(arming.path)} +{_seconds(arming.limit_s)}{_braces(arming.variables)}")
        for arming in armings
    ])


def disarm(uuid: str, ids: Iterable[str]) -> str:
    """Take armings back; without effect once the leg is answered."""
    return _set(uuid, [(f"execute_on_answer_{_recording_id(id)}", "") for id in ids])


def start(uuid: str, path: str, limit_s: int, variables: Mapping[str, str]) -> str:
    """Record an answered leg from now on. Never an unanswered one: it answers early, or kills the call."""
    return f"api uuid_record {_uuid(uuid)} start {_path(path)} {_seconds(limit_s)}{_braces(variables)}"


def stop(uuid: str, path: str) -> str:
    return _record(uuid, "stop", path)


def mask(uuid: str, path: str) -> str:
    """Write silence: the file keeps the timeline."""
    return _record(uuid, "mask", path)


def unmask(uuid: str, path: str) -> str:
    return _record(uuid, "unmask", path)


def pause(uuid: str, path: str) -> str:
    """Write nothing: the file gets shorter than the call."""
    return _record(uuid, "pause", path)


def resume(uuid: str, path: str) -> str:
    return _record(uuid, "resume", path)


def room_start(name: str, path: str) -> str:
    """Record a conference room. The reply comes before the file is opened: an event tells (conference_record.c)."""
    return _room(name, "start", path)


def room_stop(name: str, path: str) -> str:
    return _room(name, "stop", path)


def room_pause(name: str, path: str) -> str:
    """Write nothing: the file gets shorter than the conference. A room cannot be masked."""
    return _room(name, "pause", path)


def room_resume(name: str, path: str) -> str:
    return _room(name, "resume", path)


def rooms() -> str:
    """Every conference room with its members and recordings: see replies.rooms."""
    return "api conference json_list"


def announce(uuid: str, sound: str, id: str) -> str:
    """Play a file below the switch's sounds, or a tone, to an answered leg, in the place of what it hears. `id` (32 hex
    digits) comes back as `kazoo_rec_announce` in its PLAYBACK_START and PLAYBACK_STOP (switch_ivr_play_say.c,
    switch_ivr_play_file: the file's parameters are merged into both)."""
    if not isinstance(sound, str) or len(sound) > _SOUND_LIMIT or not (
            _SOUND_FILE.fullmatch(sound) or _TONE.fullmatch(sound)):
        raise CommandRefused("not fit to be a sound", repr(sound)[:80])
    return f"api uuid_broadcast {_uuid(uuid)} {{kazoo_rec_announce={_checked(_HEX, id, 'id')}}}{sound} aleg"


def beep(uuid: str) -> str:
    """A short tone into what a leg hears, which goes on below it (switch_ivr_async.c, write_displace_callback)."""
    return f"api uuid_displace {_uuid(uuid)} start {_BEEP} 0 mux"


def buglist(uuid: str) -> str:
    """What is really being recorded on a leg: see replies.recorded."""
    return f"api uuid_buglist {_uuid(uuid)}"


def dump(uuid: str) -> str:
    """A leg with all its variables: see replies.leg. JSON, as a caller's name with a newline forges lines of text."""
    return f"api uuid_dump {_uuid(uuid)} json"


def exists(uuid: str) -> str:
    """Answers `true` or `false`."""
    return f"api uuid_exists {_uuid(uuid)}"


def show_channels() -> str:
    """Every leg: see replies.channels. JSON for the reason that `dump` gives."""
    return "api show channels as json"


def show_registrations() -> str:
    """Every phone that is registered: see replies.registrations."""
    return "api show registrations as json"


def status() -> str:
    return "api status"


def global_getvar(name: str) -> str:
    """Answers the bare value; `-ERR no reply` where there is none."""
    return f"api global_getvar {_checked(_VARIABLE, name, 'variable name')}"


def global_getvars() -> str:
    """Every global variable: see replies.variables."""
    return "api global_getvar"


def version() -> str:
    """Answers `FreeSWITCH Version 1.10.12-release~64bit ( 64bit)`."""
    return "api version"


def clock() -> str:
    """Answers microseconds since 1970, by the switch's own clock (mod_dptools.c, strmicroepoch_api_function)."""
    return "api strmicroepoch"


def module_exists(name: str) -> str:
    """Answers `true` or `false`."""
    return f"api module_exists {_checked(_MODULE, name, 'module name')}"


def file_exists(path: str) -> str:
    """Whether the switch sees a file or directory: `true` or `false`. `<directory>/.` asks whether it may go in."""
    return f"api file_exists {_checked(_PLACE, path, 'path')}"


def configuration(name: str) -> str:
    """A configuration as the switch would load it now, as XML; it has passwords in it."""
    return f"api xml_locate configuration configuration name {_checked(_CONFIGURATION, name, 'configuration name')}"


def originate_loopback(uuid: str, seconds: int) -> str:
    """A call of two loopback legs, no phone in it: `uuid` hears a tone, says it again from an echo, and hangs up after
    so many seconds, whoever still listens. No record of it is written (mod_cdr_csv and others, `process_cdr`)."""
    variables = f"origination_uuid={_uuid(uuid)},originate_timeout={_ORIGINATE_S},process_cdr=false"
    tone = f"tone_stream://%(1000,0,1000);loops={_seconds(seconds)}"
    return f"api originate {{{variables}}}loopback/echo/default/inline &playback({tone})"


def kill(uuid: str) -> str:
    """Hang a leg up."""
    return f"api uuid_kill {_uuid(uuid)}"


def subscribe(names: Iterable[str], subclasses: Iterable[str] = ()) -> str:
    """Events as JSON; `subclasses` are of CUSTOM, which is not a name to give here, nor is ALL."""
    words = [_checked(_EVENT, name, "event name") for name in names]
    if {"ALL", "CUSTOM"} & set(words):
        raise CommandRefused("events are subscribed to by name", " ".join(words))
    custom = [_checked(_SUBCLASS, subclass, "event subclass") for subclass in subclasses]
    return " ".join(["event json", *words, *(["CUSTOM", *custom] if custom else [])])


def log_critical() -> str:
    """The switch's log lines of level CRIT and above: among them, how many events it lost for a listener."""
    return "log crit"


def unsubscribe(names: Iterable[str]) -> str:
    return " ".join(["nixevent", *(_checked(_EVENT, name, "event name") for name in names)])


def send_event(name: str) -> str:
    """One that says nothing but its name, to whoever listens, modules of the switch included."""
    return f"sendevent {_checked(_EVENT, name, 'event name')}"


def auth(password: str) -> str:
    """All text behind `auth ` is the password, blanks included."""
    if not isinstance(password, str) or not _LINE.fullmatch(password):
        raise CommandRefused("the password of a switch is one line of text", hint="see event_socket.conf.xml")
    return f"auth {password}"


def _set(uuid: str, of_recordings: list[tuple[str, str]]) -> str:
    if not 1 <= len(of_recordings) <= MOST_ARMINGS:
        raise CommandRefused("a leg takes 1 to 64 recordings at once", str(len(of_recordings)))
    assignments = ";".join(f"{name}={value}" for name, value in of_recordings)
    return f"api uuid_setvar_multi {_uuid(uuid)} {assignments}"


def _record(uuid: str, action: str, path: str) -> str:
    return f"api uuid_record {_uuid(uuid)} {action} {_path(path)}"


def _room(name: str, action: str, path: str) -> str:
    return f"api conference {_checked(_ROOM, name, 'name of a room')} recording {action} {_path(path)}"


def _braces(variables: Mapping[str, str]) -> str:
    pairs = [
        f"{_checked(_VARIABLE, name, 'variable name')}={_checked(_VALUE, value, 'value of a variable')}"
        for name, value in variables.items() if value != ""
    ]
    return f" {{{','.join(pairs)}}}" if pairs else ""


def _uuid(value: str) -> str:
    return _checked(_UUID, value, "leg's UUID")


def _recording_id(value: str) -> str:
    return _checked(_RECORDING_ID, value, "recording id")


def _path(value: str) -> str:
    return _checked(_PATH, value, "recording's path")


def _seconds(value: int) -> int:
    if type(value) is not int or not 0 <= value <= MOST_SECONDS:
        raise CommandRefused("not a number of seconds", repr(value)[:80])
    return value


def _checked(pattern: re.Pattern, value: str, what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise CommandRefused(f"not fit to be a {what}", repr(value)[:80])
    return value
