"""A connection that comes back."""

import gevent
import pytest
from gevent.event import Event as Flag
from gevent.queue import Queue

from kazoo_rec.errors import NotConnected
from kazoo_rec.switch.redial import FIRST_WAIT_S, LONGEST_WAIT_S, REFUSED_WAIT_S, Redial
from tests.switch.fakes import PATIENCE_S


class Patience:
    """A clock and waits that take no time; `allow` lets the next wait end."""

    def __init__(self):
        self.now, self.asked, self._go = 0.0, Queue(), Queue()

    def clock(self):
        return self.now

    def pause(self, seconds):
        self.asked.put(seconds)
        self._go.get()

    def allow(self) -> float:
        """How long it wanted to wait; it waits no longer."""
        waited = self.asked.get(timeout=PATIENCE_S)
        self._go.put(None)
        return waited


@pytest.fixture
def patience():
    return Patience()


@pytest.fixture
def redial(dial, patience):
    made = []

    def make(make_connection=dial, prepare=lambda connection: None, serve=lambda connection: connection.closed.wait(),
             spread=lambda low, high: high):
        made.append(Redial(make_connection, "test", prepare, serve, clock=patience.clock, spread=spread,
                           pause=patience.pause))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_it_waits_longer_each_time_and_goes_on_for_ever(redial, switch, patience, said):
    switch.talk = lambda session: session.close()
    redial()
    waits = [patience.allow() for _ in range(40)]
    assert waits[:4] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S, 8 * FIRST_WAIT_S]
    assert set(waits[8:]) == {LONGEST_WAIT_S}
    assert len(said.those("not to be had")) == 1


def test_waits_are_spread_over_half_of_their_length(redial, switch, patience):
    switch.talk = lambda session: session.close()
    redial(spread=lambda low, high: (low, high))
    assert [patience.allow() for _ in range(2)] == [(0.1, 0.2), (0.2, 0.4)]


def test_it_comes_back_and_says_so_once_each_way(redial, switch, patience, said):
    line = redial()
    switch.session().close()
    assert patience.allow() == FIRST_WAIT_S
    switch.session()
    said.wait("FreeSWITCH is connected", times=2)
    assert line.connection.connected
    assert [entry["event"] for entry in said.lines] == [
        "FreeSWITCH is connected", "FreeSWITCH is lost", "FreeSWITCH is connected"]
    assert said.lines[1]["switch"] == f"127.0.0.1:{switch.port}"


def test_a_switch_that_drops_every_connection_is_not_pressed(redial, switch, patience):
    redial()
    waits = []
    for _ in range(4):
        switch.session().close()
        waits.append(patience.allow())
    assert waits == [FIRST_WAIT_S * 2**n for n in range(4)]


def test_after_a_while_up_the_first_wait_is_short_again(redial, switch, patience, said):
    redial()
    for _ in range(5):
        switch.session().close()
        patience.allow()
    session = switch.session()
    said.wait("FreeSWITCH is connected", times=6)
    patience.now += LONGEST_WAIT_S + 1
    session.close()
    assert patience.allow() == FIRST_WAIT_S


def test_a_wrong_password_is_tried_slowly_and_says_what_to_do(redial, switch, dial, patience, said):
    redial(lambda: dial(password="guess"))
    assert [patience.allow() for _ in range(3)] == [REFUSED_WAIT_S] * 3
    [line] = said.those("not to be had")
    assert line["level"] == "error" and "event_socket.conf.xml" in line["reason"]


def test_another_reason_is_said_too(redial, switch, patience, said):
    switch.talk = lambda session: session.close()
    redial()
    patience.allow()
    switch.talk = lambda session: session.send(b"Content-Type: text/rude-rejection\n\n")
    patience.allow()
    assert "address" in said.wait("not to be had", times=2)["reason"]


def test_a_fault_of_ours_costs_a_connection_and_not_the_link(redial, switch, patience, said):
    faults = [ValueError("Alice's number"), NotConnected("not yet")]

    def prepare(connection):
        if faults:
            raise faults.pop(0)

    line = redial(prepare=prepare)
    patience.allow()
    patience.allow()
    said.wait("FreeSWITCH is connected")
    assert line.connection.connected
    first, second = said.those("not to be had")
    assert "ValueError at test_redial.py" in first["reason"] and "Alice" not in first["reason"]
    assert second["reason"] == "not yet"


def test_every_connection_is_closed_before_the_next(redial, patience):
    made = []

    def prepare(connection):
        made.append(connection)
        raise NotConnected("not yet")

    redial(prepare=prepare)
    patience.allow()
    patience.asked.get(timeout=PATIENCE_S)
    assert [connection.closed.ready() for connection in made] == [True, True]
    assert all(connection.sock.fileno() == -1 for connection in made)


@pytest.mark.parametrize("moment", ["before it began", "in the handshake", "while waiting", "while up"])
def test_it_stops_at_any_moment(redial, switch, dial, patience, said, moment):
    asked = Flag()
    if moment == "in the handshake":
        switch.talk = lambda session: (asked.set(), session.command())
    if moment == "while waiting":
        switch.talk = lambda session: session.close()
    line = redial()
    if moment == "in the handshake":
        assert asked.wait(PATIENCE_S)
    if moment == "while waiting":
        patience.asked.get(timeout=PATIENCE_S)
    if moment == "while up":
        switch.session()
        said.wait("FreeSWITCH is connected")
    connection = line.connection
    line.stop()
    assert line.connection is None
    assert connection is None or connection.closed.ready()
    line.stop()


def test_it_can_be_stopped_from_within(redial, switch):
    done = Flag()

    def serve(connection):
        line.stop()
        done.set()

    line = redial(serve=serve)
    assert done.wait(PATIENCE_S)
    gevent.joinall([line._greenlet], timeout=PATIENCE_S)
    assert line._greenlet.dead
