"""Transfers, pick-up and hold, by phones that ask for them: whose recording ends, goes on, and begins."""

import pytest
from pytest import approx

from tests.freeswitch.product import until
from tests.freeswitch.talk import LATE_MS, LENGTH_MS

ALICE, BOB, CAROL = 930, 610, 730
TONE_HZ = {"1000": ALICE, "1001": BOB, "1002": CAROL}

#: What is said while a recording is masked.
SECRET = 1500

PART_MS = 1000

#: What a phone sends and what it is told go their own ways. What it said so long before an order may reach the switch
#: behind it; a phone waits this much between the end of a secret and the order that ends the mask.
WAY_MS = 100

FOLLOWS = ("recording_follow_transfer", "recording_follow_attxfer")


@pytest.fixture(params=["not set", "of the leg", "exported", "global"])
def prefix(request, lab, switch):
    """What is dialled before a number; the dialplan wants recordings to follow transfers, one way or another."""
    everybody_is_recorded(lab)
    for name in FOLLOWS if request.param == "global" else ():
        switch.api(f"global_setvar {name}=true")
    yield {"exported": "*3", "of the leg": "*7"}.get(request.param, "")
    for name in FOLLOWS:
        switch.api(f"global_setvar {name}=")


def everybody_is_recorded(lab):
    lab.obey({"acme/account": {"endpoint": {"any": {"onnet": lab.record()}}}})


class Talk:
    """Alice has called Bob, and they have talked for PART_MS; each is recorded."""

    def __init__(self, lab, alice, bob, prefix=""):
        self._lab = lab
        self.alice = alice.call(f"{prefix}1001")
        self.bob = bob.rings().ring().answer()
        self.alice.answered().hear(PART_MS)
        self.leg = {number: leg_of(lab, number) for number in ("1000", "1001")}


def leg_of(lab, number):
    """Of the phone whose recording begins, or has begun, the uuid of its leg."""
    def found():
        return [row["call_id"] for row in lab.rows() if (row["device_id"] or "").endswith(number)
                and row["state"] == "recording"]
    return until(found)[-1]


def mask_a_secret(lab, leg, *calls):
    """Has all of them say a secret while the recordings of a leg are masked, from the answer to one order to the
    other order."""
    assert {one["masked"] for one in lab.order(leg, "mask") if one["state"] == "recording"} == {True}
    tones = [call.tone_hz for call in calls]
    for call in calls:
        call.say(SECRET)
    calls[0].speak(PART_MS)
    for call, tone_hz in zip(calls, tones, strict=True):
        call.say(tone_hz)
    calls[0].speak(WAY_MS)
    assert {one["masked"] for one in lab.order(leg, "unmask")} == {False}


def by_phone(lab):
    """{number: its recordings that were delivered, the oldest first}"""
    found = {}
    for one in lab.finished():
        if one.state == "recorded":
            found.setdefault((one.row["device_id"] or "").rpartition("-")[2], []).append(one)
    return found


def phones_in(channel):
    """The phones' tones in their order; the switch's own are left out."""
    return [hz for hz in channel.tones() if hz in TONE_HZ.values()]


def assert_whole(recording, call, hears, without_ms=0):
    """All that the phone of `call` said and heard; nothing of what was said in secret."""
    wav = recording.wav()
    assert not recording.row["partial"], recording.row["state_reason"]
    assert wav.length_ms == approx(call.talk_ms - without_ms, abs=LATE_MS)
    assert (set(phones_in(wav.left)), phones_in(wav.right)) == ({call.tone_hz}, hears)
    assert wav.left.level(SECRET) == wav.right.level(SECRET) == 0


def assert_masked(recording):
    """As long as its row says, its file has silence."""
    (span,) = (span for span in recording.row["spans"] if span["kind"] == "mask")
    assert span["to_ms"] - span["from_ms"] >= PART_MS
    wav, lies_ms = recording.wav(), span["from_ms"] - recording.row["started_ms"]
    until_ms = lies_ms + span["to_ms"] - span["from_ms"]
    for channel in (wav.left, wav.right):
        cut = channel.samples[(lies_ms + LATE_MS) * channel.rate_hz // 1000:
                              (until_ms - LATE_MS) * channel.rate_hz // 1000]
        assert len(cut) and not cut.any()


def assert_new(recordings, call, other):
    """One recording from the answer on, of a leg that nobody masked: what was said in secret is in it."""
    (recording,) = recordings
    wav = recording.wav()
    assert wav.length_ms == approx(call.talk_ms, abs=LATE_MS) and not recording.row["partial"]
    assert (phones_in(wav.left)[0], phones_in(wav.right)[0]) == (call.tone_hz, other.tone_hz)
    assert wav.left.level(SECRET) and wav.right.level(SECRET)


def transfer(way, switch, talk, to="1002"):
    """(who stays, who goes): their numbers."""
    if way == "REFER by the callee":
        assert talk.bob.refer(to) in (0, 200)
        return "1000", "1001"
    if way == "REFER by the caller":
        assert talk.alice.refer(to) in (0, 200)
        return "1001", "1000"
    leg = "" if way == "API" else "-bleg "
    assert switch.api(f"uuid_transfer {talk.leg['1000']} {leg}{to} XML acme.example").startswith("+OK")
    return ("1000", "1001") if way == "API" else ("1001", "1000")


@pytest.mark.parametrize("way", ["REFER by the callee", "REFER by the caller", "API", "API -bleg"])
def test_a_blind_transfer_ends_the_recording_of_who_goes_and_the_other_goes_on_and_obeys(
        lab, switch, prefix, way, alice, bob, carol):
    talk = Talk(lab, alice, bob, prefix)
    stays, goes = transfer(way, switch, talk)
    stay, gone = (talk.alice, talk.bob) if stays == "1000" else (talk.bob, talk.alice)
    third = carol.rings().ring().answer()
    stay.hear(PART_MS)
    gone.ended()
    mask_a_secret(lab, talk.leg[stays], stay, third)
    stay.hear(PART_MS)
    stay.hang_up()
    third.ended()

    found = by_phone(lab)
    assert set(found) == {"1000", "1001", "1002"}
    assert_whole(found[goes][0], gone, hears=[stay.tone_hz])
    assert_whole(found[stays][0], stay, hears=[gone.tone_hz, CAROL])
    assert_masked(found[stays][0])
    assert_new(found["1002"], third, stay)
    assert len(found[goes]) == 1


@pytest.mark.parametrize("code", [486, 480, 0], ids=["busy", "not there", "no such number"])
@pytest.mark.parametrize("way", ["REFER by the callee", "REFER by the caller", "API"])
def test_who_a_failed_blind_transfer_leaves_has_been_recorded_to_the_end(lab, switch, way, code, alice, bob, carol):
    everybody_is_recorded(lab)
    talk = Talk(lab, alice, bob)
    stays, goes = transfer(way, switch, talk, "1002" if code else "1777")
    stay, gone = (talk.alice, talk.bob) if stays == "1000" else (talk.bob, talk.alice)
    if code:
        carol.rings().ring().reject(code, "No")
    gone.ended()
    stay.ended()

    found = by_phone(lab)
    assert set(found) == {"1000", "1001"}
    assert_whole(found[goes][0], gone, hears=[stay.tone_hz])
    assert_whole(found[stays][0], stay, hears=[gone.tone_hz])


@pytest.mark.parametrize("who", ["callee", "caller"])
def test_an_attended_transfer_ends_both_recordings_of_who_transfers_and_the_others_go_on_and_obey(
        lab, prefix, who, alice, bob, carol):
    talk = Talk(lab, alice, bob, prefix)
    stay, gone, goes, phone = ((talk.alice, talk.bob, "1001", bob) if who == "callee" else
                               (talk.bob, talk.alice, "1000", alice))
    stays = "1000" if who == "callee" else "1001"
    gone.hold()
    consulting = phone.call("1002")
    third = carol.rings().ring().answer()
    consulting.answered().hear(PART_MS)
    leg = leg_of(lab, "1002")
    assert gone.refer_to(consulting) in (0, 200)
    gone.ended()
    consulting.ended()
    stay.hear(PART_MS)
    mask_a_secret(lab, talk.leg[stays], stay, third)
    stay.hear(PART_MS)
    mask_a_secret(lab, leg, stay, third)
    stay.hear(PART_MS)
    stay.hang_up()
    third.ended()

    found = by_phone(lab)
    assert set(found) == {"1000", "1001", "1002"}
    first, second = found[goes]
    held_ms = sum(span["to_ms"] - span["from_ms"] for span in first.row["spans"] if span["kind"] == "hold")
    assert_whole(first, gone, hears=[stay.tone_hz], without_ms=held_ms)
    assert_whole(second, consulting, hears=[CAROL])
    for recording, call, hears in ((found[stays][0], stay, [gone.tone_hz, CAROL]),
                                   (found["1002"][0], third, [gone.tone_hz, stay.tone_hz])):
        assert recording.wav().length_ms == approx(call.talk_ms, abs=LATE_MS)
        assert phones_in(recording.wav().right) == hears
        assert_masked(recording)
