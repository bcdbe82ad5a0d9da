"""What the settings of a recording do to it."""

import pytest
from pytest import approx

from tests.freeswitch.sound import mp3_length_ms
from tests.freeswitch.talk import LENGTH_MS, assert_whole, states, talk


def test_time_limit_ends_the_recording_and_not_the_call(lab, alice, bob):
    lab.obey({
        "acme/users/usr-acme-1000": {"outbound": {"onnet": lab.record(time_limit=5)}},
        "acme/users/usr-acme-1001": {"inbound": {"onnet": lab.record(time_limit=5, record_on_bridge=True)}},
    })
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    talk(call, called, duration_ms=7000)
    assert call.talk_ms > 6900

    found = lab.recordings()
    assert states(found) == {"acme caller.outbound A 1000": "recorded", "acme callee.inbound B 1001": "recorded"}
    caller, callee = found["acme caller.outbound A 1000"], found["acme callee.inbound B 1001"]
    assert 5000 <= caller.wav().length_ms <= 6000 + LENGTH_MS  # the switch counts whole seconds
    assert 5000 <= callee.wav().length_ms <= 5200
    assert caller.row["truncated_by_limit"]
    assert callee.row["truncated_by_limit"]


def test_a_recording_below_record_min_sec_is_discarded(lab, alice, bob):
    lab.obey({
        "acme/users/usr-acme-1000": {"outbound": {"onnet": lab.record(record_min_sec=3)}},
        "acme/users/usr-acme-1001": {"inbound": {"onnet": lab.record(record_min_sec=1)}},
    })
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == {"acme caller.outbound A 1000": "discarded", "acme callee.inbound B 1001": "recorded"}
    assert found["acme caller.outbound A 1000"].row["state_reason"].startswith("too short")
    assert_whole(found["acme callee.inbound B 1001"], called.talk_ms, says=[610], hears=[930])


def test_an_mp3_is_as_long_as_the_talk(lab, alice, bob):
    lab.obey({"acme/users/usr-acme-1000": {"outbound": {"onnet": lab.record(format="mp3", channels="mono")}}})
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == {"acme caller.outbound A 1000": "recorded"}
    recording = found["acme caller.outbound A 1000"]
    assert recording.row["content_type"] == "audio/mpeg"
    assert recording.row["duration_ms"] == approx(call.talk_ms, abs=LENGTH_MS)
    #: Up to three frames of 72 ms are the encoder's: its delay, and what fills the last one.
    assert 0 <= mp3_length_ms(recording.body) - recording.row["duration_ms"] <= 216


def test_what_a_dialplan_sets_for_its_own_recordings_changes_none_of_ours(lab, switch, alice, bob):
    lab.obey({
        "acme/users/usr-acme-1000": {"outbound": {"onnet": lab.record()}},
        "acme/users/usr-acme-1001": {"inbound": {"onnet": lab.record()}},
    })
    call = alice.call("1001")
    called = bob.rings().ring()
    legs = [row["uuid"] for row in switch.legs(2)]
    for name, value in {"RECORD_MIN_SEC": "30", "RECORD_READ_ONLY": "true", "RECORD_STEREO_SWAP": "true",
                        "RECORD_APPEND": "true", "RECORD_BRIDGE_REQ": "true", "RECORD_INITIAL_TIMEOUT_MS": "200",
                        "RECORD_FINAL_TIMEOUT_MS": "200", "RECORD_SILENCE_THRESHOLD": "30000",
                        "RECORD_TOGGLE_ON_REPEAT": "true"}.items():
        for leg in legs:
            assert switch.api(f"uuid_setvar {leg} {name} {value}") == "+OK"
    called.answer()
    talk(call, called)

    found = lab.recordings()
    assert_whole(found["acme caller.outbound A 1000"], call.talk_ms, says=[930], hears=[610])
    assert_whole(found["acme callee.inbound B 1001"], called.talk_ms, says=[610], hears=[930])


@pytest.mark.parametrize(("allowed", "recorded"), [
    (True, {"acme callee.inbound B 1001": "recorded"}), (False, {"acme caller.outbound A 1000": "recorded"})])
def test_a_leg_is_kept_out_or_forced_in_by_its_own_channel_where_the_account_allows_it(
        lab, switch, alice, bob, allowed, recorded):
    lab.obey({
        "acme/users/usr-acme-1000": {"outbound": {"onnet": lab.record()}},
        "acme/users/usr-acme-1001": {"inbound": {"onnet": {**lab.record(), "enabled": False}}},
    }, allow_override=allowed)
    switch.api("bgapi originate {kazoo_rec=no}user/1000@acme.example "
               "&bridge([kazoo_rec=force]user/1001@acme.example)")
    call = alice.rings().ring().answer()
    called = bob.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == recorded
    (recording,) = found.values()
    assert "kazoo_rec=" in recording.row["reason"] and recording.body
