"""The event socket's protocol, whoever called whom: greenswitch's, with its input and output replaced."""

import re
from collections import deque
from collections.abc import Callable, Iterator

import gevent
from gevent import socket
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore
from greenswitch.esl import ESLProtocol

from kazoo_rec.errors import CommandRefused, CommandTimeout, NotConnected, ProtocolBroken, SwitchError
from kazoo_rec.switch.commands import Lines

#: Larger ones are mapped and unmapped by malloc for each read: four times the system time.
RECV_BYTES = 64 * 1024
#: `show channels as json` writes about 1 KB a leg; no event comes near.
LARGEST_BODY_BYTES = 32 * 1024 * 1024
LARGEST_HEADERS_BYTES = 64 * 1024
#: The longest that a burst keeps other greenlets waiting.
SLICE_S = 0.002
#: A timer that is due at once. sleep(0) comes back before timers and sockets have had their turn: two greenlets that
#: alternate with it held up a 1 ms timer for 150 ms.
TURN_S = 1e-6
#: A time-out that comes so much too late says that this process slept, and nothing of the switch.
LATE_S = 1.0
#: Bytes that the peer does not acknowledge for so long end the connection (Linux, TCP_USER_TIMEOUT).
UNACKNOWLEDGED_MS = 20_000

#: The headers of a frame: Content-Type, Content-Length, Reply-Text, others.
_FRAME = re.compile(rb"(?:Content-Type: ([^\n]*)\n|Content-Length: (\d{1,9})\n|Reply-Text: ([^\n]*)\n"
                    rb"|(?!Content-Length)[A-Za-z][\w.-]*:[^\n]*\n)++\n")


class _Reply(AsyncResult):
    """`into(bytes)` takes the body of the answer as it arrives, where somebody wants that."""

    into: Callable[[bytes], object] | None = None


class Protocol(ESLProtocol):
    """Frames in, commands out, replies in the order of their commands, and one end that everybody hears of.

    `closed` is set once, to the SwitchError that ended the connection; every command that waits then fails with
    NotConnected. A class of its own calls `_begin` first, then spawns `receive_events`.
    """

    def _begin(self, silence_s: float, clock: Callable[[], float]):
        self.closed = AsyncResult()
        self._silence_s, self._clock = silence_s, clock
        self._commands_sent: deque[AsyncResult] = deque()
        self._sending = BoundedSemaphore()
        #: When (`clock`) the peer was heard last; that it is gone is a word too, if its host says so.
        self.heard_at_s = clock()
        self._frames = self._read_frames()
        self._data, self._at = b"", 0
        self._turn = 0.0
        self._farewell = ""

    @property
    def waiting(self) -> int:
        """Commands sent and not answered, those included that nobody waits for any more."""
        return len(self._commands_sent)

    def _set_options(self):
        for level, option, value in (
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS),
        ):
            self.sock.setsockopt(level, option, value)

    def send(self, command: str, timeout_s: float = 5.0, into: Callable[[bytes], object] | None = None) -> str:
        """The text that FreeSWITCH answers; `into`, where given, takes the answer to an `api` command piece by piece
        instead, and must neither wait nor raise.

        Raises NotConnected, CommandTimeout or CommandRefused. A command that nobody waits for any more keeps its place
        among the replies.
        """
        if ("\n" in command or "\r" in command) and not isinstance(command, Lines):
            raise CommandRefused("a command is one line", repr(command[:120]))
        return self._ask(command, timeout_s, into)

    def _ask(self, command: str, timeout_s: float, into=None) -> str:
        late = CommandTimeout("FreeSWITCH did not answer in time", f"{timeout_s:g} s: {command[:120]!r}")
        reply = _Reply()
        reply.into = into
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
        if kind in (b"command/reply", b"api/response"):
            if not self._commands_sent:
                raise ProtocolBroken("FreeSWITCH answers what nobody asked")
            text = answer if kind == b"command/reply" else body
            self._commands_sent.popleft().set(text.decode("utf-8", "surrogateescape"))
        elif kind == b"text/disconnect-notice":
            self._farewell = shown(body)

    def _read_frames(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """(Content-Type, Reply-Text, body) of each frame; raises ProtocolBroken for what is none."""
        while True:
            while not (frame := _FRAME.match(self._data, self._at)):
                headers = self._data[self._at:]
                if b"\n\n" in headers or len(headers) > LARGEST_HEADERS_BYTES:
                    raise ProtocolBroken("FreeSWITCH sent what is no frame", shown(headers[:24]))
                self._receive(1)
            kind, length, answer = frame.groups(b"")
            size = int(length or 0)
            if not kind or size > LARGEST_BODY_BYTES:
                raise ProtocolBroken("FreeSWITCH sent an impossible frame", shown(frame[0][:80]))
            self._at = frame.end()
            if kind == b"api/response" and self._commands_sent and (into := self._commands_sent[0].into):
                self._pass_on(size, into)
                yield kind, answer, b""
                continue
            if (missing := self._at + size - len(self._data)) > 0:
                self._receive(missing)
            body = self._data[self._at:self._at + size]
            self._at += size
            yield kind, answer, body

    def _pass_on(self, size: int, into):
        while size:
            part = self._data[self._at:self._at + size]
            if not part:
                self._receive(1)
                continue
            self._at += len(part)
            size -= len(part)
            into(part)
            if self._clock() - self._turn > SLICE_S:
                self._let_others_run()

    def _receive(self, count: int):
        """Read `count` bytes or more behind those that are not used up."""
        parts = [self._data[self._at:]]
        while count > 0:
            self._before_reading()
            since = self._clock()
            try:
                part = self.sock.recv(RECV_BYTES)
            except TimeoutError as fault:
                if fault.errno:  # the kernel's
                    raise
                if self._clock() - since > self._silence_s + LATE_S:
                    continue
                raise NotConnected("FreeSWITCH fell silent", f"no byte for {self._silence_s:g} s") from None
            except ConnectionError:
                self.heard_at_s = self._clock()
                raise
            self.heard_at_s = self._clock()
            if not part:
                where = "in the middle of a frame" if any(parts) or count > 1 else "between two frames"
                raise NotConnected("FreeSWITCH closed the connection", self._farewell or where)
            parts.append(part)
            count -= len(part)
        self._data, self._at = b"".join(parts), 0

    def _before_reading(self):
        """What has to be before more is read."""

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


def shown(data: bytes) -> str:
    """Foreign text for an error or the log: short, quoted, on one line."""
    return repr(data[:120].decode("utf-8", "replace"))
