"""The event sockets of a switch: who is connected, and what keeps them from it."""

import gevent
from gevent.event import Event
from gevent.server import StreamServer

from kazoo_rec.simulator.connection import Connection

#: A listener that falls behind by so many events loses them.
_MAX_QUEUED = 100_000


class EventSockets:
    """The connections of `switch`. `queue_limit` is how many events wait for a slow one."""

    def __init__(self, switch):
        self._switch, self._server, self._connections = switch, None, set()
        self._moving, self._speaking, self.queue_limit = Event(), Event(), _MAX_QUEUED

    @property
    def is_open(self) -> bool:
        return self._server is not None

    def open(self, address: tuple[str, int]) -> tuple[str, int]:
        """Listens there; gives the address. Raises OSError."""
        self.go_on()
        self._server = StreamServer(address, self._serve)
        self._server.start()
        return self._server.address

    def close(self):
        """Nobody can connect any more; who is connected stays."""
        server, self._server = self._server, None
        server.close()

    def serve(self, connection: Connection):
        """Lets it talk to its client."""
        self._connections.add(connection)
        gevent.spawn(self._talk, connection)

    def all(self) -> tuple[Connection, ...]:
        return tuple(self._connections)

    def wanting(self, name: str, subclass: str | None, of: str | None) -> list[Connection]:
        """Who listens to such an event of the leg `of`, or of none."""
        return [each for each in self._connections if each.wants(name, subclass, of)]

    def cut(self, whose: str = "event", how: str = "end"):
        """Every connection ends without a word: how is "end", "reset" or "go dead"; whose is "event" for all,
        "listening" for those that asked for events, "commanding" for the others."""
        for each in self.all():
            if whose == "event" or (whose == "listening") == each.subscription.is_any:
                {"end": each.cut, "reset": each.reset, "go dead": each.go_dead}[how]()

    def stall(self):
        """No command is executed until `go_on`."""
        self._moving.clear()

    def hang(self):
        """Besides, nothing is sent."""
        self.stall()
        self._speaking.clear()

    def go_on(self):
        self._moving.set()
        self._speaking.set()

    def wait_while_stalled(self):
        self._moving.wait()

    def wait_while_mute(self):
        self._speaking.wait()

    def _serve(self, sock, _):
        connection = Connection(self._switch, sock)
        self._connections.add(connection)
        self._talk(connection)

    def _talk(self, connection):
        try:
            connection.run()
        finally:
            self._connections.discard(connection)
            self._switch.note_change()
