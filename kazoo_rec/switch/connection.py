"""One connection to FreeSWITCH's event socket, for its events or for commands."""

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import gevent
import structlog
from gevent import socket
from gevent.event import Event as Flag
from greenswitch.esl import InboundESL

from kazoo_rec.errors import AccessRefused, NotConnected, ProtocolBroken, SwitchError
from kazoo_rec.switch import commands
from kazoo_rec.switch.events import Event, event_name, parse
from kazoo_rec.switch.protocol import SLICE_S, TURN_S, Protocol, shown
from kazoo_rec.switch.replies import check

log = structlog.get_logger()

#: Events that wait for their handler, some 4,000 of 8 KB; as bytes, since a parsed one takes several times the memory.
#: More of them would only age here: behind it wait the socket's buffers, then FreeSWITCH's own 100,000 events for each
#: listener (mod_event_socket.c, MAX_QUEUE_LEN).
QUEUE_BYTES = 32 * 1024 * 1024
#: What is read ahead of the handler before it has its turn.
AHEAD_BYTES = 128 * 1024

_PRESENCE = "PRESENCE_OUT"
_LOST = re.compile(rb"Lost \[(\d{1,9})\] events!")


class Connection(Protocol, InboundESL):
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
        self._begin(silence_s, clock)
        #: What waits for its handler, and how often reading stopped because too much did.
        self.queued_bytes = self.stalls = 0
        self.on_lost: Callable[[int], object] | None = None
        self._queue_bytes = queue_bytes
        self._wanted: frozenset[bytes] = frozenset()
        self._queue: deque[bytes] = deque()
        self._filled, self._room, self._roused = Flag(), Flag(), Flag()
        self.sock = None

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

    def authenticate(self):
        """FreeSWITCH asks, we answer, it accepts; or it turns our address away before it asks."""
        kind, _, body = next(self._frames)
        if kind == b"text/rude-rejection":
            raise AccessRefused("FreeSWITCH refuses this address", shown(body),
                                "allow it with apply-inbound-acl in event_socket.conf.xml")
        if kind != b"auth/request":
            raise ProtocolBroken("this is no FreeSWITCH event socket", shown(kind))
        self._send_whole(commands.auth(self.password))
        _, answer, _ = next(self._frames)
        if answer != b"+OK accepted":
            raise AccessRefused("FreeSWITCH refuses the password", shown(answer),
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

    def handle_event(self, kind: bytes, answer: bytes, body: bytes):
        """One frame, by its Content-Type; `answer` is its Reply-Text."""
        if kind == b"text/event-json":
            name = event_name(body)
            if name is None or name in self._wanted:
                self._hand_over(body)
            elif name == _PRESENCE.encode():
                self._roused.set()
        elif kind == b"log/data":
            if self.on_lost and (lost := _LOST.search(body)):
                self.on_lost(int(lost[1]))
        else:
            super().handle_event(kind, answer, body)

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

    def _before_reading(self):
        if self.queued_bytes >= AHEAD_BYTES:
            self._let_others_run()

    def _drop_queue(self):
        self._queue.clear()
        self.queued_bytes = 0

    def _end(self, reason: SwitchError):
        super()._end(reason)
        self._filled.set()
        self._room.set()
