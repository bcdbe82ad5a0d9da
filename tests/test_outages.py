"""When a switch was not heard: of calls that began and ended meanwhile nothing is left on it, so that is kept."""

import gevent
import pytest

from kazoo_rec.roles.engine import Engine
from tests.test_whole_way import Site, every


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.recovery.NEWS_WITHIN_S", 0.5)
    installed = Site(tmp_path)
    installed.start(account=every(installed))
    yield installed
    installed.stop()


def outages(site, count):
    """Once there are so many, and all have ended."""
    with gevent.Timeout(20):
        while True:
            found = site.store.outages.between(0, 1 << 62)
            if len(found) == count and all(one["until_ms"] for one in found):
                return found
            gevent.idle()


def test_a_connection_that_was_lost_is_one(site):
    assert outages(site, 0) == []
    site.simulator.stop()
    site.simulator.start()
    one, = outages(site, 1)
    assert one["node"] == site.roles[0]._config.switches[0].name and 0 <= one["until_ms"] - one["since_ms"] < 20_000
    assert "closed the connection" in one["why"]
    (metric,) = [family for family in site.roles[0]._tell()["metrics"] if family["name"] == "kazoo_rec_outage_seconds"]
    assert [value for name, _, value in metric["samples"] if name.endswith("_count")] == [1]


def test_an_engine_that_was_stopped_and_one_that_was_killed_have_one_each(site):
    config = site.roles[0]._config
    site.roles[0].stop()
    site.roles[0] = Engine(config)
    site.roles[0].start()
    one, = outages(site, 1)
    assert one["why"] == "the engine was stopped" and one["since_ms"] <= one["until_ms"]
    site.roles[0].stop()
    site.store.outages.end(config.switches[0].name, one["until_ms"]).get()
    site.store.vitals.say(config.node, "engine", {}).get()  # as it was when it was killed
    site.roles[0] = Engine(config)
    site.roles[0].start()
    assert [one["why"] for one in outages(site, 3)][-1] == "the engine did not run"
