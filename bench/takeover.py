"""How long it takes until calls are recorded again when the engine that acts is killed, and the other one takes over.

    bench/takeover.py [--runs 20] [--calls 5] [--seed N]

Two engines watch a simulated switch, with a PostgreSQL of this bench's own. Each run kills the one that acts (kill -9)
under traffic, and waits for the first recording that is planned after that, and for the first call of which nothing is
missing; then the killed one stands by. At the end every recording that was wanted is accounted for. Exit 1 where one is
broken, lost or doubled, or where it took longer than 5 s; ends by itself.
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests import database  # noqa: E402
from tests.faults.pair import Pair  # noqa: E402

#: Milliseconds in which calls have to be recorded again.
WITHIN_MS = 5_000

#: Seconds between a run and the next, that a call talks, and for the bench to come to an end, for each run.
BETWEEN_S, TALK_S, RUN_WITHIN_S = (1.0, 3.0), (4.0, 8.0), 60


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=20)
    arguments.add_argument("--calls", type=float, default=5.0, help="calls a second")
    arguments.add_argument("--seed", type=int, default=1)
    said = arguments.parse_args()
    if not database.SERVER:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "tests.postgres", sys.executable, *sys.argv])
    place = Path(tempfile.mkdtemp(prefix="kazoo_rec_takeover_"))
    try:
        with gevent.Timeout(300 + RUN_WITHIN_S * said.runs), Pair(place, seed=said.seed) as site:
            took, account = measure(site, said.runs, said.calls)
        database.drop(place)
    finally:
        shutil.rmtree(place)
    begun, whole = zip(*took, strict=True)
    ok = not account.broken and max(begun) < WITHIN_MS
    for name, figures in (("a recording begins", begun), ("a call is whole", whole)):
        print(f"ms from kill -9 until {name}: p50 {statistics.median(figures):.0f}, max {max(figures)}, "
              f"{sum(one < WITHIN_MS for one in figures)} of {len(figures)} within {WITHIN_MS}")
    print(account, *account.broken, sep="\n")
    print(json.dumps({"bench": "takeover", "runs": said.runs, "calls_s": said.calls, "seed": said.seed,
                      "begun_ms": begun, "whole_ms": whole, "wanted": account.wanted, "delivered": account.delivered,
                      "reported": account.reported, "broken": len(account.broken), "ok": ok}))
    sys.exit(not ok)


def measure(site, runs, calls_s):
    site.traffic(calls_s, TALK_S)
    took = []
    for _ in range(runs):
        gevent.sleep(site.chance.uniform(*BETWEEN_S))
        ended, since_ms = site.end_acting()
        took.append(site.until(lambda since_ms=since_ms: site.begun_since(since_ms), RUN_WITHIN_S, "nobody records"))
        site.wait_taken_in()
        site.stand_by(ended)
    site.switch.ask("hush")
    site.switch.ask("hang_up")
    site.wait_quiet(300)
    return took, site.account()


if __name__ == "__main__":
    main()
