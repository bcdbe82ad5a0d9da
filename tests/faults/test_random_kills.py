"""Random kills under traffic. `make faults` has 200 of them at 20 calls a second, the suite a few."""

import os

from gevent.event import Event

from tests.faults.site import Site

#: What is killed; "all" is everything of the product at once.
VICTIMS = ("engine", "delivery", "supervisor", "all")

#: Seconds between the return of what was killed and the next kill, at most.
BETWEEN_S = 3.0

#: How often what was killed is at work again before the next kill; else that may strike as it takes in calls.
BACK_SHARE = 0.75

#: Kills, calls a second, and for how long they talk, seconds.
IS_LONG = os.environ.get("KAZOO_REC_FAULTS") == "long"
KILLS, CALLS_S, TALK_S = (200, 20, (6.0, 12.0)) if IS_LONG else (5, 1, (5.0, 30.0))

#: KAZOO_REC_SEED has a run again.
SEED = int(os.environ.get("KAZOO_REC_SEED") or int.from_bytes(os.urandom(3), "big"))


def test_random_kills_under_traffic_lose_nothing(tmp_path, table):
    with Site(tmp_path, seed=SEED, supervised=True) as site:
        site.traffic(CALLS_S, TALK_S)
        killed = 0
        while killed < KILLS:
            Event().wait(site.chance.uniform(0, BETWEEN_S))
            victim = site.chance.choice(VICTIMS)
            killed += site.kill(victim)
            site.restart(victim)
            if site.chance.random() < BACK_SHARE:
                site.wait_back(victim)
        site.wait_taken_in()
        site.switch.ask("hush")
        site.switch.ask("hang_up")
        site.wait_quiet(300)
        table.add(f"random kills, {CALLS_S} calls/s, seed {SEED}", site.account(may_lose=IS_LONG), killed)
