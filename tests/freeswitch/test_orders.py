"""Orders in mid-call: what of the talk is in the file afterwards."""

from pytest import approx

from tests.freeswitch.talk import LENGTH_MS, assert_whole, states

#: The order and the phones' audio go their own ways; a mask is where the row says it is, give or take so much.
EDGE_MS = 200

PART_MS = 1500


def begun(lab, switch, alice, bob):
    """A talk of Alice and Bob, PART_MS old; its first leg."""
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().hear(PART_MS)
    return call, called, switch.legs(2)[0]["uuid"]


def parts(channel, *lengths_ms):
    """The tones of each of a channel's parts, their edges left out."""
    at_ms = 0
    for length_ms in lengths_ms:
        first, last = at_ms + EDGE_MS, at_ms + length_ms - EDGE_MS
        cut = channel.samples[first * channel.rate_hz // 1000:last * channel.rate_hz // 1000]
        part = type(channel)(cut, channel.rate_hz)
        yield part.tones(), part.silence_ms()
        at_ms += length_ms


def test_a_masked_part_is_silent_and_the_talk_before_and_after_is_there(lab, switch, alice, bob):
    lab.obey({"acme/users/usr-acme-1000": {"outbound": {"onnet": lab.record()}}})
    call, called, leg = begun(lab, switch, alice, bob)
    assert [one["masked"] for one in lab.order(leg, "mask")] == [True]
    assert [one["masked"] for one in lab.order(leg, "mask")] == [True]
    call.hear(PART_MS)
    assert [one["masked"] for one in lab.order(leg, "unmask")] == [False]
    call.hear(PART_MS)
    call.hang_up()
    called.ended()

    recording = lab.recordings()["acme caller.outbound A 1000"]
    (span,) = recording.row["spans"]
    before_ms, masked_ms = span["from_ms"] - recording.row["started_ms"], span["to_ms"] - span["from_ms"]
    assert span["kind"] == "mask" and masked_ms >= PART_MS - EDGE_MS and not recording.row["partial"]
    wav = recording.wav()
    assert wav.length_ms == approx(call.talk_ms, abs=LENGTH_MS)
    after_ms = int(wav.length_ms) - before_ms - masked_ms
    for channel, tone in ((wav.left, 930), (wav.right, 610)):
        before, masked, after = parts(channel, before_ms, masked_ms, after_ms)
        assert before == ([tone], 0) and after == ([tone], 0)
        assert masked[0] == [] and not channel.samples[
            (before_ms + EDGE_MS) * channel.rate_hz // 1000:(before_ms + masked_ms - EDGE_MS) * channel.rate_hz // 1000
        ].any()


def test_a_pause_is_cut_out_and_the_file_is_not_called_partial(lab, switch, alice, bob):
    lab.obey({"acme/users/usr-acme-1000": {"outbound": {"onnet": lab.record()}}})
    call, called, leg = begun(lab, switch, alice, bob)
    assert [one["state"] for one in lab.order(leg, "pause")] == ["paused"]
    call.hear(PART_MS)
    assert [one["state"] for one in lab.order(leg, "resume")] == ["recording"]
    call.hear(PART_MS)
    call.hang_up()
    called.ended()

    recording = lab.recordings()["acme caller.outbound A 1000"]
    (span,) = recording.row["spans"]
    assert span["kind"] == "pause" and span["to_ms"] - span["from_ms"] >= PART_MS - EDGE_MS
    assert_whole(recording, call.talk_ms - (span["to_ms"] - span["from_ms"]), says=[930], hears=[610])
    assert recording.row["expected_ms"] == approx(recording.row["duration_ms"], abs=LENGTH_MS)


def test_a_recording_begins_and_ends_by_order(lab, switch, alice, bob):
    lab.obey({})
    call, called, leg = begun(lab, switch, alice, bob)
    (one,) = lab.order(leg, "start", **lab.record())
    assert one["state"] == "recording" and one["rule"] == "api"
    call.hear(PART_MS)
    (one,) = lab.order(leg, "stop")
    assert one["state"] == "stopped" and not lab.recorded_by_the_switch(leg)
    call.hear(PART_MS)
    call.hang_up()
    called.ended()

    found = lab.recordings()
    assert states(found) == {"acme api A 1000": "recorded"}
    recording = found["acme api A 1000"]
    length_ms = recording.row["stopped_ms"] - recording.row["started_ms"]
    assert PART_MS - EDGE_MS <= length_ms < PART_MS + 1000
    assert_whole(recording, length_ms, says=[930], hears=[610])
