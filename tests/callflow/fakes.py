"""A leg whose dialplan executes `socket`, and the engine's control of recordings, both without a switch."""

import contextlib
import json
from typing import NamedTuple
from urllib.parse import quote

import gevent
from gevent import socket
from gevent.event import AsyncResult
from gevent.queue import Queue

from kazoo_rec.switch.commands import APPLICATIONS
from tests.switch.fakes import PATIENCE_S, frame, reply, response
from tests.traces import lines

#: What FreeSWITCH 1.10.12 answered to `connect`.
CHANNEL = next(line["headers"] for line in lines("outbound_socket") if line.get("command") == "connect")


def connect_reply(**changed) -> bytes:
    """`changed`: headers with `_` for `-`, variables as they are; None takes one away."""
    headers = {**CHANNEL, "Content-Type": "command/reply", "Reply-Text": "+OK\n", "Socket-Mode": "async",
               "Control": "full"}
    for name, value in changed.items():
        headers[name if name.startswith("variable_") else name.replace("_", "-")] = value
    encoded = {name: quote(value, errors="surrogateescape") for name, value in headers.items() if value is not None}
    return "".join(f"{name}: {value}\n" for name, value in encoded.items()).encode() + b"\n"


class Message(NamedTuple):
    id: str
    path: str
    variables: dict[str, str]


class FakeControl:
    """Of calls, and of rooms: keeps what it was told, in order; `faults` has what a method raises instead."""

    def __init__(self):
        self.told, self.faults = [], {}

    def _note(self, name, *arguments, **named):
        self.told.append((name, *arguments, named))
        if name in self.faults:
            raise self.faults[name]

    def begin(self, account_id, uuid, settings, **named):
        self._note("begin", account_id, uuid, settings, **named)
        return {"id": f"rec-{len(self.told)}"}

    def end(self, account_id, uuid, *, ids=None, **named):
        self._note("end", account_id, uuid, ids=ids, **named)
        return [{"id": id} for id in ids or ()]

    def change(self, account_id, uuid, action, *, ids=None, **named):
        self._note("change", account_id, uuid, action, ids=ids, **named)
        return [{"id": id} for id in ids or ()]

    def record(self, account_id, name, what, settings, who, uuid=None):
        self._note("record", account_id, name, what, settings, who, uuid)
        return []

    def message(self, account_id, uuid, settings, **named):
        self._note("message", account_id, uuid, settings, **named)
        return Message("msg-1", "/var/lib/fs/acme/20261121/msg-1.wav", {"enable_file_write_buffering": "false"})

    def message_ended(self, id, event):
        self._note("message_ended", id, event.name)


class FakeLeg:
    """Answers as FreeSWITCH does on the socket that a leg opened.

    `executed` has "application argument" of each sendmsg, in order. An application in `slow` is done when `done` says
    so, all others at once, with what `answers` has for them (variables of their CHANNEL_EXECUTE_COMPLETE, None: the leg
    hangs up meanwhile). `modules` is its answer to `module_exists`; a command that it `refuses` ends the socket.
    `hung_up` is the cause once the leg has, `ended` whether our side closed the socket.
    """

    def __init__(self, sock, *, slow=(), answers=None, modules="true", **changed):
        self.uuid = changed.get("Unique_ID", CHANNEL["Unique-ID"])
        self.executed, self.commands, self.ended = [], [], AsyncResult()
        self.hung_up, self.modules, self.refuses = AsyncResult(), modules, None
        self.slow, self.answers = set(slow), dict(answers or {})
        self.connect_reply = connect_reply(**changed)
        self._waiting = Queue()
        self._sock, self._lines = sock, sock.makefile("rb")
        self._greenlet = gevent.spawn(self._talk)

    def send(self, *frames: bytes):
        self._sock.sendall(b"".join(frames))

    def event(self, name: str, **headers) -> bytes:
        fields = {"Event-Name": name, "Unique-ID": self.uuid,
                  **{header if header.startswith("variable_") else header.replace("_", "-"): value
                     for header, value in headers.items()}}
        return frame(json.dumps(fields, separators=(",", ":")).encode())

    def slow_one(self) -> tuple[str, str, str]:
        """The next application in `slow` that was begun: name, argument, id."""
        return self._waiting.get(timeout=PATIENCE_S)

    def done(self, begun: tuple[str, str, str], **headers):
        name, argument, execution = begun
        self.send(self.event("CHANNEL_EXECUTE_COMPLETE", Application=name, Application_Data=argument,
                             Application_Response="_none_", Application_UUID=execution, **headers))

    def hang_up(self, cause: str = "NORMAL_CLEARING"):
        self.hung_up.set(cause)
        notice = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
        self.send(self.event("CHANNEL_HANGUP", Hangup_Cause=cause), self.event("CHANNEL_HANGUP_COMPLETE"),
                  frame(notice, "text/disconnect-notice"))
        self.close()

    def close(self):
        with contextlib.suppress(OSError):  # our side was first
            self._sock.shutdown(socket.SHUT_RDWR)

    def _talk(self):
        try:
            while block := self._block():
                self.commands.append(block)
                self._obey(block)
        except OSError:
            pass  # what tests look at is our side
        self.ended.set(True)

    def _block(self) -> list[str]:
        block = []
        while (line := self._lines.readline()) not in (b"", b"\n"):
            block.append(line.decode().rstrip("\n"))
        return block

    def _obey(self, block):
        if block == ["connect"]:
            self.send(self.connect_reply)
        elif block == [self.refuses]:
            self.close()
        elif block[0] == "sendmsg":
            self._sendmsg(dict(line.split(": ", 1) for line in block[1:]))
        elif block[0].startswith("api "):
            self.send(response(self.modules if "module_exists" in block[0] else "+OK\n"))
        else:
            self.send(reply({"myevents json": "+OK Events Enabled"}.get(block[0], "+OK")))

    def _sendmsg(self, message):
        if message["call-command"] == "hangup":
            self.send(reply("+OK"))
            self.hang_up(message["hangup-cause"])
            return
        name, argument = message["execute-app-name"], message.get("execute-app-arg", "")
        begun = name, argument, message["Event-UUID"]
        self.executed.append(f"{name} {argument}".strip())
        self.send(reply("+OK"))
        answer = self.answers.get(name, {})
        if isinstance(answer, list):
            answer = answer.pop(0) if answer else {}
        if name not in APPLICATIONS:
            self.hang_up("DESTINATION_OUT_OF_ORDER")
        elif answer is None:
            self.hang_up()
        elif name in self.slow:
            self._waiting.put(begun)
        else:
            if name == "answer":
                self.send(self.event("CHANNEL_ANSWER"))
            self.send(self.event("CHANNEL_EXECUTE", Application=name, Application_UUID=begun[2]))
            self.done(begun, **answer)
