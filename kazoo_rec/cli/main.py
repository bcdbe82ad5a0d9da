"""`kazoo-rec`: the group of all commands."""

import sys
from importlib import import_module

import click
import structlog

from kazoo_rec import __version__
from kazoo_rec.errors import KazooRecError

#: Commands, each with its module here where that has another name.
COMMANDS = {
    "demo": "", "run": "", "role": "run", "decide": "", "callflow": "callflow_run", "docs": "", "doctor": "",
    "recordings": "", "reconcile": "", "token": "", "keys": "", "migrate": "", "database": "", "simulate": "",
    "receive": "", "trace": "", "replay": ""}


class _Commands(click.Group):
    """Loads what is asked for: a role that was killed is back in two thirds of the time that all of it takes."""

    def list_commands(self, _context):
        return list(COMMANDS)

    def get_command(self, _context, name):
        if name not in COMMANDS:
            return None
        return getattr(import_module(f"kazoo_rec.cli.{COMMANDS[name] or name}"), name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kazoo-rec")
def cli():
    """Call recording for FreeSWITCH, by policy: decide per leg, record from the first packet, deliver every file."""


def main():
    """Runs a command; what we know of going wrong ends as one clear message and its exit code, Ctrl-C as 130. What is
    logged is no part of what a command prints."""
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stderr))
    try:
        cli(standalone_mode=False)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except KazooRecError as wrong:
        click.echo(f"error: {wrong.message}", err=True)
        if wrong.detail:
            click.echo(f"  {wrong.detail}", err=True)
        if wrong.hint:
            click.echo(f"  hint: {wrong.hint}", err=True)
        sys.exit(wrong.exit_code)
