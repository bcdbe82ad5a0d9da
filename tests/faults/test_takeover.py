"""Two engines for one switch: the one that acts is killed, stopped, or cut off from the database, and the other acts.
Nothing is recorded twice, and nothing is lost."""

import os
import signal

import pytest
from gevent.event import Event

from kazoo_rec.roles.acting import LOOK_S, RETURN_S
from tests import database
from tests.faults.pair import ENGINES, Pair

pytestmark = pytest.mark.skipif(not database.SERVER, reason="two engines for one switch want PostgreSQL")

#: Seconds until new calls are recorded again.
WITHIN_MS = 5_000

IS_LONG = os.environ.get("KAZOO_REC_FAULTS") == "long"

#: Takeovers, calls a second, for how long they talk, seconds, and seconds between a takeover and the next, at most.
TAKEOVERS, CALLS_S, TALK_S, BETWEEN_S = (50, 20, (6.0, 12.0), 4.0) if IS_LONG else (3, 2, (3.0, 8.0), 2.0)

#: KAZOO_REC_SEED has a run again, KAZOO_REC_KILLS another number of takeovers.
TAKEOVERS = int(os.environ.get("KAZOO_REC_KILLS") or TAKEOVERS)
SEED = int(os.environ.get("KAZOO_REC_SEED") or int.from_bytes(os.urandom(3), "big"))


@pytest.fixture
def site(tmp_path):
    with Pair(tmp_path, seed=SEED) as pair:
        yield pair


@pytest.fixture
def wired(tmp_path):
    with Pair(tmp_path, seed=SEED, wired=True) as pair:
        yield pair


def settled(site, table, fault, runs=1, may_lose=False):
    site.switch.ask("hush")
    site.switch.ask("hang_up")
    site.wait_quiet(300)
    account = site.account(may_lose=may_lose)
    table.add(fault, account, runs)
    return account


def other(name):
    return ENGINES[1 - ENGINES.index(name)]


def test_takeovers_under_traffic_lose_nothing_and_double_nothing(site, table):
    site.traffic(CALLS_S, TALK_S)
    took_ms = []
    for _ in range(TAKEOVERS):
        Event().wait(site.chance.uniform(0.5, BETWEEN_S))
        ended, since_ms = site.end_acting()
        took_ms.append(site.until(lambda since_ms=since_ms: site.begun_since(since_ms), 60, "nobody records again"))
        assert site.wait_acting() == other(ended)
        site.wait_taken_in()
        site.stand_by(ended)
    account = settled(site, table, f"takeovers, {CALLS_S} calls/s, seed {SEED}", TAKEOVERS, may_lose=IS_LONG)
    assert account.delivered
    print("ms to the first recording, to the first whole call:", took_ms)  # noqa: T201
    assert IS_LONG or max(map(max, took_ms)) < WITHIN_MS


def test_an_engine_that_is_stopped_hands_over(site, table):
    for _ in range(3):
        site.call(talk_s=None)
    site.until(lambda: sum(map(len, site.switch.ask("recorded").values())) == 6, 30, "not all is recorded")
    before = site.switch.ask("recorded")
    ended, _ = site.end_acting(signal.SIGTERM)
    assert site.wait_acting() == other(ended)
    site.wait_taken_in()
    assert site.switch.ask("recorded") == before
    assert settled(site, table, "takeover from one that is stopped").delivered == 6


@pytest.mark.parametrize("is_mended", [True, False])
def test_who_is_cut_off_from_the_database_ends_and_what_it_says_late_changes_nothing(wired, table, is_mended):
    site = wired
    site.traffic(CALLS_S, TALK_S)
    Event().wait(3)
    first = site.wait_acting()
    site.note_outage()
    site.wires[first].cut()
    site.until(lambda: site.acting() == other(first), 30, "the other does not take over")
    site.until(lambda: "this engine ends" in site.log_of(first).read_text(), 30, "it does not end")
    if is_mended:
        site.wires[first].mend()
    assert site.processes[first].wait(60) == 0
    site.wires[first].mend()
    site.wait_taken_in()
    assert site.switch.ask("listening") == 1
    site.stand_by(first)
    if not is_mended:  # what it had in memory only is found by its files: as delivery starts, or every five minutes
        site.switch.ask("hush")
        site.switch.ask("hang_up")
        site.until(lambda: not site.switch.ask("legs"), 30, "the calls do not end")
        site.kill("delivery")
        site.start("delivery")
        site.until(lambda: {path.name[:39] for path in site.recordings.rglob("*.wav")}
                   <= {row["id"] for row in site.ledger.recordings()}, 90, "not every file has a row")
    assert settled(site, table, "takeover from one that is cut off").delivered
    assert not [row for row in site.ledger.recordings() if row["state"] in ("armed", "recording", "paused")]


def test_while_the_database_is_away_from_both_the_one_that_acts_goes_on_and_stays_it(wired, table):
    site = wired
    site.traffic(CALLS_S, TALK_S)
    first = site.wait_acting()
    for wire in site.wires.values():
        wire.cut()
    for name, line in ((first, "it goes on"), (other(first), "is lost to an engine that stands by")):
        site.until(lambda name=name, line=line: line in site.log_of(name).read_text(), 30, f"{name} does not notice")
    assert not site.acting()
    Event().wait(3)
    for wire in site.wires.values():
        wire.mend()
    site.until(lambda: "taken again" in site.log_of(first).read_text(), 30, "it does not get its lock back")
    site.until(lambda: "the database is there again" in site.log_of(other(first)).read_text(), 30, "nobody stands by")
    Event().wait(RETURN_S + 2 * LOOK_S)
    assert site.acting() == first and "acts from now on" not in site.log_of(other(first)).read_text()
    account = settled(site, table, "the database is away from two engines")
    assert account.delivered == account.wanted
