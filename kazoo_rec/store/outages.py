"""When a switch was not heard, until its calls were known again: what began and ended meanwhile left no trace on it,
and only its CDRs tell of that."""

from gevent.event import AsyncResult
from sqlalchemy import BigInteger, Text, and_, bindparam, insert, literal, or_, select, update

from kazoo_rec.store.tables import outages

_OPEN = and_(outages.c.node == bindparam("its_node", type_=Text), outages.c.until_ms.is_(None))
_BEGIN = insert(outages).from_select(
    ["node", "since_ms", "why"],
    select(bindparam("its_node", type_=Text), bindparam("began_ms", type_=BigInteger),
           bindparam("reason", type_=Text)).where(
        ~select(literal(1)).where(_OPEN).exists()))
_END = update(outages).where(_OPEN).values(until_ms=bindparam("ended_ms"))
_OVERLAPPING = (select(outages)
                .where(outages.c.since_ms < bindparam("before_ms"),
                       or_(outages.c.until_ms.is_(None), outages.c.until_ms > bindparam("after_ms")))
                .order_by(outages.c.since_ms, outages.c.id))


class Outages:
    """`read(fn)` runs a query, `submit(fn)` a write (both as `Store` gives them). Times are ms since the epoch, by the
    host's clock; `node` is the switch's name."""

    def __init__(self, read, submit):
        self._read, self._submit = read, submit

    def begin(self, node: str, since_ms: int, why: str) -> AsyncResult:
        """The switch is not heard since then; where that is known already, since before."""
        values = {"its_node": node, "began_ms": since_ms, "reason": why}
        return self._submit(lambda connection: connection.execute(_BEGIN, values).rowcount)

    def end(self, node: str, until_ms: int) -> AsyncResult:
        """The switch is heard again, and its calls are known."""
        return self._submit(lambda connection: connection.execute(
            _END, {"its_node": node, "ended_ms": until_ms}).rowcount)

    def between(self, after_ms: int, before_ms: int) -> list[dict]:
        """node, since_ms, until_ms (None: it goes on) and why of each of which a part lies between, the oldest
        first."""
        asked = {"after_ms": after_ms, "before_ms": before_ms}
        return self._read(lambda connection: [dict(row) for row in connection.execute(_OVERLAPPING, asked).mappings()])
