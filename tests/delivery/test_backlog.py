"""For how long what has stopped waits, without a look at the clock by which it stopped."""

from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.delivery.backlog import Backlog

from .fakes import Clock

LOOK_MS = 2000


def looks(waits, length, offset_ms=0, step_ms=1000):
    """What is said at each look: one recording stops each `step_ms`, and waits for as long as `waits(when)` says."""
    clock, said = Clock(0), []
    backlog = Backlog(clock)
    for clock.now_ms in range(LOOK_MS, length, LOOK_MS):
        there = [at_ms for at_ms in range(0, clock.now_ms, step_ms) if at_ms + waits(at_ms) > clock.now_ms]
        first, last = (min(there) + offset_ms, max(there) + offset_ms) if there else (None, None)
        said.append((clock.now_ms, backlog.waits_ms(first, last)))
    return said


@given(st.integers(-10**8, 10**8), st.integers(0, 60_000))
def test_what_waits_as_long_as_ever_is_known_whatever_the_switch_s_clock_is(offset_ms, wait_ms):
    said = looks(lambda _: wait_ms, 5 * wait_ms + 10 * LOOK_MS, offset_ms)
    assert said == looks(lambda _: wait_ms, 5 * wait_ms + 10 * LOOK_MS)
    settled = [ms for at_ms, ms in said if at_ms > 2 * (wait_ms + 2 * LOOK_MS)]
    assert all(abs(ms - wait_ms) <= 2 * LOOK_MS for ms in settled)


def test_what_nobody_takes_up_waits_longer_and_longer_and_what_is_done_no_more():
    said = dict(looks(lambda at_ms: max(0, 100_000 - at_ms), 120_000))
    assert said[100_000 - LOOK_MS] >= 90_000
    assert said[100_000 + LOOK_MS] == 0


def test_one_that_stays_is_not_hidden_by_those_that_go():
    said = dict(looks(lambda at_ms: 10**9 if at_ms == 10_000 else 500, 200_000))
    assert said[198_000] >= 180_000
