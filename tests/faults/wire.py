"""A wire, between engine and switch for one, that can be cut, or go dead without a word, as a firewall's that forgot
it."""

from contextlib import suppress

import gevent
from gevent.event import Event
from gevent.server import StreamServer
from gevent.socket import create_connection

from tests.faults.site import Site


class Wire:
    """Passes on what is sent to `to`, (host, port)."""

    def __init__(self, to: tuple[str, int]):
        self._to, self._pairs, self._is_cut = to, set(), False
        self._lost, self._goes = None, None
        #: How often an answer was lost.
        self.lost = 0
        #: Seconds that all that is passed on takes.
        self.late_s = 0.0
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.port = self._server.server_port

    def cut(self):
        """Ends every connection, and every new one, until `mend`."""
        self._is_cut = True
        for pair in tuple(self._pairs):
            pair.end()

    def mend(self):
        self._is_cut = False

    def deaden(self):
        """The connections that there are stay, and nothing more is passed on, either way. New ones are well."""
        for pair in self._pairs:
            pair.deaden()

    def lose(self, answer: bytes | None, then: str = "end"):
        """From now on whoever would be told something with `answer` in it is not: its connection goes ("end"), or goes
        dead ("deaden")."""
        self._lost, self._goes = answer, then

    def loses(self, data: bytes, pair) -> bool:
        """Whether this is not passed on."""
        if self._lost is None or self._lost not in data:
            return False
        self.lost += 1
        getattr(pair, self._goes)()
        return True

    def stop(self):
        self.cut()
        self._server.stop(timeout=1)

    def _serve(self, near, _address):
        if self._is_cut:
            return
        with suppress(OSError):
            pair = _Pair(self, near, create_connection(self._to))
            self._pairs.add(pair)
            pair.ended.wait()
            self._pairs.discard(pair)


class _Pair:
    def __init__(self, wire, near, far):
        self._wire, self.dead, self.ended, self._ends = wire, False, Event(), (near, far)
        for source, sink in ((near, far), (far, near)):
            gevent.spawn(self._pass_on, source, sink)

    def end(self):
        for one in self._ends:
            one.close()
        self.ended.set()

    def deaden(self):
        self.dead = True

    def _pass_on(self, source, sink):
        with suppress(OSError):
            while data := source.recv(65536):
                gevent.sleep(self._wire.late_s)
                if not self.dead and not (sink is self._ends[0] and self._wire.loses(data, self)):
                    sink.sendall(data)
        if not self.dead or source is self._ends[0]:
            self.end()


class WiredSite(Site):
    """As `Site`, with a `wire`."""

    wire: Wire | None = None

    def _write_config(self):
        ports = self._ports
        self.wire = Wire(("127.0.0.1", ports["switch"]))
        self._ports = {**ports, "switch": self.wire.port}
        super()._write_config()
        self._ports = ports

    def close(self):
        super().close()
        if self.wire is not None:
            self.wire.stop()
