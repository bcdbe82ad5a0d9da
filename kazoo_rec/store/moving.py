"""Moves a library to another database, while it is in use: what differs is copied, table by table, as often as wanted;
the last time nobody else has it open, and what was moved away says so.

Rows of both sides are read in the order of their keys, and compared by their text: what a row is in both databases
alike. Nothing is kept of a pass but what it wrote, so that it may be killed anywhere and begun again.
"""

import hashlib
import heapq
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import orjson
from sqlalchemy import JSON, Integer, Text, and_, bindparam, cast, delete, func, insert, not_, or_, select, text, tuple_
from sqlalchemy import update as updating
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.sqltypes import TypeEngine

from kazoo_rec.errors import StoreError
from kazoo_rec.store import notice, sqlite
from kazoo_rec.store.database import Database
from kazoo_rec.store.migrations import changing_alone, head, migrate, revision, unfit
from kazoo_rec.store.secrets import ENVIRONMENT, Secrets, copy_key, key_file
from kazoo_rec.store.sql import among
from kazoo_rec.store.tables import change, metadata, sealing

#: Rows that are read or written at once.
ROWS_AT_ONCE = 200

#: Rows after which it is told how far it is.
TOLD_EVERY = 20_000

#: What a new database has, before anybody has used it: its first change, and the key that it was made with.
_ITS_OWN = (change, sealing)

#: In the text of a row: what may be a NUL, or in JSON half of a character.
_STRANGE = re.compile(rb"u0000|\\\\u[dD]")

#: In a JSON text: a NUL, or half of a character, neither of which PostgreSQL finds anything in.
_UNFIT = re.compile(r"\\u(?:0000|d[89a-f])", re.I)
_HALF = re.compile("[\0\ud800-\udfff]")


class Compared(NamedTuple):
    """One table after a pass: its rows, SHA-256 of them on both sides, and how many were written to the target."""

    table: str
    rows: int
    source: str
    target: str
    changed: int

    @property
    def equal(self) -> bool:
        return self.source == self.target


def move(source: Database, target: Database, last: bool = False,
         tell: Callable[[str, int], object] = lambda table, rows: None) -> list[Compared]:
    """Makes the target's rows those of the source, and says for each table how they compare. Blocks.

    While the source is in use it may have changed since, and the target stays one that nobody starts on. With `last` it
    is not in use, and not to be used any more: where all tables are equal, the target may be used instead. May be
    killed and called again, with `last` too. `tell` hears how many rows of a table were compared.

    Raises StoreError where one of them is not what it has to be, and what SQLAlchemy raises where one is lost.
    """
    _check_source(source, target)
    _share_key(source, target)
    _take_target(source, target)
    with ExitStack() as opened:
        enter = opened.enter_context
        enter(changing_alone(target))
        if last and source.backend is sqlite:
            enter(changing_alone(source))  # whoever starts waits, and finds it moved
        known = _check_both(source, target)  # again: who waited for another finds what that one has made of them
        there = _Target(enter(_reading(target)), enter(_engine(target)))
        if not last:
            return _pass(enter(_reading(source)), there, tell)
        here = enter(_engine(source)).connect()
        enter(closing(here))
        with here.begin(), source.backend.alone(here, source.beside):
            source.backend.hold(here)
            if (found := notice.read(here)) != known:
                raise found.refusal(source.shown) if found else StoreError(
                    "the source's notice was taken down", source.shown, "somebody else works on it: run it again")
            first = _pass(here, there, tell)
            again = {one.table: one for one in _pass(here, there, tell, [one.table for one in first if one.changed])}
            # What was written is read again.
            compared = [again.get(one.table, one)._replace(changed=one.changed) for one in first]
            if not all(table.equal for table in compared):
                return compared
            source.backend.check_alone(here)
            if known is None:
                notice.put(here, notice.MOVED, named(target))
        # First the source: killed in between, neither is used, and the next time goes on here.
        there.release()
    return compared


def named(database: Database) -> str:
    """By what a notice names it."""
    return os.path.realpath(database.shown) if database.backend is sqlite else database.shown


def _check_source(source, target):
    """Its notice, where it was moved to the target already and that does not know yet."""
    found = revision(source)
    if found is None:
        raise StoreError("there is no such database", source.shown)
    if found == head():
        return None
    if found == notice.MOVED:
        there = _notice_of(target)
        with _engine(source) as engine, engine.connect() as connection:
            known = notice.read(connection)
        if there and known.other == named(target) and (there.kind, there.other) == (notice.COPY, named(source)):
            return known
    raise unfit(source, found)


def _check_both(source, target):
    """As `_check_source`, and that the target is the source's copy still."""
    known, there = _check_source(source, target), _notice_of(target)
    if there is None or (there.kind, there.other) != (notice.COPY, named(source)):
        raise StoreError("the target is the source's copy no more", target.shown, "somebody else has moved one of them")
    return known


def _notice_of(database):
    if revision(database) is None:
        return None
    with _engine(database) as engine, engine.connect() as connection:
        return notice.read(connection)


def _share_key(source, target):
    """What is sealed stays so: both have the same keys."""
    if ENVIRONMENT in os.environ:
        return
    ours, theirs = key_file(source.beside), key_file(target.beside)
    if not theirs.parent.is_dir():
        raise StoreError("the target's directory is not there", str(theirs.parent), "make it, owned by this user")
    known = Secrets(source.beside)
    if not theirs.exists() or known.has_all(Secrets(target.beside)):
        copy_key(ours, theirs)
    if not Secrets(target.beside).has(known.key_id):
        raise StoreError("the target has another key", f"{theirs} is not {ours}",
                         f"copy that one to {theirs}, if the other is of no database that you still have")


def _take_target(source, target):
    """Makes its tables, and puts up the notice that it is a copy. Raises StoreError where it is anything else."""
    known = _notice_of(target)
    if known is None:
        migrate(target)
    elif known.version != head():
        raise StoreError("the target is another version's copy", f"found {known.version}, need {head()}", "give an "
                         "empty one")
    elif known.other != named(source):
        raise StoreError("the target is another database's copy", f"of {known.other}, not of {named(source)}",
                         "give an empty one, or the same as before")
    with (_engine(target) as engine, engine.begin() as connection,
          target.backend.alone(connection, target.beside)):
        if known is None and (table := _in_use(connection)):
            raise StoreError("the target is in use", f"it has rows of its own, first in {table}", "give an empty one")
        if known is None or known.kind != notice.COPY:
            target.backend.check_alone(connection)
            notice.put(connection, notice.COPY, named(source))


def _in_use(connection):
    """The first table that has rows, None where there is none."""
    if connection.execute(select(change.c.seq)).scalar_one():
        return change.name
    return next((table.name for table in metadata.sorted_tables if table not in _ITS_OWN
                 and connection.execute(select(table).limit(1)).first()), None)


def _pass(here, there, tell, names=metadata.tables):
    compared = []
    for table in (table for table in metadata.sorted_tables if table.name in names):
        digests = hashlib.sha256(), hashlib.sha256()
        rows = changed = 0
        with there.writing(table) as write:
            for mine, its in _beside(_rows(here, table), _rows(there.reading, table)):
                for digest, row in zip(digests, (mine, its), strict=True):
                    digest.update(row.text if row else b"")
                if mine is not None:
                    rows += 1
                    if rows % TOLD_EVERY == 0:
                        tell(table.name, rows)
                if (mine and mine.text) != (its and its.text):
                    changed += 1
                    write(mine, its)
        compared.append(Compared(table.name, rows, *(digest.hexdigest() for digest in digests), changed))
        tell(table.name, rows)
    there.count_on()
    return compared


class _Row(NamedTuple):
    key: tuple
    text: bytes
    values: tuple


def _beside(mine: Iterator[_Row], its: Iterator[_Row]):
    """Pairs of rows of one key; None where there is none of it."""
    ours = ((row.key, 0, row) for row in mine)
    theirs = ((row.key, 1, row) for row in its)
    for _, of_key in groupby(heapq.merge(ours, theirs, key=itemgetter(0, 1)), key=itemgetter(0)):
        found = {side: row for _, side, row in of_key}
        yield found.get(0), found.get(1)


def _rows(connection, table) -> Iterator[_Row]:
    """In the order of their keys, byte by byte."""
    columns = [cast(column, Text).label(column.name) if isinstance(column.type, JSON) else column for column in table.c]
    keys = [table.c.keys().index(column.name) for column in table.primary_key]
    kinds = [type(column.type) for column in table.c]

    def row(values):
        values = tuple(values)
        written = orjson.dumps(values)
        if _STRANGE.search(written) or float in map(type, values):
            values = tuple(map(_fit, values, kinds))
            written = orjson.dumps(values)
        return _Row(tuple(values[key] for key in keys), written + b"\n", values)

    if connection.dialect.name == "sqlite":
        found = map(row, _pages(connection, table, select(*columns)))
        strange = _with_a_nul(table)
        # Of what is no key in PostgreSQL there is little.
        odd = [] if strange is None else map(row, connection.execute(select(*columns).where(strange)).all())
        odd = sorted(odd, key=itemgetter(0))
        return heapq.merge(found, odd, key=itemgetter(0))
    order = [column.collate("C") if isinstance(column.type, Text) else column for column in table.primary_key]
    return map(row, connection.execute(select(*columns).order_by(*order), execution_options={
        "stream_results": True, "yield_per": ROWS_AT_ONCE}))


def _pages(connection, table, query):
    """No read lasts longer than one page: it would stop checkpoints."""
    keys, strange = list(table.primary_key), _with_a_nul(table)
    if strange is not None:
        query = query.where(not_(strange))
    query, places = query.order_by(*keys).limit(ROWS_AT_ONCE), [table.c.keys().index(key.name) for key in keys]
    rows = connection.execute(query).all()
    while rows:
        yield from rows
        last = [rows[-1][place] for place in places]
        rows = connection.execute(query.where(tuple_(*keys) > tuple_(*last))).all()


def _with_a_nul(table):
    """Whose key has a NUL: in its order stands something else without it."""
    texts = [column for column in table.primary_key if isinstance(column.type, Text)]
    return or_(*(func.instr(column, func.char(0)) > 0 for column in texts)) if texts else None


def _fit(value, kind: type[TypeEngine]):
    """As both databases can have it."""
    if isinstance(value, str):
        if issubclass(kind, JSON):
            return _fit_json(value) if _UNFIT.search(value) else value
        return value.replace("\0", "?")
    return round(value) if isinstance(value, float) and issubclass(kind, Integer) else value


def _fit_json(value):
    def fit(tree):
        if isinstance(tree, str):
            return _HALF.sub("?", tree)
        if isinstance(tree, dict):
            return {fit(key): fit(inner) for key, inner in tree.items()}
        return [fit(inner) for inner in tree] if isinstance(tree, list) else tree

    tree = json.loads(value)
    return value if (fitted := fit(tree)) == tree else json.dumps(fitted)


class _Target:
    """Where rows are written to: one connection reads, another writes."""

    def __init__(self, reading, engine):
        self.reading, self._engine = reading, engine

    @contextmanager
    def writing(self, table):
        """`write(row, the row that is there)`, some of them in one transaction; without a row, the one that is there
        goes."""
        waiting = []

        def write(row, known):
            waiting.append((row, known))
            if len(waiting) == ROWS_AT_ONCE:
                self._write(table, waiting)
                waiting.clear()

        yield write
        self._write(table, waiting)

    def _write(self, table, pairs):
        keys, its = list(table.primary_key), [bindparam(f"its_{number}") for number in range(len(table.primary_key))]
        this = and_(*(key == value for key, value in zip(keys, its, strict=True)))
        values = {column.name: self._value(column) for column in table.c}
        names = table.c.keys()
        added = [dict(zip(names, row.values, strict=True)) for row, known in pairs if known is None]
        changed = [dict(zip(names, row.values, strict=True)) | _named(row.key) for row, known in pairs if row and known]
        gone = [_named(known.key) for row, known in pairs if row is None]
        try:
            with self._engine.begin() as connection:
                if gone:
                    for column in _referring(table):
                        connection.execute(delete(column.table).where(column == its[0]), gone)
                    connection.execute(delete(table).where(this), gone)
                if added := self._with_parents(connection, table, added):
                    connection.execute(insert(table).values(values), added)
                if changed:
                    connection.execute(updating(table).where(this).values(values), changed)
        except DBAPIError as refused:
            raise StoreError("the target does not take rows", f"{table.name}: {refused.orig}",
                             "give an empty one" if table.name == "audit" else "") from refused

    def _value(self, column):
        if not isinstance(column.type, JSON):
            return bindparam(column.name)
        value = bindparam(column.name, type_=Text)
        # PostgreSQL wants it said; SQLite would make a number of it.
        return value if self._engine.dialect.name == "sqlite" else cast(value, JSON)

    @staticmethod
    def _with_parents(connection, table, rows):
        """Those whose row above is there: one that was written since its table was read comes with the next pass."""
        for reference in table.foreign_keys:
            above, name = reference.column, reference.parent.name
            there = set(connection.execute(select(above).where(
                above.in_(among({row[name] for row in rows})))).scalars())
            rows = [row for row in rows if row[name] in there]
        return rows

    def count_on(self):
        """What PostgreSQL numbers goes on behind what is there."""
        if self._engine.dialect.name == "sqlite":
            return
        with self._engine.begin() as connection:
            for table in metadata.sorted_tables:
                key, *more = table.primary_key
                if not more and isinstance(key.type, Integer):
                    connection.execute(text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{key.name}'), "
                        f"greatest(max({key.name}), 1), max({key.name}) IS NOT NULL) FROM {table.name}"))

    def release(self):
        with self._engine.begin() as connection:
            notice.take_down(connection)


def _named(key):
    return {f"its_{number}": value for number, value in enumerate(key)}


def _referring(table):
    """Columns of other tables that name rows of this one."""
    return [reference.parent for other in metadata.sorted_tables for reference in other.foreign_keys
            if reference.column.table is table]


@contextmanager
def _engine(database):
    engine = database.backend.changing(database.url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _reading(database):
    """A connection for `_rows`: a cursor of PostgreSQL's is of a transaction."""
    if database.backend is not sqlite:
        with _engine(database) as engine, engine.connect() as connection:
            yield connection
        return
    engine = database.backend.reading(database.url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
