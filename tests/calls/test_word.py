"""An order that the switch says yes to and that has no effect is no order carried out; nor is one that it does not
answer."""

import gevent
import pytest

from kazoo_rec.errors import CommandFailed, CommandTimeout, NotConnected, WrongState

from .fakes import CODEC, ROOT
from .flows import Flows
from .test_control import Live

NOTHING = "<media-bugs>\n</media-bugs>\n"
ORDERS = ("mask", "unmask", "pause", "resume")


@pytest.mark.parametrize("action", ORDERS)
@pytest.mark.parametrize("reply", [NOTHING, CommandFailed("the switch refused", "-ERR no reply\n")])
def test_of_a_recording_that_a_transfer_took_away_unheard_the_yes_of_the_switch_is_not_believed(action, reply):
    one = Live().talks()
    one.switch.replies = {"uuid_buglist a": reply}
    with pytest.raises(WrongState, match="does not record it here any more"):
        one.order(action)
    assert all(span["to_ms"] == span["from_ms"] for span in one.row()["spans"]) and one.row()["state"] == "recording"


@pytest.mark.parametrize("action", ORDERS)
def test_one_that_ends_while_it_is_ordered_about_has_not_obeyed(action):
    one = Live().talks()
    path = f"{ROOT}/{one.row()['master']}"
    one.switch.obeys = lambda command: one.record_stop("a", one.row()["id"], path) if f" {action} " in command else None
    with pytest.raises(WrongState, match="has ended"):
        one.order(action)
    assert one.row()["state"] == "stopped"


@pytest.mark.parametrize(("begin", "end"), [("mask", "unmask"), ("pause", "resume")])
@pytest.mark.parametrize("fault", [CommandTimeout("no reply"), NotConnected("gone")])
def test_a_silence_whose_end_the_switch_may_not_have_heard_goes_on_and_is_said_again(begin, end, fault):
    one = Live().talks()
    one.order(begin)
    one.switch.replies = {f" {end} ": fault}
    with pytest.raises(type(fault)):
        one.order(end)
    assert one.row()["spans"][0]["to_ms"] is None
    one.after(1000)
    assert len(one.switch.of(f" {begin} ")) == 2


@pytest.mark.parametrize("fault", [CommandTimeout("no reply"), NotConnected("gone")])
def test_a_yes_that_cannot_be_looked_into_is_said_again(fault):
    one = Live().talks()
    one.switch.replies = {"uuid_buglist": fault}
    with pytest.raises(type(fault)):
        one.order("mask")
    assert one.row()["spans"][0]["to_ms"] is None
    one.after(1000)
    assert len(one.switch.of(" mask ")) == 2


def answered():
    """A leg that an action had armed, of which RECORD_START was not heard yet; its path."""
    one = Flows().phone_calls("a", "1000")
    one.begin(label="sales")
    (id, path), = one.armed("a").items()
    return one.event("CHANNEL_ANSWER", "a", **{**CODEC, f"variable_execute_on_answer_{id}": "record_session"}), id, path


def test_what_the_switch_has_begun_is_masked_though_its_beginning_was_not_heard():
    one, _, path = answered()
    one.switch.runs = lambda uuid: [path]
    (told,) = one.change("mask", label="sales")
    assert told["masked"] and told["state"] == "recording" and one.switch.of(f" mask {path}")


def test_an_order_that_comes_between_answer_and_beginning_waits_for_the_beginning():
    one, id, path = answered()
    ordered = gevent.spawn(one.change, "mask", label="sales")
    gevent.idle()
    assert not ordered.ready()
    one.record_start("a", id, path)
    assert ordered.get(timeout=5)[0]["masked"] and one.switch.of(f" mask {path}")
