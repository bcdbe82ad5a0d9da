"""The database of a test: a file of SQLite's, or a database of the PostgreSQL server that KAZOO_REC_TEST_DATABASE
names, such as postgresql://postgres@127.0.0.1:5432."""

import hashlib
import os
from functools import cache

import sqlalchemy

from kazoo_rec.store.database import Database

SERVER = os.environ.get("KAZOO_REC_TEST_DATABASE")

#: Made since `drop` was called last.
_made: set[str] = set()


def said(place) -> dict:
    """What a configuration says of the database of the directory `place`; always the same of one."""
    if not SERVER:
        return {"database": f"sqlite:///{place}/kazoo_rec.db"}
    name = f"test_{hashlib.sha256(str(place).encode()).hexdigest()[:16]}"
    if name not in _made:
        _do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
        _made.add(name)
    return {"database": f"{SERVER}/{name}", "state_dir": str(place)}


def of(place) -> Database:
    """As `said`, for a Store."""
    found = said(place)
    return Database.of(found["database"], found.get("state_dir"))


def drop():
    """All that were made."""
    while _made:
        _do(f"DROP DATABASE IF EXISTS {_made.pop()} WITH (FORCE)")


def _do(*statements):
    with _server().connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@cache
def _server():
    url = SERVER.replace("postgresql:", "postgresql+psycopg:", 1)
    return sqlalchemy.create_engine(f"{url}/postgres", isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
