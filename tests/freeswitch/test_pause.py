"""Nothing that is said while a recording is masked or paused is in its file: two talk, one talks to nobody, in a
conference, after hold and transfer, over the end of an engine and of its connection."""

from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile
from pytest import approx

from kazoo_rec.errors import CommandTimeout, NotConnected
from tests.freeswitch.product import until
from tests.freeswitch.sound import Channel
from tests.freeswitch.talk import until_hushed

#: What is said while a recording is silent; none of the phones' tones, nor of the switch's.
SECRET = 1500

PART_MS = 1000

#: What a phone has said may reach the switch so much later, on a machine that has other work: a phone waits this much,
#: at least, between the end of a secret and the order that ends the silence. What the switch itself keeps back by
#: default is 460 ms.
WAY_MS = 200

#: A file may differ so much from the talk that its phone saw, in ms. An order holds up the phones, which share its
#: process, for some 100 ms: the switch fills in, and takes what comes late as well.
FILE_MS = 300

#: And so much of a long talk, in which an engine begins.
HELD_UP = 0.03

#: A silence that was not confirmed is said again every second; two, and a tick.
TOLD_WITHIN_MS = 2500

SILENCES = {"mask": "unmask", "pause": "resume"}

pytestmark = pytest.mark.parametrize("begin", SILENCES)


def record(product, *others, **settings):
    """Alice is recorded, whomever she calls, and nobody else by anybody."""
    for other in others:
        other.obey({})
    product.obey({"acme/users/usr-acme-1000": {"any": {"onnet": product.record(**settings)}}})


def leg_of(product):
    return until(lambda: [row["call_id"] for row in product.rows() if row["state"] == "recording"])[0]


def talk(alice, bob):
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().hear(PART_MS)
    return call, called


@contextmanager
def silence(product, leg, begin, *calls):
    """A secret is said from the yes to one order to shortly before the other order; and during what the test does."""
    (one,) = product.order(leg, begin)
    assert one["masked"] if begin == "mask" else one["state"] == "paused"
    for call in calls:
        call.say(SECRET)
    calls[0].speak(PART_MS)
    yield
    calls[0].speak(PART_MS)
    for call in calls:
        call.say(call.tone_hz)
    until_hushed(calls[0], SECRET, WAY_MS)
    (one,) = product.order(leg, SILENCES[begin])
    assert one["state"] == "recording" and not one["masked"]


def only(product):
    (recording,) = product.finished()
    assert recording.state == "recorded"
    return recording


def assert_silent(recording, call, begin, says=930, hears=(610,)):
    """Before and after the one silence there is talk; in it there is nothing."""
    row, wav = recording.row, recording.wav()
    (span,) = (span for span in row["spans"] if span["kind"] in SILENCES)
    held_ms = sum(one["to_ms"] - one["from_ms"] for one in row["spans"] if one["kind"] == "hold")
    silent_ms = span["to_ms"] - span["from_ms"]
    assert span["kind"] == begin and silent_ms >= 2 * PART_MS
    assert wav.left.level(SECRET) == wav.right.level(SECRET) == 0
    length_ms = call.talk_ms - held_ms - (silent_ms if begin == "pause" else 0)
    held_up_ms = max(FILE_MS, HELD_UP * call.talk_ms)
    assert wav.length_ms == approx(length_ms, abs=held_up_ms)
    assert wav.left.has_ms(says) == approx(call.talk_ms - held_ms - silent_ms, abs=held_up_ms)
    assert [hz for hz in dict.fromkeys(wav.right.tones()) if hz in (610, 730)] == list(hears)


def test_two_talk(lab, begin, alice, bob):
    record(lab)
    call, called = talk(alice, bob)
    with silence(lab, leg_of(lab), begin, call, called):
        pass
    call.hear(PART_MS)
    call.hang_up()
    called.ended()
    assert_silent(only(lab), call, begin)


def test_nobody_writes_to_the_leg(lab, switch, begin, alice, tmp_path):
    record(lab)
    call = alice.call("7000").answered()
    leg = leg_of(lab)
    # Beside ours one as the switch makes it by itself, silent at the same time: what is said to be heard there, is.
    theirs = Path(switch.api("global_getvar recordings_dir")) / f"{leg}.wav"
    assert switch.api(f"uuid_record {leg} start {theirs}").startswith("+OK")
    call.speak(PART_MS)
    assert switch.api(f"uuid_record {leg} mask {theirs}").startswith("+OK")
    with silence(lab, leg, begin, call):
        pass
    assert switch.api(f"uuid_record {leg} unmask {theirs}").startswith("+OK")
    call.speak(PART_MS)
    call.hang_up()

    assert_silent(only(lab), call, begin, hears=())
    samples, rate_hz = soundfile.read(theirs, dtype="int16")
    theirs.unlink()
    assert Channel(samples, rate_hz).level(SECRET) > 0


def test_in_a_conference(lab, begin, alice, bob):
    record(lab)
    call = alice.call("3500").answered()
    other = bob.call("3500").answered()
    call.hear(PART_MS)
    with silence(lab, leg_of(lab), begin, call, other):
        pass
    call.hear(PART_MS)
    call.hang_up()
    other.hang_up()
    assert_silent(only(lab), call, begin)


@pytest.mark.parametrize("who", ["the recorded leg", "its partner"])
def test_after_hold_and_over_one(lab, begin, who, alice, bob):
    record(lab)
    call, called = talk(alice, bob)
    holds, other = (call, called) if who == "the recorded leg" else (called, call)
    holds.hold()
    other.hear(PART_MS)
    holds.unhold()
    with silence(lab, leg_of(lab), begin, call, called):
        holds.hold()
        other.speak(PART_MS)
        holds.unhold()
    call.hear(PART_MS)
    call.hang_up()
    called.ended()
    recording = only(lab)
    wav = recording.wav()
    assert wav.left.level(SECRET) == wav.right.level(SECRET) == 0
    assert 610 in wav.right.tones() and wav.left.tones() == [930]
    assert [span["kind"] for span in recording.row["spans"]].count("hold") == (2 if holds is call else 0)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_transfer(lab, begin, when, alice, bob, carol):
    record(lab)
    call, called = talk(alice, bob)
    leg = leg_of(lab)
    if when == "before":
        called.refer("1002")
        third = carol.rings().ring().answer()
        call.hear(PART_MS)
        with silence(lab, leg, begin, call, third):
            pass
    else:
        with silence(lab, leg, begin, call, called):
            called.refer("1002")
            third = carol.rings().ring().answer()
            third.say(SECRET)
            third.speak(PART_MS)
            third.say(730)
    call.hear(PART_MS)
    call.hang_up()
    third.ended()
    assert_silent(only(lab), call, begin, hears=(610, 730))


def test_the_engine_is_killed_and_comes_back(lab, kill, begin, alice, bob):
    record(lab)
    call, called = talk(alice, bob)
    with silence(lab, leg_of(lab), begin, call, called):
        kill()
        call.speak(PART_MS)
        since = lab.log_size()
        lab.run()
        lab.until_logged("recording taken up again", since)
    call.hear(PART_MS)
    call.hang_up()
    called.ended()
    assert_silent(only(lab), call, begin)


def test_the_connection_is_cut_and_mended(lab, apart, wire, begin, alice, bob):
    record(apart, lab)
    call, called = talk(alice, bob)
    with silence(apart, leg_of(apart), begin, call, called):
        since = apart.log_size()
        wire.cut()
        apart.until_logged("switch lost", since)
        call.speak(PART_MS)
        wire.mend()
        apart.until_logged("switch connected", since)
    call.hear(PART_MS)
    call.hang_up()
    called.ended()
    assert_silent(only(apart), call, begin)


@pytest.mark.parametrize("how", ["cut", "stalls"])
def test_what_the_switch_does_not_confirm_is_said_at_once_and_is_silent_as_soon_as_it_can_be_told(
        lab, apart, wire, begin, how, alice, bob):
    record(apart, lab)
    call, called = talk(alice, bob)
    leg, since = leg_of(apart), apart.log_size()
    if how == "cut":
        wire.cut()
        apart.until_logged("switch lost", since)
    else:
        wire.stall()
    with pytest.raises((NotConnected, CommandTimeout)):
        apart.order(leg, begin)
    wire.mend()
    if how == "cut":
        apart.until_logged("switch connected", since)
    call.speak(TOLD_WITHIN_MS)
    for one in (call, called):
        one.say(SECRET)
    call.speak(PART_MS)
    for one in (call, called):
        one.say(one.tone_hz)
    until_hushed(call, SECRET, WAY_MS)
    apart.order(leg, SILENCES[begin])
    call.hear(PART_MS)
    call.hang_up()
    called.ended()

    recording = only(apart)
    (span,) = recording.row["spans"]  # from the order on, as the row is what counts
    assert span["kind"] == begin and span["to_ms"] - span["from_ms"] >= TOLD_WITHIN_MS + PART_MS
    assert recording.wav().left.level(SECRET) == recording.wav().right.level(SECRET) == 0
