"""Which of the engines that watch a switch acts.

It has a lock of the database: whose process ends loses it, and who stands by takes it. Who acts goes on where the
database is lost, as recording comes before all, and has its lock again as soon as there is one. Should another have
taken it meanwhile, the switch tells: who begins to act says so there, by an event that every engine hears, and whose
turn came before ends. `term` says whose came later, whatever clocks say. The lock alone ends nobody who has a switch:
who took it may not reach that.
"""

import re
from uuid import uuid4

import gevent
import structlog
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.errors import KazooRecError
from kazoo_rec.switch import commands
from kazoo_rec.switch.redial import place
from kazoo_rec.threads import Threads

#: Seconds between looks at the lock.
LOOK_S = 0.5

#: Seconds for which an engine that stands by leaves the lock alone after the database was lost to it, and so perhaps to
#: the one that acts: who acts is to have it back. That one's last attempt to connect may have been made just before.
RETURN_S = 6.0

#: Seconds for a server that may not answer.
RELEASED_WITHIN_S = 2.0

#: Of the event that an engine which acts sends.
SUBCLASS = "kazoo_rec::engine"

_TERM = re.compile(r"[0-9]{1,20}")

log = structlog.get_logger()


class Acting:
    """Of one engine. Each is called once, in a greenlet of which nothing else waits, `begin` by `start` where the lock
    is free; and `end(None)` where another engine acts, `end(fault)` where this one cannot.

    Parameters:
      lock: `store.sqlite.EngineLock` or PostgreSQL's.
      site: what the engines of one database have in common, and those of others do not.
      reach: a `roles.reach.Reach`, which says whether one that stands by may take the lock.
      prepare: what an engine that stands by does now and then, for less to be left to do; it may raise.
      begin: begins to act.
      unsure: `unsure(True)`: somebody else may act now; `unsure(False)`: nobody did.
      call: has this engine's announcement sent to its switches, for a later one to answer.
      is_linked: whether it has a connection to one of its switches.
      end: as above.
    """

    def __init__(self, lock, site: str, reach, prepare, begin, unsure, call, is_linked, end):
        self._lock, self._site, self._reach, self._prepare, self._begin = lock, site, reach, prepare, begin
        self._unsure, self._call, self._is_linked, self._end = unsure, call, is_linked, end
        self._run, self._threads, self._greenlet = uuid4().hex, Threads(1), None
        #: Whether it has begun, and whether it was another's turn later.
        self.acts = self.deposed = self._returned = False

    def start(self, is_heard: bool = False):
        """`is_heard`: the engine before this one was heard of until lately, and has not said that it ends. Where the
        server has just begun it is to have its lock back first: it may still act. Else it was killed, and nobody waits.
        Raises what the database raises."""
        self._returned = is_heard and self._threads.apply(self._lock.age_s) < RETURN_S
        rival = None if self._returned else self._take()
        if self._returned:
            log.warning("this engine stands by: the database has just begun, and another one may act")
        elif rival is None:
            self._act()
        else:
            log.warning("this engine stands by: another one acts", switch=rival.switch, acting=rival.who)
        self._greenlet = gevent.spawn(self._follow)

    def rest(self):
        """Nothing begins any more; `release` has to follow."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def release(self):
        """Whoever stands by may act from now on."""
        with gevent.Timeout(RELEASED_WITHIN_S, False):  # else the end of this process does it
            self._threads.apply(self._lock.release)
            self._threads.kill()

    def announcement(self, switch: str) -> str | None:
        """What is sent to a switch by who acts; None where nobody else can."""
        if self._lock.term is None:
            return None
        return commands.acting(SUBCLASS, switch, self._site, self._run, self._lock.term)

    def heard(self, switch: str, event, answer):
        """An event of SUBCLASS. `answer()` has the announcement sent again, for one that began before. Only what
        `sendevent` says counts: a leg's event, of the application `event`, may have a caller's words in it."""
        whose, term = (event.get("Engine-Switch"), event.get("Engine-Site")), event.get("Engine-Term")
        if event.uuid or whose != (switch, self._site) or event.get("Engine-Run") == self._run:
            return
        if not self.acts or self._lock.term is None or not _TERM.fullmatch(term):
            return
        if (int(term), event.get("Engine-Run")) > (self._lock.term, self._run):
            self._depose("another engine has begun to act for the switch", switch)
        else:
            answer()

    def _take(self):
        return self._threads.apply(self._lock.take)

    def _act(self):
        self.acts = True
        self._begin()

    def _follow(self):
        try:
            if not self.acts:
                self._stand_by()
                log.warning("this engine acts from now on")
                self._act()
            self._keep()
        except Exception as fault:  # noqa: BLE001  whatever it is, this engine does not act, and the next one may
            self._end(fault)

    def _stand_by(self):
        if self._lock.term is None:  # it waits for the end of one on this host, or is refused
            self._wait_for_turn(lambda: True)
            return
        self._reach.start()
        try:
            self._wait_for_turn(lambda: self._reach.is_any)
        finally:
            self._reach.stop()

    def _wait_for_turn(self, may_act):
        lost = self._returned
        while True:
            gevent.sleep(LOOK_S)
            try:
                if lost:
                    self._threads.apply(self._lock.reach)
                    log.info("the database is there again")
                    gevent.sleep(RETURN_S)
                    lost = False
                self._prepare()
                if may_act() and self._take() is None:
                    return
            except SQLAlchemyError as gone:
                if not lost:
                    log.warning("the database is lost to an engine that stands by", reason=str(gone))
                lost = True

    def _keep(self):
        lacks, wait_s = None, LOOK_S
        while not self.deposed:
            gevent.sleep(wait_s)
            try:
                rival, wait_s = self._take(), LOOK_S
            except Exception as gone:  # noqa: BLE001  whatever it is, recording goes on
                if lacks != "database":
                    log.error("the database is lost, and with it the lock of the engine that acts: it goes on",
                              reason=str(gone) if isinstance(gone, (SQLAlchemyError, KazooRecError)) else place(gone))
                    self._unsure(True)
                lacks = "database"
                continue
            if rival is None and lacks:
                log.info("the lock of the engine that acts is taken again")
                self._unsure(False)
                lacks = None
            elif rival is not None and not rival.is_gone:
                if not self._is_linked():
                    self._depose("another engine has the lock, and this one no switch", rival.switch, acting=rival.who)
                    return
                if lacks != "lock":
                    log.warning("another engine has the lock: this one goes on until that one says on the switch that "
                                "it acts", switch=rival.switch, acting=rival.who)
                    self._unsure(True)
                lacks, wait_s = "lock", RETURN_S
                self._call()

    def _depose(self, why, switch, **more):
        if not self.deposed:
            self.deposed = True
            log.error("this engine ends, to stand by", reason=why, switch=switch, **more)
            self._unsure(True)
            self._end(None)
