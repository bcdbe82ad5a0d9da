"""Reading events, those of a real FreeSWITCH among them."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.errors import ProtocolBroken
from kazoo_rec.switch.events import Event, parse
from tests.switch.fakes import PATIENCE_S

#: All that FreeSWITCH 1.10.12 sent over one connection, from `auth/request` to its farewell: a loopback call to an
#: echo with a variable that is no UTF-8 and one that is a list, a recording, a CUSTOM event, a HEARTBEAT.
REAL = Path(__file__).with_name("freeswitch-1.10.12.bytes").read_bytes()
NAMES = ["CHANNEL_CREATE", "CHANNEL_ANSWER", "RECORD_START", "RECORD_STOP", "CHANNEL_HANGUP_COMPLETE", "HEARTBEAT"]

json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4)


def test_a_real_switch_is_understood_to_the_last_byte(switch, dial):
    """The fake gives the bytes on up to the next reply whenever it has a command."""
    greeting, *replies = re.split(rb"(?=Content-Type: (?:command/reply|api/response)\n)", REAL)

    def talk(session):
        session.send(greeting)
        for piece in replies:
            session.command()
            session.send(piece)
        session.close()

    switch.talk = talk
    connection = dial()
    connection.connect()
    connection.subscribe(NAMES, ["kr::note"])
    assert connection.send("log crit") == "+OK log level crit [2]"
    core_uuid = connection.send("api global_getvar core_uuid")
    for _ in replies[4:]:
        connection.send("api status")
    events = list(connection.events())

    assert [event.name for event in events] == [
        "CHANNEL_CREATE", "CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_ANSWER", "RECORD_START", "CUSTOM", "RECORD_STOP",
        "CHANNEL_HANGUP_COMPLETE", "CHANNEL_HANGUP_COMPLETE", "HEARTBEAT"]
    assert {event.core_uuid for event in events} == {core_uuid}
    sequence = [event.sequence for event in events]
    assert sequence == sorted(sequence) and sequence[-1] - sequence[0] > len(events)
    assert all(1_700_000_000_000_000 < event.time_us < 2_000_000_000_000_000 for event in events)

    start = events[4]
    assert start.uuid == "leg-1"
    assert start.get("Recording-Variable-kazoo_rec_id") == "202611-00000000000000000000000000000001"
    assert start.variable("kr_list") == "one" and start.all("variable_kr_list") == ["one", "two"]
    assert start.variable("kr_name").encode("utf-8", "surrogateescape") == (
        'Ren\udce9 x%0AUnique-ID: forged \u2028 "q"'.encode("utf-8", "surrogateescape"))
    assert events[5].subclass == "kr::note" and events[5].uuid == "" and events[5].get("Note") == "a%0Ab"
    assert "See you at ClueCon" in str(connection.closed.get(timeout=PATIENCE_S))


def test_what_is_absent_is_empty_text():
    nothing = Event({})
    assert (nothing.name, nothing.subclass, nothing.uuid, nothing.core_uuid) == ("", "", "", "")
    assert (nothing.sequence, nothing.time_us, nothing.all("X")) == (0, 0, [])
    assert nothing.get("X", "other") == nothing.variable("x", "other") == "other"


@given(st.dictionaries(st.sampled_from(["A", "Event-Sequence", "variable_a"]), json_values))
def test_whatever_a_header_holds_it_reads_as_text_or_a_number(headers):
    event = Event(headers)
    assert isinstance(event.get("A"), str) and isinstance(event.variable("a"), str)
    assert isinstance(event.sequence, int)
    assert all(isinstance(text, str) for text in event.all("A"))


def test_a_list_reads_as_its_first_text():
    event = Event({"A": ["one", "two"], "B": [], "C": [7]})
    assert [event.get(header, "none") for header in "ABC"] == ["one", "none", "none"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"Event-Name"', b"Event-Name: X\n\n", b"[" * 100_000])
def test_what_is_no_json_object_is_no_event(body):
    with pytest.raises(ProtocolBroken):
        parse(body)


@given(st.binary())
def test_any_bytes_are_an_event_or_break_the_protocol(body):
    with contextlib.suppress(ProtocolBroken):
        assert isinstance(parse(body).headers, dict)
