"""The customer's server as a process: it takes whole files, checks them, and writes down each before it answers."""

import hashlib
import json
import re
import sys
from base64 import b64decode
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY

from gevent.event import Event
from gevent.pywsgi import WSGIServer

from tests.faults.orders import serve

BLOCK_BYTES = 65_536


class Receiver:
    """`mode` is what it does with who comes next:

    ok        takes the body, checks its digest, keeps it, says 200 (or 201 where the key is new)
    500, 503  says so
    hang      takes nothing and says nothing until the mode is another
    half      takes half of the body and waits until the mode is another
    silent    takes and keeps it all and waits, before it answers, until the mode is another
    """

    def __init__(self, directory: Path):
        self._directory, self._journal = directory, open(directory / "journal", "a", buffering=1)  # noqa: SIM115
        self._seen = {json.loads(line)["key"] for line in (directory / "journal").read_text().splitlines()}
        self._mode, self._changed, self._waiting = "ok", Event(), 0

    def __call__(self, environ, start_response):
        status, length = "200 OK", int(environ["CONTENT_LENGTH"])
        mode = self._mode
        if mode == "hang":
            self._wait()
        if mode.isdigit():
            status = f"{mode} No"
        else:
            first = environ["wsgi.input"].read(length // 2)
            if mode == "half":
                self._wait()
            status = self._keep(environ, first, length)
            if mode == "silent":
                self._wait()
        start_response(status, [("Content-Length", "0")])
        return [b""]

    def _wait(self):
        self._waiting += 1
        self._changed.wait()
        self._waiting -= 1

    def _keep(self, environ, first, length):
        body = first
        while len(body) < length and (block := environ["wsgi.input"].read(min(BLOCK_BYTES, length - len(body)))):
            body += block
        if len(body) < length:
            return "400 Cut short"
        key = re.sub(r"[^A-Za-z0-9._-]", "_", environ["HTTP_IDEMPOTENCY_KEY"].strip('"'))
        sha256, promised = hashlib.sha256(body).hexdigest(), environ.get("HTTP_REPR_DIGEST", "")
        found = re.fullmatch(r"sha-256=:(.+):", promised)
        is_right = b64decode(found[1]).hex() == sha256 if found else None
        if is_right is False:
            return "400 Wrong digest"
        (self._directory / f"{key}.{sha256[:16]}").write_bytes(body)
        self._journal.write(json.dumps({
            "key": key, "place": environ["PATH_INFO"], "query": environ["QUERY_STRING"], "sha256": sha256,
            "bytes": length, "verified": is_right}) + "\n")
        status = "200 OK" if key in self._seen else "201 Created"
        self._seen.add(key)
        return status

    # What the harness may order.

    def mode(self, mode: str):
        self._mode = mode
        self._changed.set()
        self._changed.clear()

    def waiting(self) -> int:
        """How many are held up."""
        return self._waiting


class Door:
    def __init__(self, receiver, port):
        self._receiver, self._port = receiver, port
        self.mode, self.waiting = receiver.mode, receiver.waiting

    def port(self) -> int:
        return self._port


def main(port: str, directory: str):
    Path(directory).mkdir(exist_ok=True)
    (Path(directory) / "journal").touch()
    receiver = Receiver(Path(directory))
    server = WSGIServer(("127.0.0.1", int(port)), receiver, log=None)
    server.init_socket()
    server.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    server.start()
    serve(Door(receiver, server.server_port))


if __name__ == "__main__":
    main(*sys.argv[1:])
