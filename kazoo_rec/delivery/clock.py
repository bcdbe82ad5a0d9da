"""The time that deliveries are planned by. It does not jump: when the host's clock does, plans move first."""

import time
from collections.abc import Callable

import structlog
from gevent.event import AsyncResult

#: By how much, in ms, the host's clock may differ from what it showed before plus what has passed since.
JUMP_MS = 2_000

log = structlog.get_logger()


def monotonic_ms() -> int:
    """Milliseconds that no jump of the host's clock moves."""
    return time.monotonic_ns() // 1_000_000


class HostClock:
    """Milliseconds since the epoch, when called. A plan of before a jump would be an hour too late after it, or given
    up an hour too early; so the old time goes on until the rows are of the new.

    Parameters:
      epoch_ms: the host's wall clock.
      now_at: milliseconds that no jump moves, of any origin.
      shift: `shift(by_ms)` moves all that is planned, durable when the result is there.
    """

    def __init__(self, epoch_ms: Callable[[], int], now_at: Callable[[], int], shift: Callable[[int], AsyncResult]):
        self._epoch_ms, self._now_at, self._shift = epoch_ms, now_at, shift
        self._ahead_ms, self._shifting = epoch_ms() - now_at(), False

    def __call__(self) -> int:
        now_at = self._now_at()
        jumped_ms = self._epoch_ms() - now_at - self._ahead_ms
        if abs(jumped_ms) > JUMP_MS and not self._shifting:
            self._shifting = True
            log.warning("the host's clock has jumped: what is planned moves with it", by_ms=jumped_ms)
            self._shift(jumped_ms).rawlink(lambda done: self._shifted(jumped_ms, done.exception))
        return now_at + self._ahead_ms

    def _shifted(self, by_ms, fault):
        self._shifting = False
        if fault is None:
            self._ahead_ms += by_ms
        else:
            log.error("what is planned could not be moved yet", reason=str(fault))
