"""Applications that a callflow executes, and what they leave."""

import pytest

from kazoo_rec.simulator.script import Phone, Script
from kazoo_rec.simulator.simulator import Simulator


@pytest.fixture
def simulator():
    with Simulator() as running:
        yield running


def played(simulator, *dialplan):
    call = simulator.play(Script(Phone("1000", "acme.example"), dials="3200", dialplan=dialplan))
    assert call.wait(10)
    return call.legs[0]


def test_a_variable_is_taken_away(simulator):
    leg = played(simulator, "set a=1", "set b=2", "unset a", "hangup")
    assert "a" not in leg.variables and leg.variables["b"] == "2"


@pytest.mark.parametrize(("status", "cause"), [("486 Busy Here", "USER_BUSY"), ("404", "UNALLOCATED_NUMBER"),
                                               ("500 No", "NORMAL_UNSPECIFIED")])
def test_a_status_ends_a_call_that_is_not_answered(simulator, status, cause):
    assert played(simulator, f"respond {status}", "answer").cause == cause


def test_a_status_says_nothing_to_an_answered_call(simulator):
    assert played(simulator, "answer", "respond 486 Busy Here", "hangup NORMAL_CLEARING").cause == "NORMAL_CLEARING"
