"""The host's clock jumps by an hour: what is planned is neither kept waiting nor given up for that."""

import gevent
from gevent.event import AsyncResult
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.delivery.clock import JUMP_MS, HostClock

NOON_MS, HOUR_MS = 1_795_262_400_000, 3_600_000


class Host:
    """`plan_ms` is the time that one delivery is planned for; a shift of it lasts until it is let go."""

    def __init__(self):
        self.now, self.jumped, self.plan_ms, self.waiting = 7, 0, NOON_MS + 5_000, []
        self.clock = HostClock(lambda: NOON_MS + self.now + self.jumped, lambda: self.now, self.shift)

    def shift(self, by_ms):
        self.waiting.append((by_ms, AsyncResult()))
        return self.waiting[-1][1]

    def write(self, fault=None):
        for by_ms, done in self.waiting:
            if fault is None:
                self.plan_ms += by_ms
                done.set(1)
            else:
                done.set_exception(fault)
        self.waiting = []

    def due_in_ms(self):
        return self.plan_ms - self.clock()


STEPS = st.lists(st.tuples(st.integers(0, HOUR_MS), st.sampled_from([0, HOUR_MS, -HOUR_MS, 90_000]),
                           st.booleans()), max_size=12)


@given(STEPS)
def test_a_plan_comes_due_when_so_much_time_has_passed_however_the_clock_jumps(steps):
    host = Host()
    due_at = host.now + host.due_in_ms()
    for passed_ms, jump_ms, written in steps:
        host.now, host.jumped = host.now + passed_ms, host.jumped + jump_ms
        assert host.due_in_ms() == due_at - host.now
        if written:
            host.write()
            gevent.idle()
            assert host.due_in_ms() == due_at - host.now


def test_a_clock_that_is_corrected_a_little_moves_nothing():
    host = Host()
    host.jumped = JUMP_MS
    assert host.due_in_ms() == 4_993 and not host.waiting


def test_what_could_not_be_moved_is_moved_later():
    host = Host()
    host.jumped = HOUR_MS
    before = host.due_in_ms()
    host.write(OSError("full"))
    gevent.idle()
    assert host.due_in_ms() == before and len(host.waiting) == 1
    host.write()
    gevent.idle()
    assert host.due_in_ms() == before and host.clock() == NOON_MS + host.now + HOUR_MS
