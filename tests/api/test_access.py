"""Who gets in, how far, and what is written down of it."""

import re

import gevent
import pytest
import sqlalchemy
from gevent import Timeout
from gevent.event import AsyncResult

from kazoo_rec.api import tokens
from kazoo_rec.api.app import make_app
from kazoo_rec.api.listing import key_for
from tests import database
from tests.api.conftest import ACME, Client

#: Every path of the API that is an account's; the walk fails for one that is not asked for here.
METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")


def routes(app):
    """(path template, methods) of every route."""
    def walk(nodes):
        for node in nodes:
            if node.resource is not None:
                yield node.uri_template, [name for name in METHODS if node.method_map
                                          and getattr(node.resource, f"on_{name.lower()}", None)]
            yield from walk(node.children)
    return list(walk(app._router._roots))


@pytest.fixture
def globex(root):
    return root("PUT", "/v2/accounts", {"name": "Globex", "realm": "globex.example"}).json["data"]["id"]


@pytest.mark.parametrize("role", ["admin", "listener", "user"])
def test_no_account_sees_anothers_anything(app, client, root, acme, globex, recording, role):
    made = {kind: root("PUT", f"/v2/accounts/{acme}/{kind}", data).json["data"]["id"] for kind, data in {
        "users": {"username": "ann"}, "devices": {"sip": {"username": "1000"}},
        "callflows": {"flow": {"module": "user"}}}.items()}
    recorded = recording(acme)["id"]
    stranger, asked = client(role, globex, "ann"), 0
    for template, methods in routes(app):
        if "{account_id}" not in template:
            continue
        kind = template.split("/")[4] if template.count("/") > 3 else ""
        for identifier in ([made[kind], "0" * 32] if "{document_id}" in template else [""]):
            ids = {"document_id": identifier, "recording_id": recorded, "link_id": "x", "call_id": "x"}
            path = template.format(account_id=acme, **ids)
            nowhere = template.format(account_id="0" * 32, **ids)
            for method in methods:
                answers = [stranger(method, one, {"username": "x"} if method not in ("GET", "HEAD") else None)
                           for one in (path, nowhere)]
                assert [answer.status_code for answer in answers] == [404, 404], (method, path)
                asked += 1
                if method == "HEAD":
                    assert not any(answer.content for answer in answers)
                    continue
                there, not_there = ({**answer.json, "request_id": 0, "timestamp": 0, "data": {
                    **answer.json["data"], "cause": 0}} for answer in answers)
                assert there == not_there
    assert asked > 30
    assert root("GET", f"/v2/accounts/{acme}/users/{made['users']}").json["data"]["username"] == "ann"


def test_without_a_token_nothing_of_an_account_is_served(app, client, acme):
    nobody = client()
    for template, methods in routes(app):
        if "/accounts" in template:
            path = template.format(account_id=acme, document_id="x", recording_id="x", link_id="x", call_id="x")
            answer = nobody(methods[0], path, {} if methods[0] != "GET" else None)
            assert answer.status_code in (401, 429), path
            assert answer.json["message"] in ("invalid_credentials", "too_many_requests")


@pytest.mark.parametrize(("role", "method", "status"), [
    ("admin", "GET", 200), ("admin", "PATCH", 200), ("admin", "DELETE", 403), ("user", "PATCH", 403),
    ("listener", "GET", 403), ("listener", "PATCH", 403)])
def test_what_a_role_may_do_with_its_account(client, acme, role, method, status):
    answer = client(role, acme, "ann")(method, f"/v2/accounts/{acme}", {"note": "x"} if method == "PATCH" else None)
    assert answer.status_code == status


def test_only_superadmins_list_and_make_accounts(client, acme):
    admin = client("admin", acme)
    assert admin("GET", "/v2/accounts").status_code == admin("PUT", "/v2/accounts", ACME).status_code == 403


def test_a_user_sees_himself_and_what_is_his(client, root, acme):
    users, devices = f"/v2/accounts/{acme}/users", f"/v2/accounts/{acme}/devices"
    ann, bob = (root("PUT", users, {"username": name}).json["data"]["id"] for name in ("ann", "bob"))
    hers = root("PUT", devices, {"owner_id": ann}).json["data"]["id"]
    his = root("PUT", devices, {"owner_id": bob}).json["data"]["id"]
    asking = client("user", acme, ann)
    assert [one["id"] for one in asking("GET", users).json["data"]] == [ann]
    assert [one["id"] for one in asking("GET", devices).json["data"]] == [hers]
    assert asking("GET", f"{devices}/{hers}").status_code == 200
    assert asking("GET", f"{devices}/{his}").status_code == asking("GET", f"{users}/{bob}").status_code == 404


@pytest.mark.parametrize("place", [
    lambda secret: {"headers": {"X-Auth-Token": secret}}, lambda secret: {"params": {"auth_token": secret}},
    lambda secret: {"headers": {"Authorization": f"Bearer {secret}"}},
    lambda secret: {"json": {"auth_token": secret, "data": {}}}])
def test_a_token_may_come_in_four_ways(client, root, acme, place):
    assert client()("GET", f"/v2/accounts/{acme}", **place(root.token)).status_code == 200


class TestTokens:
    def test_the_store_has_no_token(self, root, store):
        assert not any(root.token in str(row) for row in store.access.tokens())

    def test_one_that_is_revoked_or_expired_is_none(self, client, store, acme, clock):
        secret, row = tokens.make("admin", acme, None, "test", clock.ms() + 1000)
        store.access.add_token(row).get()
        asking = client()
        asking.token = secret
        path = f"/v2/accounts/{acme}"
        assert asking("GET", path).status_code == 200
        clock.now_s += 2
        assert asking("GET", path).status_code == 401
        other = client("admin", acme)
        store.access.revoke(tokens_id(store, other)).get()
        assert other("GET", path).status_code == 401

    @pytest.mark.parametrize(("limits", "method", "path", "let_through"), [
        ({"methods": ["GET"]}, "GET", "", True), ({"methods": ["GET"]}, "PATCH", "", False),
        ({"paths": ["/v2/accounts/*/users/#"]}, "GET", "/users", True),
        ({"paths": ["/v2/accounts/*/users/#"]}, "GET", "/devices", False),
        ({"paths": ["/v2/accounts/*/#/peaks"]}, "GET", "/users", False), ({"methods": ["GET"]}, "HEAD", "", True),
        ({"paths": ["/v2/accounts/*"]}, "GET", "/users", False), ({"paths": []}, "GET", "", False)])
    def test_its_own_restrictions_hold(self, client, acme, limits, method, path, let_through):
        answer = client("admin", acme, **limits)(method, f"/v2/accounts/{acme}{path}",
                                                 {"note": "x"} if method == "PATCH" else None)
        assert answer.status_code == (200 if let_through else 403)


def tokens_id(store, asking):
    return next(row["id"] for row in store.access.tokens() if row["hash"] == tokens.hash_of(asking.token))


class TestLogIn:
    def test_an_api_key_gives_a_token_of_an_hour_that_may_no_more_than_the_key(self, client, acme, clock):
        key = client("admin", acme, methods=["GET"])
        answer = client()("PUT", "/v2/api_auth", {"api_key": key.token})
        assert answer.status_code == 201 and answer.json["data"]["account_id"] == acme
        asking = client()
        asking.token = answer.json["auth_token"]
        path = f"/v2/accounts/{acme}"
        assert asking("GET", path).status_code == 200 and asking("PATCH", path, {"name": "x"}).status_code == 403
        clock.now_s += 3601
        assert asking("GET", path).status_code == 401

    @pytest.fixture
    def ann(self, root, acme):
        return root("PUT", f"/v2/accounts/{acme}/users", {
            "username": "Ann", "password": "secret", "priv_level": "admin"}).json["data"]

    @pytest.mark.parametrize("method", ["md5", "sha"])
    @pytest.mark.parametrize("which", [{"account_name": "aCme"}, {"account_realm": "acme.example"},
                                       {"phone_number": "(555) 000-1001"}])
    def test_a_user_logs_in_with_kazoos_credentials(self, client, acme, ann, method, which):
        credentials = tokens.credentials_hashes("ann", "secret")[method]
        answer = client()("PUT", "/v2/user_auth", {"credentials": credentials, "method": method, **which})
        assert answer.status_code == 201
        assert answer.json["data"] == {"account_id": acme, "owner_id": ann["id"], "role": "admin"}

    @pytest.mark.parametrize("said", ["+15550001001", "15550001001", "5550001001"])
    def test_no_account_is_read_for_the_end_of_its_number(
            self, client, root, acme, ann, store, monkeypatch, said):
        for number in range(3):
            root("PUT", "/v2/accounts", {"name": f"Near {number}", "realm": f"near{number}.example", "country": "US",
                                         "numbers": [f"+1555{number + 1}001001"]})
        read, get = [], store.documents.get
        monkeypatch.setattr(store.documents, "get", lambda *which: read.append(which) or get(*which))
        credentials = tokens.credentials_hashes("ann", "secret")["md5"]
        answer = client()("PUT", "/v2/user_auth", {"credentials": credentials, "phone_number": said})
        assert answer.status_code == 201
        assert read == [("account", acme, acme), ("user", acme, ann["id"])]

    def test_the_password_is_nowhere(self, ann, store, tmp_path, root, acme):
        assert "password" not in ann
        credentials = tokens.credentials_hashes("ann", "secret")
        with sqlalchemy.create_engine(database.of(tmp_path).url).connect() as connection:
            rows = str(connection.exec_driver_sql("SELECT * FROM credentials").all())
            rows += str(connection.exec_driver_sql("SELECT body FROM documents").all())
        assert not any(text in rows for text in ("secret", *credentials.values()))

    @pytest.mark.parametrize("wrong", [
        {"credentials": "0" * 32, "account_name": "Acme"}, {"credentials": "x", "account_name": "nobody"},
        {"credentials": tokens.credentials_hashes("ann", "wrong")["md5"], "account_name": "Acme"}])
    def test_wrong_ones_give_nothing(self, client, ann, wrong):
        answer = client()("PUT", "/v2/user_auth", wrong)
        assert answer.status_code == 401 and "auth_token" not in answer.json

    def test_who_is_deleted_or_disabled_does_not_get_in(self, client, root, acme, ann):
        path = f"/v2/accounts/{acme}/users/{ann['id']}"
        said = {"credentials": tokens.credentials_hashes("ann", "secret")["md5"], "account_name": "Acme"}
        root("PATCH", path, {"enabled": False})
        assert client()("PUT", "/v2/user_auth", said).status_code == 401
        root("PATCH", path, {"enabled": True})
        assert client()("PUT", "/v2/user_auth", said).status_code == 201
        root("DELETE", path)
        assert client()("PUT", "/v2/user_auth", said).status_code == 401

    def test_a_new_name_needs_the_password_again(self, root, acme, ann):
        answer = root("PATCH", f"/v2/accounts/{acme}/users/{ann['id']}", {"username": "anna"})
        assert answer.status_code == 400 and "password" in answer.json["data"]


def test_who_fails_often_is_held_up_and_let_in_again(client, root, acme, clock):
    guesser, path = client(), f"/v2/accounts/{acme}"
    answers = [guesser("GET", path).status_code for _ in range(12)]
    assert answers == [401] * 10 + [429] * 2
    held = client()("PUT", "/v2/api_auth", {"api_key": "x"})
    assert held.status_code == 429 and re.fullmatch("[1-9][0-9]?", held.headers["Retry-After"])
    clock.now_s += int(held.headers["Retry-After"])
    assert client()("PUT", "/v2/api_auth", {"api_key": "x"}).status_code == 401


class TestAudit:
    def test_it_has_who_did_what_from_where(self, client, acme):
        admin = client("admin", acme)
        made = admin("PUT", f"/v2/accounts/{acme}/users", {"username": "ann"})
        entry = admin("GET", f"/v2/accounts/{acme}/audit").json["data"][0]
        assert (entry["method"], entry["path"], entry["status"], entry["remote"], entry["request_id"]) == (
            "PUT", f"/v2/accounts/{acme}/users", 201, "127.0.0.1", made.json["request_id"])

    def test_a_token_in_the_query_is_not_in_it(self, client, acme, root):
        client()("GET", f"/v2/accounts/{acme}", params={"auth_token": root.token})
        assert root.token not in str(root("GET", f"/v2/accounts/{acme}/audit").json)

    def test_pages(self, client, acme):
        admin = client("admin", acme)
        for _ in range(3):
            admin("GET", f"/v2/accounts/{acme}")
        first = admin("GET", f"/v2/accounts/{acme}/audit", params={"page_size": 2}).json
        second = admin("GET", f"/v2/accounts/{acme}/audit", params={
            "page_size": 2, "start_key": first["next_start_key"]}).json
        ids = [entry["id"] for entry in first["data"] + second["data"]]
        assert ids == sorted(set(ids), reverse=True) and len(ids) == 3

    @pytest.mark.parametrize("params", [
        {"start_key": key_for(str(2**70))}, {"start_key": key_for("9" * 5000)}, {"filter_who": "x"}])
    def test_what_is_no_page_is_refused(self, root, acme, params):
        assert root("GET", f"/v2/accounts/{acme}/audit", params=params).status_code == 400

    @pytest.mark.parametrize("statement", [
        "DELETE FROM audit", "UPDATE audit SET who = 'nobody'",
        pytest.param("INSERT OR REPLACE INTO audit SELECT id, 0, account_id, 'nobody', user_id, remote, method, path, "
                     "status, sent, request_id FROM audit", marks=pytest.mark.sqlite)])
    def test_nobody_changes_it(self, client, acme, tmp_path, statement):
        client("admin", acme)("GET", f"/v2/accounts/{acme}")
        engine = sqlalchemy.create_engine(database.of(tmp_path).url)
        with engine.connect() as connection, pytest.raises(sqlalchemy.exc.IntegrityError, match="only added to"):
            connection.exec_driver_sql(statement)


    def test_it_says_what_was_played(self, client, acme, recording):
        admin, path = client("admin", acme), f"/v2/accounts/{acme}/recordings/{recording(acme)['id']}"
        admin("GET", path)
        admin("GET", path, params={"accept": "audio/wav", "track": "inbound"})
        entries = admin("GET", f"/v2/accounts/{acme}/audit").json["data"]
        assert [entry["sent"] for entry in entries] == ["wav dual inbound", None]

    def test_a_link_and_a_log_in_are_in_it_as_they_ended(self, client, root, acme, recording, tmp_path):
        made = recording(acme)
        link = root("POST", f"/v2/accounts/{acme}/recordings/{made['id']}/links", {}).json["data"]
        (tmp_path / "recordings" / made["master"]).unlink()
        assert client()("GET", link["url"].removeprefix("http://falconframework.org")).status_code == 404
        client()("PUT", "/v2/api_auth", {"api_key": client("admin", acme).token})
        entries = root("GET", f"/v2/accounts/{acme}/audit").json["data"]
        assert [(entry["path"], entry["status"]) for entry in entries[:2]] == [
            ("/v2/api_auth", 201), (f"recordings/{made['id']}", 404)]

    def test_what_cannot_be_written_down_is_not_answered(self, client, root, acme, recording, store, monkeypatch):
        link = root("POST", f"/v2/accounts/{acme}/recordings/{recording(acme)['id']}/links", {}).json["data"]["url"]
        key = client("admin", acme)
        monkeypatch.setattr("kazoo_rec.api.door.WRITTEN_WITHIN_S", 0.01)
        monkeypatch.setattr(store.access, "note", lambda _entry: AsyncResult())
        with Timeout(10):
            for answer in (client()("GET", link.removeprefix("http://falconframework.org")),
                           client()("PUT", "/v2/api_auth", {"api_key": key.token})):
                assert answer.status_code == 503 and "auth_token" not in answer.json


@pytest.mark.parametrize("role", ["superadmin", "admin", "listener"])
def test_a_method_that_is_not_there_is_said_to_be_and_which_are(client, acme, role):
    answer = client(role, acme if role != "superadmin" else None)("DELETE", f"/v2/accounts/{acme}/recordings")
    assert answer.status_code == 405 and "GET" in answer.headers["Allow"] and "DELETE" not in answer.headers["Allow"]


def test_head_is_get_without_a_body(client, acme):
    asking, path = client("admin", acme), f"/v2/accounts/{acme}"
    answer = asking("HEAD", path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["ETag"] == asking("GET", path).headers["ETag"]


def test_health_tells_strangers_no_numbers(client, recording, acme):
    recording(acme)
    assert client()("GET", "/healthz").json == {"status": "ok"}


def test_a_body_that_ends_early_is_no_fault_of_ours(root, acme):
    headers = {"Content-Length": "100", "Content-Type": "application/json"}
    answer = root("PATCH", f"/v2/accounts/{acme}", headers=headers, body='{"data": {}}')
    assert answer.status_code == 400 and "Content-Length" in answer.text


def test_the_log_of_a_fault_has_no_links_secret(client, store, monkeypatch, capsys):
    def broken(_hashed):
        raise RuntimeError

    monkeypatch.setattr(store.access, "link", broken)
    assert client()("GET", f"/v2/links/{'s' * 43}").status_code == 500
    told = capsys.readouterr().out
    assert "a request failed" in told and "s" * 43 not in told


def test_the_log_of_a_stranger_has_the_route_alone(client, capsys):
    assert client()("GET", "/v2/accounts/acme/recordings/r-1/links/secret").status_code == 401
    told = capsys.readouterr().out
    assert "a request without a valid token" in told and "{link_id}" in told and "secret" not in told


def test_a_valid_key_logs_in_from_where_others_guess(client, acme):
    key, guesser = client("admin", acme), client()
    assert {guesser("PUT", "/v2/api_auth", {"api_key": f"{n}" * 43}).status_code for n in range(10)} == {401}
    assert guesser("PUT", "/v2/api_auth", {"api_key": "x" * 43}).status_code == 429
    for _ in range(12):
        assert client()("PUT", "/v2/api_auth", {"api_key": key.token}).status_code == 201


def test_guesses_of_a_key_are_counted_before_they_are_looked_up(client, store, monkeypatch):
    def look_up(_hashed):
        looking.append(1)
        gevent.sleep(0)

    looking = []
    monkeypatch.setattr(store.access, "token", look_up)
    guesses = [gevent.spawn(client(), "PUT", "/v2/api_auth", {"api_key": "s" * 43}) for _ in range(30)]
    assert {guess.get(timeout=10).status_code for guess in guesses} == {401, 429} and len(looking) == 10


def test_a_log_in_that_cannot_be_written_down_is_none(client, acme, store, monkeypatch):
    key = client("admin", acme)
    monkeypatch.setattr("kazoo_rec.api.door.WRITTEN_WITHIN_S", 0.01)
    monkeypatch.setattr(store.access, "add_token", lambda _row: AsyncResult())
    with Timeout(10):
        assert client()("PUT", "/v2/api_auth", {"api_key": key.token}).status_code == 503


def test_a_large_body_is_read_on_a_thread(store, clock, tmp_path, root, acme):
    ran = []

    def run(function, args):
        ran.append(function.__name__)
        return function(*args)

    asking = Client(make_app(store, "fs1", tmp_path, run, clock, clock.ms), root.token)
    for size, large in ((1_000, False), (70_000, True)):
        ran.clear()
        assert asking("PATCH", f"/v2/accounts/{acme}", {"note": "x" * size}).status_code == 200
        assert ("_parse" in ran) is large


def test_a_fault_of_ours_is_told_without_what_is_inside(root, store, acme, monkeypatch):
    def broken(*_):
        raise RuntimeError("sip password 1234")

    monkeypatch.setattr(store.documents, "get", broken)
    answer = root("GET", f"/v2/accounts/{acme}")
    assert (answer.status_code, answer.json["error"]) == (500, "500") and "1234" not in answer.text
