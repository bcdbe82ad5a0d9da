"""Dial strings, and what follows when nobody is reached."""

import pytest

from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import alice, bob, pstn


@pytest.fixture
def dial(switch, clock):
    """A caller's leg executes `bridge` with this data, then sets a variable; gives all legs."""
    def dialled(data, *before, after=5):
        for phone in (bob(), bob(user="1002", answers=None), bob(user="1003", refuses="USER_BUSY")):
            switch.phones.add(phone)
        call = switch.play(Script(alice(), dials="7000", dialplan=(*before, f"bridge {data}", "set came_behind=yes")))
        clock.advance(after)
        return call.legs
    return dialled


def test_variables_in_front_are_those_of_the_called_legs_and_in_brackets_of_one(dial):
    legs = dial("{a=1,b=2}[c=3]user/1001@acme.example,[c=4]user/1002@acme.example")
    own = [{name: leg.variables.get(name) for name in "abc"} for leg in legs]
    assert own == [{"a": None, "b": None, "c": None}, {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "2", "c": "4"}]


def test_the_next_group_is_rung_when_nobody_of_the_first_answers(dial):
    legs = dial("{leg_timeout=2}user/1002@acme.example|user/1001@acme.example")
    assert [leg.phone.user for leg in legs] == ["1000", "1002", "1001"] and legs[0].partner is legs[2]


@pytest.mark.parametrize(("before", "goes_on"), [
    ((), False), (("set continue_on_fail=true",), True), (("set continue_on_fail=USER_BUSY,NO_ANSWER",), True),
    (("set continue_on_fail=NO_ANSWER",), False), (("set continue_on_fail=false",), False)])
def test_whether_the_dialplan_goes_on_is_the_callers_variable(dial, before, goes_on):
    caller, _ = dial("user/1003@acme.example", *before)
    assert caller.variables["originate_disposition"] == "USER_BUSY"
    assert ("came_behind" in caller.variables, caller.cause == "USER_BUSY") == (goes_on, not goes_on)


def test_who_is_not_there_is_as_one_who_refuses(dial):
    caller, = dial("user/9999@acme.example")
    assert caller.cause == "SUBSCRIBER_ABSENT"
    assert len(dial("user/9999@acme.example,user/1001@acme.example")) == 2


def test_early_media_is_waited_out_where_the_dial_string_says_so(switch, clock):
    switch.phones.add(pstn(early_media=0.2, answers=2))
    for settings, bridged in (("", True), ("{ignore_early_media=true}", False)):
        call = switch.play(Script(alice(), dials="7000", dialplan=(
            f"bridge {settings}sofia/gateway/carrier/442079460123",)))
        clock.advance(1)
        assert (call.legs[0].partner is not None) == bridged
