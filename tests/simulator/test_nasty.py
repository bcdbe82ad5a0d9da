"""What hostile callers look like in plain events, to the byte; json ones are compared as all of test_scenarios.py."""

import pytest

from kazoo_rec.simulator.script import Script, scripts_of
from tests import traces
from tests.simulator.conftest import bob, pstn
from tests.simulator.traced import DOCUMENT

#: Of each CHANNEL_CREATE the lines that a caller has a say in.
REAL = [set(block.splitlines()) for block in
        (traces.HERE / "nasty_caller_id.plain").read_bytes().rstrip().split(b"\n\n")]
NAMES = {line.partition(b":")[0] for block in REAL for line in block}


def test_callers_and_those_they_call_are_encoded_as_by_the_switch(switch, client, clock):
    client.ask("event plain CHANNEL_CREATE")
    for script in scripts_of({"phones": DOCUMENT["phones"], "calls": DOCUMENT["traced"]["nasty_caller_id"]["calls"]}):
        switch.play(script)
        clock.advance(2)
    client.api("version")
    found = []
    for body in client.raw.split(b"Content-Type: text/event-plain\n\n")[1:]:
        lines = body.partition(b"\n\n")[0].splitlines()
        named = {line for line in lines if line.partition(b":")[0] in NAMES}
        found.append({line for line in named if not line.startswith(b"Channel-Name: sofia/internal")})
    assert len(REAL) == 40 and found == REAL


@pytest.fixture
def play(switch, clock):
    """A caller with these habits from the carrier calls Bob; the legs."""

    def begin(**habits):
        call = switch.play(Script(pstn(**habits), (bob(),)))
        clock.advance(0.5)
        return call.legs

    return begin


@pytest.mark.parametrize(("shown", "told"), [
    ("Jane", "Jane"), ("a/b/c", "c"), ("a:b", "b"), ("a:b/c", "c"), ("jane@example.com", "jane"), ("a@b/c", "a")])
def test_a_called_leg_is_told_less_of_a_name(play, shown, told):
    assert play(name=shown)[1].profile.caller_id_name == told


def test_a_variable_cannot_name_another_by_what_a_caller_says(play):
    for leg in play(headers={"X-Evil": "${hostname}", "X-Good": "good"}):
        assert leg.variables.get("sip_h_X-Evil") is None and leg.variables["sip_h_X-Good"] == "good"


def test_whom_a_quoted_name_cannot_reach_hears_nothing_of_it(play, listener):
    caller, called = play(name='say \\"hi\\"')
    assert {caller.cause, called.cause} == {"DESTINATION_OUT_OF_ORDER"}
    names = [event["Event-Name"] for event in listener.heard() if event["Unique-ID"] == called.uuid]
    assert names == ["CHANNEL_OUTGOING", "CHANNEL_HANGUP", "CHANNEL_CREATE", "CHANNEL_ORIGINATE",
                     "CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY"]
