"""How Alembic reaches the database; it is started by `migrate` and `downgrade` alone, with the database in the
attributes, and what is to look at it before and after."""

from alembic import context
from sqlalchemy import event

from kazoo_rec.errors import StoreError
from kazoo_rec.store import sqlite

database, watch = context.config.attributes["database"], context.config.attributes["watch"]
engine, is_sqlite = database.backend.changing(database.url), database.backend is sqlite
if is_sqlite:
    # A table is changed by being made anew and dropped (sqlite.org/lang_altertable.html, 7): what refers to it must not
    # mind, which cannot be said any more within a transaction.
    event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA foreign_keys=OFF"))
try:
    with engine.connect() as connection:
        # One transaction for all steps: sqlite3 would commit each statement, and a kill would leave half a schema.
        context.configure(connection=connection, render_as_batch=is_sqlite, transactional_ddl=True)
        with context.begin_transaction():
            watch(connection)
            context.run_migrations()
            watch(connection)
            if is_sqlite and (lost := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
                raise StoreError("the database has rows that refer to none",
                                 f"first in {lost[0][0]}: nothing was changed")
finally:
    engine.dispose()
