"""Versions of the schema, by Alembic. Each is a module of `versions/`."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import DatabaseError

from kazoo_rec.errors import StoreError
from kazoo_rec.store.database import Database
from kazoo_rec.store.sealing import prepare


def head() -> str:
    """The version that this code needs."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def revision(database: str | Database) -> str | None:
    """The version that the database has, None where it has none or is not there. Raises StoreError where it is none of
    ours, or its server does not answer."""
    database = Database.of(database)
    if not database.backend.is_there(*database):
        return None
    engine = create_engine(database.url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except DatabaseError as wrong:
        raise StoreError(database.backend.NOT_OURS, f"{database.shown}: {wrong.orig}") from wrong
    finally:
        engine.dispose()


def migrate(database: str | Database):
    """Brings a database up to this version, making its key where there is none; one process at a time. SQLite's is made
    (0600) where there is none. Blocks.

    Raises StoreError where its directory or server is not there, where its key is lost, and where the database is
    damaged, locked or takes nothing more.
    """
    database = Database.of(database)
    try:
        with database.backend.migrating(*database):
            command.upgrade(_config(database), "head")
            engine = database.backend.changing(database.url)
            try:
                prepare(database.backend, engine, database.beside)
            finally:
                engine.dispose()
    except DatabaseError as wrong:
        raise StoreError("the database cannot be brought up to date", f"{database.shown}: {wrong.orig}", "a damaged "
                         "one is put back from a copy; else look at its space, its rights and who else has it locked"
                         ) from wrong


def _config(database: str | Database | None):
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["database"] = database and Database.of(database)
    return config
