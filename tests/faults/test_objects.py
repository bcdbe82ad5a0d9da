"""The object store is out of order while calls are recorded, and in order again: each is there once, as a delivery and
in the library, and no part of anything is left."""

import hashlib

import pytest

from tests.faults.site import Site

CALLS = 3


@pytest.fixture
def site(tmp_path, stored, s3_settings):
    config = {"endpoint": s3_settings.endpoint, "region": s3_settings.region, "access_key": s3_settings.access_key,
              "secret_key": s3_settings.secret_key, "deliver_to": list(s3_settings.deliver_to),
              "library": s3_settings.library}
    with Site(tmp_path, config={"s3": config}, settings={"url": "s3://calls/of/acme/2026"}) as started:
        yield started


def arrived(site, stored):
    site.wait_quiet(within_s=90)
    stored.ask("export", bucket="calls", prefix="of/", directory=str(site.place / "received"))
    account = site.account()
    assert (account.wanted, account.delivered) == (2 * CALLS, 2 * CALLS), account
    there = stored.ask("objects", bucket="calls")
    masters = {f"library/acme/{row['id']}.wav": row["master"] for row in site.ledger.recordings()}
    assert {key: one["sha256"] for key, one in there.items() if not key.startswith("of/")} == {
        key: hashlib.sha256((site.recordings / master).read_bytes()).hexdigest() for key, master in masters.items()}
    assert len(there) == 4 * CALLS and not stored.ask("uploads", bucket="calls")
    return account


def test_a_store_that_cannot_be_reached_has_each_recording_once_it_can(site, table, stored):
    stored.ask("down")
    try:
        site.talk(CALLS)
        site.until(lambda: site.attempted, 30, "nothing was tried")
    finally:
        stored.ask("up")
    table.add("object store unreachable", arrived(site, stored))


def test_a_store_that_is_slow_has_each_recording_though_delivery_is_killed_meanwhile(site, table, stored):
    stored.ask("mode", mode="slow")
    site.talk(CALLS)
    site.until(lambda: stored.ask("waiting"), 30, "nothing was sent")
    site.kill("delivery")
    stored.ask("mode", mode="ok")
    site.restart("delivery")
    table.add("object store slow", arrived(site, stored))


@pytest.mark.long
def test_a_store_that_stays_slow_has_each_recording_in_time(site, table, stored):
    stored.ask("mode", mode="slow")
    site.talk(CALLS)
    site.until(lambda: len(site.ledger.rows("SELECT * FROM deliveries WHERE state = 'delivered'")) >= 2, 240,
               "nothing arrives")
    stored.ask("mode", mode="ok")
    table.add("object store slow", arrived(site, stored))


@pytest.mark.parametrize("mode", ["absent", "cut", "other"])
def test_what_a_store_says_that_it_has_and_has_not_is_sent_again(site, table, stored, mode):
    stored.ask("mode", mode=mode)
    site.talk(CALLS)
    site.until(lambda: site.attempted, 30, "nobody has noticed")
    assert not site.ledger.rows("SELECT * FROM deliveries WHERE state = 'delivered'")
    stored.ask("mode", mode="ok")
    table.add("object store lies", arrived(site, stored))
