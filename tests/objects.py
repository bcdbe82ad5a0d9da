"""An object store as a process: moto's S3, and before it what moto does not do: signatures and checksums are checked,
and it can be down, hang, be slow, and lie about a write."""

import hashlib
import io
import json
import sys
from base64 import b64encode
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY
from urllib.parse import parse_qs

import gevent
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends

from tests.faults.orders import serve

#: Who may come, the operator and a tenant, by their secrets.
KEYS = {"AKOPERATOR": "operator/secret+1", "AKTENANT": "tenant/secret+2"}

REGION = "eu-west-1"

#: Bytes of a second, where it is slow.
SLOW_BYTES_S = 1000

BLOCK_BYTES = 65_536


class Store:
    """`mode` is what it does with who comes next:

    ok             what S3 does
    500, 503       says so
    moved          says that the bucket is in another region
    skewed         says that the clock is wrong
    hang           takes nothing and says nothing until the mode is another
    held           as hang, of writes alone
    slow           takes and gives SLOW_BYTES_S until the mode is another
    silent         takes and keeps it, and waits, before it answers, until the mode is another
    absent         takes a file or a part, says 200, and does not keep it
    cut, other     keeps half of it, or other bytes, and says 200
    garbled        says 200, and nothing else that S3 says
    unrouted       says 404 in HTML, as what is before it and knows it no more
    """

    def __init__(self):
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._mode, self._changed, self._waiting, self._of = "ok", Event(), 0, 0
        self._requests: list[str] = []
        self._held, self._failing = 0, 0

    def __call__(self, environ, start_response):
        mode, writes = self._mode, environ["REQUEST_METHOD"] == "PUT"
        self._requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}")
        if mode == "hang" or (mode == "held" and writes):
            self._wait()
        part = int(parse_qs(environ["QUERY_STRING"]).get("partNumber", [0])[0])
        if part and part == self._held:
            self._wait()
        body = self._body(environ, slowly=mode == "slow")
        if part and part == self._failing:
            mode = "500"
        if self._failing < 0 and environ["QUERY_STRING"].endswith("uploads=") and environ["REQUEST_METHOD"] == "GET":
            mode = "denied"
        refused = self._refused(environ, body, mode)
        if refused:
            status, code = refused
            text = f"<Error><Code>{code}</Code><Message>said so of AKTENANT</Message></Error>".encode()
            start_response(status, [("Content-Length", str(len(text))), ("x-amz-bucket-region", "us-west-2")])
            return [text] if environ["REQUEST_METHOD"] != "HEAD" else []
        if mode == "unrouted":
            text = b"<html><body>default backend - 404</body></html>"
            start_response("404 Not Found", [("Content-Length", str(len(text)))])
            return [text] if environ["REQUEST_METHOD"] != "HEAD" else []
        if mode == "garbled":
            text = b"<Garbled>AKTENANT</Garbled>"
            start_response("200 OK", [("Content-Length", str(len(text))), ("Last-Modified", "never")])
            return [text] if environ["REQUEST_METHOD"] != "HEAD" else []
        if writes and mode == "absent":
            start_response("200 OK", [("Content-Length", "0"), ("ETag", f'"{hashlib.md5(body).hexdigest()}"')])
            return []
        if writes and mode in ("cut", "other"):
            body = body[:len(body) // 2] if mode == "cut" else bytes(len(body))
            environ.pop("HTTP_X_AMZ_CHECKSUM_SHA256", None)
        if writes:
            environ["HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM"] = "SHA256"  # moto computes it of what it was given
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        answer = self._moto(environ, start_response)
        if mode == "silent":
            self._wait()
        return self._slowly(answer) if mode == "slow" else answer

    def _body(self, environ, slowly):
        taken, left = io.BytesIO(), int(environ.get("CONTENT_LENGTH") or 0)
        self._waiting += slowly
        while left and (block := environ["wsgi.input"].read(min(left, SLOW_BYTES_S // 4 if slowly else BLOCK_BYTES))):
            taken.write(block)
            left -= len(block)
            if slowly and self._mode == "slow":
                gevent.sleep(0.25)
        self._waiting -= slowly
        return taken.getvalue()

    def _slowly(self, answer):
        for block in answer:
            for at in range(0, len(block), SLOW_BYTES_S // 4):
                if self._mode == "slow":
                    gevent.sleep(0.25)
                yield block[at:at + SLOW_BYTES_S // 4]

    def _refused(self, environ, body, mode):
        if mode.isdigit():
            return f"{mode} No", "InternalError"
        if mode == "moved":
            return "301 Moved", "PermanentRedirect"
        if mode == "denied":
            return "403 Forbidden", "AccessDenied"
        if mode == "skewed":
            return "403 Forbidden", "RequestTimeTooSkewed"
        if int(environ.get("CONTENT_LENGTH") or 0) != len(body):
            return "400 Cut short", "IncompleteBody"
        digest = hashlib.sha256(body)
        if environ.get("HTTP_X_AMZ_CONTENT_SHA256") != digest.hexdigest():
            return "400 Bad", "XAmzContentSHA256Mismatch"
        if environ.get("HTTP_X_AMZ_CHECKSUM_SHA256") not in (None, b64encode(digest.digest()).decode()):
            return "400 Bad", "BadDigest"
        return self._unsigned(environ)

    @staticmethod
    def _unsigned(environ):
        said = dict(part.strip().split("=", 1) for part in
                    environ.get("HTTP_AUTHORIZATION", "").removeprefix("AWS4-HMAC-SHA256").split(",") if "=" in part)
        key, _, scope = said.get("Credential", "").partition("/")
        if key not in KEYS:
            return "403 Forbidden", "InvalidAccessKeyId"
        names = {name: ("" if name in ("content-type", "content-length") else "HTTP_")
                 + name.upper().replace("-", "_") for name in said["SignedHeaders"].split(";")}
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        request = AWSRequest(environ["REQUEST_METHOD"], f"http://{environ['HTTP_HOST']}{environ['RAW_PATH']}{query}",
                             {name: environ.get(named, "") for name, named in names.items()})
        request.params = {}
        request.context["timestamp"] = environ["HTTP_X_AMZ_DATE"]
        signer = S3SigV4Auth(Credentials(key, KEYS[key]), "s3", REGION)
        expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        if said["Signature"] != expected or scope.split("/")[1:] != [REGION, "s3", "aws4_request"]:
            return "403 Forbidden", "SignatureDoesNotMatch"
        return None

    def _wait(self):
        self._waiting += 1
        self._changed.wait()
        self._waiting -= 1

    # What a test may order.

    def mode(self, mode: str):
        self._mode = mode
        self._changed.set()
        self._changed.clear()

    def waiting(self) -> int:
        """How many are held up, or bring something slowly."""
        return self._waiting

    def requests(self) -> list[str]:
        """"METHOD path?query" of each since the last time it was asked."""
        told, self._requests = self._requests, []
        return told

    def hold(self, part: int):
        """Holds up whoever brings a part of this number, 0: nobody."""
        self._held = part
        self._changed.set()
        self._changed.clear()

    def fail(self, part: int):
        """Says 500 to a part of this number, -1: refuses to tell of uploads, 0: neither."""
        self._failing = part

    def clear(self, bucket: str):
        """Nothing is in it, and nothing held up or refused."""
        self._held = self._failing = 0
        self.mode("ok")
        found = _moto().get_bucket(bucket)
        for name in list(found.keys):
            del found.keys[name]
        found.multiparts.clear()

    def make(self, bucket: str):
        _moto().create_bucket(bucket, REGION)

    def move(self, bucket: str, to: str):
        """There is no such bucket any more, and another has what it had."""
        _moto().buckets[to] = _moto().buckets.pop(bucket)

    def objects(self, bucket: str) -> dict[str, dict]:
        """Key → {bytes, sha256, type, metadata} of what is there."""
        return {key.name: {"bytes": len(key.value), "sha256": hashlib.sha256(key.value).hexdigest(),
                           "type": key.metadata.get("Content-Type"), "metadata": dict(key.metadata.items())}
                for key in _moto().get_bucket(bucket).keys.values()}

    def uploads(self, bucket: str) -> dict[str, list[int]]:
        """Key → numbers of the parts that are there, of each multipart upload that was not completed."""
        return {upload.key_name: sorted(map(int, upload.parts))
                for upload in _moto().list_multipart_uploads(bucket).values()}

    def export(self, bucket: str, prefix: str, directory: str):
        """Writes down what is there below a prefix as tests/faults/receiver.py does what it was sent."""
        with open(Path(directory) / "journal", "w") as journal:
            for key in _moto().get_bucket(bucket).keys.values():
                if key.name.startswith(prefix):
                    sha256, known = hashlib.sha256(key.value).hexdigest(), key.metadata
                    recording_id = known["x-amz-meta-recording-id"]
                    (Path(directory) / f"{recording_id}.{sha256[:16]}").write_bytes(key.value)
                    journal.write(json.dumps({
                        "key": recording_id, "place": f"/{bucket}/{key.name}", "query": "", "sha256": sha256,
                        "bytes": len(key.value), "verified": known["x-amz-meta-sha256"] == sha256}) + "\n")

    def begin_upload(self, bucket: str, key: str):
        """An upload with a part, as one that was killed leaves it."""
        upload = _moto().create_multipart_upload(bucket, key, {}, "STANDARD", [], None, None, None)
        _moto().upload_part(bucket, upload.id, 1, b"part")

    def put(self, bucket: str, key: str, size: int):
        """Other bytes under a key."""
        _moto().put_object(bucket, key, bytes(size))


class Door:
    def __init__(self, store: Store, port: int):
        self._store, self._server = store, None
        for name in ("mode", "waiting", "requests", "hold", "fail", "clear", "make", "move", "objects", "uploads",
                     "export", "begin_upload", "put"):
            setattr(self, name, getattr(store, name))
        self.up(port)

    def up(self, port: int = 0):
        """Serves, on the port that it had."""
        port = port or (self._server.server_port if self._server else 0)
        self._server = WSGIServer(("127.0.0.1", port), self._store, log=None, handler_class=_Handler,
                                  spawn=Pool())
        self._server.init_socket()
        self._server.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._server.start()

    def down(self):
        """Nobody listens, and whoever was connected is cut."""
        self._server.stop(timeout=0)

    def port(self) -> int:
        return self._server.server_port


class _Handler(WSGIServer.handler_class):
    def get_environ(self):
        return {**super().get_environ(), "RAW_PATH": self.path.partition("?")[0]}


def _moto():
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def main(port: str = "0"):
    serve(Door(Store(), int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
