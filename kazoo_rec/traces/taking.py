"""Takes a trace from a live switch: who is registered, which legs are up, then every event that the engine hears."""

import json
import time
from collections.abc import Callable

import gevent
from gevent.event import Event as Flag

from kazoo_rec.calls import tracker
from kazoo_rec.errors import CommandFailed, SwitchError
from kazoo_rec.switch import commands, replies
from kazoo_rec.switch.connection import Connection
from kazoo_rec.traces.file import Writer

#: Of the rows of a reply, what a replay reads and what places a leg; the rest may hold dial strings with passwords.
REGISTRATION = ("reg_user", "realm", "url", "expires")
CHANNEL = ("uuid", "direction", "created_epoch", "name", "callstate", "context")

#: Seconds for a list of everything.
LIST_WITHIN_S = 30.0


class Taking:
    """Parameters:
      connection: not connected yet.
      clean: makes headers of an event, or the keys and values of a row, fit to be written.
    """

    def __init__(self, connection: Connection, clean: Callable[[dict], dict], clock=time.monotonic):
        self._connection, self._clean, self._clock = connection, clean, clock
        self._writer, self._first = None, []
        self._since = clock()
        self.events = self.legs = self.lost = 0

    def begin(self):
        """Connects and asks; events follow from here on. Raises SwitchError where that cannot be."""
        connection = self._connection
        connection.on_lost = self._lost
        connection.connect()
        self._since = self._clock()
        connection.subscribe(tracker.EVENTS, tracker.SUBCLASSES)
        try:
            replies.check(connection.send(commands.log_critical()))
        except CommandFailed:
            self._note("the switch will not tell when it loses events")
        self._ask(commands.show_registrations(), replies.registrations, REGISTRATION)
        self._ask(commands.show_channels(), replies.channels, CHANNEL)

    def take(self, writer: Writer, seconds: float, stopped: Flag) -> SwitchError | None:
        """Writes until `seconds` have gone by or `stopped` is set; what else ended it, if something did. Raises
        TraceError where it cannot be written."""
        self._writer = writer
        for line in self._first:
            writer.write(line)
        ending = gevent.spawn(self._end, seconds, stopped)
        try:
            for event in self._connection.events():
                self.events += 1
                self.legs += event.name == "CHANNEL_CREATE"
                self._write({"t": self._now(), "event": self._clean(event.headers)})
            return None if ending.ready() else self._connection.closed.get()
        finally:
            ending.kill()
            self.stop()

    def stop(self):
        self._connection.stop()

    def _end(self, seconds, stopped):
        stopped.wait(seconds)
        self.stop()

    def _ask(self, command, rows_of, keys):
        asked = self._now()
        rows = [self._clean({key: row[key] for key in keys if key in row})
                for row in rows_of(self._connection.send(command, LIST_WITHIN_S))]
        self._write({"t": asked, "t_reply": self._now(), "command": command,
                     "reply": json.dumps({"row_count": len(rows), "rows": rows})})

    def _lost(self, count):
        self.lost += count
        self._note(f"the switch lost {count} events of one of its listeners")

    def _note(self, text):
        self._write({"t": self._now(), "note": text})

    def _write(self, line):
        if self._writer:
            self._writer.write(line)
        else:
            self._first.append(line)

    def _now(self):
        return round(self._clock() - self._since, 6)
