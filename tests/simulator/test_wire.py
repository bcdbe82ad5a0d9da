"""Bytes of events, against what FreeSWITCH 1.10.12 sent."""

from urllib.parse import unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.simulator import wire
from kazoo_rec.simulator.events import core_headers

SHUTDOWN = b"""\
Content-Length: 505
Content-Type: text/event-plain

Event-Name: SHUTDOWN
Core-UUID: 184ecb6c-2961-4cc6-885b-5bba5bab8560
FreeSWITCH-Hostname: fs1.example
FreeSWITCH-Switchname: fs1.example
FreeSWITCH-IPv4: 192.0.2.2
FreeSWITCH-IPv6: fd00%3A%3A2
Event-Date-Local: 2026-11-21%2000%3A23%3A32
Event-Date-GMT: Sat,%2021%20Nov%202026%2000%3A23%3A32%20GMT
Event-Date-Timestamp: 1795220612297499
Event-Calling-File: switch_core.c
Event-Calling-Function: switch_core_destroy
Event-Calling-Line-Number: 3023
Event-Sequence: 8318
Event-Info: System%20Shutting%20Down

"""
JOB = (b'Content-Length: 75\nContent-Type: text/event-json\n\n'
       b'{"Event-Name":"BACKGROUND_JOB","Job-UUID":"j","Content-Length":"5","_body":"false"}')
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_an_event_without_a_channel_is_the_switchs_to_the_byte():
    core_uuid = "184ecb6c-2961-4cc6-885b-5bba5bab8560"
    headers = core_headers("SHUTDOWN", None, 8318, core_uuid, "fs1.example", 1795220612297499)
    assert wire.event({**headers, "Event-Info": "System Shutting Down"}, "plain") == SHUTDOWN


def test_a_body_stands_behind_the_headers_or_among_them():
    event = {"Event-Name": "BACKGROUND_JOB", "Job-UUID": "j", "_body": "false"}
    assert wire.plain_body(event) == b"Event-Name: BACKGROUND_JOB\nJob-UUID: j\nContent-Length: 5\n\nfalse"
    assert wire.json_body(event) == JOB.partition(b"\n\n")[2]


@pytest.mark.parametrize(("value", "encoded"), [
    ("x\nvariable_account_id: evil, 'q'; z", "x%0Avariable_account_id%3A%20evil,%20'q'%3B%20z"),
    ('"n" <sip:44@carrier.example>;tag=4d2d1fbe', "%22n%22%20%3Csip%3A44%40carrier.example%3E%3Btag%3D4d2d1fbe"),
    ("a+b%2Bc%25d", "a%2Bb%2Bc%25d"), ("x%0avariable", "x%250avariable"), ("44%2020", "44%2020"),
    ("v=0\r\no=ph 1", "v%3D0%0D%0Ao%3Dph%201"), ("O'Brien & <b>tag</b>", "O'Brien%20%26%20%3Cb%3Etag%3C/b%3E"),
    ("Jürgen 日", "J%C3%BCrgen%20%E6%97%A5"), ("bad \udcff\udcfe\udcc3( end", "bad%20%FF%FE%C3(%20end"),
    ("INVITE, ACK", "INVITE,%20ACK"), ("say \\\"hi\\\" \\\\ back", "say%20%5C%22hi%5C%22%20%5C%5C%20back"),
])
def test_values_of_plain_events_are_encoded_as_the_switch_does(value, encoded):
    assert wire.encode(value) == encoded


@given(TEXT)
def test_a_plain_value_is_one_line_of_ascii_and_can_be_read_back(value):
    encoded = wire.encode(value)
    assert encoded.isascii() and not set(encoded) & set("\r\n ")
    if "%" not in value:
        assert unquote(encoded) == value


@given(st.dictionaries(TEXT, TEXT.filter(lambda value: not value.startswith("ARRAY::"))))
def test_a_json_event_can_be_read_back(headers):
    headers.pop("_body", None)
    assert orjson.loads(wire.json_body(headers)) == headers


def test_lists_are_lists_in_json_and_flat_in_plain():
    event = {"variable_DP_MATCH": "ARRAY::1001|:1001"}
    assert wire.json_body(event) == b'{"variable_DP_MATCH":["1001","1001"]}'
    assert wire.plain_body(event) == b"variable_DP_MATCH: ARRAY%3A%3A1001%7C%3A1001\n\n"
