"""One leg that FreeSWITCH handed over: the dialplan's `socket` application called us (mod_event_socket.c,
socket_function). greenswitch's session, on the hardened protocol."""

import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import unquote_to_bytes
from uuid import uuid4

import gevent
from gevent import socket
from gevent.event import AsyncResult
from gevent.event import Event as Flag
from greenswitch.esl import ESLProtocol, OutboundSession

from kazoo_rec.errors import CommandTimeout, LegGone, NotConnected, ProtocolBroken, SwitchError
from kazoo_rec.switch import commands, replies
from kazoo_rec.switch.events import Event, event_name, parse
from kazoo_rec.switch.protocol import Protocol, shown

#: FreeSWITCH answers `connect` and +OK at once; a command that took so long was not heard.
REPLY_WITHIN_S = 5.0
#: All that is known about a leg, percent-encoded: a caller who writes long SIP headers fills it.
LARGEST_CHANNEL_BYTES = 1024 * 1024
#: A peer that is silent and gone is noticed after two minutes, not hours.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 3))


class Session(Protocol, OutboundSession):
    """The leg does one thing after another; when the session closes, its dialplan goes on, whatever ended it.

    A dialplan sets `socket_resume=true` before `socket`, or a leg whose socket ends before it is parked waits for ever.
    With it, the leg leaves at once what it executes when its socket ends; see `keep`.

    Parameters: `sock` as accepted; `clock` in seconds.
    """

    def __init__(self, sock, *, clock: Callable[[], float] = time.monotonic):
        ESLProtocol.__init__(self)  # not OutboundSession's: it starts greenlets that read and poll
        self._begin(float("inf"), clock)
        self.sock, self.session_data = sock, None
        self.answered = False
        self._executing: dict[str, AsyncResult] = {}
        self._gone: LegGone | None = None
        self._left = Flag()
        self._parked = self._kept = False

    def connect(self, timeout_s: float = REPLY_WITHIN_S) -> Event:
        """All about the leg. Raises NotConnected, LegGone, or ProtocolBroken where the socket is not `async full`."""
        silence = NotConnected("FreeSWITCH does not say whose call it is", f"{timeout_s:g} s")
        try:
            with gevent.Timeout(timeout_s, silence):
                self._set_options()
                for option, value in _KEEPALIVE:
                    self.sock.setsockopt(socket.IPPROTO_TCP, option, value)
                self._send_whole(commands.connect())
                self.session_data = self._channel()
        except OSError as fault:
            self._end(NotConnected("the connection to FreeSWITCH broke", str(fault)))
            raise self.closed.get() from None
        except SwitchError as reason:
            self._end(reason)
            raise
        finally:
            if self.session_data is None:
                self._end(NotConnected("the attempt to connect was given up"))
        self.connected = True
        self.answered = self.session_data.get("Answer-State") == "answered"
        self._receive_events_greenlet = gevent.spawn(self.receive_events)
        self._order(commands.myevents())
        return self.session_data

    def execute(self, application: str, argument: str = "", timeout_s: float | None = None) -> Event:
        """The CHANNEL_EXECUTE_COMPLETE of it. Raises LegGone, CommandRefused before anything was sent, CommandTimeout
        or CommandFailed."""
        execution = uuid4().hex
        done = self._executing[execution] = AsyncResult()
        try:
            self._order(commands.execute(application, argument, execution))
            with gevent.Timeout(timeout_s, CommandTimeout("the leg is not done in time", f"{timeout_s} s")):
                return done.get()
        finally:
            del self._executing[execution]

    def tell(self, application: str, argument: str = ""):
        """As `execute`, without waiting for it to be done: what is executed next is done after it."""
        self._order(commands.execute(application, argument, uuid4().hex))

    def ask(self, command: str) -> str:
        """The reply to a command. Raises LegGone, CommandTimeout or CommandFailed."""
        return self._order(command)

    def keep(self):
        """From now on the leg finishes what it executes, a talk or a recording, should this process end meanwhile.

        Taken back by this socket's own thread, not by the leg: a socket that ended between the two would leave the leg
        in CS_RESET (mod_event_socket.c, end of listener_run; socket_function). And only once the leg is parked.
        """
        if self._kept:
            return
        if not self._parked:
            self.execute(*commands.variable("socket_resume", "true"))
        self._order(commands.set_aside(self.uuid, "socket_resume"))
        self._kept = True

    def resume(self):
        """Of a session about to close: the dialplan goes on at once."""
        self._order(commands.resume_dialplan())

    def hangup(self, cause: str = "NORMAL_CLEARING"):
        """Hangs up, and waits for it: a socket that closes first would have the dialplan go on."""
        self._order(commands.hangup(cause))
        self._left.wait(REPLY_WITHIN_S)

    def close(self):
        """The dialplan goes on, after what `keep` has the leg finish."""
        if self.connected and not self._kept:
            with suppress(SwitchError):
                self.resume()
        self._end(NotConnected("the connection was closed by us"))

    stop = close

    def handle_event(self, kind: bytes, answer: bytes, body: bytes):
        if kind != b"text/event-json":
            super().handle_event(kind, answer, body)
            return
        name = event_name(body)
        if name == b"CHANNEL_ANSWER":
            self.answered = True
        elif name == b"CHANNEL_HANGUP":
            self._leave(LegGone("the leg hung up", parse(body).get("Hangup-Cause")))
        elif name == b"CHANNEL_PARK":
            self._parked = True
        elif name == b"CHANNEL_EXECUTE_COMPLETE" and self._executing:
            event = parse(body)
            done = self._executing.get(event.get("Application-UUID"))
            if done is not None:
                self._parked = True
                done.set(event)

    def _order(self, command: str) -> str:
        if self._gone:
            raise self._gone
        try:
            return replies.check(self._ask(command, REPLY_WITHIN_S))
        except NotConnected as reason:
            raise self._gone or LegGone("the socket of the leg ended", str(reason)) from reason

    def _channel(self) -> Event:
        """The reply to `connect`: headers only, all of them percent-encoded."""
        while (end := self._data.find(b"\n\n", 0, LARGEST_CHANNEL_BYTES + 2)) < 0:
            if len(self._data) > LARGEST_CHANNEL_BYTES:
                raise ProtocolBroken("FreeSWITCH says too much about a leg")
            self._receive(1)
        lines = self._data[:end].split(b"\n")
        self._at = end + 2
        headers = {}
        for line in lines:
            name, colon, value = line.partition(b": ")
            if colon:
                headers.setdefault(*(unquote_to_bytes(part).decode("utf-8", "surrogateescape")
                                     for part in (name, value)))
        channel = Event(headers)
        if channel.get("Content-Type") != "command/reply" or not channel.uuid:
            raise ProtocolBroken("this is no leg of FreeSWITCH", shown(lines[0]))
        mode = channel.get("Socket-Mode"), channel.get("Control")
        if mode != ("async", "full"):
            raise ProtocolBroken("the leg cannot be led", " ".join(mode),
                                 "say `async full` behind the address in the dialplan's socket")
        return channel

    def _end(self, reason: SwitchError):
        super()._end(reason)
        self._leave(LegGone("the socket of the leg ended", str(reason)))

    def _leave(self, gone: LegGone):
        self._gone = self._gone or gone
        self._left.set()
        for done in self._executing.values():
            if not done.ready():
                done.set_exception(self._gone)
