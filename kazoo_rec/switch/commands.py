"""Every command that is sent to FreeSWITCH, built from typed values and nowhere else.

A value that could end an argument, a variable or the command raises CommandRefused: no text of a caller or a tenant
gets further. How FreeSWITCH takes a command apart: mod_event_socket.c read_packet (lines), mod_commands.c
uuid_setvar_multi_function and session_record_function, mod_dptools.c record_session_function,
switch_utils.c switch_separate_string (blanks, quotes, `\\`, `^^`), switch_event.c switch_event_create_brackets.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
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
_ROOM = re.compile(r"(?!(?i:list|count|xml_list|json_list|help|commands)\Z)[A-Za-z0-9_][A-Za-z0-9_.-]{0,128}")
#: Below the switch's sounds: no `/` before, nothing hidden, no `..`, no `:` (a protocol, or an application).
_SOUND_FILE = re.compile(r"([A-Za-z0-9_-]+[./])*[A-Za-z0-9_-]+\.(wav|mp3|ogg|flac)")
_TONE = re.compile(r"tone_stream://(%\([0-9]{1,4},[0-9]{1,4}(,[0-9]{1,4}){1,4}\)){1,8}")
_HEX = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LINE = re.compile(r"[^\x00-\x1f\x7f]+")

#: What callflows have a leg do, all of mod_dptools but the conference. One that the switch does not know would hang the
#: call up, after a +OK (switch_ivr.c switch_ivr_parse_event).
APPLICATIONS = frozenset(("answer", "bridge", "conference", "export", "play_and_get_digits", "playback", "record",
                          "respond", "set", "sleep", "unset"))
#: No `$` and no `\\`: an argument is expanded by the leg (switch_channel.c switch_channel_expand_variables).
_ARGUMENT = re.compile(r"[^\x00-\x1f\x7f$\\\ud800-\udfff]{0,4000}")
#: Below the switch's own directory of sounds: nothing absolute, hidden or upwards.
_SOUND = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
#: tone_stream also reads files (`path=`), so its tones alone (libteletone); any stream ends by itself, or is the
#: operator's music.
_STREAM = re.compile(r"tone_stream://(%\([0-9]{1,5},[0-9]{1,5}(,[0-9]{1,5}(\.[0-9]{1,3})?){1,4}\);?){1,16}"
                     r"(loops=[0-9]{1,3})?|silence_stream://[0-9]{1,6}|local_stream://[A-Za-z0-9_-]{1,64}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")
_DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_GATEWAY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_NUMBER = re.compile(r"\+?[0-9*#]{1,32}")
_REASON = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,'-]{0,63}")
_CAUSE = re.compile(r"[A-Z][A-Z_]{0,63}")
_ACTION = re.compile(r"[A-Za-z0-9_]{1,64}")
_KEYS = re.compile(r"[0-9*#A-D]{1,16}")
_EXECUTION = re.compile(r"[0-9a-f]{32}")

#: The variable that `digits` leaves what was pressed in.
DIGITS = "kazoo_rec_digits"
#: The variable that says what a leg declines, for an engine after the one that heard it.
DECLINED = "kazoo_rec_declined"
#: `record` ends after so many seconds below that energy (Kazoo's cf_record_caller has the same).
SILENCE_THRESHOLD, SILENCE_S = 200, 5

#: uuid_setvar_multi takes so many assignments.
MOST_ARMINGS = 64
#: The switch reads a limit with atoi.
MOST_SECONDS = 2**31 - 1
#: `originate` gives up after so many seconds.
_ORIGINATE_S = 5
#: Characters of a sound's name.
_SOUND_LIMIT = 256
#: The cause that a leg is hung up with which must not go on as it is not recorded: Q.850's 63, "service or option not
#: available". Hardly anything else says it, so that it can be found in call detail records.
NOT_RECORDED = "SERVICE_UNAVAILABLE"
#: 0.2 s of 1400 Hz, as recorders beep.
_BEEP = "tone_stream://%(200,0,1400)"


class Lines(str):
    """A command of several lines, whose values were checked: no other has more than one."""

    __slots__ = ()


class Arming(NamedTuple):
    """A recording that begins when its leg is answered.

    `limit_s` 0 is no limit. A variable with an empty value is left out: FreeSWITCH sets none from `name=`.
    """

    id: str
    path: str
    limit_s: int
    variables: Mapping[str, str]


class Application(NamedTuple):
    """What a leg executes, and with which argument."""

    name: str
    argument: str = ""


class User(NamedTuple):
    """A user of the switch's directory to be called, `delay_s` after the others, for `timeout_s`."""

    name: str
    domain: str
    timeout_s: int
    delay_s: int = 0


class Carrier(NamedTuple):
    """A number to be called through a gateway."""

    gateway: str
    number: str
    timeout_s: int


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


def decline(uuid: str, accounts: Iterable[str]) -> str:
    """Has a leg itself say by which accounts it does not want to be recorded: see `calls.leg.declined_of`."""
    said = "/".join(sorted(_checked(_NAME, account, "account id") for account in accounts))
    return f"api uuid_setvar_multi {_uuid(uuid)} {DECLINED}={said}"


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


def set_aside(uuid: str, name: str) -> str:
    """Takes a variable away from a leg, at once, whatever it executes."""
    return f"api uuid_setvar {_uuid(uuid)} {_checked(_VARIABLE, name, 'variable name')}"


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


def kill(uuid: str, cause: str = "NORMAL_CLEARING") -> str:
    """Hang a leg up."""
    return f"api uuid_kill {_uuid(uuid)} {_checked(_CAUSE, cause, 'cause')}"


def unguard(uuid: str) -> str:
    """Takes back what a dialplan has planned for a leg in case that nobody records it (freeswitch-conf/README.md).
    Where nothing is, that is no error (mod_commands.c, sched_del_function)."""
    return f"api sched_del kazoo_rec_{_uuid(uuid)}"


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


def acting(subclass: str, switch: str, site: str, run: str, term: int) -> Lines:
    """Tells whoever listens which engine acts for this switch, by its name: `run` of `site`, since `term`."""
    said = {"Event-Subclass": _checked(_SUBCLASS, subclass, "event subclass"),
            "Engine-Switch": _checked(_NAME, switch, "name of a switch"),
            "Engine-Site": _checked(_NAME, site, "site"), "Engine-Run": _checked(_HEX, run, "run"),
            "Engine-Term": str(int(term))}
    return Lines("\n".join(["sendevent CUSTOM", *(f"{header}: {value}" for header, value in said.items())]))


def auth(password: str) -> str:
    """All text behind `auth ` is the password, blanks included."""
    if not isinstance(password, str) or not _LINE.fullmatch(password):
        raise CommandRefused("the password of a switch is one line of text", hint="see event_socket.conf.xml")
    return f"auth {password}"


def connect() -> str:
    """First of all on a socket that a leg opened: answered with all about it."""
    return "connect"


def myevents() -> str:
    """The leg's own events, on the socket that it opened."""
    return "myevents json"


def resume_dialplan() -> str:
    """When this socket ends, the leg leaves at once what it executes, and its dialplan goes on."""
    return "resume"


def execute(application: str, argument: str, execution: str) -> str:
    """Have the leg of this socket execute; its CHANNEL_EXECUTE_COMPLETE has `execution` (32 hex digits) as
    Application-UUID (switch_ivr.c switch_ivr_parse_event)."""
    if application not in APPLICATIONS:
        raise CommandRefused("not an application that a callflow executes", repr(application)[:80])
    lines = ["sendmsg", "call-command: execute", f"execute-app-name: {application}"]
    if argument:
        lines.append(f"execute-app-arg: {_checked(_ARGUMENT, argument, 'argument')}")
    return "\n".join([*lines, f"Event-UUID: {_checked(_EXECUTION, execution, 'id of an execution')}"])


def hangup(cause: str) -> str:
    """Hang the leg of this socket up."""
    return f"sendmsg\ncall-command: hangup\nhangup-cause: {_checked(_CAUSE, cause, 'cause')}"


def answer() -> Application:
    return Application("answer")


def variable(name: str, value: str, *, export: bool = False) -> Application:
    """Sets a variable of the leg, with `export` of the legs that it calls as well."""
    pair = f"{_checked(_VARIABLE, name, 'variable name')}={_checked(_ARGUMENT, value, 'value of a variable')}"
    return Application("export" if export else "set", pair)


def unhandled(module: str) -> Application:
    """Tells the dialplan which action of a callflow it has to do; `unknown` where that is no plain name."""
    return Application("set", f"kazoo_rec_unhandled={module if _ACTION.fullmatch(module) else 'unknown'}")


def forget(name: str) -> Application:
    return Application("unset", _checked(_VARIABLE, name, "variable name"))


def play(sound: str) -> Application:
    """A file of the switch's sounds, tones, silence, or its music."""
    return Application("playback", _sound(sound))


def play_recording(path: str) -> Application:
    return Application("playback", _path(path))


def end_by(keys: str) -> Application:
    """The keys that end what `play` and `record` do; none, where it is empty."""
    return Application("set", f"playback_terminators={_checked(_KEYS, keys, 'set of keys') if keys else 'none'}")


def wait(ms: int) -> Application:
    return Application("sleep", str(_seconds(ms)))


def record(path: str, limit_s: int) -> Application:
    """What the caller says, until a key of `playback_terminators`, silence, the limit or the hang-up."""
    return Application("record", f"{_path(path)} {_seconds(limit_s)} {SILENCE_THRESHOLD} {SILENCE_S}")


def digits(most: int, timeout_ms: int, between_ms: int, sound: str | None) -> Application:
    """Plays, and waits for up to `most` keys, ended by # or a pause: they are in the variable DIGITS then."""
    prompt = _sound(sound) if sound else "silence_stream://1"
    return Application("play_and_get_digits", f"1 {_seconds(most)} 1 {_seconds(timeout_ms)} # {prompt} "
                       f"silence_stream://1 {DIGITS} .+ {_seconds(between_ms)}")


def bridge(called: Sequence[User | Carrier], *, in_turn: bool = False) -> Application:
    """Calls them at once, or in turn, and connects the leg with who answers first."""
    if not called:
        raise CommandRefused("nobody to call")
    early = "{ignore_early_media=true}" if len(called) > 1 else ""
    return Application("bridge", early + ("|" if in_turn else ",").join(map(_dialled, called)))


def conference(room: str, profile: str, *, moderator: bool = False) -> Application:
    """Takes part until the room ends, or its moderator has the leg leave."""
    place = f"{_checked(_ROOM, room, 'name of a room')}@{_checked(_GATEWAY, profile, 'conference profile')}"
    return Application("conference", place + ("+flags{moderator}" if moderator else ""))


def respond(code: int, reason: str) -> Application:
    """Refuses an unanswered call: a SIP status of 4xx to 6xx and its words."""
    if type(code) is not int or not 400 <= code <= 699:
        raise CommandRefused("not a SIP status that ends a call", repr(code)[:80])
    return Application("respond", f"{code} {_checked(_REASON, reason, 'reason')}" if reason else str(code))


def _dialled(one: User | Carrier) -> str:
    options = {"leg_timeout": str(_seconds(one.timeout_s))}
    if isinstance(one, Carrier):
        place = (f"sofia/gateway/{_checked(_GATEWAY, one.gateway, 'gateway')}/"
                 f"{_checked(_NUMBER, one.number, 'number to call')}")
    else:
        place = f"user/{_checked(_USER, one.name, 'SIP user')}@{_checked(_DOMAIN, one.domain, 'SIP domain')}"
        if one.delay_s:
            options["leg_delay_start"] = str(_seconds(one.delay_s))
    return f"[{','.join(f'{name}={value}' for name, value in options.items())}]{place}"


def _sound(value: str) -> str:
    if isinstance(value, str) and _STREAM.fullmatch(value):
        return value
    return _checked(_SOUND, value, "sound")


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
