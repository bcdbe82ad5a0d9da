"""Who is recorded between onnet and offnet, and between two accounts."""

from tests.freeswitch.talk import assert_whole, states, talk


def test_onnet_to_onnet_records_each_side_by_its_own_rules(lab, alice, bob):
    lab.obey({
        "acme/account": {"account": {"outbound": {"onnet": lab.record()}}},
        "acme/devices/dev-acme-1000": {"outbound": {"onnet": lab.record()}},
        "acme/users/usr-acme-1001": {"inbound": {"onnet": lab.record()}},
    })
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == {
        "acme account.outbound A 1000": "recorded",
        "acme caller.outbound A 1000": "recorded",
        "acme callee.inbound B 1001": "recorded",
    }
    assert_whole(found["acme account.outbound A 1000"], call.talk_ms, says=[930], hears=[610])
    assert_whole(found["acme caller.outbound A 1000"], call.talk_ms, says=[930], hears=[610])
    assert_whole(found["acme callee.inbound B 1001"], called.talk_ms, says=[610], hears=[930])


def test_onnet_to_offnet_records_the_caller(lab, alice, carrier):
    lab.obey({
        "acme/account": {"account": {"outbound": {"offnet": lab.record()}}},
        "acme/users/usr-acme-1000": {"outbound": {"offnet": lab.record()}, "inbound": {"any": lab.record()}},
    })
    call = alice.call("442071838750")
    called = carrier.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == {"acme account.outbound A 1000": "recorded", "acme caller.outbound A 1000": "recorded"}
    assert_whole(found["acme account.outbound A 1000"], call.talk_ms, says=[930], hears=[270])
    assert_whole(found["acme caller.outbound A 1000"], call.talk_ms, says=[930], hears=[270])


def test_offnet_to_onnet_records_the_account_s_caller_and_the_callee(lab, carrier, bob):
    lab.obey({"acme/account": {
        "account": {"inbound": {"offnet": lab.record()}},
        "endpoint": {"inbound": {"offnet": lab.record()}},
    }})
    call = carrier.call("15550001001")
    called = bob.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == {"acme account.inbound A": "recorded", "acme callee.inbound B 1001": "recorded"}
    assert_whole(found["acme account.inbound A"], call.talk_ms, says=[270], hears=[610])
    assert_whole(found["acme callee.inbound B 1001"], called.talk_ms, says=[610], hears=[270])


def test_offnet_to_offnet_records_the_caller_once(lab, carrier):
    lab.obey({"acme/account": {
        "account": {"any": {"any": lab.record()}},
        "endpoint": {"any": {"any": lab.record()}},
    }})
    call = carrier.call("15550001999")
    called = carrier.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == {"acme account.inbound A": "recorded"}
    assert_whole(found["acme account.inbound A"], call.talk_ms, says=[270], hears=[270])


def test_a_call_to_another_account_is_offnet_for_both_and_each_has_its_own(lab, alice, zoe):
    lab.obey({
        "acme/account": {
            "account": {"outbound": {"offnet": lab.record()}},
            "endpoint": {"any": {"onnet": lab.record()}},
        },
        "globex/account": {
            "account": {"inbound": {"offnet": lab.record()}},
            "endpoint": {"any": {"offnet": lab.record()}},
        },
    })
    call = alice.call("*92000")
    called = zoe.rings().ring().answer()
    talk(call, called)

    found = lab.recordings()
    assert states(found) == {
        "acme account.outbound A 1000": "recorded",
        "globex account.inbound B 2000": "recorded",
        "globex callee.inbound B 2000": "recorded",
    }
    assert_whole(found["acme account.outbound A 1000"], call.talk_ms, says=[930], hears=[1130])
    assert_whole(found["globex account.inbound B 2000"], called.talk_ms, says=[1130], hears=[930])
    assert_whole(found["globex callee.inbound B 2000"], called.talk_ms, says=[1130], hears=[930])


def test_a_call_that_no_document_names_is_not_recorded(lab, alice, bob):
    lab.obey({
        "acme/account": {"account": {"any": {"offnet": lab.record()}}},
        "acme/users/usr-acme-1000": {"inbound": {"any": lab.record()}, "outbound": {"offnet": lab.record()}},
        "acme/users/usr-acme-1001": {"any": {"any": lab.record()}},
        "acme/devices/dev-acme-1001": {"any": {"any": {"enabled": False}}},
        "globex/account": {"account": {"any": {"any": lab.record()}}},
    })
    call = alice.call("1001")
    talk(call, bob.rings().ring().answer(), duration_ms=500)

    assert lab.recordings() == {}
