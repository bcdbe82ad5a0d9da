"""Who is sent next, where more commands wait than there are connections: the most urgent, and of those the first."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from gevent.event import AsyncResult

from kazoo_rec.errors import CommandTimeout, SwitchError
from kazoo_rec.switch.urgency import Urgency

#: Commands that may wait. Of more, the least urgent are given up: each has its greenlet, some 10 KB.
MOST_WAITING = 10_000

#: Seconds that a command which is no bookkeeping may wait before the switch is called overloaded, and for which none
#: has to have waited so long before it is not any more.
LATE_S, QUIET_S = 0.25, 5.0

log = structlog.get_logger()


class _Ticket(AsyncResult):
    """Of one who waits; set when it is his turn. `gone` once he does not wait any more."""

    def __init__(self, urgency: Urgency, since: float):
        super().__init__()
        self.urgency, self.since, self.gone = urgency, since, False


class Turns:
    """As many at once as there are `slots`.

    `given_up` counts by urgency the commands that were never sent, `longest_s` is how long one has waited since it is
    `overloaded`, bookkeeping left out.

    Parameters:
      slots: how many may be under way now.
      name: of the switch, for the log.
      clock: seconds, monotonic.
    """

    def __init__(self, slots: Callable[[], int], name: str = "", clock: Callable[[], float] = time.monotonic,
                 most: int = MOST_WAITING):
        self._slots, self._name, self._clock, self._most = slots, name, clock, most
        self._queues = [deque() for _ in Urgency]
        self._under_way = 0
        self.waiting = 0
        self.given_up = dict.fromkeys(Urgency, 0)
        self.overloaded, self.longest_s = False, 0.0
        self._late_at = 0.0
        self._since = 0.0

    @contextmanager
    def turn(self, urgency: Urgency, timeout_s: float | None) -> Iterator[float | None]:
        """Gives how many of the seconds are left when it is one's turn, which lasts as long as the block; without any,
        it is waited for as long as it takes. Raises CommandTimeout where it does not come, and what `fail` is told."""
        left_s = timeout_s
        if self.waiting or self._under_way >= self._slots():
            waited_s = self._wait(urgency, timeout_s)
            left_s = None if timeout_s is None else max(0.001, timeout_s - waited_s)
        else:
            self._under_way += 1
        try:
            yield left_s
        finally:
            self._under_way -= 1
            self.go_on()

    def go_on(self):
        """There may be room for more."""
        while self.waiting and self._under_way < self._slots():
            ticket = self._next()
            self._under_way += 1
            ticket.set()

    def fail(self, reason: SwitchError):
        """Nobody's turn will come."""
        while self.waiting:
            self._next().set_exception(reason)

    def look(self):
        """Says when the switch has become overloaded, and when it is no more."""
        now = self._clock()
        for queue in self._queues[:Urgency.BOOKS]:
            while queue and queue[0].gone:
                queue.popleft()
            if queue:
                self._note(now - queue[0].since, now)
        if self.overloaded and now - self._late_at >= QUIET_S:
            self.overloaded = False
            log.warning("commands do not wait any more", switch=self._name, after_s=round(now - self._since, 1),
                        longest_s=round(self.longest_s, 2), given_up=sum(self.given_up.values()))

    def _wait(self, urgency, timeout_s):
        """Seconds that it took."""
        ticket = _Ticket(urgency, self._clock())
        self._queues[urgency].append(ticket)
        self.waiting += 1
        if self.waiting > self._most:
            self._give_up_least_urgent()
        try:
            ticket.wait(timeout_s)
        except BaseException:  # who waited was killed, or gave up
            self._leave(ticket)
            raise
        waited_s = self._clock() - ticket.since
        if not ticket.ready():
            self._leave(ticket)
            self.given_up[urgency] += 1
            raise CommandTimeout("a command waited too long for its turn and was not sent", f"{timeout_s:g} s")
        ticket.get()
        if urgency < Urgency.BOOKS:
            self._note(waited_s, self._clock())
        return waited_s

    def _leave(self, ticket):
        if not ticket.ready():
            ticket.gone = True
            self.waiting -= 1
        elif ticket.successful():
            self._under_way -= 1
            self.go_on()

    def _next(self):
        for queue in self._queues:
            while queue:
                ticket = queue.popleft()
                if not ticket.gone:
                    self.waiting -= 1
                    return ticket
        raise LookupError("nobody waits")

    def _give_up_least_urgent(self):
        for queue in reversed(self._queues):
            while queue:
                ticket = queue.pop()
                if not ticket.gone:
                    self.waiting -= 1
                    self.given_up[ticket.urgency] += 1
                    ticket.set_exception(CommandTimeout("too many commands wait: this one was not sent"))
                    return

    def _note(self, waited_s, now):
        if waited_s < LATE_S:
            return
        self._late_at = now
        if not self.overloaded:
            self.overloaded, self._since, self.longest_s = True, now, 0.0
            log.error("commands wait for one another: the switch, or this engine, is overloaded", switch=self._name,
                      waiting=self.waiting, hint="masks go first, then what begins recordings, then what ends them")
        self.longest_s = max(self.longest_s, waited_s)
