"""A disk that fills up while a real switch records; what the switch says of it is not true.

KAZOO_REC_SMALL_DISK names an empty directory on a file system of 1 MB which is mounted so for the switch too (mounted
before that is started); without it, this is skipped.
"""

import os
import time
from itertools import pairwise
from pathlib import Path

import pytest

from kazoo_rec.media import wav
from tests.freeswitch.product import Product, until
from tests.freeswitch.talk import LATE_MS, talk

#: What is said every 20 ms comes no later than this after what was said before, ms.
GAP_MS = 40


@pytest.fixture
def small(lab, switch, tmp_path):
    """The product, recording on the small disk."""
    if not os.environ.get("KAZOO_REC_SMALL_DISK"):
        pytest.skip("KAZOO_REC_SMALL_DISK names no small disk")
    lab.halt()
    tmp_path.chmod(0o755)
    product = Product(tmp_path, switch)
    product.recordings_dir.rmdir()
    product.recordings_dir.symlink_to(os.environ["KAZOO_REC_SMALL_DISK"])
    product.start()
    yield product
    product.stop()
    lab.run()


def fill(directory, left_bytes):
    theirs = Path(directory) / "theirs"
    with open(theirs, "wb", buffering=0) as file:
        disk = os.statvfs(directory)
        file.write(bytes(disk.f_bavail * disk.f_frsize - left_bytes))
    return theirs


def test_a_disk_that_fills_up_leaves_partial_recordings_and_calls_that_are_not_harmed(small, switch, alice, bob):
    small.obey({"acme/account": {"endpoint": {"any": {"onnet": small.record(format="mp3", channels="mono")}}}})
    theirs = fill(small.recordings_dir, 200_000)
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered()
    heard_from = time.monotonic()
    call.hear(7000)
    heard_ms = (time.monotonic() - heard_from) * 1000
    assert heard_ms < 7000 + LATE_MS, "every packet came"
    talk(call, called, duration_ms=20)
    until(lambda: any(row["state"] == "stopped" for row in small.rows()), within_s=20)
    theirs.unlink()
    found = small.recordings()
    assert len(found) == 2
    for recording in found.values():
        row = recording.row
        assert row["state"] == "recorded" and row["partial"] and 6800 <= row["expected_ms"] <= 7500
        assert f"partial: {row['duration_ms']} ms of {row['expected_ms']} ms; the switch could not write all of it" in (
            row["state_reason"])
        assert 2000 < row["duration_ms"] < 4000
        master = small.recordings_dir / row["master"]
        assert wav.probe(master).duration_ms == row["duration_ms"]
        assert wav.comment(master).startswith(f"kazoo_rec/{row['call_id']}/")


def test_what_a_phone_hears_has_no_gap_as_the_disk_fills_up_and_has_room_again(small, switch, alice):
    """The switch itself speaks, so that no other phone's lateness is heard."""
    small.obey({"acme/account": {"endpoint": {"any": {"onnet": small.record()}}}})
    theirs = fill(small.recordings_dir, 100_000)
    call = alice.call("7000").answered()
    (leg,) = switch.legs(1)
    switch.api(f"uuid_broadcast {leg['uuid']} tone_stream://%(30000,0,880) aleg")
    call.hear(1000)
    begun = len(call.arrived_ms)
    call.hear(6000)
    assert not os.statvfs(small.recordings_dir).f_bavail
    theirs.unlink()
    call.hear(3000)
    heard_ms = call.arrived_ms[begun:]
    gaps_ms = [until - since for since, until in pairwise(heard_ms)]
    print("packets", len(heard_ms), "longest gap, ms", round(max(gaps_ms), 1))  # noqa: T201
    assert len(heard_ms) > 440 and max(gaps_ms) <= GAP_MS
    call.hang_up()


def test_on_a_disk_that_is_full_the_row_says_why_nothing_was_recorded(small, alice, bob):
    small.obey({"acme/account": {"endpoint": {"any": {"onnet": small.record()}}}})
    theirs = fill(small.recordings_dir, 0)
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    talk(call, called, duration_ms=2000)
    until(lambda: len(small.rows()) == 2 and all(row["state"] == "failed" for row in small.rows()))
    for row in small.rows():
        assert "full" in row["state_reason"]
    theirs.unlink()
