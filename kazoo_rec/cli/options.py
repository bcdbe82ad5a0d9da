"""Options that several commands take."""

from pathlib import Path

import click

config_file = click.option(
    "--config", "config_file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="KAZOO_REC_CONFIG", help="The configuration (YAML), or $KAZOO_REC_CONFIG.")
