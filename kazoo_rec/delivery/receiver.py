"""A receiving web server, for first tries and the demo: it takes what is uploaded and checks that it came whole."""

import hashlib
import json
import os
import re
import tempfile
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY

import falcon
from gevent.lock import RLock
from gevent.pywsgi import WSGIServer

from kazoo_rec.threads import Threads

#: Bytes read from the network, written and hashed at once.
BLOCK_BYTES = 262_144

#: Characters of a file name, and of a recording id.
NAME_LIMIT = 128

#: One JSON line for each file, in the order in which they came.
INDEX = ".received.jsonl"

EXTENSIONS = {"audio/mpeg": ".mp3", "audio/wav": ".wav"}


@dataclass(frozen=True, slots=True)
class Received:
    """A stored file. `verified` says that its digest was sent with it and is right."""

    recording_id: str
    file: str
    bytes: int
    sha256: str
    verified: bool


class Receiver:
    """Takes PUT and POST of whole files into a directory, once for each Idempotency-Key; `GET /` lists them.

    A repeat with the same bytes is answered 200 and stored once, with others 409. A sender without Idempotency-Key is
    known by the file name in its URL.

    Parameters:
      directory: is made if it is not there.
      listener: a listening socket.
      arrived: called with each new Received.
    """

    def __init__(self, directory: Path, listener, arrived: Callable[[Received], None] = lambda received: None):
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._arrived = directory, arrived
        # pywsgi sends headers and body apart: without this, each answer on a kept connection waits 44 ms.
        listener.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        app = falcon.App()
        app.add_sink(self._serve)
        self._server = WSGIServer(listener, app, log=None)
        self._pool = Threads(2)
        self._publishing = RLock()
        self._by_key = {received.recording_id: received for received in self._read_index()}
        for part in directory.glob(".*.part"):
            part.unlink()

    @property
    def url(self) -> str:
        host, port = self._server.socket.getsockname()[:2]
        return f"http://{host}:{port}"

    @property
    def files(self) -> list[Received]:
        """What is held, in the order in which it came."""
        return list(self._by_key.values())

    def start(self):
        self._server.start()

    def stop(self):
        self._server.stop(timeout=1)
        self._pool.kill()

    def _serve(self, request, response):
        if request.method in ("PUT", "POST"):
            response.status, received = self._take(request)
            response.set_header("ETag", f'"{received.sha256}"')
            response.text = _line(received)
        elif request.method != "GET":
            raise falcon.HTTPMethodNotAllowed(["GET", "PUT", "POST"])
        elif request.path != "/":
            raise falcon.HTTPNotFound(description="only / can be read")
        else:
            response.content_type = "application/x-ndjson"
            response.text = "".join(map(_line, self._by_key.values()))

    def _take(self, request):
        if request.content_length is None:
            raise falcon.HTTPLengthRequired(description="Content-Length is missing")
        promised = _promised(request)
        part, sha256 = self._receive(request.bounded_stream, request.content_length)
        try:
            if promised not in (None, sha256):
                raise falcon.HTTPBadRequest(description="Repr-Digest is not that of the body")
            name = _file_name(request)
            received = Received(_key(request) or name, name, request.content_length, sha256, promised is not None)
            with self._publishing:
                return self._keep(part, received)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part)

    def _receive(self, body, length):
        """Path of a file of ours with the body, and its SHA-256; nothing is left of a body that ends too soon."""
        handle, part = tempfile.mkstemp(dir=self._directory, prefix=".", suffix=".part")
        digest = hashlib.sha256()
        try:
            with open(handle, "wb") as file:
                while left := length - file.tell():
                    block = _read(body, min(left, BLOCK_BYTES))
                    self._pool.apply(file.write, (block,))
                    self._pool.apply(digest.update, (block,))
                self._pool.apply(_settle, (file,))
        except BaseException:
            os.unlink(part)
            raise
        return part, digest.hexdigest()

    def _keep(self, part, received):
        known = self._by_key.get(received.recording_id)
        if known:
            if known.sha256 != received.sha256:
                raise falcon.HTTPConflict(description="another body came with this Idempotency-Key")
            return falcon.HTTP_OK, known
        names = {other.file for other in self._by_key.values()}
        if received.file in names:  # Kazoo's names are those of calls, and a call may have several recordings
            received = replace(received, file=received.recording_id + Path(received.file).suffix)
        if received.file in names:
            raise falcon.HTTPConflict(description="another recording has this file name")
        os.replace(part, self._directory / received.file)
        with open(self._directory / INDEX, "a") as index:
            index.write(_line(received))
            self._pool.apply(_settle, (index,))
        self._by_key[received.recording_id] = received
        self._arrived(received)
        return falcon.HTTP_CREATED, received

    def _read_index(self):
        try:
            text = (self._directory / INDEX).read_bytes()
        except FileNotFoundError:
            return []
        whole = text[:text.rfind(b"\n") + 1]
        os.truncate(self._directory / INDEX, len(whole))
        return [Received(**json.loads(line)) for line in whole.splitlines()]


def _read(body, length):
    try:
        block = body.read(length)
    except OSError:
        block = b""
    if not block:
        raise falcon.HTTPBadRequest(description="the body ended before its Content-Length")
    return block


def _settle(file):
    file.flush()
    os.fsync(file.fileno())


def _line(received):
    return json.dumps(asdict(received)) + "\n"


def _promised(request):
    """SHA-256 in hex of Repr-Digest (RFC 9530, 3), None where it is not there."""
    value = request.get_header("Repr-Digest", default="")
    if "sha-256=" not in value:
        return None
    found = re.search(r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/]{43}=):", value)
    if not found:
        raise falcon.HTTPBadRequest(description="Repr-Digest cannot be read")
    return b64decode(found[1]).hex()


def _key(request):
    return _safe(request.get_header("Idempotency-Key", default="").strip('"'))


def _file_name(request):
    """The last part of the path if it is that of a sound file, else one made of the recording's id."""
    name = _safe(request.path.rpartition("/")[2])
    if name.endswith(tuple(EXTENSIONS.values())):
        return name
    return (_key(request) or name or "recording") + EXTENSIONS.get(request.content_type, ".bin")


def _safe(text):
    """Letters that mean nothing to a file system; never hidden, so never a file of ours."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".")[:NAME_LIMIT]
