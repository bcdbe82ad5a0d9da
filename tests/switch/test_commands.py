"""No value, whatever it holds, becomes more than a value."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.errors import CommandRefused
from kazoo_rec.switch import commands
from kazoo_rec.switch.commands import Arming

LEG = "87f2a8fd-0bc9-4669-9fdd-2bb827742302"
ID = "202611-0123456789abcdef0123456789abcdef"
PATH = f"/var/lib/freeswitch/recordings/acme/20261121/{ID}.wav"


def test_a_leg_is_armed_for_all_its_recordings_in_one_command():
    second = ID.replace("0", "f", 1).replace("f", "0", 1)[:-1] + "0"
    assert commands.arm(LEG, [
        Arming(ID, PATH, 10801, {"RECORD_STEREO": "true", "kazoo_rec_id": ID}),
        Arming(second, "/r/b.wav", 0, {}),
    ]) == (
        f"api uuid_setvar_multi {LEG} execute_on_answer_{ID}=record_session {PATH} +10801 "
        f"{{RECORD_STEREO=true,kazoo_rec_id={ID}}};execute_on_answer_{second}=record_session /r/b.wav +0"
    )


def test_a_leg_is_disarmed_by_empty_values():
    assert commands.disarm(LEG, [ID]) == f"api uuid_setvar_multi {LEG} execute_on_answer_{ID}="


def test_a_leg_says_by_which_accounts_it_is_not_to_be_recorded():
    assert commands.decline(LEG, {"b-1", "acme"}) == f"api uuid_setvar_multi {LEG} kazoo_rec_declined=acme/b-1"


@pytest.mark.parametrize("account", ["", "a/b", "a;b=c", "a b", "a\n", "${x}", "a'"])
def test_an_account_that_a_leg_names_is_a_name(account):
    with pytest.raises(CommandRefused):
        commands.decline(LEG, [account])


def test_a_recording_is_started_with_its_limit_before_its_variables():
    assert commands.start(LEG, PATH, 0, {"a": "1", "b": "x/y"}) == f"api uuid_record {LEG} start {PATH} 0 {{a=1,b=x/y}}"
    assert commands.start(LEG, PATH, 5, {}) == f"api uuid_record {LEG} start {PATH} 5"


@pytest.mark.parametrize("action", ["stop", "mask", "unmask", "pause", "resume"])
def test_a_recording_is_controlled_by_its_path(action):
    assert getattr(commands, action)(LEG, PATH) == f"api uuid_record {LEG} {action} {PATH}"


@pytest.mark.parametrize("action", ["start", "stop", "pause", "resume"])
def test_a_room_is_recorded_by_its_name_and_a_path(action):
    build = getattr(commands, f"room_{action}")
    assert build("3500-acme.example", PATH) == f"api conference 3500-acme.example recording {action} {PATH}"
    for name in ("", "a b", "a\nb", "a@default", "a+1", "-a", ".a", "a" * 130, "list", "JSON_LIST", "help", None, 7):
        with pytest.raises(CommandRefused):
            build(name, PATH)
    for path in ("all", "{a=b}/a.wav", "/a b.wav"):
        with pytest.raises(CommandRefused):
            build("3500", path)


def test_a_sound_is_played_to_one_leg_and_can_be_told_from_others():
    for sound in ("ivr/consent.wav", "tone_stream://%(500,100,440,480)%(200,0,620)"):
        assert commands.announce(LEG, sound, "0" * 32) == (
            f"api uuid_broadcast {LEG} {{kazoo_rec_announce={'0' * 32}}}{sound} aleg")
    assert commands.beep(LEG) == f"api uuid_displace {LEG} start tone_stream://%(200,0,1400) 0 mux"


@pytest.mark.parametrize("sound", [
    "", "/etc/passwd.wav", "../x.wav", "a/../x.wav", "a..wav", ".a.wav", "x.lua", "x.wav\n", "a b.wav", "a.wav both",
    "{a=b}x.wav", "}x.wav", "${x}.wav", "shout://h/x.mp3", "playback::x.wav", "hangup!.wav", "%(200,0,1400)",
    "tone_stream://%(200,0,1400);loops=-1", "tone_stream://%(200,0,1400)\n", "tone_stream://path=/etc/x", None,
    "a/" * 127 + "a.wav"], ids=ascii)
def test_nothing_else_is_a_sound(sound):
    with pytest.raises(CommandRefused):
        commands.announce(LEG, sound, "0" * 32)


def test_the_rest_as_they_are_sent():
    assert commands.buglist(LEG) == f"api uuid_buglist {LEG}"
    assert commands.dump(LEG) == f"api uuid_dump {LEG} json"
    assert commands.rooms() == "api conference json_list"
    assert commands.exists(LEG) == f"api uuid_exists {LEG}"
    assert commands.show_channels() == "api show channels as json"
    assert commands.show_registrations() == "api show registrations as json"
    assert commands.status() == "api status"
    assert commands.global_getvar("core_uuid") == "api global_getvar core_uuid"
    assert commands.global_getvars() == "api global_getvar"
    assert commands.version() == "api version"
    assert commands.clock() == "api strmicroepoch"
    assert commands.module_exists("mod_sndfile") == "api module_exists mod_sndfile"
    assert commands.file_exists("/r/kazoo_rec_doctor.00") == "api file_exists /r/kazoo_rec_doctor.00"
    assert commands.file_exists("/r/.") == "api file_exists /r/."
    assert commands.configuration("sofia.conf") == "api xml_locate configuration configuration name sofia.conf"
    assert commands.kill(LEG) == f"api uuid_kill {LEG} NORMAL_CLEARING"
    assert commands.unguard(LEG) == f"api sched_del kazoo_rec_{LEG}"
    assert commands.kill(LEG, commands.NOT_RECORDED) == f"api uuid_kill {LEG} SERVICE_UNAVAILABLE"
    assert commands.set_aside(LEG, "socket_resume") == f"api uuid_setvar {LEG} socket_resume"
    assert (commands.connect(), commands.myevents(), commands.resume_dialplan()) == (
        "connect", "myevents json", "resume")
    assert commands.hangup("USER_BUSY") == "sendmsg\ncall-command: hangup\nhangup-cause: USER_BUSY"
    assert commands.log_critical() == "log crit"
    assert commands.send_event("PRESENCE_OUT") == "sendevent PRESENCE_OUT"
    assert commands.acting("a::b", "fs1", "0a1b2c3d", "0" * 32, 7) == (
        f"sendevent CUSTOM\nEvent-Subclass: a::b\nEngine-Switch: fs1\nEngine-Site: 0a1b2c3d\n"
        f"Engine-Run: {'0' * 32}\nEngine-Term: 7")
    assert commands.unsubscribe(["N", "PRESENCE_OUT"]) == "nixevent N PRESENCE_OUT"
    assert commands.auth("Clue Con:é") == "auth Clue Con:é"
    assert commands.subscribe(["CHANNEL_ANSWER", "RECORD_STOP"], ["a::b", "c::d"]) == (
        "event json CHANNEL_ANSWER RECORD_STOP CUSTOM a::b c::d")
    assert commands.subscribe(["HEARTBEAT"]) == "event json HEARTBEAT"


def test_a_call_of_loopback_legs_ends_by_itself():
    assert commands.originate_loopback(LEG, 15) == (
        f"api originate {{origination_uuid={LEG},originate_timeout=5,process_cdr=false}}loopback/echo/default/inline "
        "&playback(tone_stream://%(1000,0,1000);loops=15)")


@pytest.mark.parametrize("build", [
    lambda: commands.originate_loopback("a b", 1), lambda: commands.originate_loopback("a,b=c", 1),
    lambda: commands.originate_loopback("a}b", 1), lambda: commands.originate_loopback(LEG, "1"),
    lambda: commands.originate_loopback(LEG, -1), lambda: commands.kill("a b"), lambda: commands.kill("a\nb"),
    lambda: commands.kill(LEG, "a b"), lambda: commands.unguard("a b"),
    lambda: commands.module_exists("mod_a b"), lambda: commands.module_exists("mod_A"),
    lambda: commands.file_exists("/a b"), lambda: commands.file_exists("/a/../b"), lambda: commands.file_exists("a"),
    lambda: commands.file_exists("/a\n"), lambda: commands.configuration("sofia"),
    lambda: commands.configuration("../sofia.conf"), lambda: commands.configuration("a b.conf"),
])
def test_what_a_doctor_asks_holds_no_separator(build):
    with pytest.raises(CommandRefused):
        build()


@pytest.mark.parametrize("names, subclasses", [
    (["ALL"], []), (["CUSTOM"], ["a::b"]), (["channel_answer"], []), (["A B"], []), (["A"], ["a b"]), (["A"], [""]),
    (["A\nB"], []), (["A\n"], []), ([""], []),
])
def test_a_subscription_is_to_events_by_name(names, subclasses):
    with pytest.raises(CommandRefused):
        commands.subscribe(names, subclasses)


@pytest.mark.parametrize("path", [
    "", "a.wav", "/a.WAV", "/a.mp3", "/a", "/.wav", "/a/", "/a/../b.wav", "/../b.wav", "//b.wav", "/.a/b.wav",
    "/a b.wav", "/a%20b.wav", "/a;b.wav", "/a,b.wav", "/a'b.wav", "/a{b}.wav", "/$a.wav", "/a\\b.wav", "/a.wav\n",
    "/á.wav", "all", "/a.wav +1", None, 7,
])
def test_a_path_is_absolute_and_plain_and_ends_in_wav(path):
    for build in (commands.stop, lambda leg, path: commands.start(leg, path, 0, {})):
        with pytest.raises(CommandRefused):
            build(LEG, path)


@pytest.mark.parametrize("limit_s", [-1, 1.5, "5", True, None, 2**31])
def test_a_limit_is_whole_seconds(limit_s):
    with pytest.raises(CommandRefused):
        commands.start(LEG, PATH, limit_s, {})


@pytest.mark.parametrize("recording_id", [
    ID.upper(), ID[:-1], f"{ID}0", f"{ID}\n", f"{ID}=x", "", None, "٢٠٢٦١١" + ID[6:],
])
def test_a_recording_id_is_a_month_and_thirty_two_hex_digits(recording_id):
    with pytest.raises(CommandRefused):
        commands.disarm(LEG, [recording_id])
    with pytest.raises(CommandRefused):
        commands.arm(LEG, [Arming(recording_id, PATH, 0, {})])


@pytest.mark.parametrize("ids", [[], [ID] * 65])
def test_a_leg_takes_as_many_assignments_as_freeswitch_reads(ids):
    with pytest.raises(CommandRefused):
        commands.disarm(LEG, ids)


def test_a_variable_without_a_value_is_left_out_as_freeswitch_sets_none():
    assert commands.start(LEG, PATH, 0, {"a": "", "b": "1"}) == f"api uuid_record {LEG} start {PATH} 0 {{b=1}}"


@pytest.mark.parametrize("password", ["", "a\nb", "a\r", "a\0", None])
def test_a_password_is_one_line(password):
    with pytest.raises(CommandRefused):
        commands.auth(password)


# Each value alone may be hostile, and all the others good.
good_path = st.just(PATH)
hostile = st.text() | st.from_regex(r"[ -~]{1,20}", fullmatch=True) | st.sampled_from([
    "a\n\napi shutdown", "a b", "a;b=c", "a,b=c", "a}", "{", "'a", "a\\", "^^:a:b", "%2C", "${uuid}", "a=b", "x\r", "",
    "87f2 all", "\u2028", "\ud800", " ", "a\x00",
])
leg = st.just(LEG) | hostile
path = good_path | hostile | st.from_regex(r"/[a-z/. ]{1,12}\.wav\n?", fullmatch=True)
limit_s = st.integers(-5, 20_000) | st.just(2**40)
variables = st.dictionaries(st.sampled_from(["RECORD_STEREO", "kazoo_rec_id"]) | hostile,
                            st.sampled_from(["true", "acme", "a@b:c/d"]) | hostile, max_size=4)
recording_id = st.just(ID) | hostile


def built(build, *values):
    try:
        command = build(*values)
    except CommandRefused:
        return None
    assert command.isprintable() and "\n" not in command
    return command


def words_of(command):
    """As switch_separate_string does where there is no quote, escape or `^^`: and there is none."""
    assert not set(command) & set("'\"\\$^%")
    return command.split(" ")


def pairs_of(braces):
    assert re.fullmatch(r"\{[^{}]*\}", braces)
    return dict(pair.split("=") for pair in braces[1:-1].split(","))


def kept(values):
    return {name: value for name, value in values.items() if value}


@given(leg, path, limit_s, variables)
def test_a_start_reads_back_as_what_was_meant(leg, path, limit_s, variables):
    command = built(commands.start, leg, path, limit_s, variables)
    if command:
        api, word, *rest = words_of(command)
        braces = rest.pop() if kept(variables) else None
        assert [api, word, *rest] == ["api", "uuid_record", leg, "start", path, str(limit_s)]
        assert braces is None or pairs_of(braces) == kept(variables)


@given(leg, st.lists(st.tuples(recording_id, path, limit_s, variables).map(lambda t: Arming(*t)), max_size=3))
def test_an_arming_reads_back_as_what_was_meant(leg, armings):
    command = built(commands.arm, leg, armings)
    if command:
        api, word, uuid, assignments = command.split(" ", 3)
        assert [api, word, uuid] == ["api", "uuid_setvar_multi", leg]
        for arming, assignment in zip(armings, assignments.split(";"), strict=True):
            name, _, value = assignment.partition("=")
            assert name == f"execute_on_answer_{arming.id}"
            application, path, limit, *braces = words_of(value)
            assert (application, path, limit) == ("record_session", arming.path, f"+{arming.limit_s}")
            assert [pairs_of(text) for text in braces] == ([kept(arming.variables)] if kept(arming.variables) else [])


@given(leg, path, st.lists(recording_id, min_size=1, max_size=2), hostile)
def test_no_other_command_takes_more_than_it_is_given(leg, path, ids, name):
    for build in (commands.stop, commands.mask, commands.unmask, commands.pause, commands.resume):
        command = built(build, leg, path)
        assert command is None or words_of(command)[2::2] == [leg, path]
    for build in (commands.buglist, commands.dump, commands.exists):
        command = built(build, leg)
        assert command is None or words_of(command)[2] == leg
    command = built(commands.disarm, leg, ids)
    assert command is None or words_of(command)[3].split(";") == [f"execute_on_answer_{one}=" for one in ids]
    command = built(commands.global_getvar, name)
    assert command is None or words_of(command) == ["api", "global_getvar", name]
    command = built(commands.subscribe, [name], [name])
    assert command is None or words_of(command) == ["event", "json", name, "CUSTOM", name]


EXECUTION = "0123456789abcdef" * 2


@given(st.builds(commands.Application, st.sampled_from(sorted(commands.APPLICATIONS)) | hostile, hostile),
       st.just(EXECUTION) | hostile)
def test_an_execution_is_lines_of_one_header_each(application, execution):
    try:
        command = commands.execute(*application, execution)
    except CommandRefused:
        return
    first, *headers = command.split("\n")
    assert first == "sendmsg" and "$" not in command and "\r" not in command and command.encode()
    assert dict(header.split(": ", 1) for header in headers) == {
        "call-command": "execute", "execute-app-name": application.name, "Event-UUID": execution,
        **({"execute-app-arg": application.argument} if application.argument else {})}


@pytest.mark.parametrize("cause", ["", "user_busy", "USER BUSY", "A\n", "A\n\napi shutdown", "17"])
def test_a_cause_is_a_name_of_freeswitch_s(cause):
    with pytest.raises(CommandRefused):
        commands.hangup(cause)


phone = st.builds(commands.User, st.just("1000") | hostile, st.just("acme.example") | hostile, limit_s, limit_s)
number = st.builds(commands.Carrier, st.just("carrier") | hostile, st.just("+15550001001") | hostile, limit_s)


@given(st.lists(phone | number, max_size=3), st.booleans())
def test_a_dial_string_reads_back_as_whom_was_meant(called, in_turn):
    try:
        application = commands.bridge(called, in_turn=in_turn)
    except CommandRefused:
        return
    text = application.argument.removeprefix("{ignore_early_media=true}")
    legs = re.split(r"\||,(?=\[)", text)
    assert len(legs) == len(called) and ("|" in text) == (in_turn and len(called) > 1)
    for leg, one in zip(legs, called, strict=True):
        options, place = re.fullmatch(r"\[([a-z_=0-9,]*)\]([^\[\]{},|<>$]*)", leg).groups()
        options = pairs_of(f"{{{options}}}")
        if isinstance(one, commands.User):
            assert place == f"user/{one.name}@{one.domain}" and place.count("@") == 1 and place.count("/") == 1
            assert options == {"leg_timeout": str(one.timeout_s), **(
                {"leg_delay_start": str(one.delay_s)} if one.delay_s else {})}
        else:
            assert place == f"sofia/gateway/{one.gateway}/{one.number}" and place.count("/") == 3
            assert options == {"leg_timeout": str(one.timeout_s)}


@given(path, limit_s, hostile, hostile)
def test_what_a_leg_executes_has_as_many_words_as_were_meant(path, limit_s, name, text):
    for build, words in ((lambda: commands.record(path, limit_s), [path, str(limit_s), "200", "5"]),
                         (lambda: commands.play_recording(path), [path]), (lambda: commands.play(name), [name]),
                         (lambda: commands.wait(limit_s), [str(limit_s)]), (lambda: commands.forget(name), [name]),
                         (lambda: commands.end_by(name), [f"playback_terminators={name or 'none'}"]),
                         (lambda: commands.conference(name, text), [f"{name}@{text}"]),
                         (lambda: commands.digits(2, limit_s, 2, name), [
                             "1", "2", "1", str(limit_s), "#", name or "silence_stream://1", "silence_stream://1",
                             "kazoo_rec_digits", ".+", "2"])):
        try:
            application = build()
        except CommandRefused:
            continue
        assert words_of(application.argument) == words


@given(hostile, hostile)
def test_a_variable_reads_back_as_what_was_meant(name, value):
    try:
        application = commands.variable(name, value)
    except CommandRefused:
        return
    assert application.argument.partition("=") == (name, "=", value) and application.argument.encode()
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) and not set(value) & set("$\\\n\r")


@given(hostile)
def test_an_action_that_is_left_is_named_plainly_or_not_at_all(module):
    name = commands.unhandled(module).argument.removeprefix("kazoo_rec_unhandled=")
    assert name == "unknown" or (name == module and re.fullmatch(r"[A-Za-z0-9_]+", name))


@pytest.mark.parametrize(("code", "reason"), [(200, ""), (399, ""), (700, ""), ("486", ""), (True, ""), (486, "a\r\nb"),
                                              (486, "${x}"), (486, " "), (486, "x" * 65), (486, "a\n")])
def test_a_response_ends_a_call_in_plain_words(code, reason):
    with pytest.raises(CommandRefused):
        commands.respond(code, reason)
