"""The engine: hears each switch, decides, commands. It owns nothing slow."""

import gc
from collections.abc import Callable
from functools import partial

import gevent
import structlog
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.callflow.server import Owner
from kazoo_rec.callflow.server import Server as CallflowServer
from kazoo_rec.calls.rooms import Rooms
from kazoo_rec.config import Config
from kazoo_rec.control import socket_path
from kazoo_rec.control.server import Server
from kazoo_rec.delivery.clock import monotonic_ms
from kazoo_rec.documents.directory import Directory
from kazoo_rec.roles.acting import Acting
from kazoo_rec.roles.doors import Door, Doors
from kazoo_rec.roles.memory import GIVE_BACK_EVERY_S, give_back
from kazoo_rec.roles.reach import Reach
from kazoo_rec.roles.vitals import Vitals
from kazoo_rec.roles.watch import Watch
from kazoo_rec.store import Store, epoch_ms
from kazoo_rec.store.engines import SEEN_EVERY_MS
from kazoo_rec.store.vitals import GONE_AFTER_MS, SAID_EVERY_MS
from kazoo_rec.switch.connection import Connection
from kazoo_rec.switch.redial import place
from kazoo_rec.threads import Threads

#: Seconds between looks at the documents and at what is late.
TICK_S = 0.05

#: Seconds before a database that could not be read is asked again.
DATABASE_RETRY_S = 5.0

#: Seconds for another engine to hear that this one begins to act, and to end; it is not waited for where the last one
#: has said that it ends.
FENCED_S = 0.2

#: Seconds to connect to a switch for that: one that does not answer is told when it does.
FENCE_WITHIN_S = 1.0

#: Seconds for what is queued to be written where another engine acts from now on: what is not, it has made anew.
WRITTEN_WITHIN_S = 10.0

#: Python's collector looks at what is young as ever (its own first two thresholds), and never by itself at everything,
#: which would hold up 5,000 calls for 0.3 s. Of an ended call nothing is left to it: legs and recordings let go.
COLLECTOR = (700, 10, 1_000_000_000)

#: Threads for making directories and removing files; the store and who reads documents have their own, as a disk that
#: hangs holds these.
FILE_THREADS = 2

log = structlog.get_logger()


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
        self._doors = Doors()
        self._watches: list[Watch] = []
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
        self._watches = [Watch(self._config, switch, self._store, self._threads, lambda: self.directory,
                               partial(self._refuses, switch.name), self._observe, self._acting)
                         for switch in self._config.switches]
        if self._note_absence():
            self._fence()
        for watch in self._watches:
            watch.start()
        self._doors.open(self._ways_in())
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTOR)
        self._greenlets = [gevent.spawn(run) for run in (
            self._tick, self._follow_documents, self._follow_quotas, self._collect, self._doors.open_others)]
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
        self._doors.leave()
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

    def _ways_in(self):
        if self._observe:
            return
        path = socket_path(self._store.beside, self._config.node)
        self._control = Server(path, [watch.control for watch in self._watches])
        yield Door(path, self._control.start, "orders are taken", "no orders can be taken", "the database's directory "
                   "has to be writable, and its path shorter than 100 characters")
        if (others := self._config.control) is not None:  # else the API of other hosts says that we do not answer
            yield Door(f"{others.host}:{others.port}", self._let_others_in, "orders are taken from other hosts",
                       "no orders can be taken from other hosts", "`control` of the configuration says where, and its "
                       "certificate")
        if (listen := self._config.callflow) is not None:  # else dialplans go on
            self._callflow = CallflowServer(listen.host, listen.port, self._whose, lambda: self.directory, self._say)
            yield Door(f"{listen.host}:{listen.port}", self._callflow.start, "callflows are run",
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
