"""Frames and events of the event socket: in whatever pieces they come, they are the same, or the same error."""

from kazoo_rec.errors import ProtocolBroken, SwitchError
from kazoo_rec.switch import events
from kazoo_rec.switch.protocol import Protocol

#: Frames looked at, and pieces in which they come.
MOST, MOST_PIECES = 50, 64


class Pieces:
    """A socket from which `data` comes, `size` bytes at a time."""

    def __init__(self, data, size):
        self._data, self._size = data, size

    def recv(self, _count):
        piece, self._data = self._data[:self._size], self._data[self._size:]
        return piece

    def close(self):
        pass


class Reader(Protocol):
    def __init__(self, sock):
        super().__init__()
        self.sock, self.connected, self.frames = sock, True, []
        self._begin(float("inf"), lambda: 0.0)

    def handle_event(self, kind, answer, body):
        self.frames.append((kind, answer, body))
        if len(self.frames) > MOST:
            raise ProtocolBroken("that will do")


def read(data, size):
    reader = Reader(Pieces(data, size))
    reader.receive_events()
    assert isinstance(reader.closed.value, SwitchError)
    return reader.frames, type(reader.closed.value)


def one(data: bytes):
    if not data:
        return
    size, data = max(data[0] + 1, len(data) // MOST_PIECES), data[1:]
    frames, end = read(data, len(data) or 1)
    assert (frames, end) == read(data, size)
    for kind, answer, body in frames:
        assert b"\n" not in kind and b"\n" not in answer
        look_at(body)
    look_at(data)


def look_at(body):
    name = events.event_name(body)
    try:
        event = events.parse(body)
    except ProtocolBroken:
        return
    for value in (event.name, event.subclass, event.uuid, event.core_uuid, event.variable("x"),
                  *(event.get(header) for header in event.headers)):
        assert isinstance(value, str)
    for header in event.headers:
        assert all(isinstance(text, str) for text in event.all(header))
    assert isinstance(event.sequence, int) and isinstance(event.time_us, int)
    assert name is None or isinstance(name, bytes)
