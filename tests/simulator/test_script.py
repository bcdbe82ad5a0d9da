"""Scripts: what a file of calls may say."""

import pytest

from kazoo_rec.errors import ConfigError
from kazoo_rec.simulator.route import usual_dialplan
from kazoo_rec.simulator.script import Phone, Script, read_scripts, scripts_of
from tests.simulator.conftest import alice, bob, pstn

CALLS = """
phones:
  alice: {user: "1000", domain: acme.example, says: 440, variables: {account_id: acme}}
  bob: {user: "1001", domain: acme.example}
calls:
  - {name: one, caller: {phone: alice, hangs_up: 5}, called: {phone: bob, answers: 1}}
  - {at: 2.5, caller: {user: "4420"}, dials: "1555", called: [alice, {phone: bob, via: contact}],
     faults: [no media for 1000]}
"""


def test_a_call_names_phones_and_may_give_them_other_habits(tmp_path):
    (tmp_path / "calls.yaml").write_text(CALLS)
    one, other = read_scripts(tmp_path / "calls.yaml")
    caller = Phone("1000", "acme.example", says=440, variables={"account_id": "acme"}, hangs_up=5)
    assert one == Script(caller, (Phone("1001", "acme.example", answers=1),), name="one")
    assert (other.at, other.dials, other.faults) == (2.5, "1555", ("no media for 1000",))
    assert other.caller == Phone("4420") and [phone.via for phone in other.called] == ["user", "contact"]


@pytest.mark.parametrize(("document", "told"), [
    (None, "no list `calls`"), ({"calls": 3}, "no list `calls`"), ({"calls": [{}]}, "no `caller`"),
    ({"calls": [{"caller": "nobody"}]}, "no such phone"), ({"calls": [{"caller": {"user": "1", "sings": 1}}]}, "sings"),
    ({"calls": [{"caller": {"domain": "a"}}]}, "no `user`"),
    ({"calls": [{"caller": {"user": "1"}, "at": 1, "x": 2}]}, "x"),
    ({"calls": [{"caller": {"user": "1", "via": "pigeon"}}]}, "pigeon"), ({"calls": [7]}, "keys and values"),
    ({"calls": [{"caller": {"user": "1"}}]}, "dials nobody"),
    ({"phones": {"a": 1}, "calls": []}, "no such phone"),
])
def test_a_wrong_file_is_told_where_and_why(document, told):
    with pytest.raises(ConfigError, match=told):
        scripts_of(document)


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "calls.yaml").write_text("calls: [")
    for name in ("calls.yaml", "absent.yaml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_scripts(tmp_path / name)


def test_a_fault_that_is_no_sentence_is_refused(switch):
    with pytest.raises(ConfigError, match="no such fault"):
        switch.play(Script(alice(), (bob(),), faults=("the moon falls at 1.0",)))


@pytest.mark.parametrize(("script", "ends"), [
    (Script(alice(), (bob(),)), ["set call_timeout=30", "set ringback=%(2000,4000,440,480)", "bridge"]),
    (Script(alice(), (bob(), pstn()), dials="3000"), ["set ignore_early_media=true", "bridge"]),
    (Script(pstn(), (bob(),), dials="1555"), ["set ringback=%(2000,4000,440,480)", "bridge"]),
    (Script(pstn(), (pstn(user="4420"),), dials="1555", sets={"a": "b"}),
     ["set a=b", "set hangup_after_bridge=true", "export nolocal:forwarded_for=1555", "bridge"]),
    (Script(alice(), dials="2999"), ["set hangup_after_bridge=true", "export account_name=acme"]),
])
def test_a_script_without_a_dialplan_gets_a_usual_one(script, ends):
    assert usual_dialplan(script)[-len(ends):] == ends


# Faults

def test_a_leg_without_media_is_not_recorded(switch, clock, tmp_path):
    call = switch.play(Script(alice(), (bob(),), faults=("no media for 1000",)))
    clock.advance(0.1)
    switch.api(f"uuid_setvar {call.legs[0].uuid} execute_on_answer record_session {tmp_path}/a.wav")
    clock.advance(1)
    assert not call.legs[0].recorded and call.legs[0].answered
    assert switch.api(f"uuid_record {call.legs[0].uuid} start {tmp_path}/a.wav") == "-ERR Cannot record session!\n"
    assert switch.api(f"uuid_record {call.legs[1].uuid} start {tmp_path}/b.wav") == "+OK Success\n"


@pytest.mark.parametrize(("fault", "listens"), [("switch killed at 1.0", False), ("switch shut down at 1.0", True)])
def test_a_switch_dies_in_the_middle_of_a_call(switch, clock, listener, fault, listens):
    call = switch.play(Script(alice(), (bob(),), faults=(fault,)))
    clock.advance(3)
    listener.wait_for_end()
    assert call.wait(0) and bool(listener.notices) == listens
    assert ("SHUTDOWN" in [event["Event-Name"] for event in listener.events]) == listens


def test_commands_stall_for_a_while(switch, clock, client):
    switch.play(Script(alice(), (bob(),), faults=("commands stall from 0.5 to 1.5",)))
    clock.advance(1)
    client.send("api hostname")
    clock.advance(0.4)
    assert client.replies == ["+OK accepted"]
    clock.advance(0.2)
    assert client.ask("api version") and client.replies[1] == "fs1.example"
