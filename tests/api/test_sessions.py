"""What a token from a log-in stands on, and that it ends with it."""

import gc
import sys

import gevent
import pytest

from kazoo_rec.api import tokens

GOOD = tokens.credentials_hashes("ann", "secret")["md5"]


@pytest.fixture
def place(acme):
    return f"/v2/accounts/{acme}"


@pytest.fixture
def ann(root, place):
    """The path of a user who may change all of the account."""
    made = root("PUT", f"{place}/users", {"username": "ann", "password": "secret", "priv_level": "admin"})
    return f"{place}/users/{made.json['data']['id']}"


@pytest.fixture
def logged_in(client):
    """A client with the token of a log-in; None where that is refused."""
    def make(key=None, **said):
        said = {"api_key": key} if key else {"credentials": GOOD, "account_name": "Acme", **said}
        asking = client()
        answer = asking("PUT", "/v2/api_auth" if key else "/v2/user_auth", said)
        if answer.status_code != 201:
            return None
        asking.token = answer.json["auth_token"]
        return asking
    return make


def test_a_session_is_no_key(client, acme, logged_in):
    session = logged_in(client("admin", acme).token)
    assert logged_in(session.token) is None


def test_a_session_lives_no_longer_than_its_key(store, acme, place, logged_in, clock):
    secret, row = tokens.make("admin", acme, None, "test", clock.ms() + 10_000)
    store.access.add_token(row).get()
    session = logged_in(secret)
    assert session("GET", place).status_code == 200
    clock.now_s += 11
    assert session("GET", place).status_code == 401


def test_a_session_ends_with_its_key(client, store, acme, place, logged_in):
    key = client("admin", acme)
    session = logged_in(key.token)
    assert session("GET", place).status_code == 200
    store.access.revoke(next(row["id"] for row in store.access.tokens() if row["made_by"] == "test"
                             and row["hash"] == tokens.hash_of(key.token))).get()
    assert session("GET", place).status_code == 401


@pytest.mark.parametrize(("what", "change"), [
    ("ann", {"enabled": False}), ("ann", {"enabled": "false"}), ("ann", {"priv_level": "user"}),
    ("ann", {"password": "other"}), ("ann", None), ("account", {"enabled": False}), ("account", None)])
def test_a_session_ends_with_what_it_stands_on(root, ann, place, logged_in, what, change):
    session, path = logged_in(), ann if what == "ann" else place
    assert session("PATCH", place, {"name": "Acme"}).status_code == 200
    assert root("DELETE" if change is None else "PATCH", path, change).status_code == 200
    assert session("PATCH", place, {"name": "x"}).status_code == 401
    if change != {"priv_level": "user"}:
        assert logged_in() is None


@pytest.mark.parametrize("change", [{"enabled": False}, None])
def test_a_key_ends_with_its_account(client, root, acme, place, logged_in, change):
    key = client("admin", acme)
    assert key("GET", place).status_code == 200
    root("DELETE" if change is None else "PATCH", place, change)
    assert key("GET", place).status_code == 401 and logged_in(key.token) is None


class TestLinks:
    @pytest.fixture
    def link(self, recording, acme, place, ann, logged_in):
        """The path of a link that a session made."""
        made = logged_in()("POST", f"{place}/recordings/{recording(acme)['id']}/links", {"expires_in_s": 86_400})
        return made.json["data"]["url"].partition("//")[2].partition("/")[2]

    def test_one_outlives_the_hour_of_its_makers_session(self, client, link, clock):
        clock.now_s += 4000
        assert client()("GET", f"/{link}").status_code == 200

    @pytest.mark.parametrize(("what", "change"), [
        ("ann", {"enabled": False}), ("ann", {"password": "other"}), ("ann", None), ("account", None)])
    def test_one_ends_with_its_maker(self, client, root, link, ann, place, what, change):
        root("DELETE" if change is None else "PATCH", ann if what == "ann" else place, change)
        assert client()("GET", f"/{link}").status_code == 403

    def test_one_ends_with_its_makers_token(self, client, store, link):
        for row in store.access.tokens():
            store.access.revoke(row["id"]).get()
        assert client()("GET", f"/{link}").status_code == 403


class TestGuessing:
    def test_a_good_token_and_a_good_log_in_are_never_held_up(self, client, root, ann, place, logged_in):
        guesser = client()
        answers = [guesser("GET", place).status_code for _ in range(12)]
        assert answers[-1] == 429 and root("GET", place).status_code == 200
        assert logged_in() is not None and logged_in(root.token) is not None

    def test_a_good_link_is_never_held_up(self, client, root, recording, acme, place):
        made = root("POST", f"{place}/recordings/{recording(acme)['id']}/links", {}).json["data"]["url"]
        assert [client()("GET", f"/v2/links/{number:043}").status_code for number in range(12)][-1] == 429
        assert client()("GET", made.removeprefix("http://falconframework.org")).status_code == 200

    def test_guesses_at_one_account_do_not_hold_up_another(self, client, ann, logged_in):
        wrong = {"credentials": "0" * 32, "account_name": "Globex"}
        answers = [client()("PUT", "/v2/user_auth", wrong).status_code for _ in range(11)]
        assert answers == [401] * 10 + [429] and logged_in() is not None

    def test_many_at_once_have_no_more_free(self, client, ann):
        wrong = {"credentials": "0" * 32, "account_name": "Acme"}
        asked = [gevent.spawn(client(), "PUT", "/v2/user_auth", wrong) for _ in range(30)]
        gevent.joinall(asked, timeout=30)
        assert sorted(one.value.status_code for one in asked) == [401] * 10 + [429] * 20

    def test_who_says_another_account_each_time_is_held_up(self, client, clock, monkeypatch):
        hashed = []
        monkeypatch.setattr(tokens, "credentials_key", lambda *said: hashed.append(said) or "none")

        def answers(count):
            return [client()("PUT", "/v2/user_auth", {"credentials": "0" * 32, "account_name": f"{len(hashed)} {n}"})
                    .status_code for n in range(count)]

        assert answers(90) == [401] * 80 + [429] * 10 and len(hashed) == 80
        clock.now_s += 6.0
        assert answers(10) == [401] * 8 + [429] * 2

    def test_random_keys_make_nobody_be_forgotten(self, client, ann, monkeypatch):
        monkeypatch.setattr("kazoo_rec.api.throttle.GUESSERS", 20)
        wrong = {"credentials": "0" * 32, "account_name": "Acme"}
        for _ in range(10):
            client()("PUT", "/v2/user_auth", wrong)
        for number in range(30):
            client()("PUT", "/v2/api_auth", {"api_key": f"{number:043}"})
        assert client()("PUT", "/v2/user_auth", wrong).status_code == 429

    def test_many_of_one_address_that_mistype_keep_nobody_out(self, client, ann, logged_in):
        for number in range(79):
            client()("PUT", "/v2/user_auth", {"credentials": "0" * 32, "account_name": f"x{number}"})
        assert all(logged_in() for _ in range(12))

    def test_a_failed_log_in_is_logged_without_what_was_said(self, client, ann, acme, capsys):
        client()("PUT", "/v2/user_auth", {"credentials": "0" * 32, "account_name": "my-secret"})
        client()("PUT", "/v2/user_auth", {"credentials": "1" * 32, "account_name": "Acme"})
        client()("PUT", "/v2/api_auth", {"api_key": "s" * 43})
        told = capsys.readouterr().out
        assert told.count("a log-in failed") == 3 and acme in told
        assert not [said for said in ("my-secret", "0" * 32, "1" * 32, "s" * 43) if said in told]

    def test_good_log_ins_are_not_counted(self, logged_in, ann):
        assert all(logged_in() for _ in range(12))

    def test_a_failed_log_in_leaves_nothing_behind(self, client, ann):
        wrong = {"credentials": "0" * 32, "account_name": "Acme"}
        client()("PUT", "/v2/user_auth", wrong)

        def frames():
            gc.collect()
            return sum(depth(error) for error in gc.get_objects() if type(error).__name__ == "ApiError")

        def depth(error):
            at, found = error.__traceback__, 0
            while at is not None:
                at, found = at.tb_next, found + 1
            return found

        before = frames()
        for _ in range(3):
            client()("PUT", "/v2/user_auth", wrong)
        assert frames() == before and sys.exc_info() == (None, None, None)


class TestAccounts:
    @pytest.mark.parametrize("said", [
        {"account_name": "x" * 256}, {"account_realm": "x" * 256}, {"phone_number": "1" * 33}, {"account_name": 7}])
    def test_what_is_too_long_to_be_one_is_refused(self, client, acme, said):
        answer = client()("PUT", "/v2/user_auth", {"credentials": GOOD, **said})
        assert answer.status_code == 400

    def test_a_log_in_reads_no_account_but_its_own(self, client, ann, store, monkeypatch):
        monkeypatch.setattr(store.documents, "page", None)
        for said in ({"account_name": " ACME"}, {"account_realm": "Acme.example"}, {"phone_number": "+15550001001"}):
            assert client()("PUT", "/v2/user_auth", {"credentials": GOOD, **said}).status_code == 201

    @pytest.mark.parametrize(("country", "number", "said"), [
        ("GB", "020 7183 8750", "+442071838750"), ("GB", "+442071838750", "(020) 7183-8750"),
        ("GB", "+442071838750", "442071838750"), (None, "+442071838750", "+44 20 7183 8750")])
    def test_a_number_is_found_in_any_form(self, client, root, ann, place, country, number, said):
        if country is None:
            root("PATCH", place, {"country": None, "numbers": []})
        root("PATCH", place, {"numbers": [number], **({"country": country} if country else {})})
        log_in = [client()("PUT", "/v2/user_auth", {"credentials": GOOD, "phone_number": one}).status_code
                  for one in (said, "+442071838751", "+12125538750", "x")]
        assert log_in == [201, 401, 401, 401]

    def test_two_of_one_name_are_none(self, root, ann, logged_in):
        other = root("PUT", "/v2/accounts", {"name": "ACME"}).json["data"]["id"]
        assert logged_in() is None
        root("PATCH", f"/v2/accounts/{other}", {"name": "Globex"})
        assert logged_in() is not None
        assert logged_in(account_name="Globex") is None
