"""Rows of deliveries. The row is the job: what is not done is due."""

from collections.abc import Iterable, Mapping
from functools import cache

from gevent.event import AsyncResult
from sqlalchemy import BigInteger, Text, and_, bindparam, case, cast, func, select, text, update

from kazoo_rec.store.sql import among_listed, listed
from kazoo_rec.store.statement import Statement
from kazoo_rec.store.tables import deliveries, failing_servers, recordings

_IS_DUE = deliveries.c.state == "due"
_KEPT = recordings.c.delete_requested_ms.is_(None)

#: In clear, for SQLite to see that the index `deliveries_due` has all of it.
_DUE = text("deliveries.state = 'due'")

#: The first of each queue. From one to the next by the index, which is as fast with 100,000 in each as with one.
_QUEUES = text("""
    WITH RECURSIVE first (id) AS (
      SELECT (SELECT id FROM deliveries WHERE node = :node AND state = 'due'
              ORDER BY account_id, host, next_attempt_ms LIMIT 1)
      UNION ALL
      SELECT coalesce(
        (SELECT id FROM deliveries WHERE node = :node AND state = 'due' AND account_id = last.account_id
           AND host > last.host ORDER BY host, next_attempt_ms LIMIT 1),
        (SELECT id FROM deliveries WHERE node = :node AND state = 'due' AND account_id > last.account_id
         ORDER BY account_id, host, next_attempt_ms LIMIT 1))
      FROM first JOIN deliveries AS last ON last.id = first.id)
    SELECT account_id, host, next_attempt_ms FROM first JOIN deliveries USING (id)""")

_OF_QUEUE = (deliveries.c.node == bindparam("node"), _DUE, deliveries.c.account_id == bindparam("account_id"),
             deliveries.c.host == bindparam("host"))
_NAMES = tuple(deliveries.c.keys())
_ITS = "delivery_"  # before names of columns that recordings have as well
_JOBS = Statement(
    select(*(column.label(f"{_ITS}{column.name}") for column in deliveries.c), *recordings.c)
    .join(recordings, recordings.c.id == deliveries.c.recording_id)
    .where(*_OF_QUEUE, deliveries.c.next_attempt_ms <= bindparam("now_ms"), _KEPT,
           cast(deliveries.c.id, Text).not_in(among_listed("without")))
    .order_by(deliveries.c.next_attempt_ms, deliveries.c.id).limit(bindparam("most")))

#: Deliveries that one transaction gives up.
GIVEN_UP_AT_ONCE = 500

#: Deliveries that one statement plans anew: a server ends one that takes it too long (`store.postgres`).
REPLANNED_AT_ONCE = 5_000

_OLDEST = (select(deliveries.c.id, deliveries.c.give_up_ms).where(*_OF_QUEUE)
           .order_by(deliveries.c.next_attempt_ms, deliveries.c.id).limit(GIVEN_UP_AT_ONCE).subquery())
_GIVE_UP = Statement(
    update(deliveries)
    .where(deliveries.c.id.in_(select(_OLDEST.c.id).where(_OLDEST.c.give_up_ms <= bindparam("now_ms"))))
    .values(state="failed", last_error=bindparam("error")))
_OF = Statement(select(deliveries).where(deliveries.c.recording_id == bindparam("its_recording"))
                .order_by(deliveries.c.id))


@cache
def _update(columns, *conditions):
    return Statement(update(deliveries).where(deliveries.c.id == bindparam("its_id"), *conditions)
                     .values({name: bindparam(name) for name in columns}))


class Deliveries:
    """What is to be sent, when next, and the proof of what arrived."""

    def __init__(self, read, look_up, submit):
        self._read, self._look_up, self._submit = read, look_up, submit

    def queues(self, node: str) -> list[tuple[str, str, int]]:
        """(account_id, host, when (ms) its first attempt is planned) of each account and server that has something due
        on `node`."""
        return self._read(lambda connection: [tuple(row) for row in connection.execute(_QUEUES, {"node": node})])

    def due(self, node: str, wanted: Mapping[tuple[str, str], int], now_ms: int,
            without: Iterable[str | int] = ()) -> list[dict]:
        """Of each queue (account_id, host) as many as are `wanted` of what is due on `node` by `now_ms`, but for these
        ids: what was to begin first at the front, each with its recording under "recording"."""
        values = {"node": node, "now_ms": now_ms, "without": listed(without)}
        asked = [self._look_up(_JOBS, {**values, "account_id": account_id, "host": host, "most": most})
                 for (account_id, host), most in wanted.items()]
        return [_joined(row) for rows in asked for row in rows.get()]

    def give_up(self, node: str, account_id: str, host: str, now_ms: int, error: str) -> AsyncResult:
        """Gives up what of a queue has had its time, GIVEN_UP_AT_ONCE at most; the result is how many."""
        values = {"node": node, "account_id": account_id, "host": host, "now_ms": now_ms, "error": error}
        return self._submit(lambda connection: _GIVE_UP.execute(connection, values))

    def update(self, delivery_id: int, **columns) -> AsyncResult:
        """Changes columns of one delivery; the result is the number of rows changed."""
        change, values = _update(tuple(columns)), {**columns, "its_id": delivery_id}
        return self._submit(lambda connection: change.execute(connection, values))

    def update_due(self, delivery_id: int, **columns) -> AsyncResult:
        """As `update`, only while the delivery is due: a deletion of its recording ends it meanwhile."""
        change, values = _update(tuple(columns), _IS_DUE), {**columns, "its_id": delivery_id}
        return self._submit(lambda connection: change.execute(connection, values))

    def of(self, recording_id: str) -> list[dict]:
        """Every delivery of one recording."""
        return self.ask_for(recording_id).get()

    def ask_for(self, recording_id: str) -> AsyncResult:
        """The result is what `of` gives: for who asks for the recording in the same turn."""
        return self._look_up(_OF, {"its_recording": recording_id})

    def waiting(self) -> tuple[int, int | None, int | None]:
        """How many are due, when (ms) the first of them was made, and for when the first attempt of all is planned,
        those apart that a failing server keeps waiting."""
        kept = deliveries.outerjoin(failing_servers, and_(*(
            deliveries.c[name] == failing_servers.c[name] for name in ("node", "account_id", "host"))))
        planned_ms = case((failing_servers.c.failures.is_(None), deliveries.c.next_attempt_ms))
        query = (select(func.count(), func.min(deliveries.c.created_ms), func.min(planned_ms)).select_from(kept)
                 .where(deliveries.c.state == "due"))
        return self._read(lambda connection: tuple(connection.execute(query).one()))

    def waiting_on(self, node: str) -> tuple[int, int | None]:
        """How many of a node are due, and when (ms) the first of them was made; from the index alone, as ids grow with
        the time that they are made."""
        query = select(func.count(), func.min(deliveries.c.id)).where(deliveries.c.node == node, _DUE)

        def read(connection):
            count, first = connection.execute(query).one()
            return count, connection.execute(select(deliveries.c.created_ms).where(deliveries.c.id == first)).scalar()

        return self._read(read)

    def given_up(self) -> int:
        query = select(func.count()).select_from(deliveries).where(text("state = 'failed'"))
        return self._read(lambda connection: connection.execute(query).scalar_one())

    def shift(self, node: str, by_ms: int) -> AsyncResult:
        """Moves all that is due on `node`, as the host's clock has jumped by so much; the result is how many."""
        return self._replan(node, {"next_attempt_ms": deliveries.c.next_attempt_ms + by_ms,
                                   "give_up_ms": deliveries.c.give_up_ms + by_ms})

    def bring_near(self, node: str, now_ms: int, latest_ms: int) -> AsyncResult:
        """Has tried at once what is due on `node` and planned for later than anything is: the host's clock was put
        back while nobody looked. The result is how many."""
        return self._replan(node, {"next_attempt_ms": now_ms}, deliveries.c.next_attempt_ms > latest_ms)

    def _replan(self, node, values, *conditions):
        """In one transaction, as all of it is planned by one clock, but in statements that take no server too long."""
        wanted = select(deliveries.c.id).where(deliveries.c.node == node, _DUE, *conditions)
        first, last = bindparam("first", type_=BigInteger), bindparam("last", type_=BigInteger)
        change = (update(deliveries).where(deliveries.c.id.between(first, last), deliveries.c.node == node, _DUE,
                                           *conditions).values(values))

        def write(connection):
            ids = sorted(connection.execute(wanted).scalars())
            pieces = [ids[begin:begin + REPLANNED_AT_ONCE] for begin in range(0, len(ids), REPLANNED_AT_ONCE)]
            return sum(connection.execute(change, {"first": piece[0], "last": piece[-1]}).rowcount for piece in pieces)

        return self._submit(write)

    def retry(self, recording_id: str, now_ms: int, give_up_ms: int) -> AsyncResult:
        """Makes the undelivered deliveries of a recording due at once, unless it is deleted; the result is how many
        there are."""
        kept = select(recordings.c.id).where(recordings.c.id == recording_id, _KEPT)
        change = (update(deliveries)
                  .where(deliveries.c.recording_id.in_(kept), deliveries.c.state != "delivered")
                  .values(state="due", attempts=0, next_attempt_ms=now_ms, give_up_ms=give_up_ms))
        return self._submit(lambda connection: connection.execute(change).rowcount)


def _joined(row):
    job = {column: row.pop(f"{_ITS}{column}") for column in _NAMES}
    return {**job, "recording": row}
