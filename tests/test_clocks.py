"""The host's clock is an hour before the switch's, or behind it, as after a jump: FreeSWITCH goes on by its own."""

import pytest

from kazoo_rec.roles.engine import Engine
from kazoo_rec.simulator.script import Script
from tests.media.sounds import write_talk
from tests.store.test_store import row as a_row
from tests.test_live_calls import Live
from tests.test_whole_way import ALICE, BOB, every, phone


@pytest.fixture(params=[3600, -3600], ids=["behind", "before"])
def site(request, tmp_path, monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.recovery.NEWS_WITHIN_S", 0.5)
    installed = Live(tmp_path)
    installed.simulator.clock.epoch += request.param
    yield installed
    installed.stop()


def test_a_pause_is_as_long_as_it_was_and_what_is_expected_is_what_there_is(site):
    site.call(account=every(site)).recorded()
    site.passes(0.4)
    assert site.order("pause").status_code == 200
    site.passes(0.8)
    site.order("resume")
    site.passes(0.4)
    row, = site.end()
    (span,) = row["spans"]
    assert span["kind"] == "pause" and 800 <= span["to_ms"] - span["from_ms"] < 5000
    assert row["started_ms"] <= span["from_ms"] <= span["to_ms"] <= row["stopped_ms"]
    assert not row["partial"] and abs(row["expected_ms"] - row["duration_ms"]) <= 200


def test_what_waits_to_be_finished_is_late_by_no_clock_but_the_host_s(site):
    """A recording that cannot be finished stopped just now, by the switch's clock."""
    site.start(account=every(site))
    now_ms = round((site.simulator.clock.epoch + site.simulator.clock.now) * 1000)
    file = write_talk(site.place / "recordings/acme/20261121/r.wav")
    site.store.recordings.insert(a_row("r", state="stopped", stopped_ms=now_ms, started_ms=now_ms - 2000,
                                       master=str(file.relative_to(site.place / "recordings")),
                                       settings={"url": None, "record_min_sec": "three"})).get()

    def backlog():
        said = {row["role"]: row["state"] for row in site.store.vitals.all()}
        return said["delivery"]["backlog"]["fs1"] if "delivery" in said else {"finish": {"waiting": 0}}

    site.until(lambda: backlog()["finish"]["waiting"])
    assert 0 <= backlog()["late_ms"] < 60_000 and backlog()["finish"]["oldest_ms"] < 60_000


def test_an_engine_that_comes_back_counts_the_limit_from_the_bridge(site):
    site.start(account=every(site, record_on_bridge=True, time_limit=5))
    talk = site.simulator.play(Script(phone(ALICE, hangs_up=3.0), (phone(BOB, answers=0.2),)))
    site.until(lambda: any(row["state"] == "recording" for row in site.store.recordings.list()))
    site.passes(0.5)
    site.roles[0].stop()
    site.roles[0] = Engine(site.roles[0]._config)
    site.roles[0].start()
    assert talk.wait(20)
    row, = site.rows(talk)
    assert not row["truncated_by_limit"] and not row["partial"] and row["duration_ms"] > 2000


def test_what_was_missed_while_the_engine_was_away_is_seconds(site):
    site.start(account=every(site))
    site.roles[0].stop()
    talk = site.simulator.play(Script(phone(ALICE, hangs_up=5.0), (phone(BOB, answers=0.2),)))
    site.passes(1.0)
    site.roles[0] = Engine(site.roles[0]._config)
    site.roles[0].start()
    assert talk.wait(20)
    row, = site.rows(talk)
    (gap,) = row["spans"]
    assert gap["kind"] == "gap" and 0 < gap["to_ms"] - gap["from_ms"] < 5000 and row["partial"]


def test_a_recording_whose_end_nobody_heard_is_not_expected_to_be_an_hour_longer(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=1.6), phone(BOB, answers=0.2), faults=("RECORD_STOP is lost",))
    assert row["state"] == "recorded" and not row["partial"] and abs(row["duration_ms"] - 1400) <= 60
    assert 0 <= row["stopped_ms"] - row["started_ms"] < 10_000
