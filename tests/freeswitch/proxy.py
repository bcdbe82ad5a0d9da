"""A wire to the switch's event socket that can be cut."""

import gevent
from gevent.event import Event
from gevent.server import StreamServer
from gevent.socket import create_connection


class Proxy:
    """Passes on what is sent to `address`, (host, port) on loopback, until it is cut."""

    def __init__(self, to: tuple[str, int]):
        self._to, self._sockets, self._is_cut, self._flows = to, set(), False, Event()
        self._flows.set()
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.address = self._server.address

    def cut(self):
        """Ends every connection, and every new one, until `mend`."""
        self._is_cut = True
        for one in tuple(self._sockets):
            one.close()

    def stall(self):
        """Nothing gets through, and nobody is told."""
        self._flows.clear()

    def mend(self):
        self._is_cut = False
        self._flows.set()

    def stop(self):
        self.cut()
        self._server.stop(timeout=1)

    def _serve(self, near, _):
        if self._is_cut:
            return
        far = create_connection(self._to)
        pair = {near, far}
        self._sockets |= pair
        gevent.joinall([gevent.spawn(self._pass_on, *way) for way in ((near, far), (far, near))], count=1)
        self._sockets -= pair
        far.close()

    def _pass_on(self, source, sink):
        try:
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
        except OSError:
            return
