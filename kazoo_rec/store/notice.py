"""A notice in a database that it is not to be used: it is a copy that is not whole yet, or was moved away.

It stands in the place of the schema's version, so that no version of the program starts on it. What stood there, and
which database is the other one, is in a table of its own, which goes with it.
"""

from typing import NamedTuple

from sqlalchemy import Column, MetaData, Table, Text, column, delete, insert, inspect, select, table, update

from kazoo_rec.errors import StoreError

#: What may be in the version's place.
COPY, MOVED = "copy", "moved"

_version = table("alembic_version", column("version_num"))
_notice = Table("moved", MetaData(), Column("version", Text, nullable=False), Column("other", Text, nullable=False))


class Notice(NamedTuple):
    """`kind` COPY or MOVED, `version` of the schema, `other` the database that it is a copy of, or was moved to."""

    kind: str
    version: str
    other: str

    def refusal(self, shown: str) -> StoreError:
        """Why nobody starts on the database that is `shown`, nor goes on with it."""
        if self.kind == MOVED:
            return StoreError("this database was moved", f"{shown} to {self.other}",
                              "have that one as `database` in the configuration")
        return StoreError("this database is a copy that is not whole yet", f"{shown} of {self.other}",
                          "run `kazoo-rec migrate` again, with --last when kazoo-rec does not run")


def read(connection) -> Notice | None:
    """None where there is none."""
    if not inspect(connection).has_table(_notice.name):
        return None
    kind = connection.execute(select(_version.c.version_num)).scalar_one()
    return Notice(kind, *connection.execute(select(_notice)).one())


def put(connection, kind: str, other: str):
    """In the connection's transaction, in the place of one that there is."""
    known = read(connection)
    version = known.version if known else connection.execute(select(_version.c.version_num)).scalar_one()
    _notice.create(connection, checkfirst=True)
    connection.execute(delete(_notice))
    connection.execute(insert(_notice).values(version=version, other=other))
    connection.execute(update(_version).values(version_num=kind))


def take_down(connection):
    """In the connection's transaction: the database may be used again."""
    connection.execute(update(_version).values(version_num=read(connection).version))
    _notice.drop(connection)
