"""Minutes of calls with random faults, then the account of every recording that was wanted, and the roles' memory.

    bench/soak.py [--minutes 30] [--calls 20] [--seed N]

In the first two fifths everything is killed, the roles too; then the roles live through all else, and their resident
memory is measured. Ends by itself: exit 1 where a recording is broken, where a role ended that nobody had killed or had
an error that it did not expect, where fewer calls began than should have, or memory rises by 1 MB in ten minutes.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import sqlite3  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults.site import Site  # noqa: E402

#: Seconds from one fault's end to the next.
BETWEEN_S = (3.0, 15.0)

#: Seconds that a fault lasts which does not end by itself.
LASTS_S = (1.0, 10.0)

#: Seconds after the last kill of a role until its memory counts: all that it does now and then, each five minutes at
#: least, was done once. And the fewest in which a slope can be told.
SETTLES_S, SLOPE_AFTER_S = 330, 600

#: Of the time, so much has kills of roles.
DEADLY_SHARE = 0.4

MOST_SLOPE_MB = 1.0

#: Of the calls a second that are asked for, so many begin.
LEAST_SHARE = 0.9

ROLES = ("engine", "delivery")

#: What the switch does wrong, in the words of kazoo_rec/simulator/faults.py.
SENTENCES = {
    "lose_events": ("the next CHANNEL_CREATE is lost", "the next CHANNEL_BRIDGE is lost",
                    "the next RECORD_START is lost", "the next RECORD_STOP is lost",
                    "the next CHANNEL_HANGUP_COMPLETE is lost"),
    "double_events": ("the next CHANNEL_CREATE comes twice", "the next CHANNEL_ANSWER comes twice",
                      "the next RECORD_START comes twice", "the next RECORD_STOP comes twice"),
    "delay_events": ("the next CHANNEL_ANSWER comes 0.6 late", "the next RECORD_START comes 0.9 late",
                     "the next RECORD_STOP comes 1.0 late", "the next CHANNEL_HANGUP_COMPLETE comes 1.0 late"),
    "refuse_commands": ("the next uuid_setvar_multi fails", "the next uuid_record fails"),
    "delay_commands": ("the next uuid_setvar_multi waits 0.5", "the next uuid_buglist waits 0.5"),
    "hang": ("event sockets hang from 0 to 4",),
    "fill_disk": ("disk full at 0", "disk has room at 4"),
}


class Faults:
    """Each public method is one, as is each of SENTENCES; those of `HARMLESS` let the roles' processes live."""

    def __init__(self, site: Site, calls_s: float):
        self._site, self._calls_s, self.calls = site, calls_s, 0

    def strike(self, name: str):
        if name in SENTENCES:
            self._site.switch.ask("strike", sentences=SENTENCES[name])
            self._wait()
        else:
            getattr(self, name)()

    def kill_engine(self):
        self._kill("engine")

    def kill_supervisor(self):
        self._kill("supervisor")

    def kill_all(self):
        self._kill("all")

    def kill_delivery(self):
        self._kill("delivery")

    def kill_receiver(self):
        self._site.kill("receiver")
        self._wait()
        self._site.restart("receiver")

    def receiver_refuses(self):
        self._receiver("500")

    def receiver_is_busy(self):
        self._receiver("503")

    def receiver_has_too_many(self):
        self._receiver("429")

    def receiver_hangs(self):
        self._receiver("hang")

    def receiver_takes_half(self):
        self._receiver("half")

    def receiver_says_nothing(self):
        self._receiver("silent")

    def kill_switch(self):
        """Another process, another Core-UUID."""
        self.hush()
        self._site.kill("switch")
        self._wait()
        self._site.restart("switch")
        self.call()
        self._site.wait_taken_in()

    def cut_connections(self):
        self._site.note_outage()
        self._site.switch.ask("fault", name="cut")
        self._site.wait_taken_in()

    def stall_commands(self):
        self._site.switch.ask("fault", name="stall")
        self._wait()
        self._site.switch.ask("fault", name="go_on")

    def freeze_engine(self):
        """It hears nothing and says nothing, and its connections stand."""
        pid = self._site.pid("engine")
        if pid:
            os.kill(pid, signal.SIGSTOP)
            self._wait()
            os.kill(pid, signal.SIGCONT)

    def lock_database(self):
        with sqlite3.connect(self._site.place / "kazoo_rec.db", timeout=30) as database:
            database.execute("BEGIN IMMEDIATE")
            self._wait()
            database.rollback()

    def call(self):
        """Traffic, of tones that no process of the switch had so far."""
        self._site.traffic(self._calls_s, number=self.calls)

    def hush(self):
        self.calls = self._site.switch.ask("hush")

    def _kill(self, what):
        self._site.kill(what)
        self._site.restart(what)
        self._site.wait_back(what)

    def _receiver(self, mode):
        self._site.receiver.ask("mode", mode=mode)
        self._wait()
        self._site.receiver.ask("mode", mode="ok")

    def _wait(self):
        gevent.sleep(self._site.chance.uniform(*LASTS_S))


DEADLY = ("kill_engine", "kill_delivery", "kill_supervisor", "kill_all")
HARMLESS = ("kill_receiver", "receiver_refuses", "receiver_is_busy", "receiver_has_too_many", "receiver_hangs",
            "receiver_takes_half", "receiver_says_nothing", "kill_switch", "cut_connections", "stall_commands",
            "freeze_engine", "lock_database", *SENTENCES)


def rss_mb(pid: int) -> float | None:
    try:
        return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) / 1024
    except (OSError, TypeError):  # it is gone, or about to be
        return None


def watch(site: Site, samples: dict):
    """Adds (seconds, pid, MB) of each role every two seconds."""
    while True:
        for role, of_role in samples.items():
            pid = site.pid(role)
            if pid and (mb := rss_mb(pid)):
                of_role.append((time.monotonic(), pid, mb))
        gevent.sleep(2)


def soak(minutes: float, calls_s: float, seed: int) -> bool:
    """Whether all is well."""
    place, samples, struck = Path(tempfile.mkdtemp(prefix="kazoo_rec_soak_")), {role: [] for role in ROLES}, Counter()
    with Site(place, seed=seed, supervised=True) as site:
        faults = Faults(site, calls_s)
        faults.call()
        begun = time.monotonic()
        watching = gevent.spawn(watch, site, samples)
        while (passed_s := time.monotonic() - begun) < minutes * 60:
            gevent.sleep(min(site.chance.uniform(*BETWEEN_S), minutes * 60 - passed_s))
            name = site.chance.choice(HARMLESS if passed_s > DEADLY_SHARE * minutes * 60 else DEADLY + HARMLESS)
            print(f"{passed_s:6.0f} s  {name}", flush=True)
            faults.strike(name)
            struck[name] += 1
        watching.kill()
        faults.hush()
        site.wait_taken_in()
        lasted_s = time.monotonic() - begun
        site.wait_quiet(600)
        account = site.account(may_lose=True)
    print(f"{struck.total()} faults: " + ", ".join(f"{count} {name}" for name, count in sorted(struck.items())))
    print(account)
    print("\n".join(account.broken), end="\n" if account.broken else "")
    unasked = unexpected(site.log.read_text())
    print("\n".join(unasked), end="\n" if unasked else "")
    slopes = {role: told_memory(role, of_role) for role, of_role in samples.items()}
    told = minutes < 30 or None not in slopes.values()
    ok = (not account.broken and not unasked and told and faults.calls / lasted_s >= LEAST_SHARE * calls_s
          and all(slope_mb is None or slope_mb < MOST_SLOPE_MB for slope_mb in slopes.values()))
    print(json.dumps({
        "bench": "soak", "minutes": minutes, "seed": seed, "faults": struck.total(),
        "calls": faults.calls, "calls_s": round(faults.calls / lasted_s, 1),
        "wanted": account.wanted, "delivered": account.delivered, "queued": account.queued,
        "reported": account.reported, "broken": len(account.broken), "unexpected": len(unasked), "slope_mb": slopes,
        "rss_mb": {role: round(of_role[-1][2], 1) for role, of_role in samples.items()}, "ok": ok}))
    if ok:
        shutil.rmtree(place)
    else:
        print(f"what there is of it: {place}")
    return ok


def unexpected(log: str) -> list[str]:
    """Ends of roles that nobody had killed, and errors that nobody had expected."""
    return [line for line in log.splitlines()
            if "Traceback" in line or ("a role ended" in line and f"code={-signal.SIGKILL:d}" not in line)]


def told_memory(role: str, samples) -> float | None:
    """Says how large a role was since it was killed last, minute by minute; how much it rises in ten minutes, if that
    can be told."""
    own = [(at, mb) for at, pid, mb in samples if pid == samples[-1][1]]
    settled = [(at, mb) for at, mb in own if at >= own[0][0] + SETTLES_S]
    minutes = {int((at - own[0][0]) // 60): mb for at, mb in own}
    print(f"{role}, MB, by minutes of its life: " + ", ".join(f"{mb:.1f}" for mb in minutes.values()))
    if not settled or settled[-1][0] - settled[0][0] < SLOPE_AFTER_S:
        print(f"its slope is not told from less than {SLOPE_AFTER_S / 60:g} minutes")
        return None
    slope_mb = statistics.linear_regression(*zip(*settled, strict=True)).slope * 600
    print(f"it rises by {slope_mb:+.2f} MB in ten minutes")
    return round(slope_mb, 2)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--calls", type=float, default=20, help="a second")
    parser.add_argument("--seed", type=int, default=None, help="of a run that is to be had again")
    arguments = parser.parse_args()
    chosen = int.from_bytes(os.urandom(3), "big") if arguments.seed is None else arguments.seed
    sys.exit(not soak(arguments.minutes, arguments.calls, chosen))
