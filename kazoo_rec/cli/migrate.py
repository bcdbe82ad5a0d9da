"""`kazoo-rec migrate`: a library moves to another database."""

import os
import sys

import click
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.errors import StoreError
from kazoo_rec.store import sqlite
from kazoo_rec.store.database import Database
from kazoo_rec.store.moving import move
from kazoo_rec.store.secrets import ENVIRONMENT, key_file


@click.command()
@click.option("--from", "source", required=True, help="The database that is in use, as in the configuration.")
@click.option("--to", "target", required=True, help="An empty database, or what an earlier run has made.")
@click.option("--state-dir", help="Of PostgreSQL: `state_dir`, as it is or will be in the configuration.")
@click.option("--last", is_flag=True, help="kazoo-rec does not run, and will run on the new database.")
def migrate(source, target, state_dir, last):
    """Move the library to another database, SQLite's or PostgreSQL's, while calls are recorded.

    As often as you like while kazoo-rec runs: the first run copies all, each further one what has changed. It may be
    interrupted. Then stop kazoo-rec (FreeSWITCH goes on recording what it records), run it with --last, have the new
    `database` in the configuration, and start kazoo-rec: what was recorded meanwhile is found. Nothing starts on a copy
    before that, nor on the old database after it.

    Run it as the user that kazoo-rec runs as, who has to be able to write to --state-dir, and with its KAZOO_REC_KEY
    where there is one. A password may be in $PGPASSWORD or ~/.pgpass instead of the URL. Exit status: 0, or 1 where
    something failed or, with --last, is not equal on both sides.

    \b
    Example:
      runuser -u kazoo_rec -- kazoo-rec migrate --from sqlite:////var/lib/kazoo_rec/kazoo_rec.db \\
        --to postgresql://kazoo_rec@db.example/kazoo_rec --state-dir /var/lib/kazoo_rec
    """
    source, target = (Database.of(said, state_dir) for said in (source, target))
    if _is_same(source, target):
        raise StoreError("--from and --to are the same database", source.shown)
    try:
        compared = move(source, target, last, _tell)
    except (SQLAlchemyError, OSError) as refused:
        raise StoreError("the library was not moved", str(getattr(refused, "orig", None) or refused),
                         "run it again: it goes on where it was") from refused
    width = max(len(table.table) for table in compared)
    click.echo(f"{'table':{width}}  {'rows':>9}  {'written':>9}  {'SHA-256':16}" + ("  equal" if last else ""))
    for table in compared:
        equal = f"  {'yes' if table.equal else 'NO: ' + table.target[:16]}" if last else ""
        click.echo(f"{table.table:{width}}  {table.rows:9}  {table.changed:9}  {table.source[:16]}{equal}")
    _say_what_is_next(source, target, last, all(table.equal for table in compared))


def _is_same(source, target):
    """As far as their URLs tell: a server may have two names."""
    if source.backend is not target.backend:
        return False
    if source.backend is sqlite:
        return os.path.exists(target.beside) and os.path.exists(source.beside) and os.path.samefile(
            source.beside, target.beside)
    one, other = (make_url(place.url) for place in (source, target))
    return (one.host, one.port or 5432, one.database) == (other.host, other.port or 5432, other.database)


def _tell(table, rows):
    click.echo(f"{table}: {rows} rows", err=True)


def _say_what_is_next(source, target, last, equal):
    if not last:
        click.echo("Copied as it was just now. Run it again as often as you like; then stop kazoo-rec, and run it with "
                   "--last.")
        return
    if not equal:
        click.echo("Not all is equal: the old database is still the one to use.", err=True)
        sys.exit(1)
    key = ENVIRONMENT if ENVIRONMENT in os.environ else f"{key_file(target.beside)}, copied from {source.beside}.key"
    click.echo(f"Moved. Nothing starts on {source.shown} any more: have {target.shown} as `database` in the "
               f"configuration, and start kazoo-rec. The key is {key}.")
