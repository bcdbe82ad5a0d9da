"""`kazoo-rec simulate`: a FreeSWITCH that needs no FreeSWITCH."""

import signal
from pathlib import Path

import click
import gevent
from gevent.event import Event

from kazoo_rec.errors import ConfigError
from kazoo_rec.simulator import door
from kazoo_rec.simulator.clock import WallClock
from kazoo_rec.simulator.script import read_scripts
from kazoo_rec.simulator.simulator import Simulator


@click.command()
@click.option("--port", default=8021, show_default=True, help="Port on 127.0.0.1 to listen on; 0 takes any free one.")
@click.option("--password", default="ClueCon", show_default=True, help="Password of the event socket.")
@click.option("--calls", "calls_file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Calls to play (YAML), as soon as somebody listens to events.")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 100),
              help="How many seconds of the switch go by in one of the wall's.")
@click.option("--recordings", type=click.Path(file_okay=False, path_type=Path), default="recordings", show_default=True,
              help="What the switch says is its recordings_dir.")
def simulate(port, password, calls_file, speed, recordings):
    """Run a simulated FreeSWITCH: it speaks the event socket, plays calls and writes the recordings it is told to make.

    It serves until Ctrl-C. A file of calls names phones, and who calls whom; times are seconds after a leg was made,
    `says` is a tone in Hz. What goes wrong is told to it on its standard input, a line each, such as `event sockets
    end at 0`: the sentences are in kazoo_rec/simulator/faults.py.

    \b
    Example:
      kazoo-rec simulate --calls calls.yaml
    \b
    calls.yaml:
      phones:
        alice: {user: "1000", domain: acme.example, says: 440}
        bob: {user: "1001", domain: acme.example, says: 660}
        carrier: {user: "442079460123", name: Jane, says: 350}
      calls:
        - {name: onnet, caller: {phone: alice, hangs_up: 5}, called: {phone: bob, answers: 1}}
        - {name: DID, at: 6, caller: carrier, dials: "15550001001", called: {phone: bob, answers: 1, hangs_up: 4}}
        - {name: ring group, at: 12, caller: {phone: alice, hangs_up: 6}, called: [bob, {phone: carrier, answers: 2}]}
    """
    scripts = read_scripts(calls_file) if calls_file else []
    switch = Simulator(password, WallClock(speed), ("127.0.0.1", port), recordings=recordings.resolve())
    asked_to_end = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, asked_to_end.set)
    try:
        switch.start()
    except OSError as error:
        raise ConfigError("cannot listen", f"127.0.0.1:{port}: {error.strerror}", "choose another --port") from error
    click.echo(f"A simulated FreeSWITCH listens on 127.0.0.1:{switch.address[1]}; Ctrl-C ends it.")
    # In the background of a terminal to read from it is an error, not a stop.
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    busy = [gevent.spawn(_play, switch, scripts), gevent.spawn(door.serve, switch, 0, click.echo)]
    asked_to_end.wait()
    gevent.killall(busy)
    switch.stop()
    click.echo(f"Sessions since startup: {switch.sessions}")


def _play(switch, scripts):
    if not scripts:
        return
    click.echo(f"Calls to play: {len(scripts)}, as soon as somebody listens to CHANNEL_CREATE.")
    switch.until(lambda: switch.has_listener("CHANNEL_CREATE"), timeout=None)
    calls = [switch.play(script) for script in scripts]
    for call in calls:
        call.wait()
        name = call.script.name or f"{call.script.caller.address} to {call.script.dials}"
        files = [recording.path for leg in call.legs for recording in leg.recorded]
        click.echo("  ".join([f"{name}: ended", *files]))
    click.echo("All calls have ended.")
