"""The event socket, to the byte as mod_event_socket of FreeSWITCH 1.10.12 speaks it."""

import json

import gevent
import pytest

from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import Client, alice, bob

GOODBYE = (b"Content-Type: text/disconnect-notice\nContent-Length: 67\n\n"
           b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n")


def exchanged(client, *commands):
    """All bytes that come back for these commands."""
    before = len(client.raw)
    for command in commands:
        client.ask(command)
    return client.raw[before:]


def test_who_gives_the_password_is_let_in(switch):
    client = Client(switch.address)
    assert client.raw == b"Content-Type: auth/request\n\nContent-Type: command/reply\nReply-Text: +OK accepted\n\n"


def test_who_does_not_is_refused_and_cut_off(switch):
    client = Client(switch.address, password=None)
    client.send("auth wrong")
    client.wait_for_end()
    assert client.raw == (b"Content-Type: auth/request\n\n"
                          b"Content-Type: command/reply\nReply-Text: -ERR invalid\n\n" + GOODBYE)


def test_nothing_is_obeyed_before_the_password(switch):
    client = Client(switch.address, password=None)
    assert client.ask("api status") == "-ERR command not found"
    assert client.ask("auth ClueCon") == "+OK accepted"


@pytest.mark.parametrize(("command", "text"), [
    ("event plain HEARTBEAT", "+OK event listener enabled plain"),
    ("EVENTS json ALL", "+OK event listener enabled json"), ("event json", "-ERR no keywords supplied"),
    ("event json NO_SUCH_EVENT", "-ERR no keywords supplied"),
    ("event CUSTOM a::b", "+OK event listener enabled plain"),
    ("nixevent HEARTBEAT", "+OK events nixed"), ("nixevent", "-ERR no keywords supplied"),
    ("noevents", "-ERR not listening for events"), ("nosuch", "-ERR command not found"),
    ("event json PRESENCE_OUT", "+OK event listener enabled json"),
    ("log crit", "+OK log level crit [2]"), ("log", "+OK log level  [7]"), ("log bogus", "-ERR invalid log level"),
    ("api", "-ERR command not found"), ("bgapi", "-ERR command not found"),
    ("auth ClueCon", "-ERR command not found"), ("version", "-ERR command not found"),
])
def test_commands_are_answered_in_the_words_of_the_switch(client, command, text):
    assert exchanged(client, command) == f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


def test_an_event_that_is_sent_comes_to_who_listens(client):
    exchanged(client, "event json PRESENCE_OUT")
    assert client.ask("sendevent PRESENCE_OUT").startswith("+OK ")
    client.ask("nixevent PRESENCE_OUT")
    client.ask("sendevent PRESENCE_OUT")
    assert len(client.heard("PRESENCE_OUT")) == 1


def test_one_of_a_subclass_comes_to_who_listens_to_that_and_to_who_sent_it(client, switch):
    """As 1.10.12 does: `sendevent` of one connection is heard on all, with the headers that it had."""
    others = [Client(switch.address) for _ in range(4)]
    listening = "CUSTOM a::b", "CUSTOM a::b", "ALL", "CUSTOM a::c", "HEARTBEAT"
    for one, names in zip((client, *others), listening, strict=True):
        exchanged(one, f"event json {names}")
    assert client.ask("sendevent CUSTOM\nEvent-Subclass: a::b\nEngine-Run: x").startswith("+OK ")
    heard = [one.heard("CUSTOM") for one in (client, *others)]
    assert list(map(len, heard)) == [1, 1, 1, 0, 0]
    assert {(one["Event-Subclass"], one["Engine-Run"], one["Command"]) for (one,) in heard[:3]} == {
        ("a::b", "x", "sendevent CUSTOM")}
    client.ask("sendevent HEARTBEAT\nEvent-Subclass: a::b")
    assert [len(one.heard("HEARTBEAT")) for one in (client, *others)] == [0, 0, 1, 0, 1]
    for one in others:
        one.close()


@pytest.mark.parametrize(("command", "body"), [
    ("api hostname", "fs1.example"), ("API  ", "-ERR  Command not found!\n"), ("api HOSTNAME", "fs1.example"),
    ("api nosuch x", "-ERR nosuch Command not found!\n"), ("api uuid_exists 0000", "false"),
])
def test_api_answers_with_a_length(client, command, body):
    assert exchanged(client, command) == f"Content-Type: api/response\nContent-Length: {len(body)}\n\n{body}".encode()


def test_exit_says_goodbye(client):
    before = len(client.raw)
    client.send("exit")
    client.wait_for_end()
    assert client.raw[before:] == b"Content-Type: command/reply\nReply-Text: +OK bye\n\n" + GOODBYE


def test_commands_sent_at_once_are_answered_in_order(client):
    names = ["hostname", "version", "nosuch", "uuid_exists x"] * 20
    client.send("\n\n".join(f"api {name}" for name in names))
    with gevent.Timeout(5):
        while len(client.replies) < len(names) + 1:
            gevent.idle()
    assert [reply[:5] for reply in client.replies[1:]] == ["fs1.e", "FreeS", "-ERR ", "false"] * 20


def test_a_background_job_is_answered_by_its_event(client, clock):
    client.ask("event json BACKGROUND_JOB")
    assert exchanged(client, "bgapi uuid_exists 123\nJob-UUID: my-job") == (
        b"Content-Type: command/reply\nReply-Text: +OK Job-UUID: my-job\nJob-UUID: my-job\n\n")
    clock.advance(0.1)
    (event,) = client.heard("BACKGROUND_JOB")
    assert {"Job-UUID": "my-job", "Job-Command": "uuid_exists", "Job-Command-Arg": "123", "Content-Length": "5",
            "_body": "false"}.items() <= event.items()


# Events

def test_only_what_was_asked_for_comes(switch, client, clock):
    client.ask("event json CHANNEL_CREATE CHANNEL_ANSWER")
    client.ask("nixevent CHANNEL_ANSWER")
    switch.play(Script(alice(hangs_up=1.0), (bob(),)))
    clock.advance(2)
    assert {event["Event-Name"] for event in client.heard()} == {"CHANNEL_CREATE"}
    client.ask("noevents")
    switch.play(Script(alice(hangs_up=1.0), (bob(),)))
    clock.advance(2)
    assert len(client.heard()) == 2


def test_custom_events_come_by_subclass(switch, client, clock):
    client.ask("event json CUSTOM a::b c::d")
    for subclass in ("a::b", "x::y", "c::d"):
        switch.publish("CUSTOM", lambda: {"Answer": "42"}, subclass)
    clock.advance(0.1)
    assert [(event["Event-Subclass"], event["Answer"]) for event in client.heard()] == [("a::b", "42"), ("c::d", "42")]


def test_events_wait_for_the_poll_unless_a_command_wakes_it(switch, listener, clock):
    switch.play(Script(alice(), (bob(),)))
    gevent.idle()
    assert not listener.events
    clock.advance(0.02)
    assert listener.events
    seen = len(listener.events)
    clock.advance(0.48)
    assert len(listener.heard("CHANNEL_ANSWER")) == 1 and len(listener.events) > seen


def test_the_same_event_is_plain_for_one_and_json_for_another(switch, listener, clock):
    other = Client(switch.address)
    other.ask("event plain CHANNEL_CREATE")
    switch.play(Script(alice(name="Jürgen: 100%"), (bob(),)))
    clock.advance(0.1)
    (event, _) = listener.heard("CHANNEL_CREATE")
    other.api("version")
    body = other.raw.partition(b"Event-Name")[2].partition(b"\n\n")[0].decode()
    lines = dict(line.split(": ", 1) for line in f"Event-Name{body}".splitlines())
    assert lines.keys() == event.keys()
    assert lines["Caller-Caller-ID-Name"] == "J%C3%BCrgen%3A%20100%25"
    assert event["Caller-Caller-ID-Name"] == "Jürgen: 100%"


def test_a_name_that_is_no_utf8_goes_out_as_it_came(switch, client, clock):
    client.ask("event plain CHANNEL_CREATE")
    switch.play(Script(alice(name="bad \udcff"), (bob(),)))
    clock.advance(0.1)
    client.api("version")
    assert b"Caller-Caller-ID-Name: bad%20%FF\n" in client.raw
    uuid = next(iter(switch.legs))
    assert json.loads(client.api(f"uuid_dump {uuid} json"))["Caller-Caller-ID-Name"] == "bad \udcff"


def test_event_sequence_has_no_gaps_for_who_listens_to_all(switch, client, clock):
    client.ask("event json ALL")
    switch.play(Script(alice(hangs_up=1.0), (bob(),)))
    clock.advance(2)
    numbers = [int(event["Event-Sequence"]) for event in client.heard()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_heartbeat_comes_every_twenty_seconds(client, clock):
    client.ask("event json HEARTBEAT")
    clock.advance(61)
    assert [event["Event-Info"] for event in client.heard()] == ["System Ready"] * 3


# The end of a switch

def test_a_shutdown_is_said_before_the_calls_end_and_the_notice_comes_last(switch, listener, clock, talk, tmp_path):
    switch.api(f"uuid_record {talk.legs[0].uuid} start {tmp_path}/a.wav")
    clock.advance(1)
    switch.shut_down()
    clock.advance(1.0)
    caller = [event["Event-Name"] for event in listener.heard() if event.get("Unique-ID") != talk.legs[1].uuid]
    assert [name for name in caller[caller.index("SHUTDOWN"):] if "BRIDGE" not in name and "EXECUTE" not in name] == [
        "SHUTDOWN", "CHANNEL_HANGUP", "RECORD_STOP", "MEDIA_BUG_STOP", "CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY"]
    assert [event["Hangup-Cause"] for event in listener.heard("CHANNEL_DESTROY")] == ["SYSTEM_SHUTDOWN"] * 2
    assert not listener.notices
    clock.advance(0.3)
    listener.wait_for_end()
    assert listener.notices == ["The system is being shut down.\n"]
    with pytest.raises(ConnectionRefusedError):
        Client(switch.address)


def test_a_killed_switch_ends_without_a_word_and_leaves_its_files_open(switch, listener, clock, talk, tmp_path):
    switch.api(f"uuid_record {talk.legs[0].uuid} start {tmp_path}/a.wav 0 {{enable_file_write_buffering=false}}")
    clock.advance(2)
    before, seen = switch.core_uuid, len(listener.heard())
    switch.kill()
    clock.advance(2)
    listener.wait_for_end()
    assert not listener.notices and len(listener.events) == seen and talk.wait(0)
    data = (tmp_path / "a.wav").read_bytes()
    assert data[4:8] == b"\x08\0\0\0" and data[40:44] == b"\0\0\0\0" and len(data) == 44 + 32000
    switch.start()
    client = Client(switch.address)
    assert client.api("global_getvar core_uuid") not in ("", before)
    assert client.api("show channels as json") == '{"row_count": 0}\n'


def test_commands_that_meet_a_stalled_switch_wait(switch, client):
    switch.stall()
    client.send("api hostname")
    gevent.idle()
    assert client.replies == ["+OK accepted"]
    switch.go_on()
    with gevent.Timeout(5):
        while len(client.replies) < 2:
            gevent.idle()
    assert client.replies[1] == "fs1.example"
