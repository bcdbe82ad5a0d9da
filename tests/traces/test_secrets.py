"""What never gets into a trace."""

import pytest

from kazoo_rec.traces.secrets import REMOVED, without_secrets
from tests.traces import SCENARIOS, events


@pytest.mark.parametrize("name", [
    "variable_password", "variable_a1-hash", "variable_vm-password", "variable_sip_auth_password", "variable_api_key",
    "variable_sip_auth_response", "variable_sip_auth_nonce", "variable_sip_h_Authorization",
    "variable_reverse-auth-pass",
    "variable_sip_h_Proxy-Authorization", "variable_rtp_last_audio_local_crypto_key", "variable_digits_dialed",
    "variable_user_pin", "variable_pin", "variable_PASS", "variable_sip_h_X-Auth-Token", "variable_client_secret"])
def test_a_secret_is_known_by_its_name(name):
    assert without_secrets({name: "hunter2", "Unique-ID": "a"}) == {name: REMOVED, "Unique-ID": "a"}
    assert without_secrets({name: ["hunter2", "x"]}) == {name: REMOVED}


@pytest.mark.parametrize("name", [
    "variable_sip_auth_username", "variable_sip_auth_realm", "variable_sip_authorized", "variable_sip_acl_token",
    "variable_ecallmgr_Authorizing-ID", "variable_kazoo_rec_device_id", "variable_device_id", "variable_bypass_media",
    "variable_passthru", "Channel-Read-Codec-Name", "variable_sip_req_user", "variable_endpoint_disposition"])
def test_what_tells_whose_a_leg_is_stays(name):
    assert without_secrets({name: "1000"}) == {name: "1000"}


@pytest.mark.parametrize(("text", "clean"), [
    ("{sip_auth_user=1,sip_auth_password=hunter2}sofia/x", "{sip_auth_user=1,sip_auth_password=(removed)}sofia/x"),
    ("[password='hunter 2',a=b]user/1", "[password=(removed),a=b]user/1"),
    ('{"password": "hunter \'2", "a": 1}', '{"password": (removed), "a": 1}'),
    ("https://bob:hunter2@files.example/calls", "https://(removed)@files.example/calls"),
    ("https://bob:hun@ter2@files.example/a@b", "https://(removed)@files.example/a@b"),
    ("url=https://bob:h,un;t&er]2@files.example/,label=a", "url=https://(removed)@files.example/,label=a"),
    (f"https://bob:{'p' * 4000}@files.example/", "https://(removed)@files.example/"),
    ("https://files.example?to=a@b", "https://files.example?to=a@b"),
    ("https://files.example#a@b", "https://files.example#a@b"),
    ("https://files.example a@b", "https://files.example a@b"),
    ("https://files.example/?token=hunter2&a=b", "https://files.example/?token=(removed)&a=b"),
    ("Authorization: Bearer aHVudGVyMmh1bnRlcjI=", "Authorization: Bearer (removed)"),
    ("x Basic aHVudGVyMmh1bnRlcjI=", "x Basic (removed)"),
    ("a=crypto:1 AES_CM_128_HMAC inline:aHVudGVyMg==|2^20", "a=crypto:1 AES_CM_128_HMAC inline:(removed)"),
    ("a=ice-pwd:hunter2\r\na=x", "a=ice-pwd:(removed)\r\na=x"),
    ("sip:1000@acme.example;transport=udp", "sip:1000@acme.example;transport=udp"),
    ("bypass=1 call", "bypass=1 call"),
])
def test_a_secret_is_known_by_what_it_stands_behind(text, clean):
    assert without_secrets({"variable_x": text, "variable_list": ["y", text]}) == {
        "variable_x": clean, "variable_list": ["y", clean]}


def test_real_events_lose_nothing_that_the_engine_reads():
    kept = {"variable_digits_dialed", "variable_rtp_audio_in_dtmf_packet_count", "variable_dtmf_type", "DTMF-Digit",
            "variable_rtp_audio_out_dtmf_packet_count", "variable_ivr_digit", "DTMF-Duration", "DTMF-Source"}
    for scenario in SCENARIOS:
        for event in events(scenario):
            clean = without_secrets(event)
            assert {name for name in event if clean[name] != event[name]} <= kept
