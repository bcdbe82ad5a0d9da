"""Whose a leg is, in the order of what is believed."""

import pytest

from kazoo_rec.calls.identity import Identifier, IdentityRules, Trunk
from kazoo_rec.calls.leg import Identity
from kazoo_rec.calls.registrations import Registrations
from kazoo_rec.documents.directory import Directory
from kazoo_rec.switch.events import Event

DIRECTORY = Directory().apply([
    {"kind": kind, "account_id": account, "id": id, "body": body, "deleted": False, "seq": 1}
    for kind, account, id, body in (
        ("account", "acme", "acme", {"realm": "acme.example", "country": "US", "numbers": ["+15550001001"]}),
        ("device", "acme", "desk", {"owner_id": "ann", "sip": {"username": "1000"}}))])

PHONE = {"sip_authorized": "true", "sip_auth_username": "1000", "sip_auth_realm": "acme.example"}
ANN = ("acme", "ann", "desk")


def event(variables=(), **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Event({**named, **{f"variable_{name}": value for name, value in dict(variables).items()}})


def caller(variables=(), rules=None, **headers):
    return Identifier(rules or IdentityRules(), Registrations()).caller(event(variables, **headers), DIRECTORY)


def callee(variables=(), registrations=None, partner=None, **headers):
    placed = Identifier(IdentityRules(), registrations or Registrations())
    return placed.callee(event(variables, **headers), DIRECTORY, partner)


def test_explicit_variables_come_before_authentication():
    said = {**PHONE, "kazoo_rec_account_id": "globex", "kazoo_rec_user_id": "bob", "kazoo_rec_device_id": "cell",
            "kazoo_rec_network": "offnet"}
    assert caller(said) == Identity("offnet", "globex", "bob", "cell", "variables")


def test_kazoo_s_variables_are_understood():
    said = {"ecallmgr_Account-ID": "a1", "ecallmgr_Owner-ID": "u1", "ecallmgr_Authorizing-ID": "d1"}
    assert caller(said) == Identity("onnet", "a1", "u1", "d1", "variables")
    assert caller({**said, "ecallmgr_Inception": "+1555@x"}).network == "offnet"


def test_names_of_variables_are_the_operator_s():
    rules = IdentityRules(account=("domain_uuid",), device=("extension_uuid",))
    assert caller({"domain_uuid": "d-1", "extension_uuid": "e-1"}, rules) == Identity(
        "onnet", "d-1", None, "e-1", "variables")


@pytest.mark.parametrize("id", ["../x", "a b", "a;b", "x" * 65, "", "a\n"])
def test_an_id_that_is_none_is_not_taken_for_one(id):
    assert caller({**PHONE, "kazoo_rec_account_id": id}) == Identity("onnet", *ANN, "authentication")


def test_an_authenticated_phone_is_its_device_s():
    assert caller(PHONE) == Identity("onnet", *ANN, "authentication")


def test_what_was_not_authenticated_is_not_believed():
    assert caller({**PHONE, "sip_authorized": "false"}).account_id is None


def test_a_caller_let_in_by_the_directory_s_acl_is_the_user_that_it_names():
    assert caller({"sip_authorized": "true", "sip_acl_token": "1000@acme.example"}) == Identity("onnet", *ANN, "acl")


def test_a_trunk_is_whose_the_configuration_says():
    rules = IdentityRules(trunks={"pbx": Trunk("acme"), "carrier-x": Trunk("acme", "offnet")})
    assert caller({"sip_acl_authed_by": "pbx"}, rules) == Identity("onnet", "acme", how="trunk")
    assert caller({"sip_acl_authed_by": "carrier-x"}, rules).network == "offnet"


def test_a_first_leg_that_was_dialled_is_the_dialled_user_s():
    said = {"dialed_user": "1000", "dialed_domain": "acme.example"}
    assert caller(said, Call_Direction="outbound") == Identity("onnet", *ANN, "dialled user")
    assert caller(said, Call_Direction="inbound").account_id is None


def test_an_offnet_caller_is_the_account_s_whose_number_it_called():
    said = {"sofia_profile_name": "external", "sip_req_user": "15550001001"}
    assert caller(said) == Identity("offnet", "acme", how="number")


def test_an_authorized_caller_on_an_offnet_profile_is_offnet():
    assert caller({"sip_authorized": "true", "sofia_profile_name": "external"}) == Identity("offnet")


def test_a_callee_is_the_user_that_was_dialled():
    said = {"dialed_user": "1000", "dialed_domain": "acme.example"}
    assert callee(said) == Identity("onnet", *ANN, "dialled user")
    assert callee({**said, "dialed_domain": "nobody.example"}) == Identity("onnet", how="dialled user")


def test_a_callee_s_own_variables_come_first_and_its_caller_s_do_not_count():
    said = {"kazoo_rec_account_id": "evil", "kazoo_rec_leg_account_id": "globex", "kazoo_rec_leg_device_id": "d"}
    assert callee(said) == Identity("onnet", "globex", None, "d", "variables")


def test_a_contact_that_was_dialled_is_the_registration_s():
    phones = Registrations()
    phones.load([{"reg_user": "1000", "realm": "acme.example",
                  "url": "sofia/internal/sip:1000@192.0.2.7:6000;fs_nat=yes"}])
    said = {"sip_destination_url": "sip:1000@192.0.2.7:6000"}
    assert callee(said, phones) == Identity("onnet", *ANN, "registration")


def test_any_other_callee_is_offnet_under_its_partner_s_account():
    said = {"sip_gateway_name": "carrier", "sip_destination_url": "sip:442071838750@192.0.2.9"}
    assert callee(said, partner=Identity("onnet", "acme")) == Identity("offnet", "acme", how="partner")
    assert callee(said) == Identity("offnet", how="partner")


def test_the_to_header_which_a_caller_writes_chooses_no_account():
    said = {"sofia_profile_name": "external", "sip_req_user": "1001", "sip_to_user": "15550001001"}
    assert caller(said) == Identity("offnet")


def registered(subclass, **headers):
    return Event({"Event-Name": "CUSTOM", "Event-Subclass": subclass,
                  **{name.replace("_", "-"): value for name, value in headers.items()}})


def test_registrations_come_and_go():
    phones = Registrations()
    phones.feed(registered("sofia::register", contact='"" <sip:1002@127.0.0.1:6002;x=y>', username="1002",
                           from_user="1002", from_host="acme.example"))
    assert phones.behind("sip:1002@127.0.0.1:6002") == ("1002", "acme.example")
    assert phones.behind("1002@127.0.0.1:6002") == ("1002", "acme.example")
    phones.feed(registered("sofia::unregister", from_user="1002", from_host="acme.example"))
    assert phones.behind("sip:1002@127.0.0.1:6002") is None and len(phones) == 0


def register(phones, user, domain, contact="sip:1001@192.168.1.10:5060"):
    phones.feed(registered("sofia::register", contact=f"<{contact}>", username=user, from_host=domain))


def test_a_contact_of_two_tenants_is_neither_s():
    phones = Registrations()
    register(phones, "1001", "acme.example")
    register(phones, "1001", "globex.example")
    assert phones.behind("sip:1001@192.168.1.10:5060") is None
    phones.feed(registered("sofia::unregister", contact="<sip:1001@192.168.1.10:5060>", from_user="1001",
                           from_host="globex.example"))
    assert phones.behind("sip:1001@192.168.1.10:5060") == ("1001", "acme.example")


def test_a_contact_that_expires_leaves_a_user_s_other_phones():
    phones = Registrations()
    for port in (5060, 5062):
        register(phones, "1001", "acme.example", f"sip:1001@10.0.0.1:{port}")
    phones.feed(registered("sofia::expire", contact="sip:1001@10.0.0.1:5060", user="1001", host="acme.example"))
    assert phones.behind("sip:1001@10.0.0.1:5060") is None
    assert phones.behind("sip:1001@10.0.0.1:5062") == ("1001", "acme.example")


def test_a_user_keeps_its_newest_contacts():
    phones = Registrations()
    for port in range(1000):
        register(phones, "1001", "acme.example", f"sip:1001@10.0.0.1:{port}")
    assert len(phones) == 16 and phones.behind("sip:1001@10.0.0.1:999")
