"""The other end: asks the engines that run, those of this host by their sockets, others over TLS."""

import http.client
import re
import socket
import ssl
import time
from typing import NamedTuple
from urllib.parse import urlencode

import gevent
import orjson
from gevent import Timeout

from kazoo_rec import tls as spoken
from kazoo_rec.control import place, socket_path
from kazoo_rec.errors import CommandTimeout, EngineSilent, WrongState

#: Seconds for a connection, and for what an engine has in its memory.
HEARD_WITHIN_S = 5.0

#: Seconds for an order: longer than an engine waits for its switch.
ANSWER_WITHIN_S = 15.0

#: A connection of questions over TLS is kept for the next, so many of an engine and so many seconds: shorter than the
#: engine keeps it, and not for ever, as certificates end.
KEPT, IDLE_S, LIVES_S = 8, 10.0, 300.0

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Found(NamedTuple):
    """A leg, and the engine that has it, a `store.engines.Running`."""

    engine: NamedTuple
    leg: dict


class Engines:
    """The engines that `store` says run.

    Parameters: `tls`, the context by which those of other hosts are asked, None: they cannot be; `clock`, seconds.
    """

    def __init__(self, store, tls: ssl.SSLContext | None = None, clock=time.monotonic):
        self._store, self._tls, self._clock = store, tls, clock
        self._kept: dict[tuple, list[_Connection]] = {}

    def legs(self, account_id: str, user_id: str | None = None) -> list[dict]:
        """The account's, or its user's. Raises EngineSilent where one that should run cannot be asked: without its legs
        the list would be a lie."""
        found, silent, query = [], [], {"account": account_id, **({"user": user_id} if user_id else {})}
        for engine, said in self._each(self._store.engines.running(), query):
            if isinstance(said, list):
                found += said
            else:
                silent.append((engine.name, said))
        _none(silent)
        return found

    def find(self, account_id: str, uuid: str) -> Found | None:
        """As `calls.control.Control.leg`. The store knows which switch has a leg that this account has recorded: its
        engine alone is asked, else all are. Raises EngineSilent where nobody has the leg and not all answer, or no
        engine runs for its switch."""
        running = self._store.engines.running()
        nodes = self._store.recordings.open_nodes(account_id, uuid)
        holders = [engine for engine in running if not nodes.isdisjoint(engine.switches)]
        silent = []
        for engine, said in self._each(holders or running, {"account": account_id, "uuid": uuid}):
            if isinstance(said, dict):
                return Found(engine, said)
            if said is not None:
                silent.append((engine.name, said))
        _none(silent)
        if away := nodes.difference(*(engine.switches for engine in running)):
            raise EngineSilent(sorted(away), "none runs")
        return None

    def order(self, engine, account_id: str, uuid: str, action: str, settings: dict, who: str) -> dict | None:
        """As `calls.control.Control.order`, by the engine that `find` has found: said to it once, and to nobody else.
        Raises EngineSilent, CommandTimeout and WrongState."""
        body = orjson.dumps({"action": action, "settings": settings, "who": who})
        connection, sent = None, False
        try:
            with Timeout(HEARD_WITHIN_S, TimeoutError("no connection within its time")):
                connection = self._connected(engine)
            sent = True  # from here on nobody knows, whatever fails
            with Timeout(ANSWER_WITHIN_S, TimeoutError("no answer within its time")):
                status, said = connection.ask("POST", {"account": account_id, "uuid": uuid}, body)
        except (OSError, http.client.HTTPException, ValueError) as silent:
            raise EngineSilent([_shown(engine.name)], _reason(silent), sent) from silent
        finally:
            if connection is not None:
                connection.close()
        if status == 409:
            raise WrongState(said["message"])
        if status == 504:
            raise CommandTimeout(said["message"])
        if status not in (200, 404):
            raise EngineSilent([_shown(engine.name)], f"it answered {status}", sent=status != 400)
        return said if status == 200 else None

    def _each(self, engines, query):
        """(engine, what it says: JSON, None where it has none, or as text why it does not say) of each, whoever is
        first."""
        asking = [gevent.spawn(self._asked, engine, query) for engine in engines]
        try:
            for one in gevent.iwait(asking):
                yield one.get()
        finally:
            gevent.killall(asking, block=False)

    def _asked(self, engine, query):
        try:
            with Timeout(HEARD_WITHIN_S, TimeoutError("no answer within its time")):
                status, said = self._answer(engine, query)
        except (OSError, http.client.HTTPException, ValueError) as silent:
            return engine, _reason(silent)
        if status == 404:
            return engine, None
        return engine, said if status == 200 else said.get("message", f"it answered {status}")

    def _answer(self, engine, query):
        """Of a question, which may be asked twice: one that was kept may have ended."""
        key, now = (engine.name, engine.address), self._clock()
        kept = self._kept.setdefault(key, [])
        while kept:
            connection = kept.pop()
            if now - connection.used_at < IDLE_S and now - connection.made_at < LIVES_S:
                try:
                    return self._over(connection, query, kept)
                except (ConnectionError, ssl.SSLError, http.client.HTTPException):
                    break
            connection.close()
        return self._over(self._connected(engine), query, kept)

    def _over(self, connection, query, kept):
        whole = False
        try:
            answer = connection.ask("GET", query)
            connection.used_at, whole = self._clock(), True
        finally:
            if whole and connection.worth_keeping and connection.sock is not None and len(kept) < KEPT:
                kept.append(connection)
            else:
                connection.close()
        return answer

    def _connected(self, engine):
        """Raises OSError where the engine cannot be reached."""
        if not _NAME.fullmatch(engine.name):
            raise OSError("this is no engine's name")
        try:
            return self._made(_Local(socket_path(self._store.beside, engine.name)))
        except OSError:  # it is not of this host, or no more
            if engine.address is None:
                raise
        if self._tls is None:
            raise OSError("this host's configuration has no `control`")
        to = place(engine.address)
        if to is None:
            raise OSError("its address is none")
        return self._made(_Remote(*to, context=self._tls))

    def _made(self, connection):
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        connection.made_at = connection.used_at = self._clock()
        return connection


class _Connection(http.client.HTTPConnection):
    auto_open = 0  # one that has ended is not made again in secret
    worth_keeping = False

    def ask(self, method, query, body=None) -> tuple[int, object]:
        """(status, JSON). Raises OSError, HTTPException and ValueError."""
        self.request(method, f"/legs?{urlencode(query)}", body)
        answer = self.getresponse()
        return answer.status, orjson.loads(answer.read())


class _Local(_Connection):
    def __init__(self, path):
        super().__init__("localhost")
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


class _Remote(_Connection, http.client.HTTPSConnection):
    """The name in its certificate has to be the host's of its address. To make one takes each end a millisecond."""

    worth_keeping = True


def _none(silent):
    if silent:
        names, reasons = zip(*sorted(silent), strict=True)
        raise EngineSilent(list(map(_shown, names)), "; ".join(dict.fromkeys(reasons)))


def _reason(error) -> str:
    return spoken.refusal(error) if isinstance(error, OSError) else type(error).__name__


def _shown(name) -> str:
    """Of one that the store has: no more than a name."""
    return name if _NAME.fullmatch(name) else "?"
