"""`kazoo-rec keys`: what passwords of URLs are sealed by."""

import os
from contextlib import closing

import click

from kazoo_rec.cli.options import config_file
from kazoo_rec.config import load
from kazoo_rec.errors import ConfigError
from kazoo_rec.store import Store
from kazoo_rec.store.secrets import ENVIRONMENT, key_file, make_key


@click.group()
def keys():
    """The key of the database. `docs/secrets.md` says what it is for, and what its loss means."""


@keys.command("rotate")
@config_file
def rotate(config_file):
    """Make a new key, and seal by it what is sealed by another; calls and deliveries go on, and seal by it too.

    The old key stays behind the new one in the key's file, for what is being written just now, and for backups: see
    `keys reseal`. Where the key is said by $KAZOO_REC_KEY, put a new one (`openssl rand -base64 32`) and a blank before
    it yourself, restart kazoo-rec, then run `keys reseal`.

    \b
    Example:
      kazoo-rec keys rotate --config /etc/kazoo_rec/kazoo_rec.yaml
    """
    if ENVIRONMENT in os.environ:
        raise ConfigError(f"the key is said by {ENVIRONMENT}", hint="put a new one and a blank before it, restart "
                          "kazoo-rec, then run `kazoo-rec keys reseal`")
    with closing(Store(load(config_file).database)) as store:
        make_key(key_file(store.beside))
        _reseal(store)
    click.echo("Older keys are still needed for what was being written meanwhile: restart kazoo-rec, then run "
               "`kazoo-rec keys reseal`, which says which may go.")


@keys.command("reseal")
@config_file
def reseal(config_file):
    """Seal by the first key what is sealed by another; calls and deliveries go on. No key is made.

    To be run when kazoo-rec was restarted after `keys rotate`: it names the keys that the database needs no more. They
    may then be taken out of the key's file, or of $KAZOO_REC_KEY; a backup needs those that it was made with.

    \b
    Example:
      kazoo-rec keys reseal --config /etc/kazoo_rec/kazoo_rec.yaml
    """
    with closing(Store(load(config_file).database)) as store:
        _reseal(store)
        if older := store.secrets.older:
            click.echo(f"If kazoo-rec was restarted since the first key is there, nothing needs {', '.join(older)}: "
                       "the keys behind the first may go, but not from where backups of before now are kept.")


def _reseal(store):
    by = store.secrets.read()
    click.echo(f"{store.reseal()} rows sealed anew by key {by}.")
