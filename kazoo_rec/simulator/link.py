"""The connection to a program that the switch has dialled: the outbound half of mod_event_socket.c."""

from gevent.event import Event

from kazoo_rec.simulator import wire
from kazoo_rec.simulator.connection import Connection
from kazoo_rec.simulator.headers import channel_headers
from kazoo_rec.simulator.process import Mailbox
from kazoo_rec.simulator.recording import is_true

#: How long the program may take over its first command.
_PATIENCE_S = 25.0


class Link(Connection):
    """The connection to the program that controls `leg`."""

    def __init__(self, leg, sock, is_async: bool, is_full: bool):
        super().__init__(leg.switch, sock)
        self._leg, self.is_async, self._is_full = leg, is_async, is_full
        self.began, self.ended, self.told = Mailbox(), Mailbox(), Mailbox()
        self.is_over = self.diverts = self._is_mine = self._is_alone = False
        self._linger_s, self._holds_back, self._has_spoken = None, False, False
        leg.clock.after(_PATIENCE_S, lambda: self._has_spoken or self._end())

    def run(self):
        while not self.is_over and (command := self._read()) is not None:
            self._has_spoken = True
            self._switch.sockets.wait_while_stalled()
            self._release()
            goes_on = self._obey(*command)
            self._switch.note_change()
            if not goes_on:
                break
        self._end()
        self._writer.join()
        self._socket.close()

    def wants(self, name, subclass, of):
        """After `myevents`, of all those only its own leg's."""
        return (not self._is_mine or of == self._leg.uuid) and super().wants(name, subclass, of)

    def leg_is_gone(self):
        """Its leg was hung up: the end, or, with `linger`, a notice that the end is near. Who is not `async` hears no
        event of the hang-up."""
        if self._is_alone:
            return
        self._is_alone, self._holds_back = True, False
        if not self.is_async:
            self._queued.clear()
        self._release()
        if self._linger_s is None:
            self._end()
            return
        self._send(wire.disconnect_notice("", **self._who(), Content_Disposition="linger",
                                          Channel_Name=self._leg.name, Linger_Time=str(self._linger_s)))
        if self._linger_s >= 0:
            self._switch.clock.at(self._switch.clock.whole_seconds(self._linger_s) + 1, self._end)

    def _end(self):
        if self.is_over:
            return
        self.is_over, self._holds_back = True, False
        self._release()
        self._send(wire.disconnect_notice(wire.GOODBYE, **self._who(), Content_Disposition="disconnect"))
        self.close()
        leg = self._leg
        leg.link = None
        leg.depart()
        if leg.parking is not None and is_true(leg.variables.get("socket_resume", "")):
            leg.process.reset()
        self.began.put("over")
        self.ended.put("over")
        self.told.put(None)

    def _who(self):
        return {"Controlled_Session_UUID": self._leg.uuid}

    def _release(self):
        if not self._holds_back:
            super()._release()

    def _job(self):
        return {"Job-Owner-UUID": self._leg.uuid}

    def _obey(self, line, headers):
        begins, rest, leg = line.lower().startswith, line.partition(" ")[2].strip(), self._leg
        if begins(("exit", "...")):
            self._send(wire.reply("+OK bye"))
            return False
        if begins("filter "):
            return super()._obey(line, headers)
        if begins("resume"):
            leg.variables["socket_resume"] = "true"
            self._send(wire.reply("+OK"))
        elif begins("connect"):
            self._send(self._introduction())
            self.began.put("connected")
        elif begins("getvar"):
            self._send(wire.reply(leg.get(rest) or wire.UNKNOWN))
        elif begins("myevents"):
            self._send(wire.reply(self._mine(rest)))
        elif begins("divert_events"):
            self.diverts = rest.lower() == "on"
            said = "+OK events diverted" if self.diverts else "+OK events not diverted"
            self._send(wire.reply(said if rest else "-ERR missing value."))
        elif begins("sendmsg"):
            self._send(wire.reply(self._told(rest or headers.get("session-id", ""), headers)))
        elif not self._is_full:
            self._send(wire.reply(wire.UNKNOWN))
        elif begins("linger"):
            self._linger_s = int(rest) if rest.isdigit() else -1
            said = f" {self._linger_s} seconds" if self._linger_s >= 0 else ""
            self._send(wire.reply(f"+OK will linger{said}"))
        elif begins("nolinger"):
            self._linger_s = None
            self._send(wire.reply("+OK will not linger"))
        else:
            return super()._obey(line, headers)
        return True

    def _introduction(self) -> bytes:
        leg = self._leg
        return wire.plain_body({
            **self._switch.core_headers("CHANNEL_DATA"), **leg.profile.headers("Channel"), **channel_headers(leg),
            "Content-Type": "command/reply", "Reply-Text": "+OK\n",
            "Socket-Mode": "async" if self.is_async else "static",
            "Control": "full" if self._is_full else "single-channel"})

    def _mine(self, rest):
        if self._is_mine:
            return "-ERR aready enabled."
        self._is_mine = True
        self.subscription.add_own()
        if "json" in rest.lower():
            self.subscription.form = "json"
        return "+OK Events Enabled"

    def _told(self, uuid, headers):
        """The reply to `sendmsg`, to its own leg or another."""
        message = {name.lower(): value for name, value in headers.items()}
        if uuid not in ("", self._leg.uuid):
            return self._sendmsg(uuid, message)
        if self.is_async:
            self._leg.orders.put(message)
        elif not self._leg.cause:
            done = Event()
            self._holds_back = True
            self.told.put((message, done))
            done.wait()
            self._holds_back = False
            self._switch.clock.after(0.0, self._release)
        return "+OK"
