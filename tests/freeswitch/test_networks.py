"""Who is recorded between onnet and offnet, and between two accounts."""

from pytest import approx

#: A file may differ so much from the talk that its phone saw, in ms.
LENGTH_MS = 60


def states(found):
    return {whose: recording.row["state"] for whose, recording in found.items()}


def test_onnet_to_onnet_records_each_side_by_its_own_rules(lab, alice, bob):
    lab.obey({
        "acme/account": {"account": {"outbound": {"onnet": lab.record()}}},
        "acme/devices/dev-acme-1000": {"outbound": {"onnet": lab.record()}},
        "acme/users/usr-acme-1001": {"inbound": {"onnet": lab.record()}},
    })
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().hear(1500)
    call.hang_up()
    called.ended()

    found = lab.recordings()
    assert states(found) == {
        "acme account.outbound A dev-acme-1000": "recorded",
        "acme caller.outbound A dev-acme-1000": "recorded",
        "acme callee.inbound B dev-acme-1001": "recorded",
    }
    for whose in ("acme account.outbound A dev-acme-1000", "acme caller.outbound A dev-acme-1000"):
        wav = found[whose].wav()
        assert wav.length_ms == approx(call.talk_ms, abs=LENGTH_MS)
        assert (wav.left.tones(), wav.right.tones()) == ([930], [610])
    wav = found["acme callee.inbound B dev-acme-1001"].wav()
    assert wav.length_ms == approx(called.talk_ms, abs=LENGTH_MS)
    assert (wav.left.tones(), wav.right.tones()) == ([610], [930])
