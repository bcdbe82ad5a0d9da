"""The API over TLS: with a certificate that its clients trust, and clear words about one that cannot be used."""

import itertools
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import replace

import gevent
import gevent.select
import pytest
import requests
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from gevent.event import Event
from gevent.queue import Queue
from gevent.socket import create_connection, create_server, socketpair

from kazoo_rec import web
from kazoo_rec.config import Api as Address
from kazoo_rec.config import Config, RecordingsDir
from kazoo_rec.errors import ConfigError
from kazoo_rec.roles.api import Api
from kazoo_rec.store.migrations import migrate
from tests.database import of


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def address(tmp_path, authority):
    """A free port, with a certificate for it."""
    issued = authority.issue_cert("127.0.0.1")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(tmp_path / "api.pem", append=True)
    issued.private_key_pem.write_to_path(tmp_path / "api.key")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with create_server(("127.0.0.1", 0)) as free:
        return Address("127.0.0.1", free.getsockname()[1], tmp_path / "api.pem", tmp_path / "api.key")


@pytest.fixture
def served(tmp_path, address):
    database = of(tmp_path)
    migrate(database)
    role = Api(Config("fs1", RecordingsDir(str(tmp_path), str(tmp_path)), database, (), api=address))
    role.start()
    yield f"https://127.0.0.1:{address.port}"
    role.stop()


def test_a_client_that_trusts_the_authority_is_served(served, tmp_path):
    answer = requests.get(f"{served}/v2/openapi.json", verify=tmp_path / "ca.pem", timeout=10)
    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{served}/v2/openapi.json", timeout=10)


def test_tls_before_1_2_is_not_spoken(address):
    assert address.tls().minimum_version == ssl.TLSVersion.TLSv1_2


def test_who_speaks_no_tls_gets_nothing_and_leaves_no_traceback(served, address, tmp_path, capfd):
    with create_connection((address.host, address.port)) as plain, gevent.Timeout(10):
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"HTTP" not in plain.recv(1000)
    assert requests.get(f"{served}/v2/openapi.json", verify=tmp_path / "ca.pem", timeout=10).status_code == 200
    assert "Traceback" not in "".join(capfd.readouterr())


def test_what_is_wrong_with_certificate_or_key_is_said_before_anything_is_served(tmp_path, address, authority):
    def said(**changed):
        with pytest.raises(ConfigError) as refused:
            replace(address, **changed).tls()
        return str(refused.value)

    assert "api.certificate cannot be read" in said(certificate=tmp_path / "none.pem")
    assert f"{tmp_path}: Is a directory" in said(key=tmp_path)
    authority.issue_cert("127.0.0.1").private_key_pem.write_to_path(tmp_path / "other.key")
    assert "key values mismatch" in said(key=tmp_path / "other.key").replace("_", " ")
    (tmp_path / "empty.pem").write_text("")
    assert "cannot be used" in said(certificate=tmp_path / "empty.pem")
    key = load_pem_private_key(address.key.read_bytes(), None)
    (tmp_path / "locked.key").write_bytes(key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    assert "a key without a password" in said(key=tmp_path / "locked.key")


@pytest.fixture
def server():
    """`server(application)`: what serves it, on a free port; over TLS with a context."""
    servers = []

    def start(application, context=None):
        servers.append(web.serve(web.listen("127.0.0.1", 0), application, context))
        servers[0].start()
        return servers[0]

    yield start
    for one in servers:
        one.stop(timeout=1)


def test_who_stops_reading_is_cut(server, monkeypatch, capfd):
    monkeypatch.setattr(web, "WITHIN_S", 0.05)
    over = Event()

    def endless(_environ, start_response):
        start_response("200 OK", [])
        try:
            while True:
                yield bytes(1 << 20)
        finally:
            over.set()

    server_of_it = server(endless)
    with create_connection(("127.0.0.1", server_of_it.server_port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert over.wait(10)
    server_of_it.stop(timeout=10)
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:"])
def test_who_stops_sending_is_cut(server, monkeypatch, capfd, sent):
    monkeypatch.setattr(web, "WITHIN_S", 0.05)
    with create_connection(("127.0.0.1", server(None).server_port)) as client, gevent.Timeout(10):
        client.sendall(sent)
        assert client.recv(1000) == b""
    assert "".join(capfd.readouterr()) == ""


@pytest.fixture
def slow(monkeypatch):
    """Each wait for what a client sends takes a third of the time that it has for a head."""
    monkeypatch.setattr(web, "monotonic", itertools.count(0, web.WITHIN_S / 3).__next__)


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /"])
def test_who_sends_a_byte_now_and_then_is_cut(server, slow, capfd, begun):
    with create_connection(("127.0.0.1", server(empty).server_port)) as client:
        client.sendall(begun)
        assert b"HTTP/1.1 4" not in got_while_sending(client, b"a")  # nor is it that so many bytes are no request
    assert "".join(capfd.readouterr()) == ""


def test_who_sends_a_byte_of_a_record_of_tls_now_and_then_is_cut(server, address, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "WITHIN_S", 0.2)
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    plain = create_connection(("127.0.0.1", server(empty, address.tls()).server_port))
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as client, gevent.Timeout(10):
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        with pytest.raises(OSError):
            os.write(client.fileno(), b"\x17\x03\x03\x40\x00")
            while True:
                os.write(client.fileno(), b"\x01")
                gevent.sleep(0.02)


def got_while_sending(client, piece):
    """What a client gets that sends a piece again and again until the connection ends."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else they come together, 40 ms of them
    heard = gevent.spawn(all_of, client)
    with suppress(OSError), gevent.Timeout(20):
        while not heard.ready():
            client.sendall(piece)
            gevent.sleep(0.001)
    return heard.get(timeout=20)


def all_of(client):
    got = b""
    with suppress(OSError):
        while more := client.recv(1000):
            got += more
    return got


def empty(_environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return []


@pytest.fixture
def reading(server):
    """(a client that has sent a head, whose body is of 20 bytes; what the application reads of it, byte for byte)."""
    got = Queue()

    def read(environ, start_response):
        try:
            for _ in range(20):
                got.put(environ["wsgi.input"].read(1))
        except OSError as late:
            got.put(late)
        return empty(environ, start_response)

    with create_connection(("127.0.0.1", server(read).server_port)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n")
        yield client, got


def test_a_body_that_comes_too_slowly_is_cut(slow, reading):
    client, got = reading
    for _ in range(20):
        client.sendall(b"a")
        if (one := got.get(timeout=10)) != b"a":
            break
    assert isinstance(one, TimeoutError)


def test_a_body_that_comes_at_the_least_rate_may_take_its_time(monkeypatch, slow, reading):
    monkeypatch.setattr(web, "SENT_AT_ONCE", 1)
    client, got = reading
    for _ in range(20):
        client.sendall(b"a")
        assert got.get(timeout=10) == b"a"
    assert client.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("header", "piece"), [
    (b"Content-Length: 1000000000000000000", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    (b"Transfer-Encoding: chunked", b"1\r\na\r\n")])
def test_a_body_that_nobody_wants_is_not_read_for_ever_nor_taken_for_requests(server, monkeypatch, slow, header, piece):
    monkeypatch.setattr(web, "SENT_AT_ONCE", 1)
    with create_connection(("127.0.0.1", server(empty).server_port)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        assert got_while_sending(client, piece).count(b"HTTP/1.1 200") == 1


def test_each_request_of_a_connection_has_its_time(server, slow):
    with create_connection(("127.0.0.1", server(empty).server_port)) as client, gevent.Timeout(10):
        for _ in range(10):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"evil\r\n\r\n", b"GET / HTTP/9.evil\r\n\r\n", b"EVIL\x1b[2J evil evil evil\r\n\r\n",
                                  b"POST / HTTP/1.1\r\nContent-Length: evil\r\n\r\n"])
def test_what_is_no_request_is_in_no_line(server, capfd, sent):
    with create_connection(("127.0.0.1", server(None).server_port)) as client, gevent.Timeout(10):
        client.sendall(sent)
        assert client.recv(1000).startswith(b"HTTP/1.1 400")
    assert "".join(capfd.readouterr()) == ""


@pytest.fixture
def come(server, monkeypatch):
    """`come(remote)`: a client that comes from that address and has been served once, or None where it is cut. An
    address has two places."""
    monkeypatch.setattr(web, "STRANGERS", 2)
    serving = server(empty)
    clients = []

    def come(remote):
        client, ours = socketpair()
        clients.append((client, gevent.spawn(handle_and_close, serving, ours, (remote, 50_000))))
        with suppress(OSError), gevent.Timeout(10):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return client if client.recv(1000).startswith(b"HTTP/1.1 200") else None
        return None

    def leave(client):
        client.close()
        next(handling for one, handling in clients if one is client).join(10)

    come.leave = leave
    yield come
    for client, handling in clients:
        client.close()
        handling.join(10)


def handle_and_close(serving, client_socket, address):
    with client_socket:
        serving.handle(client_socket, address)


def test_an_address_has_so_many_connections_and_others_are_served(come):
    one, other = come("192.0.2.7"), come("192.0.2.7")
    assert one and other and come("192.0.2.7") is None and come("::ffff:192.0.2.7") is None
    assert come("192.0.2.8")
    come.leave(one)
    assert come("192.0.2.7") and come("192.0.2.7") is None


def test_addresses_of_ipv6_that_one_host_has_are_one(come):
    assert come("2001:db8:1:2::1") and come("2001:db8:1:2:3:4:5:6") and come("2001:db8:1:2::3") is None
    assert come("2001:db8:1:3::1")


@pytest.mark.parametrize("remote", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_what_is_on_this_host_is_not_counted(come, remote):
    assert all(come(remote) for _ in range(5))


def test_over_tls_a_place_is_kept_for_the_whole_connection(server, address, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "STRANGERS", 1)
    serving = server(empty, address.tls())
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")

    def come(remote):
        plain, ours = socketpair()
        handling.append(gevent.spawn(serving.wrap_socket_and_handle, ours, (remote, 50_000)))
        handling[-1].link(lambda _: ours.close())
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    handling = []
    with gevent.Timeout(10):
        with come("192.0.2.7") as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            with pytest.raises(OSError):
                come("192.0.2.7")
            come("192.0.2.8").close()
        gevent.joinall(handling)
        come("192.0.2.7").close()
        gevent.joinall(handling)


def test_connections_beyond_the_bound_wait_for_one_to_end(server, monkeypatch):
    monkeypatch.setattr(web, "CONNECTIONS", 1)
    with gevent.Timeout(10):
        serving = server(empty)
        one, other = (create_connection(("127.0.0.1", serving.server_port)) for _ in range(2))
        for client in (one, other):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answered = gevent.select.select([one, other], [], [])[0]
        assert len(answered) == 1 and serving.pool.full()
        waiting = other if answered == [one] else one
        answered[0].close()
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")
        waiting.close()
