"""The command uuid_transfer, beyond what blind_transfer_api of the traces shows."""

import pytest

from tests.simulator.conftest import bob


@pytest.mark.parametrize(("which", "option", "stays"), [(0, "", 0), (0, "-bleg ", 1), (1, "", 1), (1, "-bleg ", 0)])
def test_the_leg_that_is_transferred_goes_on_and_its_partner_is_dropped(switch, talk, clock, which, option, stays):
    switch.phones.add(bob(user="1002"))
    legs = tuple(talk.legs)
    assert switch.api(f"uuid_transfer {legs[which].uuid} {option}1002 XML acme.example") == "+OK\n"
    clock.advance(2)
    assert (legs[1 - stays].cause, legs[stays].cause) == ("NORMAL_CLEARING", "")
    assert legs[stays].partner is talk.legs[2] and talk.legs[2].phone.user == "1002"


def test_a_leg_goes_to_an_extension_and_out_of_what_it_executes(switch, talk, clock):
    switch.extensions["7000"] = ("set came_here=yes", "hangup")
    switch.api(f"uuid_transfer {talk.legs[0].uuid} 7000 XML acme.example")
    clock.advance(0.1)
    assert talk.legs[0].variables["came_here"] == "yes" and talk.wait(0)


@pytest.mark.parametrize(("arguments", "reply"), [
    ("", "-USAGE: <uuid> [-bleg|-both] <dest-exten> [<dialplan>] [<context>]\n"),
    ("nobody 1002", "-ERR No such channel!\n")])
def test_refusals(switch, arguments, reply):
    assert switch.api(f"uuid_transfer {arguments}") == reply


def test_a_broadcast_to_a_called_leg_ends_with_it(switch, listener, talk, clock):
    switch.api(f"uuid_broadcast {talk.legs[1].uuid} silence_stream://9000")
    clock.advance(0.5)
    talk.legs[1].hangup()
    names = [event["Event-Name"] for event in listener.heard() if event["Unique-ID"] == talk.legs[1].uuid]
    assert names.index("PLAYBACK_STOP") < names.index("CHANNEL_HANGUP_COMPLETE")
