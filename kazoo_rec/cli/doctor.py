"""`kazoo-rec doctor`: what is wrong with a deployment, and what to do about it."""

import json
import logging
import signal
from dataclasses import asdict
from pathlib import Path

import click
import gevent
import structlog
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from kazoo_rec.calls.identity import IdentityRules
from kazoo_rec.cli.recordings import PIPE_COLUMNS
from kazoo_rec.config import load
from kazoo_rec.doctor import conf
from kazoo_rec.doctor.diagnosis import Diagnosis
from kazoo_rec.doctor.finding import OK, SKIPPED, WARNING, WRONG
from kazoo_rec.doctor.finding import several as counted
from kazoo_rec.roles import priority

_STYLES = {OK: "green", WARNING: "yellow", WRONG: "bold red", SKIPPED: "dim"}


@click.command()
@click.option("--config", "config_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              envvar="KAZOO_REC_CONFIG", help="The configuration (YAML), or $KAZOO_REC_CONFIG.")
@click.option("--freeswitch-conf", "freeswitch_conf", metavar="DIR",
              type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Look at FreeSWITCH's configuration in this directory, alone or also.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def doctor(config_file, freeswitch_conf, as_json):
    """Check a deployment and say, for each thing wrong, what to do.

    Asks every switch, makes a test recording without a phone and removes it again, looks at directories, database,
    documents, delivery hosts and the legs that are up. It ends no call and touches no recording. Run it as the user
    of the engine. Exit 0 where nothing is wrong (warnings are allowed), 1 where something is.

    \b
    Example:
      kazoo-rec doctor --config /etc/kazoo_rec/kazoo_rec.yaml
      kazoo-rec doctor --freeswitch-conf /etc/freeswitch
    """
    if config_file is None and freeswitch_conf is None:
        raise click.UsageError("--config FILE, --freeswitch-conf DIR, or both")
    config = load(config_file) if config_file is not None else None
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    findings = []
    if freeswitch_conf is not None:
        findings += conf.examine(freeswitch_conf, config.identity if config else IdentityRules(),
                                 config.switches if config else ())
    if config is not None:
        findings += _uninterrupted(Diagnosis(config, priority.may_stand_with_the_switch))
    counts = {state: sum(one.state == state for one in findings) for state in _STYLES}
    if as_json:
        click.echo(json.dumps({"wrong": counts[WRONG], "warnings": counts[WARNING],
                               "findings": [asdict(one) for one in findings]}, indent=2))
    else:
        _show(findings, config is not None and len(config.switches) > 1)
        click.echo(f"{counts[WRONG]} wrong, {counted(counts[WARNING], 'warning')}, {counts[OK]} ok, "
                   f"{counts[SKIPPED]} skipped")
    if counts[WRONG]:
        raise SystemExit(1)


def _uninterrupted(diagnosis):
    """What it finds. A signal ends it where it is, and lets it remove what it made: Python's own KeyboardInterrupt
    would strike any greenlet, such as the one that reads the switch's answers."""
    running = gevent.spawn(diagnosis.run)
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, running.kill, block=False)
    findings = running.get()
    if isinstance(findings, gevent.GreenletExit):
        raise click.Abort
    return findings


def _show(findings, several):
    switch = [Column("switch", no_wrap=True)] if several else []
    table = Table(Column("", no_wrap=True), *switch, Column("what", no_wrap=True),
                  Column("seen, and what to do", overflow="fold"))
    for one in findings:
        cells = [one.switch] if several else []
        told = f"{one.seen}\n→ {one.advice}" if one.advice else one.seen
        table.add_row(Text(one.state, _STYLES[one.state]), *map(Text, (*cells, one.name, told)))
    console = Console()
    (console if console.is_terminal else Console(width=PIPE_COLUMNS)).print(table)
