"""What each role of each node said last of how it is."""

from gevent.event import AsyncResult
from sqlalchemy import delete, select

from kazoo_rec.store.sql import upsert
from kazoo_rec.store.tables import vitals

#: A role says how it is this often, and is taken for gone when it has not for five times as long.
SAID_EVERY_MS = 2_000
GONE_AFTER_MS = 5 * SAID_EVERY_MS

_SAY = upsert(vitals, ("said_ms", "state"))
_ALL = select(vitals).order_by(vitals.c.node, vitals.c.role)


class Vitals:
    """`read(fn)` runs a query, `submit(fn)` a write (both as `Store` gives them)."""

    def __init__(self, read, submit, clock_ms):
        self._read, self._submit, self._clock_ms = read, submit, clock_ms

    def say(self, node: str, role: str, state: dict) -> AsyncResult:
        """This role of this node lives; `state` is JSON, as `roles.vitals` makes it."""
        row = {"node": node, "role": role, "said_ms": self._clock_ms(), "state": state}
        return self._submit(lambda connection: connection.execute(_SAY, row).rowcount)

    def leave(self, node: str, role: str) -> AsyncResult:
        """This role ends."""
        statement = delete(vitals).where(vitals.c.node == node, vitals.c.role == role)
        return self._submit(lambda connection: connection.execute(statement).rowcount)

    def all(self) -> list[dict]:
        """node, role, said_ms and state of each."""
        return self._read(lambda connection: [dict(row) for row in connection.execute(_ALL).mappings()])
