"""`kazoo-rec database`: its version."""

import click

from kazoo_rec.cli.options import config_file
from kazoo_rec.config import load
from kazoo_rec.store import migrations


@click.group()
def database():
    """The database's version; `kazoo-rec run` brings it up to date when it starts."""


@database.command()
@config_file
@click.option("--to", "version", help="The version that the older program needs, as it says itself; else one below.")
@click.option("--lose", is_flag=True, help="What the older version cannot hold is lost.")
def downgrade(config_file, version, lose):
    """Take the database down for an older program. kazoo-rec does not run meanwhile; recordings stay.

    Where the older version cannot hold something that there is, nothing is changed, and what it is is said. Have a
    backup.

    \b
    Example:
      kazoo-rec database downgrade --config /etc/kazoo_rec/kazoo_rec.yaml --to 0009
    """
    found, lost = migrations.downgrade(load(config_file).database, version, lose)
    for line in lost:
        click.echo(f"lost: {line}")
    click.echo(f"The database is version {found}: install the older program before you start kazoo-rec again.")
