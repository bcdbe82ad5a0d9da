"""A site with two engines for its switch, as on two hosts: each has a directory, a log and a way to the database of
its own."""

import json
import os
import shutil
import signal
import time

from tests import database
from tests.faults.child import Child
from tests.faults.site import BEGUN_WITHIN_S, Site
from tests.faults.wire import Wire

#: The engines, by the name of their process.
ENGINES = ("engine", "second")


class Pair(Site):
    """One of its engines acts when it is begun. `wired`: their ways to the database are `wires`, by their names, which
    can be cut; all that they write passes through the harness then."""

    def __init__(self, place, seed=1, wired=False, **more):
        super().__init__(place, seed, roles=("engine", "delivery"), **more)
        self.wires: dict[str, Wire] = {}
        self._wired = wired

    def __enter__(self):
        super().__enter__()
        self.stand_by("second")
        return self

    def close(self):
        super().close()
        for wire in self.wires.values():
            wire.stop()

    def log_of(self, name):
        return self.place / f"log of {name}"

    def start(self, name, fate=None):
        if name not in ENGINES:
            super().start(name, fate)
            return
        arguments = "role", "engine", "--config", self.place / f"{name}.yaml"
        self.processes[name] = Child(self.log_of(name), "tests.faults.doomed", json.dumps(fate or {}), *arguments)

    def _write_config(self):
        super()._write_config()
        said = json.loads((self.place / "kazoo_rec.yaml").read_text())
        server, _, port_and_name = said["database"].rpartition(":")
        port, _, name = port_and_name.partition("/")
        for engine in ENGINES:
            if self._wired:
                self.wires[engine] = Wire(("127.0.0.1", int(port)))
            way = self.wires[engine].port if self._wired else port
            (self.place / f"{engine}.yaml").write_text(json.dumps(
                {**said, "database": f"{server}:{way}/{name}", "state_dir": str(self.place / f"of {engine}")}))
            (self.place / f"of {engine}").mkdir(mode=0o700)
            shutil.copy(self.place / "kazoo_rec.key", self.place / f"of {engine}")

    def acting(self) -> str:
        """Which engine has the lock, when one has it; "" while none has."""
        pids = {self.processes[name].pid: name for name in ENGINES if name in self.processes}
        return pids.get(database.acting(self.place), "")

    def wait_acting(self) -> str:
        return self.until(self.acting, BEGUN_WITHIN_S, "no engine has the lock")

    def end_acting(self, number=signal.SIGKILL) -> tuple[str, int]:
        """(the engine that acted, when it got its signal, ms)."""
        name = self.wait_acting()
        self.note_outage()
        since_ms = time.time_ns() // 1_000_000
        os.kill(self.processes[name].pid, number)
        self.processes[name].wait(30)
        self.processes[name].kill()
        return name, since_ms

    def stand_by(self, name):
        """Starts an engine beside the one that acts. On a busy machine it takes its time."""
        log = self.log_of(name)
        log.touch()
        said = log.read_text().count("this engine stands by")
        self.start(name)
        self.until(lambda: log.read_text().count("this engine stands by") > said, 5 * BEGUN_WITHIN_S, "none stands by")

    def begun_since(self, since_ms: int) -> tuple[int, int] | None:
        """Of what an engine planned after then: (ms until it recorded the first, ms until the first was answered of
        which nothing is missing); None until there is one of each."""
        rows = self.ledger.rows("SELECT answered_ms, started_ms, spans FROM recordings "
                                "WHERE created_ms > ? AND started_ms IS NOT NULL", since_ms)
        whole = [row["answered_ms"] for row in rows
                 if row["answered_ms"] and row["answered_ms"] > since_ms and not json.loads(row["spans"])]
        if not rows or not whole:
            return None
        return min(row["started_ms"] for row in rows) - since_ms, min(whole) - since_ms
