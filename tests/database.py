"""The database of a test: a file of SQLite's, or a database of the PostgreSQL server that KAZOO_REC_TEST_DATABASE
names, such as postgresql://postgres@127.0.0.1:5432."""

import hashlib
import os
import re
from functools import cache
from pathlib import Path

import sqlalchemy

from kazoo_rec.store.database import Database

SERVER = os.environ.get("KAZOO_REC_TEST_DATABASE")

_ACTING = """SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
             WHERE locktype = 'advisory' AND granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

#: Directories and the databases that were made for them.
_made: dict[str, str] = {}


def said(place) -> dict:
    """What a configuration says of the database of the directory `place`; always the same of one."""
    if not SERVER:
        return {"database": f"sqlite:///{place}/kazoo_rec.db"}
    name = f"test_{hashlib.sha256(str(place).encode()).hexdigest()[:16]}"
    if str(place) not in _made:
        _do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
        _made[str(place)] = name
    return {"database": f"{SERVER}/{name}", "state_dir": str(place)}


def of(place) -> Database:
    """As `said`, for a Store."""
    found = said(place)
    return Database.of(found["database"], found.get("state_dir"))


def acting(place) -> int | None:
    """The process of the engine that acts, by the lock that it has in PostgreSQL; None while none has it."""
    with _server(of(place).url).connect() as connection:
        names = connection.exec_driver_sql(_ACTING).scalars().all()
    return next((int(name.split()[2]) for name in names if re.match("kazoo_rec [0-9a-f]{8} [0-9]+ ", name)), None)


def drop(below: str | os.PathLike = "/"):
    """Those of this directory, and of directories in it."""
    for place in [place for place in _made if Path(place).is_relative_to(below)]:
        _do(f"DROP DATABASE IF EXISTS {_made.pop(place)} WITH (FORCE)")


def _do(*statements):
    with _server(f"{SERVER.replace('postgresql:', 'postgresql+psycopg:', 1)}/postgres").connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@cache
def _server(url):
    return sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
