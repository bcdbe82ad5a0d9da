"""What SQLite and PostgreSQL say in words of their own."""

import json
from collections.abc import Iterable

from sqlalchemy import Text, bindparam, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction


def upsert(table, columns: Iterable[str] = ()):
    """An insert that changes `columns` of the row that is there already; without any, leaves it as it is. SQLite's
    compiler reads PostgreSQL's, not the other way round."""
    added = postgresql.insert(table)
    if not columns:
        return added.on_conflict_do_nothing()
    return added.on_conflict_do_update(index_elements=[column.name for column in table.primary_key.columns],
                                       set_={name: added.excluded[name] for name in columns})


class _Each(GenericFunction):
    """The texts of a JSON list, as rows."""

    name = "kazoo_rec_each"
    inherit_cache = True


@compiles(_Each, "sqlite")
def _of_sqlite(element, compiler, **kw):
    return f"json_each({compiler.process(element.clauses, **kw)})"


@compiles(_Each, "postgresql")
def _of_postgres(element, compiler, **kw):
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **kw)} AS JSON))"


def among(values: Iterable[str | int]):
    """For IN: one parameter, however many values there are. SQLite keeps 128 statements prepared, psycopg 100, and
    lists of other lengths are other statements, of 50 kB each."""
    return _each(bindparam(None, listed(values), Text))


def among_listed(name: str):
    """As `among`, of what the parameter `name` has when the statement is executed, as `listed` makes it."""
    return _each(bindparam(name, type_=Text))


def listed(values: Iterable[str | int]) -> str:
    """As texts, without those that have a NUL, which is nowhere in PostgreSQL."""
    return json.dumps([value for value in map(str, values) if "\0" not in value])


def _each(parameter):
    return select(_Each(parameter).table_valued("value").c.value)
