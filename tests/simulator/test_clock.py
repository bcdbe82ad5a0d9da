"""Time of the switch: by hand, and faster than the wall."""

import gevent
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.simulator.clock import HandClock, WallClock


@given(st.lists(st.floats(0, 5), max_size=20), st.floats(0, 6))
def test_what_is_due_happens_in_order_and_at_its_time(times, until):
    clock, happened = HandClock(), []
    for at in times:
        clock.at(at, lambda at=at: happened.append((at, clock.now)))
    clock.advance(until)
    due = sorted(at for at in times if at <= until + 1e-9)
    assert [at for at, _ in happened] == due and all(at == now for at, now in happened)
    assert clock.now >= until


def test_what_happens_may_cause_more_in_the_same_moment():
    clock, happened = HandClock(), []
    clock.after(1, lambda: clock.after(0, lambda: happened.append(clock.now)))
    clock.advance(1)
    assert happened == [1]


def test_a_limit_of_whole_seconds_strikes_when_the_second_of_the_day_changes():
    clock = HandClock(epoch=1000.25)
    clock.advance(0.5)
    assert clock.whole_seconds(2) == 1.75
    clock.advance(0.3)
    assert clock.whole_seconds(2) == 2.75


def test_a_fast_clock_runs_ahead_of_the_wall_and_its_moments_are_exact():
    clock, happened, done = WallClock(speed=100), [], Event()
    clock.start()
    for at in (5.0, 2.5):
        clock.at(at, lambda: happened.append(clock.now))
    clock.at(10.0, done.set)
    assert done.wait(5)
    assert happened == [2.5, 5.0] and clock.now >= 10
    clock.stop()


def test_a_clock_that_waits_takes_up_what_is_added_meanwhile():
    clock, done = WallClock(speed=100), Event()
    clock.at(1e6, lambda: None)
    clock.start()
    gevent.idle()
    clock.after(0.1, done.set)
    assert done.wait(5)
    clock.stop()
