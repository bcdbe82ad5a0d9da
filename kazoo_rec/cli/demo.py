"""`kazoo-rec demo`: the main job on one machine, with the simulator as the switch."""

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click
import gevent
import yaml
from gevent.socket import create_server
from rich.console import Console
from rich.live import Live
from rich.table import Column, Table

from kazoo_rec import logs
from kazoo_rec.cli import demo_calls
from kazoo_rec.config import load
from kazoo_rec.delivery.receiver import Receiver
from kazoo_rec.documents import files
from kazoo_rec.roles.delivery import Delivery
from kazoo_rec.roles.engine import Engine
from kazoo_rec.simulator.simulator import Simulator
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate

#: Seconds after which a call that is not through has gone wrong.
WITHIN_S = 50

#: A recording may differ from its talk by so many milliseconds.
LENGTH_MS = 60


@click.command()
@click.option("--dir", "directory", type=click.Path(file_okay=False, path_type=Path), default="demo-recordings",
              show_default=True, help="Where the files are left, in a directory of their own.")
def demo(directory):
    """Place a call for every yes and no of the published matrix on a simulated switch, and deliver what is recorded.

    Ends by itself within a minute: exit 0, or 1 and which call went wrong.

    \b
    Example:
      kazoo-rec demo
    """
    place = directory.resolve() / time.strftime("%Y%m%d-%H%M%S")
    place.mkdir(parents=True)
    console = Console()
    with ExitStack() as stack, open(place / "log", "w") as log:
        logs.configure(to=log)
        site = _Site(place, stack)
        console.print(f"{len(site.calls)} calls on a simulated switch; files in [bold]{place}[/]")
        with Live(console=console, transient=True) as live:
            begun = time.monotonic()
            while not site.through() and time.monotonic() - begun < WITHIN_S:
                live.update(site.table())
                gevent.sleep(0.2)
        console.print(site.table())
    wrong = [fault for call in site.calls if (fault := site.fault(call))]
    for fault in wrong:
        console.print(f"[red]wrong:[/] {fault}")
    if wrong:
        console.print(f"The log is {place}/log")
        sys.exit(1)
    count = len(list((place / "received").glob("call_recording_*")))
    console.print(f"All {len(site.calls)} calls went as published; {count} files were delivered to {place}/received")
    console.print(f"Look further: kazoo-rec recordings list --config {place}/kazoo_rec.yaml")


class _Site:
    """A switch, a receiving server, an engine and a delivery, all of this process, and what became of each call."""

    def __init__(self, place: Path, stack: ExitStack):
        listener = create_server(("127.0.0.1", 0))
        receiver = Receiver(place / "received", listener)
        receiver.start()
        stack.callback(receiver.stop)
        simulator = stack.enter_context(Simulator(recordings=place / "recordings"))
        (place / "recordings").mkdir()
        config = self._configure(place, simulator, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        for role in (Engine(config), Delivery(config)):
            role.start()
            stack.callback(role.stop)
        self._store, self._receiver = Store(config.database), receiver
        stack.callback(self._store.close)
        simulator.until(lambda: "show registrations as json" in simulator.commands, timeout=10)
        self.calls = {call: simulator.play(call.script) for call in demo_calls.calls()}

    @staticmethod
    def _configure(place, simulator, url):
        for name, document in demo_calls.documents(url).items():
            file = place / "documents" / f"{name}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(document, indent=2))
        host, port = simulator.address
        (place / "kazoo_rec.yaml").write_text(yaml.safe_dump({
            "node": "demo", "database": f"sqlite:///{place}/kazoo_rec.db", "documents": "documents",
            "recordings_dir": str(place / "recordings"), "delivery": {"allow_networks": ["127.0.0.0/8"]},
            "switches": [{"host": host, "port": port, "password": simulator.password}]}, sort_keys=False))
        config = load(place / "kazoo_rec.yaml")
        migrate(config.database)
        store = Store(config.database)
        store.documents.take_files(files.read(config.documents), files.fit).get()
        store.close()
        return config

    def through(self) -> bool:
        """Whether every call is over and every recording of it where it belongs."""
        rows = self._store.recordings.list(limit=10 * len(self.calls))
        return all(played.legs and played.wait(0) for played in self.calls.values()) and all(
            row["state"] in ("recorded", "discarded", "failed") and self._received(row) for row in rows)

    def table(self) -> Table:
        """A row for each call that has begun: what was decided and why, how long it is, where it is, its digest."""
        table = Table(Column("enabled", no_wrap=True), Column("call", no_wrap=True),
                      Column("what became of it", overflow="fold"), box=None)
        for call, played in self.calls.items():
            rows = self._rows(played)
            if played.legs:
                told = "\n".join(map(self._told, rows)) or f"not recorded: {call.refusal}"
                table.add_row(call.setting, f"{call.source} → {call.destination}", told,
                              style="green" if rows else "dim")
        return table

    def _told(self, row):
        received = self._received(row)
        length = "" if row["duration_ms"] is None else f"{row['duration_ms'] / 1000:.2f} s, "
        where = f"\n{length}{received.file}\nSHA-256 {received.sha256}" if received else ""
        return f"{row['state']}: {row['reason']}{where}"

    def fault(self, call) -> str:
        """What went wrong with a call, empty if nothing did."""
        played, name = self.calls[call], f"{call.setting}, {call.source} → {call.destination}"
        rows = self._rows(played)
        found = [(row["rule"], row["leg"]) for row in rows]
        if found != ([call.expected] if call.expected else []):
            return f"{name}: recorded was {found or 'nothing'}, the page says {call.expected or 'nothing'}"
        for row in rows:
            received = self._received(row)
            if row["state"] != "recorded" or received is None:
                return f"{name}: {row['state']}, {row['state_reason'] or 'not delivered'}"
            if not received.verified or received.sha256 != row["sha256"]:
                return f"{name}: what arrived is not what was recorded"
            off_ms = row["duration_ms"] - (row["stopped_ms"] - row["answered_ms"])
            if abs(off_ms) > LENGTH_MS:
                return f"{name}: the recording differs from the talk by {off_ms} ms"
        return ""

    def _rows(self, played):
        legs = {leg.uuid for leg in played.legs}
        return [row for row in self._store.recordings.list(limit=10 * len(self.calls)) if row["call_id"] in legs]

    def _received(self, row):
        return next((file for file in self._receiver.files if file.recording_id == row["id"]), None)
