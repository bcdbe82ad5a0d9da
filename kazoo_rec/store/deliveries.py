"""Rows of deliveries. The row is the job: what is not done is due."""

from functools import cache

from gevent.event import AsyncResult
from sqlalchemy import bindparam, func, select, update

from kazoo_rec.store.statement import Statement
from kazoo_rec.store.tables import deliveries, recordings

_IS_DUE = deliveries.c.state == "due"
_KEPT = recordings.c.delete_requested_ms.is_(None)

#: Asked after every upload, so made once.
_DUE = (select(deliveries, recordings)
        .join(recordings, recordings.c.id == deliveries.c.recording_id)
        .where(deliveries.c.node == bindparam("node"), deliveries.c.state == "due", _KEPT,
               deliveries.c.next_attempt_ms <= bindparam("now_ms"),
               deliveries.c.host.not_in(bindparam("skip_hosts", expanding=True)))
        .order_by(deliveries.c.next_attempt_ms).limit(bindparam("most")))
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

    def due(self, node: str, now_ms: int, limit: int, skip_hosts=()) -> list[dict]:
        """What is due on `node` by `now_ms`, longest waiting first, each with its recording under "recording".

        `skip_hosts` leaves out hosts that have as many uploads as they may, so that they hold nobody up.
        """
        asked = {"node": node, "now_ms": now_ms, "skip_hosts": list(skip_hosts), "most": limit}
        return self._read(lambda connection: [_joined(row) for row in connection.execute(_DUE, asked)])

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
        """How many are due, when (ms) the first of them was made, and for when the first attempt of all is planned."""
        query = select(func.count(), func.min(deliveries.c.created_ms), func.min(deliveries.c.next_attempt_ms)).where(
            deliveries.c.state == "due")
        return self._read(lambda connection: tuple(connection.execute(query).one()))

    def waiting_on(self, node: str) -> tuple[int, int | None, int | None]:
        """As `waiting`, of one node; from the index alone, as ids grow with the time that they are made."""
        due = deliveries.c.node == node, deliveries.c.state == "due"
        query = select(func.count(), func.min(deliveries.c.id), func.min(deliveries.c.next_attempt_ms)).where(*due)

        def read(connection):
            count, first, planned_ms = connection.execute(query).one()
            made = select(deliveries.c.created_ms).where(deliveries.c.id == first)
            return count, connection.execute(made).scalar(), planned_ms

        return self._read(read)

    def given_up(self) -> int:
        query = select(func.count()).select_from(deliveries).where(deliveries.c.state == "failed")
        return self._read(lambda connection: connection.execute(query).scalar_one())

    def shift(self, node: str, by_ms: int) -> AsyncResult:
        """Moves all that is due on `node`, as the host's clock has jumped by so much; the result is how many."""
        change = (update(deliveries).where(deliveries.c.node == node, deliveries.c.state == "due")
                  .values(next_attempt_ms=deliveries.c.next_attempt_ms + by_ms,
                          give_up_ms=deliveries.c.give_up_ms + by_ms))
        return self._submit(lambda connection: connection.execute(change).rowcount)

    def bring_near(self, node: str, now_ms: int, latest_ms: int) -> AsyncResult:
        """Has tried at once what is due on `node` and planned for later than anything is: the host's clock was put
        back while nobody looked. The result is how many."""
        change = (update(deliveries).where(deliveries.c.node == node, deliveries.c.state == "due",
                                           deliveries.c.next_attempt_ms > latest_ms).values(next_attempt_ms=now_ms))
        return self._submit(lambda connection: connection.execute(change).rowcount)

    def retry(self, recording_id: str, now_ms: int, give_up_ms: int) -> AsyncResult:
        """Makes the undelivered deliveries of a recording due at once, unless it is deleted; the result is how many
        there are."""
        kept = select(recordings.c.id).where(recordings.c.id == recording_id, _KEPT)
        change = (update(deliveries)
                  .where(deliveries.c.recording_id.in_(kept), deliveries.c.state != "delivered")
                  .values(state="due", attempts=0, next_attempt_ms=now_ms, give_up_ms=give_up_ms))
        return self._submit(lambda connection: connection.execute(change).rowcount)


def _joined(row):
    values = row._mapping
    job = {column.name: values[column] for column in deliveries.c}
    job["recording"] = {column.name: values[column] for column in recordings.c}
    return job
