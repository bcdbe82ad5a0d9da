"""`kazoo-rec callflow run`: a call to a callflow, on the simulator."""

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click
import gevent
from gevent.socket import create_server

from kazoo_rec import logs
from kazoo_rec.cli.callflow import actions, callflow, read
from kazoo_rec.config import CallflowAddress, Config, RecordingsDir, Switch
from kazoo_rec.documents import files
from kazoo_rec.errors import ConfigError, DocumentError
from kazoo_rec.roles.engine import Engine
from kazoo_rec.simulator.clock import WallClock
from kazoo_rec.simulator.script import Phone, Script
from kazoo_rec.simulator.simulator import Simulator
from kazoo_rec.store import Store
from kazoo_rec.store.database import Database
from kazoo_rec.store.migrations import migrate

REALM, CALLER, FIRST_CALLED = "acme.example", "1000", 2001

#: Seconds of the wall after which a call that has not ended is given up.
WITHIN_S = 600
#: Seconds between looks at what becomes of the recordings.
LOOK_EVERY_S = 0.05

LEFT = "kazoo_rec_unhandled"


@callflow.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--number", required=True, help="The number that is called.")
@click.option("--with", "others", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Another callflow of the account, for the action callflow; its id is the name of its file.")
@click.option("--press", multiple=True, metavar="SECONDS:KEY",
              help="A key that the caller presses, so long after dialling.")
@click.option("--answers", type=click.FloatRange(0), default=1.0, show_default=True,
              help="Seconds after which each phone that is called answers.")
@click.option("--nobody-answers", is_flag=True, help="No phone that is called answers.")
@click.option("--hangs-up", type=click.FloatRange(0.1), default=30.0, show_default=True,
              help="Seconds after which the caller hangs up.")
@click.option("--speed", default=1.0, show_default=True, type=click.FloatRange(0.1, 20),
              help="How many seconds of the call go by in one of the wall's.")
def run(file, number, others, press, answers, nobody_answers, hangs_up, speed):
    """Walk a call through a callflow, on a simulated switch, and print each step.

    Users and devices that the callflow names have a phone each. What is recorded is named at the end, and thrown away.

    \b
    Example:
      kazoo-rec callflow run reception.yaml --number 3200 --press 2:1
    """
    documents = [(path.stem, _document(path)) for path in (file, *others)]
    phones = _phones([body for _, body in documents])
    called = [Phone(user, REALM, says=660, answers=None if nobody_answers else answers) for user in phones.values()]
    caller = Phone(CALLER, REALM, hangs_up=hangs_up, presses=dict(map(_pressed, press)))
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kazoo-rec-")))
        logs.configure(to=stack.enter_context(open(place / "log", "w")))
        simulator = stack.enter_context(Simulator(clock=WallClock(speed), recordings=place / "recordings"))
        (place / "recordings").mkdir()
        config = _config(place, simulator)
        store = _store(config, _written(place / "documents", documents, phones))
        stack.callback(store.close)
        engine = Engine(config, say=lambda step: click.echo(f"  {_shown(step)}"))
        engine.start()
        stack.callback(engine.stop)
        simulator.until(lambda: "show registrations as json" in simulator.commands, timeout=10)
        for phone in called:
            simulator.register(phone)
        click.echo(f"{CALLER} calls {_shown(number)}")
        call = simulator.play(Script(caller, dials=number, dialplan=(
            "set socket_resume=true", "set kazoo_rec_gateway=carrier",
            f"socket {config.callflow.host}:{config.callflow.port} async full", f"set {LEFT}_here=true", "hangup")))
        if not call.wait(WITHIN_S):
            raise ConfigError("the call does not end", f"{WITHIN_S} s", "let the caller hang up sooner: --hangs-up")
        _tell_end(call.legs[0])
        for row in _ended(store):
            click.echo(f"recorded: {row['origin'] or row['rule']}, {row['state']}")


def _ended(store):
    """The rows of all recordings, once none is being made."""
    while True:
        rows = store.recordings.list()
        if all(row["state"] not in ("armed", "recording", "paused") for row in rows):
            return sorted(rows, key=lambda row: row["created_ms"])
        gevent.sleep(LOOK_EVERY_S)


def _tell_end(leg):
    left = leg.variables.get(LEFT)
    if left or f"{LEFT}_here" in leg.variables:
        click.echo(f"the dialplan goes on{f', with {LEFT}={left}' if left else ''}")
    else:
        click.echo(f"the call has ended: {leg.cause}")


def _pressed(said):
    seconds, _, key = said.partition(":")
    try:
        if len(key) == 1 and key in "0123456789*#":
            return float(seconds), key
    except ValueError:
        pass
    raise click.BadParameter(f"{said!r} is not SECONDS:KEY, such as 2.5:1", param_hint="--press")


def _document(path):
    body, faults = read(path)
    if faults:
        raise DocumentError(f"{path} cannot be run", [{"path": where, "message": what} for where, what in faults])
    return body


def _phones(documents) -> dict[tuple[str, str], str]:
    """(kind, id) of each user and device that is named, and the SIP user of its phone."""
    named = {}
    for body in documents:
        for action in actions(body["flow"]):
            data = action.get("data") or {}
            if action["module"] in ("user", "device") and "id" in data:
                named[action["module"], data["id"]] = None
            elif action["module"] == "ring_group":
                named |= {(one["endpoint_type"], one["id"]): None for one in data.get("endpoints") or ()}
    return {one: str(FIRST_CALLED + place) for place, one in enumerate(named) if one[0] in ("user", "device")}


def _written(directory, documents, phones) -> Path:
    written = {"account": {"realm": REALM}, "devices/caller": {"sip": {"username": CALLER}}}
    for (kind, id), user in phones.items():
        if kind == "user":
            written |= {f"users/{id}": {}, f"devices/of-{user}": {"owner_id": id, "sip": {"username": user}}}
        else:
            written[f"devices/{id}"] = {"sip": {"username": user}}
    written |= {f"callflows/{body.get('id', name)}": body for name, body in documents}
    for name, body in written.items():
        path = directory / "acme" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(body))
    return directory


def _config(place, simulator) -> Config:
    host, port = simulator.address
    with create_server(("127.0.0.1", 0)) as free:
        address = CallflowAddress("127.0.0.1", free.getsockname()[1])
    recordings = RecordingsDir(str(place / "recordings"), str(place / "recordings"))
    return Config("simulated", recordings, Database.of(f"sqlite:///{place}/kazoo_rec.db"),
                  (Switch("simulated", host, port, simulator.password),), callflow=address)


def _store(config, directory) -> Store:
    rows = files.read(directory)
    migrate(config.database)
    store = Store(config.database)
    store.documents.take_files(rows, files.fit).get()
    return store


def _shown(text: str) -> str:
    return ascii(text)[1:-1]
