"""A fault of ours in one look is not the end of all others."""

import pytest
from gevent.event import Event

from kazoo_rec.calls.recovery import Recovery
from kazoo_rec.calls.tracker import Tracker
from kazoo_rec.delivery.orphans import Orphans
from kazoo_rec.roles import delivery, engine, watch
from kazoo_rec.store.documents import Documents
from tests.roles.test_callflows import config, started  # noqa: F401
from tests.switch.conftest import said  # noqa: F401
from tests.switch.fakes import PATIENCE_S


@pytest.mark.parametrize(("owner", "look"), [(Tracker, "tick"), (Recovery, "sweep")])
def test_a_look_that_fails_is_told_of_and_the_next_follows(config, started, said, monkeypatch, owner, look):  # noqa: F811
    third, looks = Event(), []

    def fails(*_):
        looks.append(1)
        if len(looks) == 3:
            third.set()
        raise KeyError("what a caller said")

    monkeypatch.setattr(watch, "SWEEP_EVERY_S", 0.01)
    monkeypatch.setattr(watch, "SWEEP_RETRY_S", 0.01)
    monkeypatch.setattr(owner, look, fails)
    started(config)
    assert third.wait(PATIENCE_S)
    assert "KeyError at" in said.wait("a look at the calls failed")["fault"]


def test_documents_that_cannot_be_read_for_a_fault_of_ours_are_read_again(config, started, said, monkeypatch):  # noqa: F811
    third, reads, since = Event(), [], Documents.since

    def fails(documents, seq):
        reads.append(seq)
        if len(reads) == 1:
            return since(documents, seq)
        if len(reads) == 4:
            third.set()
        raise KeyError("what a caller said")

    monkeypatch.setattr(engine, "TICK_S", 0.01)
    monkeypatch.setattr(engine, "DATABASE_RETRY_S", 0.01)
    monkeypatch.setattr(Documents, "since", fails)
    started(config)
    assert third.wait(PATIENCE_S)
    assert "KeyError at" in said.wait("the documents cannot be read: those of before stay in force")["reason"]


def test_files_without_a_row_are_looked_for_again_after_a_fault_of_ours(config, said, monkeypatch):  # noqa: F811
    third, looks = Event(), []

    def fails(_orphans):
        looks.append(1)
        if len(looks) == 3:
            third.set()
        raise KeyError("what a caller said")

    monkeypatch.setattr(delivery, "FOUND_EVERY_S", 0.01)
    monkeypatch.setattr(Orphans, "look", fails)
    role = delivery.Delivery(config)
    role.start()
    try:
        assert third.wait(PATIENCE_S)
    finally:
        role.stop()
    assert "KeyError at" in said.wait("files without a row cannot be looked for")["reason"]
