"""How Alembic reaches the database; it is started by `migrate` alone, with the URL in the attributes."""

from alembic import context

from kazoo_rec.store.sqlite import writing

engine = writing(context.config.attributes["url"])
with engine.connect() as connection:
    # One transaction for a whole upgrade: sqlite3 would commit each statement, and a kill would leave half a schema.
    context.configure(connection=connection, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
