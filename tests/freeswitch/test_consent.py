"""Announced, declined, beeped, told: on a real switch."""

import json
import signal

import numpy as np
import pytest
from gevent.pywsgi import WSGIServer
from pytest import approx

from tests import database
from tests.freeswitch.product import FINAL, until
from tests.freeswitch.talk import LENGTH_MS, assert_whole

TONE_HZ, TONE_MS = 1500, 1500
TONE = f"tone_stream://%({TONE_MS},0,{TONE_HZ})"


def record(lab, **settings):
    return {"acme/users/usr-acme-1000": {"outbound": {"onnet": lab.record(**settings)}}}


def in_talk(switch, alice, bob):
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered()
    return call, called, [row["uuid"] for row in switch.legs(2)]


def ended(call, called, duration_ms):
    call.hear(duration_ms)
    call.hang_up()
    called.ended()


def span(recording, kind):
    (found,) = [one for one in recording.row["spans"] if one["kind"] == kind]
    return found


@pytest.mark.parametrize("to", ["party", "both"])
def test_what_must_be_announced_is_recorded_from_its_end_on(lab, switch, alice, bob, to):
    lab.obey(record(lab, announce={"tone": TONE, "required": True, "to": to}))
    call, called, (leg, _) = in_talk(switch, alice, bob)
    assert lab.recorded_by_the_switch(leg) == [] and [row["state"] for row in lab.rows()] == ["armed"]
    lab.until_rows(lambda row: row["state"] == "recording")
    ended(call, called, 1500)
    recording = lab.recordings()["acme caller.outbound A 1000"]
    told = span(recording, "announced")
    assert told["to_ms"] - told["from_ms"] == approx(TONE_MS, abs=LENGTH_MS * 2)
    assert told["to_ms"] <= recording.row["started_ms"]
    wav = recording.wav()
    assert (wav.left.tones(), wav.right.tones()) == ([930], [610]) and not recording.row["partial"]


def test_what_need_not_be_announced_first_has_the_announcement_in_it(lab, switch, alice, bob):
    lab.obey(record(lab, announce={"tone": TONE}))
    call, called, _ = in_talk(switch, alice, bob)
    ended(call, called, 3000)
    recording = lab.recordings()["acme caller.outbound A 1000"]
    assert recording.wav().right.tones() == [610, TONE_HZ, 610] and span(recording, "announced")
    assert recording.wav().length_ms == approx(call.talk_ms, abs=LENGTH_MS)


def test_an_announcement_that_is_broken_off_is_played_again_before_anything_is_recorded(lab, switch, alice, bob):
    lab.obey(record(lab, announce={"tone": TONE, "required": True}))
    call, called, (leg, _) = in_talk(switch, alice, bob)
    call.hear(600)
    switch.api(f"uuid_break {leg}")
    call.hear(600)
    assert lab.recorded_by_the_switch(leg) == []
    lab.until_rows(lambda row: row["state"] == "recording")
    ended(call, called, 1000)
    recording = lab.recordings()["acme caller.outbound A 1000"]
    assert span(recording, "announced")["to_ms"] - recording.row["answered_ms"] > TONE_MS + 600


def test_a_caller_who_is_transferred_in_the_announcement_hears_it_again(lab, switch, alice, bob, carol):
    lab.obey(record(lab, announce={"tone": TONE, "required": True}))
    call, called, (leg, _) = in_talk(switch, alice, bob)
    call.hear(600)
    switch.api(f"uuid_transfer {leg} 1002")
    other = carol.rings().ring().answer()
    called.ended()
    assert lab.recorded_by_the_switch(leg) == []
    lab.until_rows(lambda row: row["state"] == "recording")
    ended(call, other, 1000)
    recording = lab.recordings()["acme caller.outbound A 1000"]
    assert recording.wav().right.tones() == [730]


def test_what_an_engine_was_killed_in_is_announced_again_before_anything_is_recorded(lab, switch, alice, bob):
    lab.obey(record(lab, announce={"tone": TONE, "required": True}))
    call, called, (leg, _) = in_talk(switch, alice, bob)
    call.hear(600)
    lab.halt(signal.SIGKILL)
    lab.run()
    assert lab.recorded_by_the_switch(leg) == []
    until(lambda: "recording" in [row["state"] for row in lab.rows()])
    ended(call, called, 1000)
    until(lambda: all(row["state"] in FINAL for row in lab.rows()))
    (row,) = lab.rows()
    assert row["state"] == "recorded" and row["started_ms"] - row["answered_ms"] > 600 + TONE_MS
    (told,) = [one for one in row["spans"] if one["kind"] == "announced"]
    assert told["to_ms"] <= row["started_ms"]


def test_a_sound_that_is_not_there_keeps_what_must_be_announced_from_being_recorded(lab, switch, alice, bob):
    lab.obey(record(lab, announce={"file": "ivr/there_is_none.wav", "required": True}))
    call, called, (leg, _) = in_talk(switch, alice, bob)
    call.hear(5500)
    assert lab.recorded_by_the_switch(leg) == []
    ended(call, called, 100)
    recording = lab.recordings()["acme caller.outbound A 1000"]
    assert (recording.state, recording.row["state_reason"]) == (
        "failed", "never announced: the switch did not play it")


@pytest.mark.parametrize("required", [True, False])
def test_who_declines_leaves_no_file_and_is_asked_no_more(lab, switch, alice, bob, required):
    lab.obey(record(lab, announce={"tone": TONE, "required": required, "opt_out_digit": "9"}))
    call, called, (leg, other) = in_talk(switch, alice, bob)
    call.hear(600)
    switch.api(f"uuid_recv_dtmf {other} 9")  # it was not announced to him
    call.hear(100)
    assert [row["state"] for row in lab.rows()] == ["armed" if required else "recording"]
    switch.api(f"uuid_recv_dtmf {leg} 9")
    lab.until_rows(lambda row: row["state"] == "discarded")
    assert lab.recorded_by_the_switch(leg) == []
    ended(call, called, 2000)
    (recording,) = lab.recordings().values()
    assert (recording.state, recording.row["state_reason"]) == ("discarded", "declined")


def test_what_was_declined_while_the_database_took_nothing_is_erased_and_not_recorded_again(lab, switch, alice, bob):
    lab.obey(record(lab, announce={"tone": TONE, "opt_out_digit": "9"}))
    call, called, (leg, _) = in_talk(switch, alice, bob)
    lab.until_rows(lambda row: row["state"] == "recording")
    with database.locked(lab.recordings_dir.parent):
        switch.api(f"uuid_recv_dtmf {leg} 9")
        until(lambda: list(lab.recordings_dir.glob("*/*/*.declined")) and not lab.recorded_by_the_switch(leg))
        lab.halt(signal.SIGKILL)
    assert switch.api(f"uuid_getvar {leg} kazoo_rec_declined") == "acme"
    lab.run()
    lab.until_rows(lambda row: row["state"] == "discarded")
    ended(call, called, 1500)
    (recording,) = lab.recordings().values()
    assert (recording.state, recording.row["state_reason"]) == ("discarded", "declined")


def test_both_hear_a_beep_now_and_then_and_it_breaks_nothing_off(lab, switch, alice, bob):
    lab.obey(record(lab, announce={"beep_every_s": 5}))
    call, called, _ = in_talk(switch, alice, bob)
    heard = call.listen(), called.listen()
    ended(call, called, 6500)
    recording = lab.recordings()["acme caller.outbound A 1000"]
    assert_whole(recording, call.talk_ms, says=[930], hears=[610])
    for by_one, other_hz in zip(heard, (610, 930), strict=True):
        assert {1400, other_hz} in loudest(by_one())
        assert by_one().tones()[-1] == other_hz and by_one().silence_ms() <= 200


def loudest(channel):
    """The two loudest frequencies of each tenth of a second."""
    size = channel.rate_hz // 10
    spectra = np.abs(np.fft.rfft(channel.samples[:len(channel.samples) // size * size].reshape(-1, size).astype(float)))
    return [{int(at) * 10 for at in np.argsort(frame)[-2:]} for frame in spectra]


def test_a_server_is_told_what_becomes_of_a_recording(lab, switch, alice, bob):
    said = []

    def take(environ, start_response):
        said.append((environ["HTTP_IDEMPOTENCY_KEY"], json.loads(environ["wsgi.input"].read())))
        start_response("204 No Content", [])
        return []

    server = WSGIServer(("127.0.0.1", 0), take, log=None)
    server.start()
    try:
        lab.obey(record(lab, status_callback=f"http://127.0.0.1:{server.server_port}/told"))
        call, called, _ = in_talk(switch, alice, bob)
        ended(call, called, 1000)
        recording = lab.recordings()["acme caller.outbound A 1000"]
        until(lambda: len(said) == 2)
    finally:
        server.stop(timeout=1)
    told = {body["status"]: body for _, body in said}
    assert set(told) == {"in-progress", "completed"}
    assert {key for key, _ in said} == {f"{recording.row['id']}.{status}" for status in told}
    assert told["completed"]["sha256"] == recording.row["sha256"] and told["in-progress"]["sha256"] is None
