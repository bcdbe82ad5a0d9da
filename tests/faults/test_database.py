"""The database is locked by somebody else, full, or put back: calls are recorded, and their rows follow."""

import subprocess
from contextlib import suppress

import pytest
from gevent.event import Event

from tests import database
from tests.faults.site import Site

CALLS = 4

#: How long a lock lasts, seconds.
LOCKED_S = 60


@pytest.fixture
def site(tmp_path):
    with Site(tmp_path) as started:
        yield started


def talk(site):
    """Calls, until they are over. Each leg was armed before its answer: nothing waited for a row."""
    for _ in range(CALLS):
        site.call(talk_s=3)
    site.until(lambda: sum(map(len, site.switch.ask("recorded").values())) == 2 * CALLS, 20, "not all is recorded")
    site.until(lambda: not site.switch.ask("legs"), 20, "the calls do not end")
    assert site.switch.ask("commands", contains="execute_on_answer") == 2 * CALLS
    assert not site.switch.ask("commands", contains="uuid_record")


def test_calls_are_recorded_while_the_database_is_locked_and_their_rows_follow(site, table):
    with database.locked(site.place) as connection:
        talk(site)
        site.until(lambda: "database refuses writes" in site.log.read_text(), 20, "nothing was refused")
        assert not connection.exec_driver_sql("SELECT count(*) FROM recordings").scalar()
    site.until(lambda: len(site.ledger.recordings()) == 2 * CALLS, 30, "not every row was written later")
    site.wait_quiet()
    account = site.account()
    assert (account.wanted, account.delivered) == (2 * CALLS, 2 * CALLS)
    table.add("database locked", account)


@pytest.mark.long
def test_a_database_that_is_locked_for_a_minute_loses_nothing(site, table):
    with database.locked(site.place):
        site.traffic(calls_s=5, talk_s=(2.0, 5.0))
        Event().wait(LOCKED_S)
        site.switch.ask("hush")
    site.wait_quiet(within_s=120)
    account = site.account()
    assert account.wanted == account.delivered > 200
    table.add("database locked for 60 s", account)


@pytest.mark.long
def test_what_an_engine_had_in_memory_only_is_found_by_its_files_and_delivered(site, table):
    """The database was locked from before the calls until the engine was killed: there is no row of any."""
    with database.locked(site.place):
        talk(site)
        site.kill("all")
    site.restart("all")  # a delivery that has looked at all files looks again after five minutes
    site.wait_heard()
    site.until(lambda: len(site.ledger.recordings()) == 2 * CALLS, 60, "not every file has a row")
    site.wait_quiet()
    rows = site.ledger.recordings()
    assert {row["reason"] for row in rows} == {"Found without its row."}
    assert {(row["leg"], row["rule"], row["file"][-3:]) for row in rows} == {
        ("A", "account.inbound", "mp3"), ("B", "callee.inbound", "wav")}
    account = site.account()
    assert (account.wanted, account.delivered) == (2 * CALLS, 2 * CALLS)
    table.add("database locked, engine killed", account)


@pytest.fixture
def small(tmp_path):
    """A site whose database is on a disk of 3 MB: a tmpfs, which only root may mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        (tmp_path / "kazoo_rec.db").symlink_to(disk / "kazoo_rec.db")
        with Site(tmp_path) as started:
            yield started
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.sqlite
def test_calls_are_recorded_while_the_database_s_disk_is_full_and_their_rows_follow(small, table):
    theirs = small.place / "disk" / "theirs"
    with open(theirs, "wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    talk(small)
    small.until(lambda: "database or disk is full" in small.log.read_text(), 30, "nothing was refused")
    theirs.unlink()
    small.until(lambda: len(small.ledger.recordings()) == 2 * CALLS, 30, "not every row was written later")
    small.wait_quiet()
    account = small.account()
    assert (account.wanted, account.delivered) == (2 * CALLS, 2 * CALLS)
    table.add("database full", account)


@pytest.mark.long
def test_rows_that_a_backup_did_not_have_are_made_again(site, table):
    talk(site)
    site.wait_quiet()
    site.kill("all")
    database.change(site.place, "DELETE FROM deliveries", "DELETE FROM recordings")
    site.restart("all")
    site.wait_heard()
    site.until(lambda: len(site.ledger.recordings()) == 2 * CALLS, 60, "not every file has a row")
    site.wait_quiet()
    account = site.account()
    assert (account.wanted, account.delivered) == (2 * CALLS, 2 * CALLS)
    table.add("database put back", account)
