"""One connection to FreeSWITCH's event socket: greenswitch's, with its input and output replaced."""

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import gevent
import structlog
from gevent import socket
from gevent.event import AsyncResult
from gevent.event import Event as Flag
from gevent.lock import BoundedSemaphore
from gevent.select import select
from greenswitch.esl import InboundESL

from kazoo_rec.errors import AccessRefused, CommandRefused, CommandTimeout, NotConnected, ProtocolBroken, SwitchError
from kazoo_rec.switch import commands
from kazoo_rec.switch.events import Event, parse
from kazoo_rec.switch.replies import check

log = structlog.get_logger()

RECV_BYTES = 256 * 1024
#: `show channels as json` writes about 1 KB a leg; no event comes near.
LARGEST_BODY_BYTES = 32 * 1024 * 1024
LARGEST_HEADERS_BYTES = 64 * 1024
#: Events that wait for their handler, some 4,000 of 8 KB; as bytes, since a parsed one takes several times the memory.
#: More of them would only age here: behind it wait the socket's buffers, then FreeSWITCH's own 100,000 events for each
#: listener (mod_event_socket.c, MAX_QUEUE_LEN).
QUEUE_BYTES = 32 * 1024 * 1024
#: The longest that a burst keeps other greenlets waiting.
SLICE_S = 0.005
#: A timer that is due at once. sleep(0) comes back before timers and sockets have had their turn: two greenlets that
#: alternate with it held up a 1 ms timer for 150 ms.
TURN_S = 1e-6
#: Bytes that the peer does not acknowledge for so long end the connection (Linux, TCP_USER_TIMEOUT).
UNACKNOWLEDGED_MS = 20_000

_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*): *(.*)")
_LOST = re.compile(rb"Lost \[(\d{1,9})\] events!")


class Connection(InboundESL):
    """Events in order, replies in the order of their commands, and one end that everybody hears of.

    `closed` is set once, to the SwitchError that ended the connection; every command that waits then fails with
    NotConnected. A connection is not used again. Events are pulled with `events`; `register_handle` is not served.

    `silence_s`: a switch sends HEARTBEAT every 20 s (switch.conf.xml, event-heartbeat-interval), so one that sends
    nothing for so long is dead. `on_lost(count)` is called by the reader, after `log crit`, when the switch had to drop
    events for one of its listeners; it must not wait or raise.
    """

    def __init__(self, host: str, port: int, password: str, timeout: float = 5.0, *, silence_s: float = 45.0,
                 queue_bytes: int = QUEUE_BYTES):
        super().__init__(host, port, password, timeout)
        self.closed = AsyncResult()
        #: What waits for its handler, and how often reading stopped because too much did.
        self.queued_bytes = self.stalls = 0
        self.on_lost: Callable[[int], object] | None = None
        self._silence_s, self._queue_bytes = silence_s, queue_bytes
        self._commands_sent: deque[AsyncResult] = deque()
        self._sending = BoundedSemaphore()
        self._frames = self._read_frames()
        self._buffer = bytearray()
        self._turn = 0.0
        self._farewell = ""
        self._wanted: frozenset[bytes] = frozenset()
        self._queue: deque[bytes] = deque()
        self._filled, self._room = Flag(), Flag()
        self.sock = None

    @property
    def waiting(self) -> int:
        """Commands sent and not answered, those included that nobody waits for any more."""
        return len(self._commands_sent)

    def connect(self):
        """Connect and log in within `timeout` seconds; raises NotConnected, AccessRefused or ProtocolBroken."""
        hint = "is it FreeSWITCH, and no firewall between?"
        silence = NotConnected("FreeSWITCH does not answer", f"{self.timeout:g} s", hint)
        try:
            with gevent.Timeout(self.timeout, silence):
                self.sock = socket.create_connection((self.host, self.port))
                self._set_options()
                self.authenticate()
        except OSError as fault:
            hint = "is FreeSWITCH running, and does event_socket.conf.xml listen there?"
            self._end(NotConnected("FreeSWITCH cannot be reached", str(fault), hint))
            raise self.closed.get() from None
        except SwitchError as reason:
            self._end(reason)
            raise
        finally:
            if not self.connected:
                self._end(NotConnected("the attempt to connect was given up"))
        self.sock.settimeout(self._silence_s)
        self._receive_events_greenlet = gevent.spawn(self.receive_events)

    def _set_options(self):
        for level, option, value in (
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS),
        ):
            self.sock.setsockopt(level, option, value)

    def authenticate(self):
        """FreeSWITCH asks, we answer, it accepts; or it turns our address away before it asks."""
        kind, _, body = next(self._frames)
        if kind == "text/rude-rejection":
            raise AccessRefused("FreeSWITCH refuses this address", _shown(_text(body)),
                                "allow it with apply-inbound-acl in event_socket.conf.xml")
        if kind != "auth/request":
            raise ProtocolBroken("this is no FreeSWITCH event socket", _shown(kind))
        self._send_whole(commands.auth(self.password))
        _, headers, _ = next(self._frames)
        if headers.get("Reply-Text") != "+OK accepted":
            raise AccessRefused("FreeSWITCH refuses the password", _shown(headers.get("Reply-Text", "")),
                                "it is the one in event_socket.conf.xml")
        self.connected = True

    def subscribe(self, names: Iterable[str] = (), subclasses: Iterable[str] = ()):
        """Have these events sent; HEARTBEAT always is, and goes no further unless it is named."""
        names, subclasses = list(names), list(subclasses)
        self._wanted = frozenset(word.encode() for word in names + subclasses)
        check(self.send(commands.subscribe(dict.fromkeys([*names, "HEARTBEAT"]), subclasses)))

    def send(self, command: str, timeout_s: float = 5.0) -> str:
        """The text that FreeSWITCH answers.

        Raises NotConnected, CommandTimeout or CommandRefused. A command that nobody waits for any more keeps its place
        among the replies.
        """
        if "\n" in command or "\r" in command:
            raise CommandRefused("a command is one line", _shown(command))
        late = CommandTimeout("FreeSWITCH did not answer in time", f"{timeout_s:g} s: {_shown(command)}")
        reply = AsyncResult()
        with gevent.Timeout(timeout_s, late):
            with self._sending:
                if not self.connected:
                    raise NotConnected("there is no connection to FreeSWITCH", str(self.closed.value or ""))
                self._commands_sent.append(reply)
                self._send_whole(command)
            return reply.get()

    def _send_whole(self, command: str):
        try:
            self.sock.sendall(f"{command}\n\n".encode("utf-8", "surrogateescape"))
        except OSError as fault:
            self._end(NotConnected("the connection to FreeSWITCH broke", str(fault)))
        except BaseException:  # the sender gave up or was killed: half a command may be out, the next would continue it
            self._end(NotConnected("FreeSWITCH does not read its commands"))
            raise

    def events(self) -> Iterator[Event]:
        """The events subscribed to, in order, until the connection has ended and all that came before are handed over.

        Parses at hand-over, and lets other greenlets run at least every 5 ms.
        """
        turn = time.monotonic()
        while True:
            while self._queue:
                body = self._queue.popleft()
                self.queued_bytes -= len(body)
                if self.queued_bytes <= self._queue_bytes // 2:
                    self._room.set()
                try:
                    event = parse(body)
                except ProtocolBroken as reason:
                    self._end(reason)
                    self._drop_queue()
                    return
                yield event
                if time.monotonic() - turn > SLICE_S:
                    gevent.sleep(TURN_S)
                    turn = time.monotonic()
            if self.closed.ready():
                return
            self._filled.clear()
            self._filled.wait()
            turn = time.monotonic()

    def stop(self):
        """Close at once; what waits fails with NotConnected, events not handed over are dropped."""
        self._end(NotConnected("the connection was closed by us"))
        self._drop_queue()

    def receive_events(self):
        """The reader. Whatever ends it, a fault of ours included, ends the connection; none is swallowed."""
        try:
            for kind, headers, body in self._frames:
                if self.closed.ready():
                    return
                self.handle_event(kind, headers, body)
                if time.monotonic() - self._turn > SLICE_S:
                    self._let_others_run()
        except SwitchError as reason:
            self._end(reason)
        except OSError as fault:
            self._end(NotConnected("the connection to FreeSWITCH broke", str(fault)))
        finally:
            self._end(NotConnected("the reader of the connection failed"))

    def handle_event(self, kind: str, headers: dict[str, str], body: bytes):
        """One frame, by its Content-Type."""
        if kind == "text/event-json":
            if self._is_wanted(body):
                self._hand_over(body)
        elif kind in ("command/reply", "api/response"):
            if not self._commands_sent:
                raise ProtocolBroken("FreeSWITCH answers what nobody asked")
            text = headers.get("Reply-Text", "") if kind == "command/reply" else _text(body)
            self._commands_sent.popleft().set(text)
        elif kind == "text/disconnect-notice":
            self._farewell = _shown(_text(body))
        elif kind == "log/data" and self.on_lost and (lost := _LOST.search(body)):
            self.on_lost(int(lost[1]))

    def _is_wanted(self, body: bytes) -> bool:
        """By name, without parsing; an event whose name is not found where FreeSWITCH writes it is kept."""
        name = _field(body, b"Event-Name")
        if name == b"CUSTOM":
            name = _field(body, b"Event-Subclass")
        return name is None or name in self._wanted

    def _hand_over(self, body: bytes):
        self._queue.append(body)
        self.queued_bytes += len(body)
        self._filled.set()
        if self.queued_bytes < self._queue_bytes:
            return
        self.stalls += 1
        say = log.bind(switch=f"{self.host}:{self.port}", stalls=self.stalls)
        say.error("events come faster than they are handled: reading stops, FreeSWITCH queues",
                  events=len(self._queue), bytes=self.queued_bytes)
        since = time.monotonic()
        self._room.clear()
        self._room.wait()
        say.warning("events are read again", after_ms=round((time.monotonic() - since) * 1000))

    def _read_frames(self) -> Iterator[tuple[str, dict[str, str], bytes]]:
        """(Content-Type, headers, body) of each frame; raises ProtocolBroken for what is none."""
        buffer = self._buffer
        while True:
            while (end := buffer.find(b"\n\n")) < 0:
                if len(buffer) > LARGEST_HEADERS_BYTES:
                    raise ProtocolBroken("a frame has no end of its headers")
                self._receive()
            headers = _headers(_text(buffer[:end]))
            kind, length = headers.get("Content-Type"), headers.get("Content-Length", "0")
            if kind is None:
                raise ProtocolBroken("a frame has no Content-Type")
            if not (length.isascii() and length.isdecimal() and len(length) < 10 and int(length) <= LARGEST_BODY_BYTES):
                raise ProtocolBroken("a frame has an impossible length", _shown(length))
            start, end = end + 2, end + 2 + int(length)
            while len(buffer) < end:
                self._receive()
            body = bytes(buffer[start:end])
            del buffer[:end]
            yield kind, headers, body

    def _receive(self):
        """Read on: at least a byte, or why there is none."""
        if self._queue:
            self._let_others_run()
        try:
            chunk = self.sock.recv(RECV_BYTES)
        except TimeoutError:
            if select([self.sock], [], [], 0)[0]:  # it was us who slept
                return
            raise NotConnected("FreeSWITCH fell silent", f"no byte for {self._silence_s:g} s") from None
        if not chunk:
            where = "in the middle of a frame" if self._buffer else "between two frames"
            raise NotConnected("FreeSWITCH closed the connection", self._farewell or where)
        self._buffer += chunk

    def _drop_queue(self):
        self._queue.clear()
        self.queued_bytes = 0

    def _let_others_run(self):
        gevent.sleep(TURN_S)
        self._turn = time.monotonic()

    def _end(self, reason: SwitchError):
        if self.closed.ready():
            return
        self.connected = False
        self.closed.set(reason)
        if self.sock:
            self.sock.close()
        while self._commands_sent:
            self._commands_sent.popleft().set_exception(
                NotConnected("the connection ended before FreeSWITCH answered", str(reason)))
        self._filled.set()
        self._room.set()


def _headers(block: str) -> dict[str, str]:
    headers = {}
    for line in block.split("\n"):
        header = _HEADER.fullmatch(line)
        if not header:
            raise ProtocolBroken("a header is not a header", _shown(line))
        headers[header[1]] = header[2]
    return headers


def _field(body: bytes, name: bytes) -> bytes | None:
    """The text of a header in JSON as cJSON writes it: no blanks, and no quote inside of a text without a backslash."""
    at = 1 if body.startswith(b'{"%s":"' % name) else body.find(b',"%s":"' % name) + 1
    if not at:
        return None
    at += len(name) + 4
    return body[at:body.find(b'"', at)]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _shown(text: str) -> str:
    """Foreign text for an error or the log: short, quoted, on one line."""
    return repr(text[:120])
