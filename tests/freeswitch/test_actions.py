"""Any dialplan records with one line: the application `event`; and a recording that follows a transfer."""

import pytest
from pytest import approx

from tests.freeswitch.product import until
from tests.freeswitch.talk import LATE_MS, LENGTH_MS, assert_whole, states, talk

PART_MS = 1500


@pytest.fixture
def url(lab, switch):
    lab.obey({})
    switch.api(f"global_setvar kazoo_rec_url={lab.receiver.url}")
    yield lab.receiver.url
    switch.api("global_setvar kazoo_rec_url=")


def test_a_dialplan_starts_masks_and_stops_a_recording(lab, url, switch, alice):
    call = alice.call("7003").answered()
    until(lambda: lab.rows() and lab.rows()[0]["state"] in ("stopped", "recorded"))
    call.hear(500)
    call.hang_up()

    found = lab.recordings()
    assert states(found) == {"acme event A 1000": "recorded"}
    recording = found["acme event A 1000"]
    row, (span,) = recording.row, recording.row["spans"]
    assert (row["origin"], row["label"]) == ("event : all", "all")
    assert span["kind"] == "mask" and span["to_ms"] - span["from_ms"] == approx(PART_MS, abs=LATE_MS)
    assert row["duration_ms"] == approx(3 * PART_MS, abs=LATE_MS) and not row["partial"]
    wav = recording.wav()
    masked = wav.left.samples[int(PART_MS * 1.2) * wav.left.rate_hz // 1000:
                              int(PART_MS * 1.8) * wav.left.rate_hz // 1000]
    assert not masked.any() and wav.left.samples.any() and wav.right.tones() == [610]


def test_a_leg_that_rings_is_armed_and_recorded_from_its_answer(lab, url, alice, bob):
    call = alice.call("7004")
    called = bob.rings().ring(1000).answer()
    talk(call, called)
    found = lab.recordings()
    assert states(found) == {"acme event A 1000": "recorded"}
    assert_whole(found["acme event A 1000"], call.talk_ms, says=[930], hears=[610])


def test_a_leg_that_a_transfer_leaves_is_recorded_anew(lab, url, switch, alice, bob, carol):
    call = alice.call("7004")
    called = bob.rings().ring().answer()
    call.answered().hear(PART_MS)
    first, second = (leg["uuid"] for leg in switch.legs(2))
    switch.api(f"uuid_transfer {first} -bleg 1002 XML acme.example")
    carol.rings().ring().answer()
    called.hear(PART_MS)
    called.hang_up()

    found = lab.recordings()
    assert states(found) == {"acme event A 1000": "recorded", "acme event B 1001": "recorded"}
    anew = found["acme event B 1001"]
    assert anew.row["call_id"] == second and anew.row["interaction_id"] == first
    assert anew.row["duration_ms"] == approx(PART_MS, abs=2 * LATE_MS)
    assert anew.wav().right.tones() == [730] and anew.wav().left.tones() == [610]
    assert found["acme event A 1000"].row["duration_ms"] > LENGTH_MS
