"""The tenant says the URL: whatever he writes, nothing is connected to that is not the Internet's or allowed."""

import hashlib
import socket
import ssl
from datetime import UTC, datetime, timedelta

import gevent
import pytest
import trustme
from gevent.threadpool import ThreadPool
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.delivery import networks
from kazoo_rec.delivery.connections import Connections, trusted
from kazoo_rec.delivery.http import Failure, Proof, send, tell
from kazoo_rec.delivery.networks import Networks
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.delivery.worker import Worker
from kazoo_rec.documents.schema import check
from kazoo_rec.errors import ConfigError, TargetError
from tests.delivery.fakes import RECORDING_ID, Clock, Customer, Store, stopped_row

REFUSED = "the operator does not allow connections to this host's address"
INTERNET = Networks(own=lambda address: False)
#: Of a row, what webhooks tell and the fakes' has not.
OF_THE_END = dict.fromkeys(("leg", "rule", "origin", "label", "direction", "callee_id_name", "callee_id_number",
                            "channels", "sample_rate", "truncated_by_limit"))
ELSEWHERE = "127.0.0.2"  # of loopback, what stands for the Internet here


@pytest.fixture(autouse=True)
def _patience():
    with gevent.Timeout(20):
        yield


@pytest.fixture
def pool():
    pool = ThreadPool(2)
    yield pool
    pool.kill()


@pytest.fixture
def upload(pool, tmp_path):
    """Sends a file by `connections`."""
    file = tmp_path / "file.wav"
    file.write_bytes(b"talk")
    recording = {"id": RECORDING_ID, "size_bytes": 4, "sha256": hashlib.sha256(b"talk").hexdigest(),
                 "content_type": "audio/wav"}
    return lambda connections, url: send(connections, "put", url, recording, file, pool, 0.0, (5, 5))


@pytest.fixture
def names(monkeypatch):
    """{name: addresses of each look-up in turn, the last for ever}; what was asked is in `asked`."""
    known, asked, real = {}, [], socket.getaddrinfo

    def look_up(host, port, **more):
        if host not in known:
            return real(host, port, **more)
        asked.append(host)
        addresses = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
        return [found for address in addresses for found in real(address, port, **more)]

    monkeypatch.setattr(networks.socket, "getaddrinfo", look_up)
    return known, asked


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "192.0.0.192", "198.18.0.1",
    "168.63.129.16", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.2.1",
    "::1", "::", "fe80::1", "fe80::1%lo", "fec0::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "2002:7f00:1::", "2002:808:808::1",
    "2001:0:4136:e378::1", "2001:db8::1", "3fff::1", "5f00::1"])
def test_what_is_not_the_internets_is_refused(address):
    assert not INTERNET.allows(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "11.0.0.1", "223.255.255.1",
                                     "2606:4700::1", "2a00:1450:4001::8", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"])
def test_what_is_the_internets_is_allowed(address):
    assert INTERNET.allows(address)


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_allowed(address):
    if not address.is_global and getattr(address, "ipv4_mapped", None) is None:
        assert not INTERNET.allows(str(address))


def test_this_host_is_refused_by_its_public_address_too():
    assert not Networks(own=lambda address: address == "8.8.8.8").allows("8.8.8.8")
    assert not Networks(own=lambda address: address == "8.8.8.8").allows("::ffff:8.8.8.8")
    assert networks._own("127.0.0.1") and not networks._own("127.0.0.1".replace("1", "8"))


def test_what_the_operator_allows_is_allowed_in_each_of_its_forms():
    allowed = Networks(["10.1.0.0/16", "fd00::/8"])
    assert all(map(allowed.allows, ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00::1")))
    assert not any(map(allowed.allows, ("10.2.0.1", "::ffff:10.2.0.1", "127.0.0.1", "fc00::1")))


@pytest.mark.parametrize("host", [
    "127.0.0.1", "localhost", "LOCALHOST", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1",
    "017700000001", "0", "0.0.0.0", "[::ffff:127.0.0.1]", "[0:0:0:0:0:ffff:7f00:1]", "user:word@127.0.0.1",
    "files.example@127.0.0.1", "files.example:80@127.0.0.1", "files.example%40x@127.0.0.1"])
def test_no_spelling_of_this_host_reaches_it(upload, host):
    connections = Connections(2)
    with Customer() as customer:
        url = f"http://{host}:{customer.server.server_port}/"
        outcomes = upload(connections, url), tell(connections, url, b"{}", "key", 0.0, (5, 5))
    assert [type(outcome) for outcome in outcomes] == [Failure, Failure]
    assert all(outcome.text.startswith(REFUSED) and not outcome.final for outcome in outcomes)
    assert not customer.requests


def test_the_reason_tells_no_address_of_the_operators_network(upload, names):
    known, _ = names
    known |= {"intranet.example": [["10.9.8.7"]], "intranet.example.": [["10.9.8.7"]]}
    assert upload(Connections(1), "http://intranet.example./").text.startswith(REFUSED)
    assert upload(Connections(1), "http://intranet.example/") == Failure(f"{REFUSED}: intranet.example")


@pytest.mark.parametrize("url", [
    "http://files.example\\@127.0.0.1/", "http://127.0.0.1\t/", "http://127.0.0.1:0/", "http://①②⑦.0.0.1/",
    "http:///etc/passwd", "http:127.0.0.1/", "http://", "file:///etc/passwd", "gopher://127.0.0.1:8021/", "ftp://a/",
    "javascript:1", "http://[::1/", "http://a:b/", "http://a:99999/", "//127.0.0.1/"])
def test_what_is_no_http_url_is_refused_by_documents_and_by_delivery(upload, url):
    _, faults = check("recording_settings", {"url": url})
    assert faults
    with pytest.raises(TargetError):
        upload(Connections(1), url)


def test_a_fragment_is_no_other_host(upload):
    """Some parsers take what follows `#@` for the host."""
    connections = Connections(1, networks=Networks([f"{ELSEWHERE}/32"]))
    with Customer() as customer:
        port = customer.server.server_port
        assert isinstance(upload(connections, f"http://{ELSEWHERE}:{port}#@127.0.0.1:{port}/"), Failure)
    assert not customer.requests


def elsewhere(answers=()):
    customer = Customer(answers)
    customer.server.set_listener((ELSEWHERE, 0))
    return customer


def url_of(customer, host=ELSEWHERE):
    return f"http://{host}:{customer.server.server_port}/"


@pytest.fixture
def only_elsewhere():
    connections = Connections(4, networks=Networks([f"{ELSEWHERE}/32"]))
    yield connections
    connections.close()


def test_a_redirect_goes_nowhere_that_is_not_allowed(upload, only_elsewhere):
    with Customer() as inner, elsewhere([("307 Go", {"Location": f"{inner.url}/"})] * 2) as outer:
        assert upload(only_elsewhere, url_of(outer)).text.startswith(REFUSED)
        assert tell(only_elsewhere, url_of(outer), b"{}", "key", 0.0, (5, 5)).text.startswith(REFUSED)
    assert len(outer.requests) == 2 and not inner.requests


@pytest.mark.parametrize("location", ["http:/\\127.0.0.1:{port}/", "//127.0.0.1:{port}/", "http://2130706433:{port}/",
                                      "http://[::ffff:127.0.0.1]:{port}/", "http://x@127.1:{port}/",
                                      "gopher://127.0.0.1:{port}/", "file:///etc/passwd", "s3://a/b"])
def test_a_redirect_may_be_spelled_as_it_likes(upload, only_elsewhere, location):
    with Customer() as inner:
        location = location.format(port=inner.server.server_port)
        with elsewhere([("308 Go", {"Location": location})]) as outer:
            assert isinstance(upload(only_elsewhere, url_of(outer)), Failure)
    assert not inner.requests


def test_a_name_is_looked_up_once_a_connection_and_what_was_judged_is_connected_to(upload, only_elsewhere, names):
    known, asked = names
    known["rebinding.example"] = [[ELSEWHERE], ["127.0.0.1"]]
    with elsewhere() as outer:
        url = url_of(outer, "rebinding.example")
        assert isinstance(upload(only_elsewhere, url), Proof) and asked == ["rebinding.example"]
        assert isinstance(upload(only_elsewhere, url), Proof) and asked == ["rebinding.example"]  # kept open
        only_elsewhere.close()
        assert upload(only_elsewhere, url) == Failure(f"{REFUSED}: rebinding.example")
    assert [headers["HOST"] for _, _, headers, _ in outer.requests] == [url[7:-1]] * 2


def test_of_several_addresses_those_that_are_not_allowed_are_passed_over(upload, only_elsewhere, names):
    known, _ = names
    known["mixed.example"] = [["127.0.0.1", "10.0.0.1", "::1", ELSEWHERE]]
    with Customer() as inner, elsewhere() as outer:
        assert isinstance(upload(only_elsewhere, url_of(outer, "mixed.example")), Proof)
    assert not inner.requests


def test_where_the_first_address_is_dead_the_next_is_tried(upload, names):
    known, _ = names
    known["two.example"] = [["127.0.0.3", ELSEWHERE]]
    with elsewhere() as outer:
        connections = Connections(1, networks=Networks(["127.0.0.0/8"]))
        assert isinstance(upload(connections, url_of(outer, "two.example")), Proof)


def test_a_refusal_is_seen_in_the_row_and_tried_again(pool, tmp_path):
    """The operator may allow the network, or DNS answer otherwise."""
    store = Store(stopped_row(state="recorded", file="a.wav", size_bytes=4, content_type="audio/wav",
                              sha256=hashlib.sha256(b"talk").hexdigest(), **OF_THE_END))
    (tmp_path / "a.wav").write_bytes(b"talk")
    with Customer() as customer:
        for kind in ("upload", "webhook.completed"):
            store.add_upload(RECORDING_ID, customer.url, f"one of {kind}", kind=kind)
        worker = Worker(store, "fs1", tmp_path, pool, DeliverySettings(), Connections(2), Clock())
        worker.tick()
        worker.join()
    assert not customer.requests
    for row in store.uploads.values():
        assert (row["state"], row["attempts"]) == ("due", 1) and row["last_error"].startswith(REFUSED)


def test_proxies_of_the_environment_are_not_used(upload, monkeypatch, only_elsewhere):
    with Customer() as proxy, elsewhere() as outer:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert isinstance(upload(only_elsewhere, url_of(outer)), Proof)
        assert upload(only_elsewhere, f"{proxy.url}/").text.startswith(REFUSED)
    assert not proxy.requests and len(outer.requests) == 1


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def by_own_authority(authority, tmp_path):
    """Connections as `delivery.ca_file` makes them."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    connections = Connections(4, trusted(tmp_path / "ca.pem"), Networks(["127.0.0.0/8"]))
    yield connections
    connections.close()


def secured(*certificates):
    """A server of TLS with certificates of (authority, name)s, and the names by which it was asked for."""
    contexts, asked = {}, []
    for authority, name, more in certificates:
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name, **more).configure_cert(contexts[name])
    outer = next(iter(contexts.values()))
    outer.sni_callback = lambda connection, name, _: asked.append(name)
    return Customer(ssl_context=outer), asked


def test_the_certificate_has_to_be_that_of_the_name_in_the_url(upload, names, authority, by_own_authority):
    known, _ = names
    known |= {"files.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]}
    customer, asked = secured((authority, "files.example", {}))
    with customer:
        port = customer.server.server_port
        assert isinstance(upload(by_own_authority, f"https://files.example:{port}/"), Proof)
        refused = upload(by_own_authority, f"https://other.example:{port}/")
        by_address = upload(by_own_authority, f"https://127.0.0.1:{port}/")
    assert "mismatch" in refused.text and "mismatch" in by_address.text
    assert asked[:2] == ["files.example", "other.example"]
    assert [headers["HOST"] for _, _, headers, _ in customer.requests] == [f"files.example:{port}"]


def test_a_certificate_that_is_not_to_be_trusted_gets_no_byte(upload, names, authority, by_own_authority, monkeypatch,
                                                               tmp_path):
    known, _ = names
    known["files.example"] = [["127.0.0.1"]]
    stranger = trustme.CA()
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "stranger.pem"))
    for issuer, more in ((stranger, {}), (authority, {"not_before": datetime(2020, 1, 1, tzinfo=UTC),
                                                      "not_after": datetime.now(UTC) - timedelta(days=1)})):
        customer, _ = secured((issuer, "files.example", more))
        with customer:
            outcome = upload(by_own_authority, f"https://files.example:{customer.server.server_port}/")
            usual = upload(Connections(1, networks=Networks(["127.0.0.0/8"])),
                           f"https://files.example:{customer.server.server_port}/")
        assert outcome.text.startswith("SSLCertVerificationError"), outcome
        assert usual.text.startswith("SSLCertVerificationError")
        assert not customer.requests


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_of_authorities_that_cannot_be_used_is_said(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"delivery\.ca_file cannot be used"):
        trusted(file)
