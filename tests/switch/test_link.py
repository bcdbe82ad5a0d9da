"""The events of one switch, for ever."""

import gevent
import pytest
from gevent.event import Event as Flag
from gevent.queue import Queue

from kazoo_rec.errors import NotConnected, SwitchError
from kazoo_rec.switch.link import Link
from tests.switch.fakes import PATIENCE_S, event, frame, reply


class Diary:
    """What the link told, in order; a handler may be made to fail or to wait."""

    def __init__(self):
        self.told = Queue()
        self.on_event = lambda event: None

    def handlers(self):
        return {
            "on_event": self.hear,
            "on_up": lambda core_uuid: self.told.put(("up", core_uuid)),
            "on_down": lambda reason: self.told.put(("down", type(reason))),
            "on_gap": lambda count: self.told.put(("gap", count)),
            "on_core_change": lambda old, new: self.told.put(("core", old, new)),
        }

    def hear(self, event):
        self.on_event(event)
        self.told.put(("event", event.get("N")))

    def next(self, times=1):
        told = [self.told.get(timeout=PATIENCE_S) for _ in range(times)]
        return told[0] if times == 1 else told


@pytest.fixture
def diary():
    return Diary()


@pytest.fixture
def link(switch, dial, diary):
    """Starts one; with `up=True` it is up when this returns, and has told so."""
    made = []

    def make(up=False, **options):
        made.append(Link(dial, ["N"], ["kazoo_rec::record_call"],
                         **{**diary.handlers(), "pause": lambda seconds: None, **options}))
        made[-1].start()
        if up:
            assert diary.next() == ("up", "core-1")
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_it_subscribes_says_it_is_up_and_hands_events_over_in_order(link, switch, diary):
    link(up=True)
    switch.session().send(*[event("N", N=str(n)) for n in range(1000)])
    assert diary.next(1000) == [("event", str(n)) for n in range(1000)]
    assert switch.commands == [
        "event json N HEARTBEAT CUSTOM kazoo_rec::record_call", "log crit", "event json PRESENCE_OUT",
        "sendevent PRESENCE_OUT", "nixevent PRESENCE_OUT", "api global_getvar core_uuid"]


def test_what_is_listened_to_later_comes_too_and_behind_a_new_connection_as_well(link, switch, diary):
    one = link(up=True)
    one.listen(["DTMF"])
    one.listen(["DTMF"])
    assert switch.commands[6:] == ["event json N DTMF HEARTBEAT CUSTOM kazoo_rec::record_call"]
    session = switch.session()
    session.send(event("DTMF", N="pressed"), event("N", N="1"))
    assert diary.next(2) == [("event", "pressed"), ("event", "1")]
    session.close()
    assert diary.next(2) == [("down", NotConnected), ("up", "core-1")]
    assert switch.commands[7] == "event json N DTMF HEARTBEAT CUSTOM kazoo_rec::record_call"


def test_what_is_to_be_listened_to_without_a_connection_comes_with_the_first(switch, dial, diary):
    one = Link(dial, ["N"], **diary.handlers())
    with pytest.raises(NotConnected):
        one.listen(["DTMF"])
    one.start()
    try:
        assert diary.next() == ("up", "core-1") and switch.commands[0] == "event json N DTMF HEARTBEAT"
        one.listen(["DTMF"])
        assert sum("DTMF" in command for command in switch.commands) == 1
    finally:
        one.stop()


def test_no_event_comes_before_it_is_up(link, switch, diary):
    asked = Flag()
    plain = switch.answer
    switch.answer = lambda command: event("N", N="early") + plain(command)
    link(on_up=lambda core_uuid: (asked.wait(PATIENCE_S), diary.told.put(("up", core_uuid))))
    switch.session()
    asked.set()
    assert diary.next(4) == [("up", "core-1")] + [("event", "early")] * 3


def test_it_comes_back_with_what_was_read_handed_over_first(link, switch, diary, said):
    link(up=True)
    session = switch.session()
    session.send(event("N", N="1"), event("N", N="2"), event("N", N="3")[:-3])
    session.close()
    again = switch.session()
    said.wait("FreeSWITCH is connected", times=2)
    again.send(event("N", N="4"))
    assert diary.next(5) == [
        ("event", "1"), ("event", "2"), ("down", NotConnected), ("up", "core-1"), ("event", "4")]


def test_a_restarted_switch_is_noticed_before_anything_else(link, switch, diary, said):
    a_link = link(up=True)
    session = switch.session()
    switch.core_uuid = "core-2"
    session.close()
    assert diary.next(3) == [("down", NotConnected), ("core", "core-1", "core-2"), ("up", "core-2")]
    assert a_link.core_uuid == "core-2"
    said.wait("FreeSWITCH was restarted")


def test_a_failing_handler_loses_its_event_and_no_other(link, switch, diary, said):
    def on_event(event):
        if event.get("N") == "2":
            raise KeyError("+442071838750")

    diary.on_event = on_event
    a_link = link(up=True)
    switch.session().send(*[event("N", N=n) for n in "123"])
    assert diary.next(2) == [("event", "1"), ("event", "3")]
    assert a_link.faults == 1
    [line] = said.those("an event was not handled")
    assert line["event_name"] == "N" and "KeyError at test_link.py" in line["fault"]
    assert "442071838750" not in repr(said.lines)


def test_an_up_that_fails_is_tried_again(link, switch, diary, said):
    faults = [NotConnected("no command connection is up"), RuntimeError("x")]

    def on_up(core_uuid):
        if faults:
            raise faults.pop(0)
        diary.told.put(("up", core_uuid))

    link(on_up=on_up)
    assert diary.next() == ("up", "core-1")
    assert len(said.those("not to be had")) == 2


def test_a_failing_down_is_no_end(link, switch, diary, said):
    def on_down(reason):
        raise RuntimeError("x")

    link(up=True, on_down=on_down)
    switch.session().close()
    session = switch.session()
    assert diary.next() == ("up", "core-1")
    session.send(event("N", N="1"))
    assert diary.next() == ("event", "1")


def test_events_that_the_switch_lost_are_told(link, switch, diary, said):
    a_link = link(up=True)
    session = switch.session()
    lost = frame(b"[CRIT] mod_event_socket.c:392 Lost [9] events! Event Queue size: [98604/100000]\n", "log/data")
    session.send(lost, lost)
    assert diary.next(2) == [("gap", 9), ("gap", 9)]
    assert a_link.lost_events == 18
    assert len(said.those("FreeSWITCH lost events")) == 1


def test_a_failing_gap_handler_leaves_the_reader_alone(link, switch, diary):
    def on_gap(count):
        raise RuntimeError("x")

    a_link = link(up=True, on_gap=on_gap)
    switch.session().send(frame(b"Lost [1] events!", "log/data"), event("N", N="1"))
    assert diary.next() == ("event", "1")
    assert a_link.faults == 1


def test_what_went_by_between_two_connections_is_counted(link, switch, diary, said):
    link(up=True)
    session = switch.session()
    session.send(event("N", N="1", Event_Sequence="100"))
    session.close()
    again = switch.session()
    said.wait("FreeSWITCH is connected", times=2)
    again.send(event("N", N="2", Event_Sequence="108"))
    assert said.wait("went by")["at_most"] == 7


def test_a_switch_that_keeps_its_log_to_itself_is_still_listened_to(link, switch, diary, said):
    plain = switch.answer
    switch.answer = lambda command: reply("-ERR permission denied") if command == "log crit" else plain(command)
    link(up=True)
    switch.session().send(event("N", N="1"))
    assert diary.next() == ("event", "1")
    said.wait("will not tell")


def test_a_switch_that_takes_no_events_from_others_is_still_listened_to(link, switch, diary, said):
    plain = switch.answer
    switch.answer = lambda command: reply("-ERR permission denied") if command[:9] == "sendevent" else plain(command)
    link(up=True)
    switch.session().send(event("N", N="1"))
    assert diary.next() == ("event", "1")
    said.wait("may be late")


def test_a_refused_subscription_is_tried_again_and_said(link, switch, diary, said):
    plain = switch.answer
    refusal = reply("-ERR no keywords supplied")
    switch.answer = lambda command: refusal if command.startswith("event") else plain(command)
    link()
    assert "no keywords" in said.wait("not to be had")["reason"]
    switch.answer = plain
    assert diary.next() == ("up", "core-1")


def test_it_can_be_stopped_by_a_handler(link, switch, diary):
    diary.on_event = lambda event: a_link.stop()
    a_link = link(up=True)
    switch.session().send(*[event("N", N=n) for n in "123"])
    assert diary.next(2) == [("event", "1"), ("down", NotConnected)]
    assert a_link.connection is None


def test_stopping_tells_that_it_is_down(link, switch, diary):
    a_link = link(up=True)
    switch.session()
    gevent.spawn(a_link.stop).join(PATIENCE_S)
    told = diary.next()
    assert told[0] == "down" and issubclass(told[1], SwitchError)
