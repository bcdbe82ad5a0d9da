"""Which engines run, where each is reached, and up to which change of the documents it has read."""

from collections.abc import Iterable
from typing import NamedTuple

from gevent.event import AsyncResult
from sqlalchemy import bindparam, delete, select

from kazoo_rec.store.sql import upsert
from kazoo_rec.store.tables import engines

#: An engine says that it runs this often, and is taken for gone when it has not for three times as long.
SEEN_EVERY_MS = 2_000
GONE_AFTER_MS = 3 * SEEN_EVERY_MS

_SAY = upsert(engines, ("seq", "seen_ms", "address", "switches"))
#: Nor was one seen later than now: then the clock was put back since.
_SEEN = engines.c.seen_ms.between(bindparam("since_ms"), bindparam("until_ms"))
_BEHIND = select(engines.c.name).where(engines.c.seq < bindparam("seq"), _SEEN).order_by(engines.c.name)
_RUNNING = select(engines.c.name, engines.c.address, engines.c.switches).where(_SEEN).order_by(engines.c.name)


class Running(NamedTuple):
    """An engine that runs: "host:port" by which other hosts reach it, if they do, and its switches."""

    name: str
    address: str | None
    switches: frozenset[str]


class Engines:
    """`read(fn)` runs a query, `submit(fn)` a write (both as `Store` gives them)."""

    def __init__(self, read, submit, clock_ms):
        self._read, self._submit, self._clock_ms = read, submit, clock_ms

    def say(self, name: str, seq: int, address: str | None = None, switches: Iterable[str] = ()) -> AsyncResult:
        """This engine runs, obeys the documents up to `seq`, is reached at `address` and has these `switches`."""
        row = {"name": name, "seq": seq, "seen_ms": self._clock_ms(), "address": address, "switches": list(switches)}
        return self._submit(lambda connection: connection.execute(_SAY, row).rowcount)

    def leave(self, name: str) -> AsyncResult:
        """This engine ends."""
        statement = delete(engines).where(engines.c.name == name)
        return self._submit(lambda connection: connection.execute(statement).rowcount)

    def running(self) -> list[Running]:
        """By their names."""
        values = self._lately()
        rows = self._read(lambda connection: connection.execute(_RUNNING, values).all())
        return [Running(name, address, frozenset(switches or ())) for name, address, switches in rows]

    def behind(self, seq: int) -> list[str]:
        """Names of the engines that run and do not yet obey the documents up to `seq`."""
        values = {"seq": seq, **self._lately()}
        return self._read(lambda connection: list(connection.execute(_BEHIND, values).scalars()))

    def _lately(self):
        now_ms = self._clock_ms()
        return {"since_ms": now_ms - GONE_AFTER_MS + 1, "until_ms": now_ms + GONE_AFTER_MS}
