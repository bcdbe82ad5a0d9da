"""A party declines while the database takes nothing, and the engine is killed before it does: nothing is kept of it."""

from contextlib import nullcontext

import pytest

from tests import database
from tests.faults.site import Site
from tests.faults.truth import received

LONG = pytest.mark.long


@pytest.fixture
def site(tmp_path):
    with Site(tmp_path, settings={"announce": {"opt_out_digit": "9"}}) as started:
        yield started


def is_quiet(site):
    return not any(site.switch.ask("recorded").values())


@pytest.mark.parametrize(("rows", "goes_on"), [
    ("durable", True), ("durable", False), pytest.param("lost", True, marks=LONG),
    pytest.param("lost", False, marks=LONG)])
def test_what_was_declined_is_erased_and_its_call_is_not_recorded_again(site, rows, goes_on):
    with database.locked(site.place) if rows == "lost" else nullcontext():
        caller = site.call(talk_s=None)
        site.until(lambda: sum(map(len, site.switch.ask("recorded").values())) == 2, 20, "not all is recorded")
        if rows == "durable":
            site.until(lambda: [row["state"] for row in site.ledger.recordings()] == 2 * ["recording"], 20, "no rows")
        with database.locked(site.place) if rows == "durable" else nullcontext():
            site.switch.ask("api", line=f"uuid_recv_dtmf {caller} 9")
            site.until(lambda: is_quiet(site), 20, "it goes on being recorded")
            site.until(lambda: len(list(site.recordings.glob("*/*/*.declined"))) == 2, 20, "nothing is marked")
            site.kill("all")
    assert len(list(site.recordings.glob("*/*/*.wav"))) == 2
    if not goes_on:
        site.switch.ask("hang_up")
    site.restart("all")
    site.wait_heard()
    site.until(lambda: not [path for path in site.recordings.glob("*/*/*") if path.is_file()], 90, "it is not erased")
    assert is_quiet(site) and site.switch.ask("legs") == 2 * goes_on
    site.switch.ask("hang_up")
    site.wait_quiet()
    assert {(row["state"], row["state_reason"]) for row in site.ledger.recordings()} == {("discarded", "declined")}
    assert not received(site.place / "received" / "journal")
