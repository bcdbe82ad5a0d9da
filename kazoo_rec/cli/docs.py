"""`kazoo-rec docs`: documents in files and in the store."""

import json
import os
from contextlib import closing, contextmanager
from pathlib import Path

import click

from kazoo_rec.cli.options import config_file
from kazoo_rec.config import load
from kazoo_rec.documents import files
from kazoo_rec.errors import DocumentError
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate

_directory = click.argument("directory", type=click.Path(file_okay=False, path_type=Path))


@click.group()
def docs():
    """Check, import and export documents of accounts, users and devices."""


@docs.command("check")
@_directory
def check(directory):
    """Say every fault of a directory of documents; exit 1 where there is one.

    \b
    Example:
      kazoo-rec docs check /etc/kazoo_rec/documents
    """
    with _faults_told():
        rows = files.read(directory)
    click.echo(f"{len(rows)} documents, no faults")


@docs.command("import")
@_directory
@config_file
def import_(directory, config_file):
    """Make the store's documents from files be exactly those of a directory; with a fault, change nothing.

    \b
    Example:
      kazoo-rec docs import ./documents --config kazoo_rec.yaml
    """
    with _faults_told():
        rows = files.read(directory)
        database = load(config_file).database
        migrate(database)
        with closing(Store(database)) as store:
            changed, removed = store.documents.take_files(rows, files.fit).get()
    click.echo(f"{len(rows)} documents: {changed} changed, {removed} removed")


@docs.command("export")
@_directory
@config_file
def export(directory, config_file):
    """Write the store's documents to a directory of files, which `import` takes again. They have the passwords of URLs
    in clear, and are for this user alone (0600).

    \b
    Example:
      kazoo-rec docs export ./documents --config kazoo_rec.yaml
    """
    store = Store(load(config_file).database)
    rows = [{**row, "body": store.secrets.open_known(row["body"])} for row in store.documents.since(0)
            if not row["deleted"]]
    store.close()
    if directory.exists() and any(directory.iterdir()):
        raise click.ClickException(f"{directory} is not empty: nothing was written")
    for row in rows:
        file = directory / files.place_of(row["kind"], row["account_id"], row["id"])
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
            opened.write(json.dumps(row["body"], indent=2, ensure_ascii=False) + "\n")
    click.echo(f"{len(rows)} documents written to {directory}")


@contextmanager
def _faults_told():
    try:
        yield
    except DocumentError as faulty:
        for fault in faulty.faults:
            click.echo(f"{fault['path']}: {fault['message']}", err=True)
        raise click.ClickException(faulty.message) from faulty
