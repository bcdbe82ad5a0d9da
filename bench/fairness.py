"""What dead servers and floods take from others: `python bench/fairness.py`.

Four accounts' recordings go to a server of each on this host that takes them, and answers after 200 ms as one far away
would: so the sixteen places are what limits them, and not this host's processors. Then again with others beside them:
a server that refuses, one that takes up no connection (each attempt waits 10 s), twenty of these, each with an older
backlog of an account of its own; and one account's flood to four servers that are well. Each round measures the four
alone as well; the ratio is of their uploads a second with and without the others, the median of the rounds. Beside
"nothing" it shows how much two runs differ by themselves. A dead server may take a tenth, a flood a fifth: its share,
as it is one of five accounts.

`python bench/fairness.py backlog` has 100,000 recordings of ten accounts wait for a server that answers at once when
delivery starts: ms of processor for each upload, beside those with a backlog of 2,000; uploads a second, seconds from
its start to the first, memory, and by how much an account's came out of order of age. Then all 100,000 are delivered,
by three processes that are killed one after the other.
"""

import hashlib
import json
import os
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from heapq import heappop, heappush
from pathlib import Path
from tempfile import TemporaryDirectory

GOAL, FLOOD_GOAL = 0.9, 0.75
ROUNDS = 3
WELL, FILES, FILE_BYTES, ANSWER_S = 4, 150, 50_000, 0.2  #: accounts, recordings of each
OLDER_MS = 600_000
DEAD_BACKLOG = 1_000  #: of each dead server
BACKLOG = 100_000
DRAINED = (0.3, 0.6, 1.0)  #: of it, when one process after the other is killed
MOST_S, DRAINED_MOST_S = 300, 900
NODE = "fs1"
#: What is beside them: (name, servers that refuse, that take up no connection, recordings of the flood to each server).
BESIDE = (("nothing", 0, 0, 0), ("refusing", 1, 0, 0), ("unconnected", 0, 1, 0), ("twenty unconnected", 0, 20, 0),
          ("flood", 0, 0, 2 * FILES))


def serve(ports: int, answer_s: float):
    """Answers each PUT 201, `answer_s` after its body has come, and remembers the ids in order; a GET has them."""
    came, block, later = [], memoryview(bytearray(262_144)), []

    def converse(client):
        read = b""
        while True:
            while b"\r\n\r\n" not in read:
                yield
                got = client.recv(len(block))
                if not got:
                    return
                read += got
            head, _, body = read.partition(b"\r\n\r\n")
            if head.startswith(b"GET "):
                client.sendall(json.dumps(came).encode())
                return
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
            left = int(fields["Content-Length"]) - len(body)
            while left:
                yield
                left -= client.recv_into(block, min(left, len(block)))
            came.append((fields["Idempotency-Key"], time.monotonic()))
            yield answer_s
            client.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            read = b""

    def go_on(client, conversation):
        try:
            wait_s = next(conversation)
        except (StopIteration, ConnectionError):
            client.close()
            return
        if wait_s is None:
            ready.register(client, selectors.EVENT_READ, conversation)
        else:
            heappush(later, (time.monotonic() + wait_s, id(client), client, conversation))

    listeners = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(ports)]
    print(*(listener.getsockname()[1] for listener in listeners), flush=True)
    with selectors.DefaultSelector() as ready:
        for listener in listeners:
            ready.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select(max(0, later[0][0] - time.monotonic()) if later else None):
                if key.fileobj in listeners:
                    client, _ = key.fileobj.accept()
                    go_on(client, converse(client))
                else:
                    ready.unregister(key.fileobj)
                    go_on(key.fileobj, key.data)
            while later and later[0][0] <= time.monotonic():
                *_, client, conversation = heappop(later)
                go_on(client, conversation)


def rows(account: str, port: int, count: int, now_ms: int, age_ms: int, sha256: str):
    """Recordings that are finished and due, the oldest first, all with one file, and their uploads."""
    for number in range(count):
        recording_id = f"202611-{account}.{port}-{number:06}"
        yield {
            "id": recording_id, "node": NODE, "account_id": account, "call_id": f"leg-{number}",
            "interaction_id": f"talk-{number}", "leg": "A", "rule": "account.inbound", "reason": "enabled",
            "settings": '{"format": "wav", "method": "put"}', "settings_from": "{}", "source": "offnet",
            "direction": "inbound", "from_uri": "1001@acme.example", "to_uri": "1002@acme.example",
            "caller_id_name": "Ann", "caller_id_number": "1001", "callee_id_name": "", "callee_id_number": "1002",
            "origin": "policy", "state": "recorded", "master": "file.wav", "spans": "[]", "truncated_by_limit": False,
            "partial": False, "legal_hold": False, "file": "file.wav", "content_type": "audio/wav",
            "size_bytes": FILE_BYTES, "sha256": sha256, "channels": 1, "sample_rate": 8_000, "created_ms": now_ms,
            "updated_ms": now_ms,
        }, {
            "recording_id": recording_id, "node": NODE, "account_id": account, "kind": "upload", "attempts": 0,
            "url": f"http://127.0.0.1:{port}/recordings", "host": f"http://127.0.0.1:{port}", "method": "put",
            "state": "due", "next_attempt_ms": now_ms - age_ms + number, "give_up_ms": now_ms + 3_600_000,
            "created_ms": now_ms - age_ms + number,
        }


def fill(directory: Path, backlogs) -> Path:
    """A new database with `backlogs`: (account, port, count, age_ms)."""
    import sqlite3

    from kazoo_rec.store import epoch_ms
    from kazoo_rec.store.migrations import migrate

    database, noise = directory / f"filled{len(list(directory.iterdir()))}.db", os.urandom(FILE_BYTES)
    if (directory / "file.wav").exists():
        noise = (directory / "file.wav").read_bytes()
    (directory / "file.wav").write_bytes(noise)
    migrate(f"sqlite:///{database}")
    with sqlite3.connect(database) as connection:
        for account, port, count, age_ms in backlogs:
            for pair in rows(account, port, count, epoch_ms(), age_ms, hashlib.sha256(noise).hexdigest()):
                for table, row in zip(("recordings", "deliveries"), pair, strict=True):
                    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES "
                                       f"({', '.join(':' + name for name in row)})", row)
    connection.close()
    return database


def deliver(database: Path):
    """Delivers what is due until it is killed."""
    from gevent import monkey

    monkey.patch_all()
    import gevent

    from kazoo_rec.delivery.connections import Connections
    from kazoo_rec.delivery.networks import Networks
    from kazoo_rec.delivery.settings import DeliverySettings
    from kazoo_rec.delivery.worker import Worker
    from kazoo_rec.logs import configure
    from kazoo_rec.roles.delivery import THREADS
    from kazoo_rec.store import Store, epoch_ms
    from kazoo_rec.threads import Threads

    configure()
    settings = DeliverySettings()
    Worker(Store(f"sqlite:///{database}"), NODE, database.parent, Threads(THREADS), settings,
           Connections(settings.uploads, networks=Networks(["127.0.0.0/8"])), epoch_ms).start()
    gevent.wait()


class Server:
    """One that takes recordings, in a process of its own, on several ports."""

    def __init__(self, stack, ports: int, answer_s: float):
        self._process = stack.enter_context(subprocess.Popen(
            [sys.executable, __file__, "serve", str(ports), str(answer_s)], stdout=subprocess.PIPE, text=True))
        stack.callback(self._process.kill)
        self.ports = [int(port) for port in self._process.stdout.readline().split()]

    def came(self) -> list:
        """[id of the recording, when (monotonic s)] in their order."""
        with socket.create_connection(("127.0.0.1", self.ports[0])) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return json.loads(b"".join(iter(lambda: client.recv(1_000_000), b"")))


def copy(directory: Path, filled: Path) -> Path:
    database = directory / "kazoo_rec.db"
    for old in directory.glob("kazoo_rec.db*"):
        old.unlink()
    for part in ("", ".key"):
        shutil.copyfile(f"{filled}{part}", f"{database}{part}")
    os.sync()  # what is still to be written of it would hold up the rows
    return database


def run(database: Path, server: Server, count: int, most_s: float = MOST_S, known=()) -> dict:
    """Delivers what the database says until `count` recordings more than `known` came to the server, then kills who
    did."""
    before, since_s = len(server.came()), time.monotonic()
    with subprocess.Popen([sys.executable, __file__, "deliver", database], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as worker:
        try:
            since_first = None
            while len(came := [one for one in server.came()[before:] if one[0] not in known]) < count:
                if came and since_first is None:
                    since_first = len(came), cpu_s(worker.pid)
                if time.monotonic() - since_s > most_s:
                    sys.exit(f"{len(came)} of {count} came within {most_s} s")
                time.sleep(0.5 + len(came) / 20_000)
            sent, spent_s = len(came) - since_first[0], cpu_s(worker.pid) - since_first[1]
            peak_kb = int(Path(f"/proc/{worker.pid}/status").read_text().partition("VmHWM:")[2].split()[0])
        finally:
            worker.kill()
    came, times = came[:count], [at_s for _, at_s in came[:count]]
    return {"first_s": times[0] - since_s, "rate": (count - 1) / (times[-1] - times[0]), "peak_mb": peak_kb / 1024,
            "cpu_ms": spent_s * 1000 / sent, "ids": [recording_id for recording_id, _ in came]}


def cpu_s(pid: int) -> float:
    """Seconds of processor that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def unconnected(stack, count: int) -> list[int]:
    """Ports on which somebody listens and takes up no connection."""
    ports = []
    for _ in range(count):
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        ports.append(listener.getsockname()[1])
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
    return ports


def refusing() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def fairness() -> int:
    found = {name: [] for name, *_ in BESIDE}
    with TemporaryDirectory() as place, ExitStack() as stack:
        server, other = (Server(stack, WELL, ANSWER_S) for _ in range(2))
        directory, count = Path(place), WELL * FILES
        mine = [(f"acme{port}", port, FILES, 0) for port in server.ports]
        for number in range(1, ROUNDS + 1):
            for name, refuse, silent, flood in BESIDE:
                dead = [refusing() for _ in range(refuse)] + unconnected(stack, silent)
                beside = [(f"dead{port}", port, DEAD_BACKLOG, OLDER_MS) for port in dead]
                beside += [("flood", port, flood, OLDER_MS) for port in other.ports if flood]
                alone, both = (run(copy(directory, fill(directory, backlogs)), server, count)["rate"]
                               for backlogs in (mine, mine + beside))
                found[name].append(both / alone)
                print(f"  {number}: {name}: {found[name][-1]:.2f} of {alone:.0f}/s", flush=True)
    ratios = {name: round(statistics.median(of), 2) for name, of in found.items()}
    goals = {**dict.fromkeys(ratios, GOAL), "flood": FLOOD_GOAL, "nothing": 0}
    well = all(ratio >= goals[name] for name, ratio in ratios.items())
    print(json.dumps({"bench": "fairness", "value": min(ratios.values()), "ratios": ratios, "goal": GOAL,
                      "flood_goal": FLOOD_GOAL, "ok": well}))
    return 0 if well else 1


def backlog() -> int:
    accounts, sent, rounds = 10, 2_000, {"small": [], "large": []}
    with TemporaryDirectory() as place, ExitStack() as stack:
        server, directory = Server(stack, 1, 0), Path(place)
        filled = {name: fill(directory, [(f"a{number}", *server.ports, count // accounts, OLDER_MS)
                                         for number in range(accounts)])
                  for name, count in (("small", sent), ("large", BACKLOG))}
        for number in range(1, ROUNDS + 1):
            for name, of in rounds.items():
                of.append(run(copy(directory, filled[name]), server, sent))
                print("  {number}: {name}: {cpu_ms:.2f} ms, {rate:.0f}/s, first after {first_s:.2f} s, {peak_mb:.0f} MB"
                      .format(number=number, name=name, **of[-1]), flush=True)
        database, parts, drained, before = copy(directory, filled["large"]), [], set(), len(server.came())
        for share in DRAINED:
            parts.append(run(database, server, round(share * BACKLOG) - len(drained), DRAINED_MOST_S, drained))
            drained = {recording_id for recording_id, _ in server.came()[before:]}
            print("  drained: {count}, {rate:.0f}/s, first after {first_s:.2f} s, {peak_mb:.0f} MB".format(
                count=len(parts[-1]["ids"]), **parts[-1]), flush=True)
        again = len(server.came()) - before - len(drained)
    late = out_of_order(rounds["large"][0]["ids"])
    small, large = ({what: statistics.median(one[what] for one in rounds[name]) for what in
                     ("cpu_ms", "rate", "first_s", "peak_mb")} for name in ("small", "large"))
    ratio = small["cpu_ms"] / large["cpu_ms"]
    print(json.dumps({"bench": "backlog", "value": round(large["cpu_ms"], 2), "peer": round(small["cpu_ms"], 2),
                      "ratio": round(ratio, 2), "goal": GOAL, "ok": ratio >= GOAL,
                      **{f"{what}{of}": round(one[what], 2) for of, one in (("", large), ("_small", small))
                         for what in ("rate", "first_s", "peak_mb")},
                      "out_of_order_by": late, "drained": len(drained), "said_again": again,
                      "drained_out_of_order_by": max(out_of_order(part["ids"]) for part in parts),
                      "drained_peak_mb": round(max(part["peak_mb"] for part in parts))}))
    return 0 if ratio >= GOAL else 1


def out_of_order(ids: list[str]) -> int:
    """By how many places one of an account came before or after its turn: uploads run beside each other, so that a few
    may overtake each other."""
    by_account = {}
    for recording_id in ids:
        by_account.setdefault(recording_id.split("-")[1].partition(".")[0], []).append(int(recording_id[-6:]))
    return max(abs(place - number) for numbers in by_account.values()
               for place, number in enumerate(numbers, start=min(numbers)))


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            sys.exit(fairness())
        case ["backlog"]:
            sys.exit(backlog())
        case ["serve", ports, answer_s]:
            serve(int(ports), float(answer_s))
        case ["deliver", database]:
            deliver(Path(database))
