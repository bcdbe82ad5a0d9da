"""One connection of the event socket (mod_event_socket.c): commands in order, events in between."""

from collections import deque

import gevent
from gevent.event import Event

from . import wire
from .clock import FRAME_S
from .leg import new_uuid

#: Names that `event` knows (switch_event.c, EVENT_NAMES).
EVENTS = frozenset("""
    ALL CUSTOM CLONE CHANNEL_CREATE CHANNEL_DESTROY CHANNEL_STATE CHANNEL_CALLSTATE CHANNEL_ANSWER CHANNEL_HANGUP
    CHANNEL_HANGUP_COMPLETE CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE CHANNEL_HOLD CHANNEL_UNHOLD CHANNEL_BRIDGE
    CHANNEL_UNBRIDGE CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_OUTGOING CHANNEL_PARK CHANNEL_UNPARK
    CHANNEL_APPLICATION CHANNEL_ORIGINATE CHANNEL_UUID CHANNEL_DATA API LOG INBOUND_CHAN OUTBOUND_CHAN STARTUP SHUTDOWN
    PUBLISH UNPUBLISH TALK NOTALK SESSION_CRASH MODULE_LOAD MODULE_UNLOAD DTMF MESSAGE PRESENCE_IN NOTIFY_IN
    PRESENCE_OUT PRESENCE_PROBE MESSAGE_WAITING MESSAGE_QUERY ROSTER CODEC BACKGROUND_JOB DETECTED_SPEECH DETECTED_TONE
    PRIVATE_COMMAND HEARTBEAT TRAP ADD_SCHEDULE DEL_SCHEDULE EXE_SCHEDULE RE_SCHEDULE RELOADXML NOTIFY PHONE_FEATURE
    PHONE_FEATURE_SUBSCRIBE SEND_MESSAGE RECV_MESSAGE REQUEST_PARAMS GENERAL COMMAND SESSION_HEARTBEAT
    CLIENT_DISCONNECTED SERVER_DISCONNECTED SEND_INFO RECV_INFO RECV_RTCP_MESSAGE SEND_RTCP_MESSAGE CALL_SECURE NAT
    RECORD_START RECORD_STOP PLAYBACK_START PLAYBACK_STOP CALL_UPDATE FAILURE SOCKET_DATA MEDIA_BUG_START MEDIA_BUG_STOP
    CONFERENCE_DATA_QUERY CONFERENCE_DATA CALL_SETUP_REQ CALL_SETUP_RESULT CALL_DETAIL DEVICE_STATE TEXT
    SHUTDOWN_REQUESTED
    """.split())
_NO_KEYWORDS, _UNKNOWN = "-ERR no keywords supplied", "-ERR command not found"
#: A listener that falls behind by so many events loses them, and is cut off when it has lost so many.
_MAX_QUEUED, _MAX_LOST = 100_000, 500


class Connection:
    """Talks to one client until it leaves; `run` in a greenlet of its own.

    The switch's thread polls its socket for a frame and sends queued events only in between: events come up to 20 ms
    late, unless a command wakes it.
    """

    def __init__(self, switch, sock):
        self._switch, self._socket, self._names, self._subclasses = switch, sock, set(), set()
        self._form, self._listening, self._lost = "plain", False, 0
        self._queued, self._outgoing, self._ready, self._polling = deque(), deque(), Event(), False
        self._writer = gevent.spawn(self._write)

    def run(self):
        try:
            self._send(wire.auth_request())
            if self._authenticates():
                while (command := self._read()) is not None:
                    self._switch.wait_while_stalled()
                    self._release()
                    if not self._obey(*command):
                        break
        except OSError:
            pass
        self.close()

    def wants(self, name: str, subclass: str | None) -> bool:
        if not self._listening:
            return False
        return subclass in self._subclasses if subclass else name in self._names or "ALL" in self._names

    def offer(self, event, encoded: dict):
        """Queues an event; `encoded` keeps its bytes for other connections, by form."""
        if len(self._queued) + len(self._outgoing) >= _MAX_QUEUED:
            self._lost += 1
            if self._lost > _MAX_LOST:
                self.cut()
            return
        if self._form not in encoded:
            encoded[self._form] = wire.event(event, self._form)
        self._queued.append(encoded[self._form])
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
        self._socket.close()

    def _write(self):
        try:
            while True:
                self._ready.wait()
                while self._outgoing:
                    frames = []
                    while self._outgoing and (frame := self._outgoing.popleft()) is not None:
                        frames.append(frame)
                    self._socket.sendall(b"".join(frames))
                    if frame is None:
                        self._socket.close()
                        return
                self._ready.clear()
        except OSError:
            self._socket.close()

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
        """(first line, further header lines) of the next command, or None at the end."""
        if not hasattr(self, "_lines"):
            self._lines = self._socket.makefile("rb")
        block = []
        while True:
            line = self._lines.readline()
            if not line.endswith(b"\n"):
                return None
            text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            if text:
                block.append(text)
            elif block:
                return block[0], dict(each.partition(": ")[::2] for each in block[1:])

    def _authenticates(self) -> bool:
        while (command := self._read()) is not None:
            line, _ = command
            if not line.lower().startswith("auth "):
                self._send(wire.reply(_UNKNOWN))
            elif line[5:] == self._switch.password:
                self._send(wire.reply("+OK accepted"))
                return True
            else:
                self._send(wire.reply("-ERR invalid"))
                self._send(wire.disconnect_notice(wire.GOODBYE))
                return False
        return False

    def _obey(self, line: str, headers: dict) -> bool:
        """Executes a command; False where it was the last."""
        word, _, rest = line.partition(" ")
        match word.lower():
            case "exit" | "...":
                self._send(wire.reply("+OK bye"))
                self._send(wire.disconnect_notice(wire.GOODBYE))
                return False
            case "api" if " " in line:
                self._switch.commands.append(rest)
                self._send(wire.api_response(self._switch.api(rest)))
            case "bgapi" if rest:
                self._switch.commands.append(rest)
                job = headers.get("Job-UUID") or new_uuid()
                self._send(wire.reply(f"+OK Job-UUID: {job}", Job_UUID=job))
                gevent.spawn(self._background, job, rest)
            case "event":
                self._send(wire.reply(self._subscribe(rest.split())))
            case "nixevent":
                self._send(wire.reply(self._unsubscribe(rest.split())))
            case "noevents":
                self._send(wire.reply("+OK no longer listening for events" if self._listening
                                      else "-ERR not listening for events"))
                self._names, self._subclasses, self._listening = set(), set(), False
            case _:
                self._send(wire.reply(_UNKNOWN))
        return True

    def _background(self, job, line):
        result = self._switch.api(line)
        name, _, arguments = line.partition(" ")
        more = {"Job-Command-Arg": arguments} if arguments else {}
        self._switch.publish("BACKGROUND_JOB", lambda: {"Job-UUID": job, "Job-Command": name, **more, "_body": result})

    def _subscribe(self, words) -> str:
        if words and words[0].lower() in ("plain", "json"):
            self._form = words.pop(0).lower()
        names, subclasses = _sorted_out(words)
        if not names:
            return _NO_KEYWORDS
        self._names |= names
        self._subclasses |= subclasses
        self._listening = True
        return f"+OK event listener enabled {self._form}"

    def _unsubscribe(self, words) -> str:
        names, subclasses = _sorted_out(words)
        if not names:
            return _NO_KEYWORDS
        if "ALL" in self._names:
            self._names = set(EVENTS) - {"ALL"}
        self._names -= names
        self._subclasses -= subclasses
        return "+OK events nixed"


def _sorted_out(words):
    """Names of events; after CUSTOM all further words are subclasses."""
    names, subclasses = set(), set()
    for word in words:
        if "CUSTOM" in names:
            subclasses.add(word)
        elif word.upper() in EVENTS:
            names.add(word.upper())
    return names, subclasses
