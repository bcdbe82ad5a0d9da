"""The time of the simulated switch, in seconds since it started."""

import heapq
import itertools
import math
import time

import gevent
from gevent.event import Event

#: Media and state machines of the switch run in steps of this many seconds.
FRAME_S = 0.02


class Clock:
    """What is due when. `now` is in seconds; `epoch` is the Unix time of its zero, in seconds."""

    #: Seconds of this clock in one second of the wall's.
    speed = 1.0

    def __init__(self, epoch: float):
        self.epoch = epoch
        self._due, self._order = [], itertools.count()

    def at(self, when: float, what):
        """Calls `what()` at `when`, or as soon as possible where that has passed."""
        heapq.heappush(self._due, (when, next(self._order), what))

    def after(self, seconds: float, what):
        self.at(self.now + seconds, what)

    def epoch_us(self) -> int:
        """Microseconds since 1970: what FreeSWITCH writes into its events."""
        return round(self.epoch * 1e6) + round(self.now * 1e6)

    def whole_seconds(self, seconds: int) -> float:
        """When a limit of whole seconds strikes: FreeSWITCH compares Unix times without their fraction."""
        return math.floor(self.epoch + self.now) + seconds - self.epoch


    def wait_for(self, greenlet):
        """Something beyond the switch is under way, which takes no time of this clock where that can be helped."""


class WallClock(Clock):
    """Follows the wall's clock, `speed` times as fast."""

    def __init__(self, speed: float = 1.0):
        super().__init__(time.time())
        self.speed = speed
        self._zero, self._last, self._due_now, self._earlier = time.monotonic(), 0.0, None, Event()
        self._greenlet = None

    @property
    def now(self) -> float:
        """While something is called it is the time at which that was due, so that a busy host bends nothing."""
        self._last = max(self._last, self._wall() if self._due_now is None else self._due_now)
        return self._last

    def _wall(self):
        return (time.monotonic() - self._zero) * self.speed

    def at(self, when, what):
        super().at(when, what)
        self._earlier.set()

    def start(self):
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)

    def stop(self):
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None

    def sleep(self, seconds: float):
        gevent.sleep(seconds / self.speed)

    def _run(self):
        while True:
            self._earlier.clear()
            while self._due and self._due[0][0] <= self._wall():
                self._due_now, _, what = heapq.heappop(self._due)
                try:
                    what()
                finally:
                    self._due_now = None
            gevent.sleep(0)
            self._earlier.wait(max(0.0, self._due[0][0] - self._wall()) / self.speed if self._due else None)


class HandClock(Clock):
    """Stands still until a test moves it. Its zero is noon of a day in 2026, so that runs are alike."""

    def __init__(self, epoch: float = 1795262400.0):
        super().__init__(epoch)
        self.now, self._under_way = 0.0, []

    def start(self):
        """Nothing runs by itself."""

    def stop(self):
        """Nothing runs by itself."""

    def sleep(self, seconds: float):
        """The switch's own threads wait for nobody's hand."""
        gevent.sleep(0)

    def wait_for(self, greenlet):
        self._under_way.append(greenlet)

    def advance(self, seconds: float):
        """Lets that much time pass: calls what falls due, in order, and lets connections and clients do their part."""
        end = self.now + seconds
        gevent.idle()
        while self._due and self._due[0][0] <= end + 1e-9:
            when, _, what = heapq.heappop(self._due)
            self.now = max(self.now, when)
            what()
            if not self._due or self._due[0][0] > self.now:
                gevent.idle()
            while self._under_way:
                self._under_way.pop().join(timeout=5)
        self.now = max(self.now, end)
