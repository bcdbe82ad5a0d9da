"""`kazoo-rec run` as a child process, with documents of its own, and the web server that its recordings go to."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from gevent.event import Event
from gevent.pywsgi import WSGIServer
from sqlalchemy import create_engine, text

from kazoo_rec.control.client import Engines
from kazoo_rec.store import Store
from tests import database
from tests.faults.truth import Ledger
from tests.freeswitch.sound import Channel, Wav, channels

#: The lab's accounts, with the documents of its phones; see conf/directory.xml.
DOCUMENTS = {
    "acme/account": {"name": "Acme", "realm": "acme.example", "country": "US", "numbers": [
        "+15550001000", "+15550001001", "+15550001002", "+15550001999", "+15550003200",
        *(f"+1555000200{last}" for last in range(1, 10))]},
    "globex/account": {"name": "Globex", "realm": "globex.example", "country": "US", "numbers": ["+15550002000"]},
    **{f"{account}/users/usr-{account}-{number}": {}
       for account, number in (("acme", 1000), ("acme", 1001), ("acme", 1002), ("globex", 2000))},
    **{f"{account}/devices/dev-{account}-{number}": {"owner_id": f"usr-{account}-{number}",
                                                     "sip": {"username": str(number)}}
       for account, number in (("acme", 1000), ("acme", 1001), ("acme", 1002), ("globex", 2000))},
}

#: Seconds that three processes may take to begin on a machine that has other work.
BEGINS_WITHIN_S = 90

#: States in which the product has nothing left to do for a recording.
FINAL = ("recorded", "discarded", "failed")


def until(condition, within_s: float = 10):
    """Waits until `condition()` is true, and returns it."""
    deadline, pause = time.monotonic() + within_s, Event()
    while not (found := condition()):
        assert time.monotonic() < deadline, f"did not happen within {within_s} s"
        pause.wait(0.02)
    return found


@dataclass(frozen=True)
class Recording:
    """A row, and the body that was delivered for it, and to which path (None where there was none)."""

    row: dict
    body: bytes | None
    path: str | None = None

    @property
    def state(self) -> str:
        return self.row["state"]

    def wav(self) -> Wav:
        return Wav.read(self.body)

    def channels(self) -> list[Channel]:
        return channels(self.body)


class Receiver:
    """Keeps every body that is sent, and the path that the last of them was sent to, by recording id."""

    def __init__(self):
        self.bodies: dict[str, list[bytes]] = {}
        self.paths: dict[str, str] = {}
        self._server = WSGIServer(("127.0.0.1", 0), self._take, log=None)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/calls"

    def stop(self):
        self._server.stop(timeout=1)

    def _take(self, environ, start_response):
        recording_id = environ["HTTP_IDEMPOTENCY_KEY"]
        body = environ["wsgi.input"].read()
        self.paths[recording_id] = environ["PATH_INFO"]
        self.bodies.setdefault(recording_id, []).append(body)
        start_response("201 Created", [("Content-Length", "0")])
        return [b""]


class Product:
    """One engine and one delivery for one switch, for as long as the tests run.

    Parameters:
      directory: for everything it writes; the switch must be able to write there.
      switch: `tests.freeswitch.conftest.Switch`.
      address: (host, port) by which it reaches the switch, the switch's own unless something is in between.
      more: of the configuration.
    """

    def __init__(self, directory: Path, switch, address=None, **more):
        self._directory, self._switch, self._more = directory, switch, more
        self._address = address or (switch.host, switch.port)
        self.receiver = Receiver()
        self.documents, self.recordings_dir = directory / "documents", directory / "recordings"
        self._log, self._ledger = directory / "kazoo_rec.log", Ledger(directory)
        self._seen: set[str] = set()
        self._store: Store | None = None
        self._obeyed = 0
        #: Callflows of acme's from the next `obey` on: {id: document}.
        self.callflows: dict[str, dict] = {}
        self.recordings_dir.mkdir()

    def record(self, **settings) -> dict:
        """Settings that make a recording, delivered here as a WAV with both sides apart."""
        return {"enabled": True, "format": "wav", "channels": "dual", "url": self.receiver.url, **settings}

    def start(self):
        host, port = self._address
        config = self._directory / "kazoo_rec.yaml"
        config.write_text(yaml.safe_dump({
            "node": "lab", **database.said(self._directory), "documents": str(self.documents),
            "recordings_dir": str(self.recordings_dir), "callflow": {"port": 8086},
            "delivery": {"remove_after_delivery": False, "allow_networks": ["127.0.0.0/8"]},
            "switches": [{"host": host, "port": port, "password": self._switch.password,
                          "command_connections": 8}], **self._more}))
        self._write({}, {})
        self._log.touch()
        self.run()

    def stop(self):
        self.halt()
        self.receiver.stop()
        if self._store is not None:
            self._store.close()

    def run(self):
        """Begins, and waits until the switch is connected; again after `halt`."""
        since = self._log.stat().st_size
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kazoo_rec", "run", "--config", str(self._directory / "kazoo_rec.yaml"),
                 "--role", "engine,delivery"], stderr=log)
        self._until_logged("switch connected", since, within_s=BEGINS_WITHIN_S)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def halt(self, signal_number=signal.SIGTERM):
        self._process.send_signal(signal_number)
        until(lambda: self._process.poll() is not None, within_s=30)  # a plain wait would hold up the phones

    def log_size(self) -> int:
        return self._log.stat().st_size

    def until_logged(self, line: str, since: int):
        self._until_logged(line, since)

    def obey(self, rules: dict[str, dict], **account):
        """Puts `call_recording` into documents, named as in DOCUMENTS; all others have none; and `account` into those
        of accounts. From now on `recordings` tells only of calls to come."""
        self._seen |= {row["id"] for row in self._rows()}
        since = self._log.stat().st_size
        self._write(rules, account)
        self._process.send_signal(signal.SIGHUP)
        self._until_logged("documents read", since)

    def rows(self) -> list[dict]:
        """The recordings of calls since `obey`, however far they are."""
        return [row for row in self._rows() if row["id"] not in self._seen]

    def rows_ever(self) -> list[dict]:
        return self._rows()

    def until_rows(self, condition, within_s: float = 10):
        """Waits until there are recordings, and `condition` is true of the row of each."""
        until(lambda: (rows := self.rows()) and all(map(condition, rows)), within_s)

    def lose_rows(self, ids):
        """As a kill leaves them that comes before they are written. Nothing runs."""
        engine = create_engine(database.of(self._directory).url)
        with engine.begin() as connection:
            for one in ids:
                connection.execute(text("DELETE FROM recordings WHERE id = :id"), {"id": one})
        engine.dispose()

    def order(self, leg: str, action: str, **settings) -> list[dict]:
        """What the API would have the engine do with a leg of acme's; the leg's recordings afterwards."""
        self._store = self._store or Store(database.of(self._directory))
        engines = Engines(self._store)
        return engines.order(engines.find("acme", leg).engine, "acme", leg, action, settings, "the lab")["recordings"]

    def recorded_by_the_switch(self, leg: str) -> list[str]:
        """Paths below the recordings directory, one for each recording that the switch is making of a leg."""
        listed = self._switch.api(f"uuid_buglist {leg}")
        return re.findall(rf"<target>{self.recordings_dir}/(.+?)</target>", listed)

    def recordings(self) -> dict[str, Recording]:
        """As `finished`, by whose it is: "<account> <rule> <leg> <number of its phone, if it has one>", such as
        "acme callee.inbound B 1001"."""
        finished = self.finished()
        found = {self._whose(recording.row): recording for recording in finished}
        assert len(found) == len(finished), "one rule recorded one leg twice"
        return found

    def finished(self) -> list[Recording]:
        """Waits until the switch has no call, and the product nothing left to do; then every recording, the oldest
        first."""
        until(lambda: not self._switch.sessions)
        until(lambda: all(row["state"] in FINAL for row in self.rows()))
        rows, bodies = self.rows(), self.receiver.bodies
        until(lambda: all(row["id"] in bodies for row in rows if row["state"] == "recorded"))
        found = [Recording(row, bodies.get(row["id"], [None])[-1], self.receiver.paths.get(row["id"])) for row in rows]
        for recording in found:
            self._check(recording)
        return found

    def _check(self, recording):
        row, bodies = recording.row, self.receiver.bodies.get(recording.row["id"], [])
        if row["state"] == "recorded":
            assert [hashlib.sha256(body).hexdigest() for body in bodies] == [row["sha256"]]
        else:
            assert not bodies
            until(lambda: not list(self.recordings_dir.rglob(f"{row['id']}*")))

    @staticmethod
    def _whose(row):
        _, _, number = (row["device_id"] or "").rpartition("-")
        if number:
            phone = f"{row['account_id']}-{number}"
            assert (row["device_id"], row["user_id"]) == (f"dev-{phone}", f"usr-{phone}")
        return " ".join(filter(None, (row["account_id"], row["rule"], row["leg"], number)))

    def _rows(self):
        return [{**row, "spans": json.loads(row["spans"])} for row in self._ledger.recordings()]

    def _write(self, rules, account):
        assert rules.keys() <= DOCUMENTS.keys()
        self._obeyed += 1
        shutil.rmtree(self.documents, ignore_errors=True)
        flows = {f"acme/callflows/{id}": document for id, document in self.callflows.items()}
        for name, document in (DOCUMENTS | flows).items():
            file = self.documents / f"{name}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            said = {"call_recording": rules[name]} if name in rules else {}
            said |= account if name.endswith("/account") else {}
            file.write_text(yaml.safe_dump({**document, **said, "note": f"written {self._obeyed} times"}))

    def _until_logged(self, line, since, within_s=30):
        def logged():
            assert self._process.poll() is None, self._log.read_text()
            return line.encode() in self._log.read_bytes()[since:]
        until(logged, within_s)
