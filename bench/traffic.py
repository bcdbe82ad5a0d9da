"""100 calls a second, 5,000 up, against the engine: `PYTHONPATH=. python bench/traffic.py [--minutes 17]`.

This process is the switch: an event socket that answers what the engine asks and sends the events of
tests/traces/onnet_to_onnet.jsonl with other UUIDs, 15 a call. No sound flows. The engine is `kazoo-rec run --role
engine` with its defaults, a database on this disk and documents by which both legs are recorded. Three figures:

- from the write of a leg's CHANNEL_CREATE until its arming command is read here, from when 5,000 calls are up;
- 2,000 events a second in bursts of 40: from the write of each until a handler has it, behind a `Connection` in a
  process of its own, before the calls;
- the engine's resident memory, and its slope once 5,000 calls have been up for 5.5 minutes, of runs that are long
  enough.

All times are CLOCK_MONOTONIC, in which both processes read the same.
"""

import argparse
import gc
import heapq
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter, deque
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import gevent
import numpy as np
from gevent import subprocess
from gevent.lock import BoundedSemaphore
from gevent.server import StreamServer

from kazoo_rec.roles import priority
from kazoo_rec.switch import replies
from kazoo_rec.switch.connection import Connection
from kazoo_rec.switch.pool import SIZE as COMMAND_CONNECTIONS
from tests.traces import events, lines

GOAL_MS = 20
BURST_GOAL_MS = 2
MOST_MB = 300
MOST_SLOPE_MB = 1  #: in ten minutes

CALLS_A_SECOND = 100
CALL_S = 50
RINGING_S = (0.2, 1.0)
ACCEPTING_S = 0.013  #: from the callee's answer to the caller's, as in the trace
SLOPE_AFTER_MIN = 5  #: of less, the slope says nothing
SETTLES_S = 330  #: with 5,000 calls up, until memory counts: all that is done each five minutes was done once

BURST_EVENTS, BURST_EVERY_S, BURST_S = 40, 0.02, 15
HEARTBEAT_EVERY_S = 20
TURN_S = 1e-6  #: sleep(0) would not let sockets have their turn

ROOT = Path(__file__).parents[1]
REALM, CALLER, CALLEE = "acme.example", "1000", "1001"
DOCUMENTS = {
    "acme/account.json": {"realm": REALM, "country": "US", "call_recording": {
        "account": {"inbound": {"onnet": {"enabled": True}}},
        "endpoint": {"inbound": {"onnet": {"enabled": True}}},
    }},
    "acme/devices/1000.json": {"sip": {"username": CALLER}},
    "acme/devices/1001.json": {"sip": {"username": CALLEE}},
}

TRACE = list(events("onnet_to_onnet"))
A, B = dict.fromkeys(event["Unique-ID"] for event in TRACE)
CORE = TRACE[0]["Core-UUID"]
ROWS = next(replies.channels(line["reply"]) for line in lines("reconnect_midcall")
            if line.get("command") == "api show channels as json")[:2]

#: execute_on_answer_<id>=record_session <path> +<seconds> {<variables>}
ARMING = re.compile(rb"(execute_on_answer_[0-9a-f-]+)=(record_session (\S+) \+\d+ \{([^}]*)\})")
#: <uuid> start <path> <seconds> {<variables>}
START = re.compile(rb"(\S+) start (\S+) \d+ \{([^}]*)\}")


def framed(body: bytes) -> bytes:
    return b"Content-Length: %d\nContent-Type: text/event-json\n\n%b" % (len(body), body)


def replied(text: bytes) -> bytes:
    return b"Content-Type: command/reply\nReply-Text: %b\n\n" % text


def pairs(headers: dict[str, str]) -> bytes:
    """Headers as they stand in JSON behind others."""
    return json.dumps({"": "", **headers}, separators=(",", ":")).encode().removeprefix(b'{"":""').removesuffix(b"}")


class Template:
    """An event of the trace, to be sent of other legs. `like` is the one whose headers it has, where not its own."""

    CHANGING = ("Event-Date-Timestamp", "Record-File-Path", "Media-Bug-Target", "Recording-Variable-rec_id",
                "Recording-Variable-RECORD_STEREO")

    def __init__(self, name: str, leg: str, like: str | None = None):
        headers = next(event for event in TRACE
                       if event["Event-Name"] == (like or name) and event["Unique-ID"] == leg)
        headers = {header: text for header, text in headers.items() if header not in self.CHANGING}
        body = json.dumps({**headers, "Event-Name": name}, ensure_ascii=False, separators=(",", ":"))
        self._body = body.removesuffix("}").encode()

    def body(self, a: bytes, b: bytes, more: bytes = b"") -> bytes:
        """`a` and `b` are the legs, `more` headers as `pairs` gives them."""
        body = self._body.replace(A.encode(), a).replace(B.encode(), b)
        return b'%b,"Event-Date-Timestamp":"%d"%b}' % (body, time.time_ns() // 1000, more)


CREATED = {leg: Template("CHANNEL_CREATE", leg) for leg in (A, B)}
ANSWERED = {leg: Template("CHANNEL_ANSWER", leg) for leg in (A, B)}
BRIDGED = Template("CHANNEL_BRIDGE", A)
RECORD_START = {A: Template("RECORD_START", A), B: Template("RECORD_START", B, like="CALL_UPDATE")}
BUG_START = {A: Template("MEDIA_BUG_START", A), B: Template("MEDIA_BUG_START", B, like="CALL_UPDATE")}
RECORD_STOP = {A: Template("RECORD_STOP", A), B: Template("RECORD_STOP", B, like="CHANNEL_HANGUP")}
HUNG_UP = {leg: Template("CHANNEL_HANGUP_COMPLETE", leg) for leg in (A, B)}
DESTROYED = {leg: Template("CHANNEL_DESTROY", leg) for leg in (A, B)}


class Leg:
    """`which` of the trace's it is; `armings` by variable, `running` the (path, Recording-Variable-*) that run."""

    __slots__ = ("answered", "armed", "armings", "call", "created_ns", "running", "uuid", "which")

    def __init__(self, call, which: str):
        self.call, self.which, self.uuid = call, which, b"%08x-0000-4000-8000-%012x" % (
            random.getrandbits(32), random.getrandbits(48))
        self.created_ns, self.armed, self.answered, self.armings, self.running = 0, False, False, {}, []

    def variables(self) -> bytes:
        return pairs({f"variable_{name.decode()}": value.decode() for name, (value, _, _) in self.armings.items()})


class Call:
    __slots__ = ("a", "b")

    def __init__(self):
        self.a, self.b = Leg(self, A), Leg(self, B)


class Switch:
    """As much of FreeSWITCH's event socket as the engine needs, and the calls."""

    def __init__(self):
        self.legs: dict[bytes, Leg] = {}
        self.waits: deque[tuple[int, int]] = deque()  #: (when created, until armed) of each leg, ns
        self.made = self.unarmed = self.behind_ns = 0
        self.listeners, self.engine = [], None
        self._sending = BoundedSemaphore()
        self._due, self._order = [], count()
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.port = self._server.server_port
        self._beating = gevent.spawn(self._beat)

    def stop(self):
        self._beating.kill()
        self._server.stop(timeout=1)

    # -- what is asked

    def _serve(self, client, _address):
        client.sendall(b"Content-Type: auth/request\n\n")
        left = b""
        try:
            while data := client.recv(65536):
                read_ns = time.monotonic_ns()
                *commands, left = (left + data).split(b"\n\n")
                for command in commands:
                    client.sendall(self._answer(client, command, read_ns))
        except OSError:  # the engine is gone; who sends events hears of it
            pass
        finally:
            if client in self.listeners:
                self.listeners.remove(client)

    def _answer(self, client, command, read_ns):
        verb, _, words = command.partition(b" ")
        if verb == b"api":
            text = self._api(words, read_ns)
            return b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(text), text)
        if verb == b"event":
            self.listeners.append(client)
            if b"CHANNEL_CREATE" in words:
                self.engine = client
        return replied({b"auth": b"+OK accepted", b"event": b"+OK event listener enabled json",
                        b"sendevent": b"+OK 5f2e1c4a-7d0b-4f43-9c1e-0a6b2d9e8f17", b"log": b"+OK log level crit [2]"
                        }.get(verb, b"-ERR command not found"))

    def _api(self, words, read_ns):
        name, _, arguments = words.partition(b" ")
        uuid, _, rest = arguments.partition(b" ")
        leg = self.legs.get(uuid)
        if name == b"conference":
            return b"-ERR conference Command not found!\n"
        if name == b"global_getvar":
            return CORE.encode()
        if name == b"show":
            return self._channels() if uuid == b"channels" else b'{"row_count": 0}\n'
        if name == b"uuid_exists":
            return b"true" if leg else b"false"
        if leg is None:
            return b"-ERR No such channel!\n"
        if name == b"uuid_setvar_multi":
            if not leg.armed:
                leg.armed = True
                self.waits.append((leg.created_ns, read_ns - leg.created_ns))
            for variable, value, path, variables in ARMING.findall(rest):
                leg.armings[variable] = (value, path, variables)
        elif name == b"uuid_record" and (start := START.match(arguments)):
            self._record(leg, start[2], start[3])
        elif name == b"uuid_dump":
            template = (ANSWERED if leg.answered else CREATED)[leg.which]
            return template.body(leg.call.a.uuid, leg.call.b.uuid, leg.variables())
        elif name == b"uuid_buglist":
            return b"".join(b"<function>session_record</function>\n<target>%b</target>\n" % path
                            for path, _ in leg.running)
        return b"+OK\n"

    def _channels(self):
        rows = []
        for leg in self.legs.values():
            row = ROWS[0] if leg.which == A else ROWS[1]
            rows.append({**row, "uuid": leg.uuid.decode(), "call_uuid": leg.call.a.uuid.decode()})
        return json.dumps({"row_count": len(rows), "rows": rows}, separators=(",", ":")).encode()

    # -- what happens

    def run(self, seconds: float):
        """Calls for so long; those that are up then are left."""
        begun = time.monotonic_ns()
        end = begun + int(seconds * 1e9)
        self._at(begun, self._next)
        while self._due[0][0] < end:
            gevent.sleep(max((self._due[0][0] - time.monotonic_ns()) / 1e9, TURN_S))
            due, _, step, arguments = heapq.heappop(self._due)
            self.behind_ns = max(self.behind_ns, time.monotonic_ns() - due)
            step(due, *arguments)

    def _at(self, due_ns, step, *arguments):
        heapq.heappush(self._due, (int(due_ns), next(self._order), step, arguments))

    def _next(self, due):
        self._at(due + 1e9 / CALLS_A_SECOND, self._next)
        call = Call()
        self._created(call)
        answered = due + random.uniform(*RINGING_S) * 1e9
        self._at(answered, self._answered, call.b)
        self._at(answered + ACCEPTING_S * 1e9, self._accepted, call)
        self._at(due + CALL_S * 1e9, self._ended, call)

    def _created(self, call):
        for leg in (call.a, call.b):
            self.legs[leg.uuid] = leg
            leg.created_ns = time.monotonic_ns()
            self._send(leg, CREATED[leg.which])
        self.made += 1

    def _answered(self, _due, leg):
        leg.answered = True
        self.unarmed += not leg.armings
        self._send(leg, ANSWERED[leg.which], leg.variables())
        for _, path, variables in leg.armings.values():
            self._record(leg, path, variables)

    def _accepted(self, due, call):
        self._answered(due, call.a)
        self._send(call.a, BRIDGED)

    def _record(self, leg, path, variables):
        told = dict(word.split("=", 1) for word in variables.decode().split(","))
        told = pairs({"Record-File-Path": path.decode(),
                      **{f"Recording-Variable-{name}": value for name, value in told.items()}})
        leg.running.append((path, told))
        self._send(leg, RECORD_START[leg.which], told)
        self._send(leg, BUG_START[leg.which], pairs({"Media-Bug-Target": path.decode()}))

    def _ended(self, _due, call):
        for leg in (call.a, call.b):
            for _, told in leg.running:
                self._send(leg, RECORD_STOP[leg.which], told)
            self._send(leg, HUNG_UP[leg.which])
            self._send(leg, DESTROYED[leg.which])
            del self.legs[leg.uuid]

    def _send(self, leg, template, more=b""):
        with self._sending:  # a start by command is another greenlet's
            self.engine.sendall(framed(template.body(leg.call.a.uuid, leg.call.b.uuid, more)))

    def _beat(self):
        beat = framed(json.dumps({"Event-Name": "HEARTBEAT", "Core-UUID": CORE}, separators=(",", ":")).encode())
        while True:
            gevent.sleep(HEARTBEAT_EVERY_S)
            for client in self.listeners:
                with self._sending:
                    client.sendall(beat)

    def burst(self, seconds: float):
        """Events for the child, each with the time of its write, in bursts."""
        kinds = [*CREATED.values(), *ANSWERED.values(), BRIDGED, *RECORD_START.values(), *BUG_START.values(),
                 *RECORD_STOP.values(), *HUNG_UP.values(), *DESTROYED.values()]
        next_at = time.monotonic()
        for number in range(int(seconds / BURST_EVERY_S)):
            for position in range(BURST_EVENTS):
                template = kinds[(number * BURST_EVENTS + position) % len(kinds)]
                sent = b',"Sent-Ns":"%d"' % time.monotonic_ns()
                self.engine.sendall(framed(template.body(A.encode(), B.encode(), sent)))
            next_at += BURST_EVERY_S
            gevent.sleep(max(next_at - time.monotonic(), TURN_S))
        self.engine.sendall(framed(b'{"Event-Name":"SHUTDOWN"}'))


def hear_bursts(port: int):
    """The child: how long each event took to the handler, in the engine's scheduling class."""
    priority.with_the_switch()
    client, waits = Connection("127.0.0.1", port, "x"), []
    client.connect()
    client.subscribe(["CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_BRIDGE", "CHANNEL_HANGUP_COMPLETE",
                      "CHANNEL_DESTROY", "RECORD_START", "RECORD_STOP", "MEDIA_BUG_START", "SHUTDOWN"])
    for event in client.events():
        if event.name == "SHUTDOWN":
            break
        waits.append(time.monotonic_ns() - int(event.get("Sent-Ns")))
    client.stop()
    print(json.dumps(waits))


def burst_waits() -> list[int]:
    switch = Switch()
    child = subprocess.Popen([sys.executable, __file__, "--hear-bursts", str(switch.port)], stdout=subprocess.PIPE)
    try:
        until(lambda: switch.engine, 20, "the child did not connect")
        gevent.sleep(0.5)
        switch.burst(BURST_S)
        return json.loads(child.communicate(timeout=20)[0])
    finally:
        child.kill()
        child.wait()
        switch.stop()


def until(condition, within_s: float, otherwise: str):
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            sys.exit(otherwise)
        gevent.sleep(0.1)
    return found


@contextmanager
def engine(directory: Path, port: int, documents=DOCUMENTS, before=(), **more):
    """`kazoo-rec run --role engine`, its configuration with `more`, its command behind `before`; gives the process id
    of the engine itself."""
    for name, body in documents.items():
        file = directory / "documents" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(body))
    config, log = directory / "kazoo_rec.json", directory / "kazoo_rec.log"
    config.write_text(json.dumps({
        "node": "bench", "database": f"sqlite:///{directory}/kazoo_rec.db", "documents": str(directory / "documents"),
        "recordings_dir": str(directory / "recordings"), "switches": [{"port": port, "password": "x"}], **more}))
    (directory / "recordings").mkdir()
    with log.open("wb") as written:
        argv = [*before, sys.executable, "-m", "kazoo_rec", "run", "--config", str(config), "--role", "engine"]
        child = subprocess.Popen(argv, cwd=ROOT, stderr=written)
    try:
        started = until(lambda: re.search(r"pid=(\d+)", log.read_text()), 30, "the engine did not start")
        until(lambda: "switch connected" in log.read_text(), 30, "the engine did not connect")
        yield int(started[1])
    finally:
        child.terminate()
        try:
            child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def scheduling_class(pid: int) -> str:
    names = {os.SCHED_OTHER: "ordinary", os.SCHED_RR: "realtime (SCHED_RR)", os.SCHED_FIFO: "realtime (SCHED_FIFO)"}
    return names.get(os.sched_getscheduler(pid), "another")


def memory_mb(pid: int, what: str) -> float:
    return int(re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def watch(pid: int, samples: list):
    """Adds (seconds, MB, seconds of processor) every second."""
    while True:
        samples.append((time.monotonic(), memory_mb(pid, "VmRSS"), cpu_s(pid)))
        gevent.sleep(1)


def percentiles(waits_ns) -> dict[str, float]:
    found = {f"p{share}": np.percentile(waits_ns, share) for share in (50, 95, 99)}
    return {name: round(float(value) / 1e6, 2) for name, value in {**found, "max": max(waits_ns)}.items()}


def said(figures: dict) -> str:
    return "  ".join(f"{name} {value:g}" for name, value in figures.items())


def traffic(minutes: float) -> dict:
    """Figures of the calls."""
    directory = Path(tempfile.mkdtemp(prefix="kazoo_rec_bench_"))
    switch, samples = Switch(), []
    try:
        with engine(directory, switch.port) as pid:
            until(lambda: len(switch.listeners) > COMMAND_CONNECTIONS, 20, "the engine's connections are not up")
            stands = scheduling_class(pid)
            print(f"the engine is in the {stands} class; {minutes:g} minutes of calls", flush=True)
            watching = gevent.spawn(watch, pid, samples)
            plateau = time.monotonic() + CALL_S
            switch.run(minutes * 60)
            gevent.sleep(2)
            watching.kill()
            peak_mb = memory_mb(pid, "VmHWM")
        with sqlite3.connect(directory / "kazoo_rec.db") as database:
            states = dict(database.execute("SELECT state, count(*) FROM recordings GROUP BY state"))
        log = (directory / "kazoo_rec.log").read_text()
    finally:
        switch.stop()
        shutil.rmtree(directory)
    samples = [sample for sample in samples if sample[0] >= plateau]
    seconds, resident, busy = zip(*samples, strict=True)
    minutes = {int((at - plateau) // 60): mb for at, mb, _ in samples}
    settled, slope_mb = [(at, mb) for at, mb, _ in samples if at >= plateau + SETTLES_S], None
    if settled and settled[-1][0] - settled[0][0] >= SLOPE_AFTER_MIN * 60:
        slope_mb = round(statistics.linear_regression(*zip(*settled, strict=True)).slope * 600, 2)
    return {
        "waits_ms": percentiles([wait for at, wait in switch.waits if at >= plateau * 1e9]),
        "calls": switch.made, "up": len(switch.legs) // 2,
        "ringing": sum(not leg.answered for leg in switch.legs.values()), "states": states, "unarmed": switch.unarmed,
        "complaints": Counter(re.findall(r'level=(?:warning|error) .*?event=("[^"]*"|\S+)', log)),
        "behind_ms": switch.behind_ns / 1e6, "class": stands,
        "rss_mb": resident[-1], "minutes_mb": list(minutes.values()), "peak_mb": peak_mb, "slope_mb": slope_mb,
        "cores": (busy[-1] - busy[0]) / (seconds[-1] - seconds[0])}


def main(minutes: float) -> int:
    gc.disable()  # nothing here is in a cycle, and a pause of ours would be read as the engine's
    burst = percentiles(burst_waits())
    print(f"event to handler, {BURST_EVENTS / BURST_EVERY_S:g}/s in bursts of {BURST_EVENTS}, ms: {said(burst)}",
          flush=True)
    found = traffic(minutes)
    waits, slope_mb = found["waits_ms"], found["slope_mb"]
    print(f"{found['calls']} calls, {found['up']} up at the end; recordings: {said(found['states'])}; "
          f"{found['unarmed']} legs answered before they were armed; warnings and errors: {dict(found['complaints'])}")
    print(f"this process was up to {found['behind_ms']:.1f} ms late with its events; "
          f"the engine took {found['cores']:.2f} cores")
    print(f"event to command, ms: {said(waits)}")
    print("the engine's memory, MB, by minutes with 5,000 calls up: " + ", ".join(
        f"{mb:.1f}" for mb in found["minutes_mb"]))
    print(f"the engine's memory: {found['rss_mb']:.0f} MB, at most {found['peak_mb']:.0f} MB; " + (
        f"slope not measured, which takes {CALL_S + SETTLES_S + SLOPE_AFTER_MIN * 60} s"
        if slope_mb is None else f"slope {slope_mb:+.2f} MB in ten minutes"))
    recorded = sum(found["states"].get(state, 0) for state in ("recording", "stopped"))
    lost = 2 * found["calls"] - found["ringing"] - recorded
    ok = (waits["p99"] <= GOAL_MS and burst["p99"] <= BURST_GOAL_MS and found["peak_mb"] <= MOST_MB
          and (slope_mb is None or slope_mb < MOST_SLOPE_MB) and not lost)
    print(json.dumps({
        "bench": "traffic", "value": waits["p99"], "peer": None, "ratio": None, "goal": GOAL_MS, "ok": ok,
        "burst_p99_ms": burst["p99"], "rss_mb": round(found["rss_mb"], 1), "peak_mb": round(found["peak_mb"], 1),
        "slope_mb": slope_mb, "unrecorded": lost, "unarmed": found["unarmed"], "class": found["class"],
        "cores": round(found["cores"], 2)}))
    return 0 if ok else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=17, help="of calls; at least 1")
    parser.add_argument("--hear-bursts", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.minutes < 1:
        parser.error(f"calls last {CALL_S} s: it takes a minute until there is something to measure")
    if arguments.hear_bursts:
        hear_bursts(arguments.hear_bursts)
    else:
        sys.exit(main(arguments.minutes))
