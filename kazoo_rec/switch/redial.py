"""Has a connection to a switch up whenever that is possible, for ever."""

import random
import time
import traceback
from collections.abc import Callable
from pathlib import PurePath

import gevent
import structlog
from gevent.event import Event as Flag

from kazoo_rec.errors import AccessRefused, NotConnected, SwitchError
from kazoo_rec.switch.connection import Connection

log = structlog.get_logger()

#: Between two attempts: doubled each time, then cut by up to a half, so that many do not knock at once.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 10.0
#: A refusal does not pass by itself, and FreeSWITCH logs each.
REFUSED_WAIT_S = 30.0
#: What `stop` allows a handler to finish.
STOP_S = 5.0


class Redial:
    """Connects, prepares, serves, and begins anew when that ends, whatever the reason.

    `prepare(connection)` makes it usable: only then `connection` shows it. `serve(connection)` returns when it has
    ended. Both may raise. The log has one line when it goes down, one more where the reason changes, one when it is
    up. `spread(low, high)` draws the jitter, `pause(seconds)` waits.
    """

    def __init__(self, make_connection: Callable[[], Connection], name: str,
                 prepare: Callable[[Connection], None], serve: Callable[[Connection], None], *,
                 clock: Callable[[], float] = time.monotonic,
                 spread: Callable[[float, float], float] = random.uniform,
                 pause: Callable[[float], object] | None = None):
        self.connection: Connection | None = None
        self._make_connection, self._prepare, self._serve = make_connection, prepare, serve
        self._clock, self._spread = clock, spread
        self._stopping = Flag()
        self._pause = pause or self._stopping.wait
        self._greenlet = gevent.Greenlet(self._run)
        self._name = name

    def start(self):
        self._greenlet.start()

    def stop(self):
        """End it; what was read and not handed over is dropped. From within a handler it ends when that returns."""
        serving = self.connection
        self.cut()
        if gevent.getcurrent() is self._greenlet:
            return
        if serving:
            self._greenlet.join(STOP_S)
        self._greenlet.kill()

    def cut(self):
        """As `stop`, and waits for nothing."""
        self._stopping.set()
        if self.connection:
            self.connection.stop()

    def _run(self):
        attempt, said, down_since = 0, None, self._clock()
        while not self._stopping.is_set():
            connection = self._make_connection()
            say = log.bind(connection=self._name, switch=f"{connection.host}:{connection.port}")
            up_since = None
            try:
                connection.connect()
                self._prepare(connection)
                self.connection, up_since = connection, self._clock()
                say.info("FreeSWITCH is connected", after_s=round(up_since - down_since, 1), attempts=attempt + 1)
                self._serve(connection)
                reason = connection.closed.get()
            except SwitchError as refusal:
                reason = refusal
            except Exception as fault:  # noqa: BLE001  a fault of ours must not be the end of recording
                reason = NotConnected("a fault of kazoo_rec ended the connection", place(fault))
            finally:
                self.connection = None
                connection.stop()
            if self._stopping.is_set():
                return
            if up_since is not None:
                down_since = self._clock()
                if down_since - up_since > LONGEST_WAIT_S:
                    attempt = 0
            if up_since is not None or said != (type(reason), reason.message):
                said = type(reason), reason.message
                say.error("FreeSWITCH is lost" if up_since is not None else "FreeSWITCH is not to be had",
                          reason=str(reason))
            self._pause(self._wait_s(attempt, reason))
            attempt += 1

    def _wait_s(self, attempt: int, reason: SwitchError) -> float:
        longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempt, 10))
        if isinstance(reason, AccessRefused):
            longest = REFUSED_WAIT_S
        return self._spread(longest / 2, longest)


def place(fault: Exception) -> str:
    """Type and origin of a fault; not its message, which may hold what a caller said."""
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{type(fault).__name__} at {PurePath(frame.filename).name}:{frame.lineno} in {frame.name}"
