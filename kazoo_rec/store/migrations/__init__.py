"""Versions of the schema, by Alembic. Each is a module of `versions/`."""

from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Boolean, MetaData, case, func, select
from sqlalchemy.exc import DatabaseError

from kazoo_rec.errors import StoreError
from kazoo_rec.store import notice
from kazoo_rec.store.database import Database
from kazoo_rec.store.notice import COPY, MOVED
from kazoo_rec.store.sealing import prepare
from kazoo_rec.store.tables import engines

log = structlog.get_logger()


def head() -> str:
    """The version that this code needs."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def revision(database: str | Database) -> str | None:
    """The version that the database has, None where it has none or is not there. Raises StoreError where it is none of
    ours, or its server does not answer."""
    database = Database.of(database)
    if not database.backend.is_there(*database):
        return None
    engine = database.backend.asking(database.url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except DatabaseError as wrong:
        raise StoreError(database.backend.NOT_OURS, f"{database.shown}: {wrong.orig}") from wrong
    finally:
        engine.dispose()


def unfit(database: Database, found: str | None) -> StoreError:
    """Why a database of the version `found` is not one for this code."""
    if found in (COPY, MOVED):
        engine = database.backend.asking(database.url)
        with engine.connect() as connection:
            known = notice.read(connection)
        engine.dispose()
        return known.refusal(database.shown)
    detail = f"found {found or 'none'}, need {head()}"
    if found is None or found in versions():
        return StoreError("the database has another version's tables", detail,
                          "`kazoo-rec run` brings it up to date when it starts")
    return StoreError("the database has another version's tables", detail, "if it is a newer one's: that one's "
                      f"`kazoo-rec database downgrade --to {head()}` takes it down to this one's")


def changing_alone(database: Database, *unless: str):
    """A context in which nobody else changes the tables. Who has to wait for that says so; where the version is one of
    `unless`, StoreError says why it is not waited for."""
    def taken():
        if (found := revision(database)) in unless:
            raise unfit(database, found)
        log.info("waits for whoever changes the database", database=database.shown)

    return database.backend.migrating(*database, taken)


def versions() -> list[str]:
    """Those that this code knows, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config(None)).walk_revisions()]


def migrate(database: str | Database):
    """Brings a database up to this version, making its key where there is none; one process at a time. SQLite's is made
    (0600) where there is none. Blocks.

    Raises StoreError where its directory or server is not there, where its key is lost, where the database is damaged,
    locked or takes nothing more, and where it is a newer version's, a copy that is not whole, or was moved.
    """
    database = Database.of(database)
    try:
        with changing_alone(database, COPY, MOVED):
            command.upgrade(_config(database), "head")
            engine = database.backend.changing(database.url)
            try:
                prepare(database.backend, engine, database.beside)
            finally:
                engine.dispose()
    except CommandError:  # its version is none that is known
        raise unfit(database, revision(database)) from None
    except DatabaseError as wrong:
        raise StoreError("the database cannot be brought up to date", f"{database.shown}: {wrong.orig}", "a damaged "
                         "one is put back from a copy; else look at its space, its rights and who else has it locked"
                         ) from wrong


def downgrade(database: str | Database, to: str | None = None, lose: bool = False) -> tuple[str, list[str]]:
    """Takes a database down to an older version, by default the one before its own: (that version, what of it the older
    one cannot hold, such as "outages: 3 rows", and what that means). Blocks.

    Raises StoreError where somebody has it open, where there is no such version below its own, and, unless `lose`,
    where something would be lost: then nothing is changed.
    """
    database, before, lost = Database.of(database), {}, []
    steps, found = versions(), revision(database)
    if found not in steps:
        raise unfit(database, found)
    below = steps[steps.index(found) + 1:]
    to = below[0] if to is None and below else to
    if to not in below:
        raise StoreError("there is no such version below the database's", f"it is {found}, below are "
                         f"{', '.join(below) or 'none'}")

    def watch(connection):
        if not before:
            before.update(_content(connection))
            return
        lost.extend(_less(before, _content(connection)))
        if lost and not lose:
            raise StoreError(f"version {to} cannot hold all that there is", "; ".join([*lost, *_meaning(found, to)]),
                             "with --lose that is lost")

    engine = database.backend.changing(database.url)
    try:
        with (engine.connect() as connection, database.backend.alone(connection, database.beside),
              changing_alone(database, COPY, MOVED)):
            connection.rollback()
            command.downgrade(_config(database, watch), to)
    finally:
        engine.dispose()
    return to, [*lost, *_meaning(found, to)] if lost else []


def _content(connection):
    """{table: {None: its rows, column: rows that say something there}}. What engines say of themselves while they run
    is nothing to keep: one that was killed has left it, and says it again."""
    found, metadata = {}, MetaData()
    metadata.reflect(connection)
    for table in metadata.sorted_tables:
        if table.name == engines.name:
            continue
        said = [func.count(case((column, 1)) if isinstance(column.type, Boolean) else column) for column in table.c]
        counts = connection.execute(select(func.count(), *said).select_from(table)).one()
        found[table.name] = dict(zip([None, *table.c.keys()], counts, strict=True))
    return found


def _less(before, after):
    """What is in `before` alone, of `_content`."""
    for table, counts in before.items():
        if table not in after and counts[None]:
            yield f"{table}: {counts[None]} rows"
        elif table in after:
            yield from (f"{table}.{column}: {count} values" for column, count in counts.items()
                        if count and column not in after[table])


def _meaning(found, to):
    """What the steps down say of what is lost by them."""
    script = ScriptDirectory.from_config(_config(None))
    said = [one.module.downgrade.__doc__ for one in script.iterate_revisions(found, to)]
    return [" ".join(text.split()) for text in said if text]


def _config(database: str | Database | None, watch=lambda connection: None):
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["database"] = database and Database.of(database)
    config.attributes["watch"] = watch
    return config
