"""Whether an engine that stands by would reach its switches: with the lock and without a switch it would record
nothing, and keep from it who can."""

import gevent
import structlog

from kazoo_rec.errors import SwitchError

#: Seconds between looks; FreeSWITCH logs each attempt that it refuses.
LOOK_EVERY_S = 10.0

log = structlog.get_logger()


class Reach:
    """`connect[name]()` makes a `Connection` to that switch. Looks in greenlets of its own: an attempt may take
    seconds."""

    def __init__(self, connect: dict):
        self._connect, self._unreached, self._greenlets = connect, set(connect), []
        self._said: set[str] = set()

    def start(self):
        self._greenlets = [gevent.spawn(self._follow, name) for name in self._connect]

    def stop(self):
        gevent.killall(self._greenlets)

    @property
    def is_any(self) -> bool:
        """One is enough: the host of another may be what is gone, and with it the engine that acted."""
        return len(self._unreached) < len(self._connect)

    def _follow(self, name):
        while True:
            self._look(name)
            gevent.sleep(LOOK_EVERY_S)

    def _look(self, name):
        connection = self._connect[name]()
        try:
            connection.connect()
        except SwitchError as reason:
            self._unreached.add(name)
            if name not in self._said:
                self._said.add(name)
                log.error("an engine that stands by does not reach the switch", switch=name, reason=str(reason),
                          hint="it acts only when it reaches one of its switches")
        else:
            self._unreached.discard(name)
            self._said.discard(name)
        finally:
            connection.stop()
