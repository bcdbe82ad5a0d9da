"""A whole site as processes: a switch, a customer's server, and the roles of the product, all from a seed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from math import inf
from pathlib import Path

from gevent.event import Event
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.documents import files
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from tests import database
from tests.faults import account as accounts
from tests.faults.child import ROOT, Child
from tests.faults.switch import PHONES, RECORDED, UNRECORDED
from tests.faults.truth import Ledger

#: Seconds between looks at whether something has come about.
LOOK_S = 0.05

#: Seconds that a process may take to begin.
BEGUN_WITHIN_S = 60

ROLES = ("engine", "delivery")


class Site:
    """`with Site(tmp_path) as site:`, then calls, kills, `wait_quiet`, `account`.

    Parameters:
      place: an empty directory.
      seed: of the calls, and of whatever `chance` is asked for; printed, so that a run can be had again.
      supervised: `kazoo-rec run` watches the roles; else each role is a process of the harness's own, which is what
        `fate` needs (tests/faults/doomed.py).
      config: more of the configuration.
      settings: more of `call_recording` of the account (A legs: MP3, mono) and of the phones that are called
        (B legs: WAV, both channels).
    """

    def __init__(self, place: Path, seed: int = 1, supervised: bool = False, roles=ROLES, config=None, settings=None):
        self.place, self.seed, self.chance = place, seed, random.Random(seed)
        self.recordings, self.log = place / "recordings", place / "log"
        self.journal = place / "truth"
        self.ledger = Ledger(place)
        self.switch: Child | None = None
        self.receiver: Child | None = None
        self.processes: dict[str, Child] = {}
        self._supervised, self._roles, self._config = supervised, tuple(roles), config or {}
        self._settings = settings or {}
        self._ports, self._asked_before = {"switch": 0, "receiver": 0}, 0
        #: [from, to], ms, in which no engine heard the switch; `to` is None as long as it lasts.
        self.outages: list = []
        self._doomed: set[str] = set()

    def __enter__(self):
        print(f"seed {self.seed}")  # noqa: T201 - pytest shows it of a test that fails
        try:
            for directory in (self.recordings, self.place / "received"):
                directory.mkdir()
            self.journal.touch()
            self._begin("switch")
            self._begin("receiver")
            if not self._supervised:
                migrate(database.of(self.place))  # while they begin
            self._learn_ports()
            self._write_documents()
            self._write_config()
            if self._supervised:
                self.start("supervisor")
            else:
                self.take_documents()
                for role in self._roles:
                    self.start(role)
            if "engine" in self._roles:
                self.wait_heard()
            if "delivery" in self._roles:
                self.until(self._delivers, BEGUN_WITHIN_S, "there is no delivery")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends every process that was started here, and nothing else."""
        for name in [*reversed(self.processes), "receiver", "switch"]:
            self.kill(name)
        self._end_outages()

    # Calls that are recorded on both of their legs, and what became of their files

    def talk(self, calls: int):
        for _ in range(calls):
            self.call(talk_s=2)
        self.until(lambda: sum(map(len, self.switch.ask("recorded").values())) == 2 * calls, 20, "not all is recorded")

    @property
    def attempted(self) -> list[dict]:
        """Deliveries that have failed, and are due again."""
        return self.ledger.rows("SELECT * FROM deliveries WHERE state = 'due' AND attempts > 0")

    # Processes

    def start(self, name: str, fate: dict | None = None):
        """Starts "switch", "receiver", "supervisor", or a role; `fate` of a role or the supervisor: see doomed.py."""
        if name in ("switch", "receiver"):
            self._begin(name)
            self._learn_ports()
        else:
            arguments = (["run", "--role", ",".join(self._roles)] if name == "supervisor" else ["role", name])
            arguments += ["--config", self.place / "kazoo_rec.yaml"]
            self._doomed = self._doomed - {name} if fate is None else self._doomed | {name}
            if self._supervised and fate is None:
                self.processes[name] = Child(self.log, "kazoo_rec", *arguments)
            else:
                self.processes[name] = Child(self.log, "tests.faults.doomed", json.dumps(fate or {}), *arguments)

    def _begin(self, name):
        if name == "switch":
            self.switch = Child(self.log, "tests.faults.switch", self._ports["switch"], self.recordings, self.journal,
                                orders=True)
        else:
            self.receiver = Child(self.log, "tests.faults.receiver", self._ports["receiver"], self.place / "received",
                                  orders=True)

    def _learn_ports(self):
        self._ports = {"switch": self.switch.ask("address")[1], "receiver": self.receiver.ask("port")}

    def kill(self, name: str) -> bool:
        """SIGKILL; whether there was somebody to get it. "all" is the supervisor and its roles at once, or all roles;
        of a supervised role, its process."""
        if name not in ("receiver", "delivery") and self.switch is not None and self.switch.alive:
            self.note_outage()
            self._asked_before = 0 if name == "switch" else self._asked_before
        if name == "all":
            pids, alive = self._children(), any(process.alive for process in self.processes.values())
            for process in self.processes.values():
                process.kill()
            for pid in pids.values():
                _kill(pid)
            return alive
        if name not in ("switch", "receiver", *self.processes):
            return _kill(self._children().get(name))
        process = getattr(self, name) if name in ("switch", "receiver") else self.processes[name]
        if process is None or not process.alive:
            return False
        process.kill()
        if name == "switch":
            with open(self.journal, "a") as journal:
                journal.write(json.dumps({"what": "killed", "ms": _now_ms()}) + "\n")
        return True

    def _children(self):
        supervisor = self.processes.get("supervisor")
        return supervisor.children() if supervisor is not None and supervisor.alive else {}

    def freeze(self, role: str):
        """It does nothing until `thaw`, and its connections stay."""
        if role == "engine":
            self.note_outage()
        os.kill(self.pid(role), signal.SIGSTOP)

    def thaw(self, role: str):
        os.kill(self.pid(role), signal.SIGCONT)

    def restart(self, name: str, fate: dict | None = None):
        """After `kill`; a supervised role is the supervisor's to start again."""
        if name == "all":
            for each in (["supervisor"] if self._supervised else self._roles):
                self.start(each)
        elif not self._supervised or name in ("supervisor", "switch", "receiver"):
            self.start(name, fate)

    def heal(self):
        """Starts again what is dead or doomed."""
        for name, process in list(self.processes.items()):
            if not process.alive or name in self._doomed:
                self.kill(name)
                self.start(name)
        self.wait_heard()

    def pid(self, role: str) -> int | None:
        """Of a role that runs."""
        if self._supervised:
            return self._children().get(role)
        return self.processes[role].pid if self.processes[role].alive else None

    def take_documents(self):
        """As the supervisor does before it starts the roles."""
        store = Store(database.of(self.place))
        try:
            store.documents.take_files(files.read(self.place / "documents"), files.fit).get()
        finally:
            store.close()

    # Waiting

    def until(self, condition, within_s: float, what: str):
        """Looks again and again. Raises TimeoutError which says what was waited for."""
        end = time.monotonic() + within_s
        while not (found := condition()):
            if time.monotonic() > end:
                raise TimeoutError(f"{what}; seed {self.seed}; the log is {self.log}")
            Event().wait(LOOK_S)
        return found

    def wait_heard(self):
        """Until the engine hears the switch, again where one of them was killed: it has asked who is registered."""
        self._until_heard()
        self._end_outages()

    def wait_taken_in(self):
        """`wait_heard`, and until the calls that were in progress by then are recorded, or over."""
        self._until_heard()
        heard_ms = _now_ms()
        self.until(lambda: not self.switch.ask("unrecorded", before_ms=heard_ms), BEGUN_WITHIN_S,
                   "calls in progress are not recorded")
        self._end_outages()

    def _until_heard(self):
        self.until(lambda: self._asked() > self._asked_before, BEGUN_WITHIN_S, "the engine does not hear the switch")

    def _end_outages(self):
        for outage in self.outages:
            outage[1] = outage[1] or _now_ms()

    def note_outage(self):
        """From now on, until `wait_heard` or `wait_taken_in`, no engine hears the switch."""
        self._asked_before = self._asked()
        self.outages.append([_now_ms(), None])

    def wait_back(self, name: str):
        """Until what was killed and started again is at work."""
        if name == "delivery":
            self.until(lambda: self.pid("delivery"), BEGUN_WITHIN_S, "there is no delivery")
        elif name != "receiver":
            self.wait_taken_in()

    def _delivers(self):
        return self._quietly(lambda: self.ledger.rows("SELECT * FROM vitals WHERE role = 'delivery'"))

    def _asked(self):
        return self.switch.ask("introductions")

    def wait_gone(self, name: str):
        """Until a doomed process has killed itself, and by nothing else."""
        ended = self.processes[name].wait(BEGUN_WITHIN_S)
        if name != "delivery":
            self.note_outage()
        assert ended == -signal.SIGKILL, f"{name} ended with {ended}; the log is {self.log}"

    def wait_row(self, within_s: float = 20, **columns) -> dict:
        """A recording whose columns are these."""
        where = " AND ".join(f"{name} = ?" for name in columns)
        return self.until(
            lambda: self._quietly(lambda: self.ledger.rows(f"SELECT * FROM recordings WHERE {where}",
                                                           *columns.values())),
            within_s, f"no row with {columns}")[0]

    def wait_quiet(self, within_s: float = 60):
        """No leg, nothing unfinished, nothing due: within this time of the last that was done."""
        least, end = inf, time.monotonic() + within_s

        def is_at_rest():
            nonlocal least, end
            left = self._quietly(lambda: self.switch.ask("legs") + self.ledger.open() + self.ledger.due())
            if left is not None and left < least:
                least, end = left, time.monotonic() + within_s
            return left == 0 or time.monotonic() > end

        self.until(is_at_rest, inf, "the site does not come to rest")
        if least:
            raise TimeoutError(f"{least} are not done; seed {self.seed}; the log is {self.log}")

    @staticmethod
    def _quietly(ask):
        try:
            return ask()
        except SQLAlchemyError:
            return None

    # Calls and what became of them

    def call(self, **call) -> str:
        """One call; the uuid of its caller's leg. See `switch.Door.call`."""
        return self.switch.ask("call", seed=self.seed, **call)[0]

    def traffic(self, calls_s: float, talk_s=(4.0, 10.0), number: int = 0):
        self.switch.ask("traffic", seed=self.seed, calls_s=calls_s, talk_s=talk_s, number=number)

    def account(self, since_ms: int = 0, may_lose: bool = False) -> accounts.Account:
        """When all is quiet: of legs that were answered since then (ms since the epoch). `may_lose`: see account.py."""
        assert all(ended for _, ended in self.outages), "nobody waited for the engine to hear the switch again"
        return accounts.account(self.journal, self.place / "received", self.recordings, self.ledger, since_ms,
                                self.outages, self._reconciled, may_lose)

    def _reconciled(self) -> set[str]:
        """Legs of which `kazoo-rec reconcile` says that there is nothing, from the switch's call detail records."""
        told = subprocess.run(
            [sys.executable, "-P", "-m", "kazoo_rec", "reconcile", "--config", self.place / "kazoo_rec.yaml", "--json",
             "--cdr", self.journal.with_suffix(".cdr")], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, check=False)
        found = map(json.loads, told.stdout.splitlines())
        return {one["call_id"] for one in found if one["outcome"] in ("nothing", "discarded")}

    # What it is made of

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._ports['receiver']}/calls"

    def _write_documents(self):
        whole = {"enabled": True, "url": self.url, **self._settings}
        tell = {"any": {"any": {**whole, "format": "wav", "channels": "dual"}}}
        documents = {
            "acme/account": {"realm": RECORDED, "country": "US",
                             "call_recording": {"account": {"any": {"any": whole}}}},
            "quiet/account": {"realm": UNRECORDED, "country": "US"}}
        for number in range(PHONES):
            documents[f"acme/devices/caller{number}"] = {"sip": {"username": f"1{number:03}"}}
            documents[f"acme/devices/called{number}"] = {"sip": {"username": f"2{number:03}"},
                                                         "call_recording": {"inbound": tell["any"]}}
        for name, document in documents.items():
            file = self.place / "documents" / f"{name}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(document))

    def _write_config(self):
        (self.place / "kazoo_rec.yaml").write_text(json.dumps({
            "node": "fs1", **database.said(self.place), "documents": "documents",
            "recordings_dir": str(self.recordings), **self._config,
            "delivery": {"allow_networks": ["127.0.0.0/8"], **self._config.get("delivery", {})},
            "switches": [{"host": "127.0.0.1", "port": self._ports["switch"], "password": "ClueCon",
                          "command_connections": 4}]}))


def _kill(pid):
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _now_ms():
    return time.time_ns() // 1_000_000
