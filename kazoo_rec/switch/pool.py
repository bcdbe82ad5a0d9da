"""Commands to one switch, over as many connections as it takes for none to wait behind another; where they do wait,
the most urgent goes first. None is sent on a connection that another waits on: at the switch it would be first come,
first served."""

from collections.abc import Callable

from kazoo_rec.errors import CommandOvertaken, NotConnected
from kazoo_rec.switch.connection import Connection
from kazoo_rec.switch.redial import Redial
from kazoo_rec.switch.replies import check
from kazoo_rec.switch.turns import Turns
from kazoo_rec.switch.urgency import Perishable, urgency

#: `uuid_record … start` holds a connection for some 11 ms: 90 a second on one, 1,000 on sixteen.
SIZE = 8


class Pool:
    """`size` connections, each made anew for ever when it ends.

    Nothing orders two commands but waiting for the reply of the first. None is sent a second time: who gets
    NotConnected or CommandTimeout does not know whether the switch obeyed. `turns` tells how many wait, and whether
    they are too many; `name` is the switch's.
    """

    def __init__(self, make_connection: Callable[[], Connection], size: int = SIZE, name: str = "", **redial):
        self.turns = Turns(lambda: len(self.connections), name)
        self._lines = [
            Redial(make_connection, f"commands {number}", Connection.subscribe, self._until_closed, **redial)
            for number in range(1, size + 1)
        ]

    def start(self):
        for line in self._lines:
            line.start()

    def stop(self):
        for line in self._lines:
            line.stop()

    def cut(self):
        """No command is sent any more, as of now; `stop` has to follow."""
        for line in self._lines:
            line.cut()

    @property
    def connections(self) -> list[Connection]:
        """Those that are up."""
        return [line.connection for line in self._lines if line.connection and line.connection.connected]

    def send(self, command: str, timeout_s: float = 5.0, into: Callable[[bytes], object] | None = None) -> str:
        """What FreeSWITCH answers, over the connection with the fewest commands waiting; `into` as of
        `Connection.send`.

        Raises NotConnected (at once where none is up), CommandTimeout, CommandRefused; CommandOvertaken for a
        `Perishable` that nobody wants any more when its turn comes. `timeout_s` is for all of it, of a `Perishable` for
        what comes after its turn.
        """
        self._connected()
        perishable = isinstance(command, Perishable)
        with self.turns.turn(urgency(command), None if perishable else timeout_s) as left_s:
            if perishable and not command.wanted():
                raise CommandOvertaken("what a command was for has passed")
            idlest = min(self._connected(), key=lambda connection: connection.waiting)
            return idlest.send(command, timeout_s if left_s is None else left_s, into)

    def ask(self, command: str, timeout_s: float = 5.0, into: Callable[[bytes], object] | None = None) -> str:
        """As `send`, and raises CommandFailed where the answer is `-ERR` or `-USAGE`."""
        return check(self.send(command, timeout_s, into))

    def _connected(self):
        connections = self.connections
        if not connections:
            raise _nothing_up()
        return connections

    def _until_closed(self, connection: Connection):
        self.turns.go_on()
        connection.closed.wait()
        if not self.connections:
            self.turns.fail(_nothing_up())


def _nothing_up():
    return NotConnected("no command connection to FreeSWITCH is up")
