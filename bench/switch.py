"""Audio lost after the answer, on a real FreeSWITCH: `KAZOO_REC_FREESWITCH=host:port:password python bench/switch.py`.

400 calls of the carrier, 50 a second, reach a phone that rings for up to half a second; both sides say a tone for a
second. sipp is both sides (Debian's sip-tester, scenarios in bench/sipp), the switch is the lab of
tests/freeswitch/conf, all on this machine. Ours: `kazoo-rec run` with its defaults and 8 command connections records
the account's caller and the callee. The peer: the dialplan records both legs by itself with `record_session` at the
answer and the same variables, the best that the switch can do; no engine runs then. Five runs of
each, one after the other in turn.

What a leg lost is its talk less the length of its file. The talk is from Caller-Channel-Answered-Time to
Caller-Channel-Hangup-Time in the leg's CHANNEL_HANGUP_COMPLETE, the switch's own clock; the file is the one that
RECORD_START of that leg names, its length that of its samples on disk. An answered leg without RECORD_START or
without a file is unrecorded, one with a second RECORD_START is doubled.
"""

import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager, nullcontext
from pathlib import Path

import gevent
import greenswitch
import numpy as np
from gevent import subprocess

CALLS = 400
CALLS_A_SECOND = 50
RUNS = 5
PERCENTILES = (50, 95, 99)
GOAL_MS = 40  #: over the peer's p99
HEADER_BYTES, BYTES_PER_MS = 44, 32  #: two channels of 16 bits, 8 kHz
SCENARIOS = Path(__file__).with_name("sipp")
CALLEE_PORT, CALLER_PORT = 6101, 6102

#: Who is called: ours, and the same with the dialplan as recorder (tests/freeswitch/conf/dialplan.xml).
OURS, PEER = "15550004001", "15550004002"

DOCUMENTS = {
    "acme/account.json": {"realm": "acme.example", "country": "US", "numbers": [f"+{OURS}"], "call_recording": {
        "account": {"inbound": {"offnet": {"enabled": True}}},
        "endpoint": {"inbound": {"offnet": {"enabled": True}}},
    }},
    "acme/devices/1001.json": {"sip": {"username": "1001"}},
}


class Switch:
    """The event socket: commands, and what became of each leg."""

    def __init__(self, host: str, port: str, password: str):
        self.address = {"host": host, "port": int(port), "password": password}
        self._connection = greenswitch.InboundESL(host, int(port), password)
        self._connection.connect()
        self.talks_ms: dict[str, float] = {}
        self.files: dict[str, list[Path]] = defaultdict(list)
        self._connection.register_handle("CHANNEL_HANGUP_COMPLETE", self._ended)
        self._connection.register_handle("RECORD_START", self._started)
        self._connection.send("event plain CHANNEL_HANGUP_COMPLETE RECORD_START")

    def api(self, command: str) -> str:
        return self._connection.send(f"api {command}").data.strip()

    @property
    def sessions(self) -> int:
        """That the switch has now; `show channels` keeps a dead leg when its SQLite was busy at the end of it."""
        return int(re.search(r"^(\d+) session\(s\) - peak", self.api("status"), re.MULTILINE)[1])

    def forget(self):
        self.talks_ms.clear()
        self.files.clear()

    def _ended(self, event):
        answered, ended = (int(event.headers[f"Caller-Channel-{what}-Time"]) for what in ("Answered", "Hangup"))
        if answered:
            self.talks_ms[event.headers["Unique-ID"]] = (ended - answered) / 1000

    def _started(self, event):
        self.files[event.headers["Unique-ID"]].append(Path(event.headers["Record-File-Path"]))


def until(condition, within_s: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + within_s
    while not (found := condition()) and time.monotonic() < deadline:
        gevent.sleep(0.1)
    return found


@contextmanager
def running(*argv, **streams):
    """A child process, ended when the block is left."""
    child = subprocess.Popen([str(word) for word in argv], **streams)
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


def sipp(scenario: str, port: int, *more):
    return ("sipp", "-sf", SCENARIOS / f"{scenario}.xml", "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", port,
            "-nostdin", *more)


def place_calls(switch: Switch, directory: Path, number: str):
    """Places all calls and waits for their end."""
    switch.forget()
    quiet = {"cwd": directory, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with running(*sipp("callee", CALLEE_PORT), **quiet):
        caller = sipp("caller", CALLER_PORT, "127.0.0.1:5080", "-s", number, "-m", CALLS, "-r", CALLS_A_SECOND)
        with running(*caller, **quiet) as calling:
            if calling.wait(timeout=120):
                print("sipp: not every call came about")
        if not until(lambda: switch.sessions == 0, within_s=20):
            print("the switch still has legs that nobody talks on:", switch.sessions)
        gevent.sleep(1)


@contextmanager
def product(switch: Switch, directory: Path):
    """`kazoo-rec run`, connected."""
    for name, body in DOCUMENTS.items():
        file = directory / "documents" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(body))
    (directory / "recordings").mkdir()
    config, log = directory / "kazoo_rec.json", directory / "kazoo_rec.log"
    config.write_text(json.dumps({
        "node": "bench", "database": f"sqlite:///{directory}/kazoo_rec.db", "documents": str(directory / "documents"),
        "recordings_dir": str(directory / "recordings"),
        "switches": [{**switch.address, "command_connections": 8}]}))
    with log.open("wb") as written, running(
            sys.executable, "-m", "kazoo_rec", "run", "--config", config, "--role", "engine,delivery", stderr=written):
        if not until(lambda: b"switch connected" in log.read_bytes(), within_s=30):
            sys.exit(log.read_text())
        yield


def length_ms(file: Path) -> float:
    """Of a two-channel WAV, by its size: its header is not written before its end."""
    return (file.stat().st_size - HEADER_BYTES) / BYTES_PER_MS


def measured(switch: Switch) -> dict:
    """Of the legs of one run: how many, milliseconds lost by percentile, how many unrecorded and doubled."""
    recorded = {leg: files[0] for leg, files in switch.files.items() if files[0].exists()}
    lost = [talk_ms - length_ms(recorded[leg]) for leg, talk_ms in switch.talks_ms.items() if leg in recorded]
    return {
        "legs": len(switch.talks_ms),
        **{f"p{share}": float(np.percentile(lost, share)) for share in PERCENTILES},
        "unrecorded": len(switch.talks_ms.keys() - recorded.keys()),
        "doubled": sum(len(files) > 1 for files in switch.files.values()),
    }


def run(switch: Switch, number: str) -> dict:
    directory = Path(tempfile.mkdtemp(prefix="kazoo_rec_bench_"))
    directory.chmod(0o777)
    try:
        # A second of 440 Hz in μ-law would do as silence does; noise costs every encoder the same.
        (directory / "tone.ulaw").write_bytes(np.random.default_rng(1).integers(0, 256, 80_000, np.uint8).tobytes())
        switch.api(f"global_setvar bench_dir={directory}")
        with product(switch, directory) if number == OURS else nullcontext():
            place_calls(switch, directory, number)
        return measured(switch)
    finally:
        shutil.rmtree(directory)


def main():
    address = os.environ.get("KAZOO_REC_FREESWITCH")
    if not address:
        print("NOT RUN: KAZOO_REC_FREESWITCH=host:port:password names no switch")
        sys.exit(2)
    if not shutil.which("sipp"):
        print("NOT RUN: there is no sipp (Debian: sip-tester)")
        sys.exit(2)
    switch = Switch(*address.split(":", 2))
    if switch.api("global_getvar kazoo_rec_lab") != "1":
        print(f"NOT RUN: {address.rpartition(':')[0]} does not run tests/freeswitch/conf")
        sys.exit(2)
    subprocess.check_call([str(word) for word in sipp(
        "register", CALLER_PORT, "127.0.0.1:5060", "-m", 1, "-key", "callee_port", CALLEE_PORT)],
        stdout=subprocess.DEVNULL)
    print(switch.api("version"))
    runs = {OURS: [], PEER: []}
    for number in (PEER, OURS) * RUNS:
        found = run(switch, number)
        runs[number].append(found)
        print("ours" if number == OURS else "peer", *(f"{name} {value:g}" for name, value in found.items()), sep="  ")
    ours, peer = ({f"p{share}": statistics.median(found[f"p{share}"] for found in runs[number])
                   for share in PERCENTILES} for number in (OURS, PEER))
    unrecorded, doubled = (sum(found[what] for found in runs[OURS]) for what in ("unrecorded", "doubled"))
    ok = ours["p99"] <= peer["p99"] + GOAL_MS and not unrecorded and not doubled
    print(json.dumps({
        "bench": "switch", "value": ours["p99"], "peer": peer["p99"], "ratio": round(ours["p99"] / peer["p99"], 2),
        "goal": peer["p99"] + GOAL_MS, "ok": ok, "ours_ms": ours, "peer_ms": peer, "unrecorded": unrecorded,
        "doubled": doubled}))
    sys.exit(not ok)


if __name__ == "__main__":
    main()
