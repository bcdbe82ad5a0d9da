"""A fault of ours in one look is not the end of all others."""

import pytest
from gevent.event import Event

from kazoo_rec.calls.recovery import Recovery
from kazoo_rec.calls.tracker import Tracker
from kazoo_rec.roles import engine
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

    monkeypatch.setattr(engine, "SWEEP_EVERY_S", 0.01)
    monkeypatch.setattr(engine, "SWEEP_RETRY_S", 0.01)
    monkeypatch.setattr(owner, look, fails)
    started(config)
    assert third.wait(PATIENCE_S)
    assert "KeyError at" in said.wait("a look at the calls failed")["fault"]
