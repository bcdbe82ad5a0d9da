"""Who is who: the headers by which a leg is placed, as the real switch sends them."""

import pytest

from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import alice, bob, pstn

ACME = {"accountcode": "acme", "account_id": "acc-acme"}


def variables(event):
    return {name.removeprefix("variable_"): value for name, value in event.items() if name.startswith("variable_")}


@pytest.fixture
def legs(switch, listener, clock):
    """Plays a call to its end; for each leg {event name: its first event of that name}."""

    def play(script):
        call = switch.play(script)
        clock.advance(10)
        assert call.wait(0)
        found = {leg.uuid: {} for leg in call.legs}
        for event in listener.heard():
            if event.get("Unique-ID") in found:
                found[event["Unique-ID"]].setdefault(event["Event-Name"].removeprefix("CHANNEL_"), event)
        return list(found.values())

    return play


def test_a_phone_that_calls_is_who_authenticated(legs):
    directory = {**ACME, "owner_id": "usr-1", "device_id": "dev-1"}
    caller, _ = legs(Script(alice(hangs_up=2.0, variables=directory), (bob(),)))
    event = caller["CREATE"]
    assert (event["Call-Direction"], event["Caller-Context"]) == ("inbound", "acme.example")
    assert variables(event).items() >= {
        "sip_authorized": "true", "sip_auth_username": "1000", "sip_auth_realm": "acme.example", "user_name": "1000",
        "domain_name": "acme.example", "account_id": "acc-acme", "owner_id": "usr-1", "device_id": "dev-1",
        "sofia_profile_name": "internal", "sip_req_user": "1001"}.items()
    assert "originator" not in variables(event) and "dialed_user" not in variables(event)
    assert len(event) > 100


def test_a_called_user_is_the_dialled_one_and_bears_what_is_the_callers(legs):
    caller, callee = legs(Script(alice(hangs_up=2.0, variables=ACME), (bob(variables={"account_id": "acc-bob"}),)))
    event, uuid = callee["CREATE"], caller["CREATE"]["Unique-ID"]
    assert (event["Call-Direction"], event["Channel-Presence-ID"]) == ("outbound", "1001@acme.example")
    assert (event["Other-Type"], event["Other-Leg-Unique-ID"], event["Caller-Username"]) == ("originator", uuid, "1000")
    assert variables(event).items() >= {
        "dialed_user": "1001", "dialed_domain": "acme.example", "originator": uuid, "originating_leg_uuid": uuid,
        "signal_bond": uuid, "call_uuid": uuid, "account_name": "acme"}.items()
    assert not {"user_name", "domain_name", "account_id"} & variables(event).keys()
    assert "account_id" not in variables(callee["ANSWER"])
    assert variables(callee["CALL_UPDATE"])["account_id"] == "acc-bob"


def test_directory_variables_of_a_group_come_at_once(legs):
    group = bob(variables=ACME), bob(user="1002", answers=None)
    _, first, second = legs(Script(alice(hangs_up=2.0), group, dials="3000"))
    assert variables(first["CREATE"])["account_id"] == "acc-acme" and second["HANGUP"]["Hangup-Cause"] == "LOSE_RACE"
    assert "ANSWER" not in second


def test_a_caller_bears_the_dialled_user_too_once_it_bridges(legs):
    caller, _ = legs(Script(alice(hangs_up=2.0), (bob(),)))
    assert variables(caller["ANSWER"])["dialed_user"] == "1001"


def test_the_carriers_leg_has_its_gateway_and_no_user(legs):
    _, callee = legs(Script(alice(hangs_up=2.0), (pstn(),)))
    event = callee["CREATE"]
    assert variables(event).items() >= {"sip_gateway_name": "carrier", "sip_profile_name": "gateway",
                                        "sofia_profile_name": "external"}.items()
    assert "dialed_user" not in variables(event) and "Channel-Presence-ID" not in event


def test_a_call_from_the_carrier_is_known_by_its_did_until_the_dialplan_says_more(legs):
    caller, callee = legs(Script(pstn(), (bob(hangs_up=2.0, variables=ACME),), dials="15550001001"))
    event = caller["CREATE"]
    assert (event["Caller-Context"], event["Caller-Destination-Number"]) == ("public", "15550001001")
    assert variables(event).items() >= {"sofia_profile_name": "external", "sip_req_user": "15550001001",
                                        "sip_to_user": "15550001001"}.items()
    assert not {"sip_auth_username", "user_name", "account_id", "sip_gateway_name"} & variables(event).keys()
    bridge = caller["BRIDGE"]
    assert (bridge["Caller-Context"], bridge["Caller-Destination-Number"]) == ("acme.example", "1001")
    assert bridge["Caller-RDNIS"] == callee["CREATE"]["Caller-RDNIS"] == "15550001001"
    assert variables(bridge).items() >= {"domain_name": "acme.example", **ACME}.items()


def test_a_bridge_names_both_legs_and_comes_once_from_the_callers(legs):
    caller, callee = legs(Script(alice(hangs_up=2.0), (bob(),)))
    uuids = caller["CREATE"]["Unique-ID"], callee["CREATE"]["Unique-ID"]
    assert (caller["BRIDGE"]["Bridge-A-Unique-ID"], caller["BRIDGE"]["Bridge-B-Unique-ID"]) == uuids
    assert "BRIDGE" not in callee and caller["ANSWER"]["Caller-Channel-Bridged-Time"] == "0"
    bridged = caller["BRIDGE"]["Caller-Channel-Bridged-Time"]
    answered = callee["ANSWER"]["Caller-Channel-Answered-Time"]
    assert int(bridged) > int(answered) > 0
    assert variables(caller["HANGUP_COMPLETE"])["last_bridge_to"] == uuids[1]


def test_early_media_is_bridged_before_it_is_answered(legs):
    caller, callee = legs(Script(alice(hangs_up=4.0), (pstn(rings=None, early_media=0.1, answers=1.5),)))
    assert caller["BRIDGE"]["Caller-Channel-Answered-Time"] == "0"
    assert int(caller["ANSWER"]["Event-Sequence"]) > int(caller["BRIDGE"]["Event-Sequence"])
    assert callee["ANSWER"]["Answer-State"] == "answered"


def test_click_to_call_dials_both_and_authenticates_none(legs):
    caller, callee = legs(Script(alice(answers=0.5, hangs_up=3.0), (bob(),), click_to_call=True))
    for event, user in ((caller["CREATE"], "1000"), (callee["CREATE"], "1001")):
        assert event["Call-Direction"] == "outbound" and variables(event)["dialed_user"] == user
        assert "sip_authorized" not in variables(event)
    assert "originator" not in variables(caller["CREATE"])
    assert variables(callee["CREATE"])["originator"] == caller["BRIDGE"]["Unique-ID"] == caller["CREATE"]["Unique-ID"]


def test_a_loopback_is_two_halves_between_two_legs(legs):
    caller, near, far, callee = legs(Script(alice(hangs_up=3.0), (bob(via="loopback"),), dials="3400"))
    names = [leg["CREATE"]["Channel-Name"].split("@")[0] for leg in (caller, near, far, callee)]
    assert names == ["sofia/internal/1000", "loopback/1001-a", "loopback/1001-b", "sofia/internal/1001"]
    assert [leg["CREATE"]["Call-Direction"] for leg in (near, far)] == ["outbound", "inbound"]
    assert variables(near["CREATE"])["other_loopback_leg_uuid"] == far["CREATE"]["Unique-ID"]
    assert "sofia_profile_name" not in variables(far["CREATE"]) and "originator" not in variables(far["CREATE"])
    assert variables(near["CREATE"])["originator"] == caller["CREATE"]["Unique-ID"]
    assert variables(callee["CREATE"])["originator"] == far["CREATE"]["Unique-ID"]
    assert caller["BRIDGE"]["Bridge-B-Unique-ID"] == near["CREATE"]["Unique-ID"]
    assert far["BRIDGE"]["Bridge-B-Unique-ID"] == callee["CREATE"]["Unique-ID"]


def test_a_phone_called_by_its_contact_is_nobody_but_for_its_registration(legs):
    _, callee = legs(Script(alice(hangs_up=2.0), (bob(via="contact"),)))
    event = callee["CREATE"]
    assert "dialed_user" not in variables(event) and "Channel-Presence-ID" not in event
    assert variables(event)["sip_destination_url"].startswith("sip:1001@127.0.0.1:")


@pytest.mark.parametrize(("raw", "shown"), [
    ("x%0avariable_account_id: evil", "x\nvariable_account_id: evil"), ("a\x07b", "a b"),
    ("${api hostname}", "%{api hostname}"), ("ARRAY::a|:b", ["a", "b"]), ("L" * 300, "L" * 300),
])
def test_a_callers_name_is_as_hostile_as_mod_sofia_lets_it_be(legs, raw, shown):
    (caller,) = legs(Script(alice(name=raw, hangs_up=0.5), dials="7000", dialplan=("answer", "park")))
    assert caller["CREATE"]["Caller-Caller-ID-Name"] == shown
    assert "variable_account_id" not in caller["CREATE"]


def test_a_wideband_leg_says_so_in_what_it_reads(legs):
    caller, _ = legs(Script(alice(codec="G722", hangs_up=2.0), (bob(),)))
    assert caller["ANSWER"]["Channel-Read-Codec-Rate"] == "16000"
    assert "G722@8000h" in variables(caller["CREATE"])["ep_codec_string"]
