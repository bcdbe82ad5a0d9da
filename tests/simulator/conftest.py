"""A switch whose clock stands still, and a client that reads what it sends."""

import json
import socket
from urllib.parse import unquote

import gevent
import pytest

from kazoo_rec.simulator.clock import HandClock
from kazoo_rec.simulator.script import Phone, Script
from kazoo_rec.simulator.simulator import Simulator


class Client:
    """One event socket connection; everything read is kept in `events`, `replies` and, to the byte, `raw`; `heads` are
    the headers that came before replies and notices. Without an address it talks on `sock`."""

    def __init__(self, address, password="ClueCon", sock=None):
        self.events, self.replies, self.notices, self.raw, self.ended = [], [], [], b"", False
        self.heads = []
        self._socket = sock or socket.create_connection(address)
        self._reader = gevent.spawn(self._read)
        if password is not None:
            assert self.ask(f"auth {password}") == "+OK accepted"

    def send(self, text: str):
        self._socket.sendall(text.encode("utf-8", "surrogateescape") + b"\n\n")

    def ask(self, text: str) -> str:
        """Sends a command and gives its reply; the switch's clock need not move for it."""
        had = len(self.replies)
        self.send(text)
        with gevent.Timeout(5):
            while len(self.replies) == had:
                gevent.idle()
        return self.replies[had]

    def api(self, text: str) -> str:
        return self.ask(f"api {text}")

    def heard(self, *names) -> list[dict]:
        """Events of these names, or all; whatever the switch has said so far is in it."""
        self.api("version")
        return [event for event in self.events if not names or event["Event-Name"] in names]

    def wait_for_end(self):
        with gevent.Timeout(5):
            self._reader.join()

    def close(self):
        self._socket.close()
        self._reader.kill()

    def _read(self):
        data = b""
        while True:
            while (frame := self._frame(data)) is not None:
                headers, body, data = frame
                self._take(headers, body)
            try:
                more = self._socket.recv(65536)
            except OSError:
                more = b""
            if not more:
                self.ended = True
                return
            data += more
            self.raw += more

    @staticmethod
    def _frame(data):
        head, found, rest = data.partition(b"\n\n")
        if not found:
            return None
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        length = int(headers.get("Content-Length", 0))
        return (headers, rest[:length], rest[length:]) if len(rest) >= length else None

    def _take(self, headers, body):
        match headers["Content-Type"]:
            case "text/event-json":
                self.events.append(json.loads(body.decode("utf-8", "surrogateescape")))
                return
            case "text/event-plain":
                lines = (line.split(": ", 1) for line in body.decode().splitlines() if line)
                self.events.append({name: unquote(value) for name, value in lines})
                return
            case "command/reply":
                self.replies.append(headers["Reply-Text"])
            case "api/response":
                self.replies.append(body.decode("utf-8", "surrogateescape"))
            case "text/disconnect-notice":
                self.notices.append(body.decode())
        self.heads.append(headers)


class Controller:
    """A program that `socket` dials: who calls is taken with `accept`."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def accept(self) -> Client:
        """The next call's connection; the switch's clock need not move for it."""
        with gevent.Timeout(5):
            sock, _ = self._listener.accept()
        return Client(None, None, sock)

    def close(self):
        self._listener.close()


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def switch(clock, tmp_path):
    with Simulator(clock=clock, recordings=tmp_path) as simulator:
        yield simulator


@pytest.fixture
def client(switch):
    connected = Client(switch.address)
    yield connected
    connected.close()


@pytest.fixture
def controller():
    program = Controller()
    yield program
    program.close()


@pytest.fixture
def listener(client):
    """A client that gets every event but API, which its own commands cause, and those that are of interest to who
    controls a leg."""
    client.ask("event json ALL")
    client.ask("nixevent API CHANNEL_EXECUTE CHANNEL_STATE CHANNEL_UNPARK")
    return client


def alice(**habits) -> Phone:
    return Phone(**{"user": "1000", "domain": "acme.example", "name": "Alice", "says": 1000, **habits})


def bob(**habits) -> Phone:
    return Phone(**{"user": "1001", "domain": "acme.example", "says": 440, "answers": 0.5, **habits})


def pstn(**habits) -> Phone:
    return Phone(**{"user": "442079460123", "name": "Jane", "says": 350, "answers": 0.5, **habits})


@pytest.fixture
def talk(switch, clock):
    """Alice calls Bob; the clock is at 0.6 s, a tenth after his answer. Both talk until somebody hangs up."""
    call = switch.play(Script(alice(), (bob(),)))
    clock.advance(0.6)
    return call
