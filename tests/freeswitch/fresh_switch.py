"""A FreeSWITCH on freeswitch-conf/ exactly as it is in the repository, and the engine on freeswitch-conf/kazoo_rec/."""

import json
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import yaml

from tests.freeswitch.conftest import Switch
from tests.freeswitch.product import FINAL, until
from tests.freeswitch.sound import Wav

SHIPPED = Path(__file__).parents[2] / "freeswitch-conf"
#: What is not ours: freeswitch.xml, the sofia profiles, and settings of no matter here.
REST = Path(__file__).parent / "fresh"

#: As an operator writes it; see freeswitch-conf/README.md.
SITE = """<include>
  <X-PRE-PROCESS cmd="set" data="event_socket_password={event_socket_password}"/>
  <X-PRE-PROCESS cmd="set" data="sip_password={sip_password}"/>
  <X-PRE-PROCESS cmd="set" data="carrier_proxy=127.0.0.1:5090"/>
  <X-PRE-PROCESS cmd="set" data="carrier_cidr=127.0.0.1/32"/>
</include>
"""


class FreshSwitch:
    """Runs `program` below `directory`; needs ports 5060, 5080 and 8021 of 127.0.0.1, and a carrier at 5090."""

    def __init__(self, program: str, directory: Path):
        self._program, self._directory = program, directory
        self.conf = directory / "conf"
        self.event_socket_password, self.sip_password = secrets.token_hex(16), secrets.token_hex(16)
        shutil.copytree(REST, self.conf)
        for name in ("autoload_configs", "dialplan", "directory", "sip_profiles"):
            shutil.copytree(SHIPPED / name, self.conf / name, dirs_exist_ok=True)

    def choose(self):
        """What the operator has to choose."""
        (self.conf / "kazoo_rec.xml").write_text(SITE.format(**vars(self)))

    def start(self):
        places = []
        for name in ("log", "db", "run", "storage", "recordings", "scripts", "temp", "certs", "cache"):
            (self._directory / name).mkdir(exist_ok=True)
            places += [f"-{name}", str(self._directory / name)]
        with (self._directory / "console").open("wb") as console:
            self._process = subprocess.Popen(
                [self._program, "-nonat", "-np", "-nf", "-nc", "-conf", str(self.conf), *places],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)

    def connected(self) -> Switch:
        """Its event socket, once everything is loaded."""
        def connect():
            assert self._process.poll() is None, (self._directory / "console").read_text(errors="replace")[-2000:]
            try:
                return Switch("127.0.0.1", 8021, self.event_socket_password)
            except OSError:
                return None
        switch = until(connect, within_s=60)
        until(lambda: "NOREG" in switch.api("sofia status gateway carrier"), within_s=60)
        return switch

    def complaints(self) -> list[str]:
        log = (self._directory / "log" / "freeswitch.log").read_text(errors="replace")
        return [line for line in log.splitlines() if "[ERR]" in line or "[CRIT]" in line]

    def kill(self):
        """As the kernel does it when memory is short."""
        self._process.kill()
        until(lambda: self._process.poll() is not None, within_s=30)

    def stop(self):
        self._process.terminate()
        until(lambda: self._process.poll() is not None, within_s=30)


class Engine:
    """`kazoo-rec run` on the shipped configuration and documents, which record every call of the account; here also
    for each phone, as WAV with both sides apart."""

    def __init__(self, directory: Path, switch: Switch):
        self._directory, self._password = directory, switch.password
        self._recordings = directory / "recordings"
        self._recordings.mkdir()
        self._seen: set[str] = set()
        self._database, self._log = directory / "kazoo_rec.db", directory / "kazoo_rec.log"
        shutil.copytree(SHIPPED / "kazoo_rec", directory / "conf")
        self._change("kazoo_rec.yaml", recordings_dir=str(self._recordings), database=f"sqlite:///{self._database}")
        recorded = {"any": {"any": {"enabled": True, "format": "wav", "channels": "dual"}}}
        self._change("documents/acme/account.yaml", call_recording={"account": recorded, "endpoint": recorded})

    def start(self):
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kazoo_rec", "run", "--config", str(self._directory / "conf/kazoo_rec.yaml"),
                 "--role", "engine,delivery"], stderr=log, env={**os.environ, "ESL_PASSWORD": self._password})
        until(lambda: "switch connected" in self._log.read_text(), within_s=30)

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        until(lambda: self._process.poll() is not None, within_s=30)

    def recorded(self, count: int) -> dict[str, Wav]:
        """Waits until `count` recordings have been finished since the last question; each by "<rule> <leg> <user>"."""
        def finished():
            rows = self._rows()
            return rows if len(rows) == count and all(row["state"] in FINAL for row in rows) else None
        rows = until(finished, within_s=20)
        self._seen |= {row["id"] for row in rows}
        assert {(row["account_id"], row["state"], row["partial"]) for row in rows} == {("acme", "recorded", 0)}
        for row in rows:
            assert row["device_id"] == (row["user_id"] and f"{row['user_id']}-desk")
        return {f"{row['rule']} {row['leg']} {row['user_id'] or '-'}":
                Wav.read((self._recordings / row["file"]).read_bytes()) for row in rows}

    def _rows(self):
        connection = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        try:
            rows = connection.execute("SELECT * FROM recordings ORDER BY created_ms").fetchall()
        finally:
            connection.close()
        return [row for row in rows if row["id"] not in self._seen]

    def _change(self, name, **said):
        file = self._directory / "conf" / name
        file.write_text(json.dumps({**yaml.safe_load(file.read_text()), **said}))
