"""Links: they play one recording as it was said, for as long as it was said, and nothing else."""

from urllib.parse import urlsplit

import pytest

from kazoo_rec.api.app import make_app
from tests.api.conftest import Client
from tests.api.test_recordings import heard
from tests.media.sounds import HEARD, SAID


@pytest.fixture
def one(recording, acme):
    return f"/v2/accounts/{acme}/recordings/{recording(acme)['id']}"


@pytest.fixture
def linked(client, root, one):
    """Makes a link and gives its path and id."""
    def make(**said):
        made = root("POST", f"{one}/links", said).json["data"]
        return urlsplit(made["url"]).path, made["id"]
    return make


def test_a_link_plays_without_a_token_what_it_was_made_for(client, linked):
    path, _ = linked(format="wav", channels="dual", expires_in_s=60)
    anybody = client()
    answer = anybody("GET", path, params={"channels": "mono", "track": "inbound", "accept": "audio/mpeg"})
    assert answer.headers["Content-Type"] == "audio/wav" and heard(answer) == [{SAID}, {HEARD}]
    part = anybody("GET", path, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")
    assert anybody("HEAD", path).status_code == 200
    assert {anybody(method, path).status_code for method in ("PUT", "POST", "PATCH", "DELETE")} == {405}


def test_its_url_is_the_public_one_whatever_host_a_client_says(store, root, one, tmp_path, clock):
    app = make_app(store, "fs1", tmp_path, None, clock, clock.ms, "https://rec.example/")
    asking = Client(app, root.token)
    made = asking("POST", f"{one}/links", {"expires_in_s": "60"}, host="evil.example").json["data"]
    assert made["url"].startswith("https://rec.example/v2/links/")
    assert made["expires_ms"] == clock.ms() + 60_000


def test_it_ends_when_it_was_said(client, linked, clock):
    path, _ = linked(expires_in_s=60)
    clock.now_s += 61
    answer = client()("GET", path)
    assert answer.status_code == 403 and answer.json["data"]["message"] == "the link has expired"


def test_it_ends_when_it_is_revoked(client, root, one, linked):
    path, link_id = linked()
    other, _ = linked()
    assert root("DELETE", f"{one}/links/{link_id}").status_code == 200
    assert "revoked" in client()("GET", path).json["data"]["message"]
    assert client()("GET", other).status_code == 200
    assert root("DELETE", f"{one}/links/{link_id}").status_code == 404


def test_it_is_useless_when_the_recording_is_deleted(client, root, one, linked):
    path, _ = linked()
    root("DELETE", one)
    assert client()("GET", path).status_code == 404


@pytest.mark.parametrize("said", [
    {"expires_in_s": 0}, {"expires_in_s": 604_801}, {"expires_in_s": "6O"}, {"expires_in_s": True}, {"format": "ogg"},
    {"channels": []}, {"path": "/etc/passwd"}])
def test_what_is_no_link_is_not_made(root, one, said):
    assert root("POST", f"{one}/links", said).status_code == 400
    assert root("GET", f"{one}/links").json["data"] == []


def test_every_use_is_in_the_audit_log_and_the_secret_is_not(client, root, acme, linked, clock):
    path, link_id = linked(expires_in_s=60)
    client()("GET", path)
    clock.now_s += 61
    client()("GET", path)
    log = root("GET", f"/v2/accounts/{acme}/audit")
    uses = [entry["status"] for entry in log.json["data"] if entry["who"] == f"link {link_id}"]
    assert uses == [403, 200] and path.rpartition("/")[2] not in log.text


def test_a_user_makes_links_to_his_own_alone(client, root, recording, acme):
    asking = client("user", acme, "ann")
    hers, his = (recording(acme, user_id=user)["id"] for user in ("ann", "bob"))
    assert asking("POST", f"/v2/accounts/{acme}/recordings/{hers}/links", {}).status_code == 201
    assert asking("POST", f"/v2/accounts/{acme}/recordings/{his}/links", {}).status_code == 404


def test_who_guesses_is_held_up(client):
    answers = [client()("GET", f"/v2/links/{number:043}").status_code for number in range(12)]
    assert answers == [404] * 10 + [429] * 2
