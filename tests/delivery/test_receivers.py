"""A receiver that is out of order in every way, and in order again later: what the row says meanwhile, when it is
tried again, and that each recording arrives once.
"""

import re
import socket
import ssl
from contextlib import ExitStack, contextmanager

import pytest
import trustme
from gevent.event import Event
from gevent.server import StreamServer

from kazoo_rec.delivery import http
from kazoo_rec.delivery import worker as worker_module
from kazoo_rec.delivery.servers import REST_LAST_MS

from .fakes import RECORDING_ID, Customer, refusing_url, reset, rude_server
from .test_worker import Site

HOUR_S = 3600


class Receiver:
    """A customer's server whose every connection is given to `fault`, where it has one. It takes little at once."""

    def __init__(self, fault=None):
        self.fault, self.customer, self.done = fault, Customer(), Event()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        self._server = StreamServer(listener, self._handle)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/rec"

    def _handle(self, connection, address):
        if self.fault:
            self.fault(self, connection)
        else:
            self.customer.server.handle(connection, address)

    @property
    def keys(self):
        return [headers["IDEMPOTENCY_KEY"] for _, _, headers, _ in self.customer.requests]

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self._server.stop(timeout=0)


def resets(_receiver, connection):
    reset(connection)


def hangs(receiver, _connection):
    receiver.done.wait()


def hangs_after_half(receiver, connection):
    connection.recv(1000)
    receiver.done.wait()


def hangs_before_the_status(receiver, connection):
    head, _, body = connection.recv(65_536).partition(b"\r\n\r\n")
    left = int(re.search(rb"Content-Length: (\d+)", head)[1]) - len(body)
    while left and (some := connection.recv(65_536)):
        left -= len(some)
    receiver.done.wait()


def says_200_after_half(receiver, connection):
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    receiver.done.wait()


def reads_slowly(receiver, connection):
    while not receiver.done.wait(0.05):
        connection.recv(50)


def answers(status, *headers):
    """What reads all there is at once and answers; without the rest of the connection."""
    def answer(_receiver, connection):
        connection.recv(65_536)
        head = "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 4", "Connection: close", *headers])
        connection.sendall(f"{head}\r\n\r\nwhy!".encode())

    return answer


@pytest.fixture
def site(tmp_path, pool, connections):
    site = Site(tmp_path, pool, connections)
    site.timeout_s = (0.3, 0.3)
    yield site
    site.worker.stop()


@pytest.mark.parametrize(("fault", "error", "status", "wait_s"), [
    (resets, ("ConnectionResetError", "RemoteDisconnected"), None, 5),
    (hangs, "TimeoutError", None, 5),
    (hangs_after_half, "TimeoutError", None, 5),
    (hangs_before_the_status, "TimeoutError", None, 5),
    (reads_slowly, ("slower than", "TimeoutError"), None, 5),
    (says_200_after_half, "answered 200 after ", 200, 5),
    (answers("500 Oops"), "answered 500 why!", 500, 5),
    (answers("503 Busy", "Retry-After: 90"), "answered 503 why!", 503, 90),
    (answers("503 Busy", "Retry-After: Tue, 14 Nov 2023 22:15:20 GMT"), "answered 503 why!", 503, 110),
    (answers("429 Slowly", "Retry-After: 7"), "answered 429 why!", 429, 7),
    (answers("429 Slowly", "Retry-After: 1"), "answered 429 why!", 429, 5),
    (answers("401 Who"), "answered 401 why!", 401, 5),
    (answers("404 Where"), "answered 404 why!", 404, 5),
    (answers("413 Huge"), "answered 413 why!", 413, 5),
    (answers("307 There", "Location: /there"), "more than 5 redirects", 307, 5),
])
def test_a_fault_is_told_in_the_row_and_tried_again_and_the_recording_arrives_once(site, monkeypatch, fault, error,
                                                                                     status, wait_s):
    monkeypatch.setattr(http, "SLOWEST_BYTES_S", 10**6)
    with Receiver(fault) as receiver:
        upload = site.due(receiver.url, seconds=5)
        site.step()
        assert (upload["state"], upload["attempts"], upload["status"]) == ("due", 1, status)
        assert upload["last_error"].startswith(error)
        assert upload["next_attempt_ms"] - site.clock.now_ms == wait_s * 1000
        receiver.fault, site.timeout_s = None, (5, 5)
        site.step(later_s=wait_s - 0.001)
        assert upload["attempts"] == 1
        site.worker._timeout_s = (5, 5)
        site.step(later_s=0.001)
    assert (upload["state"], upload["attempts"], upload["last_error"]) == ("delivered", 2, None)
    assert receiver.keys == [RECORDING_ID]
    assert site.file().exists()


@contextmanager
def full_server():
    """A port on which somebody listens and takes up no connection: whoever connects waits."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/rec"


def test_a_receiver_that_takes_up_no_connection_is_told_and_tried_again(site):
    with full_server() as url:
        upload = site.due(url)
        site.step()
    assert (upload["state"], upload["last_error"]) == ("due", "TimeoutError: timed out")
    assert upload["next_attempt_ms"] - site.clock.now_ms == 5000


def test_a_receiver_that_is_not_who_it_says_is_told_and_has_nothing(site):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Customer(ssl_context=context) as customer:
        upload = site.due(customer.url.replace("http:", "https:"))
        site.step()
    assert upload["state"] == "due" and upload["last_error"].startswith("SSLCertVerificationError")
    assert customer.requests == []


def test_after_an_hour_of_refusals_all_goes_within_a_minute_but_for_what_was_tried(site):
    """Its first hour costs the receiver an attempt a minute, whatever waits for it."""
    site.settings = {"uploads_per_host": 1}
    with Receiver(resets) as receiver:
        uploads = [site.due(receiver.url, f"202611-{number:03}", next_attempt_ms=site.clock.now_ms + number)
                   for number in range(100)]
        for _ in range(HOUR_S // 10):
            site.step(later_s=10)
        tried = [upload for upload in uploads if upload["attempts"]]
        assert 50 < sum(upload["attempts"] for upload in tried) < 80
        receiver.fault = None
        site.clock.now_ms += REST_LAST_MS
        for _ in range(100):
            site.step()
        never = [upload["recording_id"] for upload in uploads if upload not in tried]
        assert receiver.keys[:len(never)] == never and len(never) > 20
        for _ in range(HOUR_S // 60):
            site.step(later_s=60)
    assert {upload["state"] for upload in uploads} == {"delivered"}
    assert sorted(receiver.keys) == sorted(upload["recording_id"] for upload in uploads)


def test_what_a_dead_receiver_keeps_waiting_is_given_up_in_its_time_though_never_tried(site):
    over = site.clock.now_ms + 100_000
    uploads = [site.due(refusing_url(), f"202611-{number}", give_up_ms=over, host="http://dead:80")
               for number in range(30)]
    for upload in uploads:
        upload["url"] = uploads[0]["url"]
    for _ in range(16):
        site.step(later_s=10)
    assert {upload["state"] for upload in uploads} == {"failed"}
    assert {upload["last_error"].partition("ConnectionRefusedError")[0] for upload in uploads} <= {
        "", "not tried again: "}
    assert any(upload["attempts"] == 0 for upload in uploads) and site.file("202611-0").exists()


def test_twenty_dead_receivers_leave_every_place_to_the_others(site):
    """Each has an account of its own, and waits for longer than whoever is alive."""
    done = Event()
    with rude_server(lambda _: done.wait()) as dead, Receiver() as receiver:
        for number in range(20):
            for more in range(3):
                site.due(dead, f"202611-dead{number}-{more}", account_id=f"a{number}", host=f"http://dead{number}:80")
            site.store.failing_servers.add("fs1", f"a{number}", f"http://dead{number}:80", 9, 0)
        site.worker._timeout_s = (20, 20)
        alive = [site.due(receiver.url, f"202611-alive{number}", account_id="z") for number in range(40)]
        arrived = Event()
        receiver.customer.before = lambda number: arrived.set() if number == len(alive) else None
        site.worker.start()
        assert arrived.wait(10)
        done.set()
    site.worker.stop()
    assert sorted(receiver.keys) == sorted(upload["recording_id"] for upload in alive)


def test_a_restart_begins_with_what_was_not_failing(site, monkeypatch):
    upload = site.due(refusing_url())
    for _ in range(8):
        site.step(later_s=HOUR_S)
    assert upload["attempts"] == 8
    again = Site(site.directory, site.pool, site.connections)
    again.store, again.clock = site.store, site.clock
    site.clock.now_ms = upload["next_attempt_ms"] = site.clock.now_ms + 30_000
    again.step()
    assert upload["attempts"] == 8
    again.step(later_s=30)
    assert upload["attempts"] == 9


def test_a_callback_that_is_dead_holds_up_no_upload_and_a_dead_upload_no_callback(site):
    with Receiver() as receiver:
        dead = refusing_url()
        for number, (url, kind) in enumerate([(dead, "webhook.completed"), (receiver.url, "upload")] * 10):
            upload = site.due(url, f"202611-{number}", kind=kind)
            site.store.rows[upload["recording_id"]] |= dict.fromkeys(
                ("leg", "rule", "origin", "label", "direction", "callee_id_name", "callee_id_number",
                 "truncated_by_limit"))
        site.worker.tick()
        site.worker.join()
        for _ in range(3):
            site.step()
    assert len(receiver.keys) == 10
    assert sum(upload["attempts"] for upload in site.store.uploads.values() if upload["url"] == dead) == 2


def test_a_flood_of_one_account_is_finished_in_turn_with_the_others(site, monkeypatch):
    begun = []

    def finish(row, *_):
        begun.append(row["account_id"])
        site.store.rows[row["id"]]["state"] = "recorded"
        return "recorded"

    monkeypatch.setattr(worker_module, "finish", finish)
    for number in range(1000):
        site.stopped(None, f"202611-flood{number}", account_id="flood", stopped_ms=number)
    for number in range(3):
        site.stopped(None, f"202611-other{number}", account_id="other", stopped_ms=10_000 + number)
    for _ in range(4):
        site.step()
    assert begun[:6].count("other") == 3 and len(begun) == 8
