"""The clock of one switch, as this process knows it: all times of a recording are by it, and it decides nothing.

FreeSWITCH reads the host's clock when it starts and counts from there by the monotonic one (switch_time.c, time_now):
once the host's clock has jumped by an hour, the two differ by an hour until the switch is restarted. A span whose one
end were by the host's clock, and the other by an event's, would be an hour too long or too short.
"""

from collections.abc import Callable

import structlog

from kazoo_rec.errors import CommandFailed, ProtocolBroken
from kazoo_rec.switch import commands, replies

#: Seconds for the answer, and milliseconds beyond which it tells too little of when it was given.
ANSWER_WITHIN_S = 5.0
EXACT_WITHIN_MS = 500

log = structlog.get_logger()


class SwitchClock:
    """Milliseconds since the epoch; the host's until it was read.

    Parameters:
      epoch_ms: the host's wall clock.
      now_at: the engine's own clock, which no jump moves, in ms.
    """

    def __init__(self, epoch_ms: Callable[[], int], now_at: Callable[[], int]):
        self._epoch_ms, self._now_at = epoch_ms, now_at
        self._ahead_ms: int | None = None

    def now_ms(self) -> int:
        return self.at(self._now_at())

    def at(self, now_at: int) -> int:
        """What the switch's clock shows when the engine's shows `now_at`."""
        if self._ahead_ms is None:
            return self._epoch_ms() - self._now_at() + now_at
        return now_at + self._ahead_ms

    def read(self, send):
        """Asks the switch; one that has no such command is taken to go by the host's clock. Raises what
        `send(command, timeout_s)` raises."""
        asked_at = self._now_at()
        try:
            said_ms = replies.clock(send(commands.clock(), ANSWER_WITHIN_S))
        except (CommandFailed, ProtocolBroken) as refused:
            log.warning("the switch does not tell its time: the host's is taken for it", reason=str(refused))
            return
        took_ms = self._now_at() - asked_at
        if self._ahead_ms is None or took_ms <= EXACT_WITHIN_MS:
            self._ahead_ms = said_ms - asked_at - took_ms // 2

    def forget(self):
        """Another process answers for the switch from now on."""
        self._ahead_ms = None
