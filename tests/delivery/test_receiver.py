import hashlib
import json
import socket
from base64 import b64encode

import pytest
import requests

from kazoo_rec.delivery.receiver import Receiver

from .fakes import RECORDING_ID

BODY = b"RIFF" + bytes(range(256)) * 4000


def digest(body):
    return f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:"


class Post:
    """A receiver in a directory, and a client."""

    def __init__(self, directory):
        self.directory, self.arrived = directory, []
        self.receiver = Receiver(directory, socket.create_server(("127.0.0.1", 0)), self.arrived.append)
        self.receiver.start()

    def put(self, path="/file.wav", body=BODY, key=RECORDING_ID, method="PUT", **headers):
        headers = {"Repr-Digest": digest(body), "Idempotency-Key": key, "Content-Type": "audio/wav"} | {
            name.replace("_", "-"): value for name, value in headers.items()}
        return requests.request(method, self.receiver.url + path, data=body, timeout=5,
                                headers={name: value for name, value in headers.items() if value is not None})

    @property
    def held(self):
        return sorted(path.name for path in self.directory.iterdir() if path.name != ".received.jsonl")


@pytest.fixture
def post(tmp_path):
    post = Post(tmp_path / "received")
    yield post
    post.receiver.stop()


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_file_is_kept_under_its_name_and_told_of(post, method):
    answer = post.put("/rec/file.wav?from=1001", method=method)
    assert answer.status_code == 201
    sha256 = hashlib.sha256(BODY).hexdigest()
    assert answer.headers["ETag"] == f'"{sha256}"'
    assert (post.directory / "file.wav").read_bytes() == BODY
    [received] = post.arrived
    assert (received.recording_id, received.file, received.bytes, received.sha256, received.verified) == (
        RECORDING_ID, "file.wav", len(BODY), sha256, True)
    assert post.receiver.files == [received]


def test_what_is_held_is_listed_as_json_lines(post):
    post.put("/a.wav", key="one")
    post.put("/b.wav", key="two", Repr_Digest=None)
    lines = requests.get(post.receiver.url + "/", timeout=5).text.splitlines()
    assert [(line["recording_id"], line["file"], line["verified"]) for line in map(json.loads, lines)] == [
        ("one", "a.wav", True), ("two", "b.wav", False)]


def test_a_repeat_is_answered_and_stored_once(post):
    post.put()
    assert post.put("/again.wav").status_code == 200
    assert (post.held, len(post.arrived)) == (["file.wav"], 1)


def test_a_repeat_with_other_bytes_is_a_conflict(post):
    post.put()
    assert post.put(body=b"other").status_code == 409
    assert (post.directory / "file.wav").read_bytes() == BODY
    assert post.held == ["file.wav"]


def test_two_recordings_of_one_name_are_both_kept(post):
    post.put(key="one")
    assert post.put(key="two", body=b"other").status_code == 201
    assert post.held == ["file.wav", "two.wav"]


@pytest.mark.parametrize("sent", [digest(b"other"), "sha-256=:AAAA:", "sha-256=whatever"])
def test_of_a_wrong_digest_nothing_is_kept(post, sent):
    assert post.put(Repr_Digest=sent).status_code == 400
    assert (post.held, post.arrived) == ([], [])


@pytest.mark.parametrize("sent", [None, "sha-512=:AAAA:"])
def test_without_a_digest_that_it_knows_a_file_is_kept_unverified(post, sent):
    assert post.put(Repr_Digest=sent).status_code == 201
    assert not post.arrived[0].verified


def test_the_right_one_of_several_digests_counts(post):
    assert post.put(Repr_Digest=f"sha-512=:AAAA:, {digest(BODY)}").status_code == 201
    assert post.arrived[0].verified


def test_without_a_key_a_file_is_known_by_its_name(post):
    assert post.put(key=None).status_code == 201
    assert post.put(key=None).status_code == 200
    assert post.put(key=None, body=b"other").status_code == 409


@pytest.mark.parametrize("path", [
    "/../../evil.wav", "/%2e%2e%2fevil.wav", "/..%2f..%2fevil.wav", "/a/b/../..//evil.wav", "/%00evil.wav",
    "/.received.jsonl", "/..", "/%2Fetc%2Fpasswd", "/upload.php", "/", "/x%0aevil.wav", "/~%5Cevil.wav"])
def test_no_path_leads_out_of_the_directory(post, tmp_path, path):
    with socket.create_connection(post.receiver.url.removeprefix("http://").split(":")) as raw:
        raw.sendall(f"PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody".encode())
        assert b" 201 " in raw.recv(4096)
    assert [path.name for path in tmp_path.iterdir()] == ["received"]
    [name] = post.held
    assert not name.startswith(".")
    assert (post.directory / name).read_bytes() == b"body"


@pytest.mark.parametrize("key", ["../../evil", ".received.jsonl", "/etc/passwd", "a b\\c"])
def test_no_key_leads_out_of_the_directory(post, tmp_path, key):
    assert post.put("/upload.php", key=key).status_code == 201
    assert [path.name for path in tmp_path.iterdir()] == ["received"]
    [name] = post.held
    assert name.endswith(".wav")
    assert not name.startswith(".")


def test_a_body_that_ends_too_soon_leaves_nothing(post):
    with socket.create_connection(post.receiver.url.removeprefix("http://").split(":")) as raw:
        raw.sendall(b"PUT /file.wav HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        raw.shutdown(socket.SHUT_WR)
        assert b" 400 " in raw.recv(4096)
    assert (post.held, post.arrived) == ([], [])


def test_a_body_of_unknown_length_is_refused(post):
    answer = requests.put(f"{post.receiver.url}/file.wav", data=iter([b"body"]), timeout=5)
    assert answer.status_code == 411
    assert post.held == []


@pytest.mark.parametrize(("method", "path", "status"), [("DELETE", "/file.wav", 405), ("GET", "/file.wav", 404)])
def test_nothing_can_be_taken_away_or_read_back(post, method, path, status):
    post.put()
    assert requests.request(method, post.receiver.url + path, timeout=5).status_code == status
    assert post.held == ["file.wav"]


def test_a_new_start_knows_what_is_held_and_clears_what_was_cut_off(post):
    post.put()
    post.receiver.stop()
    (post.directory / ".abc.part").write_bytes(b"half")
    with open(post.directory / ".received.jsonl", "a") as index:
        index.write('{"recording_id": "torn')
    again = Post(post.directory)
    try:
        assert again.put().status_code == 200
        assert again.put("/b.wav", key="two").status_code == 201
        assert again.held == ["b.wav", "file.wav"]
        index = (post.directory / ".received.jsonl").read_text().splitlines()
        assert [json.loads(line)["file"] for line in index] == ["file.wav", "b.wav"]
    finally:
        again.receiver.stop()


def test_keep_alive_answers_do_not_wait_for_acknowledgements(post):
    """Without TCP_NODELAY each waits 44 ms; what is asked is the option, so that no clock decides."""
    assert post.receiver._server.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
