"""The database of a test: a file of SQLite's, or a database of the PostgreSQL server that KAZOO_REC_TEST_DATABASE
names, such as postgresql://postgres@127.0.0.1:5432."""

import hashlib
import os
import re
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy

from kazoo_rec.store.database import Database
from kazoo_rec.store.tables import metadata

SERVER = os.environ.get("KAZOO_REC_TEST_DATABASE")

_ACTING = """SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
             WHERE locktype = 'advisory' AND granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

#: Directories, the servers and databases that were made for them, and what was said of a directory's instead.
_made: dict[str, tuple[str, str]] = {}
_said: dict[str, dict] = {}


def said(place, more: str = "") -> dict:
    """What a configuration says of the database of the directory `place`; always the same of one. `more` is of how a
    server makes it."""
    if str(place) in _said:
        return _said[str(place)]
    if not SERVER:
        return a_file(place)
    name = f"test_{hashlib.sha256(str(place).encode()).hexdigest()[:16]}"
    if str(place) not in _made:
        do(SERVER, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} {more}")
        _made[str(place)] = SERVER, name
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


def copy(place, to):
    """Once nobody uses it; a file is there with its directory."""
    if SERVER:
        said(to, f"TEMPLATE {_made[str(place)][1]}")


def acting(place) -> int | None:
    """The process of the engine that acts, by the lock that it has in PostgreSQL; None while none has it."""
    with _engine(of(place).url).connect() as connection:
        names = connection.exec_driver_sql(_ACTING).scalars().all()
    return next((int(name.split()[2]) for name in names if re.match("kazoo_rec [0-9a-f]{8} [0-9]+ ", name)), None)


def age_s(place) -> float:
    """Seconds since the server began."""
    with _engine(of(place).url).connect() as connection:
        return connection.exec_driver_sql(
            "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float").scalar_one()


def drop(below: str | os.PathLike = "/"):
    """Those of this directory, and of directories in it."""
    for place in [place for place in _made if Path(place).is_relative_to(below)]:
        server, name = _made.pop(place)
        do(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def forget(place):
    """Its server goes, and it with that."""
    _made.pop(str(place))


def change(place, *statements):
    """Somebody else does it."""
    with _engine(of(place).url).connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@contextmanager
def locked(place):
    """Nobody can write, on a server nor read; it lasts as long as the caller wants, or lives. Gives a connection."""
    with _engine(of(place).url).connect() as connection:
        if SERVER:
            connection.exec_driver_sql("SET deadlock_timeout = '1h'")  # if there is one, it is the others who give way
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql(f"LOCK TABLE {', '.join(metadata.tables)} IN ACCESS EXCLUSIVE MODE")
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
        finally:
            connection.exec_driver_sql("ROLLBACK")


def do(server: str, *statements):
    """Of a server as a whole."""
    with _engine(f"{server.replace('postgresql:', 'postgresql+psycopg:', 1)}/postgres").connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@cache
def _engine(url):
    timeout = {"timeout": 20} if url.startswith("sqlite") else {}
    return sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool,
                                    connect_args=timeout)
