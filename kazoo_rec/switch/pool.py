"""Commands to one switch, over as many connections as it takes for none to wait behind another."""

from collections.abc import Callable

from kazoo_rec.errors import NotConnected
from kazoo_rec.switch.connection import Connection
from kazoo_rec.switch.redial import Redial
from kazoo_rec.switch.replies import check

#: `uuid_record … start` holds a connection for some 11 ms: 90 a second on one, 1,000 on sixteen.
SIZE = 8


class Pool:
    """`size` connections, each made anew for ever when it ends.

    Nothing orders two commands but waiting for the reply of the first. None is sent a second time: who gets
    NotConnected or CommandTimeout does not know whether the switch obeyed.
    """

    def __init__(self, make_connection: Callable[[], Connection], size: int = SIZE, **redial):
        self._lines = [
            Redial(make_connection, f"commands {number}", Connection.subscribe, _until_closed, **redial)
            for number in range(1, size + 1)
        ]

    def start(self):
        for line in self._lines:
            line.start()

    def stop(self):
        for line in self._lines:
            line.stop()

    @property
    def connections(self) -> list[Connection]:
        """Those that are up."""
        return [line.connection for line in self._lines if line.connection and line.connection.connected]

    def send(self, command: str, timeout_s: float = 5.0, into: Callable[[bytes], object] | None = None) -> str:
        """What FreeSWITCH answers, over the connection with the fewest commands waiting; `into` as of
        `Connection.send`.

        Raises NotConnected (at once where none is up), CommandTimeout, CommandRefused.
        """
        connections = self.connections
        if not connections:
            raise NotConnected("no command connection to FreeSWITCH is up")
        return min(connections, key=lambda connection: connection.waiting).send(command, timeout_s, into)

    def ask(self, command: str, timeout_s: float = 5.0, into: Callable[[bytes], object] | None = None) -> str:
        """As `send`, and raises CommandFailed where the answer is `-ERR` or `-USAGE`."""
        return check(self.send(command, timeout_s, into))


def _until_closed(connection: Connection):
    connection.closed.wait()
