"""`kazoo-rec`: the group of all commands."""

import sys

import click

from kazoo_rec import __version__
from kazoo_rec.cli.callflow_run import callflow
from kazoo_rec.cli.decide import decide
from kazoo_rec.cli.demo import demo
from kazoo_rec.cli.docs import docs
from kazoo_rec.cli.doctor import doctor
from kazoo_rec.cli.keys import keys
from kazoo_rec.cli.receive import receive
from kazoo_rec.cli.recordings import recordings
from kazoo_rec.cli.replay import replay
from kazoo_rec.cli.run import role, run
from kazoo_rec.cli.simulate import simulate
from kazoo_rec.cli.token import token
from kazoo_rec.cli.trace import trace
from kazoo_rec.errors import KazooRecError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kazoo-rec")
def cli():
    """Call recording for FreeSWITCH, by policy: decide per leg, record from the first packet, deliver every file."""


for command in (demo, run, role, decide, callflow, docs, doctor, recordings, token, keys, simulate, receive, trace,
                replay):
    cli.add_command(command)


def main():
    """Runs a command; what we know of going wrong ends as one clear message and exit code 1, Ctrl-C as 130."""
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
        sys.exit(1)
