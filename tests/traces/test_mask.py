"""Masks: the same text the same mask, in whatever it stands; and what cannot be masked is not kept."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kazoo_rec.calls.identity import IdentityRules
from kazoo_rec.documents.directory import Directory
from kazoo_rec.traces.mask import Mask

ACCOUNT = {"kind": "account", "account_id": "acme", "id": "acme", "source": "", "body": {
    "name": "Acme Inc", "realm": "acme.example", "country": "GB", "numbers": ["020 7946 0123"],
    "call_recording": {"account": {"any": {"any": {"enabled": True, "url": "https://x:y@files.example/"}}}}}}
DEVICE = {"kind": "device", "account_id": "acme", "id": "desk", "source": "", "body": {
    "owner_id": "alice", "name": "Desk", "sip": {"username": "1000", "password": "hunter2", "realm": "sip.example"}}}
MASK = Mask([ACCOUNT, DEVICE], key=b"of these tests")


def user(address):
    """What is left of `1000` in an address."""
    return MASK.address(address).partition("@")[0].rpartition("/")[2].rpartition(":")[2]


@pytest.mark.parametrize(("said", "kept"), [("no", "no"), ("force", "force"), ("Alice", ""), ("no ", "")])
def test_of_what_a_channel_asks_only_the_words_that_count_are_kept(said, kept):
    assert MASK.headers({"variable_kazoo_rec": said}) == {"variable_kazoo_rec": kept}
    assert MASK.document({**ACCOUNT, "body": {"allow_override": True}})["body"] == {"allow_override": True}


@pytest.mark.parametrize("address", [
    "1000@acme.example", "sip:1000@10.0.0.9:5062", "sips:1000@[fd00::2]:5061;transport=tls", "sofia/internal/1000@x",
    "sofia/internal/sip:1000@10.0.0.9:5062", '"Alice" <sip:1000@10.0.0.9:5062;fs_path=sip%3A1000>', "tel:1000"])
def test_a_user_has_one_mask_wherever_it_stands(address):
    assert user(address) == MASK.text("1000")
    assert "1000" not in MASK.address(address) and "Alice" not in MASK.address(address)


@pytest.mark.parametrize(("address", "masked"), [
    ("sofia/internal/1000@127.0.0.1:6001", "sofia/internal/{}@127.0.0.1:6001"),
    ('"" <sip:1000@127.0.0.1:6001;x=1000>', "<sip:{}@127.0.0.1:6001>"),
    ("sofia/external/1000", "sofia/external/{}"), ("loopback/1000-b", "loopback/{}-b"),
    ("1000", "{}"), ("", ""), ("1000@evil\x1b1000", "{}@evil"), ("1000@x 1000", "{}@x"), ("1000@", "{}@")])
def test_of_an_address_the_host_stays(address, masked):
    assert MASK.address(address) == masked.format(MASK.text("1000"))


@pytest.mark.parametrize(
    "number", ["02079460123", "020 7946 0123", "442079460123", "+442079460123", "+44 20 7946 0123"])
def test_a_number_of_the_documents_is_found_again_in_each_of_its_notations(number):
    masked = MASK.document(ACCOUNT)
    directory = Directory().apply([{**masked, "seq": 1, "deleted": False}])
    assert directory.by_number(MASK.text(number)) == "acme"
    assert directory.by_number(MASK.text("442079460124")) is None
    assert MASK.text(number).removeprefix("+").startswith("888") and "2079460123" not in MASK.text(number)


@given(st.text(), st.text())
@example("+1 555 000 1001", "+15550001002")
@example("\udcff", "\udcfe")
def test_texts_are_one_after_masking_where_they_were_one_before(one, other):
    assert MASK.text(one) == MASK.text(one)
    if re.sub("[ ().+-]", "", one) != re.sub("[ ().+-]", "", other):
        assert MASK.text(one) != MASK.text(other)
    assert one == "" or re.fullmatch(r"x[0-9a-f]{12}|\+?888[0-9]{12}", MASK.text(one))


def test_another_mask_has_another_key():
    assert Mask().text("1000") != MASK.text("1000") and Mask(key=b"x").text("1000") == Mask(key=b"x").text("1000")


def test_headers_that_are_not_known_are_left_out_and_known_ones_masked_in_lists_too():
    masked = MASK.headers({
        "variable_customer": "Alice", "Unique-ID": "a-1000", "Caller-Caller-ID-Name": ["Alice", "Bob"],
        "variable_rtp_local_sdp_str": "o=Alice", "Record-File-Path": "/rec/Alice.wav", "Caller-Context": "",
        "variable_sip_acl_token": "1000@acme.example", "variable_dialed_user": None, "Event-Sequence": 5})
    assert masked == {
        "Unique-ID": "a-1000", "Caller-Caller-ID-Name": [MASK.text("Alice"), MASK.text("Bob")],
        "variable_rtp_local_sdp_str": "(removed)", "Record-File-Path": "(removed)", "Caller-Context": "",
        "variable_sip_acl_token": f"{MASK.text('1000')}@acme.example", "Event-Sequence": "5",
        "variable_dialed_user": MASK.text("None")}


def test_variables_that_the_configuration_names_are_kept_and_those_of_people_masked():
    rules = IdentityRules(account=("domain_uuid",), user=("extension_uuid",))
    masked = Mask(rules=rules, key=b"x").headers({"variable_domain_uuid": "d-1", "variable_extension_uuid": "alice"})
    assert masked == {"variable_domain_uuid": "d-1", "variable_extension_uuid": Mask(key=b"x").text("alice")}


def test_of_documents_there_is_left_what_places_and_decides():
    assert MASK.document(ACCOUNT) == {**ACCOUNT, "body": {
        "realm": "acme.example", "numbers": [MASK.text("+442079460123")],
        "call_recording": {"account": {"any": {"any": {"enabled": True, "url": "https://masked.example/"}}}}}}
    assert MASK.document(DEVICE) == {**DEVICE, "id": MASK.text("desk"), "body": {
        "owner_id": MASK.text("alice"), "sip": {"username": MASK.text("1000"), "realm": "sip.example"}}}
