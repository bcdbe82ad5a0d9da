"""How the engine finds documents by what a leg shows of itself."""

import pytest

from kazoo_rec.documents.directory import Directory


def directory(*documents, onto=None, seq=1):
    return (onto or Directory()).apply([
        {"kind": kind, "account_id": account, "id": id, "body": body or {}, "deleted": body is None, "seq": number}
        for number, (kind, account, id, body) in enumerate(documents, seq)])


ACME = ("account", "acme", "acme", {"realm": "Acme.example", "country": "US", "numbers": ["+1 555 000 1001", "3200"]})
FRANCE = ("account", "fr", "fr", {"realm": "fr.example", "country": "FR", "numbers": ["01 42 68 53 00"]})


def test_a_sip_user_is_a_device_s_in_the_account_s_realm_or_its_own():
    found = directory(ACME, ("device", "acme", "d1", {"owner_id": "ann", "sip": {"username": "1000"}}),
                      ("device", "acme", "d2", {"sip": {"username": "1000", "realm": "other.example"}}))
    assert found.by_sip("1000", "ACME.example") == ("acme", "ann", "d1")
    assert found.by_sip("1000", "other.example") == ("acme", None, "d2")


def test_an_unknown_user_of_an_account_s_realm_is_the_account_s():
    assert directory(ACME).by_sip("1009", "acme.example") == ("acme", None, None)
    assert directory(ACME).by_sip("1009", "nobody.example") is None


def test_a_user_claimed_by_devices_of_two_accounts_is_neither_s():
    found = directory(ACME, FRANCE, ("device", "acme", "d1", {"sip": {"username": "7", "realm": "x.example"}}),
                      ("device", "fr", "d2", {"sip": {"username": "7", "realm": "x.example"}}))
    assert found.by_sip("7", "x.example") is None


@pytest.mark.parametrize("called", ["+15550001001", "15550001001", "5550001001", "(555) 000-1001"])
def test_a_number_is_compared_in_e164_by_the_account_s_country(called):
    assert directory(ACME, FRANCE).by_number(called) == "acme"


def test_national_forms_belong_to_accounts_of_their_country_alone():
    found = directory(ACME, FRANCE)
    assert found.by_number("0142685300") == "fr" and found.by_number("+33142685300") == "fr"
    assert directory(ACME, ("account", "fr", "fr", {"numbers": ["+33142685300"]})).by_number("0142685300") is None


@pytest.mark.parametrize("called", ["", "+", "anonymous", "999999999999999999999999", "'; DROP", "\x00", "1" * 5000])
def test_what_is_no_number_is_nobody_s(called):
    assert directory(ACME).by_number(called) is None


def test_a_number_that_two_accounts_claim_is_neither_s():
    assert directory(ACME, ("account", "b", "b", {"numbers": ["+15550001001"]})).by_number("15550001001") is None


def test_an_extension_that_an_account_names_is_its_own():
    assert directory(ACME).by_number("3200") == "acme"


def test_a_change_makes_a_new_directory_and_leaves_the_old_one():
    old = directory(ACME)
    new = directory(("account", "acme", "acme", None), FRANCE, onto=old, seq=2)
    assert (old.by_number("15550001001"), new.by_number("15550001001")) == ("acme", None)
    assert (old.seq, new.seq) == (1, 3)
    assert new.by_sip("1", "fr.example") == ("fr", None, None)


def test_policies_are_those_of_the_documents_and_of_nothing_where_there_is_none():
    on = {"any": {"any": {"enabled": True}}}
    found = directory(("account", "acme", "acme", {"call_recording": {"account": on}}),
                      ("device", "acme", "d1", {"call_recording": on}))
    assert found.account("acme")["inbound", "onnet"].enabled
    assert found.endpoint("acme", None, "d1")["outbound", "offnet"].enabled
    assert not found.account("nobody")["inbound", "onnet"].enabled
    assert not found.endpoint("acme", "u", "unknown")["outbound", "offnet"].enabled
    assert not found.endpoint("globex", None, "d1")["outbound", "offnet"].enabled


def test_devices_are_found_by_their_user_and_called_by_their_sip_user():
    found = directory(ACME, ("user", "acme", "ann", {}), ("device", "acme", "d1", {
        "owner_id": "ann", "sip": {"username": "1000"}}), ("device", "acme", "d2", {
            "owner_id": "ann", "sip": {"username": "1001", "realm": "Home.example"}}), ("device", "acme", "d3", {}))
    assert found.devices("acme", "ann") == ["d1", "d2"] and found.devices("fr", "ann") == []
    assert found.sip("acme", "d1") == ("1000", "acme.example") and found.sip("acme", "d2") == ("1001", "home.example")
    assert found.sip("acme", "d3") is None and found.sip("acme", "ann") is None and found.sip("fr", "d1") is None


def test_callflows_are_their_account_s_and_change_with_it():
    flow = {"numbers": ["1"], "flow": {"module": "play"}}
    before = directory(ACME, FRANCE, ("callflow", "acme", "one", flow))
    after = directory(("callflow", "acme", "one", None), ("callflow", "acme", "two", flow), onto=before, seq=9)
    assert before.callflows("acme").match("1").document is before.callflows("acme").get("one") is not None
    assert before.callflows("fr").match("1") is None and before.callflows("nobody").match("1") is None
    assert after.callflows("acme").get("one") is None and after.callflows("acme").get("two")


def test_what_an_account_wants_done_for_a_leg_that_is_not_recorded_is_an_alarm_unless_it_says():
    directory = Directory().apply([
        {"kind": "account", "account_id": name, "id": name, "body": body, "seq": seq, "deleted": False}
        for seq, (name, body) in enumerate({"acme": {"on_no_recording": "hangup"}, "beta": {}}.items(), 1)])
    assert [directory.on_no_recording(name) for name in ("acme", "beta", "nobody")] == ["hangup", "alarm", "alarm"]
