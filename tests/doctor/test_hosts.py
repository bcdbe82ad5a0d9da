"""certificates/: of an authority that was thrown away, for localhost, with their keys; expired.pem ended in 2021."""

import ssl
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest
from gevent.socket import create_server

from kazoo_rec.delivery.networks import Networks
from kazoo_rec.doctor import hosts

CERTIFICATES = Path(__file__).parent / "certificates"
NOW_S = 1_795_242_427
LOOPBACK = Networks(["127.0.0.0/8", "::1"])
LAST_DAYS_S = 4_733_510_400 - 3 * 86_400  # 2119-12-29


@contextmanager
def server(certificate=None):
    """A server on localhost that says what it received; with a certificate it speaks TLS."""
    received, listener = [], create_server(("127.0.0.1", 0))

    def serve():
        while True:
            peer, _ = listener.accept()
            try:
                if certificate:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(CERTIFICATES / f"{certificate}.pem")
                    peer = context.wrap_socket(peer, server_side=True)
                while data := peer.recv(1000):
                    received.append(data)
            except OSError:
                continue
            finally:
                peer.close()

    serving = gevent.spawn(serve)
    try:
        yield f"{'https' if certificate else 'http'}://user:secret@localhost:{listener.getsockname()[1]}/path", received
    finally:
        serving.kill()
        listener.close()


def look(*urls, now_s=NOW_S, networks=LOOPBACK):
    context = ssl.create_default_context(cafile=CERTIFICATES / "authority.pem")
    found = hosts.reachable([(url, "account acme") for url in urls], now_s, context, networks)
    assert "secret" not in str(found)
    return found


def test_hosts_that_are_reachable_with_good_certificates_are_well_and_are_sent_nothing():
    with server() as (plain, first), server("good") as (secured, second):
        (found,) = look(plain, secured, f"{plain}/other")
        assert found.state == "ok" and found.seen.startswith("2 reachable") and first == second == []


@pytest.mark.parametrize("certificate, word", [
    ("expired", "certificate has expired"), ("self_signed", "self-signed certificate"),
])
def test_a_certificate_that_uploads_would_refuse_is_wrong(certificate, word):
    with server(certificate) as (url, received):
        (found,) = look(url)
    assert found.state == "wrong" and word in found.seen and "(account acme)" in found.seen and received == []


def test_a_certificate_for_another_name_is_wrong():
    with server("good") as (url, _):
        (found,) = look(url.replace("localhost", "127.0.0.1"))
    assert found.state == "wrong" and "not to be trusted" in found.seen


def test_a_certificate_that_ends_soon_is_a_warning():
    with server("good") as (url, _):
        (found,) = look(url, now_s=LAST_DAYS_S)
    assert found.state == "warning" and "ends in 3 days, on 2120-01-01" in found.seen


def test_tls_with_a_server_that_speaks_none_is_wrong():
    def serve(listener):
        peer, _ = listener.accept()
        peer.sendall(b"HTTP/1.0 400 what?\r\n\r\n")
        peer.close()

    with create_server(("127.0.0.1", 0)) as listener:
        serving = gevent.spawn(serve, listener)
        (found,) = look(f"https://localhost:{listener.getsockname()[1]}/")
        serving.get()
    assert found.state == "wrong" and "TLS" in found.seen


def test_a_host_that_is_down_is_wrong():
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (found,) = look(f"http://127.0.0.1:{port}/")
    assert found.state == "wrong" and "(account acme) cannot be reached: Connection refused" in found.seen


def test_a_name_that_nobody_knows_is_wrong():
    (found,) = look("https://nobody.invalid/")
    assert found.state == "wrong" and "name of https://nobody.invalid:443" in found.seen


def test_a_host_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(hosts, "HOST_S", 0.05)
    with create_server(("127.0.0.1", 0)) as listener:
        (found,) = look(f"https://localhost:{listener.getsockname()[1]}/")
    assert found.state == "wrong" and "does not answer within 0.05 s" in found.seen


@pytest.mark.parametrize("url", ["ftp://u:secret@files.example/", "https:///x", "http://a b/", "http://x:y:secret@[/"])
def test_a_url_that_is_none_is_wrong_and_its_password_is_not_shown(url):
    (found,) = look(url)
    assert found.state == "wrong" and found.seen.startswith("account acme: ")


def test_no_url_is_well():
    assert look()[0].state == "ok"


def test_a_host_that_may_not_be_delivered_to_is_wrong_and_is_not_connected_to():
    with server() as (url, received):
        (found,) = look(url, networks=Networks())
    assert found.state == "wrong" and "is at an address that is not the Internet's" in found.seen and not received
    assert "delivery.allow_networks" in found.advice
