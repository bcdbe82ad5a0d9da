"""The disk of the recordings is full: a small tmpfs, which only root may mount; else these are skipped."""

import subprocess

import pytest

from kazoo_rec.delivery.mark import LOCK
from tests.faults.site import Site

#: Bytes: 12 s of both legs of a call.
DISK_BYTES = 768 * 1024

#: Its first bytes are somebody else's.
THEIRS_BYTES = 512 * 1024


@pytest.fixture
def marks():
    return {}


@pytest.fixture
def site(tmp_path, marks):
    with Site(tmp_path, config={"disk": marks}) as started:
        lock = started.recordings / LOCK
        started.until(lambda: lock.exists() and lock.read_text(), 20, "the recordings directory has no mark")
        mark = lock.read_text()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=2770", "tmpfs",
                                  started.recordings], capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
        try:
            lock.write_text(mark)
            yield started
        finally:
            started.close()
            subprocess.run(["umount", started.recordings], check=True)


@pytest.mark.parametrize("marks", [{"remove_delivered_below": "0%", "alarm_below": "3%"}])
def test_a_disk_that_fills_up_leaves_partial_recordings_which_wait_for_room_and_are_delivered(site, table):
    theirs = site.recordings / "theirs"
    theirs.write_bytes(bytes(THEIRS_BYTES))
    site.call(talk_s=9)
    site.until(lambda: "the disk takes nothing more: what has stopped waits" in site.log.read_text(), 40,
               "the disk was not full for the delivery")
    site.wait_row(state="stopped", leg="A", state_reason="OSError: No space left on device")
    assert not list(site.recordings.rglob("*.mp3")), "it has its name when it is whole"
    theirs.unlink()
    site.wait_quiet()
    account = site.account(may_lose=True)
    assert (account.wanted, account.reported, account.broken) == (2, 2, []), "reported: they are partial"
    assert [one["state"] for one in site.ledger.deliveries()] == ["delivered", "delivered"]
    for row in site.ledger.recordings():
        assert row["partial"] and f"partial: {row['duration_ms']} ms of {row['expected_ms']} ms" in row["state_reason"]
        assert row["duration_ms"] < 6000 < 8500 < row["expected_ms"]
    table.add("disk full", account)


def test_below_the_first_mark_what_was_delivered_goes_and_below_the_second_there_is_an_alarm(site, table):
    site.call(talk_s=3)
    site.until(lambda: len(site.ledger.rows("SELECT id FROM deliveries WHERE state = 'delivered'")) == 2, 40,
               "not delivered")
    assert len(list(site.recordings.rglob("*.wav"))) == 2
    room = DISK_BYTES - sum(file.stat().st_blocks * 512 for file in site.recordings.rglob("*.*"))
    (site.recordings / "theirs").write_bytes(bytes(room - 16 * 1024))
    site.until(lambda: site.ledger.rows("SELECT id FROM recordings WHERE audio_removed_ms IS NOT NULL"), 40,
               "nothing is removed")
    site.until(lambda: "the disk has room again" in site.log.read_text(), 20, "it is not told that there is room")
    assert "the disk is nearly full" in site.log.read_text()
    gone, stays = site.ledger.rows("SELECT * FROM recordings ORDER BY stopped_ms, id")
    assert (stays["audio_removed_ms"], gone["state"]) == (None, "recorded")
    assert [file.name.partition(".")[0] for file in site.recordings.rglob("*.wav")] == [stays["id"]]
    account = site.account()
    assert (account.wanted, account.delivered, account.broken) == (2, 2, [])
    table.add("disk below its marks", account)
