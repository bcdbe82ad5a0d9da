"""Who is refused at the control address, whom an API refuses, and what that costs others: nothing."""

import datetime
import ssl
from contextlib import suppress

import gevent
import pytest
import trustme
from gevent.socket import create_connection, socketpair

from kazoo_rec import tls, web
from kazoo_rec.control import client, server
from kazoo_rec.errors import ConfigError, EngineSilent

YESTERDAY = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
LONG_AGO = YESTERDAY - datetime.timedelta(days=1)


def ask(port, context, name="127.0.0.1"):
    """What a client with that context gets: b"" where it is refused."""
    got = b""
    with suppress(OSError), create_connection(("127.0.0.1", port)) as plain, \
            context.wrap_socket(plain, server_hostname=name) as secured:
        secured.sendall(b"GET /legs?account=acme HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while more := secured.recv(10_000):
            got += more
    return got


def without_certificate(site):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    site.authority.configure_trust(context)
    return context


def of_another_authority(site):
    return site.certified("stranger", "127.0.0.1", by=trustme.CA()).client


def of_one_below_another(site):
    return site.certified("below", "127.0.0.1", by=trustme.CA().create_child_ca()).client


def expired(site):
    return site.certified("old", "127.0.0.1", not_before=LONG_AGO, not_after=YESTERDAY).client


def signed_by_itself(site):
    alone = trustme.CA()
    (site.place / "alone.pem").write_bytes(alone.cert_pem.bytes())
    alone.private_key_pem.write_to_path(site.place / "alone.key")
    return tls.mutual("control", site.place / "alone.pem", site.place / "alone.key",
                      site.trusted("alone", site.authority)).client


def of_the_year_2017(site):
    context = site.certified("older", "127.0.0.1").client
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize(("stranger", "reason"), [
    (without_certificate, "PEER_DID_NOT_RETURN_A_CERTIFICATE"), (of_another_authority, "unable to get local issuer"),
    (of_one_below_another, "unable to get local issuer"), (expired, "certificate has expired"),
    (signed_by_itself, "self-signed"), (of_the_year_2017, "UNSUPPORTED_PROTOCOL")])
def test_who_is_none_of_ours_gets_nothing_and_is_told_of(site, said, stranger, reason):
    calls = site.engine("fs1", "leg")
    assert b"200 OK" in ask(calls.port, site.mutual.client) and calls.asked.is_set()
    calls.asked.clear()
    assert ask(calls.port, stranger(site)) == b"" and not calls.asked.is_set()
    line = said.wait("refused at the control address")
    assert line["remote"] == "127.0.0.1" and reason in line["reason"]


@pytest.mark.parametrize("sent", [b"GET /legs?account=acme HTTP/1.1\r\n\r\n", b"\x16\x03\x01evil\nline", b""])
def test_who_speaks_in_clear_gets_nothing_and_no_byte_of_it_is_in_a_line(site, said, sent, capfd):
    calls = site.engine("fs1", "leg")
    with create_connection(("127.0.0.1", calls.port)) as plain:
        plain.sendall(sent)
        plain.shutdown(1)
        with suppress(ConnectionResetError):
            assert b"HTTP" not in plain.recv(1000)
    line = said.wait("refused at the control address")
    assert "evil" not in str(line) and "acme" not in str(line) and not calls.asked.is_set()
    assert "".join(capfd.readouterr()) == ""


def test_many_who_are_refused_are_few_lines(site, said):
    now = [0.0]
    one = server.Server(str(site.place / "x"), [], clock=lambda: now[0])
    for _ in range(100):
        one._told("192.0.2.1", "certificate has expired")
    now[0] = server.TOLD_EVERY_S
    one._told("192.0.2.2", "certificate has expired")
    assert [(line["remote"], line["times"]) for line in said.those("refused")] == [("192.0.2.1", 1), ("192.0.2.2", 100)]


def test_who_takes_his_time_is_cut_and_holds_up_nobody(site, said, monkeypatch):
    calls = site.engine("fs1", "leg")
    lingering = [create_connection(("127.0.0.1", calls.port)) for _ in range(20)]
    dripping = gevent.spawn(drip, lingering[0])
    assert site.engines.find("acme", "leg")
    monkeypatch.setattr(web, "TERMS_WITHIN_S", 0.2)
    late = create_connection(("127.0.0.1", calls.port))
    drips = gevent.spawn(drip, late)
    drips.join(10)
    assert drips.ready() and "within its time" in said.wait("refused")["reason"]
    for one in (*lingering, late):
        one.close()
    dripping.join(10)


def drip(connection):
    """A byte now and then, of a record of TLS that is never whole, until it is cut."""
    with suppress(OSError):
        connection.sendall(b"\x16\x03\x01\x40\x00")
        while True:
            connection.sendall(b"\x01")
            gevent.sleep(0.02)


def test_one_address_has_so_many_places_and_no_more(site, said, monkeypatch):
    monkeypatch.setattr(web, "STRANGERS", 3)
    calls = site.engine("fs1", "leg")
    lingering = [create_connection(("127.0.0.1", calls.port)) for _ in range(3)]
    beyond = create_connection(("127.0.0.1", calls.port))
    assert beyond.recv(1) == b"" and said.wait("refused")["reason"] == "too many at once"
    for one in lingering:
        one.close()
    with gevent.Timeout(10):
        while ask(calls.port, site.mutual.client) == b"":
            gevent.sleep(0)
    beyond.close()


def test_who_has_shown_a_certificate_is_no_stranger(site, monkeypatch):
    monkeypatch.setattr(web, "STRANGERS", 1)

    def empty(_environ, start_response):
        start_response("200 OK", [("Content-Length", "0")])
        return []

    def come():
        plain, ours = socketpair()
        handling.append(gevent.spawn(serving.wrap_socket_and_handle, ours, ("192.0.2.7", 50_000)))
        handling[-1].link(lambda _: ours.close())
        client = site.mutual.client.wrap_socket(plain, server_hostname="127.0.0.1")
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        return client

    serving, handling = web.serve(web.listen("127.0.0.1", 0), empty, site.mutual.server), []
    with gevent.Timeout(10):
        with come(), come():
            pass
        gevent.joinall(handling)
    serving.close()


def test_who_comes_to_terms_does_so_one_after_another_and_leaves_time_to_the_calls(site, monkeypatch):
    now, most, waited, sleep = [0], [0], [], gevent.sleep

    def pause(seconds):
        waited.append(seconds)
        now[0] += 1
        most[0] = max(most[0], now[0])
        sleep(0.001)
        now[0] -= 1

    monkeypatch.setattr(web.gevent, "sleep", pause)
    calls = site.engine("fs1", "leg")
    asking = [gevent.spawn(ask, calls.port, site.mutual.client) for _ in range(20)]
    assert all(b"200 OK" in one.get() for one in asking)
    assert waited == [server.APART_S] * 20 and most == [1]


@pytest.mark.parametrize(("engine", "reason"), [
    ({"by": "another"}, "unable to get local issuer"), ({"hosts": ("fs2.example",)}, "mismatch"),
    ({"not_before": LONG_AGO, "not_after": YESTERDAY}, "expired")])
def test_an_engine_that_is_not_who_its_address_says_is_not_asked(site, engine, reason):
    another = trustme.CA()
    hosts = engine.pop("hosts", ("127.0.0.1",))
    if engine.pop("by", None):
        engine["by"] = another
    calls = site.engine("fs1", "leg", mutual=site.certified("engine", *hosts, **engine))
    with pytest.raises(EngineSilent, match=reason):
        site.engines.find("acme", "leg")
    with pytest.raises(EngineSilent, match=reason) as silent:
        site.engines.order(site.store.rows["fs1"], "acme", "leg", "mask", {}, "token x")
    assert not silent.value.sent and not calls.asked.is_set()


def test_an_engine_that_speaks_in_clear_is_told_nothing(site):
    heard = []

    def clear(environ, start_response):
        heard.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b"{}"]

    plain = web.serve(web.listen("127.0.0.1", 0), clear)
    plain.start()
    try:
        site.store.add("fs1", f"127.0.0.1:{plain.server_port}")
        with pytest.raises(EngineSilent):
            site.engines.find("acme", "leg")
        assert heard == []
    finally:
        plain.stop(timeout=1)


def test_no_authority_of_the_world_is_trusted_and_nothing_before_1_3_is_spoken(site):
    for context in site.mutual:
        (trusted,) = context.get_ca_certs()
        assert trusted["serialNumber"] and context.verify_mode == ssl.CERT_REQUIRED
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert site.mutual.client.check_hostname


def test_files_that_cannot_be_used_are_named(site):
    good, key, ca = (site.place / f"api.{kind}" for kind in ("pem", "key", "ca"))

    def said_of(*files):
        with pytest.raises(ConfigError) as refused:
            tls.mutual("control", *files)
        return str(refused.value)

    none, other = site.place / "none", site.certified("other", "fs2.example") and site.place / "other.key"
    assert "control.certificate cannot be read" in said_of(none, key, ca)
    assert "control.key cannot be read" in said_of(good, none, ca)
    assert "control.ca cannot be read" in said_of(good, key, none)
    assert "key values mismatch" in said_of(good, other, ca).replace("_", " ")
    assert "control.ca cannot be used" in said_of(good, key, key)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"action": "mask"}', b'{"action": 1, "settings": {}, "who": ""}',
                                  b'{"action": "mask", "settings": {}, "who": "", "leg": ""}'])
def test_what_is_no_order_is_said_to_be_none(site, body, capfd):
    calls = site.engine("fs1", "leg")
    connection = client._Remote("127.0.0.1", calls.port, context=site.mutual.client)
    connection.connect()
    assert connection.ask("POST", {"account": "acme", "uuid": "leg"}, body)[0] == 400
    connection.close()
    assert calls.orders == [] and "".join(capfd.readouterr()) == ""
