"""Events a second on one core, from the socket to a handler that reads 12 headers: `python bench/events.py`.

The same events, plain for greenswitch 0.0.19, which knows no other form, JSON for ours. One process sends what was made
before, on a core of its own; each client is a new process on another. Both must have read the same text in the end.
"""

import json
import os
import random
import re
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

GOAL = 6  #: times the peer's rate
MOST_MB = 100
ROUNDS = 5
EVENTS = 40_000  #: the peer keeps them all: 1.3 GB
DISTINCT = 800

#: What FreeSWITCH leaves unencoded.
SAFE = "/,()!*'$~"
#: Four of its events, from SIP calls.
REAL = Path(__file__).with_suffix(".jsonl")
NAMES = ("CHANNEL_ANSWER", "CHANNEL_BRIDGE", "RECORD_STOP", "CHANNEL_HANGUP_COMPLETE")
READ = ("Event-Name", "Unique-ID", "Core-UUID", "Event-Date-Timestamp", "Call-Direction", "Channel-Name",
        "Caller-Caller-ID-Name", "Caller-Caller-ID-Number", "Caller-Destination-Number", "Answer-State",
        "variable_sofia_profile_name", "variable_sip_call_id")


def made() -> Iterator[dict[str, str]]:
    """Four events of FreeSWITCH 1.10.12, each time with other UUIDs and numbers."""
    dice = random.Random(7)

    def other(found: re.Match) -> str:
        return "".join(dice.choice("0123456789") if digit.isdigit() else digit for digit in found[0])

    for line, _ in zip(cycle(REAL.read_text().splitlines()), range(DISTINCT), strict=False):
        yield json.loads(re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{9,}", other, line))


def plain(event: dict[str, str]) -> bytes:
    """As switch_event_serialize writes it; it encodes what is in SWITCH_URL_UNSAFE (switch_utils.h)."""
    lines = [f"{header}: {quote(text, safe=SAFE)}\n" for header, text in event.items()]
    return framed("".join([*lines, "\n"]).encode(), "plain")


def framed(body: bytes, form: str) -> bytes:
    return f"Content-Length: {len(body)}\nContent-Type: text/event-{form}\n\n".encode() + body


def serve():
    """Speaks as much of the event socket as it takes, and at `api go` sends EVENTS in the form subscribed to."""
    pin(0)
    events = list(made())
    bodies = [json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() for event in events]
    streams = {b"plain": b"".join(map(plain, events)), b"json": b"".join(framed(body, "json") for body in bodies)}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        counts = [len(event) for event in events]
        print(json.dumps({"port": listener.getsockname()[1], "headers": [min(counts), max(counts)],
                          "bytes": sum(map(len, bodies)) // DISTINCT}), flush=True)
        while True:
            client, _ = listener.accept()
            with client, client.makefile("rb") as lines:
                client.sendall(b"Content-Type: auth/request\n\n")
                for words in map(bytes.split, lines):
                    if not words:
                        continue
                    accepted = b" accepted" if words[0] == b"auth" else b""
                    client.sendall(b"Content-Type: command/reply\nReply-Text: +OK%s\n\n" % accepted)
                    if words[0] == b"event":
                        stream = streams[words[1]]
                    if words == [b"api", b"go"]:
                        for _ in range(EVENTS // DISTINCT):
                            client.sendall(stream)


def greenswitch(port: int) -> tuple[float, int]:
    """Seconds for all events, and how much text was read."""
    from gevent.event import Event
    from greenswitch import InboundESL

    client, done, count, size = InboundESL("127.0.0.1", port, "x"), Event(), 0, 0

    def handle(event):
        nonlocal count, size
        for header in READ:
            size += len(event.headers.get(header, ""))
        count += 1
        if count == EVENTS:
            done.set()

    client.connect()
    for name in NAMES:
        client.register_handle(name, handle)
    client.send(f"event plain {' '.join(NAMES)}")
    since = time.perf_counter()
    client.send("api go")
    done.wait()
    return time.perf_counter() - since, size


def kazoo_rec(port: int) -> tuple[float, int]:
    """As `greenswitch`."""
    from kazoo_rec.switch.connection import Connection

    client, size = Connection("127.0.0.1", port, "x"), 0
    client.connect()
    client.subscribe(NAMES)
    since = time.perf_counter()
    client.send("api go")
    for count, event in enumerate(client.events(), start=1):
        for header in READ:
            size += len(event.get(header))
        if count == EVENTS:
            break
    client.stop()
    return time.perf_counter() - since, size


def measure(client, port: int):
    pin(-1)
    seconds, size = client(port)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": EVENTS / seconds, "peak_mb": peak_mb, "read": size}), flush=True)
    os._exit(0)  # greenswitch's stop waits for greenlets of its own


def pin(which: int):
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[which]})


def run(*arguments: str) -> dict:
    return json.loads(subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True).stdout)


def main() -> int:
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE) as server:
        try:
            offer = json.loads(server.stdout.readline())
            print(f"{EVENTS} events of {offer['headers'][0]} to {offer['headers'][1]} headers, "
                  f"{offer['bytes']} bytes of JSON each; events/s:")
            peer, ours = [], []
            for number in range(1, ROUNDS + 1):
                peer.append(run("greenswitch", str(offer["port"])))
                ours.append(run("kazoo_rec", str(offer["port"])))
                print(f"  {number}: greenswitch {peer[-1]['rate']:7.0f}, {peer[-1]['peak_mb']:5.0f} MB;"
                      f"  kazoo_rec {ours[-1]['rate']:7.0f}, {ours[-1]['peak_mb']:3.0f} MB", flush=True)
        finally:
            server.kill()
    if len({one["read"] for one in peer + ours}) != 1:
        sys.exit("the two did not read the same")
    rate, of_peer = (statistics.median(one["rate"] for one in rounds) for rounds in (ours, peer))
    peak_mb, ratio = max(one["peak_mb"] for one in ours), rate / of_peer
    ok = ratio >= GOAL and peak_mb < MOST_MB
    print(json.dumps({"bench": "events", "value": round(rate), "peer": round(of_peer), "ratio": round(ratio, 2),
                      "goal": GOAL, "ok": ok, "peak_mb": round(peak_mb),
                      "peer_peak_mb": round(max(one["peak_mb"] for one in peer))}))
    return 0 if ok else 1


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            sys.exit(main())
        case ["serve"]:
            serve()
        case [client, port]:
            measure({"greenswitch": greenswitch, "kazoo_rec": kazoo_rec}[client], int(port))
