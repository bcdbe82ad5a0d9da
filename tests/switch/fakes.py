"""A switch on loopback that speaks the event socket protocol as badly as it is told to."""

import contextlib
import json
import socket

import gevent
import structlog
from gevent.event import Event as Flag
from gevent.queue import Queue
from gevent.server import StreamServer

from kazoo_rec.errors import SwitchError

PASSWORD = "lab-secret"
PATIENCE_S = 10


def reply(text: str) -> bytes:
    return f"Content-Type: command/reply\nReply-Text: {text}\n\n".encode()


def response(body: str | bytes) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    return b"Content-Type: api/response\nContent-Length: %d\n\n%s" % (len(body), body)


def frame(body: bytes, kind: str = "text/event-json") -> bytes:
    return b"Content-Length: %d\nContent-Type: %s\n\n%s" % (len(body), kind.encode(), body)


def event(name: str, **headers) -> bytes:
    fields = {"Event-Name": name, **{header.replace("_", "-"): value for header, value in headers.items()}}
    return frame(json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape"))


class Session:
    """One connection to the fake switch, seen from the switch."""

    def __init__(self, sock):
        self.sock, self._lines = sock, sock.makefile("rb")

    def send(self, *frames: bytes):
        self.sock.sendall(b"".join(frames))

    def command(self) -> str | None:
        """The first line of the next command; None when the client is gone."""
        try:
            line = more = self._lines.readline()
            while more not in (b"\n", b""):
                more = self._lines.readline()
        except OSError:
            return None
        return line.decode("utf-8", "surrogateescape").rstrip("\n") if line else None

    def greet(self):
        self.send(b"Content-Type: auth/request\n\n")
        accepted = self.command() == f"auth {PASSWORD}"
        self.send(reply("+OK accepted" if accepted else "-ERR invalid"))
        return accepted

    def close(self):
        """Says good-bye after what was sent; `sock.close` would leave it open for the file made of it."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class FakeSwitch:
    """Greets and answers as FreeSWITCH does, unless `talk(session)` is replaced by something worse."""

    def __init__(self, host: str = "127.0.0.1"):
        self.core_uuid = "core-1"
        self.commands: list[str] = []
        self.sessions: Queue[Session] = Queue()
        self.talk = self.talk_well
        self._open: set[Session] = set()
        self._server = StreamServer((host, 0), self._handle)
        self._server.start()
        self.host, self.port = self._server.address[:2]

    def talk_well(self, session: Session):
        if session.greet():
            self.sessions.put(session)
            while (command := session.command()) is not None:
                session.send(self.answer(command))

    def answer(self, command: str) -> bytes:
        self.commands.append(command)
        if command == "api global_getvar core_uuid":
            return response(self.core_uuid)
        if command.startswith("sendevent "):
            return reply("+OK 5f8f7b68-0f7c-4a0c-9d7a-6b9f6f3b0c52") + event(command.split()[1])
        return response("+OK\n") if command.startswith("api ") else reply("+OK")

    def _handle(self, sock, _address):
        session = Session(sock)
        self._open.add(session)
        try:
            self.talk(session)
        except OSError:
            pass  # the client is gone: what tests look at is the client
        finally:
            self._open.discard(session)
            session.close()

    def session(self) -> Session:
        """The next connection that has logged in."""
        return self.sessions.get(timeout=PATIENCE_S)

    def close(self):
        self._server.close()
        for session in list(self._open):
            session.close()
        self._server.stop()


class Said:
    """The log lines so far, to be waited for."""

    def __init__(self):
        self.lines: list[dict] = []
        self._more = Flag()

    def __call__(self, _logger, level, line):
        self.lines.append({"level": level, **line})
        self._more.set()
        raise structlog.DropEvent

    def those(self, text: str) -> list[dict]:
        return [line for line in self.lines if text in line["event"]]

    def wait(self, text: str, times: int = 1) -> dict:
        with gevent.Timeout(PATIENCE_S, AssertionError(f"never said: {text}")):
            while len(self.those(text)) < times:
                self._more.clear()
                self._more.wait()
        return self.those(text)[times - 1]


def outcome(call, *arguments):
    """What a call of ours returns or raises, for a greenlet of its own."""
    try:
        return call(*arguments)
    except SwitchError as fault:
        return fault
