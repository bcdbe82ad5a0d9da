"""The switch dies, or is not heard: what there is of each recording is delivered, and what is missing is said."""

import pytest

from tests.faults.site import Site
from tests.faults.wire import WiredSite


@pytest.fixture
def site(tmp_path):
    with WiredSite(tmp_path) as started:
        yield started


def calls(site, count, **call):
    return [site.call(**call) for _ in range(count)]


def recorded(site, legs):
    site.until(lambda: len(found := site.switch.ask("recorded")) == legs and all(found.values()), 20,
               f"{legs} legs are not recorded")


def rows(site):
    return [row for row in site.ledger.recordings() if row["state"] != "discarded"]


def outages(site):
    return site.ledger.rows("SELECT * FROM outages ORDER BY id")


def test_a_switch_that_is_killed_leaves_partial_recordings_of_their_true_length(site, table):
    calls(site, 5, talk_s=None)
    recorded(site, 10)
    site.call(talk_s=None, rings_s=None)  # rings when it dies
    began = site.switch.ask("api", line="strmicroepoch")
    site.until(lambda: int(site.switch.ask("api", line="strmicroepoch")) - int(began) > 2_000_000, 10, "no time passes")
    site.kill("switch")
    site.restart("switch")
    site.wait_heard()
    calls(site, 5, talk_s=1.5)
    site.wait_quiet()
    cut = [row for row in rows(site) if row["partial"]]
    assert len(cut) == 10 and len(rows(site)) == 20
    for row in cut:
        assert row["state_reason"].startswith(
            "its end was not heard: the switch was restarted; the switch did not close its file: "
            f"{row['duration_ms']} ms are there")
        assert row["duration_ms"] > 1900 and abs(row["expected_ms"] - row["duration_ms"]) < 400
    (outage,) = outages(site)
    assert outage["node"] and outage["since_ms"] <= outage["until_ms"]
    table.add("switch killed", site.account())


def test_under_traffic_the_switch_is_killed_again_and_again(site, table):
    for number in range(3):
        site.traffic(calls_s=5, talk_s=(1.5, 4.0), number=number * 100)
        site.until(lambda: site.switch.ask("legs") > 15, 20, "no calls")
        site.kill("switch")
        site.restart("switch")
        site.wait_heard()
    site.wait_quiet()
    table.add("switch killed", site.account(), runs=3)


def test_calls_that_are_answered_while_the_connection_is_cut_say_how_much_of_them_is_missing(site, table):
    calls(site, 4, talk_s=8.0, rings_s=0.2)  # recorded when it is cut
    calls(site, 2, talk_s=1.5, rings_s=0.2)  # ended when it is mended
    recorded(site, 12)
    site.wire.cut()
    site.note_outage()
    met = set(calls(site, 4, talk_s=8.0, rings_s=0.2))
    site.until(lambda: site.switch.ask("legs") == 16, 20, "the short calls go on")
    site.wire.mend()
    site.wait_heard()
    site.wait_quiet()
    found = rows(site)
    assert len(found) == 20
    late = [row for row in found if row["interaction_id"] in met]
    assert len(late) == 8
    for row in late:
        assert row["partial"] and row["state_reason"].endswith("s before it were missed: the engine was not connected")
    assert not any(row["partial"] for row in found if row not in late)
    (outage,) = outages(site)
    assert 1000 < outage["until_ms"] - outage["since_ms"] < 20_000
    table.add("connection lost for seconds", site.account())


@pytest.mark.long
def test_a_connection_that_is_dead_and_does_not_say_so_is_given_up_and_made_anew(site, table):
    calls(site, 3, talk_s=70.0, rings_s=0.2)
    recorded(site, 6)
    site.wire.deaden()
    site.note_outage()
    met = set(calls(site, 3, talk_s=70.0, rings_s=0.2))
    site.until(lambda: outages(site), 60, "the dead connection is not given up")
    site.wait_heard()
    site.wait_quiet(within_s=90)
    late = [row for row in rows(site) if row["interaction_id"] in met]
    assert len(late) == 6 and all(row["partial"] and "s before it were missed" in row["state_reason"] for row in late)
    assert not any(row["partial"] for row in rows(site) if row not in late)
    (outage,) = outages(site)
    assert outage["until_ms"] - outage["since_ms"] > 30_000 and "silent" in outage["why"]
    table.add("connection half-open", site.account())


def test_an_engine_that_is_dropped_for_being_slow_says_what_it_did_not_hear(tmp_path, table):
    with Site(tmp_path) as site:
        site.switch.ask("strike", sentences=["event queues hold 20"])
        site.traffic(calls_s=40, talk_s=(2.0, 15.0))
        site.until(lambda: site.switch.ask("legs") > 60, 20, "no calls")
        site.freeze("engine")
        site.until(lambda: not site.switch.ask("listening"), 60, "the switch keeps an engine that takes no events")
        site.switch.ask("strike", sentences=["event queues hold 100000"])
        site.thaw("engine")
        site.wait_taken_in()
        site.switch.ask("hush")
        site.wait_quiet()
        (outage,) = outages(site)
        assert outage["until_ms"] is not None
        table.add("dropped for being slow", site.account())
