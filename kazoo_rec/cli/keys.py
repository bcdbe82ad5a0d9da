"""`kazoo-rec keys`: what passwords of URLs are sealed by."""

import os
from contextlib import closing

import click

from kazoo_rec.cli.options import config_file
from kazoo_rec.config import load
from kazoo_rec.store import Store
from kazoo_rec.store.secrets import ENVIRONMENT, key_file, make_key


@click.group()
def keys():
    """The key of the database. `docs/secrets.md` says what it is for, and what its loss means."""


@keys.command("rotate")
@config_file
def rotate(config_file):
    """Make a new key, and seal by it what is sealed by another; calls and deliveries go on.

    The old key stays behind the new one in the key's file, for what is being written just now, and for backups. Where
    the key is said by $KAZOO_REC_KEY, put a new one (`openssl rand -base64 32`) and a blank before it yourself, restart
    kazoo-rec, then run this.

    \b
    Example:
      kazoo-rec keys rotate --config /etc/kazoo_rec/kazoo_rec.yaml
    """
    database = load(config_file).database
    with closing(Store(database)) as store:
        if ENVIRONMENT not in os.environ:
            make_key(key_file(store.path))
        by = store.secrets.read()
        count = store.reseal()
    click.echo(f"{count} rows sealed anew by key {by}. After a restart of kazoo-rec and another `keys rotate` nothing "
               "needs the older keys but backups.")
