"""Milliseconds from a write to its being durable, with three processes on one SQLite file: `python bench/store.py`.

Engine, delivery and api write for 30 s as a busy host makes them, each in the scheduling class in which it runs;
the api lists recordings as well. Then again with a disk that takes 5 ms longer to sync. Beside it stands what the disk
takes to sync 4 KiB that are appended to a file.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

GOAL_MS, SLOW_GOAL_MS = 5, 50  #: p99 of each process
SLOWER_MS = 5
SECONDS = 30
PER_S = {"engine": 300, "delivery": 50, "api": 20}
LIST_EVERY = 2  #: writes of the api, so one each 100 ms
MOST_S = 60

NODE, T0_MS = "fs1", 1_795_221_338_000

SHIM = """
#include <sys/syscall.h>
#include <unistd.h>
int fsync(int file) { usleep(DELAY_US); return syscall(SYS_fsync, file); }
int fdatasync(int file) { usleep(DELAY_US); return syscall(SYS_fdatasync, file); }
"""


def recording(number: int, **columns) -> dict:
    recording_id = f"202611-{number:032x}"
    return {
        "id": recording_id, "node": NODE, "account_id": f"account-{number % 50}", "call_id": f"leg-{number}",
        "interaction_id": f"talk-{number}", "leg": "A", "rule": "account.inbound", "reason": "enabled at the account",
        "settings": {"enabled": True, "format": "mp3", "url": "https://files.example/calls", "method": "put"},
        "settings_from": {"enabled": "account", "format": "default", "url": "account"}, "source": "offnet",
        "destination": "onnet", "direction": "inbound", "from_uri": "1001@acme.example", "to_uri": "1002@acme.example",
        "caller_id_name": "Ann", "caller_id_number": "1001", "callee_id_name": "Bob", "callee_id_number": "1002",
        "origin": "policy", "state": "armed", "master": f"acme/20261121/{recording_id}.wav", "armed_ms": T0_MS,
        **columns,
    }


def finished(number: int) -> bool:
    """Whether the delivery finds this recording stopped when it begins, and finishes it; the engine makes others."""
    return number < SECONDS * PER_S["delivery"]


def engine(store, number):
    """Inserts a recording, has it recorded, then stopped."""
    made, step = divmod(number, 3)
    row = recording(1_000_000 + made)
    if step == 0:
        return store.recordings.insert(row)
    if step == 1:
        return store.recordings.update_open(row["id"], state="recording", started_ms=T0_MS, answered_ms=T0_MS)
    return store.recordings.update(row["id"], state="stopped", stopped_ms=T0_MS + 60_000, cause="NORMAL_CLEARING",
                                   expected_ms=60_000)


def delivery(store, number):
    """Finishes a recording, then has its upload delivered. Nobody else makes deliveries, so their ids are 1, 2, 3."""
    made, step = divmod(number, 2)
    row = recording(made)
    if step == 0:
        return store.recordings.finish(
            row["id"], {"state": "recorded", "file": row["master"], "size_bytes": 480_000, "sha256": "0" * 64,
                        "duration_ms": 60_000, "content_type": "audio/mpeg"},
            [{"recording_id": row["id"], "node": NODE, "account_id": row["account_id"], "kind": "upload",
              "url": "https://files.example/calls", "host": "https://files.example:443", "method": "put",
              "state": "due", "next_attempt_ms": T0_MS, "give_up_ms": T0_MS, "created_ms": T0_MS}])
    return store.deliveries.update(made + 1, state="delivered", attempts=1, status=201, proof_sha256="0" * 64,
                                   delivered_ms=T0_MS)


def api(store, number):
    return store.recordings.update(recording(number)["id"], user_id=f"user-{number}")


def work(role: str, url: str):
    """Says that it is ready; writes from the next line of its input on, and says how long each write took."""
    from gevent import monkey

    monkey.patch_all()
    import gevent

    from kazoo_rec.logs import configure
    from kazoo_rec.roles import priority
    from kazoo_rec.store import Store

    if stand := {"engine": priority.with_the_switch, "delivery": priority.behind_everybody}.get(role):
        stand()
    lines = io.StringIO()
    configure(to=lines)
    write, period_s = {"engine": engine, "delivery": delivery, "api": api}[role], 1 / PER_S[role]
    store, done, lists_ms, listing = Store(url), [], [], []
    store.recordings.list()
    print("ready", flush=True)
    sys.stdin.readline()

    def list_newest():
        since = time.perf_counter()
        store.recordings.page("account-7", [], None, 50)
        lists_ms.append((time.perf_counter() - since) * 1000)

    begin, late_ms = time.perf_counter(), []
    for number in range(SECONDS * PER_S[role]):
        gevent.sleep(max(0, begin + number * period_s - time.perf_counter()))
        since = time.perf_counter()
        result = write(store, number)
        result.rawlink(lambda _, since=since: late_ms.append((time.perf_counter() - since) * 1000))
        done.append(result)
        if role == "api" and number % LIST_EVERY == 0:
            listing.append(gevent.spawn(list_newest))
    seconds = time.perf_counter() - begin
    with gevent.Timeout(MOST_S):
        missed = sum(result.get() != 1 for result in done)
        gevent.joinall(listing)
    store.close()
    refused = lines.getvalue().count("database refuses writes")
    print(json.dumps({"writes": len(late_ms), "per_s": len(late_ms) / seconds, "missed": missed, "refused": refused,
                      **quantiles(late_ms), "list": quantiles(lists_ms) if lists_ms else None}))
    sys.stderr.write("".join(line for line in lines.getvalue().splitlines(True) if "level=error" in line)[:2_000])


def quantiles(values_ms: list[float]) -> dict:
    values_ms = sorted(values_ms)
    return {"p50": round(values_ms[len(values_ms) // 2], 2), "p99": round(values_ms[len(values_ms) * 99 // 100], 2),
            "most": round(values_ms[-1], 2)}


def disk(directory: Path, environment: dict) -> dict:
    """What the disk itself takes, when nobody else asks for it."""
    code = ("import json,os,sys,time\nfound=[]\n"
            "with open(sys.argv[1],'wb',0) as file:\n for _ in range(300):\n"
            "  since=time.perf_counter(); file.write(bytes(4096)); os.fdatasync(file)\n"
            "  found.append((time.perf_counter()-since)*1000)\nprint(json.dumps(found))")
    done = subprocess.run([sys.executable, "-c", code, directory / "synced"], env=environment, check=True,
                          stdout=subprocess.PIPE, timeout=MOST_S)
    return quantiles(json.loads(done.stdout))


def measured(environment: dict) -> tuple[dict, dict[str, dict]]:
    from kazoo_rec.store import Store
    from kazoo_rec.store.migrations import migrate

    with TemporaryDirectory() as place:
        url = f"sqlite:///{place}/kazoo_rec.db"
        migrate(url)
        store = Store(url)
        rows = [store.recordings.insert(recording(number, state="stopped", stopped_ms=T0_MS))
                for number in range(SECONDS * max(PER_S["delivery"] // 2, PER_S["api"]))]
        for row in rows:
            row.get()
        store.close()
        synced = disk(Path(place), environment)
        processes = {}
        try:
            for role in PER_S:
                processes[role] = subprocess.Popen([sys.executable, __file__, role, url], env=environment, text=True,
                                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for process in processes.values():
                process.stdout.readline()
            for process in processes.values():
                process.stdin.write("go\n")
                process.stdin.flush()
            found = {role: json.loads(process.communicate(timeout=2 * MOST_S)[0])
                     for role, process in processes.items()}
        finally:
            for process in processes.values():
                process.kill()
                process.wait()
    return synced, found


def told(title: str, synced: dict, found: dict[str, dict]):
    print(f"{title}; the disk's own sync {synced['p50']} ms, p99 {synced['p99']} ms:")
    for role, one in found.items():
        listed = f"  list p50 {one['list']['p50']} p99 {one['list']['p99']}" if one["list"] else ""
        print(f"  {role:8} {one['per_s']:4.0f}/s  p50 {one['p50']}  p99 {one['p99']}  most {one['most']} ms"
              f"  refused {one['refused']}{listed}", flush=True)
    if any(one["missed"] for one in found.values()):
        sys.exit("a write found no row to change")


def main() -> int:
    synced, plain = measured(dict(os.environ))
    told("as the disk is", synced, plain)
    slow = None
    if shutil.which("cc"):
        with TemporaryDirectory() as place:
            source, shim = Path(place, "slow.c"), Path(place, "slow.so")
            source.write_text(SHIM)
            subprocess.run(["cc", "-shared", "-fPIC", f"-DDELAY_US={SLOWER_MS * 1000}", "-o", shim, source], check=True)
            slow_synced, slow = measured({**os.environ, "LD_PRELOAD": str(shim)})
        told(f"each sync {SLOWER_MS} ms slower", slow_synced, slow)
        if min(one["p50"] for one in slow.values()) < SLOWER_MS:
            sys.exit("the syncs were not slowed")
    else:
        print("NOT RUN: slower syncs, there is no `cc`")
    value, refused = max(one["p99"] for one in plain.values()), sum(one["refused"] for one in plain.values())
    ok = value <= GOAL_MS and not refused
    result = {"bench": "store", "value": value, "peer": synced["p99"], "ratio": round(value / synced["p99"], 2),
              "goal": GOAL_MS, "p99_ms": {role: one["p99"] for role, one in plain.items()}}
    if slow:
        worst, refused = max(one["p99"] for one in slow.values()), refused + sum(o["refused"] for o in slow.values())
        ok = ok and worst <= SLOW_GOAL_MS and not refused
        result |= {"slow_value": worst, "slow_goal": SLOW_GOAL_MS,
                   "slow_p99_ms": {role: one["p99"] for role, one in slow.items()}}
    print(json.dumps({**result, "refused": refused, "ok": ok}))
    return 2 if ok and slow is None else 0 if ok else 1


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            sys.exit(main())
        case [role, url]:
            work(role, url)
