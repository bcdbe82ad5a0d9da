"""The harness itself: where nothing breaks everything is delivered, and what is broken is found."""

import json
import shutil
from pathlib import Path

import pytest
import soundfile

from tests import database
from tests.faults.site import Site


@pytest.fixture
def site(tmp_path):
    with Site(tmp_path) as started:
        yield started


def test_where_nothing_breaks_every_recording_is_delivered(site, table):
    for _ in range(10):
        site.call(talk_s=1.5)
    site.wait_quiet()
    account = site.account()
    assert account.wanted == account.delivered == 20
    table.add("none", account)


def test_what_nobody_wants_is_not_recorded(site):
    site.call(talk_s=1.5, domain="quiet.example")
    site.call(talk_s=1.5)
    site.wait_quiet()
    account = site.account()
    assert (account.wanted, account.delivered, account.broken) == (2, 2, [])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two calls, delivered; nothing runs any more."""
    with Site(tmp_path_factory.mktemp("done")) as site:
        site.call(talk_s=1.5)
        site.call(talk_s=1.5)
        site.wait_quiet()
    assert not site.account().broken
    return site


@pytest.fixture
def over(done, tmp_path):
    """A copy of what is left of them, to be spoilt."""
    no_sockets = shutil.ignore_patterns("*.control")
    copied = Path(shutil.copytree(done.place, tmp_path / "site", ignore=no_sockets))
    database.copy(done.place, copied)
    return Site(copied)


def change(site, *statements):
    database.change(site.place, *statements)


def why(site):
    return " ".join(site.account().broken)


def test_a_lost_row_is_found(over):
    last = "(SELECT max(id) FROM recordings)"
    change(over, f"DELETE FROM deliveries WHERE recording_id = {last}", f"DELETE FROM recordings WHERE id = {last}")
    found = why(over)
    assert "no row" in found and "the server has it, and no row" in found and "a file without a row" in found


def test_a_file_under_the_wrong_call_is_found(over):
    a, b = (row for row in over.ledger.recordings() if row["leg"] == "A")
    for row, other in ((a, b), (b, a)):
        change(over, f"UPDATE recordings SET call_id = '{other['call_id']}' WHERE id = '{row['id']}'")
    assert "the server was told of another call_id" in why(over)


def test_sound_of_another_call_under_the_right_name_is_found(over):
    a, b = (row for row in over.ledger.recordings() if row["leg"] == "A")
    files = [over.place / "received" / f"{row['id']}.{row['sha256'][:16]}" for row in (a, b)]
    mine, theirs = (file.read_bytes() for file in files)
    files[0].write_bytes(theirs)
    assert "not [300, 1400]" in why(over) or "not [310, 1420]" in why(over)
    files[0].write_bytes(mine)
    assert not over.account().broken


def test_silence_is_no_talk(over):
    (row, *_) = (row for row in over.ledger.recordings() if row["leg"] == "B")
    file = over.place / "received" / f"{row['id']}.{row['sha256'][:16]}"
    sound, rate = soundfile.read(file)
    sound[:, 1] = 0
    soundfile.write(file, sound, rate, format="WAV")
    assert "there are [] Hz" in why(over)


def test_a_file_that_is_shorter_than_its_call_is_found(over):
    lines = [json.loads(line) for line in over.journal.read_text().splitlines()]
    longer = [{**line, "ms": line["ms"] - 5000} if line["what"] == "answered" else line for line in lines]
    over.journal.write_text("".join(json.dumps(line) + "\n" for line in longer))
    assert "are missing, and no row says so" in why(over)
    change(over, "UPDATE recordings SET partial = TRUE, state_reason = 'as it is'")
    assert " are told" in why(over)
    change(over, "UPDATE recordings SET expected_ms = expected_ms + 5000")
    assert "and only for 0 was nobody there" in why(over)
    assert over.account(may_lose=True).reported == 4
    since_ms = min(json.loads(line)["ms"] for line in over.journal.read_text().splitlines())
    over.outages = [[since_ms, since_ms + 5000]]
    assert over.account().reported == 4


def test_a_failure_of_which_there_is_sound_is_found(over):
    change(over, "UPDATE recordings SET state = 'failed', state_reason = 'no media' WHERE leg = 'B'")
    assert "failed, and 1." in why(over)


def test_what_is_queued_without_its_file_is_found(over):
    change(over, "UPDATE deliveries SET state = 'due'")
    assert over.account().queued == 4
    for file in over.recordings.rglob("*.mp3"):
        file.unlink()
    assert "its file is not there" in why(over)


def test_what_came_twice_to_two_places_is_found(over):
    first, *_ = lines = (over.place / "received" / "journal").read_text().splitlines()
    twice = [*lines, json.dumps({**json.loads(first), "place": "/elsewhere"})]
    (over.place / "received" / "journal").write_text("\n".join(twice))
    assert "delivered to ['/calls/" in why(over) and "'/elsewhere']" in why(over)


def test_what_is_neither_here_nor_there_is_found(over):
    change(over, "UPDATE recordings SET state = 'discarded' WHERE leg = 'A'")
    change(over, "UPDATE recordings SET state = 'failed', state_reason = NULL WHERE leg = 'B'")
    assert "nothing is reported" in why(over) and "failed without a reason" in why(over)
