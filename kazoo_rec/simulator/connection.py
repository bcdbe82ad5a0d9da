"""One connection of the event socket (mod_event_socket.c): commands in order, events in between."""

import socket
import struct
from collections import deque

import gevent
from gevent.event import Event

from kazoo_rec.simulator import wire
from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.events import new_uuid
from kazoo_rec.simulator.subscription import Subscription

#: In the order of their numbers (switch_log.c, LEVELS).
_LOG_LEVELS = ("console", "alert", "crit", "err", "warning", "notice", "info", "debug")
#: A listener that has lost so many events is cut off.
_MAX_LOST = 500
#: close() sends RST (SO_LINGER).
_AT_ONCE = struct.pack("ii", 1, 0)


class Connection:
    """Talks to one client until it leaves; `run` in a greenlet of its own.

    The switch's thread polls its socket for a frame and sends queued events only in between: events come up to 20 ms
    late, unless a command wakes it.
    """

    def __init__(self, switch, sock):
        self.subscription, self._switch, self._socket, self._lost = Subscription(), switch, sock, 0
        self._queued, self._outgoing, self._ready, self._polling = deque(), deque(), Event(), False
        self._lines, self._is_dead, self._ends_by = sock.makefile("rb"), False, socket.SHUT_RDWR
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writer = gevent.spawn(self._write)

    def run(self):
        self._send(wire.auth_request())
        if self._authenticates():
            while (command := self._read()) is not None:
                self._switch.sockets.wait_while_stalled()
                if self._is_dead:
                    continue
                self._release()
                goes_on = self._obey(*command)
                self._switch.note_change()
                if not goes_on:
                    break
        self.close()
        self._writer.join()
        self._lines.close()
        self._socket.close()

    def wants(self, name: str, subclass: str | None, of: str | None) -> bool:
        """Whether it listens to such an event of the leg `of`, or of none."""
        return self.subscription.wants(name, subclass)

    def offer(self, event, encoded: dict):
        """Queues an event; `encoded` keeps its bytes for other connections, by form."""
        if not self.subscription.passes(event):
            return
        if len(self._queued) + len(self._outgoing) >= self._switch.sockets.queue_limit:
            self._lost += 1
            if self._lost > _MAX_LOST:
                self.cut()
            return
        form = self.subscription.form
        if form not in encoded:
            encoded[form] = wire.event(event, form)
        self._queued.append(encoded[form])
        if not self._polling:
            self._polling = True
            self._switch.clock.after(FRAME_S, self._release)

    def say_goodbye(self, text: str):
        """A disconnect notice, then the end."""
        self._release()
        self._send(wire.disconnect_notice(text))
        self.close()

    def close(self):
        """Ends the connection when all is written."""
        self._outgoing.append(None)
        self._ready.set()

    def cut(self):
        """Ends it at once: a bare end of file for the client."""
        self._writer.kill(block=False)
        self._hang_up()

    def reset(self):
        """Ends it at once by RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._ends_by = socket.SHUT_RD  # says nothing to the client
        self.cut()

    def go_dead(self):
        """It stays, and carries nothing any more."""
        self._is_dead = True

    def join(self, timeout: float):
        """Waits until all is written, at most `timeout` seconds."""
        self._writer.join(timeout)

    def _write(self):
        try:
            while True:
                self._ready.wait()
                self._switch.sockets.wait_while_mute()
                while self._outgoing:
                    frames = []
                    while self._outgoing and (frame := self._outgoing.popleft()) is not None:
                        frames.append(frame)
                    if not self._is_dead:
                        self._socket.sendall(b"".join(frames))
                    if frame is None:
                        return
                self._ready.clear()
        except OSError:
            return
        finally:
            self._hang_up()

    def _hang_up(self):
        try:
            self._socket.shutdown(self._ends_by)
        except OSError:
            return  # the client was faster

    def _send(self, frame: bytes):
        self._outgoing.append(frame)
        self._ready.set()

    def _release(self):
        self._polling = False
        if self._queued:
            self._outgoing.extend(self._queued)
            self._queued.clear()
            self._ready.set()

    def _read(self):
        """(first line, further headers and, as `_body`, a body) of the next command, or None at the end."""
        block = []
        while True:
            try:
                line = self._lines.readline()
            except OSError:
                return None
            if not line.endswith(b"\n"):
                return None
            text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            if text:
                block.append(text)
            elif block:
                headers = {name: value.lstrip() for name, _, value in (each.partition(":") for each in block[1:])}
                return block[0], headers | self._body(headers)

    def _body(self, headers):
        length = next((value for name, value in headers.items() if name.lower() == "content-length"), "")
        if not length.isdigit() or length == "0":
            return {}
        return {"_body": self._lines.read(int(length)).decode("utf-8", "surrogateescape")}

    def _authenticates(self) -> bool:
        while (command := self._read()) is not None:
            line, _ = command
            if not line.lower().startswith("auth "):
                self._send(wire.reply(wire.UNKNOWN))
            elif line[5:] == self._switch.password:
                self._send(wire.reply("+OK accepted"))
                return True
            else:
                self._send(wire.reply("-ERR invalid"))
                self._send(wire.disconnect_notice(wire.GOODBYE))
                return False
        return False

    def _obey(self, line: str, headers: dict) -> bool:
        """Executes a command; False where it was the last. FreeSWITCH compares beginnings: `events` is `event` too."""
        begins, rest = line.lower().startswith, line.partition(" ")[2]
        if begins("exit") or begins("..."):
            self._send(wire.reply("+OK bye"))
            self._send(wire.disconnect_notice(wire.GOODBYE))
            return False
        if begins("api "):
            self._switch.commands.append(rest)
            self._send(wire.api_response(self._switch.api(rest)))
        elif begins("bgapi "):
            self._switch.commands.append(rest)
            job = headers.get("Job-UUID") or new_uuid()
            self._send(wire.reply(f"+OK Job-UUID: {job}", Job_UUID=job))
            gevent.spawn(self._background, job, rest)
        elif begins("filter "):
            self._send(wire.reply(self.subscription.filter(rest)))
        elif begins("event"):
            self._send(wire.reply(self.subscription.add(rest.split())))
        elif begins("nixevent"):
            self._send(wire.reply(self.subscription.take(rest.split())))
        elif begins("noevents"):
            self._send(wire.reply(self.subscription.end()))
        elif begins("log"):
            self._send(wire.reply(_log_level(rest)))
        elif begins("sendevent"):
            own = {"Command": line, **headers, "Event-UUID": new_uuid()}
            self._switch.publish(rest.strip().upper(), lambda: own, headers.get("Event-Subclass"))
            self._send(wire.reply(f"+OK {own['Event-UUID']}"))
        elif begins("sendmsg"):
            message = {name.lower(): value for name, value in headers.items()}
            self._send(wire.reply(self._sendmsg(rest.strip() or message.get("session-id", ""), message)))
        elif begins("linger"):
            self._send(wire.reply("-ERR not controlling a session"))
        else:
            self._send(wire.reply(wire.UNKNOWN))
        return True

    def _sendmsg(self, uuid, message):
        leg = self._switch.legs.get(uuid)
        if leg is None:
            return f"-ERR invalid session id [{uuid}]"
        leg.orders.put(message)
        return "+OK"

    def _job(self):
        """What the event of a background job says beside its result."""
        return {}

    def _background(self, job, line):
        result = self._switch.api(line)
        name, _, arguments = line.partition(" ")
        more = {"Job-Command-Arg": arguments} if arguments else {}
        self._switch.publish("BACKGROUND_JOB", lambda: {"Job-UUID": job, "Job-Command": name, **more, **self._job(),
                                                        "_body": result})


def _log_level(name: str) -> str:
    level = name.lower() or "debug"
    if level not in _LOG_LEVELS:
        return "-ERR invalid log level"
    return f"+OK log level {name} [{_LOG_LEVELS.index(level)}]"
