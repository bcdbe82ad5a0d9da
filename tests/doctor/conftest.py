"""A deployment that is well: a simulated switch, a recordings directory, a database, documents. Tests break it."""

import json
import re
import time
from pathlib import Path

import pytest

from kazoo_rec.config import load
from kazoo_rec.doctor.diagnosis import Diagnosis
from kazoo_rec.simulator.clock import WallClock
from kazoo_rec.simulator.script import Phone, Script
from kazoo_rec.simulator.simulator import Simulator
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from tests import database

#: A second of the switch in this part of ours.
FASTER = 20


def findings_of(findings, name, state=None):
    return [one for one in findings if one.name == name and state in (None, one.state)]


def only(findings, name):
    (found,) = findings_of(findings, name)
    return found


def asking(answers):
    """Asks nobody: the answer to each command, `api` left off, is in `answers`."""
    return lambda command, timeout_s=5.0: answers[command.removeprefix("api ")]


class Switch(Simulator):
    """A simulated switch with the commands that a doctor asks besides. `says` has other answers, by command line or by
    the command alone; `sees(path)` is what file_exists finds there."""

    def __init__(self, **simulator):
        super().__init__(clock=WallClock(speed=FASTER), **simulator)
        self.says, self.sees = {}, lambda path: Path(path).exists()

    def api(self, line):
        name, _, arguments = line.partition(" ")
        for asked in (line, name):
            if asked in self.says:
                return self.says[asked]
        match name:
            case "module_exists":
                return "true"
            case "file_exists":
                return "true" if self.sees(arguments) else "false"
            case "strmicroepoch":
                return str(time.time_ns() // 1000)
            case "xml_locate":
                return "can't find anything\n"
            case "originate":
                return self._loopback(re.search(r"origination_uuid=([^,}]+)", arguments)[1])
        return super().api(line)

    def _loopback(self, uuid):
        phone = Phone("echo", "switch.invalid", says=1000, answers=0.0)
        return f"+OK {self.play(Script(phone, dialplan=('echo',), click_to_call=True), uuid).answered.get()}\n"


class Deployment:
    def __init__(self, place: Path, switch: Switch):
        self.place, self.switch = place, switch
        self.recordings, self.documents = place / "recordings", place / "documents"
        self.recordings.mkdir()
        self.recordings.chmod(0o2770)
        self.write("acme/account", {"realm": "acme.example"})
        host, port = switch.address
        self.said = {"node": "fs1", **database.said(place), "documents": str(self.documents),
                     "recordings_dir": str(self.recordings), "delivery": {"allow_networks": ["127.0.0.0/8"]},
                     "switches": [{"host": host, "port": port, "password": switch.password}]}
        migrate(database.of(place))

    def write(self, name, document):
        file = self.documents / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))

    @property
    def file(self):
        file = self.place / "kazoo_rec.yaml"
        file.write_text(json.dumps(self.said))
        return file

    def store(self):
        return Store(database.of(self.place))

    def examine(self, **collaborators):
        collaborators = {"pause": self.switch.clock.sleep, "mounts": lambda: "", **collaborators}
        return Diagnosis(load(self.file), lambda: True, **collaborators).run()


@pytest.fixture
def switch(tmp_path):
    with Switch(recordings=tmp_path / "recordings") as simulator:
        yield simulator


@pytest.fixture
def deployment(tmp_path, switch):
    return Deployment(tmp_path, switch)
