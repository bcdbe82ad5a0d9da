"""What a leg is played, and the digits that it presses."""

import wave

import pytest

from kazoo_rec.simulator.script import Script
from kazoo_rec.simulator.sound import tone
from tests.simulator.conftest import alice
from tests.simulator.sounds import tones


@pytest.fixture
def execute(switch, listener, clock):
    """A caller's leg executes these lines after the answer; gives (the leg, names and seconds of its events)."""
    def done(*lines, after=30, **habits):
        begun = clock.now
        call = switch.play(Script(alice(**habits), dials="7000", dialplan=("answer", *lines)))
        clock.advance(after)
        zero = clock.epoch_us() / 1e6 - clock.now + begun
        return call.legs[0], [
            (event["Event-Name"], round(int(event["Event-Date-Timestamp"]) / 1e6 - zero, 2))
            for event in listener.heard() if event["Event-Name"].startswith(("PLAYBACK", "CHANNEL_HANGUP"))]
    return done


@pytest.fixture
def prompt(tmp_path):
    """A WAV file of 1.5 s with a tone of 600 Hz."""
    path = tmp_path / "prompt.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(tone(600, 8000, 0, 12000).tobytes())
    return path


def test_a_file_is_played_as_long_as_it_is_and_is_heard(execute, prompt, tmp_path):
    master = tmp_path / "a.wav"
    _, events = execute(f"record_session {master} +0 {{RECORD_STEREO=true,RECORD_PRE_BUFFER_FRAMES=0}}",
                        f"playback {prompt}")
    assert events[:2] == [("PLAYBACK_START", 0.0), ("PLAYBACK_STOP", 1.5)]
    assert tones(master, 1) == [600]


def test_tones_silence_and_what_is_not_there(execute):
    _, events = execute("playback silence_stream://700", "playback tone_stream://%(200,100,440);loops=3",
                        "playback /nowhere.wav")
    assert [at for _, at in events[:4]] == [0.0, 0.7, 0.7, 1.6] and len(events) == 6


def test_a_terminator_ends_it(execute):
    leg, events = execute("playback silence_stream://5000", presses={1: "12", 2: "*", 3: "#"})
    assert events[1] == ("PLAYBACK_STOP", 2.0) and leg.variables["playback_terminator_used"] == "*"


def test_a_digit_ends_a_sleep_and_waits_for_who_asks_for_digits(execute):
    leg, _ = execute("sleep 9000", "play_and_get_digits 1 1 1 2000 # silence_stream://5000 silence digit \\d",
                     after=3, presses={1: "7"})
    assert leg.variables["digit"] == "7" and leg.cause


def test_digits_pressed_while_parked_or_bridged_are_gone(execute):
    leg, _ = execute("echo", after=3, presses={1: "7"})
    assert not leg.digits.has()


@pytest.mark.parametrize(("arguments", "presses", "got"), [
    ("1 4 1 2000 # {file} silence digits", {1: "12", 1.5: "34"}, "1234"),
    ("1 9 1 2000 # {file} silence digits", {1: "12#"}, "12"),
    ("1 9 1 2000 # {file} silence digits", {1: "12", 2: "3"}, "123"),
    ("3 9 1 2000 # {file} silence digits", {1: "12"}, None),
    ("1 1 1 2000 # {file} silence digits", {}, None),
    ("1 1 2 2000 # {file} silence_stream://100 digits [12]", {0.5: "7", 1: "2"}, "2"),
    ("1 1 1 2000 # {file} silence_stream://100 digits [12]", {0.5: "7"}, None),
])
def test_digits_are_collected(execute, arguments, presses, got):
    leg, _ = execute("play_and_get_digits " + arguments.format(file="silence_stream://700"), presses=presses)
    assert leg.variables.get("digits") == got
    assert leg.variables.get("digits_invalid") == ("7" if "[12]" in arguments else None)


def test_an_unanswered_leg_gets_early_media_to_be_played_something(switch, listener, clock):
    switch.play(Script(alice(), dials="7000", dialplan=("playback silence_stream://100",)))
    clock.advance(1)
    names = [event["Event-Name"] for event in listener.heard()]
    assert names.index("CHANNEL_PROGRESS_MEDIA") < names.index("PLAYBACK_START") and "CHANNEL_ANSWER" not in names


def test_a_broadcast_is_played_in_the_midst_of_a_talk_to_whom_it_names(switch, listener, talk, clock):
    caller, called = talk.legs
    for whom, heard_by in (("aleg", [caller]), ("bleg", [called]), ("both", [called, caller])):
        assert switch.api(f"uuid_broadcast {caller.uuid} silence_stream://300 {whom}") == "+OK Message sent\n"
        clock.advance(0.5)
        started = [event["Unique-ID"] for event in listener.heard("PLAYBACK_START")]
        assert sorted(started) == sorted(leg.uuid for leg in heard_by)
        listener.events.clear()
    assert caller.partner is called and not caller.cause
    assert switch.api("uuid_broadcast nobody silence_stream://300") == "-ERR invalid uuid\n"


def test_a_broadcast_may_be_any_application(switch, talk, clock):
    switch.api(f"uuid_broadcast {talk.legs[0].uuid} set::a=b")
    clock.advance(0.1)
    assert talk.legs[0].variables["a"] == "b"


def test_the_events_of_a_file_say_the_variables_before_its_path(execute, listener, prompt):
    execute(f"playback {{mark=7}}{prompt}", "playback {mark=8}tone_stream://%(100,0,440)")
    said = [(event["mark"], event["Playback-File-Path"]) for event in listener.heard("PLAYBACK_START", "PLAYBACK_STOP")]
    assert said[:2] == [("7", f"{{mark=7}}{prompt}")] * 2 and [mark for mark, _ in said[2:]] == ["8", "8"]


@pytest.mark.parametrize(("how", "heard"), [("0 mux", [440, 1400]), ("", [1400])])
def test_a_sound_goes_below_what_a_leg_hears_or_in_its_place(switch, listener, talk, clock, tmp_path, how, heard):
    leg, master, beep = talk.legs[0], tmp_path / "a.wav", "tone_stream://%(200,0,1400)"
    switch.api(f"uuid_record {leg.uuid} start {master} 0 {{RECORD_STEREO=true,RECORD_PRE_BUFFER_FRAMES=0}}")
    clock.advance(1)
    assert switch.api(f"uuid_displace {leg.uuid} start {beep} {how}") == "+OK Success\n"
    assert "<function>displace</function>" in switch.api(f"uuid_buglist {leg.uuid}")
    assert switch.api(f"uuid_displace {leg.uuid} start {beep}") == "-ERR Cannot displace session!\n"
    clock.advance(1)
    assert switch.api(f"uuid_displace {leg.uuid} stop {beep}") == "-ERR Cannot stop displace session!\n"
    switch.api(f"uuid_record {leg.uuid} stop {master}")
    assert tones(master, 1, 1.04, 1.16) == heard and tones(master, 1, 1.3) == [440] == tones(master, 1, 0, 0.9)
    functions = [event["Media-Bug-Function"] for event in listener.heard("MEDIA_BUG_START", "MEDIA_BUG_STOP")]
    assert functions == ["session_record", "displace", "displace", "session_record"]


def test_a_displaced_leg_that_is_hung_up_lets_go(switch, talk, clock):
    leg = talk.legs[0]
    switch.api(f"uuid_displace {leg.uuid} start silence_stream://9000 0 mux")
    clock.advance(0.1)
    switch.api(f"uuid_kill {leg.uuid}")
    assert not leg.displaced and talk.wait(0)


def test_digits_may_be_pressed_by_command(switch, listener, talk):
    leg = talk.legs[1]
    assert switch.api(f"uuid_recv_dtmf {leg.uuid} 12") == f"+OK {leg.uuid} received DTMF 12.\n"
    assert [event["DTMF-Digit"] for event in listener.heard("DTMF")] == ["1", "2"]
    assert switch.api("uuid_recv_dtmf nobody 1") == "-ERR Cannot locate session!\n"
