import hashlib
import ssl
from contextlib import suppress

import gevent
import pytest
import trustme
from gevent.event import Event

from kazoo_rec.delivery.connections import READ_BYTES, Connections
from kazoo_rec.delivery.http import Failure, Proof, send
from kazoo_rec.delivery.networks import Networks

from .fakes import RECORDING_ID, Customer, rude_server

NOW_S = 1_700_000_000
LOOPBACK = Networks(["127.0.0.0/8"])


@pytest.fixture
def upload(pool, tmp_path):
    def upload(connections, url, body=b"talk"):
        path = tmp_path / "file.wav"
        path.write_bytes(body)
        recording = {"id": RECORDING_ID, "size_bytes": len(body), "sha256": hashlib.sha256(body).hexdigest(),
                     "content_type": "audio/wav"}
        return send(connections, "put", url, recording, path, pool, NOW_S, (5, 5))

    return upload


def answering(customer):
    """Makes `customer` tell (port of the peer of each connection, an Event of its end)."""
    seen, accepted = [], customer.server.handle

    def handle(connection, address):
        ended = Event()
        seen.append((address[1], ended))
        try:
            accepted(connection, address)
        finally:
            ended.set()

    customer.server.set_handle(handle)
    return seen


def test_what_is_longer_than_one_look_at_it_arrives_whole(upload, connections):
    body = bytes(range(256)) * (3 * READ_BYTES // 256) + b"end"
    with Customer() as customer:
        assert upload(connections, customer.url, body) == Proof(200, '"tag"', hashlib.sha256(body).hexdigest())
    assert customer.requests[0][3] == body


def test_a_buffer_that_was_used_for_a_longer_file_leaves_nothing_in_a_shorter(upload, connections):
    with Customer() as customer:
        upload(connections, customer.url, b"a longer one")
        upload(connections, customer.url, b"short")
    assert [body for _, _, _, body in customer.requests] == [b"a longer one", b"short"]


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(upload, connections):
    served = []

    def once(connection):
        served.append(connection)
        while b"talk" not in connection.recv(65_536):
            pass
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with rude_server(once) as url:
        for _ in range(3):
            assert isinstance(upload(connections, url), Proof)
            (_, idle), = connections._idle
            with gevent.Timeout(5):
                while idle.sock.recv(1):  # its end has come
                    pass
    assert len(served) == 3


def test_no_more_are_kept_than_may_be_in_use(upload):
    connections = Connections(1, networks=LOOPBACK)
    with Customer() as one, Customer() as other:
        seen = answering(one)
        upload(connections, one.url)
        upload(connections, other.url)
        assert seen[0][1].wait(5)
        upload(connections, one.url)
    assert len(seen) == 2


def test_an_answer_that_was_not_read_to_its_end_is_never_taken_for_the_next(upload, connections):
    def talkative(connection):
        while b"talk" not in connection.recv(65_536):
            pass
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 9000\r\n\r\n" + b"HTTP/1.1 200 OK\r\n\r\n" * 450)
        with suppress(ConnectionResetError):
            connection.recv(1)

    with rude_server(talkative) as url:
        for _ in range(2):
            assert upload(connections, url).status == 503


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def secured(authority):
    """A customer's server with a certificate for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return Customer(ssl_context=context)


def test_over_tls_a_file_arrives_whole_where_the_certificate_is_good(upload, authority, secured):
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    body = bytes(range(256)) * 8192
    with secured as customer:
        url = customer.url.replace("http:", "https:")
        connections = Connections(1, trusting, LOOPBACK)
        for _ in range(2):
            assert isinstance(upload(connections, url, body), Proof)
    assert [sent for _, _, _, sent in customer.requests] == [body, body]


def test_over_tls_nothing_goes_to_a_server_that_cannot_prove_its_name(upload, connections, secured):
    with secured as customer:
        outcome = upload(connections, customer.url.replace("http:", "https:"))
    assert isinstance(outcome, Failure)
    assert outcome.text.startswith("SSLCertVerificationError")
    assert not customer.requests
