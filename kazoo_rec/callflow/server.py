"""Where the dialplan's `socket 127.0.0.1:8084 async full` arrives: one greenlet a call."""

import time
from collections.abc import Callable
from typing import NamedTuple

import gevent
import structlog
from gevent.lock import BoundedSemaphore
from gevent.server import StreamServer

from kazoo_rec.callflow import runner
from kazoo_rec.callflow.flow import Flow, called_number
from kazoo_rec.documents.directory import Directory
from kazoo_rec.errors import LegGone, SwitchError
from kazoo_rec.switch.protocol import SLICE_S, TURN_S
from kazoo_rec.switch.session import Session

#: Connections that have not told yet whose call they are; the next are closed, and their dialplans go on.
MOST_STRANGERS = 256
#: Connections that the kernel keeps for us meanwhile.
BACKLOG = 256
#: The event of a new leg and its socket come on two connections: so long may the event be behind.
KNOWN_WITHIN_S, LOOK_EVERY_S = 1.0, 0.02
#: Seconds for a switch to take in that we leave; it hears of the sockets' end in any case.
GOODBYE_WITHIN_S = 2.0

log = structlog.get_logger()


class Owner(NamedTuple):
    """Whose a leg is (None: nobody's that is known), and the `calls.control.Control` and `calls.rooms.Rooms` of its
    switch."""

    account_id: str | None
    control: object
    rooms: object


class Server:
    """Runs callflows. However a session ends, and whatever fails, the leg's dialplan goes on.

    Parameters:
      host, port: where it listens; port 0 is any.
      whose: `whose(uuid)` is the leg's Owner, None for a leg not heard of.
      directory: the documents as they are now.
      say: hears each step of each call; the log of level debug, where it is not there.
    """

    def __init__(self, host: str, port: int, whose: Callable[[str], Owner | None], directory: Callable[[], Directory],
                 say: Callable[[str], object] | None = None):
        self._whose, self._directory, self._say = whose, directory, say
        self._strangers = BoundedSemaphore(MOST_STRANGERS)
        self._server = StreamServer((host, port), self._serve, backlog=BACKLOG)
        self._sessions: set[Session] = set()

    @property
    def address(self) -> tuple[str, int]:
        return self._server.address[:2]

    def __len__(self):
        """Calls that are in a flow."""
        return len(self._sessions)

    def start(self):
        """Raises OSError where it cannot listen."""
        self._server.start()

    def stop(self):
        """Calls go on without us."""
        self._server.stop(timeout=0)
        gevent.joinall([gevent.spawn(session.close) for session in self._sessions], timeout=GOODBYE_WITHIN_S)

    def _serve(self, sock, _address):
        session = Session(sock)
        self._sessions.add(session)
        try:
            flow = self._flow(session)
            if flow is not None:
                runner.run(flow)
        except LegGone:
            pass  # as every call ends
        except SwitchError as broken:
            log.warning("a call is left to its dialplan", reason=str(broken))
        finally:
            self._sessions.discard(session)
            session.close()

    def _flow(self, session) -> Flow | None:
        if not self._strangers.acquire(blocking=False):
            log.warning("too many calls come at once: one is left to its dialplan", most=MOST_STRANGERS)
            return None
        try:
            channel = session.connect()
        finally:
            self._strangers.release()
        say = log.bind(call_id=channel.uuid[:64])
        owner = self._known(channel.uuid)
        if owner is None or owner.account_id is None:
            say.warning("a call is left to its dialplan: it is no account's that is known")
            return None
        account_id, directory = owner.account_id, self._directory()
        found = directory.callflows(account_id).match(called_number(channel), _taking_turns())
        if found is None:
            say.info("a call is left to its dialplan: its number has no callflow", account=account_id)
            return None
        return Flow(session, channel, owner, directory, *found,
                    self._say or (lambda step: say.debug("callflow", step=step)), say.bind(account=account_id))

    def _known(self, uuid):
        with gevent.Timeout(KNOWN_WITHIN_S, False):
            while (found := self._whose(uuid)) is None:
                gevent.sleep(LOOK_EVERY_S)
            return found
        return None


def _taking_turns() -> Callable[[], None]:
    """Lets others run where who calls it has kept them waiting."""
    since = time.monotonic()

    def take_turns():
        nonlocal since
        if time.monotonic() - since > SLICE_S:
            gevent.sleep(TURN_S)
            since = time.monotonic()

    return take_turns
