"""Transfers, pick-up and hold, by phones that ask for them: whose recording ends, goes on, and begins."""

from itertools import groupby

import pytest
from pytest import approx

from kazoo_rec.errors import WrongState
from tests.freeswitch.product import until
from tests.freeswitch.talk import until_hushed

ALICE, BOB, CAROL = 930, 610, 730
TONE_HZ = {"1000": ALICE, "1001": BOB, "1002": CAROL}

#: What is said while a recording is masked; the second, where two are, one after the other.
SECRET, ANOTHER_SECRET = 1500, 1900

PART_MS = 1000

#: What a phone has said may reach the switch so much later, on a machine that has other work: a phone waits this much,
#: at least, between the end of a secret and the order that ends the mask.
WAY_MS = 200

#: A file may differ so much from the talk that its phone saw, in ms. An order holds up the phones, which share its
#: process, for some 100 ms: the switch fills in, and takes what comes late as well.
FILE_MS = 300

#: A phone has the answer to its hold, or to the end of it, so much later than the switch obeys.
RENEWAL_MS = 400

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


def mask_a_secret(lab, leg, *calls, hz=SECRET):
    """Has all of them say a secret while the recordings of a leg are masked, from the answer to one order to the
    other order."""
    assert {one["masked"] for one in lab.order(leg, "mask") if one["state"] == "recording"} == {True}
    tones = [call.tone_hz for call in calls]
    for call in calls:
        call.say(hz)
    calls[0].speak(PART_MS)
    for call, tone_hz in zip(calls, tones, strict=True):
        call.say(tone_hz)
    until_hushed(calls[0], hz, WAY_MS)
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
    return [hz for hz, _ in groupby(hz for hz in channel.tones() if hz in TONE_HZ.values())]


def assert_whole(recording, call, hears, secret=SECRET):
    """All that the phone of `call` said and heard, less what its row says; nothing of what was said in secret."""
    wav = recording.wav()
    assert not recording.row["partial"], recording.row["state_reason"]
    assert wav.length_ms == approx(call.talk_ms - held_ms(recording), abs=FILE_MS)
    assert (set(phones_in(wav.left)), phones_in(wav.right)) == ({call.tone_hz}, hears)
    assert wav.left.level(secret) == wav.right.level(secret) == 0


def held_ms(recording):
    return sum(span["to_ms"] - span["from_ms"] for span in recording.row["spans"] if span["kind"] == "hold")


def assert_masked(recording):
    """As long as its row says, its file has silence."""
    (span,) = (span for span in recording.row["spans"] if span["kind"] == "mask")
    assert span["to_ms"] - span["from_ms"] >= PART_MS
    wav, lies_ms = recording.wav(), span["from_ms"] - recording.row["started_ms"] - held_ms(recording)  # held before
    until_ms = lies_ms + span["to_ms"] - span["from_ms"]
    for channel in (wav.left, wav.right):
        cut = channel.samples[(lies_ms + FILE_MS) * channel.rate_hz // 1000:
                              (until_ms - FILE_MS) * channel.rate_hz // 1000]
        assert len(cut) and not cut.any()


def assert_new(recording, length_ms, call, other):
    """Of a leg that nobody masked: what was said in secret is in it."""
    wav = recording.wav()
    assert wav.length_ms == approx(length_ms, abs=FILE_MS) and not recording.row["partial"]
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
    (its,) = found["1002"]
    assert_new(its, third.talk_ms, third, stay)
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
    mask_a_secret(lab, leg, stay, third, hz=ANOTHER_SECRET)
    stay.hear(PART_MS)
    stay.hang_up()
    third.ended()

    found = by_phone(lab)
    assert set(found) == {"1000", "1001", "1002"}
    first, second = found[goes]
    assert_whole(first, gone, hears=[stay.tone_hz])
    assert_whole(second, consulting, hears=[CAROL])
    for recording, call, hears, masked, said in (
            (found[stays][0], stay, [gone.tone_hz, CAROL], SECRET, ANOTHER_SECRET),
            (found["1002"][0], third, [gone.tone_hz, stay.tone_hz], ANOTHER_SECRET, SECRET)):
        assert_whole(recording, call, hears, secret=masked)
        assert recording.wav().left.level(said) and recording.wav().right.level(said)
        assert_masked(recording)


def test_an_attended_transfer_by_the_switch_s_own_application_is_no_other(lab, switch, alice, bob, carol):
    # With recordings that are to follow it, FreeSWITCH 1.10.12 itself ends one call or another here, whoever records.
    everybody_is_recorded(lab)
    talk = Talk(lab, alice, bob)
    assert switch.api(f"uuid_broadcast {talk.leg['1001']} att_xfer::user/1002@acme.example aleg").startswith("+OK")
    third = carol.rings().ring().answer()
    third.hear(PART_MS)
    talk.bob.hang_up()
    talk.alice.hear(PART_MS)
    mask_a_secret(lab, talk.leg["1000"], talk.alice, third)
    talk.alice.hear(PART_MS)
    talk.alice.hang_up()
    third.ended()

    found = by_phone(lab)
    assert_whole(found["1000"][0], talk.alice, hears=[BOB, CAROL])
    assert_masked(found["1000"][0])
    assert phones_in(found["1001"][0].wav().right) == [ALICE, CAROL]
    assert found["1001"][0].wav().length_ms == approx(talk.bob.talk_ms, abs=FILE_MS)
    assert phones_in(found["1002"][0].wav().left) == [CAROL]


@pytest.mark.parametrize("way", ["busy", "hung up"])
@pytest.mark.parametrize("prefix", ["", "*3"], ids=["not set", "exported"])
def test_a_failed_attended_transfer_changes_nothing(lab, prefix, way, alice, bob, carol):
    everybody_is_recorded(lab)
    talk = Talk(lab, alice, bob, prefix)
    talk.bob.hold()
    consulting = bob.call("1002")
    third = carol.rings().ring()
    if way == "busy":
        third.reject(486, "Busy Here")
        consulting.ended()
    else:
        third.answer()
        consulting.answered().hear(PART_MS)
        third.hang_up()
        consulting.ended()
        assert talk.bob.refer_to(consulting) >= 400
    talk.bob.unhold()
    talk.bob.hear(PART_MS)
    for leg, secret in ((talk.leg["1000"], SECRET), (talk.leg["1001"], ANOTHER_SECRET)):
        mask_a_secret(lab, leg, talk.alice, talk.bob, hz=secret)
    talk.alice.hear(PART_MS)
    talk.alice.hang_up()
    talk.bob.ended()

    found = by_phone(lab)
    (alices,), (bobs, *_) = found["1000"], found["1001"]
    assert_whole(alices, talk.alice, hears=[BOB])
    assert_whole(bobs, talk.bob, hears=[ALICE], secret=ANOTHER_SECRET)
    for one in (alices, bobs):
        assert_masked(one)
    # Bob's second is of his own call to Carol, where she answered.
    assert {number: len(of) for number, of in found.items()} == {
        "1000": 1, **({"1001": 1} if way == "busy" else {"1001": 2, "1002": 1})}


@pytest.mark.parametrize("way", ["uuid_bridge", "intercept"])
def test_the_recording_of_who_is_picked_up_begins_at_the_bridge(lab, switch, way, alice, bob, carol):
    everybody_is_recorded(lab)
    call = alice.call("1001")
    called = bob.rings().ring()
    leg = until(lambda: [row["call_id"] for row in lab.rows() if row["device_id"] == "dev-acme-1000"])[0]
    if way == "intercept":
        switch.api(f"global_setvar kazoo_rec_picked_up={leg}")
        third = carol.call("3800").answered()
    else:
        third = carol.call("7000").answered()
        assert switch.api(f"uuid_bridge {leg} {leg_of(lab, '1002')}").startswith("+OK")
    call.answered()
    called.ended()
    call.hear(PART_MS)
    mask_a_secret(lab, leg, call, third)
    call.hear(PART_MS)
    call.hang_up()
    third.ended()

    found = by_phone(lab)
    assert_whole(found["1000"][0], call, hears=[CAROL])
    assert_masked(found["1000"][0])
    # Who picks up is called from then on; what was recorded of Carol's waiting, where she did, goes on besides.
    assert_new(found["1002"][-1], call.talk_ms, third, call)
    assert len(found["1002"]) == (2 if way == "uuid_bridge" else 1)
    assert set(found) == {"1000", "1002"}
    assert {row["state"] for row in lab.rows() if row["device_id"] == "dev-acme-1001"} == {"discarded"}


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_hold_is_a_span_of_who_holds_and_nothing_to_the_other(lab, who, alice, bob):
    everybody_is_recorded(lab)
    talk = Talk(lab, alice, bob)
    holds, other = (talk.alice, talk.bob) if who == "caller" else (talk.bob, talk.alice)
    holds.hold()
    other.hear(PART_MS)
    holds.unhold()
    holds.hear(PART_MS)
    talk.alice.hang_up()
    talk.bob.ended()

    found = by_phone(lab)
    (own,), (others,) = (found[number] for number in (("1000", "1001") if who == "caller" else ("1001", "1000")))
    assert_whole(own, holds, hears=[other.tone_hz])
    assert_whole(others, other, hears=[holds.tone_hz])
    (span,) = own.row["spans"]
    assert span["kind"] == "hold" and span["to_ms"] - span["from_ms"] == approx(holds.held_ms, abs=RENEWAL_MS)
    assert others.row["spans"] == []


@pytest.mark.parametrize("way", ["REFER by the caller", "API -bleg"])
def test_what_others_say_after_a_transfer_that_no_engine_heard_of_is_not_in_the_recording_of_who_went(
        lab, switch, kill, way, alice, bob, carol):
    everybody_is_recorded(lab)
    talk = Talk(lab, alice, bob, "*3")
    kill()
    transfer(way, switch, talk)
    third = carol.rings().ring().answer()
    talk.alice.ended()
    talk.bob.hear(PART_MS)
    lab.run()
    leg_of(lab, "1002")
    talk.bob.hear(PART_MS)
    talk.bob.hang_up()
    third.ended()

    found = by_phone(lab)
    (went,) = found["1000"]
    wav = went.wav()
    # The switch tells of transfers by the second.
    assert talk.alice.talk_ms - 1000 - FILE_MS <= wav.length_ms <= talk.alice.talk_ms + FILE_MS
    assert (phones_in(wav.left), phones_in(wav.right)) == ([ALICE], [BOB])
    assert phones_in(found["1001"][0].wav().right) == [ALICE, CAROL]


def test_an_order_about_a_recording_that_has_just_moved_is_refused_or_holds(lab, switch, alice, bob, carol):
    """Alice's leg goes on without Bob, whom her recording follows: the switch says yes to a mask of it, for nothing."""
    everybody_is_recorded(lab)
    talk = Talk(lab, alice, bob, "*3")
    leg = talk.leg["1000"]
    for name, value in (("hangup_after_bridge", "false"), ("transfer_after_bridge", "9196:XML:acme.example")):
        switch.api(f"uuid_setvar {leg} {name} {value}")
    switch.api(f"uuid_transfer {leg} -bleg 1002 XML acme.example")
    until(lambda: _masked(lab, leg))
    talk.alice.say(SECRET)
    third = carol.rings().ring().answer()
    talk.alice.hear(PART_MS)
    talk.alice.say(ALICE)
    until_hushed(talk.alice, SECRET, WAY_MS)
    lab.order(leg, "unmask")
    talk.alice.hear(PART_MS)
    talk.alice.hang_up()
    talk.bob.hang_up()
    third.ended()

    first, *others = by_phone(lab)["1000"]
    assert phones_in(first.wav().left) == [ALICE] and others
    for one in (first, *others):
        assert one.wav().left.level(SECRET) == one.wav().right.level(SECRET) == 0


def _masked(lab, leg):
    try:
        told = lab.order(leg, "mask")
    except WrongState:  # nothing of it was masked
        return False
    return any(one["masked"] for one in told)
