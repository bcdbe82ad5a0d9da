"""A statement that is executed with every request: made into SQL once, and executed without SQLAlchemy, which takes
ten times as long as SQLite itself."""

import sqlite3

import orjson
from sqlalchemy import JSON, Boolean
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import OperationalError

_READERS = {JSON: orjson.loads, Boolean: bool}


def _written(value):
    """JSON as the column has it; a value that there is not is JSON's null, as with SQLAlchemy."""
    return orjson.dumps(value).decode()


class Statement:
    """Of SQLAlchemy's; what changes in it is a `bindparam`, and it has no IN. Of an insert `columns` are those that
    are given."""

    def __init__(self, statement, columns=None):
        compiled = statement.compile(dialect=sqlite.dialect(paramstyle="named"), column_keys=columns)
        self._sql, self._fixed = str(compiled), {
            name: value for name, value in compiled.params.items() if value is not None}
        self._json = [name for name, bound in compiled.binds.items() if isinstance(bound.type, JSON)]
        self._readers = [(column.name, _READERS.get(type(column.type)))
                         for column in getattr(statement, "selected_columns", ())]

    def rows(self, database, values: dict) -> list[dict]:
        """What a select finds, as SQLAlchemy's mappings have it; `database` is a connection of sqlite3's. Raises
        SQLAlchemy's OperationalError."""
        try:
            found = database.execute(self._sql, {**self._fixed, **values}).fetchall()
        except sqlite3.Error as refused:
            raise OperationalError(self._sql, None, refused) from refused
        return [{name: value if read is None or value is None else read(value)
                 for (name, read), value in zip(self._readers, row, strict=True)}
                for row in found]

    def execute(self, connection, values: dict) -> int:
        """How many rows an insert, update or delete changed; `connection` is SQLAlchemy's, whose errors the writer
        tells apart."""
        values = {**self._fixed, **values}
        for name in self._json:
            values[name] = _written(values[name])
        return connection.exec_driver_sql(self._sql, values).rowcount
