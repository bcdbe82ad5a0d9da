"""What delivery works with, made by hand: a store in memory, a clock, and servers that behave as badly as asked."""

import socket
import struct
from contextlib import contextmanager
from operator import itemgetter

from gevent.event import AsyncResult
from gevent.pywsgi import WSGIServer
from gevent.server import StreamServer

RECORDING_ID = "202611-0123456789abcdef0123456789abcdef"

SETTINGS = {"format": "wav", "record_min_sec": 0, "channels": "mono", "track": "both", "method": "put",
            "url": "http://customer.example/rec"}


def stopped_row(recording_id=RECORDING_ID, settings=(), **columns):
    return {
        "id": recording_id, "node": "fs1", "account_id": "acme", "user_id": "u1", "device_id": None,
        "call_id": f"leg-{recording_id}", "interaction_id": "talk", "settings": {**SETTINGS, **dict(settings)},
        "from_uri": "1001@acme.example", "to_uri": "1002@acme.example", "caller_id_name": "Ann", "state": "stopped",
        "caller_id_number": "1001", "state_reason": None, "master": f"acme/20261121/{recording_id}.wav",
        "started_ms": 1_700_000_000_000, "stopped_ms": 1_700_000_002_000, "expected_ms": 2000,
        "cause": "success-maxtime", "partial": False, "duration_ms": None, "file": None, "spans": [],
        "legal_hold": False, "delete_requested_ms": None, "deleted_by": None, **columns,
    }


class Clock:
    """Milliseconds since the epoch, as told."""

    def __init__(self, now_ms=1_700_000_010_000):
        self.now_ms = now_ms

    def __call__(self):
        return self.now_ms


class Store:
    """As kazoo_rec.store.Store, in memory. `refusals` are raised by the next writes, one each; None lets one pass.

    `reading`, where set, is called with a read's name before it returns: another greenlet's turn.
    """

    def __init__(self, *rows):
        self.rows = {row["id"]: row for row in rows}
        self.uploads = {}
        self.refusals = []
        self.reading = None
        self.secrets = Secrets()
        self.recordings = Recordings(self)
        self.deliveries = Deliveries(self)
        self.failing_servers = FailingServers()

    def write(self, change):
        done = AsyncResult()
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is None:
            done.set(change())
        else:
            done.set_exception(refusal)
        return done

    def add_upload(self, recording_id, url, host, **columns):
        upload_id = len(self.uploads) + 1
        self.uploads[upload_id] = {
            "id": upload_id, "recording_id": recording_id, "node": "fs1", "account_id": "acme", "url": url,
            "host": host, "method": "put", "state": "due", "attempts": 0, "next_attempt_ms": 0,
            "give_up_ms": 1_700_600_000_000, "last_error": None, **columns,
        }
        return upload_id


class Secrets:
    """Of URLs that are stored as they are, and of recordings that are not encrypted."""

    @staticmethod
    def unwrap(account_id, recording_id, wrapped):
        return None

    @staticmethod
    def open(url):
        return url


class Recordings:
    def __init__(self, store):
        self._store = store

    def _stopped(self, node):
        return [row for row in self._store.rows.values() if (row["node"], row["state"]) == (node, "stopped")]

    def accounts_stopped(self, node):
        return sorted({row["account_id"] for row in self._stopped(node)})

    def stopped(self, node, account_id, limit, without=()):
        found = [dict(row) for row in self._stopped(node)
                 if row["account_id"] == account_id and row["id"] not in without]
        if self._store.reading:
            self._store.reading("stopped")
        return sorted(found, key=itemgetter("stopped_ms"))[:limit]

    def to_delete(self, node, limit, from_library, without=()):
        return [] if from_library else [
            dict(row) for row in self._store.rows.values() if row["node"] == node and row["id"] not in without
            and row["delete_requested_ms"] is not None and row["state"] != "deleted"][:limit]

    def get(self, recording_id):
        return dict(self._store.rows[recording_id])

    def update(self, recording_id, **columns):
        return self._store.write(lambda: self._store.rows[recording_id].update(columns) or 1)

    def claim(self, recording_id, now_ms):
        def change():
            row = self._store.rows[recording_id]
            if row["legal_hold"] or row.get("audio_removed_ms") is not None:
                return 0
            row["audio_removed_ms"] = now_ms
            return 1

        return self._store.write(change)

    def finish(self, recording_id, columns, rows):
        def change():
            if self._store.rows[recording_id]["state"] != "stopped":
                return 0
            self._store.rows[recording_id].update(columns)
            for row in rows:
                self._store.add_upload(**row)
            return 1

        return self._store.write(change)


class Deliveries:
    def __init__(self, store):
        self._store = store

    def _due(self, node):
        return [upload for upload in self._store.uploads.values() if (upload["node"], upload["state"]) == (node, "due")]

    def of(self, recording_id):
        return [dict(upload) for upload in self._store.uploads.values() if upload["recording_id"] == recording_id]

    def queues(self, node):
        first = {}
        for upload in self._due(node):
            queue = upload["account_id"], upload["host"]
            first[queue] = min(first.get(queue, upload["next_attempt_ms"]), upload["next_attempt_ms"])
        return [(*queue, planned_ms) for queue, planned_ms in sorted(first.items())]

    def due(self, node, wanted, now_ms, without=()):
        found = []
        for queue, most in wanted.items():
            own = [upload | {"recording": dict(self._store.rows[upload["recording_id"]])} for upload in self._due(node)
                   if (upload["account_id"], upload["host"]) == queue and upload["next_attempt_ms"] <= now_ms
                   and upload["id"] not in without]
            found += sorted(own, key=itemgetter("next_attempt_ms", "id"))[:most]
        if self._store.reading:
            self._store.reading("due")
        return found

    def give_up(self, node, account_id, host, now_ms, error):
        def change():
            over = [upload for upload in self._due(node) if (upload["account_id"], upload["host"]) == (account_id, host)
                    and upload["give_up_ms"] <= now_ms]
            for upload in over:
                upload.update(state="failed", last_error=error)
            return len(over)

        return self._store.write(change)

    def update(self, delivery_id, **columns):
        def change():
            if delivery_id not in self._store.uploads:
                return 0
            self._store.uploads[delivery_id].update(columns)
            return 1

        return self._store.write(change)

    def update_due(self, delivery_id, **columns):
        if self._store.uploads.get(delivery_id, {}).get("state") != "due":
            return self._store.write(lambda: 0)
        return self.update(delivery_id, **columns)


class FailingServers:
    """As kazoo_rec.store.failing.FailingServers; outlives a worker."""

    def __init__(self):
        self.rows = {}

    def all(self, node):
        return [{"account_id": account_id, "host": host, "failures": failures, "rests_until_ms": until_ms}
                for (of, account_id, host), (failures, until_ms) in self.rows.items() if of == node]

    def add(self, node, account_id, host, failures, rests_until_ms):
        self.rows[node, account_id, host] = failures, rests_until_ms

    def remove(self, node, account_id, host):
        self.rows.pop((node, account_id, host), None)


class Customer:
    """A customer's web server. `answers` are (status, headers), or (status, headers, body), for the next requests; then
    it says 200.

    `before` is called with each request's number before it is answered; `tls` as gevent's servers take it.
    """

    def __init__(self, answers=(), before=lambda number: None, **tls):
        self.answers, self.before = list(answers), before
        self.requests = []
        self.server = WSGIServer(("127.0.0.1", 0), self._serve, log=None, **tls)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def _serve(self, environ, start_response):
        body = environ["wsgi.input"].read()
        headers = {key.removeprefix("HTTP_"): value for key, value in environ.items()
                   if key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")}
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], headers, body))
        self.before(len(self.requests))
        status, headers, *said = self.answers.pop(0) if self.answers else ("200 OK", {"ETag": '"tag"'})
        start_response(status, list(headers.items()))
        return [] if status.startswith("204") else said or [b"said so"]

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(timeout=0)


@contextmanager
def rude_server(behave):
    """Gives each connection to `behave(socket)`; the result is the server's URL."""
    server = StreamServer(("127.0.0.1", 0), lambda connection, _: behave(connection))
    server.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.stop(timeout=0)


def reset(connection):
    """Ends a connection by RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def refusing_url():
    """The URL of a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
