"""Orders about live calls, as requests: which are none, and what is answered where no engine has the call."""

import pytest

START = {"action": "record", "record": {"action": "start"}}


@pytest.mark.parametrize(("data", "fault"), [
    ({}, "action"), ({"action": "transfer"}, "action"), ({"action": "record"}, "record"),
    ({"action": "record", "record": []}, "record"), ({"action": "record", "record": {}}, "record.action"),
    ({"action": "record", "record": {"action": "toggle"}}, "record.action"),
    ({"action": "record", "record": {"action": ["mask"]}}, "record.action"),
    ({"action": "record", "record": {"action": "mask", "format": "mp3"}}, "record.format"),
    ({"action": "record", "record": {"action": "start", "format": "ogg"}}, "format"),
    ({"action": "record", "record": {"action": "start", "path": "/etc/x.wav"}}, "path"),
    ({"action": "record", "record": {"action": "start"}, "more": 1}, "more"),
    ({"module": "transfer", "data": {}}, "module"), ({"module": "record_call"}, "data"),
    ({"module": "record_call", "data": {"action": "pause"}}, "data.action")])
def test_what_is_no_order_is_a_validation_error(root, acme, data, fault):
    answer = root("PUT", f"/v2/accounts/{acme}/channels/leg", data)
    assert answer.status_code == 400 and list(answer.json["data"]) == [fault]


@pytest.mark.parametrize("body", ["", "Status=", "Status=completed", "Status=paused&Status=paused", "%ff", "status=on"])
def test_a_form_has_one_status_of_two(root, acme, body):
    answer = root("PUT", f"/v2/accounts/{acme}/calls/leg/recording", body=body,
                  headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 400 and list(answer.json["data"]) == ["Status"]


@pytest.mark.parametrize("call_id", ["leg", "a1b2@192.0.2.1", "x%20y", "%00", "%C3%BC", "a" * 300])
def test_a_call_that_nobody_has_is_not_found(root, acme, call_id):
    path = f"/v2/accounts/{acme}/channels/{call_id}"
    assert root("GET", path).status_code == root("PUT", path, START).status_code == 404
    assert root("GET", f"/v2/accounts/{acme}/channels").json["data"] == []


def test_an_engine_that_should_run_and_does_not_answer_is_no_404(root, acme, store):
    store.engines.say("fs1", 0).get()
    path = f"/v2/accounts/{acme}/channels/leg"
    for answer in (root("GET", path), root("PUT", path, START), root("GET", f"/v2/accounts/{acme}/channels")):
        assert (answer.status_code, answer.json["error"]) == (504, "504")
        assert answer.json["data"] == {"message": "engine fs1 does not answer", "engines": ["fs1"]}


def test_what_is_no_id_of_a_call_is_not_found_whatever_engines_say(root, acme, store):
    store.engines.say("fs1", 0).get()
    form = {"body": "Status=paused", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    for call_id, status in (("", 404), ("a" * 256, 504), ("a" * 257, 404), ("a" * 9000, 404)):
        assert root("PUT", f"/v2/accounts/{acme}/calls/{call_id}/recording", **form).status_code == status
        if call_id:
            assert root("GET", f"/v2/accounts/{acme}/channels/{call_id}").status_code == status


def test_a_call_is_said_to_be_where_it_is_recorded_though_no_engine_runs_there(root, acme, recording):
    globex = root("PUT", "/v2/accounts", {"name": "Globex", "realm": "globex.example"}).json["data"]["id"]
    row = recording(acme, state="recording", node="fs7")
    recording(acme, state="recorded", node="fs8", call_id="over")
    answer = root("GET", f"/v2/accounts/{acme}/channels/{row['call_id']}")
    assert (answer.status_code, answer.json["data"]["engines"]) == (504, ["fs7"])
    for account, leg in ((globex, row["call_id"]), (acme, "over"), (acme, "another")):
        assert root("GET", f"/v2/accounts/{account}/channels/{leg}").status_code == 404
    assert root("GET", f"/v2/accounts/{acme}/channels").json["data"] == []
