"""Applications that a callflow executes, and what they leave."""

import pytest

from kazoo_rec.simulator.clock import WallClock
from kazoo_rec.simulator.script import Phone, Script
from kazoo_rec.simulator.simulator import Simulator


@pytest.fixture
def simulator():
    with Simulator(clock=WallClock(4.0)) as running:
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


def test_phones_give_up_each_after_its_own_time(simulator):
    bob, carol = Phone("1001", "acme.example"), Phone("1002", "acme.example", answers=3.5)
    for phone in (bob, carol):
        simulator.register(phone)
    call = simulator.play(Script(Phone("1000", "acme.example", hangs_up=5), dials="3200", dialplan=(
        "bridge [leg_timeout=1]user/1001@acme.example,[leg_timeout=5]user/1002@acme.example",)))
    assert call.wait(10)
    _, first, second = call.legs
    assert (first.cause, bool(second.answered)) == ("NO_ANSWER", True)


def test_the_modules_of_what_is_simulated_are_there(simulator):
    assert simulator.api("module_exists mod_conference") == "true"
    assert simulator.api("module_exists mod_shout") == "false"
