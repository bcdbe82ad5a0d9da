"""The database of a test: a file of SQLite's, or a database of the PostgreSQL server that KAZOO_REC_TEST_DATABASE
names, such as postgresql://postgres@127.0.0.1:5432."""

import hashlib
import os
from functools import cache
from pathlib import Path

import sqlalchemy

from kazoo_rec.store.database import Database

SERVER = os.environ.get("KAZOO_REC_TEST_DATABASE")

#: Directories and the databases that were made for them, and what was said of a directory's instead.
_made: dict[str, str] = {}
_said: dict[str, dict] = {}


def said(place) -> dict:
    """What a configuration says of the database of the directory `place`; always the same of one."""
    if str(place) in _said:
        return _said[str(place)]
    if not SERVER:
        return a_file(place)
    name = f"test_{hashlib.sha256(str(place).encode()).hexdigest()[:16]}"
    if str(place) not in _made:
        _do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
        _made[str(place)] = name
    return {"database": f"{SERVER}/{name}", "state_dir": str(place)}


def a_file(place) -> dict:
    return {"database": f"sqlite:///{place}/kazoo_rec.db"}


def say(place, what: dict):
    """From now on the directory's is this one."""
    _said[str(place)] = what


def of(place) -> Database:
    """As `said`, for a Store."""
    found = said(place)
    return Database.of(found["database"], found.get("state_dir"))


def drop(below: str | os.PathLike = "/"):
    """Those of this directory, and of directories in it."""
    for place in [place for place in _made if Path(place).is_relative_to(below)]:
        _do(f"DROP DATABASE IF EXISTS {_made.pop(place)} WITH (FORCE)")


def _do(*statements):
    with _server().connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@cache
def _server():
    url = SERVER.replace("postgresql:", "postgresql+psycopg:", 1)
    return sqlalchemy.create_engine(f"{url}/postgres", isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
