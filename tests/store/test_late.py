"""What an engine writes late, as it was cut off from the database, after another has taken its place: no row ever
goes backwards."""

import pytest

from kazoo_rec.store import Store
from kazoo_rec.store.recordings import OPEN_STATES
from tests import database
from tests.store.test_store import row

SPAN = {"kind": "mask", "from_ms": 1, "to_ms": 2}
DECLINED = {"kind": "declined", "from_ms": 1, "to_ms": 1}


@pytest.fixture
def late(store, tmp_path):
    """The store of an engine whose words are older than what `store` has written."""
    opened = Store(database.of(tmp_path), clock_ms=lambda: 1_795_221_337_000)
    yield opened
    opened.close()


@pytest.mark.parametrize("of", [
    lambda store, **columns: store.recordings.update("r1", **columns),
    lambda store, **columns: store.recordings.tell("r1", columns, {"recording_id": "r1", "kind": "webhook"})])
@pytest.mark.parametrize(("state", "said"), [
    *((state, said) for said in (*OPEN_STATES, "stopped") for state in ("stopped", "recorded", "failed", "deleted")),
    *((state, said) for said in ("discarded", "failed") for state in ("stopped", "recorded", "failed", "deleted")),
    *(("discarded", said) for said in (*OPEN_STATES, "stopped"))])
def test_what_has_ended_does_not_begin_or_end_again(store, late, of, state, said):
    store.recordings.insert(row("r1", state=state)).get()
    assert of(late, state=said, spans=[SPAN]).get() == 0
    found = store.recordings.get("r1")
    assert (found["state"], found["spans"]) == (state, [])


@pytest.mark.parametrize(("state", "said"), [
    *((state, said) for state in OPEN_STATES for said in (*OPEN_STATES, "stopped", "discarded", "failed")),
    ("discarded", "discarded")])
def test_what_goes_on_takes_every_word(store, late, state, said):
    store.recordings.insert(row("r1", state=state)).get()
    assert late.recordings.update("r1", state=said).get() == 1
    assert store.recordings.get("r1")["state"] == said


def test_what_is_declined_ends_again_though_it_was_discarded(store, late):
    store.recordings.insert(row("r1", state="discarded")).get()
    assert late.recordings.update("r1", state="stopped", spans=[DECLINED]).get() == 1


def test_who_may_have_been_replaced_replaces_no_newer_word(store, late):
    store.recordings.insert(row("r1", state="recording", spans=[SPAN])).get()
    late.recordings.unsure = True
    assert late.recordings.update("r1", spans=[]).get() == 0
    assert late.recordings.update("r1", state="paused").get() == 0
    found = store.recordings.get("r1")
    assert (found["state"], found["spans"]) == ("recording", [SPAN])
    late.recordings.insert(row("r2", state="recording")).get()
    assert late.recordings.update("r2", spans=[SPAN]).get() == 1


def test_whose_clock_was_set_back_writes_all_the_same(store, late):
    store.recordings.insert(row("r1", state="recording", spans=[])).get()
    assert late.recordings.update("r1", spans=[SPAN]).get() == 1


def test_a_row_that_is_there_already_stays_and_what_was_said_of_the_other_moves_it_no_way(store, late):
    """Another engine has found on the switch what this one began, and has made its row."""
    store.recordings.insert(row("r1", state="recording", started_ms=7, spans=[SPAN])).get()
    late.recordings.unsure = True
    said = late.recordings.insert(row("r1")), late.recordings.update("r1", state="recording", started_ms=9, spans=[])
    another = late.recordings.insert(row("r2"))
    assert ([one.get() for one in said], another.get()) == ([0, 0], 1)
    found = store.recordings.get("r1")
    assert (found["state"], found["started_ms"], found["spans"]) == ("recording", 7, [SPAN])
