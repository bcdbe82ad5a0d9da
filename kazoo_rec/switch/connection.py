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
from greenswitch.esl import InboundESL

from kazoo_rec.errors import AccessRefused, CommandRefused, CommandTimeout, NotConnected, ProtocolBroken, SwitchError
from kazoo_rec.switch import commands
from kazoo_rec.switch.events import Event, parse
from kazoo_rec.switch.replies import check

log = structlog.get_logger()

#: Larger ones are mapped and unmapped by malloc for each read: four times the system time.
RECV_BYTES = 64 * 1024
#: `show channels as json` writes about 1 KB a leg; no event comes near.
LARGEST_BODY_BYTES = 32 * 1024 * 1024
LARGEST_HEADERS_BYTES = 64 * 1024
#: Events that wait for their handler, some 4,000 of 8 KB; as bytes, since a parsed one takes several times the memory.
#: More of them would only age here: behind it wait the socket's buffers, then FreeSWITCH's own 100,000 events for each
#: listener (mod_event_socket.c, MAX_QUEUE_LEN).
QUEUE_BYTES = 32 * 1024 * 1024
#: What is read ahead of the handler before it has its turn.
AHEAD_BYTES = 128 * 1024
#: The longest that a burst keeps other greenlets waiting.
SLICE_S = 0.002
#: A timer that is due at once. sleep(0) comes back before timers and sockets have had their turn: two greenlets that
#: alternate with it held up a 1 ms timer for 150 ms.
TURN_S = 1e-6
#: A time-out that comes so much too late says that this process slept, and nothing of the switch.
LATE_S = 1.0
#: Bytes that the peer does not acknowledge for so long end the connection (Linux, TCP_USER_TIMEOUT).
UNACKNOWLEDGED_MS = 20_000

_PRESENCE = "PRESENCE_OUT"
#: The headers of a frame: Content-Type, Content-Length, Reply-Text, others.
_FRAME = re.compile(rb"(?:Content-Type: ([^\n]*)\n|Content-Length: (\d{1,9})\n|Reply-Text: ([^\n]*)\n"
                    rb"|(?!Content-Length)[A-Za-z][\w.-]*:[^\n]*\n)++\n")
#: In JSON as cJSON writes it: without blanks, and with a backslash before a quote inside of a text.
_NAME = re.compile(rb'[{,]"Event-Name":"([^"]*)"')
_SUBCLASS = re.compile(rb'[{,]"Event-Subclass":"([^"]*)"')
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
                 queue_bytes: int = QUEUE_BYTES, clock: Callable[[], float] = time.monotonic):
        super().__init__(host, port, password, timeout)
        self.closed = AsyncResult()
        #: What waits for its handler, and how often reading stopped because too much did.
        self.queued_bytes = self.stalls = 0
        self.on_lost: Callable[[int], object] | None = None
        self._silence_s, self._queue_bytes, self._clock = silence_s, queue_bytes, clock
        self._commands_sent: deque[AsyncResult] = deque()
        self._sending = BoundedSemaphore()
        self._frames = self._read_frames()
        self._data, self._at = b"", 0
        self._turn = 0.0
        self._farewell = ""
        self._wanted: frozenset[bytes] = frozenset()
        self._queue: deque[bytes] = deque()
        self._filled, self._room, self._roused = Flag(), Flag(), Flag()
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
        if kind == b"text/rude-rejection":
            raise AccessRefused("FreeSWITCH refuses this address", _shown(body),
                                "allow it with apply-inbound-acl in event_socket.conf.xml")
        if kind != b"auth/request":
            raise ProtocolBroken("this is no FreeSWITCH event socket", _shown(kind))
        self._send_whole(commands.auth(self.password))
        _, answer, _ = next(self._frames)
        if answer != b"+OK accepted":
            raise AccessRefused("FreeSWITCH refuses the password", _shown(answer),
                                "the right one is in event_socket.conf.xml, ours in `switches` of the configuration")
        self.connected = True

    def subscribe(self, names: Iterable[str] = (), subclasses: Iterable[str] = ()):
        """Have these events sent; HEARTBEAT always is, and goes no further unless it is named."""
        names, subclasses = list(names), list(subclasses)
        self._wanted = frozenset(word.encode() for word in names + subclasses)
        check(self.send(commands.subscribe(dict.fromkeys([*names, "HEARTBEAT"]), subclasses)))

    def rouse(self, timeout_s: float = 1.0):
        """Has the switch be late now, not in a call: the first presence event since mod_sofia was loaded makes it hold
        all events back for 500 ms (sofia_presence.c, sofia_presence_event_handler), and a callee may answer meanwhile.
        A PRESENCE_OUT without `from` does that and no more, and comes back to us behind mod_sofia. Raises CommandFailed
        and what `send` raises."""
        roused = self._roused = Flag()
        check(self.send(commands.subscribe([_PRESENCE])))
        check(self.send(commands.send_event(_PRESENCE)))
        roused.wait(timeout_s)
        check(self.send(commands.unsubscribe([_PRESENCE])))

    def send(self, command: str, timeout_s: float = 5.0) -> str:
        """The text that FreeSWITCH answers.

        Raises NotConnected, CommandTimeout or CommandRefused. A command that nobody waits for any more keeps its place
        among the replies.
        """
        if "\n" in command or "\r" in command:
            raise CommandRefused("a command is one line", repr(command[:120]))
        late = CommandTimeout("FreeSWITCH did not answer in time", f"{timeout_s:g} s: {command[:120]!r}")
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

        Parses at hand-over, and lets other greenlets run at least every 2 ms.
        """
        turn = self._clock()
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
                if self._clock() - turn > SLICE_S:
                    gevent.sleep(TURN_S)
                    turn = self._clock()
            if self.closed.ready():
                return
            self._filled.clear()
            self._filled.wait()
            turn = self._clock()

    def stop(self):
        """Close at once; what waits fails with NotConnected, events not handed over are dropped."""
        self._end(NotConnected("the connection was closed by us"))
        self._drop_queue()

    def receive_events(self):
        """The reader. Whatever ends it, a fault of ours included, ends the connection; none is swallowed."""
        try:
            for kind, answer, body in self._frames:
                if self.closed.ready():
                    return
                self.handle_event(kind, answer, body)
                if self._clock() - self._turn > SLICE_S:
                    self._let_others_run()
        except SwitchError as reason:
            self._end(reason)
        except OSError as fault:
            self._end(NotConnected("the connection to FreeSWITCH broke", str(fault)))
        finally:
            self._end(NotConnected("the reader of the connection failed"))

    def handle_event(self, kind: bytes, answer: bytes, body: bytes):
        """One frame, by its Content-Type; `answer` is its Reply-Text."""
        if kind == b"text/event-json":
            name = _name(body)
            if name is None or name in self._wanted:
                self._hand_over(body)
            elif name == _PRESENCE.encode():
                self._roused.set()
        elif kind in (b"command/reply", b"api/response"):
            if not self._commands_sent:
                raise ProtocolBroken("FreeSWITCH answers what nobody asked")
            text = answer if kind == b"command/reply" else body
            self._commands_sent.popleft().set(text.decode("utf-8", "surrogateescape"))
        elif kind == b"text/disconnect-notice":
            self._farewell = _shown(body)
        elif kind == b"log/data" and self.on_lost and (lost := _LOST.search(body)):
            self.on_lost(int(lost[1]))

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
        since = self._clock()
        self._room.clear()
        self._room.wait()
        say.warning("events are read again", after_ms=round((self._clock() - since) * 1000))

    def _read_frames(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """(Content-Type, Reply-Text, body) of each frame; raises ProtocolBroken for what is none."""
        while True:
            while not (frame := _FRAME.match(self._data, self._at)):
                headers = self._data[self._at:]
                if b"\n\n" in headers or len(headers) > LARGEST_HEADERS_BYTES:
                    raise ProtocolBroken("FreeSWITCH sent what is no frame", _shown(headers[:24]))
                self._receive(1)
            kind, length, answer = frame.groups(b"")
            size = int(length or 0)
            if not kind or size > LARGEST_BODY_BYTES:
                raise ProtocolBroken("FreeSWITCH sent an impossible frame", _shown(frame[0][:80]))
            self._at = frame.end()
            if (missing := self._at + size - len(self._data)) > 0:
                self._receive(missing)
            body = self._data[self._at:self._at + size]
            self._at += size
            yield kind, answer, body

    def _receive(self, count: int):
        """Read `count` bytes or more behind those that are not used up."""
        parts = [self._data[self._at:]]
        while count > 0:
            if self.queued_bytes >= AHEAD_BYTES:
                self._let_others_run()
            since = self._clock()
            try:
                part = self.sock.recv(RECV_BYTES)
            except TimeoutError as fault:
                if fault.errno:  # the kernel's
                    raise
                if self._clock() - since > self._silence_s + LATE_S:
                    continue
                raise NotConnected("FreeSWITCH fell silent", f"no byte for {self._silence_s:g} s") from None
            if not part:
                where = "in the middle of a frame" if any(parts) or count > 1 else "between two frames"
                raise NotConnected("FreeSWITCH closed the connection", self._farewell or where)
            parts.append(part)
            count -= len(part)
        self._data, self._at = b"".join(parts), 0

    def _drop_queue(self):
        self._queue.clear()
        self.queued_bytes = 0

    def _let_others_run(self):
        gevent.sleep(TURN_S)
        self._turn = self._clock()

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


def _name(body: bytes) -> bytes | None:
    """An event's name, or its subclass where it is CUSTOM, without parsing; None where FreeSWITCH does not write it."""
    name = _NAME.search(body)
    if name and name[1] == b"CUSTOM":
        name = _SUBCLASS.search(body)
    return name and name[1]


def _shown(data: bytes) -> str:
    """Foreign text for an error or the log: short, quoted, on one line."""
    return repr(data[:120].decode("utf-8", "replace"))
