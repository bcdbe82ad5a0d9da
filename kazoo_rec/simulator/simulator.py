"""The simulated switch as a whole."""

from collections import deque
from functools import partial

import gevent
from gevent.event import Event

from kazoo_rec.simulator import wire
from kazoo_rec.simulator.api import VERSION, execute, uptime
from kazoo_rec.simulator.call import Call
from kazoo_rec.simulator.clock import WallClock
from kazoo_rec.simulator.events import core_headers, new_uuid
from kazoo_rec.simulator.mishaps import Mishaps
from kazoo_rec.simulator.registry import Registry
from kazoo_rec.simulator.script import Phone, Script, scripts_of
from kazoo_rec.simulator.sockets import EventSockets

_HEARTBEAT_S = 20
#: From SHUTDOWN to the disconnect notice.
_SHUTDOWN_S = 1.2
#: `show channels` asks a database that is this far behind.
_DATABASE_LAG_S = 0.1
#: Recordings are written at least so often, in seconds of the wall.
_WRITE_S = 0.1
#: Channels that are gone stay in `show channels` for a moment; older ones are forgotten.
_REMEMBERED = 1000
_REMEMBERED_COMMANDS = 100_000


class Simulator:
    """A FreeSWITCH of one process that plays scripts: it speaks the event socket and writes real files.

    `clock` is a WallClock by default; a HandClock stands still until a test advances it. `listener` is (host, port);
    port 0 takes a free one. `recordings` is what `global_getvar recordings_dir` says, and where relative paths land.
    `commands` are the command lines that came after `api` and `bgapi`; `extensions` are {number: lines of a dialplan}
    of numbers that are more than a phone.
    """

    def __init__(self, password="ClueCon", clock=None, listener=("127.0.0.1", 0), hostname="fs1.example",
                 recordings="/var/lib/freeswitch/recordings"):
        self.password, self.clock, self.hostname = password, clock or WallClock(), hostname
        self.recordings = str(recordings)
        self.address, self.core_uuid, self.commands = listener, "", deque(maxlen=_REMEMBERED_COMMANDS)
        self.fallen: list = []
        self.legs, self.sessions, self.peak, self.started = {}, 0, 0, 0.0
        self.sockets = EventSockets(self)
        self.cut, self.stall, self.hang, self.go_on = (
            self.sockets.cut, self.sockets.stall, self.sockets.hang, self.sockets.go_on)
        self.phones, self._gone = Registry(), deque(maxlen=_REMEMBERED)
        self.rooms, self._last_member = {}, 0
        self.extensions: dict[str, tuple[str, ...]] = {}
        self.database_lag_s, self.is_disk_full = _DATABASE_LAG_S, False
        self.event_mishaps, self.command_mishaps, self.lost_events = Mishaps(), Mishaps(), set()
        self._sequence, self._changed, self._life = 0, Event(), 0

    # Life

    def start(self):
        """Begins to listen, with a new Core-UUID; again after `kill`, `shut_down` or `stop`, at the same address."""
        self.core_uuid, self._sequence, self.sessions, self.started = new_uuid(), 0, 0, self.clock.now
        self.peak = 0
        self._life += 1
        self._gone.clear()
        self.address = self.sockets.open(self.address)
        self.clock.start()
        self.clock.after(_HEARTBEAT_S, lambda life=self._life: self._beat(life))
        self._write_on(self._life)

    def stop(self):
        """Ends it as a shutdown does, without the wait."""
        self.go_on()
        if self.sockets.is_open:
            self._go_down()
        connections = self.sockets.all()
        self._say_goodbye(connections)
        for connection in connections:
            connection.join(timeout=1)
        self.clock.stop()

    def shut_down(self):
        """SIGTERM: SHUTDOWN, all calls hung up, a disconnect notice 1.2 s later."""
        if self.sockets.is_open:
            self._go_down()
            connections = self.sockets.all()
            self.clock.after(_SHUTDOWN_S, lambda: self._say_goodbye(connections))

    def kill(self):
        """kill -9: connections end without a word, calls are gone, files stay as they are on disk. `start` and the
        command `sofia recover` bring calls back that were answered, as with `track-calls`."""
        if not self.sockets.is_open:
            return
        self._close()
        self.cut()
        for room in self.rooms.values():
            room.abandon()
        self.rooms.clear()
        legs = tuple(self.legs.values())
        self.fallen = [leg for leg in legs if not leg.cause]
        for leg in legs:
            for recording in (*leg.recordings, *leg.tapes):
                recording.abandon()
            leg.vanish()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    # Calls

    def play(self, script: Script | dict, uuid: str = "") -> Call:
        """Begins a call now, or at `script.at` from now. A dict is a call of `scripts_of`, its phones written out."""
        if isinstance(script, dict):
            (script,) = scripts_of({"calls": [script]})
        call = Call(self, script)
        if script.at:
            self.clock.after(script.at, call.begin)
        else:
            call.begin(uuid)
        return call

    def register(self, phone: Phone, expires_s: int = 3600):
        """A phone registers itself: it is known from now on, and CUSTOM sofia::register says so."""
        self.phones.add(phone)
        self.publish("CUSTOM", lambda: self.phones.registration(phone, expires_s), "sofia::register")

    def api(self, line: str) -> str:
        """Executes a command as a connection does."""
        name, _, arguments = line.partition(" ")
        more = {"API-Command-Argument": arguments} if arguments else {}
        self.publish("API", lambda: {"API-Command": name, **more})
        obey = self.command_mishaps.take(line.split())
        return execute(self, line) if obey is None else obey(lambda: execute(self, line))

    def has_listener(self, event: str) -> bool:
        return bool(self.sockets.wanting(event, None, None))

    def until(self, condition, timeout: float | None = 5.0):
        """Waits until `condition()` holds, looking again after every command. Raises gevent.Timeout."""
        with gevent.Timeout(timeout):
            while not condition():
                self._changed.clear()
                self._changed.wait()

    def note_change(self):
        """A command was executed or a connection ended: `until` looks again."""
        self._changed.set()

    def fill_disk(self, is_full: bool = True):
        """Nothing more can be written, or again."""
        for leg in self.legs.values():
            leg.call.settle()
        self.is_disk_full = is_full

    # What legs and connections need

    def publish(self, name: str, headers, subclass: str | None = None, of: str | None = None):
        """Sends an event to whom it concerns; `headers()` is asked only if it concerns anybody. `of` is its leg."""
        self._sequence += 1
        if name in self.lost_events:
            return
        listeners = self.sockets.wanting(name, subclass, of)
        late = self.event_mishaps.take([name])
        if listeners and late is None:
            _offer(listeners, {**self.core_headers(name, subclass), **headers()})
        elif listeners and late:
            event = {**self.core_headers(name, subclass), **headers()}
            for seconds in late:
                self.clock.after(seconds, partial(_offer, listeners, event))

    def core_headers(self, name: str, subclass: str | None = None) -> dict[str, str]:
        return core_headers(name, subclass, self._sequence, self.core_uuid, self.hostname, self.clock.epoch_us())

    def next_session(self) -> str:
        self.sessions += 1
        return str(self.sessions)

    def next_member(self) -> int:
        """The number of a conference's member; its recordings count as such."""
        self._last_member += 1
        return self._last_member

    def enter(self, leg):
        self.legs[leg.uuid] = leg
        self.peak = max(self.peak, len(self.legs))

    def leave(self, leg):
        if self.legs.pop(leg.uuid, None) is not None:
            self._gone.append((self.clock.now, leg))

    def legs_at(self, moment: float) -> list:
        """The legs that were there at that second of the clock, oldest first."""
        gone = [leg for left, leg in self._gone if left > moment]
        legs = [leg for leg in (*gone, *self.legs.values()) if leg.created <= moment]
        return sorted(legs, key=lambda leg: leg.created)

    # Inside

    def _go_down(self):
        self.publish("SHUTDOWN", lambda: {"Event-Info": "System Shutting Down"})
        for leg in tuple(self.legs.values()):
            leg.hangup("SYSTEM_SHUTDOWN")
        self._close()

    def _close(self):
        self._life += 1
        self.sockets.close()

    @staticmethod
    def _say_goodbye(connections):
        for connection in connections:
            connection.say_goodbye(wire.SHUTTING_DOWN)

    def _beat(self, life):
        if life != self._life:
            return
        self.publish("HEARTBEAT", lambda: {
            "Event-Info": "System Ready", "Up-Time": uptime(self.clock.now - self.started),
            "FreeSWITCH-Version": f"{VERSION}~64bit",
            "Uptime-msec": str(int((self.clock.now - self.started) * 1000)),
            "Session-Count": str(len(self.legs)), "Max-Sessions": "10000", "Session-Per-Sec": "1000",
            "Session-Since-Startup": str(self.sessions), "Session-Peak-Max": str(self.peak), "Idle-CPU": "100.000000"})
        self.clock.after(_HEARTBEAT_S, lambda: self._beat(life))

    def _write_on(self, life):
        if life != self._life:
            return
        for each in (*self.legs.values(), *self.rooms.values()):
            each.catch_up()
        self.clock.after(_WRITE_S * self.clock.speed, lambda: self._write_on(life))


def _offer(listeners, event):
    encoded = {}
    for listener in listeners:
        listener.offer(event, encoded)
