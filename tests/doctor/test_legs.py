"""Legs of a simulated switch that are up while a doctor looks."""

import json

import pytest

from kazoo_rec.calls.identity import IdentityRules
from kazoo_rec.config import RecordingsDir
from kazoo_rec.doctor import legs
from kazoo_rec.documents.directory import Directory
from kazoo_rec.errors import CommandFailed
from kazoo_rec.simulator.script import Phone, Script
from kazoo_rec.switch.replies import check
from tests.doctor.conftest import findings_of, only

ACME = [{"kind": "account", "account_id": "acme", "id": "acme", "seq": 1, "deleted": False,
         "body": {"realm": "acme.example", "country": "US", "numbers": ["+15550001001"]}}]
RECORDINGS = RecordingsDir("/r/ours", "/here")
OURS = "/r/ours/acme/20261121/202611-0123456789abcdef0123456789abcdef.wav"


def alice(**habits):
    return Phone("1000", **{"domain": "acme.example", **habits})


def bob(**habits):
    return Phone("1001", **{"domain": "acme.example", "answers": 0.02, **habits})


class Calls:
    def __init__(self, switch):
        self.switch, self.directory = switch, Directory().apply(ACME)

    def up(self, *script, **more):
        """Plays a call; its legs, answered and listed."""
        call = self.switch.play(Script(*script, **more))
        self.switch.clock.sleep(0.5)
        return call.legs

    def look(self, **answers):
        def ask(command, timeout_s=5.0):
            line = command.removeprefix("api ")
            return check(answers.get(line.partition(" ")[0]) or self.switch.api(line))

        return legs.look(ask, IdentityRules(), self.directory)


@pytest.fixture
def calls(switch):
    return Calls(switch)


def test_legs_of_a_known_account_are_placed(calls):
    calls.up(alice(), (bob(),))
    seen = calls.look()
    assert len(seen) == 2 and only(legs.placed(seen, calls.directory), "placed legs").state == "ok"
    assert only(legs.media_around(seen), "bypassed media").state == "ok"
    assert only(legs.others(seen, RECORDINGS, lambda _: True), "other recorders").state == "ok"


def test_without_a_leg_there_is_nothing_to_say(calls):
    assert only(legs.placed(calls.look(), calls.directory), "placed legs").state == "skipped"


def test_the_halves_of_a_loopback_channel_are_looked_through(calls):
    calls.up(alice(), (bob(via="loopback"),))
    seen = calls.look()
    assert len(seen) == 2 and only(legs.placed(seen, calls.directory), "placed legs").state == "ok"


def test_legs_of_a_realm_that_no_document_has_are_told_of_once_for_their_kind(calls):
    for user in ("1", "2"):
        calls.up(Phone(user, "globex.example"), (Phone(f"3{user}", "globex.example", answers=0.02),))
    caller, callee = findings_of(legs.placed(calls.look(), calls.directory), "placed legs", "warning")
    assert caller.seen.startswith("of no account: 2 of 4 legs: onnet caller")
    assert "realm: 'globex.example'" in caller.advice and "realm: 'globex.example'" in callee.advice


def test_a_call_to_a_number_that_nobody_has_names_the_number(calls):
    calls.up(Phone("442079460123"), (bob(),), dials="15550009999", dialplan=("answer", "park"))
    (found,) = legs.placed(calls.look(), calls.directory)
    assert "offnet caller" in found.seen and "'15550009999' must have it in its `numbers`" in found.advice


def test_an_account_id_without_a_document_names_the_document(calls):
    calls.up(alice(leg_variables={"kazoo_rec_account_id": "wayne"}), dials="1", dialplan=("answer", "park"))
    (found,) = legs.placed(calls.look(), calls.directory)
    assert "account 'wayne'" in found.seen and "wayne/account.yaml" in found.advice


def test_hostile_text_stays_on_its_line_and_is_cut(calls):
    hostile = "a\n[red]\x1b[2J" + "x" * 500
    calls.up(alice(leg_variables={"sip_req_user": hostile, "sip_auth_realm": "b\u202e"}), dials="1",
             dialplan=("answer", "park"))
    calls.directory = Directory()
    (found,) = legs.placed(calls.look(), calls.directory)
    assert found.seen.isprintable() and found.advice.isprintable() and len(found.seen) < 400


def dumped(calls, **changes):
    """What uuid_dump says of the legs that are up, with some headers changed; None takes one out."""
    uuid = next(iter(calls.switch.legs))
    event = json.loads(calls.switch.api(f"uuid_dump {uuid} json")) | changes
    return json.dumps({key: value for key, value in event.items() if value is not None})


@pytest.mark.parametrize("changes", [
    {"Channel-Read-Codec-Name": None}, {"variable_bypass_media": "true"}, {"variable_proxy_media": "true"},
])
def test_a_leg_whose_media_goes_around_the_switch_is_told_of(calls, changes):
    calls.up(alice(), dials="1", dialplan=("answer", "park"))
    seen = calls.look(uuid_dump=dumped(calls, **changes))
    found = only(legs.media_around(seen), "bypassed media")
    assert found.state == "warning" and "1 of 1 leg" in found.seen


def bugs(*paths):
    return "".join(f" <media-bug>\n  <function>session_record</function>\n  <target>{path}</target>\n </media-bug>\n"
                   for path in paths)


@pytest.mark.parametrize("path, ours, state, seen", [
    (OURS, True, "ok", "none"), (OURS.replace(".wav", ".f.wav"), True, "ok", "none"),
    (OURS, False, "wrong", "not in our database"), ("/r/other/x.wav", True, "warning", "'/r/other/x.wav'"),
    ("/r/ours2/x.wav", True, "warning", "somebody else's"),
    ("/r/ours/kazoo_rec_doctor.0011/x.wav", False, "ok", "none"),
])
def test_recordings_of_others_are_told_of(calls, path, ours, state, seen):
    calls.up(alice(), dials="1", dialplan=("answer", "park"))
    asked = []
    found = only(legs.others(calls.look(uuid_buglist=bugs(path)), RECORDINGS, lambda id: asked.append(id) or ours),
                 "other recorders")
    assert found.state == state and seen in found.seen
    assert not asked or asked == ["202611-0123456789abcdef0123456789abcdef"]


@pytest.mark.parametrize("value, state", [
    ("record_session /r/archive/x.wav", "warning"), ("uuid_record ${uuid} start /r/archive/x.wav", "warning"),
    (f"record_session {OURS} +60", "ok"), ("log hello", "ok"),
])
def test_legs_that_a_dialplan_arms_are_told_of(calls, value, state):
    calls.up(alice(leg_variables={"execute_on_answer_1": value}), dials="1", dialplan=("park",))
    assert only(legs.others(calls.look(), RECORDINGS, lambda _: True), "other recorders").state == state


def test_a_leg_that_is_gone_by_now_is_passed_over(calls):
    calls.up(alice(), dials="1", dialplan=("answer", "park"))

    def ask(command, timeout_s=5.0):
        if "uuid_dump" in command:
            raise CommandFailed("refused", "-ERR No such channel!")
        return calls.switch.api(command.removeprefix("api "))

    assert legs.look(ask, IdentityRules(), calls.directory) == []
