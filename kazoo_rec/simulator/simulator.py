"""The simulated switch as a whole."""

import itertools
from collections import deque

import gevent
from gevent.event import Event
from gevent.server import StreamServer

from . import wire
from .api import VERSION, execute, uptime
from .call import Call
from .clock import WallClock
from .connection import Connection
from .events import core_headers
from .leg import new_uuid
from .script import Phone, Script, scripts_of

_HEARTBEAT_S = 20
#: From SHUTDOWN to the disconnect notice.
_SHUTDOWN_S = 1.2
#: Recordings are written at least so often, in seconds of the wall.
_WRITE_S = 0.1
#: Channels that are gone stay in `show channels` for a moment; older ones are forgotten.
_REMEMBERED = 1000


class Simulator:
    """A FreeSWITCH of one process that plays scripts: it speaks the event socket and writes real files.

    `clock` is a WallClock by default; a HandClock stands still until a test advances it. `listener` is (host, port), port
    0 takes a free one. `recordings` is what `global_getvar recordings_dir` says, and where relative paths land.
    `commands` are all command lines that came after `api` and `bgapi`.
    """

    def __init__(self, password="ClueCon", clock=None, listener=("127.0.0.1", 0), hostname="fs1.example",
                 recordings="/var/lib/freeswitch/recordings"):
        self.password, self.clock, self.hostname, self.recordings = password, clock or WallClock(), hostname, str(recordings)
        self.address, self.core_uuid, self.commands = listener, "", []
        self.legs, self.sessions, self.peak = {}, 0, 0
        self._server, self._connections = None, set()
        self._gone, self._phones, self._ports = deque(maxlen=_REMEMBERED), {}, itertools.count(6000)
        self._sequence, self._moving, self._changed, self._life = 0, Event(), Event(), 0

    # Life

    def start(self):
        """Begins to listen, with a new Core-UUID; again after `kill`, `shut_down` or `stop`, at the same address."""
        self.core_uuid, self._sequence, self.sessions = new_uuid(), 0, 0
        self._life += 1
        self._gone.clear()
        self._moving.set()
        self._server = StreamServer(self.address, self._serve)
        self._server.start()
        self.address = self._server.address
        self.clock.start()
        self.clock.after(_HEARTBEAT_S, lambda life=self._life: self._beat(life))
        self._write_on(self._life)

    def stop(self):
        """Ends it as a shutdown does, without the wait."""
        if self._server is not None:
            self._go_down()
            self._say_goodbye()
        self.clock.stop()

    def shut_down(self):
        """SIGTERM: SHUTDOWN, all calls hung up, a disconnect notice 1.2 s later."""
        if self._server is not None:
            self._go_down()
            self.clock.after(_SHUTDOWN_S, self._say_goodbye)

    def kill(self):
        """kill -9: connections end without a word, calls are gone, files stay as they are on disk."""
        if self._server is None:
            return
        self._close_server()
        for connection in tuple(self._connections):
            connection.cut()
        for leg in tuple(self.legs.values()):
            for recording in tuple(leg.recordings):
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

    def api(self, line: str) -> str:
        """Executes a command as a connection does."""
        name, _, arguments = line.partition(" ")
        more = {"API-Command-Argument": arguments} if arguments else {}
        self.publish("API", lambda: {"API-Command": name, **more})
        try:
            return execute(self, line)
        finally:
            self._changed.set()

    def until(self, condition, timeout: float = 5.0):
        """Waits until `condition()` holds, looking again after every command. Raises gevent.Timeout."""
        with gevent.Timeout(timeout):
            while not condition():
                self._changed.clear()
                self._changed.wait()

    def stall(self):
        """No command is executed until `go_on`."""
        self._moving.clear()

    def go_on(self):
        self._moving.set()

    def wait_while_stalled(self):
        self._moving.wait()

    # What legs and connections need

    def publish(self, name: str, headers, subclass: str | None = None):
        """Sends an event to whom it concerns; `headers()` is asked only if it concerns anybody."""
        self._sequence += 1
        listeners = [each for each in self._connections if each.wants(name, subclass)]
        if listeners:
            event, encoded = {**self.core_headers(name, subclass), **headers()}, {}
            for listener in listeners:
                listener.offer(event, encoded)

    def core_headers(self, name: str, subclass: str | None = None) -> dict[str, str]:
        return core_headers(name, subclass, self._sequence, self.core_uuid, self.hostname, self.clock.epoch_us())

    def next_session(self) -> str:
        self.sessions += 1
        return str(self.sessions)

    def enter(self, leg):
        self.legs[leg.uuid] = leg
        self.peak = max(self.peak, len(self.legs))

    def leave(self, leg):
        if self.legs.pop(leg.uuid, None) is not None:
            self._gone.append((self.clock.now, leg))

    def legs_at(self, moment: float) -> list:
        """The legs that were there at that second of the clock, oldest first."""
        gone = [leg for left, leg in self._gone if left > moment]
        return sorted((leg for leg in (*gone, *self.legs.values()) if leg.created <= moment), key=lambda leg: leg.created)

    def register(self, phone: Phone):
        """The phone is known from here on, at a contact of its own."""
        _, contact = self._phones.get(phone.address, (None, None))
        self._phones[phone.address] = phone, contact or f"127.0.0.1:{next(self._ports) if phone.domain else 5090}"

    def contact(self, phone: Phone) -> str:
        if phone.address not in self._phones:
            self.register(phone)
        return self._phones[phone.address][1]

    def phone_of(self, dial_string: str) -> Phone | None:
        """Who is at `user/1001@domain` or `sofia/gateway/carrier/number`; beyond the carrier somebody always answers."""
        if dial_string.startswith("sofia/gateway/"):
            number = dial_string.rpartition("/")[2]
            return self._phones.get(number, (Phone(number, answers=0.5), None))[0]
        return self._phones.get(dial_string.partition("/")[2], (None, None))[0]

    def registrations(self) -> list[dict]:
        """Rows of `show registrations`."""
        return [{"reg_user": phone.user, "realm": phone.domain, "token": f"{phone.user}@phone",
                 "url": f"sofia/internal/sip:{phone.user}@{contact}", "expires": str(self.clock.epoch_us() // 1_000_000 + 3600),
                 "network_ip": contact.partition(":")[0], "network_port": contact.partition(":")[2], "network_proto": "udp",
                 "hostname": self.hostname, "metadata": ""}
                for phone, contact in self._phones.values() if phone.domain]

    # Inside

    def _serve(self, sock, _):
        connection = Connection(self, sock)
        self._connections.add(connection)
        try:
            connection.run()
        finally:
            self._connections.discard(connection)
            self._changed.set()

    def _go_down(self):
        self.publish("SHUTDOWN", lambda: {"Event-Info": "System Shutting Down"})
        for leg in tuple(self.legs.values()):
            leg.hangup("SYSTEM_SHUTDOWN")
        self._close_server()

    def _close_server(self):
        self._life += 1
        server, self._server = self._server, None
        server.close()

    def _say_goodbye(self):
        for connection in tuple(self._connections):
            connection.say_goodbye(wire.SHUTTING_DOWN)

    def _beat(self, life):
        if life != self._life:
            return
        self.publish("HEARTBEAT", lambda: {
            "Event-Info": "System Ready", "Up-Time": uptime(self.clock.now), "FreeSWITCH-Version": f"{VERSION}~64bit",
            "Uptime-msec": str(int(self.clock.now * 1000)), "Session-Count": str(len(self.legs)), "Max-Sessions": "10000",
            "Session-Per-Sec": "1000", "Session-Since-Startup": str(self.sessions), "Session-Peak-Max": str(self.peak),
            "Idle-CPU": "100.000000"})
        self.clock.after(_HEARTBEAT_S, lambda: self._beat(life))

    def _write_on(self, life):
        if life != self._life:
            return
        for leg in tuple(self.legs.values()):
            for recording in leg.recordings:
                recording.catch_up()
        self.clock.after(_WRITE_S * self.clock.speed, lambda: self._write_on(life))
