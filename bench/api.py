"""The API over 1,000,000 recordings, 20 calls a second being recorded beside it: `PYTHONPATH=. python bench/api.py`.

All of `kazoo-rec run`, with its defaults, and `kazoo-rec simulate` as its switch, in the realtime class as FreeSWITCH
is, whose every call is recorded twice.
The recordings are of 5 accounts with 40 users each, over 12 months; each account is asked with a token of its own, and
every request is written into the audit log, as always. Four figures:

- GET of one recording and of a page of 50, as many of each, together 100 a second at random times, whether the ones
  before are answered or not: each answer's time is from when it was to be asked for;
- GETs of one recording a second, on 32 connections without a pause, beside a Falcon resource that does nothing but give
  the same bytes, behind the same server, on the same connections. No calls meanwhile: they would hold up both;
- a page behind nine tenths of an account's recordings beside its first page;
- from the answer of a leg to its recording, as the rows have it, while a file of 1 GB is downloaded, again and again,
  beside what it is with no download.
"""

import argparse
import hashlib
import json
import os
import random
import re
import signal
import socket
import sqlite3
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import gevent
from gevent import monkey

monkey.patch_all()

from gevent import subprocess  # noqa: E402

from kazoo_rec.api import tokens  # noqa: E402
from kazoo_rec.api.listing import key_for  # noqa: E402
from kazoo_rec.roles.priority import with_the_switch  # noqa: E402
from kazoo_rec.store import epoch_ms  # noqa: E402
from kazoo_rec.store.migrations import migrate  # noqa: E402

GOAL_MS, GOAL_RATIO, DEEP_GOAL, DOWNLOAD_GOAL_MS = 20, 0.3, 1.5, 5

ROWS = 1_000_000
ACCOUNTS, USERS, MONTHS = 5, 40, 12
PER_S, SECONDS = 100, 30
ROUNDS, ROUND_S, CONNECTIONS = 3, 5, 32
PAGES = 200
CALLS_PER_S, CALL_S, CALLING_S = 20, 5, 240
DOWNLOAD_BYTES, DOWNLOAD_S = 1_000_000_000, 20
MOST_S = 60  #: for any one step

ROOT = Path(__file__).parents[1]
MONTH_MS = 30 * 86_400_000
PHONES = {"alice": {"user": "1000", "domain": "calls.example", "says": 440},
          "bob": {"user": "1001", "domain": "calls.example", "says": 660}}
RECORDED = {"inbound": {"onnet": {"enabled": True}}}
LOUD = {"account": RECORDED, "endpoint": RECORDED}
#: account → its document; the simulator's calls are of the first.
DOCUMENTS = {"calls": {"name": "Calls", "realm": "calls.example", "country": "US", "call_recording": LOUD},
             **{f"account{number}": {"name": f"Account {number}", "realm": f"a{number}.example", "country": "US"}
                for number in range(ACCOUNTS)}}

#: What is the same of every recording. One in 30 was not answered.
SAME = {
    "node": "fs0", "leg": "A", "rule": "account.inbound",
    "reason": "account.inbound records leg A: account call_recording.account.inbound.offnet enables it.",
    "settings": json.dumps({
        "enabled": True, "format": "wav", "time_limit": 10800, "record_min_sec": 0, "record_on_answer": False,
        "record_on_bridge": False, "record_sample_rate": None, "url": "https://files.example/calls", "method": "put",
        "channels": "dual", "track": "both"}),
    "settings_from": json.dumps({"enabled": "account", "format": "account", "url": "account", "method": "default"}),
    "source": "offnet", "destination": "onnet", "direction": "inbound", "to_uri": "1000@acme.example",
    "caller_id_name": "Jane Doe", "callee_id_name": "Ann", "callee_id_number": "1000", "origin": "inbound from offnet",
    "spans": "[]", "cause": "NORMAL_CLEARING", "truncated_by_limit": 0, "partial": 0, "duration_ms": 61_000,
    "content_type": "audio/wav", "size_bytes": 1_952_044, "channels": 2, "sample_rate": 8_000, "legal_hold": 0,
}
COLUMNS = ("id", "account_id", "user_id", "device_id", "call_id", "interaction_id", "from_uri", "caller_id_number",
           "state", "master", "file", "sha256", "armed_ms", "answered_ms", "started_ms", "stopped_ms", "created_ms",
           "updated_ms")


def row(number: int, rows: int, first_ms: int) -> tuple:
    """A recording's `COLUMNS`; they are made in the order of their times."""
    made_ms, digest = first_ms + number * MONTHS * MONTH_MS // rows, hashlib.md5(b"%d" % number).hexdigest()
    account_id, user = f"account{number % ACCOUNTS}", number // ACCOUNTS % USERS
    day = time.strftime("%Y%m%d", time.gmtime(made_ms // 1000))
    recording_id, caller = f"{day[:6]}-{digest}", f"+1415555{number % 10_000:04}"
    file = f"{account_id}/{day}/{recording_id}.wav"
    return (recording_id, account_id, f"user{user}", f"device{user}", f"leg-{digest}", f"call-{digest}",
            f"{caller}@carrier.example", caller, "recorded" if number % 30 else "discarded", file, file, digest * 2,
            made_ms, made_ms + 4_000, made_ms + 4_010, made_ms + 65_010, made_ms, made_ms + 66_000)


class Database:
    """The recordings, and a token for each account. `ids` are (account, recording) to be asked for, `deep` the start
    key of a page far behind in the first account, `download` the recording whose file is large."""

    def __init__(self, directory: Path, rows: int):
        self.path, first_ms = directory / "kazoo_rec.db", epoch_ms() - MONTHS * MONTH_MS
        migrate(f"sqlite:///{self.path}")
        since = time.monotonic()
        with sqlite3.connect(self.path) as database:
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000"):
                database.execute(f"PRAGMA {pragma}")
            insert = f"""INSERT INTO recordings ({', '.join((*COLUMNS, *SAME))})
                         VALUES ({', '.join('?' * len(COLUMNS))}, {', '.join(map(literal, SAME.values()))})"""
            database.executemany(insert, (row(number, rows, first_ms) for number in range(rows)))
            self.tokens = {}
            for account_id in DOCUMENTS:
                self.tokens[account_id], made = tokens.make("admin", account_id, None, "bench", None)
                made["created_ms"] = first_ms
                database.execute(f"INSERT INTO tokens ({', '.join(made)}) VALUES ({', '.join('?' * len(made))})",
                                 tuple(made.values()))
        database.close()
        self.seconds = time.monotonic() - since
        some = [row(number, rows, first_ms) for number in random.sample(range(rows), min(rows, 10_000))]
        self.ids = [(one[1], one[0]) for one in some]
        deep = row(rows // 10 // ACCOUNTS * ACCOUNTS, rows, first_ms)
        self.deep = key_for(f"{deep[-2]} {deep[0]}")
        large = row(rows // 2 // 30 * 30 + 1, rows, first_ms)
        self.download = large[1], large[0]
        file = directory / "recordings" / large[COLUMNS.index("file")]
        file.parent.mkdir(parents=True)
        with file.open("wb") as written:
            written.truncate(DOWNLOAD_BYTES)

    def request(self, account_id: str, rest: str, accept: str = "application/json") -> bytes:
        return (f"GET /v2/accounts/{account_id}/recordings{rest} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"X-Auth-Token: {self.tokens[account_id]}\r\nAccept: {accept}\r\n\r\n").encode()

    def one(self) -> bytes:
        account_id, recording_id = random.choice(self.ids)
        return self.request(account_id, f"/{recording_id}")

    def page(self) -> bytes:
        return self.request(f"account{random.randrange(ACCOUNTS)}", "?page_size=50")

    def starts_ms(self, begin_ms: int, end_ms: int) -> list[int]:
        """From the answer to the recording, of those that were made in this time."""
        with sqlite3.connect(self.path) as database:
            found = database.execute(
                "SELECT started_ms - answered_ms FROM recordings WHERE account_id = 'calls' AND created_ms >= ? "
                "AND created_ms < ? AND started_ms IS NOT NULL AND answered_ms IS NOT NULL", (begin_ms, end_ms))
            starts = [late_ms for late_ms, in found]
        database.close()
        return starts


def literal(value) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


class Asker:
    """Asks on connections that stay open: as many as have to be open at once."""

    def __init__(self, port: int):
        self._port, self._idle = port, []

    def __call__(self, request: bytes) -> bytes:
        """The body of the answer, which has to be 200."""
        client = self._idle.pop() if self._idle else socket.create_connection(("127.0.0.1", self._port))
        client.sendall(request)
        read = b""
        while b"\r\n\r\n" not in read:
            read += received(client)
        head, _, body = read.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            sys.exit(f"{request.partition(b' HTTP')[0].decode()} was answered {head.splitlines()[0].decode()}")
        left = int(re.search(rb"\r\n[Cc]ontent-[Ll]ength: (\d+)", head)[1]) - len(body)
        parts = [body]
        while left:
            parts.append(received(client))
            left -= len(parts[-1])
        self._idle.append(client)
        return b"".join(parts)


def received(client) -> bytes:
    return client.recv(65_536) or sys.exit("the server ended a connection")


def at_random_times(ask: Asker, requests: dict, seconds: float) -> dict[str, list[float]]:
    """How many ms each answer took from when it was to be asked for, by the request's name."""
    late_ms, running, due = {name: [] for name in requests}, [], time.perf_counter()
    end, names = due + seconds, list(requests)

    def send(name, due):
        ask(requests[name]())
        late_ms[name].append((time.perf_counter() - due) * 1000)

    while (due := due + random.expovariate(PER_S)) < end:
        gevent.sleep(max(0, due - time.perf_counter()))
        running.append(gevent.spawn(send, names[len(running) % len(names)], due))
    gevent.joinall(running, timeout=MOST_S, raise_error=True)
    return late_ms


def most_per_s(ask: Asker, request) -> float:
    """Answers a second on `CONNECTIONS` that are never idle."""
    end, count = time.perf_counter() + ROUND_S, 0

    def go_on():
        nonlocal count
        while time.perf_counter() < end:
            ask(request())
            count += 1

    since = time.perf_counter()
    gevent.joinall([gevent.spawn(go_on) for _ in range(CONNECTIONS)], timeout=MOST_S, raise_error=True)
    return count / (time.perf_counter() - since)


def bare(body: str):
    """Serves `body` from a resource that does nothing else, as the role serves; says on which port."""
    import falcon

    from kazoo_rec.web import listen, serve

    class Bare:
        def on_get(self, _request, response, account_id, recording_id):
            response.content_type, response.data = falcon.MEDIA_JSON, data

    data, app, listener = Path(body).read_bytes(), falcon.App(), listen("127.0.0.1", 0)
    app.add_route("/v2/accounts/{account_id}/recordings/{recording_id}", Bare())
    server = serve(listener, app)
    print(listener.getsockname()[1], flush=True)
    server.serve_forever()


def download(port: str, request: str):
    """Reads the same answer again and again; says how many bytes it has, each second."""
    block, since, total = memoryview(bytearray(1 << 20)), time.monotonic(), 0
    while True:
        with socket.create_connection(("127.0.0.1", int(port))) as client:
            client.sendall(request.encode())
            left = DOWNLOAD_BYTES
            while left > 0 and (count := client.recv_into(block)):
                left, total = left - count, total + count
                if time.monotonic() - since > 1:
                    since = time.monotonic()
                    print(total, flush=True)


@contextmanager
def process(*arguments, log: Path, stand=None):
    """A process that is ended afterwards; `stand()` puts it into its scheduling class."""
    with log.open("wb") as written:
        child = subprocess.Popen(arguments, cwd=ROOT, stdout=written, stderr=subprocess.STDOUT, preexec_fn=stand)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(timeout=MOST_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def product(directory: Path, switch_port: int, *options):
    """`kazoo-rec run`; gives the port of its API."""
    config, log = directory / "kazoo_rec.json", directory / "kazoo_rec.log"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config.write_text(json.dumps({
        "node": "bench", "database": f"sqlite:///{directory}/kazoo_rec.db", "documents": str(directory / "documents"),
        "recordings_dir": str(directory / "recordings"), "api": {"port": port},
        "switches": [{"port": switch_port, "password": "ClueCon"}]}))
    with process(sys.executable, "-m", "kazoo_rec", "run", "--config", str(config), *options, log=log):
        until(lambda: answers(port), "the API does not answer")
        yield port


def answers(port: int) -> bool:
    try:
        Asker(port)(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    except OSError:
        return False
    return True


def until(condition, otherwise: str):
    deadline = time.monotonic() + MOST_S
    while not (found := condition()):
        if time.monotonic() > deadline:
            sys.exit(otherwise)
        gevent.sleep(0.1)
    return found


def quantiles(values: list[float]) -> dict[str, float]:
    values = sorted(values)
    return {"p50": round(values[len(values) // 2], 2), "p99": round(values[len(values) * 99 // 100], 2),
            "most": round(values[-1], 2)}


def told(figures: dict) -> str:
    return "  ".join(f"{name} {value:g}" for name, value in figures.items())


def without_calls(database: Database, directory: Path) -> tuple[float, float]:
    """GETs of one recording a second, and of the bare resource."""
    with product(directory, 1, "--role", "api") as port:
        ask = Asker(port)
        (directory / "body").write_bytes(ask(database.one()))
        log = directory / "bare.log"
        with process(sys.executable, __file__, "--bare", str(directory / "body"), log=log):
            beside = Asker(int(until(log.read_text, "the bare server did not start")))
            ours, peer = [], []
            for number in range(1, ROUNDS + 1):
                peer.append(most_per_s(beside, database.one))
                ours.append(most_per_s(ask, database.one))
                print(f"  {number}: bare Falcon {peer[-1]:5.0f}/s;  kazoo_rec {ours[-1]:5.0f}/s", flush=True)
    return statistics.median(ours), statistics.median(peer)


def with_calls(database: Database, directory: Path) -> dict:
    calls, log = directory / "calls.yaml", directory / "simulate.log"
    calls.write_text(json.dumps({"phones": PHONES, "calls": [
        {"name": f"{number}", "at": number / CALLS_PER_S, "caller": {"phone": "alice", "hangs_up": CALL_S},
         "called": {"phone": "bob", "answers": 0.5}} for number in range(CALLS_PER_S * CALLING_S)]}))
    found = {}
    with process(sys.executable, "-m", "kazoo_rec", "simulate", "--port", "0", "--calls", str(calls),
                 "--recordings", str(directory / "recordings"), log=log, stand=with_the_switch):
        switch = until(lambda: re.search(r"127\.0\.0\.1:(\d+);", log.read_text()), "the simulator did not start")
        with product(directory, int(switch[1])) as port:
            begin_ms = epoch_ms()
            gevent.sleep(2 * CALL_S)  # from now on as many calls end as begin
            ask = Asker(port)
            found |= at_random_times(ask, {"one": database.one, "page": database.page}, SECONDS)
            first, deep = (database.request("account0", f"?page_size=50{more}")
                           for more in ("", f"&start_key={database.deep}"))
            for name, request in [("first", first), ("deep", deep)] * PAGES:
                since = time.perf_counter()
                ask(request)
                found.setdefault(name, []).append((time.perf_counter() - since) * 1000)
            quiet_ms = epoch_ms()
            gevent.sleep(DOWNLOAD_S)
            download_ms = epoch_ms()
            request = database.request(database.download[0], f"/{database.download[1]}", "audio/wav")
            read = directory / "download.log"
            with process(sys.executable, __file__, "--download", str(port), request.decode(), log=read):
                gevent.sleep(DOWNLOAD_S)
                end_ms = epoch_ms()
            found["downloaded_mb_s"] = int(read.read_text().split()[-1]) / 1e6 / DOWNLOAD_S
            gevent.sleep(CALL_S)  # until the last of them are answered
            found |= {"starts_ms": database.starts_ms(quiet_ms, download_ms),
                      "starts_beside_download_ms": database.starts_ms(download_ms, end_ms)}
            found["calls_per_s"] = (len(database.starts_ms(begin_ms, end_ms)) / 2) / ((end_ms - begin_ms) / 1000)
    return found


def main(rows: int) -> int:
    with TemporaryDirectory(prefix="kazoo_rec_bench_") as place:
        directory = Path(place)
        for account_id, body in DOCUMENTS.items():
            file = directory / "documents" / account_id / "account.json"
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(body))
        for phone in PHONES.values():
            file = directory / "documents" / "calls" / "devices" / f"{phone['user']}.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps({"sip": {"username": phone["user"]}}))
        database = Database(directory, rows)
        os.sync()  # what is still to be written of it would hold up the rows
        size_mb = database.path.stat().st_size / 1e6
        print(f"{rows} recordings took {database.seconds:.0f} s and {size_mb:.0f} MB; GETs of one recording:",
              flush=True)
        ours, peer = without_calls(database, directory)
        found = with_calls(database, directory)
    both = quantiles(found["one"] + found["page"])
    first, deep, quiet, beside = (quantiles(found[name]) for name in (
        "first", "deep", "starts_ms", "starts_beside_download_ms"))
    ratio, deep_ratio, later_ms = ours / peer, deep["p50"] / first["p50"], beside["p99"] - quiet["p99"]
    print(f"{PER_S} requests/s, {found['calls_per_s']:.1f} calls/s, ms: one {told(quantiles(found['one']))};  "
          f"page {told(quantiles(found['page']))}")
    print(f"first page, ms: {told(first)};  deep page: {told(deep)}")
    print(f"answer to recording, ms: {told(quiet)} of {len(found['starts_ms'])};  beside a download of "
          f"{found['downloaded_mb_s']:.0f} MB/s: {told(beside)} of {len(found['starts_beside_download_ms'])}")
    ok = (both["p99"] < GOAL_MS and ratio >= GOAL_RATIO and deep_ratio <= DEEP_GOAL and later_ms <= DOWNLOAD_GOAL_MS
          and found["calls_per_s"] > 0.9 * CALLS_PER_S)
    print(json.dumps({
        "bench": "api", "value": both["p99"], "goal": GOAL_MS, "per_s": round(ours), "peer": round(peer),
        "ratio": round(ratio, 2), "goal_ratio": GOAL_RATIO, "deep_ratio": round(deep_ratio, 2),
        "goal_deep_ratio": DEEP_GOAL, "start_p99_ms": quiet["p99"], "start_p99_ms_beside_download": beside["p99"],
        "goal_later_ms": DOWNLOAD_GOAL_MS, "calls_per_s": round(found["calls_per_s"], 1), "rows": rows, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="recordings in the database; at least 10000")
    parser.add_argument("--bare", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--download", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        bare(arguments.bare)
    elif arguments.download:
        download(*arguments.download)
    elif arguments.rows < 10_000:
        parser.error("a page deep in the list takes 10000 rows")
    else:
        sys.exit(main(arguments.rows))
