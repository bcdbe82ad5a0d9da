"""`kazoo-rec run` and, started by it, `kazoo-rec role`."""

import signal
from importlib import import_module

import click
import gevent
import gevent.os
from gevent.event import Event
from gevent.util import wrap_errors
from sqlalchemy.exc import DBAPIError

from kazoo_rec import logs
from kazoo_rec.cli.options import config_file
from kazoo_rec.config import load
from kazoo_rec.errors import KazooRecError, StoreError
from kazoo_rec.roles import priority
from kazoo_rec.roles.supervisor import ROLES, Supervisor, argv_of

#: To a role that does not start for it: `kazoo-rec run` starts it again.
DATABASE_FAILS = "look at its server's log, its space, its rights and who has it locked"


def _roles(_context, _parameter, value):
    roles = tuple(filter(None, value.split(",")))
    unknown = set(roles) - set(ROLES)
    if unknown or not roles:
        raise click.BadParameter(f"takes {', '.join(ROLES)}, separated by commas")
    return roles


@click.command()
@config_file
@click.option("--role", "roles", default=",".join(ROLES), show_default=True, callback=_roles,
              help="Which roles to run on this host.")
@click.option("--observe", is_flag=True, help="Decide and log; command nothing, record nothing, deliver nothing.")
@click.option("--verbose", is_flag=True, help="Log why each rule does not record, too.")
def run(config_file, roles, observe, verbose):
    """Serve the configured switches until told to stop (Ctrl-C, SIGTERM); SIGHUP reads the documents again.

    \b
    Example:
      kazoo-rec run --config /etc/kazoo_rec/kazoo_rec.yaml --observe
    """
    logs.configure(verbose)
    if observe:
        roles = ("engine",)
    config = load(config_file)
    if "api" in roles:
        config.api.tls()
        if config.control:
            config.control.tls()
    stopped = _until_signal()
    supervisor = Supervisor(config, argv_of(str(config_file), observe, verbose), roles, stopped.set)
    gevent.signal_handler(signal.SIGHUP, supervisor.take_documents)
    starting = gevent.spawn(wrap_errors(KazooRecError, supervisor.start))
    gevent.wait([starting, stopped], count=1)
    try:
        if not stopped.is_set() and (fault := starting.get()):
            raise fault
        stopped.wait()
    finally:
        starting.kill()
        supervisor.stop()
    if supervisor.fault:
        raise supervisor.fault


@click.command(hidden=True)
@click.argument("name", type=click.Choice(ROLES))
@config_file
@click.option("--observe", is_flag=True)
@click.option("--verbose", is_flag=True)
@click.option("--lifeline", type=int, help="A file descriptor whose end means that nobody watches any more.")
def role(name, config_file, observe, verbose, lifeline):
    """Run one role in this process."""
    logs.configure(verbose or observe, role=name)
    config = load(config_file)
    stand = {"engine": priority.with_the_switch, "delivery": priority.behind_everybody}.get(name)
    if stand:
        stand()
    kind = getattr(import_module(f"kazoo_rec.roles.{name}"), name.capitalize())  # the others' take time to load
    stopped = _until_signal()
    part = kind(config, observe, ended=stopped.set) if name == "engine" else kind(config)
    if lifeline is not None:
        gevent.spawn(_until_end, lifeline, stopped)
    starting = gevent.spawn(wrap_errors(Exception, part.start))
    gevent.wait([starting, stopped], count=1)
    if starting.ready() and (fault := starting.get()):
        if isinstance(fault, DBAPIError):
            raise StoreError("the database fails", str(fault.orig), DATABASE_FAILS) from fault
        raise fault
    stopped.wait()
    starting.kill()
    part.stop()
    if name == "engine" and part.fault is not None:
        raise part.fault


def _until_signal() -> Event:
    stopped = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stopped.set)
    return stopped


def _until_end(descriptor, stopped):
    gevent.os.make_nonblocking(descriptor)
    gevent.os.nb_read(descriptor, 1)
    stopped.set()
