"""200 callflows at once, 20 new a second, against the engine: `PYTHONPATH=. python bench/callflow.py`.

This process is the switch of traffic.py, whose legs come by the dialplan's `socket` as well. Each call answers, is
recorded by `record_call`, hears three prompts of 3 s, and between them its recording stops and another starts. The
figure is from the write of each event that a flow waits for (`connect`'s reply, CHANNEL_EXECUTE_COMPLETE) until the
next command about its leg is read here, be it on the flow's socket or on a command connection, once 200 are up.
"""

import gc
import json
import shutil
import signal
import socket as sockets
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import gevent
import traffic
from gevent import socket
from traffic import DESTROYED, HUNG_UP, RECORD_STOP, A, Call, Switch, framed, percentiles, replied, said

from tests.traces import lines

GOAL_MS = 50
FLOWS_A_SECOND, PROMPT_S, PROMPTS = 20, 3.4, 3
SECONDS = 40
PLATEAU_S = PROMPT_S * PROMPTS

CHANNEL = next(line["headers"] for line in lines("outbound_socket") if line.get("command") == "connect")
NUMBER = CHANNEL["Caller-Destination-Number"]


def chain(*actions: dict) -> dict:
    """Each the next one's parent."""
    first, *others = actions
    return {**first, "children": {"_": chain(*others)}} if others else first


def record(action: str) -> dict:
    return {"module": "record_call", "data": {"action": action, "label": "talk"}}


PROMPT = {"module": "play", "data": {"id": "tone_stream://%(3300,0,440)"}}
DOCUMENTS = {
    **traffic.DOCUMENTS,
    "acme/account.json": {"realm": traffic.REALM, "country": "US"},
    "acme/callflows/talk.json": {"numbers": [NUMBER], "flow": chain(
        record("start"), PROMPT, record("stop"), record("start"), PROMPT, record("mask"), PROMPT)},
}


class Flows(Switch):
    """As Switch, with legs that open a socket each."""

    def __init__(self, flow_port: int):
        super().__init__()
        self.flow_port, self.up, self.begun = flow_port, 0, 0
        self.commands: list[tuple[int, int]] = []  #: (when read, since its event), ns
        self._since: dict[bytes, int] = {}

    def _api(self, words, read_ns):
        name, _, arguments = words.partition(b" ")
        uuid, _, rest = arguments.partition(b" ")
        self._heard(uuid, read_ns)
        leg = self.legs.get(uuid)
        if leg is not None and name == b"uuid_record" and rest.startswith(b"stop "):
            self._record_stopped(leg, rest.removeprefix(b"stop "))
            return b"+OK Success\n"
        return super()._api(words, read_ns)

    def _heard(self, uuid, read_ns):
        since = self._since.pop(uuid, None)
        if since is not None:
            self.commands.append((read_ns, read_ns - since))

    def call(self):
        call = Call()
        leg = call.a
        self.legs[leg.uuid] = leg
        self.begun, self.up = self.begun + 1, self.up + 1
        try:
            self._send(leg, traffic.CREATED[A])
            with socket.create_connection(("127.0.0.1", self.flow_port)) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as FreeSWITCH does
                self._converse(client, leg)
        finally:
            for _, told in leg.running:
                self._send(leg, RECORD_STOP[A], told)
            self._send(leg, HUNG_UP[A])
            self._send(leg, DESTROYED[A])
            del self.legs[leg.uuid]
            self._since.pop(leg.uuid, None)
            self.up -= 1

    def _converse(self, client, leg):
        left = b""
        while data := client.recv(65536):
            read_ns = time.monotonic_ns()
            *commands, left = (left + data).split(b"\n\n")
            for command in commands:
                if not self._obey(client, leg, command, read_ns):
                    return

    def _obey(self, client, leg, command, read_ns) -> bool:
        """False once the leg is hung up."""
        if command == b"connect":
            headers = {**CHANNEL, "Unique-ID": leg.uuid.decode(), "Content-Type": "command/reply",
                       "Reply-Text": "+OK\n", "Socket-Mode": "async", "Control": "full"}
            self._since[leg.uuid] = time.monotonic_ns()
            client.sendall("".join(f"{name}: {quote(text)}\n" for name, text in headers.items()).encode() + b"\n")
            return True
        self._heard(leg.uuid, read_ns)
        client.sendall(replied(b"+OK"))
        if not command.startswith(b"sendmsg"):
            return True
        said_of_it = dict(line.split(b": ", 1) for line in command.split(b"\n")[1:])
        if said_of_it[b"call-command"] == b"hangup":
            self._tell(client, leg, "CHANNEL_HANGUP", {"Hangup-Cause": "NORMAL_CLEARING"})
            return False
        name, execution = said_of_it[b"execute-app-name"].decode(), said_of_it[b"Event-UUID"].decode()
        if name == "answer" and not leg.answered:
            self._answered(None, leg)
            self._tell(client, leg, "CHANNEL_ANSWER", {})
        done = {"Application": name, "Application-UUID": execution}
        if name == "playback":
            gevent.spawn_later(PROMPT_S, self._done, client, leg, done)
        else:
            self._done(client, leg, done)
        return True

    def _done(self, client, leg, headers):
        self._since[leg.uuid] = time.monotonic_ns()
        self._tell(client, leg, "CHANNEL_EXECUTE_COMPLETE", headers)

    @staticmethod
    def _tell(client, leg, name, headers):
        body = {**CHANNEL, "Event-Name": name, "Unique-ID": leg.uuid.decode(), **headers}
        try:
            client.sendall(framed(json.dumps(body, separators=(",", ":")).encode()))
        except OSError:
            sys.exit("the engine closed the socket of a flow")

    def _record_stopped(self, leg, path):
        for one in [one for one in leg.running if one[0] == path]:
            leg.running.remove(one)
            self._send(leg, RECORD_STOP[A], one[1])


def free_port() -> int:
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> int:
    gc.disable()  # a pause of ours would be read as the engine's
    directory, flow_port = Path(tempfile.mkdtemp(prefix="kazoo_rec_bench_")), free_port()
    switch, calls = Flows(flow_port), []
    try:
        with traffic.engine(directory, switch.port, DOCUMENTS, callflow={"port": flow_port}) as pid:
            traffic.until(lambda: len(switch.listeners) > traffic.COMMAND_CONNECTIONS, 20,
                          "the engine's connections are not up")
            print(f"the engine is in the {traffic.scheduling_class(pid)} class", flush=True)
            begun, most = time.monotonic(), 0
            plateau_ns = int((begun + PLATEAU_S) * 1e9)
            busy_s = None
            for number in range(FLOWS_A_SECOND * SECONDS):
                gevent.sleep(max(0, begun + number / FLOWS_A_SECOND - time.monotonic()))
                calls.append(gevent.spawn(switch.call))
                most = max(most, switch.up)
                if busy_s is None and time.monotonic_ns() > plateau_ns:
                    busy_s = time.monotonic(), traffic.cpu_s(pid)
            cores = (traffic.cpu_s(pid) - busy_s[1]) / (time.monotonic() - busy_s[0])
            gevent.joinall(calls, timeout=2 * PLATEAU_S)
            gevent.sleep(2)
        with traffic.sqlite3.connect(directory / "kazoo_rec.db") as database:
            states = dict(database.execute("SELECT state, count(*) FROM recordings GROUP BY state"))
        complaints = (directory / "kazoo_rec.log").read_text().count("level=error")
    finally:
        switch.stop()
        shutil.rmtree(directory)
    waits = percentiles([wait for at, wait in switch.commands if at >= plateau_ns])
    lost = 2 * switch.begun - states.get("stopped", 0)
    print(f"{switch.begun} flows, {most} at once; recordings: {said(states)}; {complaints} errors; "
          f"the engine took {cores:.2f} cores")
    print(f"event to command, ms: {said(waits)}")
    ok = waits["p99"] <= GOAL_MS and not lost and most >= FLOWS_A_SECOND * PLATEAU_S
    print(json.dumps({"bench": "callflow", "value": waits["p99"], "peer": None, "ratio": None, "goal": GOAL_MS,
                      "ok": ok, "flows_at_once": most, "unrecorded": lost, "cores": round(cores, 2)}))
    return 0 if ok else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
