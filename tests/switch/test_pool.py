"""Commands over several connections."""

import gevent
import pytest
from gevent.event import Event as Flag

from kazoo_rec.errors import CommandFailed, CommandOvertaken, CommandTimeout, NotConnected
from kazoo_rec.switch.pool import Pool
from kazoo_rec.switch.protocol import RECV_BYTES
from kazoo_rec.switch.urgency import Perishable
from tests.switch.fakes import PATIENCE_S, outcome, response


@pytest.fixture
def pool(switch, dial, said):
    made = []

    def make(size=3):
        made.append(Pool(dial, size, pause=lambda seconds: None))
        made[-1].start()
        said.wait("FreeSWITCH is connected", times=size)
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_without_a_connection_a_command_fails_at_once(dial):
    with pytest.raises(NotConnected):
        Pool(dial).send("api status")


def test_it_opens_eight_unless_told_otherwise(dial, said):
    pool = Pool(dial)
    pool.start()
    said.wait("FreeSWITCH is connected", times=8)
    assert len(pool.connections) == 8
    pool.stop()
    assert pool.connections == []


def test_commands_wait_behind_one_another_only_when_there_are_more_than_connections(pool, switch):
    a_pool = pool(3)
    go_on, arrived, all_there = Flag(), [], Flag()

    def answer(command):
        arrived.append(command)
        if len(arrived) == 3:
            all_there.set()
        go_on.wait()
        return response(command)

    switch.answer = answer
    jobs = [gevent.spawn(a_pool.send, f"api {n}") for n in range(6)]
    assert all_there.wait(PATIENCE_S)
    assert [connection.waiting for connection in a_pool.connections] == [1, 1, 1] and a_pool.turns.waiting == 3
    go_on.set()
    gevent.joinall(jobs, timeout=PATIENCE_S)
    assert [job.value for job in jobs] == [f"api {n}" for n in range(6)]


def test_a_stuck_connection_is_avoided(pool, switch):
    a_pool = pool(2)
    stuck = Flag()
    plain = switch.answer
    switch.answer = lambda command: (stuck.wait(), response("late"))[-1] if command == "api stuck" else plain(command)
    with pytest.raises(CommandTimeout):
        a_pool.send("api stuck", timeout_s=0.01)
    assert [a_pool.send("api status") for _ in range(5)] == ["+OK\n"] * 5
    stuck.set()


def test_a_lost_connection_fails_its_commands_and_comes_back(pool, switch, said):
    a_pool = pool(1)
    session, asked = switch.session(), Flag()
    plain = switch.answer
    switch.answer = lambda command: (asked.set(), Flag().wait())
    job = gevent.spawn(outcome, a_pool.send, "api status")
    assert asked.wait(PATIENCE_S)
    switch.answer = plain
    session.close()
    assert isinstance(job.get(timeout=PATIENCE_S), NotConnected)
    said.wait("FreeSWITCH is connected", times=2)
    assert a_pool.send("api status") == "+OK\n"


def test_a_refusal_is_raised_by_ask_and_returned_by_send(pool, switch):
    a_pool = pool(1)
    switch.answer = lambda command: response("-ERR No such channel!\n")
    assert a_pool.send("api uuid_kill x") == "-ERR No such channel!\n"
    with pytest.raises(CommandFailed, match="No such channel"):
        a_pool.ask("api uuid_kill x")


def test_its_connections_hear_heartbeats_so_that_a_dead_switch_is_noticed(pool, switch):
    pool(2)
    assert switch.commands == ["event json HEARTBEAT"] * 2


def test_a_long_answer_can_be_taken_piece_by_piece_and_the_next_is_its_own(pool, switch):
    a_pool, pieces, body = pool(1), [], b"a list " * 100_000
    switch.answer = {"api show channels": response(body), "api show nothing": response(""),
                     "api show calls": response("-ERR no\n"), "api status": response("UP")}.get
    assert a_pool.ask("api show channels", PATIENCE_S, pieces.append) == "" and b"".join(pieces) == body
    assert max(map(len, pieces)) <= RECV_BYTES
    assert a_pool.ask("api show nothing", PATIENCE_S, None) == a_pool.ask("api show nothing", PATIENCE_S, print) == ""
    asked = [gevent.spawn(a_pool.ask, "api show calls", PATIENCE_S, pieces.append),
             gevent.spawn(a_pool.ask, "api status", PATIENCE_S)]
    assert [one.get(timeout=PATIENCE_S) for one in asked] == ["", "UP"] and pieces[-1] == b"-ERR no\n"


def test_what_waits_is_sent_by_its_urgency_and_not_by_when_it_came(pool, switch):
    a_pool = pool(1)
    busy, go_on, order = Flag(), Flag(), []

    def answer(command):
        order.append(command)
        busy.set()
        go_on.wait()
        return response("+OK\n")

    switch.answer = answer
    first = gevent.spawn(a_pool.send, "api status")
    assert busy.wait(PATIENCE_S)
    path = "/rec/acme/20261121/202611-0123456789abcdef0123456789abcdef.wav"
    waiting = ["api show channels as json", f"api uuid_record b stop {path}", f"api uuid_record c start {path} 0",
               f"api uuid_setvar_multi d execute_on_answer_x=record_session {path} +0",
               f"api uuid_record e mask {path}"]
    jobs = []
    for command in waiting:
        jobs.append(gevent.spawn(a_pool.send, command))
        gevent.idle()
    assert a_pool.turns.waiting == 5
    go_on.set()
    gevent.joinall([first, *jobs], timeout=PATIENCE_S)
    assert order[1:] == waiting[::-1]


def test_what_waits_when_the_last_connection_is_lost_fails_at_once(pool, switch):
    a_pool = pool(1)
    session, asked = switch.session(), Flag()
    switch.answer = lambda command: (asked.set(), Flag().wait())
    jobs = [gevent.spawn(outcome, a_pool.send, f"api {n}", 3600.0) for n in range(3)]
    assert asked.wait(PATIENCE_S)
    session.close()
    assert all(isinstance(job.get(timeout=PATIENCE_S), NotConnected) for job in jobs)
    assert a_pool.turns.waiting == 0


def test_what_nobody_wants_any_more_when_its_turn_comes_is_not_sent(pool, switch):
    a_pool = pool(1)
    busy, go_on, wanted = Flag(), Flag(), [True, True]
    switch.answer = lambda command: (busy.set(), go_on.wait(), response("+OK\n"))[-1]
    first = gevent.spawn(a_pool.send, "api status")
    assert busy.wait(PATIENCE_S)
    jobs = [gevent.spawn(outcome, a_pool.send, Perishable(f"api {n}", lambda n=n: wanted[n])) for n in range(2)]
    gevent.idle()
    wanted[0] = False
    go_on.set()
    gevent.joinall([first, *jobs], timeout=PATIENCE_S)
    assert isinstance(jobs[0].value, CommandOvertaken) and jobs[1].value == "+OK\n"
