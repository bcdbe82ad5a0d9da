"""Documents over HTTP: changed as in Crossbar, refused as in Crossbar, and obeyed when the answer is there."""

import json

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kazoo_rec.api.documents import merged
from kazoo_rec.policy.settings import endpoint_policy

PUBLISHED = {"call_recording": {
    "inbound": {"offnet": {"enabled": True, "url": "https://files.example/in"}},
    "outbound": {"offnet": {"enabled": True, "url": "https://files.example/out"}}}}

STRICT = {"additionalProperties": {
    "message": "Strict checking of data is enabled; only include schema-defined properties"}}


@pytest.fixture
def users(acme):
    return f"/v2/accounts/{acme}/users"


def test_a_user_is_made_read_changed_and_deleted(root, users):
    made = root("PUT", users, {"username": "ann", "note": {"kept": [1, 2]}})
    assert made.status_code == 201 and made.json["status"] == "success"
    user = made.json["data"]
    assert made.headers["Location"] == f"{users}/{user['id']}" and user["note"] == {"kept": [1, 2]}
    assert root("GET", f"{users}/{user['id']}").json["data"] == user
    replaced = root("POST", f"{users}/{user['id']}", {"username": "bob"})
    assert replaced.json["data"] == {"username": "bob", "id": user["id"]}
    assert root("DELETE", f"{users}/{user['id']}").json["data"]["_read_only"] == {"deleted": True}
    assert root("GET", f"{users}/{user['id']}").status_code == 404


def test_the_published_patch_is_what_policy_then_sees(root, users, acme, store):
    user = root("PUT", users, {"username": "ann"}).json["data"]["id"]
    answer = root("PATCH", f"{users}/{user}", PUBLISHED)
    assert answer.status_code == 200 and answer.json["data"]["username"] == "ann"
    changed = store.documents.get("user", acme, user)
    grid = endpoint_policy({}, changed["body"], None)
    assert grid["inbound", "offnet"].settings["enabled"] and not grid["inbound", "onnet"].settings["enabled"]
    assert store.documents.since(changed["seq"] - 1)[0]["body"] == changed["body"]


@pytest.mark.parametrize("recording", [
    {"any": {"any": {"enabled": True}}},
    {"account": {"any": {"any": {"enabled": True}}}, "endpoint": {"inbound": {"any": {"enabled": False}}}},
])
def test_an_account_takes_both_shapes_of_its_settings(root, acme, recording):
    answer = root("PATCH", f"/v2/accounts/{acme}", {"call_recording": recording})
    assert answer.json["data"]["call_recording"] == recording and answer.json["data"]["realm"] == "acme.example"


@pytest.mark.parametrize(("change", "left"), [
    ({"a": None}, {"b": {"c": 1, "d": [1, 2]}}),
    ({"b": {"c": None}}, {"a": 1, "b": {"d": [1, 2]}}),
    ({"b": {"d": [3]}}, {"a": 1, "b": {"c": 1, "d": [3]}}),
    ({"b": {}}, {"a": 1, "b": {}}),
    ({"e": {"f": None, "g": 2}}, {"a": 1, "b": {"c": 1, "d": [1, 2]}, "e": {"g": 2}}),
])
def test_a_patch_goes_deep_null_removes_lists_replace(change, left):
    assert merged({"a": 1, "b": {"c": 1, "d": [1, 2]}}, change) == left


def test_every_fault_is_told_at_once_in_crossbars_form(root, users):
    answer = root("PUT", users, {"call_recording": {
        "inbound": {"offnet": {"format": "ogg", "time_limit": 4, "colour": "red"}}, "sideways": {}}})
    assert (answer.status_code, answer.json["error"], answer.json["message"], answer.json["status"]) == (
        400, "400", "validation error", "error")
    assert answer.json["data"] == {
        "call_recording.inbound.offnet.format": {"enum": {
            "message": "Value not found in enumerated list of values", "target": ["mp3", "wav"], "value": "ogg"}},
        "call_recording.inbound.offnet.time_limit": {"minimum": {
            "message": "Value must be at least 5", "target": 5, "value": 4}},
        "call_recording.inbound.offnet.colour": {"additionalProperties": {
            "message": "Strict checking of data is enabled; only include schema-defined properties"}},
        "call_recording.sideways": {"additionalProperties": {
            "message": "Strict checking of data is enabled; only include schema-defined properties"}}}


def test_texts_become_the_numbers_and_booleans_that_they_mean(root, users):
    answer = root("PUT", users, {"call_recording": {"any": {"any": {"enabled": "true", "time_limit": "600"}}}})
    assert answer.json["data"]["call_recording"]["any"]["any"] == {"enabled": True, "time_limit": 600}


@pytest.mark.parametrize(("body", "status"), [
    (b"", 411), (b"{", 400), (b"[]", 400), (b'"x"', 400), (b"null", 400), (b"{}", 400), (b'{"data": []}', 400),
    (b'{"data": null}', 400), (b'{"data": {"a": 1, "a": 2}}', 400), (b'{"data": {"a": NaN}}', 400),
    (b'{"data": {"a": 1e999}}', 400), (b'{"data": {"a": 9223372036854775808}}', 400),
    (b'{"data": {"a": "\\u0000"}}', 400), (b'{"data": {"a": "\\ud800"}}', 400), (b'{"data": {"a": "\xff"}}', 400),
    (b'{"data": ' + b'{"a":' * 100 + b"1" + b"}" * 101, 400), (b"[" * 100_000, 400),
    (b'{"data": {"a": "' + b"x" * 5_000_000 + b'"}}', 413), (b'{"data": {"a": ' + b"9" * 5000 + b"}}", 400),
])
def test_a_body_that_is_none_is_refused_and_changes_nothing(root, users, store, body, status):
    before = store.documents.since(0)
    answer = root("PUT", users, body=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status and answer.json["error"] == str(status) and answer.json["data"]
    assert store.documents.since(0) == before


def test_patches_do_not_make_a_document_larger_than_one_that_is_sent_may_be(root, users):
    path = f"{users}/{root('PUT', users, {'username': 'ann'}).json['data']['id']}"
    assert root("PATCH", path, {"a": "x" * 600_000}).status_code == 200
    refused = root("PATCH", path, {"b": "x" * 600_000})
    assert refused.status_code == 413 and "the document" in refused.json["data"]["message"]
    assert "b" not in root("GET", path).json["data"]


@pytest.mark.parametrize(("path", "field", "data"), [
    ("", "numbers", {"numbers": ["1"] * 10_001}),
    ("/callflows", "numbers", {"numbers": [str(number) for number in range(10_001)], "flow": {"module": "user"}}),
])
def test_a_list_of_numbers_has_an_end(root, acme, path, field, data):
    refused = root("PUT" if path else "PATCH", f"/v2/accounts/{acme}{path}", data)
    assert refused.status_code == 400 and refused.json["data"][field] == {"maxItems": {
        "message": "List must have at most 10000 items", "target": 10_000, "value": None}}


class TestCallflows:
    @pytest.fixture
    def callflows(self, acme):
        return f"/v2/accounts/{acme}/callflows"

    @pytest.mark.parametrize("method", ["PUT", "POST", "PATCH"])
    def test_data_of_actions_that_record_is_checked_wherever_they_are(self, root, callflows, method):
        path, flow = callflows, {"module": "menu", "data": {"any": "thing"}, "children": {
            "1": {"module": "record_call", "data": {"action": "begin", "format": "ogg", "colour": "red"}, "children": {
                "_": {"module": "record_caller", "data": {"time_limit": 4, "label": "x"}}}},
            "2.1": {"module": "record_call", "data": {}}, "3": {"module": "record_call"}}}
        if method != "PUT":
            path += "/" + root("PUT", callflows, {"flow": {"module": "user"}}).json["data"]["id"]
        refused = root(method, path, {"flow": flow})
        assert refused.status_code == 400 and refused.json["data"] == {
            "flow.children.1.data.action": {"enum": {"message": "Value not found in enumerated list of values",
                                                     "target": ["start", "stop", "mask", "unmask", "pause", "resume"],
                                                     "value": "begin"}},
            "flow.children.1.data.format": {"enum": {"message": "Value not found in enumerated list of values",
                                                     "target": ["mp3", "wav"], "value": "ogg"}},
            "flow.children.1.data.colour": STRICT,
            "flow.children.1.children._.data.time_limit": {"minimum": {
                "message": "Value must be at least 5", "target": 5, "value": 4}},
            "flow.children.1.children._.data.label": STRICT,
            "flow.children.2%2E1.data.action": {"required": {"message": "Field is required but missing"}},
            "flow.children.3.data": {"required": {"message": "Field is required but missing"}}}

    def test_what_kazoo_takes_is_taken_and_texts_become_what_they_mean(self, root, callflows):
        data = {"action": "start", "format": "wav", "label": "sales", "media_name": "m", "method": "post",
                "origin": "callflow : sales", "record_min_sec": 1, "record_on_answer": True, "record_on_bridge": False,
                "record_sample_rate": 16000, "should_follow_transfer": True, "skip_module": False, "time_limit": 600,
                "url": "https://files.example/"}
        said = {**data, "time_limit": "600", "record_on_answer": "true", "skip_module": "false"}
        made = root("PUT", callflows, {"flow": {"module": "record_call", "data": said, "children": {
            "_": {"module": "record_caller"}}}})
        assert made.status_code == 201 and made.json["data"]["flow"]["data"] == data


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_whatever_is_sent_is_taken_or_refused_clearly(root, users, data):
    answer = root("PUT", users, body=json.dumps({"data": data}).encode())
    assert answer.status_code in (201, 400) and answer.json["request_id"]


def test_a_lost_update_is_a_conflict(root, users):
    user = root("PUT", users, {"username": "ann"})
    path, revision = f"{users}/{user.json['data']['id']}", user.headers["ETag"]
    assert revision == f'"{user.json["revision"]}"'
    assert root("PATCH", path, {"a": 1}, headers={"If-Match": revision}).status_code == 200
    late = root("PATCH", path, {"a": 2}, headers={"If-Match": revision})
    assert (late.status_code, late.json["message"]) == (409, "datastore_conflict")
    assert root("DELETE", path, headers={"If-Match": revision}).status_code == 409
    assert root("GET", path).json["data"]["a"] == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_revision_in_the_body_is_obeyed(root, users, method):
    made = root("PUT", users, {"username": "ann"}).json
    path = f"{users}/{made['data']['id']}"
    first = root(method, path, json={"data": {"username": "ann", "a": 1}, "revision": made["revision"]})
    late = root(method, path, json={"data": {"username": "ann", "a": 2}, "revision": made["revision"]})
    assert (first.status_code, late.status_code, late.json["message"]) == (200, 409, "datastore_conflict")
    assert root("GET", path).json["data"]["a"] == 1


def test_a_device_of_a_user_that_goes_is_nobodys(root, users, acme, store):
    user = root("PUT", users, {"username": "ann"}).json["data"]["id"]
    devices = f"/v2/accounts/{acme}/devices"
    device = root("PUT", devices, {"owner_id": user, "sip": {"username": "1000"}}).json["data"]["id"]
    seq = store.documents.since(0)[-1]["seq"]
    assert root("DELETE", f"{users}/{user}").status_code == 200
    changed = root("PATCH", f"{devices}/{device}", {"name": "Desk"})
    assert changed.status_code == 200 and "owner_id" not in changed.json["data"]
    assert {row["kind"] for row in store.documents.since(seq)} == {"user", "device"}


def test_two_patches_at_once_both_come_through(root, users):
    path = f"{users}/{root('PUT', users, {'username': 'ann'}).json['data']['id']}"
    both = [gevent.spawn(root, "PATCH", path, {name: 1}) for name in "ab"]
    gevent.joinall(both, timeout=20)
    assert [one.value.status_code for one in both] == [200, 200]
    assert {"a": 1, "b": 1}.items() <= root("GET", path).json["data"].items()


def test_what_comes_from_a_file_is_the_files(root, store):
    store.documents.take_files([{"kind": "account", "account_id": "filed", "id": "filed", "body": {},
                                 "source": "filed/account.yaml"}]).get()
    shown = root("GET", "/v2/accounts/filed").json["data"]
    assert shown["_read_only"] == {"source": "filed/account.yaml"}
    for answer in (root("PATCH", "/v2/accounts/filed", {"name": "x"}), root("DELETE", "/v2/accounts/filed")):
        assert answer.status_code == 409 and "filed/account.yaml" in answer.json["data"]["message"]


def test_what_a_file_has_no_document_of_the_api_takes(root, acme, store):
    store.documents.take_files([{"kind": "account", "account_id": "filed", "id": "filed", "source": "filed.yaml",
                                 "body": {"realm": "filed.example", "numbers": ["+442071838750"]}}]).get()
    for data, field in (({"realm": "Filed.example"}, "realm"), ({"numbers": ["+44 20 7183 8750"]}, "numbers")):
        assert "unique" in root("PATCH", f"/v2/accounts/{acme}", data).json["data"][field]
    device = root("PUT", f"/v2/accounts/{acme}/devices", {"sip": {"username": "1", "realm": "filed.example"}})
    assert "unique" in device.json["data"]["sip.realm"]


@pytest.mark.parametrize(("kind", "first", "second", "field"), [
    ("devices", {"sip": {"username": "1000"}}, {"sip": {"username": "1000"}}, "sip.username"),
    ("callflows", {"numbers": ["100"], "flow": {"module": "user"}}, {"numbers": ["100"], "flow": {"module": "user"}},
     "numbers"),
])
def test_what_one_document_has_no_other_of_the_account_can_take(root, acme, kind, first, second, field):
    assert root("PUT", f"/v2/accounts/{acme}/{kind}", first).status_code == 201
    refused = root("PUT", f"/v2/accounts/{acme}/{kind}", second)
    assert refused.status_code == 400 and "unique" in refused.json["data"][field]


@pytest.mark.parametrize(("data", "field"), [
    ({"realm": "ACME.example"}, "realm"), ({"numbers": ["15550001001"]}, "numbers")])
def test_a_realm_and_a_number_are_of_one_account(root, acme, data, field):
    refused = root("PUT", "/v2/accounts", data)
    assert refused.status_code == 400 and "unique" in refused.json["data"][field]


@pytest.mark.parametrize(("path", "data"), [
    ("", {"numbers": ["+442071838750"]}), ("", {"realm": "globex.example"}), ("", {"name": "Globex"}),
    ("/devices", {"sip": {"username": "1000", "realm": "globex.example"}})])
def test_an_account_s_own_admin_takes_no_calls_of_others(client, acme, path, data):
    admin, method = client("admin", acme), "PUT" if path else "PATCH"
    assert admin(method, f"/v2/accounts/{acme}{path}", data).status_code == 403
    assert admin("PATCH", f"/v2/accounts/{acme}", {"call_recording": {"any": {"any": {"enabled": True}}}}).json["data"]


def test_an_account_does_not_take_a_realm_that_anothers_device_has(root, acme):
    globex = root("PUT", "/v2/accounts", {"name": "Globex"}).json["data"]["id"]
    root("PUT", f"/v2/accounts/{globex}/devices", {"sip": {"username": "1000", "realm": "New.acme.example"}})
    refused = root("PATCH", f"/v2/accounts/{acme}", {"realm": "new.ACME.example"})
    assert refused.status_code == 400 and "unique" in refused.json["data"]["sip.realm"]


def test_a_device_has_an_owner_that_is_there(root, acme):
    refused = root("PUT", f"/v2/accounts/{acme}/devices", {"owner_id": "nobody"})
    assert refused.status_code == 400 and "owner_id" in refused.json["data"]


def test_an_account_goes_with_all_that_is_in_it(root, acme, users):
    user = root("PUT", users, {"username": "ann"}).json["data"]["id"]
    assert root("DELETE", f"/v2/accounts/{acme}").status_code == 200
    assert root("GET", f"{users}/{user}").status_code == 404 and root("GET", users).status_code == 404


class TestLists:
    @pytest.fixture
    def names(self, root, users):
        for number in range(7):
            root("PUT", users, {"username": f"u{number}", "team": {"of": "sales" if number % 2 else "care"},
                                **({"vip": True} if number == 3 else {})})

        def listed(query="", **params):
            return sorted(one["username"] for one in root("GET", users, params=params).json["data"])

        return listed

    def test_pages_follow_each_other_and_the_last_says_so(self, root, users, names):
        seen, key = [], None
        for _ in range(3):
            page = root("GET", users, params={"page_size": 3, **({"start_key": key} if key else {})}).json
            seen += [one["username"] for one in page["data"]]
            key = page.get("next_start_key")
        assert key is None and sorted(seen) == [f"u{number}" for number in range(7)] and page["page_size"] == 1

    @pytest.mark.parametrize(("params", "found"), [
        ({"filter_team.of": "sales"}, ["u1", "u3", "u5"]), ({"filter_not_team.of": "sales"}, ["u0", "u2", "u4", "u6"]),
        ({"filter_username": '["u1","u2"]'}, ["u1", "u2"]), ({"has_key": "vip"}, ["u3"]),
        ({"filter_vip": "true"}, ["u3"]), ({"key_missing": "username"}, []),
        ({"filter_team.of": "sales", "key_missing": "vip"}, ["u1", "u5"]),
        ({"created_from": "63962440538", "created_to": "63962440538"}, [f"u{n}" for n in range(7)]),
        ({"created_from": "63962440540"}, []),
    ])
    def test_filters(self, names, params, found):
        assert names(**params) == found

    @pytest.mark.parametrize("params", [{"page_size": "0"}, {"page_size": "x"}, {"start_key": "%%%"}, {"a": ["1", "2"]},
                                        {"created_from": "soon"}, {"ascending": "true"}, {"page_size": "9" * 5000}])
    def test_what_is_no_page_is_refused(self, root, users, params):
        assert root("GET", users, params=params).status_code == 400


class TestEngines:
    def test_a_change_is_answered_when_every_engine_obeys_it(self, root, users, store):
        store.engines.say("fs1", 0).get()
        asked = gevent.spawn(root, "PUT", users, {"username": "ann"})
        with gevent.Timeout(10):
            while not (behind := store.engines.behind(10**9)) or len(store.documents.since(0)) < 2:
                gevent.idle()
        seq = store.documents.since(0)[-1]["seq"]
        assert behind == ["fs1"] and not asked.ready()
        store.engines.say("fs1", seq).get()
        asked.join(timeout=10)
        assert asked.value.status_code == 201 and "not_yet_obeyed_by" not in asked.value.json

    def test_an_engine_that_does_not_confirm_is_named(self, root, users, store):
        store.engines.say("fs2", 0).get()
        answer = root("PUT", users, {"username": "ann"})
        assert answer.status_code == 201 and answer.json["not_yet_obeyed_by"] == ["fs2"]

    def test_an_engine_that_is_gone_is_not_waited_for(self, root, users, store, clock):
        store.engines.say("fs2", 0).get()
        clock.now_s += 10
        assert "not_yet_obeyed_by" not in root("PUT", users, {"username": "ann"}).json


def test_schemas_are_served(client):
    anybody = client()
    assert "users" in anybody("GET", "/v2/schemas").json["data"]
    assert "url" in anybody("GET", "/v2/schemas/call_recording.parameters").json["data"]["properties"]
    assert anybody("GET", "/v2/schemas/config").status_code == anybody("GET", "/v2/schemas/..").status_code == 404


class TestUserNames:
    def test_one_is_of_one_user_of_an_account(self, root, users):
        ann = root("PUT", users, {"username": "Änn"}).json["data"]["id"]
        bob = root("PUT", users, {"username": "bob"}).json["data"]["id"]
        for refused in (root("PUT", users, {"username": "änn"}), root("PATCH", f"{users}/{bob}", {"username": "ÄNN"})):
            assert refused.status_code == 400 and "unique" in refused.json["data"]["username"]
        assert root("PATCH", f"{users}/{ann}", {"username": "änn"}).status_code == 200

    def test_another_account_has_its_own(self, root, users):
        globex = root("PUT", "/v2/accounts", {"name": "Globex"}).json["data"]["id"]
        for path in (users, f"/v2/accounts/{globex}/users"):
            assert root("PUT", path, {"username": "ann"}).status_code == 201

    def test_one_that_is_given_up_is_free(self, root, users):
        ann = root("PUT", users, {"username": "ann"}).json["data"]["id"]
        root("PATCH", f"{users}/{ann}", {"username": "anna"})
        assert root("PUT", users, {"username": "ann"}).status_code == 201


class TestRivals:
    def test_a_change_asks_for_what_it_could_clash_with_alone(self, root, acme, store):
        for number in range(3):
            account = root("PUT", "/v2/accounts", {
                "name": f"n{number}", "realm": f"r{number}.example", "note": "x" * 1000,
                "numbers": [f"+1555{number}00{last:04}" for last in range(100)]}).json["data"]["id"]
            root("PUT", f"/v2/accounts/{account}/devices", {"sip": {"username": "1000"}})
            root("PUT", f"/v2/accounts/{account}/devices", {"sip": {"username": "2000"}})
        asked = {"kind": "account", "account_id": "new", "id": "new", "body": {
            "realm": "R1.example", "numbers": ["+15552000007"]}}
        assert sorted((row["body"].get("realm"), row["body"]["numbers"]) for row in store.documents.rivals(asked)) == [
            ("r0.example", ["+15550000007"]), ("r1.example", ["+15551000007"]), ("r2.example", ["+15552000007"])]
        asked = {"kind": "device", "account_id": acme, "id": "new", "body": {"sip": {
            "username": "1000", "realm": "r1.example"}}}
        found = store.documents.rivals(asked)
        assert [row["body"]["sip"] for row in found if row["kind"] == "device"] == [{"username": "1000"}] * 3
        assert all(row["body"]["numbers"] == [] for row in found if row["kind"] == "account") and len(found) == 7
