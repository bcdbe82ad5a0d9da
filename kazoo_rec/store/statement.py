"""A statement that is executed with every request: made into SQL once, and executed without SQLAlchemy, which takes
ten times as long as SQLite itself."""

from typing import NamedTuple

import orjson
from sqlalchemy import JSON, Boolean
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

#: Of SQLite, which has neither; psycopg reads both itself.
_READERS = {"sqlite": {JSON: orjson.loads, Boolean: bool}}


def _written(value):
    """JSON as the column has it; a value that there is not is JSON's null, as with SQLAlchemy."""
    return orjson.dumps(value).decode()


def _processed(kind, value, dialect):
    """As the database's own module takes it: where in a JSON text, for one."""
    process = kind.dialect_impl(dialect).bind_processor(dialect)
    return process(value) if process else value


def executed(connection, text: str, values=()):
    """The cursor of the database's own module; `connection` is SQLAlchemy's. Raises SQLAlchemy's DBAPIError, as it
    would itself."""
    dialect = connection.dialect
    try:
        return connection.connection.dbapi_connection.execute(text, values)
    except dialect.dbapi.Error as refused:
        gone = dialect.is_disconnect(refused, connection.connection.dbapi_connection, None)
        raise DBAPIError.instance(text, None, refused, dialect.dbapi.Error, connection_invalidated=gone,
                                  dialect=dialect) from refused


class _Sql(NamedTuple):
    text: str
    fixed: dict  #: values that do not change
    json: list[str]  #: names of those that are JSON
    readers: list  #: (column, what reads it or None)


class Statement:
    """Of SQLAlchemy's; what changes in it is a `bindparam`, and it has no IN of values. Of an insert `columns` are
    those that are given."""

    def __init__(self, statement, columns=None):
        self._statement, self._columns = statement, columns
        self._made: dict[str, _Sql] = {}

    def rows(self, connection, values: dict) -> list[dict]:
        """What a select finds, as SQLAlchemy's mappings have it. Raises as `executed`."""
        sql = self._sql(connection)
        found = executed(connection, sql.text, {**sql.fixed, **values}).fetchall()
        return [{name: value if read is None or value is None else read(value)
                 for (name, read), value in zip(sql.readers, row, strict=True)}
                for row in found]

    def execute(self, connection, values: dict) -> int:
        """How many rows an insert, update or delete changed. Raises as `executed`. Of a NUL, which PostgreSQL has in
        no text and a server may have said, there is a question mark."""
        sql = self._sql(connection)
        values = {name: value.replace("\0", "?") if isinstance(value, str) else value
                  for name, value in {**sql.fixed, **values}.items()}
        for name in sql.json:
            values[name] = _written(values[name])
        return executed(connection, sql.text, values).rowcount

    def _sql(self, connection):
        dialect = connection.dialect
        found = self._made.get(dialect.name)
        return found or self._made.setdefault(dialect.name, self._compiled(dialect))

    def _compiled(self, dialect):
        readers = _READERS.get(dialect.name, {})
        if dialect.name == "sqlite":
            dialect = sqlite.dialect(paramstyle="named")
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        fixed = {name: _processed(bound.type, bound.value, dialect)
                 for name, bound in compiled.binds.items() if not bound.required and bound.value is not None}
        return _Sql(str(compiled), fixed,
                    [name for name, bound in compiled.binds.items() if isinstance(bound.type, JSON)],
                    [(column.name, readers.get(type(column.type)))
                     for column in getattr(self._statement, "selected_columns", ())])
