"""A phone that stops sending: the file is as long as the talk, and only the packets that came tell."""

import pytest

from .fakes import Scene

DOCUMENTS = [("account", "acme", "acme", {"realm": "acme.example", "call_recording": {
                 "account": {"any": {"any": {"enabled": True}}}}}),
             ("device", "acme", "dev-1000", {"sip": {"username": "1000"}})]

TALK_MS = 60_000


@pytest.fixture
def scene():
    return Scene(DOCUMENTS).phone_calls("a", "1000").answer("a").after(TALK_MS)


def packets(ms, **more):
    return {"rtp_audio_in_packet_count": str(ms // 20), "rtp_use_codec_ptime": "20",
            "rtp_audio_in_cng_packet_count": "0", **more}


def test_what_a_phone_did_not_send_is_a_span_of_the_row(scene):
    scene.hang_up("a", **packets(40_000))
    row = scene.row()
    assert (row["state"], row["expected_ms"]) == ("stopped", TALK_MS)
    assert row["spans"] == [{"kind": "silent", "from_ms": row["started_ms"], "to_ms": row["stopped_ms"],
                             "sent_ms": 40_000, "of_ms": TALK_MS}]


@pytest.mark.parametrize("said", [
    packets(TALK_MS), packets(TALK_MS + 5000), packets(TALK_MS - 1000), packets(TALK_MS - 1200), {},
    packets(0, rtp_audio_in_packet_count="many"), packets(0, rtp_use_codec_ptime="0"),
    packets(30_000, rtp_audio_in_cng_packet_count="12")], ids=str)
def test_nothing_is_said_of_one_that_sent_enough_or_left_silence_out_or_is_not_counted(scene, said):
    scene.hang_up("a", **said)
    assert (scene.row()["state"], scene.row()["spans"]) == ("stopped", [])


def test_a_hold_is_not_taken_for_it(scene):
    scene.event("CHANNEL_HOLD", "a").after(30_000).event("CHANNEL_UNHOLD", "a").after(1000)
    scene.hang_up("a", **packets(TALK_MS + 1000))
    assert [span["kind"] for span in scene.row()["spans"]] == ["hold"]


def test_before_its_leg_has_told_the_row_has_all_but_its_state(scene):
    """Killed in between, an engine after this one closes it as it is."""
    row = scene.row()
    scene.record_stop("a", row["id"], f"/rec/{row['master']}", **{"Answer-State": "hangup"})
    row = scene.row()
    assert (row["state"], row["expected_ms"]) == ("recording", TALK_MS) and row["stopped_ms"]
    scene.event("CHANNEL_DESTROY", "a")
    assert (scene.row()["state"], scene.row()["spans"]) == ("stopped", [])


def test_a_leg_may_tell_before_its_file_is_closed(scene):
    scene.event("CHANNEL_HANGUP_COMPLETE", "a", **{f"variable_{name}": value for name, value in packets(0).items()})
    row = scene.row()
    scene.record_stop("a", row["id"], f"/rec/{row['master']}", **{"Answer-State": "hangup"})
    assert (scene.row()["state"], scene.row()["spans"][0]["sent_ms"]) == ("stopped", 0)
