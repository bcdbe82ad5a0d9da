"""The engine: hears each switch, decides, commands. It owns nothing slow."""

import gc
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import gevent
import structlog
from gevent.event import Event
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.callflow.server import Owner
from kazoo_rec.callflow.server import Server as CallflowServer
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
from kazoo_rec.control import socket_path
from kazoo_rec.control.server import Server
from kazoo_rec.delivery import webhook
from kazoo_rec.documents.directory import Directory
from kazoo_rec.errors import ConfigError, NotConnected, SwitchError
from kazoo_rec.media import wav
from kazoo_rec.roles import acting
from kazoo_rec.roles.acting import Acting
from kazoo_rec.roles.memory import GIVE_BACK_EVERY_S, give_back
from kazoo_rec.roles.reach import Reach
from kazoo_rec.roles.vitals import Vitals, families
from kazoo_rec.store import Store, epoch_ms
from kazoo_rec.store.engines import SEEN_EVERY_MS
from kazoo_rec.store.vitals import GONE_AFTER_MS, SAID_EVERY_MS
from kazoo_rec.switch.connection import QUEUE_BYTES, Connection
from kazoo_rec.switch.link import Link
from kazoo_rec.switch.pool import Pool
from kazoo_rec.switch.redial import place
from kazoo_rec.threads import Threads

#: Seconds between looks at the documents and at what is late.
TICK_S = 0.05

#: Seconds before it is asked again whether there is a connection for commands.
POOL_WITHIN_S = 0.1

#: Seconds before a database that could not be read is asked again.
DATABASE_RETRY_S = 5.0

#: Seconds for another engine to hear that this one begins to act, and to end; it is not waited for where the last one
#: has said that it ends.
FENCED_S = 0.2

#: Seconds to connect to a switch for that: one that does not answer is told when it does.
FENCE_WITHIN_S = 1.0

#: Seconds for what is queued to be written where another engine acts from now on: what is not, it has made anew.
WRITTEN_WITHIN_S = 10.0

#: Events that are so late, in ms, wait behind others: the switch's queue of them may be what is full.
LATE_MS = 1000

#: Python's collector looks at what is young as ever (its own first two thresholds), and never by itself at everything,
#: which would hold up 5,000 calls for 0.3 s. Of an ended call nothing is left to it: legs and recordings let go.
COLLECTOR = (700, 10, 1_000_000_000)

#: Seconds before what could not be served is tried again: a port may be another engine's that ends, an address not up
#: yet, a certificate half replaced.
SERVED_AGAIN_S = 5.0

#: Writes that wait, from which on an engine is called overloaded: some seconds' worth.
MANY_WRITES = 10_000

#: Threads for making directories and removing files; the store and who reads documents have their own, as a disk that
#: hangs holds these.
FILE_THREADS = 2

log = structlog.get_logger()


def monotonic_ms() -> int:
    """The engine's own clock: no jump of the wall clock moves it."""
    return time.monotonic_ns() // 1_000_000


class Engine:
    """Role `engine`. `observe` decides and logs, commands nothing and writes nothing; `say(step)` hears each step of
    each callflow; `ended()` is called where it has nothing more to do than to `stop`, as another engine acts, or for
    `fault`."""

    def __init__(self, config: Config, observe: bool = False, say: Callable[[str], object] | None = None,
                 ended: Callable[[], object] = lambda: None):
        self._config, self._observe, self._say, self._ended = config, observe, say, ended
        self.fault: Exception | None = None
        self._threads, self._reading = Threads(FILE_THREADS), Threads(1)
        self.directory = Directory()
        self._greenlets: list = []
        self._store = self._control = self._callflow = None
        self._address: str | None = None  # by which other hosts reach it
        self._closed: list[_Door] = []
        self._watches: list[_Watch] = []
        self._acting: Acting | None = None
        self._doubts = 0
        self._vitals = None
        self._said = (0, -1)  # when, and up to which `seq`
        self._refused: dict[str, frozenset] = {}  # accounts of which nothing more is to be recorded, by switch

    def start(self):
        """Begins to act, or stands by where another engine acts for one of the switches. Raises StoreError where the
        database is another version's."""
        self._store = Store(self._config.database)
        self._read_documents()
        if self._observe:
            log.warning("observing: nothing will be recorded")
            self._act()
            return
        lock = self._store.engine_lock([switch.name for switch in self._config.switches])
        reach = Reach({switch.name: partial(Connection, switch.host, switch.port, switch.password)
                       for switch in self._config.switches})
        self._acting = Acting(lock, self._store.secrets.key_id, reach, prepare=self._read_documents, begin=self._act,
                              unsure=self._unsure, call=self._call, is_linked=self._is_linked, end=self._end)
        last = self._last_word()
        self._acting.start(is_heard=last is not None and epoch_ms() - last["said_ms"] < GONE_AFTER_MS)

    def _act(self):
        self._watches = [_Watch(self._config, switch, self._store, self._threads, lambda: self.directory,
                                partial(self._refuses, switch.name), self._observe, self._acting)
                         for switch in self._config.switches]
        if self._note_absence():
            self._fence()
        for watch in self._watches:
            watch.start()
        self._serve()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTOR)
        self._greenlets = [gevent.spawn(run) for run in (
            self._tick, self._follow_documents, self._follow_quotas, self._collect, self._serve_again)]
        if not self._observe:
            self._vitals = Vitals(self._store, self._config.node, "engine", self._tell)
            self._vitals.start()

    def _fence(self):
        """The engine before this one was killed, or is only cut off from the database: it hears of this one before this
        one takes in what goes on."""
        told = [gevent.spawn(watch.announce) for watch in self._watches]
        gevent.joinall(told, FENCE_WITHIN_S)
        if any(one.value for one in told):
            gevent.sleep(FENCED_S)
        gevent.killall(told)

    def _call(self):
        for watch in self._watches:
            gevent.spawn(watch.announce)

    def _is_linked(self):
        return any(watch.is_linked for watch in self._watches)

    def _unsure(self, unsure):
        """What waits to be written was said while it was not known."""
        self._doubts += 1
        if unsure:
            self._store.recordings.unsure = True
        else:
            self._store.written().rawlink(partial(self._is_sure, self._doubts))

    def _is_sure(self, doubts, written):
        if written.successful() and doubts == self._doubts:
            self._store.recordings.unsure = False

    def _end(self, fault):
        """Nothing is commanded from now on, and nothing more is served."""
        self._closed = []
        for watch in self._watches:
            watch.cut()
        self.fault = fault
        self._ended()

    @property
    def rooms(self) -> dict[str, Rooms]:
        """The conference rooms of each switch, by its name."""
        return {watch.name: watch.rooms for watch in self._watches}

    def stop(self):
        """Lets go of the switches, which go on recording, and writes what is queued. Of an engine whose place another
        one has, nothing is said that would be taken for a word of that one's."""
        if self._acting is not None:  # one that stands by may be about to act
            self._acting.rest()
        deposed = self._acting is not None and self._acting.deposed
        gevent.killall(self._greenlets)
        if self._control is not None:
            self._control.stop()
        if self._callflow is not None:
            self._callflow.stop()
        if self._vitals is not None:
            self._vitals.stop(leave=not deposed)
        for watch in self._watches:
            watch.stop(deposed)
        if self._store is not None:
            if self._watches and not (self._observe or deposed):
                self._store.engines.leave(self._config.node)
            with gevent.Timeout(WRITTEN_WITHIN_S if deposed else None, False):
                self._store.close()
        if self._acting is not None:
            self._acting.release()
        for threads in (self._threads, self._reading):
            threads.kill()

    def _note_absence(self):
        """An engine that was killed has said when it lived last; one that was stopped has said so. Whether it was not
        stopped."""
        now_ms, last = epoch_ms(), self._last_word()
        if last is not None and not self._observe:
            for switch in self._config.switches:
                self._store.outages.begin(switch.name, min(now_ms, last["said_ms"]), "the engine did not run")
        return last is not None and not self._observe

    def _last_word(self):
        """The vitals of the engine before this one, unless it was stopped."""
        return next((row for row in self._store.vitals.all()
                     if (row["node"], row["role"]) == (self._config.node, "engine")), None)

    def _serve(self):
        """What cannot be served is tried again: without it the engine records all the same."""
        self._closed = [door for door in self._doors() if not _opened(door)]

    def _serve_again(self):
        while self._closed:
            gevent.sleep(SERVED_AGAIN_S)
            self._closed = [door for door in self._closed if not _opened(door, again=True)]

    def _doors(self):
        if self._observe:
            return
        path = socket_path(self._store.beside, self._config.node)
        self._control = Server(path, [watch.control for watch in self._watches])
        yield _Door(path, self._control.start, "orders are taken", "no orders can be taken", "the database's directory "
                    "has to be writable, and its path shorter than 100 characters")
        if (others := self._config.control) is not None:  # else the API of other hosts says that we do not answer
            yield _Door(f"{others.host}:{others.port}", self._let_others_in, "orders are taken from other hosts",
                        "no orders can be taken from other hosts", "`control` of the configuration says where, and its "
                        "certificate")
        if (listen := self._config.callflow) is not None:  # else dialplans go on
            self._callflow = CallflowServer(listen.host, listen.port, self._whose, lambda: self.directory, self._say)
            yield _Door(f"{listen.host}:{listen.port}", self._callflow.start, "callflows are run",
                        "no callflows can be run", "`callflow` of the configuration says where; does another program "
                        "listen there?")

    def _let_others_in(self):
        others = self._config.control
        self._control.start_for_others(others.host, others.port, self._reading.apply(others.tls).server)
        self._address, self._said = others.address, (0, -1)  # which is said at once

    def _whose(self, uuid):
        for watch in self._watches:
            leg = watch.tracker.leg(uuid)
            if leg is not None:
                return Owner(leg.identity.account_id, watch.control, watch.rooms)
        return None

    def _tick(self):
        # Apart from the documents: a database that is locked or gone must not keep a recording from being started.
        while True:
            for watch in self._watches:
                watch.tick()
            gevent.sleep(TICK_S)

    def _collect(self):
        while True:
            gevent.sleep(GIVE_BACK_EVERY_S)
            if not any(len(watch.tracker) for watch in self._watches):
                gc.collect()
            self._reading.apply(give_back)

    def _follow_documents(self):
        while True:
            try:
                self._read_documents()
                self._say_what_is_obeyed()
                gevent.sleep(TICK_S)
            except Exception as refused:  # noqa: BLE001  whatever it is, the next look may find it well
                reason = str(refused) if isinstance(refused, SQLAlchemyError) else place(refused)
                log.error("the documents cannot be read: those of before stay in force", reason=reason)
                gevent.sleep(DATABASE_RETRY_S)

    def _refuses(self, switch, account_id):
        return account_id in self._refused.get(switch, ())

    def _follow_quotas(self):
        """As delivery says; where it does not, nothing is refused."""
        while True:
            try:
                self._refused = next((
                    {switch: frozenset(accounts) for switch, accounts in row["state"].get("refused", {}).items()}
                    for row in self._store.vitals.all() if (row["node"], row["role"]) == (self._config.node, "delivery")
                    and epoch_ms() - row["said_ms"] < GONE_AFTER_MS), {})
            except Exception as refused:  # noqa: BLE001  whatever it is: what is not known refuses nobody
                self._refused = {}
                log.debug("quotas cannot be read", reason=place(refused))
            gevent.sleep(SAID_EVERY_MS / 1000)

    def _say_what_is_obeyed(self):
        now = monotonic_ms(), self.directory.seq
        if not self._observe and (now[1] != self._said[1] or now[0] - self._said[0] >= SEEN_EVERY_MS):
            self._said = now
            self._store.engines.say(self._config.node, self.directory.seq, self._address,
                                    [switch.name for switch in self._config.switches])

    def _tell(self):
        return {"switches": {watch.name: watch.connected for watch in self._watches},
                "missing": {watch.name: dict(zip(("legs", "longest_ms"), watch.missing, strict=True))
                            for watch in self._watches},
                "load": {watch.name: watch.load for watch in self._watches},
                "metrics": [family for watch in self._watches for family in watch.metrics()]}

    def _read_documents(self):
        rows = self._store.documents.since(self.directory.seq)
        if rows:
            self.directory = self._reading.apply(self.directory.apply, (rows,))
            log.info("documents read", changed=len(rows), documents=len(self.directory))


class _Door(NamedTuple):
    """By which others reach the engine: `open()` raises OSError and ConfigError where that cannot be."""

    address: str
    open: Callable[[], object]
    opened: str
    refused: str
    hint: str


def _opened(door, again=False):
    try:
        door.open()
    except (OSError, ConfigError) as refused:
        if not again:
            log.error(door.refused, address=door.address, reason=str(refused), hint=door.hint)
        return False
    if again:
        log.info(door.opened, address=door.address)
    return True


class _Watch:
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
