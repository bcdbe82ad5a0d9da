"""Object stores: a file as an object, written and looked at, fetched, removed.

By `http.client` over connections as of all uploads, and not by boto3: that takes 12 MB and 0.1 s of the hub for each
pair of keys, four times the processor time for a file, and connects where its environment says.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlencode

from kazoo_rec.delivery import bucket, http, target
from kazoo_rec.delivery.body import File, Text
from kazoo_rec.delivery.bucket import Place
from kazoo_rec.delivery.connections import Connections, trusted
from kazoo_rec.delivery.http import Failure, Proof
from kazoo_rec.delivery.networks import ANYWHERE, Networks
from kazoo_rec.delivery.settings import DeliverySettings, S3Settings
from kazoo_rec.delivery.signature import signed
from kazoo_rec.errors import LibraryError, MediaError, TargetError

#: Bytes of a file that is more than one request, and of each of its parts but the last (S3: 5 MiB to 5 GiB).
PART_BYTES = 16 * 1024 * 1024

#: Bytes that are hashed before another may have the thread's processor.
HASHED_BYTES = 1024 * 1024

#: Bytes a second below which reading is broken off: somebody waits for it.
SLOWEST_READ_BYTES_S = 500_000

#: Times that parts of earlier attempts are looked for, some uploads each time.
LOOKS, UPLOADS_AT_ONCE = 10, 3

#: Answers of who may not, or cannot, tell of uploads.
CANNOT_LIST = (403, 405, 501)

#: What S3 says of one object alone (Amazon S3, "Error responses"): another one it would take.
_OF_FILE = frozenset(("BadDigest", "EntityTooLarge", "IncompleteBody", "InvalidPart", "KeyTooLongError", "NoSuchUpload",
                      "XAmzContentSHA256Mismatch"))

_EMPTY = hashlib.sha256().hexdigest()
_CODE, _MESSAGE = re.compile("<Code>([A-Za-z0-9.]+)</Code>"), re.compile("<Message>([^<]*)</Message>")
_UPLOAD_ID, _ETAG = re.compile("<UploadId>([^<]+)</UploadId>"), re.compile("<ETag>([^<]+)</ETag>")
_UPLOAD = re.compile(r"<Key>([^<]*)</Key>\s*<UploadId>([^<]+)</UploadId>|"
                     r"<UploadId>([^<]+)</UploadId>\s*<Key>([^<]*)</Key>")


@dataclass(frozen=True, slots=True)
class Object:
    """One, there or not; `keys` as in `Place`."""

    bucket: str
    key: str
    keys: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Content:
    """What an object is to have: `size_bytes` and `sha256` (hex) of what `opened(path)` gives to read."""

    path: Path
    opened: Callable[[Path], BinaryIO]
    size_bytes: int
    sha256: str
    content_type: str
    recording_id: str


def opened(settings: DeliverySettings, pool) -> "ObjectStore | None":
    """The object store of a configuration, None where it has none. Its endpoint is the operator's word, and may be at
    any address. Raises ConfigError where `ca_file` cannot be used."""
    if settings.s3 is None:
        return None
    networks = Networks(settings.allow_networks if settings.s3.endpoint is None else ANYWHERE)
    return ObjectStore(settings.s3, Connections(settings.uploads, trusted(settings.ca_file), networks), pool)


class _Refused(Exception):
    """With the Failure."""


class ObjectStore:
    """One endpoint.

    Parameters:
      connections: `delivery.connections.Connections` that may go there.
      pool: threads that read and hash.
    """

    def __init__(self, settings: S3Settings, connections, pool):
        self._settings, self._connections, self._pool = settings, connections, pool
        self._own = settings.access_key and (settings.access_key, settings.secret_key)

    def delivered(self, url: str, account_id: str, name: str) -> Object:
        """An object of the URL of an account's settings. Raises TargetError where that is none, or one without keys
        that the operator's are not for."""
        place = bucket.place(url)
        if place.keys is None and not self._is_open(place, account_id):
            raise TargetError("the operator's keys are not for this place", f"s3://{place.bucket}",
                              "name one of s3.deliver_to, or write keys of your own before its bucket")
        return Object(place.bucket, place.key(name), place.keys or self._own)

    def library(self, url: str, account_id: str, name: str) -> Object:
        """An object of the library at `url`. Raises LibraryError where there are no keys for it any more."""
        if not self._own:
            raise LibraryError("there are no keys for the library", url, "s3.access_key and s3.secret_key")
        place = bucket.place(url)
        return Object(place.bucket, place.key(f"{account_id}/{name}"), self._own)

    def _is_open(self, place: Place, account_id):
        found = (bucket.of_account(said, account_id) for said in self._settings.deliver_to)
        return any(place.within(one) for one in found if one is not None)

    def put(self, there: Object, content: Content, now_s: float, timeout_s=http.TIMEOUT_S) -> Proof | Failure:
        """Writes an object and looks at it: what the store has is then what the file was when it was finished. Once
        more is as good as once."""
        if content.size_bytes <= PART_BYTES:
            return self._attempt(content.size_bytes, timeout_s, lambda: self._put(there, content, now_s, timeout_s))
        begun = []
        outcome = self._attempt(content.size_bytes, timeout_s,
                                lambda: self._put_parts(there, content, now_s, timeout_s, begun))
        if isinstance(outcome, Failure) and begun:  # else the next attempt does
            self._attempt(0, timeout_s, lambda: self._abort(there, now_s, timeout_s))
        return outcome

    def get(self, there: Object, size_bytes: int, sha256: str, file: BinaryIO, now_s: float,
            timeout_s=http.TIMEOUT_S) -> Failure | None:
        """Writes what an object has, which has to be this, to a file."""
        return self._attempt(size_bytes, timeout_s, lambda: self._get(there, size_bytes, sha256, file, now_s,
                                                                      timeout_s), SLOWEST_READ_BYTES_S)

    def remove(self, there: Object, size_bytes: int, now_s: float, timeout_s=http.TIMEOUT_S) -> Failure | None:
        """None once there is no such object, and no part of one; `size_bytes` it has, or was to have."""
        def remove():
            if size_bytes > PART_BYTES:
                self._abort(there, now_s, timeout_s)
            self._ask("DELETE", there, now_s, timeout_s, also=(404,))

        return self._attempt(0, timeout_s, remove)

    @staticmethod
    def _attempt(size_bytes, timeout_s, act, slowest_bytes_s=None):
        def attempt():
            try:
                return act()
            except _Refused as refused:
                return refused.args[0]

        return http.within(size_bytes, timeout_s, attempt, slowest_bytes_s)

    def _put(self, there, content, now_s, timeout_s):
        checksum = _base64(content.sha256)
        headers = {**_told(content), **_checked(checksum), "Content-Length": str(content.size_bytes)}
        response, _ = self._ask("PUT", there, now_s, timeout_s, headers=headers, sha256=content.sha256,
                                body_of=lambda buffer: File(content.path, content.size_bytes, content.sha256,
                                                            self._pool, buffer, content.opened))
        return self._proof(there, content, response.headers.get("ETag"), checksum, now_s, timeout_s)

    def _put_parts(self, there, content, now_s, timeout_s, begun):
        self._abort(there, now_s, timeout_s)
        begun.append(True)
        _, answer = self._ask("POST", there, now_s, timeout_s, {"uploads": ""},
                              {**_told(content), "x-amz-checksum-algorithm": "SHA256", "Content-Length": "0"})
        upload, whole, parts = _found(_UPLOAD_ID, answer), hashlib.sha256(), []
        for number, first in enumerate(range(0, content.size_bytes, PART_BYTES), 1):
            count = min(PART_BYTES, content.size_bytes - first)
            try:
                sha256 = self._pool.apply(_hashed, (content, first, count, whole))
            except OSError as error:
                raise MediaError("the file cannot be read", str(content.path)) from error
            response, _ = self._ask(
                "PUT", there, now_s, timeout_s, {"partNumber": str(number), "uploadId": upload},
                {**_checked(_base64(sha256)), "Content-Length": str(count)}, sha256,
                lambda buffer, first=first, count=count, sha256=sha256: File(
                    content.path, count, sha256, self._pool, buffer, content.opened, first, content.size_bytes))
            parts.append((number, response.headers.get("ETag", ""), sha256))
        if whole.hexdigest() != content.sha256:
            raise _Refused(Failure(http.CHANGED, ours=True))
        text = "".join(
            f"<Part><ChecksumSHA256>{_base64(sha256)}</ChecksumSHA256><ETag>{escape(etag)}</ETag>"
            f"<PartNumber>{number}</PartNumber></Part>" for number, etag, sha256 in parts)
        text = f"<CompleteMultipartUpload>{text}</CompleteMultipartUpload>".encode()
        _, answer = self._ask("POST", there, now_s, timeout_s, {"uploadId": upload},
                              {"Content-Length": str(len(text)), "Content-Type": "application/xml"},
                              hashlib.sha256(text).hexdigest(), lambda _: Text(text))
        checksum = _base64(hashlib.sha256(b"".join(bytes.fromhex(sha256) for *_, sha256 in parts)).hexdigest())
        return self._proof(there, content, _found(_ETAG, answer), checksum, now_s, timeout_s)

    def _proof(self, there, content, etag, checksum, now_s, timeout_s):
        """Of what the store says of the object, not of what it said to the write. `checksum` is of the whole, or of
        the parts' (Amazon S3, "Checking object integrity": composite)."""
        response, _ = self._ask("HEAD", there, now_s, timeout_s, headers={"x-amz-checksum-mode": "ENABLED"},
                                also=(404,))
        if response.status == 404:
            raise _Refused(Failure("took it, and does not have it"))
        size = response.headers.get("Content-Length", "")
        if size != str(content.size_bytes):
            raise _Refused(Failure(f"took {content.size_bytes} bytes, and has {http.printable(size)}"))
        said = response.headers.get("x-amz-checksum-sha256")
        known = response.headers.get("x-amz-meta-sha256")
        if known != content.sha256 if said is None else said.partition("-")[0] != checksum:
            raise _Refused(Failure("took it, and has other bytes"))
        return Proof(200, etag and http.printable(etag), content.sha256)

    def _abort(self, there, now_s, timeout_s):
        """Ends what earlier attempts at an object have left: parts of it that nobody completes are kept, and paid for.
        Whose keys may not look leaves them to a rule of the bucket."""
        for _ in range(LOOKS):
            response, answer = self._ask(
                "GET", Object(there.bucket, "", there.keys), now_s, timeout_s,
                {"max-uploads": str(UPLOADS_AT_ONCE), "prefix": there.key, "uploads": ""}, also=CANNOT_LIST)
            found = [(unescape(first or last), unescape(upload or other))
                     for first, upload, other, last in _UPLOAD.findall(answer)]
            left = [upload for key, upload in found if key == there.key and response.status == 200]
            for upload in left:
                self._ask("DELETE", there, now_s, timeout_s, {"uploadId": upload}, also=(404,))
            if not left:
                return

    def _get(self, there, size_bytes, sha256, file, now_s, timeout_s):
        """As `http.ask`, of an answer that is long."""
        address, headers = self._signed("GET", there, {}, {}, _EMPTY, now_s)
        origin, found, left = target.host(address), hashlib.sha256(), size_bytes
        connection, done = self._connections.take(origin), False
        try:
            response, *_ = http.exchange(connection, "GET", address, headers, Text(b""), timeout_s,
                                                answer_bytes=0)
            if response.status != 200:
                raise _Refused(self._failure(there, response, response.read(http.ANSWER_BYTES), now_s))
            if response.headers.get("Content-Length") != str(size_bytes):
                raise _Refused(Failure(f"has {http.printable(response.headers.get('Content-Length', 'some'))} bytes of "
                                       f"{size_bytes}"))
            response.expect(size_bytes)
            while left and (block := response.read(min(left, HASHED_BYTES))):
                self._pool.apply(_kept, (file, found, block))
                left -= len(block)
            done = response.isclosed()
        finally:
            if done:
                self._connections.give_back(origin, connection)
            else:
                connection.close()
        if left or found.hexdigest() != sha256:
            raise _Refused(Failure("has other bytes"))

    def _ask(self, method, there, now_s, timeout_s, query=(), headers=(), sha256=_EMPTY, body_of=lambda _: Text(b""),
             also=()):
        """(the answer's head, the start of its body) of a request that succeeds, or has a status of `also`."""
        address, headers = self._signed(method, there, dict(query), dict(headers), sha256, now_s)
        response, answer, body = http.ask(self._connections, target.host(address), method, address, headers, body_of,
                                          timeout_s)
        if response.status not in (200, 204, *also) or (response.status == 200 and b"<Error>" in answer):
            raise _Refused(self._failure(there, response, answer, now_s))
        if not body.complete:
            raise _Refused(Failure(f"answered {response.status} after {max(0, body.sent - body.withheld)} of "
                                   f"{body.size_bytes} bytes", response.status))
        if not body.intact:
            raise _Refused(Failure(http.CHANGED, response.status, ours=True))
        return response, answer.decode(errors="replace")

    def _signed(self, method, there, query, headers, sha256, now_s):
        asked = urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")
        address = f"{self._origin(there.bucket)}/{quote(there.key, safe='/-_.~')}{'?' if asked else ''}{asked}"
        headers = {"User-Agent": http.USER_AGENT, **signed(
            method, address, headers, sha256, there.keys, self._settings.region, now_s)}
        return address, headers

    def _origin(self, name):
        """Amazon has a host for each bucket, whose certificate is good for names without a dot."""
        if self._settings.endpoint is not None:
            return f"{self._settings.endpoint}/{name}"
        host = f"s3.{self._settings.region}.amazonaws.com"
        return f"https://{host}/{name}" if "." in name else f"https://{name}.{host}"

    def _failure(self, there, response, answer, now_s):
        """Most answers 4xx are about the bucket, or the keys: its other objects fare no better."""
        status, answer = response.status, http.without(there.keys, answer).decode(errors="replace")
        code, message = (unescape(found[1]) if (found := one.search(answer)) else "" for one in (_CODE, _MESSAGE))
        if status in (301, 307, 308):
            region = response.headers.get("x-amz-bucket-region", "another one")
            message = f"the bucket's region is {region}, and not {self._settings.region}"
        text = http.printable(f"answered {status} {': '.join(filter(None, (code, message)))}".rstrip())
        of_bucket = 300 <= status < 500 and status not in http.OF_SERVER and code not in _OF_FILE
        return Failure(text, None if of_bucket else status,
                       http.retry_after_s(response.headers.get("Retry-After"), now_s))


def _told(content):
    return {"Content-Type": content.content_type, "x-amz-meta-recording-id": content.recording_id,
            "x-amz-meta-sha256": content.sha256}


def _checked(checksum):
    return {"x-amz-checksum-sha256": checksum, "x-amz-sdk-checksum-algorithm": "SHA256"}


def _base64(sha256):
    return b64encode(bytes.fromhex(sha256)).decode()


def _found(what, answer):
    found = what.search(answer)
    if found is None:
        raise _Refused(Failure("answered 200, and not what S3 answers"))
    return unescape(found[1])


def _hashed(content, first, count, whole):
    """SHA-256 of a part, in hex; `whole` goes on with it. Blocks."""
    part = hashlib.sha256()
    with content.opened(content.path) as file:
        file.seek(first)
        while count and (block := file.read(min(count, HASHED_BYTES))):
            count -= len(block)
            for one in (part, whole):
                one.update(block)
    return part.hexdigest()


def _kept(file, found, block):
    found.update(block)
    file.write(block)
