"""Rows of recordings. A row has one writer at a time: the engine until `stopped`, then delivery."""

from collections.abc import Iterable
from functools import cache
from operator import itemgetter

import orjson
from gevent.event import AsyncResult
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    tuple_,
    union_all,
    update,
)

from kazoo_rec.store.spans import is_declined
from kazoo_rec.store.sql import among, among_listed, listed, upsert
from kazoo_rec.store.statement import Statement
from kazoo_rec.store.tables import deliveries, directories, links, recordings

#: States in which the switch may still be writing the file.
OPEN_STATES = ("armed", "recording", "paused")

#: Ids that one query asks for.
IDS_AT_ONCE = 500

#: States that do not change any more by themselves.
FINISHED_STATES = ("recorded", "discarded", "failed")

_DEFAULTS = {column.name: column.default.arg for column in recordings.c if column.default and column.default.is_scalar}

_ONE = Statement(select(recordings).where(recordings.c.id == bindparam("its_id")))

_NODES = Statement(select(recordings.c.node, recordings.c.state).where(
    recordings.c.call_id == bindparam("leg"), recordings.c.account_id == bindparam("its_account")))

_OF_KIND = select(deliveries.c.id).where(deliveries.c.recording_id == bindparam("recording_id"),
                                         deliveries.c.kind == bindparam("kind"))

_KEPT = recordings.c.delete_requested_ms.is_(None)

#: In clear, for SQLite to see that the index has all of it.
_TO_DELETE = text("delete_requested_ms IS NOT NULL AND state != 'deleted'")

#: The master, which has two channels of 16 bits, and the file to deliver where that is another.
_BYTES = (func.coalesce(recordings.c.duration_ms * recordings.c.sample_rate / 250, 0)
          + func.coalesce(case((recordings.c.file != recordings.c.master, recordings.c.size_bytes), else_=0), 0))

#: In clear as well.
_STOPPED = Statement(
    select(recordings).where(recordings.c.node == bindparam("its_node"), text("state = 'stopped'"),
                             recordings.c.account_id == bindparam("its_account"),
                             recordings.c.id.not_in(among_listed("without")))
    .order_by(recordings.c.stopped_ms).limit(bindparam("most")))
_ACCOUNTS_STOPPED = text("""
    WITH RECURSIVE account (id) AS (
      SELECT min(account_id) FROM recordings WHERE node = :node AND state = 'stopped'
      UNION ALL
      SELECT (SELECT min(account_id) FROM recordings
              WHERE node = :node AND state = 'stopped' AND account_id > account.id)
      FROM account WHERE id IS NOT NULL)
    SELECT id FROM account WHERE id IS NOT NULL""")

#: In clear, as `_TO_DELETE`: audio that is still on the disk.
_ON_DISK = text("recordings.state = 'recorded' AND recordings.audio_removed_ms IS NULL")

_OF_AUDIO = and_(deliveries.c.recording_id == recordings.c.id,
                 or_(deliveries.c.kind == "upload", deliveries.c.kind == "library"))

#: It is wherever it is to be, and that it is is proved.
_PROVED = and_(
    exists().where(_OF_AUDIO, deliveries.c.state == "delivered",
                   deliveries.c.proof_sha256 == func.coalesce(deliveries.c.sha256, recordings.c.sha256)),
    ~exists().where(_OF_AUDIO, deliveries.c.state != "delivered"))

#: A page as one text: SQLite hands rows over one by one, and Python's threads take turns at each.
_ALL = literal_column("json_group_array(json_array({}))".format(", ".join(
    f"json({column.name})" if isinstance(column.type, JSON) else column.name for column in recordings.c)))
_NAMES = recordings.c.keys()
_BOOLEANS = [column.name for column in recordings.c if isinstance(column.type, Boolean)]


@cache
def _insert(columns):
    return Statement(upsert(recordings), columns)


@cache
def _update(columns, states, unsure):
    statement = (update(recordings).where(recordings.c.id == bindparam("its_id"))
                 .values({name: bindparam(name) for name in (*columns, "updated_ms")}))
    if states:
        statement = statement.where(or_(*(recordings.c.state == state for state in states)))
    if unsure:
        statement = statement.where(recordings.c.updated_ms <= bindparam("said_ms", type_=BigInteger))
    return Statement(statement)


def _before(columns):
    """The states that a row may have for its engine's word, which may come late: after another engine's or delivery's.
    Of one that is declined nothing may be left, though it was discarded already."""
    match columns.get("state"):
        case "armed" | "recording" | "paused":
            return OPEN_STATES
        case "stopped":
            return (*OPEN_STATES, "discarded") if is_declined(columns.get("spans", ())) else OPEN_STATES
        case "discarded" | "failed":
            return (*OPEN_STATES, "discarded")
    return ()


class Recordings:
    """What is known of every recording; `read(fn)` runs a query, `look_up(statement, values)` one by a key,
    `submit(fn)` a write (all as `Store` gives them). Settings and deliveries that are written may have URLs with
    passwords, what is read has them sealed (`store/secrets.py`): on the thread that writes, as the key's file is looked
    at for it."""

    def __init__(self, read, look_up, submit, clock_ms, secrets):
        self._read, self._look_up, self._submit, self._clock_ms = read, look_up, submit, clock_ms
        self._secrets = secrets
        #: Whether another engine may have begun to act: what it has written of a recording is not replaced by what was
        #: said before.
        self.unsure = False

    def insert(self, row: dict) -> AsyncResult:
        """Adds a recording; `row` has the table's columns, times in ms. Durable when the result is there. Where there
        is one of that id, it stays: of two engines both may have one, where the first is cut off from the database, and
        the other finds what it began."""
        now_ms = self._clock_ms()
        values = {**_DEFAULTS, "spans": [], "created_ms": now_ms, **row, "updated_ms": now_ms}
        statement = _insert(tuple(values))
        return self._submit(lambda connection: statement.execute(
            connection, {**values, "settings": self._secrets.seal(row["settings"])}))

    def adopt(self, row: dict) -> AsyncResult:
        """As `insert`, unless there is one of that id; the result is 1 or 0."""
        now_ms = self._clock_ms()
        values = {**_DEFAULTS, "spans": [], "created_ms": now_ms, **row, "updated_ms": now_ms}
        statement = _insert(tuple(values))
        return self._submit(lambda connection: statement.execute(connection, values))

    def mark(self, node: str) -> str | None:
        """The mark of a node's recordings directory, None where it has none yet."""
        query = select(directories.c.mark).where(directories.c.node == node)
        return self._read(lambda connection: connection.execute(query).scalar())

    def set_mark(self, node: str, mark: str) -> AsyncResult:
        """Gives a node's recordings directory the mark that it keeps."""
        return self._submit(lambda connection: connection.execute(
            upsert(directories), {"node": node, "mark": mark}).rowcount)

    def unknown(self, ids: list[str]) -> set[str]:
        """Those of `ids` of which there is no recording."""
        return set(ids) - self._those_of(ids)

    def removed(self, ids: list[str]) -> set[str]:
        """Those of `ids` whose files are to be gone: their row says so, or that they were discarded for what their file
        was found to be and are on no legal hold."""
        discarded = and_(recordings.c.state == "discarded", recordings.c.duration_ms.is_not(None),
                         recordings.c.legal_hold.is_(False))
        return self._those_of(ids, or_(recordings.c.audio_removed_ms.is_not(None), discarded))

    def _those_of(self, ids, *conditions):
        found: set[str] = set()
        for first in range(0, len(ids), IDS_AT_ONCE):
            query = select(recordings.c.id).where(
                recordings.c.id.in_(among(ids[first:first + IDS_AT_ONCE])), *conditions)
            found |= self._read(lambda connection, query=query: set(connection.execute(query).scalars()))
        return found

    def update(self, recording_id: str, **columns) -> AsyncResult:
        """Changes columns of one recording; the result is the number of rows changed (0: there is no such one, or it is
        further than the state that it should have)."""
        return self._submit(self._change(recording_id, columns))

    def update_open(self, recording_id: str, **columns) -> AsyncResult:
        """As `update`, only while the recording is armed, recording or paused: for news that may come late."""
        return self._submit(self._change(recording_id, columns, OPEN_STATES))

    def tell(self, recording_id: str, columns: dict, delivery: dict, states=()) -> AsyncResult:
        """As `update` (of one that is in one of `states`, where they are given), and in the same transaction the
        delivery that tells of it, unless the recording has one of its kind."""
        change = self._change(recording_id, columns, states)

        def write(connection):
            changed = change(connection)
            if changed and not connection.execute(_OF_KIND, delivery).first():
                connection.execute(deliveries.insert(), self._secrets.seal(delivery))
            return changed

        return self._submit(write)

    def notify(self, delivery: dict) -> AsyncResult:
        """Adds a delivery that tells of a recording, unless that has one of its kind; the row stays as it is."""
        def write(connection):
            if connection.execute(_OF_KIND, delivery).first():
                return 0
            connection.execute(deliveries.insert(), self._secrets.seal(delivery))
            return 1

        return self._submit(write)

    def _change(self, recording_id, columns, states=()):
        names, states, now_ms = tuple(columns), states or _before(columns), self._clock_ms()
        values = {**columns, "updated_ms": now_ms, "its_id": recording_id}

        def write(connection):
            if self.unsure:
                return _update(names, states, True).execute(connection, {**values, "said_ms": now_ms})
            return _update(names, states, False).execute(connection, values)

        return write

    def finish(self, recording_id: str, columns: dict, rows: list[dict]) -> AsyncResult:
        """One transaction: the recording's new columns, and the deliveries that follow from them.

        Only a recording that is `stopped` is finished, so that doing it twice (a kill, then again) adds nothing.
        """
        change = self._change(recording_id, columns, ("stopped",))

        def write(connection):
            changed = change(connection)
            for row in rows if changed else ():  # one by one: not all have the same columns
                connection.execute(deliveries.insert(), self._secrets.seal(row))
            return changed

        return self._submit(write)

    def get(self, recording_id: str) -> dict | None:
        """One recording, or None."""
        rows = self._look_up(_ONE, {"its_id": recording_id}).get()
        return rows[0] if rows else None

    def accounts_stopped(self, node: str) -> list[str]:
        """Accounts that delivery has something of to finish on `node`."""
        return self._read(lambda connection: list(connection.execute(_ACCOUNTS_STOPPED, {"node": node}).scalars()))

    def stopped(self, node: str, account_id: str, limit: int, without: Iterable[str | int] = ()) -> list[dict]:
        """What delivery has to finish of an account's on `node`, but for these ids: oldest first."""
        return self._look_up(_STOPPED, {"its_node": node, "its_account": account_id, "most": limit,
                                        "without": listed(without)}).get()

    def open(self, node: str) -> list[dict]:
        """What the engine of `node` had armed or running when it was last heard of."""
        return self._many(self._of_state(node, OPEN_STATES))

    def open_ids(self, node: str) -> list[str]:
        """Of `open`, the ids alone: rows of 10,000 legs take 100 MB, most of which are looked at for nothing."""
        query = select(recordings.c.id).where(recordings.c.node == node, recordings.c.state.in_(OPEN_STATES))
        return self._read(lambda connection: list(connection.execute(query).scalars()))

    def of_calls(self, node: str, call_ids: list[str]) -> list[dict]:
        """The recordings of these legs on `node`, the oldest first, whatever became of them."""
        found = [row for first in range(0, len(call_ids), IDS_AT_ONCE)
                 for row in self.of_legs(call_ids[first:first + IDS_AT_ONCE])]
        return sorted((row for row in found if row["node"] == node), key=itemgetter("created_ms"))

    def of_legs(self, call_ids: list[str]) -> list[dict]:
        """Every recording of these legs, at most IDS_AT_ONCE of them, whatever became of it. A query with the node as
        well would read all that the node has."""
        return self._many(select(recordings).where(recordings.c.call_id.in_(among(call_ids))))

    def open_nodes(self, account_id: str, call_id: str) -> set[str]:
        """The switches on which this account has a recording of that leg which is not over."""
        rows = self._look_up(_NODES, {"leg": call_id, "its_account": account_id}).get()
        return {row["node"] for row in rows if row["state"] in OPEN_STATES}

    def page(self, account_id: str, conditions: list, before: tuple[int, str] | None, limit: int) -> list[dict]:
        """Recordings of an account, the newest first, from behind (created_ms, id); a page deep in the list costs what
        the first does. `conditions` are SQLAlchemy's, over `tables.recordings`."""
        query = select(recordings).where(recordings.c.account_id == account_id, *conditions)
        if before is not None:
            query = query.where(tuple_(recordings.c.created_ms, recordings.c.id) < tuple_(*before))
        newest = query.order_by(recordings.c.created_ms.desc(), recordings.c.id.desc()).limit(limit)
        all_of_it = select(_ALL).select_from(newest.subquery())

        def read(connection):
            if connection.dialect.name != "sqlite":
                return [dict(row) for row in connection.execute(newest).mappings()]
            return _rows(connection.execute(all_of_it).scalar_one())

        rows = self._read(read)
        rows.sort(key=itemgetter("created_ms", "id"), reverse=True)  # SQLite does not promise its order to an aggregate
        return rows

    def hold(self, recording_id: str, legal_hold: bool, seen_ms: int | None = None) -> AsyncResult:
        """Keeps a recording from being deleted, or lets it; the result is 0 where it is deleted already, or no longer
        that of `seen_ms` (its `updated_ms`)."""
        statement = (update(recordings).where(recordings.c.id == recording_id, _KEPT, *_seen(seen_ms))
                     .values(legal_hold=legal_hold, updated_ms=self._clock_ms()))
        return self._submit(lambda connection: connection.execute(statement).rowcount)

    def claim(self, recording_id: str, now_ms: int) -> AsyncResult:
        """Its row says that its audio was removed, before it is; the result is 0 where it may not go: it is on legal
        hold, or neither discarded nor delivered, proved and promised by no link."""
        discarded = and_(recordings.c.state == "discarded", recordings.c.legal_hold.is_(False),
                         recordings.c.audio_removed_ms.is_(None))
        statement = (update(recordings).where(recordings.c.id == recording_id,
                                              or_(discarded, and_(_ON_DISK, _may_go(now_ms))))
                     .values(audio_removed_ms=now_ms, updated_ms=self._clock_ms()))
        return self._submit(lambda connection: connection.execute(statement).rowcount)

    def request_delete(self, recording_id: str, who: str, seen_ms: int | None = None) -> AsyncResult:
        """Has delivery remove the audio, and nothing more be sent of it; the result is 0 where it is on legal hold, not
        finished, deleted already, or no longer that of `seen_ms` (its `updated_ms`)."""
        now_ms = self._clock_ms()
        request = (update(recordings).where(
            recordings.c.id == recording_id, _KEPT, *_seen(seen_ms), recordings.c.legal_hold.is_(False),
            recordings.c.state.in_(FINISHED_STATES))
            .values(delete_requested_ms=now_ms, deleted_by=who, updated_ms=now_ms))
        cancel = (update(deliveries).where(deliveries.c.recording_id == recording_id, deliveries.c.state == "due")
                  .values(state="failed", last_error="the recording was deleted"))

        def write(connection):
            requested = connection.execute(request).rowcount
            if requested:
                connection.execute(cancel)
            return requested

        return self._submit(write)

    def to_delete(self, node: str, limit: int, from_library: bool = False,
                  without: Iterable[str | int] = ()) -> list[dict]:
        """What delivery has to remove the audio of on `node`, but for these ids: what was never to be in the library,
        or what was."""
        of_library = exists().where(deliveries.c.recording_id == recordings.c.id, deliveries.c.kind == "library")
        return self._many(select(recordings).where(
            recordings.c.node == node, _TO_DELETE, of_library if from_library else ~of_library,
            recordings.c.id.not_in(among(without))).order_by(recordings.c.delete_requested_ms).limit(limit))

    def on_disk(self, node: str, now_ms: int, after: tuple[int, str] | None, limit: int) -> list[dict]:
        """id, master and stopped_ms of recordings of `node` whose audio is here, the oldest first, from behind
        (stopped_ms, id), and `may_go`: delivered and proved, on no legal hold, and promised by no link."""
        query = select(recordings.c.id, recordings.c.master, recordings.c.stopped_ms,
                       _may_go(now_ms).label("may_go")).where(recordings.c.node == node, _ON_DISK)
        if after is not None:
            query = query.where(tuple_(recordings.c.stopped_ms, recordings.c.id) > tuple_(*after))
        return self._many(query.order_by(recordings.c.stopped_ms, recordings.c.id).limit(limit))

    def list(self, account_id: str | None = None, state: str | None = None, limit: int = 50,
             partial: bool = False) -> list[dict]:
        """The newest recordings first; `partial` alone where that is wanted."""
        query = select(recordings).order_by(recordings.c.created_ms.desc(), recordings.c.id.desc()).limit(limit)
        if account_id:
            query = query.where(recordings.c.account_id == account_id)
        if state:
            query = query.where(recordings.c.state == state)
        if partial:
            query = query.where(recordings.c.partial.is_(True))
        return self._many(query)

    def count_by_state(self) -> dict[str, int]:
        query = select(recordings.c.state, func.count()).group_by(recordings.c.state)
        return self._read(lambda connection: dict(connection.execute(query).tuples().all()))

    def waiting(self, node: str) -> tuple[dict[str, int], int | None, int | None]:
        """How many of a node's are in each state that does not last, and when (ms of the switch's clock) the first and
        the last that is stopped did; from the index alone."""
        stopped_ms = recordings.c.stopped_ms
        query = (select(recordings.c.state, func.count(), func.min(stopped_ms), func.max(stopped_ms))
                 .where(recordings.c.node == node, recordings.c.state.in_((*OPEN_STATES, "stopped")))
                 .group_by(recordings.c.state))
        found = self._read(lambda connection: connection.execute(query).all())
        return ({state: count for state, count, *_ in found},
                *next((times for state, _, *times in found if state == "stopped"), (None, None)))

    def written_since(self, since_ms: int) -> tuple[int, int]:
        """(recordings, bytes) that were made since then and whose length is known: their masters, which have two
        channels of 16 bits, and the files to deliver where those are others."""
        row = recordings.c
        query = select(func.count(), func.coalesce(func.sum(_BYTES), 0)).where(
            row.created_ms >= since_ms, row.duration_ms.is_not(None))
        count, written = self._read(lambda connection: connection.execute(query).one())
        return count, int(written)

    def undelivered(self, node: str) -> dict[str, tuple[int, int]]:
        """Account → (recordings, bytes) of what is on a node's disk and no server took: to be finished, to be sent, and
        given up. What is to be finished is counted as eight thousand samples a second for as long as it took."""
        waiting = [select(recordings.c.account_id, _BYTES.label("bytes")).join(
            deliveries, deliveries.c.recording_id == recordings.c.id).where(
                deliveries.c.node == node, text(f"deliveries.state = '{state}'"), deliveries.c.kind == "upload", _KEPT)
            for state in ("due", "failed")]
        stopped = select(recordings.c.account_id, (recordings.c.expected_ms * 32).label("bytes")).where(
            recordings.c.node == node, text("state = 'stopped'"))
        kept = union_all(*waiting, stopped).subquery()
        query = select(kept.c.account_id, func.count(), func.coalesce(func.sum(kept.c.bytes), 0)).group_by(
            kept.c.account_id)
        return self._read(lambda connection: {
            account_id: (count, int(kept_bytes)) for account_id, count, kept_bytes in connection.execute(query)})

    def unfinished(self) -> tuple[int, int | None]:
        """How many are `stopped` and wait for delivery to finish them, and when (ms) the first of them stopped."""
        query = select(func.count(), func.min(recordings.c.stopped_ms)).where(recordings.c.state == "stopped")
        return self._read(lambda connection: tuple(connection.execute(query).one()))

    @staticmethod
    def _of_state(node, states):
        return select(recordings).where(recordings.c.node == node, recordings.c.state.in_(states))

    def _many(self, query):
        return self._read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])


def _may_go(now_ms):
    linked = exists().where(links.c.recording_id == recordings.c.id, links.c.revoked_ms.is_(None),
                            links.c.expires_ms > now_ms)
    return and_(recordings.c.legal_hold.is_(False), _KEPT, _PROVED, ~linked)


def _seen(updated_ms):
    return () if updated_ms is None else (recordings.c.updated_ms == updated_ms,)


def _rows(text):
    rows = [dict(zip(_NAMES, values, strict=True)) for values in orjson.loads(text)]
    for row in rows:
        row |= {name: bool(row[name]) for name in _BOOLEANS}
    return rows
