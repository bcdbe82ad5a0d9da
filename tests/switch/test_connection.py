"""A connection to a switch that may do anything."""

import contextlib
import json
import socket

import gevent
import pytest
from gevent.event import AsyncResult
from gevent.event import Event as Flag
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kazoo_rec.errors import (
    AccessRefused,
    CommandRefused,
    CommandTimeout,
    NotConnected,
    ProtocolBroken,
    SwitchError,
)
from tests.switch.fakes import PATIENCE_S, FakeSwitch, event, frame, outcome, reply, response


def end_of(connection) -> SwitchError:
    return connection.closed.get(timeout=PATIENCE_S)


def numbers(connection) -> list[int]:
    """The numbers of all numbered events, to the end of the connection."""
    return [int(e.get("N")) for e in connection.events()]


def spawn_send(connection, command="api status", timeout_s=PATIENCE_S):
    return gevent.spawn(lambda: outcome(connection.send, command, timeout_s))


# Getting in


def test_a_wrong_password_is_refused_and_says_where_the_right_one_is(dial):
    connection = dial(password="guess")
    with pytest.raises(AccessRefused, match=r"password.*event_socket\.conf\.xml"):
        connection.connect()
    assert isinstance(end_of(connection), AccessRefused)
    with pytest.raises(NotConnected):
        connection.send("api status")


def test_a_password_of_two_lines_is_never_sent(dial, switch):
    heard = AsyncResult()

    def listen(session):
        session.send(b"Content-Type: auth/request\n\n")
        heard.set(session.command())

    switch.talk = listen
    with pytest.raises(CommandRefused):
        dial(password="lab-secret\n\napi shutdown").connect()
    assert heard.get(timeout=PATIENCE_S) is None


def test_an_address_that_the_acl_turns_away_is_refused(dial, switch):
    switch.talk = lambda session: session.send(frame(b"Access Denied, go away.\n", "text/rude-rejection"))
    with pytest.raises(AccessRefused, match="apply-inbound-acl"):
        dial().connect()


def test_nobody_listening_is_not_connected(dial):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(NotConnected, match="is FreeSWITCH running"):
            dial(port=unused.getsockname()[1]).connect()


def say_nothing(session):
    session.command()


def ask_and_say_nothing(session):
    session.send(b"Content-Type: auth/request\n\n")
    session.command()
    session.command()


@pytest.mark.parametrize("talk", [say_nothing, ask_and_say_nothing])
def test_silence_in_the_handshake_ends_with_the_time_allowed(dial, switch, talk):
    switch.talk = talk
    connection = dial(timeout=0.05)
    with pytest.raises(NotConnected, match="does not answer"):
        connection.connect()
    assert isinstance(end_of(connection), NotConnected)


def close_at_once(session):
    session.close()


def close_when_asked(session):
    session.send(b"Content-Type: auth/request\n\n")
    session.command()


@pytest.mark.parametrize("talk", [close_at_once, close_when_asked])
def test_a_switch_that_hangs_up_in_the_handshake_is_not_connected(dial, switch, talk):
    switch.talk = talk
    with pytest.raises(NotConnected):
        dial().connect()


@pytest.mark.parametrize("greeting", [
    b"HTTP/1.1 400 Bad Request\n\n", b"SSH-2.0-OpenSSH_9.2\n\n", b"Content-Type: command/reply\n\n", b"\n\n",
])
def test_something_else_on_the_port_is_not_taken_for_a_switch(dial, switch, greeting):
    switch.talk = lambda session: (session.send(greeting), session.command())
    with pytest.raises(ProtocolBroken):
        dial(timeout=0.5).connect()


def test_it_speaks_ipv6(dial):
    try:
        switch = FakeSwitch("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    connection = dial(host="::1", port=switch.port)
    connection.connect()
    assert connection.send("api status") == "+OK\n"
    switch.close()


# Commands and replies


def test_a_hundred_greenlets_each_get_their_own_reply(connected, switch):
    switch.answer = lambda command: reply(command) if command.startswith("event") else response(f"{command}!")
    connection, _ = connected()
    jobs = [gevent.spawn(lambda n=n: [connection.send(f"api echo {n} {m}") for m in range(20)]) for n in range(100)]
    gevent.joinall(jobs, timeout=PATIENCE_S)
    assert [job.value for job in jobs] == [[f"api echo {n} {m}!" for m in range(20)] for n in range(100)]
    assert connection.waiting == 0


def test_a_late_reply_is_not_taken_for_the_next_one(connected, switch):
    connection, _ = connected()
    asked, go_on = Flag(), Flag()

    def answer(command):
        if command == "api first":
            asked.set()
            go_on.wait()
        return response(f"to {command}")

    switch.answer = answer
    with pytest.raises(CommandTimeout):
        connection.send("api first", timeout_s=0.01)
    second = spawn_send(connection, "api second")
    assert asked.wait(PATIENCE_S) and not second.ready()
    go_on.set()
    assert second.get(timeout=PATIENCE_S) == "to api second"


def test_a_sender_that_is_killed_leaves_the_order_as_it_was(connected, switch):
    connection, _ = connected()
    asked, go_on = Flag(), Flag()
    switch.answer = lambda command: (asked.set(), go_on.wait(), response(f"to {command}"))[-1]
    first = spawn_send(connection, "api first")
    assert asked.wait(PATIENCE_S)
    first.kill()
    second = spawn_send(connection, "api second")
    go_on.set()
    assert second.get(timeout=PATIENCE_S) == "to api second"


def test_commands_larger_than_the_socket_arrive_whole_and_unmixed(connected, switch):
    connection, _ = connected()
    lengths = []
    switch.answer = lambda command: (lengths.append({command[4]: command.count(command[4])}), response("+OK"))[-1]
    jobs = [spawn_send(connection, f"api {letter * 4_000_000}") for letter in "xyz"]
    assert [job.get(timeout=PATIENCE_S) for job in jobs] == ["+OK"] * 3
    assert lengths == [{"x": 4_000_000}, {"y": 4_000_000}, {"z": 4_000_000}]


def test_half_a_command_ends_the_connection(connected, switch):
    connection, _ = connected()
    asked = Flag()
    switch.answer = lambda command: (asked.set(), Flag().wait())
    before = spawn_send(connection, "api before")
    assert asked.wait(PATIENCE_S)
    with pytest.raises(CommandTimeout):
        connection.send(f"api {'x' * 30_000_000}", timeout_s=0.05)
    assert isinstance(end_of(connection), NotConnected)
    assert isinstance(before.get(timeout=PATIENCE_S), NotConnected)


@pytest.mark.parametrize("command", ["api status\n\napi shutdown", "api status\r", "api\n"])
def test_a_line_break_in_a_command_is_refused(connected, switch, command):
    connection, _ = connected()
    with pytest.raises(CommandRefused):
        connection.send(command)
    assert switch.commands == ["event json HEARTBEAT"]


def test_a_reply_that_is_not_utf_8_keeps_its_bytes(connected, switch):
    connection, _ = connected()
    switch.answer = lambda command: response(b"Ren\xe9")
    assert connection.send("api status").encode("utf-8", "surrogateescape") == b"Ren\xe9"


def test_all_who_wait_hear_of_the_end(connected, switch):
    connection, session = connected()
    asked = Flag()
    switch.answer = lambda command: (asked.set(), Flag().wait())
    waiting = [spawn_send(connection) for _ in range(10)]
    assert asked.wait(PATIENCE_S)
    session.close()
    gevent.joinall(waiting, timeout=PATIENCE_S)
    assert {type(job.value) for job in waiting} == {NotConnected}
    assert isinstance(end_of(connection), NotConnected)
    with pytest.raises(NotConnected):
        connection.send("api status")


def test_stopping_fails_what_waits_and_drops_what_was_read(connected, switch):
    connection, session = connected("N")
    asked = Flag()
    switch.answer = lambda command: (session.send(event("N", N="1")), asked.set(), Flag().wait())
    waiting = spawn_send(connection)
    assert asked.wait(PATIENCE_S)
    connection.stop()
    assert isinstance(waiting.get(timeout=PATIENCE_S), NotConnected)
    assert list(connection.events()) == []


# Events


def test_only_events_that_were_asked_for_are_handed_over(connected, switch):
    connection, session = connected("CHANNEL_ANSWER", subclasses=["kazoo_rec::record_call"])
    assert switch.commands == ["event json CHANNEL_ANSWER HEARTBEAT CUSTOM kazoo_rec::record_call"]
    session.send(
        event("HEARTBEAT"),
        event("CHANNEL_ANSWER", N="1"),
        event("CUSTOM", Event_Subclass="sofia::register"),
        event("CUSTOM", Event_Subclass="kazoo_rec::record_call", N="2"),
        frame(b'{"Event-Subclass":"kazoo_rec::record_call","Event-Name":"CUSTOM","N":"3"}'),
        event("RE_SCHEDULE"),
    )
    session.close()
    assert numbers(connection) == [1, 2, 3]


def test_what_nobody_asked_for_is_not_even_parsed(connected):
    connection, session = connected("CHANNEL_ANSWER")
    session.send(frame(b'{"Event-Name":"RE_SCHEDULE", this is no JSON'), event("CHANNEL_ANSWER", N="1"))
    session.close()
    assert numbers(connection) == [1]


def test_no_caller_can_pretend_to_be_another_event(connected):
    hostile = 'x","Event-Name":"RECORD_STOP","Unique-ID":"forged'
    connection, session = connected("CHANNEL_ANSWER", "RECORD_STOP")
    session.send(event("RE_SCHEDULE", Name=hostile), frame(json.dumps(
        {"Caller": hostile, "Event-Name": "CHANNEL_ANSWER", "Unique-ID": "true"}, separators=(",", ":")).encode()))
    session.close()
    assert [(e.name, e.uuid, e.get("Caller")) for e in connection.events()] == [("CHANNEL_ANSWER", "true", hostile)]


def test_what_is_not_utf_8_in_an_event_keeps_its_bytes(connected):
    connection, session = connected("N")
    session.send(frame(b'{"Event-Name":"N","Caller":"Ren\xe9 \x0b"}'), event("N", N="2"))
    session.close()
    first, second = connection.events()
    assert first.get("Caller").encode("utf-8", "surrogateescape") == b"Ren\xe9 \x0b"
    assert second.get("N") == "2"


texts = st.text(max_size=30) | st.sampled_from(["%0AUnique-ID: forged", "a\n\nContent-Length: 5", "\u2028\x0c\x85"])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(texts, texts | st.lists(texts, min_size=1), max_size=5), max_size=5), st.data())
def test_headers_arrive_as_they_were_however_the_bytes_are_cut(connected, bodies, data):
    connection, session = connected("N")
    stream = b"".join(
        frame(json.dumps({"Event-Name": "N", "h": body}, ensure_ascii=data.draw(st.booleans()))
              .encode("utf-8", "surrogatepass")) for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        session.send(stream[start:end])
    session.close()
    assert [e.headers["h"] for e in connection.events()] == bodies


# Ends


def test_the_end_in_the_middle_of_an_event_loses_that_event_only(connected):
    connection, session = connected("N")
    session.send(event("N", N="1"), event("N", N="2"), event("N", N="3")[:-1])
    session.close()
    assert numbers(connection) == [1, 2]
    assert "in the middle of a frame" in str(end_of(connection))


def test_the_switch_s_farewell_is_the_reason(connected):
    connection, session = connected()
    session.send(frame(b"The system is being shut down.\n", "text/disconnect-notice"))
    session.close()
    assert "The system is being shut down." in str(end_of(connection))


WHOLE = event("N", N="2")
LENGTH = b"Content-Length: %d" % len(WHOLE.partition(b"\n\n")[2])


@pytest.mark.parametrize("broken", [
    pytest.param(b"Content-Length\nContent-Type: text/event-json\n\n", id="header without a colon"),
    pytest.param(b"Content-Length: 2\n\n{}", id="no type"),
    pytest.param(WHOLE.replace(LENGTH, b"Content-Length: 99999999999999"), id="huge length"),
    pytest.param(WHOLE.replace(LENGTH, b"Content-Length: 999999999"), id="length beyond the bound"),
    pytest.param(WHOLE.replace(LENGTH, b"Content-Length: -5"), id="negative length"),
    pytest.param(WHOLE.replace(LENGTH, b"Content-Length: five"), id="length in words"),
    pytest.param(WHOLE.replace(LENGTH, b"Content-Length: 9") + WHOLE, id="length too short"),
    pytest.param(WHOLE.replace(LENGTH, b"Content-Length: 60") + WHOLE, id="length too long"),
    pytest.param(frame(b"Event-Name: N\nN: 2\n\n"), id="plain text for JSON"),
    pytest.param(frame(b'["N"]'), id="JSON, but no object"),
    pytest.param(b"Content-Type: api/response\nContent-Length: 5x\n\n+OK\n\n", id="reply of no length"),
    pytest.param(b"Some: header\n" * 10_000, id="headers without an end"),
    pytest.param(response("+OK") * 2, id="more replies than commands"),
])
def test_what_is_not_the_protocol_ends_the_connection(connected, switch, broken):
    connection, _ = connected("N")
    switch.answer = lambda command: event("N", N="1") + broken
    waiting = spawn_send(connection)
    assert numbers(connection) == [1]
    assert isinstance(end_of(connection), ProtocolBroken)
    waiting.join(PATIENCE_S)
    assert waiting.value == "+OK" or isinstance(waiting.value, NotConnected)
    assert not connection.connected


def test_silence_ends_the_connection(connected):
    connection, _ = connected(silence_s=0.05)
    waiting = spawn_send(connection, "api sleep")
    assert "silent" in str(end_of(connection))
    assert waiting.get(timeout=PATIENCE_S) == "+OK\n"


def test_silence_while_this_process_slept_is_none_of_the_switch(connected):
    asleep = iter(range(0, 1000, 100))
    connection, _ = connected(silence_s=0.01, clock=lambda: next(asleep, 1000))
    assert "silent" in str(end_of(connection))
    assert next(asleep, None) is None


def test_lost_events_are_told(connected):
    connection, session = connected()
    lost = AsyncResult()
    connection.on_lost = lost.set
    session.send(
        frame(b"[CRIT] mod_event_socket.c:1 something else\n", "log/data"),
        frame(b"[CRIT] mod_event_socket.c:392 Lost [9] events! Event Queue size: [98604/100000]\n", "log/data"))
    assert lost.get(timeout=PATIENCE_S) == 9


# Load


@contextlib.contextmanager
def another_greenlet():
    """Counts the turns that it has."""
    turns, done = [], Flag()

    def take_turns():
        while not done.wait(0.0001):
            turns.append(None)

    other = gevent.spawn(take_turns)
    yield turns
    done.set()
    other.join()


def test_a_burst_leaves_other_greenlets_their_turns(connected):
    connection, session = connected("N")
    numbered = [event("N", N=str(n)) for n in range(50_000)]
    gevent.spawn(lambda: (session.send(*numbered), session.close()))
    with another_greenlet() as turns:
        assert numbers(connection) == list(range(50_000))
    assert len(turns) > 20


def test_so_does_a_queue_that_is_worked_off(connected):
    connection, session = connected("N")
    session.send(*[event("N", N=str(n)) for n in range(100_000)])
    session.close()
    end_of(connection)
    with another_greenlet() as turns:
        assert numbers(connection) == list(range(100_000))
    assert len(turns) > 5


def test_a_blocked_handler_stops_the_reading_and_bounds_the_memory(connected, said):
    bound, size, total = 1_000_000, 8_000, 8_000
    connection, session = connected("N", queue_bytes=bound)
    sent = Flag()
    padding = "x" * size
    stream = b"".join(event("N", N=str(n), Padding=padding) for n in range(total))
    gevent.spawn(lambda: (session.send(stream), sent.set(), session.close()))
    line = said.wait("reading stops")
    for _ in range(20):  # whoever would read on has the time to
        gevent.idle()
    assert line["level"] == "error" and line["bytes"] == connection.queued_bytes
    assert bound <= connection.queued_bytes < bound + 2 * size
    assert not sent.is_set(), "64 MB fit into no socket's buffers"
    assert numbers(connection) == list(range(total))
    assert sent.is_set() and connection.queued_bytes == 0
    assert connection.stalls == len(said.those("reading stops"))


def test_a_stalled_connection_can_be_stopped(connected, said):
    connection, session = connected("N", queue_bytes=1)
    gevent.spawn(lambda: outcome_of_send(session))
    said.wait("reading stops")
    connection.stop()
    assert list(connection.events()) == []
    reader = connection._receive_events_greenlet
    reader.join(PATIENCE_S)
    assert reader.dead


def outcome_of_send(session):
    with contextlib.suppress(OSError):
        session.send(event("N", N="1") * 10)
