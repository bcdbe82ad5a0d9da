"""Turns: the most urgent first, none lost, and an overload that is said once and ends by itself."""

from functools import partial

import gevent
import pytest
from gevent.event import Event as Flag
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kazoo_rec.errors import CommandTimeout, NotConnected
from kazoo_rec.switch import commands
from kazoo_rec.switch.turns import Turns
from kazoo_rec.switch.urgency import Urgency, urgency
from tests.switch.fakes import PATIENCE_S, outcome

ID = "202611-0123456789abcdef0123456789abcdef"
PATH = f"/rec/acme/20261121/{ID}.wav"


@pytest.mark.parametrize(("command", "expected"), [
    (commands.mask("a", PATH), Urgency.SILENCE), (commands.pause("a", PATH), Urgency.SILENCE),
    (commands.room_pause("3500", PATH), Urgency.SILENCE), (commands.kill("a"), Urgency.SILENCE),
    (commands.arm("a", [commands.Arming(ID, PATH, 0, {})]), Urgency.ARM),
    (commands.start("a", PATH, 0, {"x": "stop"}), Urgency.START), (commands.unmask("a", PATH), Urgency.START),
    (commands.resume("a", PATH), Urgency.START), (commands.buglist("a"), Urgency.START),
    (commands.room_start("3500", PATH), Urgency.START),
    (commands.unguard("a"), Urgency.START), (commands.room_resume("3500", PATH), Urgency.START),
    (commands.announce("a", "x.wav", "0" * 32), Urgency.START),
    (commands.stop("a", PATH), Urgency.STOP), (commands.disarm("a", [ID]), Urgency.STOP),
    (commands.decline("a", ["acme"]), Urgency.STOP),
    (commands.room_stop("3500", PATH), Urgency.STOP),
    *((command, Urgency.BOOKS) for command in (
        commands.dump("a"), commands.exists("a"), commands.show_channels(), commands.rooms(), commands.beep("a"),
        commands.show_registrations(), commands.subscribe(["HEARTBEAT"]), commands.set_aside("a", "x")))])
def test_each_command_has_its_urgency(command, expected):
    assert urgency(command) is expected


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Switch:
    """Takes `slots` commands at once and answers when it is told to."""

    def __init__(self, slots=1, **options):
        self.slots, self.clock, self.sent, self.answers = slots, Clock(), [], []
        self.turns = Turns(lambda: self.slots, "fs1", self.clock, **options)

    def send(self, name, urgency, timeout_s=3600.0):
        with self.turns.turn(urgency, timeout_s):
            self.sent.append(name)
            self.answers.append(Flag())
            self.answers[-1].wait()
        return name

    def ask(self, name, urgency, **options):
        job = gevent.spawn(outcome, partial(self.send, **options), name, urgency)
        gevent.idle()
        return job

    def answer(self, count=1):
        for _ in range(count):
            self.answers.pop(0).set()
            gevent.idle()
        return self


@given(st.lists(st.sampled_from(Urgency), max_size=30), st.integers(1, 3))
def test_none_is_lost_and_each_is_behind_those_that_are_more_urgent_or_as_urgent_and_earlier(those, slots):
    switch = Switch(slots)
    under_way = [switch.ask(None, Urgency.BOOKS) for _ in range(slots)]
    jobs = [switch.ask((one, number), one) for number, one in enumerate(those)]
    switch.answer(slots + len(those))
    gevent.joinall(under_way + jobs, timeout=PATIENCE_S)
    assert switch.sent[slots:] == sorted((one, number) for number, one in enumerate(those))
    assert switch.turns.waiting == 0 and not any(switch.turns.given_up.values())


def test_who_waits_too_long_is_told_so_and_never_sent():
    switch = Switch()
    switch.ask("first", Urgency.BOOKS)
    with pytest.raises(CommandTimeout, match="not sent"):
        switch.send("late", Urgency.STOP, timeout_s=0.01)
    switch.answer()
    assert switch.sent == ["first"] and switch.turns.waiting == 0 and switch.turns.given_up[Urgency.STOP] == 1
    assert switch.ask("next", Urgency.BOOKS) and switch.sent == ["first", "next"]


def test_who_waits_as_long_as_it_takes_has_all_of_his_time_behind_it():
    switch, left = Switch(), []
    switch.ask("first", Urgency.BOOKS)

    def patient():
        with switch.turns.turn(Urgency.START, None) as left_s:
            left.append(left_s)

    job = gevent.spawn(patient)
    gevent.idle()
    switch.clock.now = 3600.0
    switch.answer()
    job.get(timeout=PATIENCE_S)
    assert left == [None] and switch.turns.longest_s == 3600.0


def test_who_is_killed_leaves_his_place_before_and_after_it_was_his_turn():
    switch = Switch()
    switch.ask("first", Urgency.BOOKS)
    waits, turned, _ = (switch.ask(name, Urgency.START) for name in ("waits", "turned", "last"))
    waits.kill()
    assert switch.turns.waiting == 2
    turned.kill(block=False)
    switch.slots = 2
    switch.turns.go_on()  # its turn, and it does not live to take it
    gevent.idle()
    assert switch.sent == ["first", "last"] and switch.turns.waiting == 0


def test_with_more_connections_more_are_sent_and_with_none_all_fail():
    switch = Switch()
    jobs = [switch.ask(name, Urgency.START) for name in "abc"]
    switch.slots = 2
    switch.turns.go_on()
    gevent.idle()
    assert switch.sent == ["a", "b"]
    switch.turns.fail(NotConnected("gone"))
    assert isinstance(jobs[2].get(timeout=PATIENCE_S), NotConnected)


def test_of_too_many_the_least_urgent_are_given_up_the_newest_of_them_first():
    switch = Switch(most=3)
    switch.ask("first", Urgency.BOOKS)
    jobs = {name: switch.ask(name, urgency) for name, urgency in (
        ("books", Urgency.BOOKS), ("stop", Urgency.STOP), ("start", Urgency.START), ("another", Urgency.START),
        ("mask", Urgency.SILENCE), ("late", Urgency.STOP))}
    for name in ("books", "stop", "late"):
        assert "too many" in jobs[name].get(timeout=PATIENCE_S).message
    switch.answer(4)
    assert switch.sent == ["first", "mask", "start", "another"]


def test_an_overload_is_said_once_and_its_end_too():
    switch = Switch()
    with capture_logs() as lines:
        switch.ask("first", Urgency.START)
        waits = switch.ask("waits", Urgency.START)
        switch.turns.look()
        assert not switch.turns.overloaded
        switch.clock.now = 0.25
        switch.turns.look()
        assert switch.turns.overloaded
        for _ in range(20):
            switch.ask("more", Urgency.STOP)
            switch.clock.now += 0.5
            switch.turns.look()
        switch.answer(22)
        waits.get(timeout=PATIENCE_S)
        switch.clock.now += 4.9
        switch.turns.look()
        assert switch.turns.overloaded
        switch.clock.now += 0.1
        switch.turns.look()
        switch.turns.look()
    assert not switch.turns.overloaded and switch.turns.longest_s == pytest.approx(10.25)
    assert [line["log_level"] for line in lines] == ["error", "warning"]
    assert lines[1]["longest_s"] == 10.25 and lines[0]["switch"] == "fs1"


def test_bookkeeping_that_waits_is_no_overload():
    switch = Switch()
    switch.ask("first", Urgency.START)
    switch.ask("sweep", Urgency.BOOKS)
    switch.clock.now = 100
    switch.turns.look()
    assert not switch.turns.overloaded
