"""Versions of the schema, by Alembic. Each is a module of `versions/`."""

import fcntl
import os
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError

from kazoo_rec.errors import StoreError
from kazoo_rec.store.sealing import prepare
from kazoo_rec.store.sqlite import writing


def head() -> str:
    """The version that this code needs."""
    return ScriptDirectory.from_config(_config("")).get_current_head()


def revision(url: str) -> str | None:
    """The version that the database has, None where it has none or is not there."""
    path = make_url(url).database
    if not path or not os.path.exists(path):
        return None
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except DatabaseError as wrong:
        raise StoreError("this is no database of kazoo_rec", f"{path}: {wrong.orig}") from wrong
    finally:
        engine.dispose()


def migrate(url: str):
    """Brings a database up to this version, making it (0600) and its key where there is none; one process at a time.
    Blocks.

    Raises StoreError where its directory is not there, where its key is lost, and where the database is damaged, locked
    or takes nothing more.
    """
    path = Path(make_url(url).database)
    if not path.parent.is_dir():
        raise StoreError("the database's directory is not there", str(path.parent), "make it, owned by this user")
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for file in (path, f"{path}.lock.turn"):
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        command.upgrade(_config(url), "head")
        engine = writing(url)
        try:
            prepare(engine, str(path))
        finally:
            engine.dispose()
    except DatabaseError as wrong:
        raise StoreError("the database cannot be brought up to date", f"{path}: {wrong.orig}", "a damaged one is put "
                         "back from a copy; else look at its space, its rights and who else has it locked") from wrong
    finally:
        os.close(lock)


def _config(url):
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = url
    return config
