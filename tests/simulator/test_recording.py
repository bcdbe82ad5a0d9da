"""Recordings as the real switch makes them, its traps included."""

import os
import resource
import struct

import pytest

from kazoo_rec.simulator.record_start import parse_variables
from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import alice, bob
from tests.simulator.sounds import samples, seconds, tones

PROMPT = "RECORD_PRE_BUFFER_FRAMES=0"


@pytest.fixture
def record(switch, talk, tmp_path):
    """Starts a recording of a leg of the talk, 0 for the caller; gives (path, a function for further orders)."""

    def start(variables=PROMPT, leg=0, limit=0, name="a.wav", say="+OK Success\n"):
        path, uuid = f"{tmp_path}/{name}", talk.legs[leg].uuid
        assert switch.api(f"uuid_record {uuid} start {path} {limit} {{{variables}}}") == say
        return path, lambda order: switch.api(f"uuid_record {uuid} {order} {path}")

    return start


def test_left_is_what_the_leg_says_and_right_what_it_hears(record, clock):
    paths = [record(f"RECORD_STEREO=true,{PROMPT}", leg, name=f"{leg}.wav") for leg in (0, 1)]
    clock.advance(1)
    for _, order in paths:
        assert order("stop") == "+OK Success\n"
    assert (tones(paths[0][0], 0), tones(paths[0][0], 1)) == ([1000], [440])
    assert (tones(paths[1][0], 0), tones(paths[1][0], 1)) == ([440], [1000])


@pytest.mark.parametrize(("variables", "heard"), [
    ("", ([440, 1000],)), ("RECORD_READ_ONLY=true", ([1000],)), ("RECORD_WRITE_ONLY=true", ([440],)),
    ("RECORD_READ_ONLY=true,RECORD_WRITE_ONLY=true", ([1000],)),
    ("RECORD_STEREO=true,RECORD_READ_ONLY=true", ([1000], [])), ("RECORD_STEREO=yes,RECORD_WRITE_ONLY=1", ([], [440])),
    ("RECORD_STEREO=true,RECORD_STEREO_SWAP=true", ([440], [1000])), ("record_stereo=TRUE", ([1000], [440])),
])
def test_sides_and_channels_are_as_asked(record, clock, variables, heard):
    path, order = record(f"{variables},{PROMPT}")
    clock.advance(1)
    order("stop")
    assert tuple(tones(path, channel) for channel in range(len(heard))) == heard


def test_the_sample_rate_is_the_legs_or_the_one_asked_for(record, clock):
    (path, order), (asked, order_other) = record(), record(f"record_sample_rate=16000,{PROMPT}", name="b.wav")
    clock.advance(1)
    order("stop"), order_other("stop")
    assert [samples(each)[1] for each in (path, asked)] == [8000, 16000]
    assert seconds(asked) == 1.0


def test_stop_tells_length_size_and_cause(record, clock, listener):
    path, order = record()
    clock.advance(1.5)
    order("stop")
    clock.advance(0.1)
    (event,) = listener.heard("RECORD_STOP")
    assert (event["Record-File-Path"], event["Record-Completion-Cause"]) == (path, "success-maxtime")
    assert event["Recording-Variable-RECORD_PRE_BUFFER_FRAMES"] == "0"
    assert (event["variable_record_ms"], event["variable_record_samples"]) == ("1500", "12000")
    assert event["variable_record_file_size"] == str(os.path.getsize(path)) == "24044"


def test_a_hang_up_ends_a_recording_and_says_silence(record, clock, talk):
    path, _ = record()
    clock.advance(1)
    talk.legs[1].hangup()
    clock.advance(0.1)
    assert talk.legs[0].recorded[0].cause == "success-silence"
    assert seconds(path) == pytest.approx(1.0, abs=0.04)


def test_a_second_start_on_a_path_says_ok_and_does_nothing(record, clock, talk):
    record()
    clock.advance(0.1)
    record()
    assert len(talk.legs[0].recordings) == 1


def test_a_path_that_another_leg_records_is_not_guarded(record, talk):
    record(leg=0)
    record(leg=1)
    assert [len(leg.recordings) for leg in talk.legs] == [1, 1]


@pytest.mark.parametrize("order", ["stop", "mask", "unmask", "pause", "resume"])
def test_orders_for_an_unknown_path_fail_with_the_switchs_words(switch, talk, order):
    words = f"-ERR Cannot {order} {'record' if order == 'stop' else 'recording'} session!\n"
    assert switch.api(f"uuid_record {talk.legs[0].uuid} {order} /never.wav") == words


def test_stop_all_stops_all_and_fails_where_there_is_none(switch, record, talk):
    record(), record(name="b.wav")
    assert switch.api(f"uuid_record {talk.legs[0].uuid} stop all") == "+OK Success\n"
    assert not talk.legs[0].recordings
    assert switch.api(f"uuid_record {talk.legs[0].uuid} stop all") == "-ERR Cannot stop record session!\n"


@pytest.mark.parametrize("name", ["bad.xyz", "UPPER.WAV", "m.opus", "n" * 260 + ".wav"])
def test_what_the_switch_cannot_write_it_does_not_record(record, talk, name):
    record(name=name, say="-ERR Cannot record session!\n")
    assert not talk.legs[0].recordings


def test_without_an_ending_there_is_an_event_but_neither_length_nor_cause(record, clock, listener):
    _, order = record(name="noext")
    clock.advance(1)
    assert order("stop") == "+OK Success\n"
    clock.advance(0.1)
    (event,) = listener.heard("RECORD_STOP")
    assert "Record-Completion-Cause" not in event and "variable_record_ms" not in event


def test_a_directory_named_as_a_rate_beside_the_file_catches_it(record, tmp_path):
    (tmp_path / "8000").mkdir()
    record(say="-ERR Cannot record session!\n")
    assert (tmp_path / "8000" / "a.wav").stat().st_size == 44


def test_a_missing_directory_is_made(record, tmp_path):
    record(name="x/y/a.wav")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o750


# Limits

@pytest.mark.parametrize("after", [0.0, 0.3, 0.38])
def test_a_limit_counts_whole_seconds_of_the_day(record, clock, talk, after):
    clock.advance(after)
    record(limit=2)
    clock.advance(5)
    recording = talk.legs[0].recorded[0]
    assert recording.cause == "success-maxtime"
    assert 1000 < recording.ms <= 2000
    assert recording.ms == pytest.approx((2 - (0.6 + after) % 1) * 1000, abs=20)


@pytest.mark.parametrize("limit", ["-5", "abc"])
def test_a_limit_that_is_no_number_is_none(record, clock, talk, limit):
    record(limit=limit)
    clock.advance(10)
    assert talk.legs[0].recordings


def test_a_limit_strikes_a_paused_recording_when_it_goes_on(record, clock, talk):
    _, order = record(limit=2)
    clock.advance(1)
    order("pause")
    clock.advance(5)
    assert talk.legs[0].recordings
    order("resume")
    assert talk.legs[0].recorded[0].ms == 1000 and not talk.legs[0].recordings


# Mask, pause, hold

def test_mask_writes_silence_and_pause_cuts(switch, clock, tmp_path):
    call = switch.play(Script(alice(says={0.0: 1000, 2.0: 2000, 3.0: 1000}), (bob(says=0, answers=0.2),)))
    clock.advance(1)
    uuid, (masked, paused) = call.legs[0].uuid, (f"{tmp_path}/{name}.wav" for name in "ab")

    def order(masks, pauses, after=f" 0 {{{PROMPT}}}"):
        assert switch.api(f"uuid_record {uuid} {masks} {masked}{after}") == "+OK Success\n"
        assert switch.api(f"uuid_record {uuid} {pauses} {paused}{after}") == "+OK Success\n"
        clock.advance(1)

    order("start", "start")
    order("mask", "pause", "")
    order("unmask", "resume", "")
    order("stop", "stop", "")
    assert (seconds(masked), seconds(paused)) == (3.0, 2.0)
    assert [tones(masked, 0, begin, begin + 1) for begin in (0, 1, 2)] == [[1000], [], [1000]]
    assert [tones(paused, 0, begin, begin + 1) for begin in (0, 1)] == [[1000], [1000]]


def test_a_leg_that_holds_gives_no_samples_and_its_partner_hears_music(switch, clock, tmp_path):
    call = switch.play(Script(alice(hangs_up=3.5, holds=((1.5, 2.5),)), (bob(),)))
    clock.advance(0.1)
    for number, leg in enumerate(call.legs):
        switch.api(f"uuid_setvar {leg.uuid} execute_on_answer record_session {tmp_path}/{number}.wav +0 "
                   f"{{RECORD_STEREO=true,{PROMPT}}}")
    clock.advance(4)
    assert [leg.recorded[0].ms for leg in call.legs] == [pytest.approx(2000, abs=40), pytest.approx(3000, abs=40)]
    assert tones(f"{tmp_path}/0.wav", 1) == [440]
    heard = [tones(f"{tmp_path}/1.wav", 1, *when) for when in ((0.1, 0.9), (1.2, 1.9), (2.1, 2.9))]
    assert heard == [[1000], [280], [1000]]


def test_what_was_said_before_an_unmask_leaks_from_a_leg_that_nobody_writes_to(switch, clock, tmp_path):
    leaks = []
    for variables in ("a=b", PROMPT):
        call = switch.play(Script(alice(says={0.0: 1000, 2.0: 2000, 3.0: 1000}), dials="7000",
                                  dialplan=("answer", "park")))
        path, uuid = f"{tmp_path}/{variables}.wav", call.legs[0].uuid
        for wait_s, order in ((0.5, "start"), (1.5, "mask"), (1.0, "unmask"), (1.0, "stop")):
            clock.advance(wait_s)
            switch.api(f"uuid_record {uuid} {order} {path} 0 {{{variables}}}")
        call.legs[0].hangup()
        leaks.append(2000 in tones(path, 0, 2.0, 2.5))
    assert leaks == [True, False]


# Short ones

@pytest.mark.parametrize(("after", "variables", "ms"), [
    (0.3, "a=b", 20), (0.48, "a=b", 20), (0.52, "a=b", 520), (0.3, PROMPT, 300), (0.04, PROMPT, 40)])
def test_the_first_half_second_is_withheld_unless_told_otherwise(record, clock, talk, after, variables, ms):
    path, order = record(variables)
    clock.advance(after)
    order("stop")
    assert talk.legs[0].recorded[0].ms == ms and seconds(path) == ms / 1000


def test_a_recording_without_a_frame_is_removed(record, clock, listener):
    path, order = record()
    order("stop")
    clock.advance(0.1)
    (event,) = listener.heard("RECORD_STOP")
    assert event["Record-Completion-Cause"] == "empty-file" and event["variable_RECORD_DISCARDED"] == "true"
    assert not os.path.exists(path)


def test_one_that_is_too_short_is_removed_unless_it_appends(record, clock, talk):
    too_short, order = record(f"RECORD_MIN_SEC=3,{PROMPT}")
    appended, order_other = record(f"RECORD_MIN_SEC=3,RECORD_APPEND=true,{PROMPT}", name="b.wav")
    clock.advance(1.2)
    order("stop"), order_other("stop")
    assert [each.cause for each in talk.legs[0].recorded] == ["input-too-short", "success-maxtime"]
    assert not os.path.exists(too_short) and seconds(appended) == 1.2


def test_append_goes_on_behind_what_is_there(record, clock, talk):
    for _ in range(2):
        path, order = record(f"RECORD_APPEND=true,{PROMPT}")
        clock.advance(1)
        order("stop")
    assert seconds(path) == 2.0 and talk.legs[0].recorded[1].ms == 1000


def test_a_path_that_is_used_again_begins_anew(record, clock):
    for length in (2, 1):
        path, order = record()
        clock.advance(length)
        order("stop")
    assert seconds(path) == 1.0


# What is on disk meanwhile

def test_an_unfinished_file_says_nothing_of_its_length_and_is_whole_to_the_last_tenth(record, clock):
    path, _ = record(f"enable_file_write_buffering=false,RECORD_STEREO=true,{PROMPT}")
    clock.advance(10)
    with open(path, "rb") as file:
        data = file.read()
    assert (data[4:8], data[40:44]) == (struct.pack("<I", 8), struct.pack("<I", 0))
    assert 9.8 * 32000 <= len(data) - 44 <= 10 * 32000


def test_buffered_writing_leaves_the_last_seconds_in_memory(record, clock):
    (path, _), (other, _) = record(), record(f"enable_file_write_buffering=16000,{PROMPT}", name="b.wav")
    clock.advance(10)
    assert (os.path.getsize(path), os.path.getsize(other)) in ((44 + 131072, 44 + 144000), (44 + 131072, 44 + 160000))


@pytest.mark.parametrize(("variables", "ms"), [(PROMPT, 10000), (f"enable_file_write_buffering=no,{PROMPT}", 3740)])
def test_a_full_disk_is_told_at_the_end_and_a_buffered_recording_lies_about_its_length(
        record, clock, talk, small_disk, variables, ms):
    path, order = record(variables)
    clock.advance(10)
    order("stop")
    recording = talk.legs[0].recorded[0]
    assert (recording.cause, recording.ms, os.path.getsize(path)) == ("uri-failure", ms, 60000)


def test_on_a_disk_that_is_full_already_nothing_starts(record, tmp_path):
    (tmp_path / "a.wav").symlink_to("/dev/full")
    record(say="-ERR Cannot record session!\n")


@pytest.fixture
def small_disk():
    """No file grows beyond 60,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Variables

@pytest.mark.parametrize(("text", "variables"), [
    ("{a=b,c=d}", {"a": "b", "c": "d"}), ("{a%3Db%2Cc%20d=e}", {"a": "b", "c d": "e"}),
    ("{^^:a=b,c:d=e}", {"a": "b,c", "d": "e"}), ("{a=b=c}", {"a": "b=c"}), ("{a=b", {}), ("a=b", {}), ("{a}", {}),
])
def test_recording_variables_are_decoded_first_and_then_parted(text, variables):
    assert parse_variables(text) == variables


def test_variables_need_a_limit_before_them(switch, talk, tmp_path):
    switch.api(f"uuid_record {talk.legs[0].uuid} start {tmp_path}/a.wav {{RECORD_STEREO=true}}")
    assert talk.legs[0].recordings[0].variables == {}


def test_a_setting_of_the_channel_counts_where_the_recording_has_none(switch, talk, clock, tmp_path):
    switch.api(f"uuid_setvar {talk.legs[0].uuid} RECORD_STEREO true")
    switch.api(f"uuid_record {talk.legs[0].uuid} start {tmp_path}/a.wav")
    clock.advance(1)
    switch.api(f"uuid_record {talk.legs[0].uuid} stop {tmp_path}/a.wav")
    assert tones(f"{tmp_path}/a.wav", 1) == [440]
