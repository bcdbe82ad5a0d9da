"""1, 2 and 4 engines on one PostgreSQL: `PYTHONPATH=. python bench/scale.py [--seconds 30]`, as root.

Each engine, and PostgreSQL as a whole, has a fixed share of a processor (cgroups, `cpu` of either version), so that
what one more engine brings is told apart from what one more core would. A switch is a process that plays the calls of
bench/traffic.py to its engine, so many at once: the next begins as soon as one has ended, and a call goes on when both
of its legs are armed, so that the engine is always as busy as it may be. Counted are rows of ended recordings that
PostgreSQL has made durable. No sound flows.

It ends by itself, and only what it started; exit 1 below its goals.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import gevent
import psycopg
from gevent.event import Event
from gevent.os import tp_read

sys.path.insert(0, str(Path(__file__).parent))

from traffic import ACCEPTING_S, Call, Switch, engine, until

from kazoo_rec.switch.pool import SIZE as COMMAND_CONNECTIONS
from tests.postgres import PLACES, SETTINGS, Server

#: Of two engines and of four, in recordings a second of one.
GOALS = {2: 1.8, 4: 3.2}

#: Shares of one processor.
ENGINE_SHARE, POSTGRES_SHARE = 0.2, 0.3

#: How often shares are given out, us: seldom, and an engine would sleep for most of a tenth of a second.
PERIOD_US = 10_000

#: Calls of a switch at once, how long each is spoken, and after which time without an order a call is given up, s.
AT_ONCE, SPOKEN_S, ARMED_WITHIN_S = 16, 0.5, 10.0

#: Seconds of calls before anything is counted.
WARM_S = 10.0

#: Left to others, as a host has it.
ORDINARY = ("setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice") if shutil.which("setpriv") else ()


class Busy(Switch):
    """A switch that has AT_ONCE calls."""

    def __init__(self):
        super().__init__()
        self.given_up, self._armed = 0, {}

    def play(self):
        for _ in range(AT_ONCE):
            gevent.spawn(self._play)

    def _api(self, words, read_ns):
        text = super()._api(words, read_ns)
        if words.startswith(b"uuid_setvar_multi") and (armed := self._armed.get(words.split(b" ", 2)[1])):
            armed.set()
        return text

    def _play(self):
        while True:
            call = Call()
            waits = [self._armed.setdefault(leg.uuid, Event()) for leg in (call.a, call.b)]
            self._created(call)
            for wait in waits:
                self.given_up += not wait.wait(ARMED_WITHIN_S)
            self._answered(None, call.b)
            gevent.sleep(ACCEPTING_S)
            self._accepted(None, call)
            gevent.sleep(SPOKEN_S)
            self._ended(None, call)
            for leg in (call.a, call.b):
                del self._armed[leg.uuid]


class Share:
    """A part of a processor for the processes that are put in it."""

    def __init__(self, name: str, share: float):
        first = Path("/sys/fs/cgroup/cpu")
        self._modern = not first.is_dir()
        self._place = (first if not self._modern else Path("/sys/fs/cgroup")) / f"kazoo_rec_bench_{name}"
        quota_us = round(share * PERIOD_US)
        try:
            if self._modern:
                (self._place.parent / "cgroup.subtree_control").write_text("+cpu")
            self._place.mkdir(exist_ok=True)
            if self._modern:
                (self._place / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
            else:
                (self._place / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self._place / "cpu.cfs_quota_us").write_text(str(quota_us))
        except OSError as refused:
            sys.exit(f"processors cannot be shared out: {refused}; it takes root and cgroups with `cpu`")

    def put(self, pid: int):
        """The process with all its threads; those that it starts later are in it too."""
        (self._place / "cgroup.procs").write_text(str(pid))

    def held_up(self) -> float:
        """Of its periods, the part at whose end it would have gone on."""
        said = dict(line.split() for line in (self._place / "cpu.stat").read_text().splitlines())
        return int(said["nr_throttled"]) / max(1, int(said["nr_periods"]))

    def close(self):
        until_s = time.monotonic() + 10
        while self._place.exists() and time.monotonic() < until_s:
            with suppress(OSError):  # what was in it ends just now
                self._place.rmdir()
            time.sleep(0.05)


@contextmanager
def postgres(place: Path):
    """The server, in its share; gives it and its share. Its disk is made to write, as a site's does."""
    programs = next((programs for programs in PLACES if (programs / "initdb").exists()), None)
    if programs is None:
        sys.exit("no PostgreSQL on this host")
    server = Server(programs, place, {**SETTINGS, "fsync": "on", "full_page_writes": "on"})
    server.start()
    share = Share("postgres", POSTGRES_SHARE)
    try:
        first = (place / "data" / "postmaster.pid").read_text().split()[0]
        share.put(int(first))
        for pid in Path(f"/proc/{first}/task/{first}/children").read_text().split():
            share.put(int(pid))
        yield server, share
    finally:
        server.stop()
        share.close()


@contextmanager
def switch():
    """A process of a Busy; gives what says a word to it and returns what it knows then."""
    child = subprocess.Popen([sys.executable, __file__, "--switch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True)

    def ask(word):
        child.stdin.write(f"{word}\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())

    try:
        yield ask
    finally:
        child.kill()
        child.wait()


def serve():
    """The child: a line in, `play` or `end` or another, JSON out."""
    busy = Busy()
    left = b""
    while data := tp_read(0, 4096):
        *lines, left = (left + data).split(b"\n")
        for line in lines:
            if line == b"play":
                until(lambda: len(busy.listeners) > COMMAND_CONNECTIONS, 60, "the engine's connections are not up")
                busy.play()
            print(json.dumps({"port": busy.port, "made": busy.made, "given_up": busy.given_up,
                              "unarmed": busy.unarmed}), flush=True)
            if line == b"end":
                return


def counted(url: str) -> dict:
    """Ended recordings, transactions and bytes of log of PostgreSQL, until now."""
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute("SELECT count(*) FROM recordings WHERE state = 'stopped'").fetchone()[0]
        commits = connection.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
                                     ).fetchone()[0]
        written = connection.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()[0]
    return {"ended": ended, "commits": commits, "bytes": int(written)}


def cpu_s(*pids) -> float:
    """Of these and their descendants that live."""
    total = 0
    for pid in pids:
        with suppress(FileNotFoundError):
            user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            total += (int(user) + int(system)) / 100
            total += cpu_s(*Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return total


def run(engines: int, seconds: float) -> dict:
    """Recordings a second of so many engines, and what each part took of a processor."""
    place = Path(tempfile.mkdtemp(prefix="kazoo_rec_bench_"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place)
        place.chmod(0o755)
        (place / "postgres").mkdir()
        server, database_share = stack.enter_context(postgres(place / "postgres"))
        with psycopg.connect(f"{server.url}/postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE bench")
        url, postmaster = f"{server.url}/bench", (place / "postgres/data/postmaster.pid").read_text().split()[0]
        switches, pids, shares = [], [], []
        for number in range(engines):
            ask = stack.enter_context(switch())
            share = Share(f"engine{number}", ENGINE_SHARE)
            stack.callback(share.close)
            directory = place / f"engine{number}"
            directory.mkdir()
            key = place / "engine0" / "kazoo_rec.key"
            if number:
                shutil.copy(key, directory)
            pid = stack.enter_context(engine(directory, ask("well")["port"], before=ORDINARY, node=f"fs{number}",
                                             database=url, state_dir=str(directory)))
            share.put(pid)
            switches.append(ask), pids.append(pid), shares.append(share)
        for ask in switches:
            ask("play")
        gevent.sleep(WARM_S)
        before, busy_before, began = counted(url), [cpu_s(postmaster), *map(cpu_s, pids)], time.monotonic()
        gevent.sleep(seconds)
        after, busy, took_s = counted(url), [cpu_s(postmaster), *map(cpu_s, pids)], time.monotonic() - began
        counts = [ask("end") for ask in switches]
        grew = {name: (after[name] - before[name]) / took_s for name in after}
        used = [(now - then) / took_s for now, then in zip(busy, busy_before, strict=True)]
        return {"engines": engines, "a_second": round(grew["ended"], 1), "commits": round(grew["commits"], 1),
                "postgres": round(used[0], 3), "engine": round(sum(used[1:]) / engines, 3),
                "held_up": round(sum(share.held_up() for share in shares) / engines, 2),
                "postgres_held_up": round(database_share.held_up(), 2),
                "kb": round(grew["bytes"] / max(1, grew["ended"]) / 1000, 1),
                "given_up": sum(count["given_up"] for count in counts),
                "unarmed": sum(count["unarmed"] for count in counts)}


def main(seconds: float) -> int:
    found = {}
    for engines in (1, *GOALS):
        found[engines] = one = run(engines, seconds)
        print("  ".join(f"{name} {value}" for name, value in one.items()), flush=True)
    first, most = found[1], found[max(GOALS)]
    ratios = {engines: round(found[engines]["a_second"] / first["a_second"], 2) for engines in GOALS}
    wrong = sum(one["given_up"] + one["unarmed"] for one in found.values())
    cost_ms = 1000 * most["postgres"] / most["a_second"]
    print(f"of a processor, ms for each recording: an engine {1000 * first['engine'] / first['a_second']:.2f}, "
          f"PostgreSQL {cost_ms:.2f} with {max(GOALS)} engines")
    ok = not wrong and all(ratios[engines] >= goal for engines, goal in GOALS.items())
    print(json.dumps({"bench": "scale", "value": ratios, "peer": first["a_second"], "goal": GOALS, "ok": ok,
                      "shares": {"engine": ENGINE_SHARE, "postgres": POSTGRES_SHARE}, "wrong": wrong}))
    return 0 if ok else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="that are counted, of each number of engines")
    parser.add_argument("--switch", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.switch:
        serve()
    else:
        sys.exit(main(arguments.seconds))
