import hashlib
import io
import os
import re
import socket
from base64 import b64encode
from contextlib import contextmanager
from types import SimpleNamespace

import gevent
import pytest
from gevent.event import AsyncResult, Event
from gevent.monkey import get_original
from gevent.server import StreamServer
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec import __version__
from kazoo_rec.delivery import http
from kazoo_rec.delivery.body import HEAD_BYTES
from kazoo_rec.delivery.http import Failure, Proof, printable, send
from kazoo_rec.errors import TargetError
from kazoo_rec.media import sealed

from .fakes import RECORDING_ID, Customer, refusing_url, reset, rude_server

BODY = bytes(range(256)) * 2000
get_ident = get_original("_thread", "get_ident")
NOW_S = 1_700_000_000


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.mp3"
    path.write_bytes(BODY)
    return path


@pytest.fixture
def upload(connections, pool, path):
    """Sends the file of `path` to a URL."""

    def upload(url, method="put", timeout_s=(5, 5), **columns):
        recording = {"id": RECORDING_ID, "size_bytes": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest(),
                     "content_type": "audio/mpeg", **columns}
        return send(connections, method, url, recording, path, pool, NOW_S, timeout_s)

    return upload


@pytest.mark.parametrize("method", ["put", "post"])
def test_the_raw_body_goes_with_its_length_type_digest_and_key(upload, method):
    with Customer() as customer:
        proof = upload(f"{customer.url}/rec/file.mp3?a=b", method)
    sha256 = hashlib.sha256(BODY)
    assert proof == Proof(200, '"tag"', sha256.hexdigest())
    [(sent_method, sent_path, headers, body)] = customer.requests
    assert (sent_method, sent_path, body) == (method.upper(), "/rec/file.mp3", BODY)
    assert headers["CONTENT_TYPE"] == "audio/mpeg"
    assert headers["CONTENT_LENGTH"] == str(len(BODY))
    assert headers["REPR_DIGEST"] == f"sha-256=:{b64encode(sha256.digest()).decode()}:"
    assert headers["IDEMPOTENCY_KEY"] == RECORDING_ID
    assert headers["USER_AGENT"] == f"kazoo_rec/{__version__}"
    assert "TRANSFER_ENCODING" not in headers


def test_a_head_that_is_longer_than_its_room_goes_before_the_body(upload):
    received = AsyncResult()

    def listen(connection):
        read = b""
        while not read.endswith(BODY) and (part := connection.recv(65_536)):
            read += part
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        received.set(read)

    with rude_server(listen) as url:
        assert isinstance(upload(f"{url}/{'a' * HEAD_BYTES}"), Proof)
    head, body = received.get(timeout=5).split(b"\r\n\r\n", 1)
    assert head.startswith(b"PUT /aaa") and len(head) > HEAD_BYTES and body == BODY


def test_what_was_read_to_its_end_is_closed_when_it_is_delivered(upload, path):
    with Customer() as customer:
        assert isinstance(upload(customer.url), Proof)
        opened = [os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.islink(entry.path)]
    assert str(path) not in opened


def test_a_connection_is_used_again_and_no_cookie_comes_back(upload):
    ports = set()
    with Customer([("200 OK", {"Set-Cookie": "a=b"})]) as customer:
        accepted = customer.server.handle
        customer.server.set_handle(lambda connection, address: ports.add(address[1]) or accepted(connection, address))
        upload(customer.url)
        upload(customer.url)
    assert len(ports) == 1
    assert all("COOKIE" not in headers for _, _, headers, _ in customer.requests)


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content"])
def test_any_2xx_is_a_delivery(upload, status):
    with Customer([(status, {})]) as customer:
        assert upload(customer.url) == Proof(int(status[:3]), None, hashlib.sha256(BODY).hexdigest())


@pytest.mark.parametrize("status", ["303 See Other", "400 Bad Request", "401 Unauthorized", "404 Not Found",
                                    "413 Too Large", "500 Oops", "503 Unavailable"])
def test_any_other_answer_is_a_failure_that_quotes_it(upload, status):
    with Customer([(status, {})]) as customer:
        assert upload(customer.url) == Failure(f"answered {status[:3]} said so", int(status[:3]))


@pytest.mark.parametrize(("value", "expected"), [
    ("120", 120.0), ("0", 0.0), ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0), ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
    ("soon", None), ("-5", None), ("1.5", None), ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
    ("Wed, 99 Foo 2023 99:99:99 GMT", None), ("9" * 400, float("inf"))])
def test_the_server_says_when_to_come_again(upload, value, expected):
    with Customer([("503 Unavailable", {"Retry-After": value})]) as customer:
        assert upload(customer.url).retry_after_s == expected


def test_a_url_with_a_password_authenticates_and_the_password_is_in_no_error(upload):
    with Customer([("200 OK", {}), ("500 Oops", {})]) as customer:
        url = customer.url.replace("http://", "http://ann:p%40ss@")
        upload(url)
        assert "p@ss" not in repr(upload(url))
        assert customer.requests[0][2]["AUTHORIZATION"] == f"Basic {b64encode(b'ann:p@ss').decode()}"
    failure = upload(refusing_url().replace("http://", "http://ann:secret@") + "/rec?from=1001")
    assert failure == Failure("ConnectionRefusedError: Connection refused")


def test_nobodys_netrc_or_proxy_is_used(upload, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login root password toor")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", refusing_url())
    with Customer() as customer:
        assert isinstance(upload(customer.url), Proof)
    assert "AUTHORIZATION" not in customer.requests[0][2]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_followed_with_the_method_the_body_and_the_key(upload, status):
    with Customer([(status, {"Location": "/elsewhere"})]) as customer:
        assert isinstance(upload(customer.url, "post"), Proof)
    method, path, headers, body = customer.requests[1]
    assert (method, path, body) == ("POST", "/elsewhere", BODY)
    assert headers["IDEMPOTENCY_KEY"] == RECORDING_ID


def test_a_password_stays_with_its_host(upload):
    with Customer() as other, Customer() as customer:
        customer.answers = [("307 Temporary", {"Location": onward}) for onward in ("/again", other.url)]
        assert isinstance(upload(customer.url.replace("http://", "http://ann:secret@")), Proof)
    assert ["AUTHORIZATION" in headers for _, _, headers, _ in customer.requests] == [True, True]
    assert "AUTHORIZATION" not in other.requests[0][2]


@pytest.mark.parametrize(("location", "text"), [
    ("ftp://a.example/", "redirect: cannot deliver to this URL"),
    ("http://a b/", "redirect: not a URL"),
    ("http://[", "redirect: not a URL"),
    ("http://[/", "redirect: not a URL"),
    ("/", "more than 5 redirects"),
])
def test_a_redirect_to_nowhere_is_a_failure(upload, location, text):
    with Customer([("307 Temporary", {"Location": location})] * 9) as customer:
        failure = upload(customer.url)
    assert failure.text.startswith(text)
    assert failure.status == 307
    assert len(customer.requests) <= 6


def test_a_server_that_is_not_there_is_a_failure(upload):
    assert upload(refusing_url()) == Failure("ConnectionRefusedError: Connection refused")


def test_a_connection_that_is_reset_is_a_failure(upload):
    with rude_server(reset) as url:
        assert upload(url).text.startswith(("ConnectionResetError", "RemoteDisconnected"))


def test_a_server_that_closes_after_half_the_body_is_a_failure(upload):
    def half(connection):
        taken = 0
        while taken < len(BODY) // 2:
            taken += len(connection.recv(65_536))

    with rude_server(half) as url:
        assert isinstance(upload(url), Failure)


def test_an_answer_before_the_end_of_the_body_is_no_delivery(upload, path):
    """A server may say 200 and hang up; the bytes that it did not take are not delivered."""
    body = BODY * 40
    path.write_bytes(body)

    def hasty(connection):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with rude_server(hasty) as url:
        outcome = upload(url, size_bytes=len(body), sha256=hashlib.sha256(body).hexdigest())
    assert isinstance(outcome, Failure)


@contextmanager
def deaf_server(answer):
    """Gives `answer` to a request when a part of its body has come, and takes no more of it: what its host has no room
    for stays here."""
    done = Event()

    def behave(connection, _):
        connection.recv(65_536)
        connection.sendall(answer)
        done.wait()

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = StreamServer(listener, behave)
    server.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        server.stop(timeout=0)


def test_a_2xx_to_bytes_that_never_left_this_host_is_no_delivery(upload):
    """The kernel has taken all of a short file when the server has half of it."""
    with deaf_server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as url:
        outcome = upload(url)
    assert (outcome.status, outcome.of_server) == (200, True)
    taken = int(re.fullmatch(rf"answered 200 after (\d+) of {len(BODY)} bytes", outcome.text)[1])
    assert taken < len(BODY)


@pytest.mark.parametrize("closes", [b"", b"Connection: close\r\n"])
def test_an_answer_that_comes_before_the_body_is_taken_is_heard(upload, path, closes):
    body = BODY * 40
    path.write_bytes(body)
    with deaf_server(b"HTTP/1.1 413 Too Large\r\n" + closes + b"Content-Length: 4\r\n\r\nhuge") as url:
        outcome = upload(url, timeout_s=(0.2, 5), size_bytes=len(body), sha256=hashlib.sha256(body).hexdigest())
    assert outcome == Failure("answered 413 huge", 413)


class Early:
    """Connections and connection: takes nothing of a body, and has an answer all the same."""

    def __init__(self, status, **headers):
        self.answer = SimpleNamespace(status=status, headers=headers, read=lambda count: b"", isclosed=lambda: True,
                                      unacknowledged=lambda: 0)
        self.sock = SimpleNamespace(settimeout=lambda seconds: None, send=self.refuse)
        self.head, self.buffer = b"PUT / HTTP/1.1\r\n\r\n", bytearray(HEAD_BYTES + len(BODY))

    def refuse(self, data):
        raise BrokenPipeError

    def take(self, origin):
        return self

    def putrequest(self, *_, **__):
        pass

    def getresponse(self):
        return self.answer

    putheader = endheaders = close = putrequest


def test_bytes_that_were_read_but_not_taken_are_not_delivered(pool, path):
    path.write_bytes(b"short")
    recording = {"id": RECORDING_ID, "size_bytes": 5, "sha256": hashlib.sha256(b"short").hexdigest(),
                 "content_type": "audio/mpeg"}
    outcome = send(Early(200), "put", "http://a.example/", recording, path, pool, NOW_S)
    assert outcome == Failure("answered 200 after 0 of 5 bytes", 200)


def test_a_redirect_does_not_take_a_recording_out_of_tls(pool, path):
    recording = {"id": RECORDING_ID, "size_bytes": len(BODY), "sha256": "", "content_type": "audio/mpeg"}
    connections = Early(307, Location="http://a.example/")
    outcome = send(connections, "put", "https://a.example/", recording, path, pool, NOW_S)
    assert outcome == Failure("redirect: from https to http", 307)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 2", b"SSH-2.0-server\r\n", b"HTTP/1.1 \xff\r\n\r\n"])
def test_what_is_no_http_is_a_failure(upload, answer):
    def babble(connection):
        taken = 0
        while taken < len(BODY):
            taken += len(connection.recv(65_536))
        connection.sendall(answer)

    with rude_server(babble) as url:
        assert isinstance(upload(url), Failure)


def test_a_server_that_never_answers_is_left(upload):
    done = Event()
    with rude_server(lambda connection: done.wait()) as url:
        assert upload(url, timeout_s=(0.2, 0.2)).text.startswith("TimeoutError")
        done.set()


def test_a_server_that_answers_drop_by_drop_is_left(upload, monkeypatch):
    monkeypatch.setattr(http, "SLOWEST_BYTES_S", 10 * len(BODY))
    done = Event()

    def drip(connection):
        while not done.wait(0.05):
            connection.sendall(b"H")

    with rude_server(drip) as url:
        assert "bytes a second" in upload(url, timeout_s=(0.2, 0.2)).text
        done.set()


@contextmanager
def flooding_server(head, flood):
    """Says `head`, then `flood` again and again for as long as it is taken, at most 64 MB. The result is (its URL,
    whether it was all taken)."""
    taken = AsyncResult()

    def behave(connection):
        read = 0
        while read < len(BODY):
            read += len(connection.recv(65_536))
        part = flood * (65_536 // len(flood))
        try:
            connection.sendall(head)
            for _ in range(1_000):
                connection.sendall(part)
            taken.set(True)
        except OSError:
            taken.set(False)

    with rude_server(behave) as url:
        yield url, taken


@pytest.mark.parametrize(("head", "flood", "text"), [
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "HTTPException: the answer does not end"),
    (b"", b"HTTP/1.1 100 \n\n", "HTTPException: the answer does not end"),
    (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n", "answered 500"),
    (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", b"x", "answered 500"),
], ids=["continue", "short continue", "trailers", "a chunk of less than nothing"])
def test_an_answer_without_an_end_is_left(upload, head, flood, text):
    with flooding_server(head, flood) as (url, taken):
        assert upload(url).text == text
        assert taken.get(timeout=30) is False


def test_a_file_that_is_gone_is_a_failure(upload, path):
    path.unlink()
    with Customer() as customer:
        assert upload(customer.url) == Failure("FileNotFoundError: No such file or directory", ours=True)
    assert customer.requests == []


class Hanging(io.BytesIO):
    """A file that a disk keeps reading: a close waits for the thread that reads, on whatever thread it is."""

    def __init__(self):
        super().__init__(BODY)
        self.answer, self.ask = os.pipe()
        self.reads, self.closed_by = False, None

    def readinto(self, buffer):
        self.reads = True
        os.read(self.answer, 1)
        return super().readinto(buffer[:1])  # what is read to its end is closed with that

    def close(self):
        self.closed_by = self.closed_by or get_ident()


@pytest.mark.parametrize("busy", [1, 4])
def test_a_disk_that_hangs_holds_up_nothing_but_its_upload(upload, pool, monkeypatch, busy):
    files = []
    monkeypatch.setattr(sealed, "opened", lambda *_, **__: files.append(Hanging()) or files[-1])
    with Customer() as customer:
        uploads = [gevent.spawn(upload, customer.url) for _ in range(busy)]
        while [file.reads for file in files] != busy * [True]:
            gevent.idle()
        gevent.killall(uploads)
        for file in files:
            os.write(file.ask, b"x")
        while None in [file.closed_by for file in files]:
            gevent.idle()
    assert get_ident() not in [file.closed_by for file in files]


def test_a_file_of_another_size_is_not_sent(upload, path):
    path.write_bytes(BODY + b"x")
    with Customer() as customer:
        assert upload(customer.url).text == "OSError: the file has 512001 bytes and had 512000 when it was finished"
    assert customer.requests == []


def test_a_file_of_other_bytes_is_not_proved_delivered(upload, path):
    path.write_bytes(BODY[:-1] + b"x")
    with Customer() as customer:
        assert upload(customer.url).text == "the file is not what it was when it was finished"


def test_a_url_that_cannot_be_is_refused(upload):
    with pytest.raises(TargetError):
        upload("ftp://a.example/")


@given(st.text())
def test_foreign_text_is_told_in_printable_ascii(text):
    told = printable(text)
    assert told.isascii()
    assert told.isprintable()
    assert len(told) <= http.TEXT_LIMIT
