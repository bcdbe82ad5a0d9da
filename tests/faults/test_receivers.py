"""The customer's server is out of order while calls are recorded, and in order again: each comes, and counts, once."""

import pytest

from tests.faults.site import Site

CALLS = 3


@pytest.fixture
def site(tmp_path):
    with Site(tmp_path) as started:
        yield started


def arrived(site):
    site.wait_quiet(within_s=90)
    account = site.account()
    assert (account.wanted, account.delivered) == (2 * CALLS, 2 * CALLS)
    return account


@pytest.mark.parametrize("mode", ["500", "503", "429"])
def test_a_receiver_that_refuses_has_each_recording_once_it_takes_them(site, table, mode):
    site.receiver.ask("mode", mode=mode)
    site.talk(CALLS)
    site.until(lambda: site.attempted, 30, "nothing was tried")
    assert {row["status"] for row in site.attempted} == {int(mode)}
    site.receiver.ask("mode", mode="ok")
    table.add(f"receiver says {mode}", arrived(site))


@pytest.mark.parametrize("mode", ["hang", "half", "silent"])
def test_a_receiver_that_hangs_and_is_killed_has_each_recording_once(site, table, mode):
    site.receiver.ask("mode", mode=mode)
    site.talk(CALLS)
    site.until(lambda: site.receiver.ask("waiting"), 30, "nothing was sent")
    site.kill("receiver")
    site.until(lambda: site.attempted, 30, "nothing has failed")
    site.restart("receiver")
    table.add(f"receiver killed: {mode}", arrived(site))


def test_a_receiver_that_is_down_holds_nothing_up_and_a_new_delivery_still_knows(site, table):
    site.kill("receiver")
    site.talk(CALLS)
    site.until(lambda: site.ledger.rows("SELECT * FROM failing_servers"), 30, "nobody has noticed")
    site.kill("delivery")
    site.restart("delivery")
    site.restart("receiver")
    account = arrived(site)
    assert not site.ledger.rows("SELECT * FROM failing_servers")
    table.add("receiver down", account)
