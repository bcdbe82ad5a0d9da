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
