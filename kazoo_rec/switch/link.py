"""The events of one switch, from now on and for ever."""

from collections.abc import Callable, Iterable

import structlog

from kazoo_rec.errors import CommandFailed, NotConnected, SwitchError
from kazoo_rec.switch import commands
from kazoo_rec.switch.connection import Connection
from kazoo_rec.switch.events import Event
from kazoo_rec.switch.redial import Redial, place
from kazoo_rec.switch.replies import check

log = structlog.get_logger()


def _ignore(*_):
    """For who does not want to hear of it."""


class Link:
    """Subscribes, hands over every event in order, and connects anew when it must.

    One greenlet calls, one thing after the other: `on_core_change(old, new)` where another process answers than last
    time (the switch was restarted, no leg of before lives); `on_up(core_uuid)`, which may ask the switch what is going
    on, as what happens meanwhile follows as events; `on_event(event)`; `on_down(reason)` once for each `on_up`.
    If `on_up` raises, the connection is made anew. If `on_event` does, that event is lost to its handler and counted in
    `faults`; the log gets type and place of the fault, as messages and events hold what callers said.

    `heard_at_s` is when, by the connection's clock, FreeSWITCH was heard last before `on_down`: its silence shows
    later than it begins.

    `on_gap(count)` comes from another greenlet and must not wait: FreeSWITCH lost so many events of a listener, most
    likely of this one, as it does when 100,000 are queued (mod_event_socket.c, event_handler; it only says so in its
    log). What is known of its legs must be asked for anew. Nothing else shows such a gap: Event-Sequence counts all
    events of the core, subscribed to or not, and neighbours arrive swapped (switch_event.c, dispatch threads). Between
    two connections to the same core it does tell how many went by at most; the log has that.
    """

    def __init__(self, make_connection: Callable[[], Connection], names: Iterable[str], subclasses: Iterable[str] = (),
                 *, on_event: Callable[[Event], object],
                 on_up: Callable[[str], object] = _ignore,
                 on_down: Callable[[SwitchError], object] = _ignore,
                 on_gap: Callable[[int], object] = _ignore,
                 on_core_change: Callable[[str, str], object] = _ignore,
                 **redial):
        self.core_uuid = ""
        self.faults = self.lost_events = 0
        self.heard_at_s = 0.0
        self._names, self._subclasses = list(names), list(subclasses)
        self._on_event, self._on_up, self._on_down = on_event, on_up, on_down
        self._on_gap, self._on_core_change = on_gap, on_core_change
        self._last: Event | None = None
        self._preparing: Connection | None = None
        self._gap_said = False
        self._subscribed: tuple[Connection | None, frozenset[str]] = (None, frozenset())
        self._redial = Redial(make_connection, "events", self._prepare, self._serve, **redial)
        self.start, self.stop = self._redial.start, self._redial.stop

    @property
    def connection(self) -> Connection | None:
        """None while the switch is not to be had."""
        return self._redial.connection

    def ask(self, command: str, timeout_s: float = 5.0) -> str:
        """Sends a command over the connection of the events: for `on_up`, which needs no other to be up. Events wait
        behind its reply. Raises as `Pool.ask` does."""
        connection = self.connection or self._preparing
        if connection is None:
            raise NotConnected("there is no connection to FreeSWITCH")
        return check(connection.send(command, timeout_s))

    def listen(self, names: Iterable[str]):
        """Have these events sent too, from now on, and behind connections to come. Raises NotConnected, CommandTimeout
        or CommandFailed: then they may not come before the next connection."""
        self._names = list(dict.fromkeys([*self._names, *names]))
        connection = self.connection or self._preparing
        if connection is None:
            raise NotConnected("there is no connection to FreeSWITCH")
        if self._subscribed[0] is not connection or not self._subscribed[1].issuperset(names):
            self._subscribe(connection)

    def _subscribe(self, connection):
        names = frozenset(self._names)
        connection.subscribe(self._names, self._subclasses)
        self._subscribed = connection, names

    def _prepare(self, connection: Connection):
        connection.on_lost, self._gap_said, self._preparing = self._lost, False, connection
        self._subscribe(connection)
        try:
            check(connection.send(commands.log_critical()))
        except CommandFailed as refusal:
            log.warning("FreeSWITCH will not tell when it loses events", reply=refusal.reply)
        try:
            connection.rouse()
        except CommandFailed as refusal:
            log.warning("events of the first call since FreeSWITCH was started may be late", reply=refusal.reply)
        core_uuid = check(connection.send(commands.global_getvar("core_uuid")))
        if core_uuid != self.core_uuid:
            if self.core_uuid:
                log.warning("FreeSWITCH was restarted", old=self.core_uuid, new=core_uuid)
                self._on_core_change(self.core_uuid, core_uuid)
            self.core_uuid, self._last = core_uuid, None
        self._on_up(core_uuid)

    def _serve(self, connection: Connection):
        try:
            self._hand_over(connection)
        finally:
            connection.stop()
            self.heard_at_s = connection.heard_at_s
            self._on_down(connection.closed.get())

    def _hand_over(self, connection: Connection):
        before, self._last = self._last, None
        for event in connection.events():
            if before:
                log.info("events of the whole switch went by meanwhile", at_most=event.sequence - before.sequence - 1)
                before = None
            self._last = event
            try:
                self._on_event(event)
            except Exception as fault:  # noqa: BLE001  one event must not be the end of all others
                self.faults += 1
                log.error("an event was not handled", event_name=event.name, fault=place(fault), faults=self.faults)

    def _lost(self, count: int):
        self.lost_events += count
        if not self._gap_said:
            log.error("FreeSWITCH lost events: they came faster than they were read", count=count)
        self._gap_said = True
        try:
            self._on_gap(count)
        except Exception as fault:  # noqa: BLE001  the reader goes on
            self.faults += 1
            log.error("lost events were not handled", fault=place(fault), faults=self.faults)
