"""Legs of two calls that meet, beyond what attended_transfer and uuid_bridge_pickup of the traces show."""

import itertools

import pytest

from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import alice, bob
from tests.simulator.sounds import seconds, tones

PAIRS = list(itertools.product((0, 1), repeat=2))


@pytest.fixture
def other(switch, clock, talk):
    """Dora calls Carl; with `talk` two pairs speak."""
    call = switch.play(Script(alice(user="1003", name="Dora", says=700), (bob(user="1002", says=900),)))
    clock.advance(0.7)
    return call


@pytest.fixture
def record(switch, tmp_path):
    def begin(leg):
        path = f"{tmp_path}/{leg.phone.user}.wav"
        assert switch.api(f"uuid_record {leg.uuid} start {path} 0 {{RECORD_STEREO=true}}") == "+OK Success\n"
        return path

    return begin


@pytest.mark.parametrize(("one", "two"), PAIRS)
def test_two_legs_meet_and_those_they_spoke_with_are_dropped(switch, clock, talk, other, record, one, two):
    leads, follows = talk.legs[one], other.legs[two]
    first, second = record(leads), record(follows)
    clock.advance(1)
    assert switch.api(f"uuid_bridge {leads.uuid} {follows.uuid}") == f"+OK {follows.uuid}\n"
    clock.advance(1)
    assert [leg.cause for leg in (talk.legs[1 - one], other.legs[1 - two])] == ["NORMAL_CLEARING"] * 2
    assert leads.partner is follows and follows.partner is leads
    clock.advance(1)
    follows.hangup()
    clock.advance(0.1)
    assert leads.cause == "NORMAL_CLEARING" and talk.wait(0) and other.wait(0)
    for path, leg, before, after in ((first, leads, talk.legs[1 - one], follows),
                                     (second, follows, other.legs[1 - two], leads)):
        assert tones(path) == [leg.phone.says] and tones(path, 1, 0, 0.9) == [before.phone.says]
        assert tones(path, 1, 1.1) == [after.phone.says]


@pytest.mark.parametrize("who", [0, 1])
def test_either_of_them_goes_on_elsewhere_and_the_other_is_dropped(switch, clock, talk, other, who):
    pair = talk.legs[0], other.legs[0]
    switch.api(f"uuid_bridge {pair[0].uuid} {pair[1].uuid}")
    clock.advance(0.5)
    switch.api(f"uuid_transfer {pair[who].uuid} 1001 XML acme.example")
    clock.advance(1)
    assert (pair[who].cause, pair[1 - who].cause) == ("", "NORMAL_CLEARING")
    assert pair[who].partner.phone.user == "1001"


def test_a_leg_meets_another_and_then_a_third(switch, clock, talk, other):
    third = switch.play(Script(alice(user="1004", says=1100), dials="7000", dialplan=("answer", "park"))).legs[0]
    first, second = talk.legs[0], other.legs[1]
    for one, two in ((first, second), (third, first)):
        switch.api(f"uuid_bridge {one.uuid} {two.uuid}")
        clock.advance(0.5)
    assert third.partner is first and second.cause == "NORMAL_CLEARING"


@pytest.mark.parametrize(("arguments", "reply"), [
    ("", "-USAGE: <uuid> <other_uuid>\n"), ("nobody {one}", "-ERR Invalid uuid\n"),
    ("{one} nobody", "-ERR Invalid uuid\n"), ("{one} {one}", "-ERR Invalid uuid\n")])
def test_refusals(switch, talk, arguments, reply):
    assert switch.api(f"uuid_bridge {arguments.format(one=talk.legs[0].uuid)}") == reply
    assert talk.legs[0].partner is talk.legs[1]


# Attended transfer

@pytest.fixture
def consulting(switch, clock):
    """Bob has taken Alice's call and calls Carl besides; he hands Alice over 2 s after her call began, unless Carl is
    gone by then."""

    def begin(fault="1001 transfers to 1002 at 2.0, attended", **habits):
        first = switch.play(Script(alice(), (bob(holds=((1.0, 9.0),)),), faults=(fault,)))
        clock.advance(1.0)
        second = switch.play(Script(bob(says=0), (bob(user="1002", says=900, answers=0.2, **habits),)))
        clock.advance(0.5)
        return (*first.legs, *second.legs)

    return begin


def test_who_transfers_is_gone_with_his_recordings_and_the_others_speak(clock, consulting, record):
    caller, called, consults, reached = consulting()
    paths = [record(leg) for leg in (caller, called, consults, reached)]
    clock.advance(2)
    caller.hangup()
    clock.advance(0.1)
    assert [leg.recorded[0].ms // 100 for leg in (caller, called, consults, reached)] == [20, 0, 5, 20]
    assert {leg.recorded[0].cause for leg in (called, consults)} <= {"success-silence", "empty-file"}
    assert tones(paths[0], 1, 0.6) == [900] and tones(paths[3], 1, 0.6) == [1000]


def test_recordings_that_go_along_are_found_by_no_command(switch, clock, consulting, record):
    caller, _, consults, reached = consulting("1001 transfers to 1002 at 2.0, attended, recordings go along")
    path = record(consults)
    assert switch.api(f"uuid_record {consults.uuid} mask {path}") == "+OK Success\n"
    clock.advance(1)
    for order in ("stop", "mask", "unmask", "pause", "resume"):
        assert switch.api(f"uuid_record {reached.uuid} {order} {path}").startswith("-ERR Cannot")
    assert path in switch.api(f"uuid_buglist {reached.uuid}") and not reached.recorded
    clock.advance(1)
    caller.hangup()
    clock.advance(0.1)
    # The mask stays for ever.
    assert tones(path) == tones(path, 1) == [] and seconds(path) == 2.0


def test_a_transfer_to_who_is_gone_changes_nothing(switch, clock, listener, consulting, record):
    caller, called, _, reached = consulting(hangs_up=0.3)
    path = record(caller)
    clock.advance(2)
    assert reached.cause and caller.partner is called and called.held
    assert switch.api(f"uuid_record {caller.uuid} stop {path}") == "+OK Success\n"
