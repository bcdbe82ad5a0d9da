"""For how long what has stopped has been waiting."""

from collections.abc import Callable


class Backlog:
    """Of one switch, by this process's own clock: when a recording stopped its row says by the switch's, which may be
    hours from the host's. So one look notes what waits, and as soon as another finds nothing of that any more, it is
    known how long it took; to the time between two looks, and from this process's first look on.

    Parameters: `now_at`, milliseconds that no jump of a clock moves.
    """

    def __init__(self, now_at: Callable[[], int]):
        self._now_at = now_at
        self._noted: tuple[int, int] | None = None  # (the last of what was noted stopped, it was noted at)
        self._took_ms = 0

    def waits_ms(self, first_ms: int | None, last_ms: int | None) -> int:
        """How long the first has waited, or at most what was done last did; 0 where nothing waits.

        Parameters: when the first and the last of what waits now stopped, ms of the switch's clock, or None.
        """
        if first_ms is None:
            self._noted, self._took_ms = None, 0
            return 0
        now_at = self._now_at()
        if self._noted is None or first_ms > self._noted[0]:
            self._took_ms = now_at - self._noted[1] if self._noted else 0
            self._noted = last_ms, now_at
        return max(self._took_ms, now_at - self._noted[1])
