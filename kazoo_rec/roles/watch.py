"""One switch of an engine's: its connections, its legs, its recordings."""

from functools import partial

import gevent
import structlog
from gevent.event import Event
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.calls import tracker as tracking
from kazoo_rec.calls.clock import SwitchClock
from kazoo_rec.calls.control import Control
from kazoo_rec.calls.ending import CLOCK_SET_MS
from kazoo_rec.calls.files import Files
from kazoo_rec.calls.identity import Identifier
from kazoo_rec.calls.meter import Meter
from kazoo_rec.calls.recorder import Recorder
from kazoo_rec.calls.recovery import LEFT_EVERY_S, SWEEP_EVERY_S, SWEEP_RETRY_S, Recovery
from kazoo_rec.calls.registrations import Registrations
from kazoo_rec.calls.room_recorder import RoomRecorder
from kazoo_rec.calls.rooms import Rooms
from kazoo_rec.calls.tracker import Tracker
from kazoo_rec.config import Config, Switch
from kazoo_rec.delivery import webhook
from kazoo_rec.delivery.clock import monotonic_ms
from kazoo_rec.errors import NotConnected, SwitchError
from kazoo_rec.media import wav
from kazoo_rec.roles import acting
from kazoo_rec.roles.vitals import families
from kazoo_rec.store import epoch_ms
from kazoo_rec.switch.connection import QUEUE_BYTES, Connection
from kazoo_rec.switch.link import Link
from kazoo_rec.switch.pool import Pool
from kazoo_rec.switch.redial import place

#: Seconds before it is asked again whether there is a connection for commands.
POOL_WITHIN_S = 0.1

#: Events that are so late, in ms, wait behind others: the switch's queue of them may be what is full.
LATE_MS = 1000

#: Writes that wait, from which on an engine is called overloaded: some seconds' worth.
MANY_WRITES = 10_000

log = structlog.get_logger()


class Watch:
    """One switch of the engine's: its connections, its legs, its recordings."""

    def __init__(self, config: Config, switch: Switch, store, threads, directory, refuses, observe, acting_engine):
        self.name = switch.name
        self._outages = None if observe else store.outages
        connect = partial(Connection, switch.host, switch.port, switch.password)
        self._pool = Pool(connect, size=switch.command_connections, name=switch.name)
        self._store, rows = store, store.recordings
        files = Files(config.recordings_dir.on_switch, config.recordings_dir.here, threads.apply, wav.said)
        registrations = Registrations()
        self._meter, clock = Meter(), SwitchClock(epoch_ms, monotonic_ms)
        self._clock, self._last = clock, (clock.now_ms(), monotonic_ms())  # what the last event said, and when

        def told(row, state):
            return webhook.row(row, state, epoch_ms(), config.delivery.retry_for_s)

        send = self._meter.timed(self._pool.ask)
        recorder, room_recorder = (
            kind(switch.name, send, rows, files, clock.now_ms, meter=self._meter, observe=observe,
                 listen=lambda names: self._link.listen(names), webhook=told,
                 on_no_recording=lambda account_id: directory().on_no_recording(account_id), refuses=refuses)
            for kind in (Recorder, RoomRecorder))
        self._recorder = recorder
        self.rooms = Rooms(switch.name, lambda uuid: self.tracker.leg(uuid), recorder, room_recorder, send, rows, files,
                           clock.now_ms, monotonic_ms)
        self.tracker = Tracker(Identifier(config.identity, registrations), registrations, directory, recorder,
                               rooms=self.rooms)
        self._connect, self._acting = connect, acting_engine
        if acting_engine is not None:
            self.tracker.listen(acting.SUBCLASS, lambda event, _now_at: acting_engine.heard(
                switch.name, event, lambda: gevent.spawn(self.announce)))
        self._recovery = Recovery(switch.name, self.tracker, recorder, registrations, rows, files, clock,
                                  monotonic_ms, observe, self.rooms, told, self._took_all_in)
        self.control = Control(self.tracker, recorder, self._pool.ask, files, clock.now_ms, monotonic_ms,
                               lambda uuid: self._recovery.knows(uuid))
        self._link = Link(connect, tracking.EVENTS, (*tracking.SUBCLASSES, acting.SUBCLASS), on_event=self._heard,
                          on_up=self._up, on_down=self._down, on_gap=self._gap, on_core_change=self._core_changed)
        self._sweeping, self._doubtful, self._fault = [], Event(), None
        self._stopping, self._lost_at = False, None

    def start(self):
        # Events first: the switch queues five connections at most and lets the next wait a second (its `listen`).
        self._link.start()
        self._pool.start()
        self._sweeping = [gevent.spawn(run) for run in (self._sweep, self._close_left)]

    def announce(self) -> bool:
        """Tells the other engines that listen to the switch that this one acts, by a connection of its own. Whether
        that is done."""
        if (announcement := self._announcement()) is None:
            return False
        connection = self._connect()
        try:
            connection.connect()
            connection.send(announcement)
        except SwitchError as unheard:
            log.debug("no other engine was told", switch=self.name, reason=str(unheard))
            return False
        finally:
            connection.stop()
        return True

    def _announcement(self):
        return self._acting and self._acting.announcement(self.name)

    def cut(self):
        """No command is sent any more; `stop` has to follow."""
        self._stopping = True
        self._pool.cut()

    def stop(self, deposed=False):
        self._stopping = True
        if self._outages is not None and not deposed:
            self._outages.begin(self.name, epoch_ms(), "the engine was stopped")
        gevent.killall(self._sweeping)
        self._link.stop()
        self._pool.stop()

    def tick(self):
        self._pool.turns.look()
        try:
            self.tracker.tick(monotonic_ms())
        except Exception as fault:  # noqa: BLE001  one call's must not be the end of all others
            self._tell(fault)

    def _tell(self, fault):
        """Once for each place, as a look follows at once."""
        if (where := place(fault)) != self._fault:
            self._fault = where
            log.error("a look at the calls failed", switch=self.name, fault=where)

    @property
    def is_linked(self) -> bool:
        """Whether there is a connection for events."""
        link = self._link.connection
        return link is not None and link.connected

    @property
    def connected(self) -> bool:
        """Whether there is one for events, and one for commands."""
        return self.is_linked and bool(self._pool.connections)

    @property
    def missing(self) -> tuple[int, int]:
        """As `calls.vigil.Vigil.missing`."""
        return self._recorder.missing(monotonic_ms())

    @property
    def load(self) -> dict:
        """What waits, and whether it is too much."""
        turns, link, writes = self._pool.turns, self._link.connection, self._store.waiting
        events_bytes = link.queued_bytes if link is not None else 0
        return {"overloaded": turns.overloaded or events_bytes >= QUEUE_BYTES // 2 or writes >= MANY_WRITES,
                "commands_waiting": turns.waiting, "events_waiting_bytes": events_bytes, "writes_waiting": writes}

    def metrics(self) -> list[dict]:
        meter = self._meter
        meter.connected.set(self.connected)
        meter.legs.set(len(self.tracker))
        meter.calls.set(self.tracker.calls)
        meter.not_recorded.set(self.missing[0])
        load = self.load
        meter.commands.set(load["commands_waiting"])
        meter.events_waiting.set(load["events_waiting_bytes"])
        meter.writes.set(load["writes_waiting"])
        meter.gave_up({urgency.name.lower(): count for urgency, count in self._pool.turns.given_up.items()})
        return families(meter.registry, switch=self.name)

    def _heard(self, event):
        self._meter.events.inc()
        now_at = monotonic_ms()
        self._last = event.time_us // 1000, now_at
        self.tracker.feed(event, now_at)

    def _up(self, core_uuid):
        if (announcement := self._announcement()) is not None:
            self._link.ask(announcement)
        self._recovery.connected(self._link.ask)
        self._last = self._clock.now_ms(), monotonic_ms()
        if self._lost_at is not None:
            self._meter.outages.observe((monotonic_ms() - self._lost_at) / 1000)
            self._lost_at = None
        self._doubtful.set()
        log.info("switch connected", switch=self.name, core=core_uuid, legs=len(self.tracker))

    def _took_all_in(self):
        """The outage is over. What had ended since the connection, and was not taken in, was in it."""
        if self._outages is not None:
            self._outages.end(self.name, epoch_ms())

    def _down(self, reason):
        if self._stopping:
            return
        self._lost_at = self._heard_until()
        self._recovery.lost(self._lost_at)
        if self._outages is not None:
            self._outages.begin(self.name, epoch_ms() - (monotonic_ms() - self._lost_at), str(reason))
        log.error("switch lost", switch=self.name, reason=str(reason), legs=len(self.tracker))

    def _heard_until(self):
        """By our own clock. Where events came late there were more of them, which the switch has dropped by now."""
        heard_at, (said_ms, handled_at) = round(self._link.heard_at_s * 1000), self._last
        late_ms = self._clock.at(handled_at) - said_ms
        return min(heard_at, handled_at - late_ms) if LATE_MS <= late_ms < CLOCK_SET_MS else heard_at

    def _core_changed(self, _old, _new):
        self._recovery.restarted()

    def _gap(self, _count):
        self._doubtful.set()

    def _sweep(self):
        doubtful, wait_s = False, SWEEP_EVERY_S
        while True:
            doubtful |= self._doubtful.wait(wait_s)
            self._doubtful.clear()
            try:
                if self._recovery.sweep(self._pool.ask, doubtful) or doubtful:
                    wait_s = SWEEP_RETRY_S if doubtful else SWEEP_EVERY_S
                else:  # a leg that never answers costs a list of all
                    wait_s = min(2 * wait_s, SWEEP_EVERY_S)
                doubtful = False
            except NotConnected:  # which the connections tell of
                wait_s = POOL_WITHIN_S
            except (SwitchError, SQLAlchemyError) as unheard:
                log.warning("legs were not compared with the switch's", switch=self.name, reason=str(unheard))
                wait_s = SWEEP_RETRY_S
            except Exception as fault:  # noqa: BLE001  as in `tick`
                self._tell(fault)
                wait_s = SWEEP_RETRY_S

    def _close_left(self):
        while True:
            gevent.sleep(LEFT_EVERY_S)
            try:
                self._recovery.close_left(self._pool.ask)
            except (SwitchError, SQLAlchemyError) as unheard:
                log.debug("open rows were not looked at", switch=self.name, reason=str(unheard))
            except Exception as fault:  # noqa: BLE001  as in `tick`
                self._tell(fault)
