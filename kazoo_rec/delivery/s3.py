"""Object stores: a file as an object, written and looked at, fetched, removed."""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from kazoo_rec.delivery import bucket, http
from kazoo_rec.delivery.body import File
from kazoo_rec.delivery.bucket import Place
from kazoo_rec.delivery.connections import Connections, trusted
from kazoo_rec.delivery.http import Failure, Proof, Refused
from kazoo_rec.delivery.networks import ANYWHERE, Networks
from kazoo_rec.delivery.settings import DeliverySettings, S3Settings
from kazoo_rec.errors import ConfigError, LibraryError, MediaError, TargetError

#: Bytes of a file that is more than one request, and of each of its parts but the last (S3: 5 MiB to 5 GiB).
PART_BYTES = 16 * 1024 * 1024

#: Bytes that are hashed before another may have the thread's processor.
HASHED_BYTES = 1024 * 1024

#: Bytes a second below which reading is broken off: somebody waits for it.
SLOWEST_READ_BYTES_S = 500_000

#: Times that parts of earlier attempts are looked for, some uploads each time: as many as fit into an answer.
LOOKS, UPLOADS_AT_ONCE = 10, 10

#: Answers of who may not, or cannot, tell of uploads.
CANNOT_LIST = (403, 405, 501)

#: Answers that say of an object, or an upload, that it is not there: any other 404 may be of no bucket, or of no store.
NO_OBJECT, NO_UPLOAD = "404 NoSuchKey", "404 NoSuchUpload"


@dataclass(frozen=True, slots=True)
class Object:
    """One, there or not; `keys` as in `Place`."""

    bucket: str
    key: str
    keys: tuple[str, str] = field(repr=False)


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
    any address. Raises ConfigError where that, the region or `ca_file` cannot be used."""
    if settings.s3 is None:
        return None
    networks = Networks(settings.allow_networks if settings.s3.endpoint is None else ANYWHERE)
    connections = Connections(settings.uploads, trusted(settings.ca_file), networks)
    try:
        return ObjectStore(settings.s3, pool.apply(_client, (settings.s3, connections)), pool)
    except ValueError as refused:
        raise ConfigError("s3.endpoint or s3.region cannot be used", str(refused)) from None


def _client(settings, connections):
    """Blocks for 0.3 s and more, the first time."""
    from kazoo_rec.delivery.client import Client  # the extra `s3`

    return Client(settings, connections)


class ObjectStore:
    """One endpoint.

    Parameters:
      client: `delivery.client.Client` of it.
      pool: threads that read and hash.
    """

    def __init__(self, settings: S3Settings, client, pool):
        self._settings, self._client, self._pool = settings, client, pool
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
        ask, begun = self._asking(there, now_s, timeout_s), []
        if content.size_bytes <= PART_BYTES:
            return http.within(content.size_bytes, timeout_s, lambda: self._put(ask, content))
        outcome = http.within(content.size_bytes, timeout_s, lambda: self._put_parts(ask, there, content, begun))
        if isinstance(outcome, Failure) and begun:  # else the next attempt does
            http.within(0, timeout_s, lambda: self._abort(ask, there))
        return outcome

    def look(self, there: Object, content: Content, now_s: float, timeout_s=http.TIMEOUT_S) -> Proof | Failure:
        """Whether an object has this already; the file may be gone."""
        ask = self._asking(there, now_s, timeout_s)
        return http.within(0, timeout_s, lambda: self._proof(ask, content, None, None))

    def get(self, there: Object, size_bytes: int, sha256: str, file: BinaryIO, now_s: float,
            timeout_s=http.TIMEOUT_S) -> Failure | None:
        """Writes what an object has, which has to be this, to a file."""
        ask = self._asking(there, now_s, timeout_s)
        return http.within(size_bytes, timeout_s, lambda: self._get(ask, size_bytes, sha256, file),
                           SLOWEST_READ_BYTES_S)

    def remove(self, there: Object, size_bytes: int | None, now_s: float, timeout_s=http.TIMEOUT_S) -> Failure | None:
        """None once there is no such object, and no part of one; `size_bytes` it has, or was to have, if known."""
        ask = self._asking(there, now_s, timeout_s)

        def remove():
            if size_bytes is None or size_bytes > PART_BYTES:
                self._abort(ask, there)
            answer = ask("delete_object", also=(NO_OBJECT,))
            status = answer and answer["ResponseMetadata"]["HTTPStatusCode"]
            if status not in (None, 200, 204):
                raise Refused(Failure(f"answered {status}"))

        return http.within(0, timeout_s, remove)

    def _asking(self, there, now_s, timeout_s):
        """`ask(operation, …)` of an object."""
        def ask(operation, name="Key", **params):
            return self._client.ask(operation, there.keys, now_s, timeout_s, Bucket=there.bucket,
                                    **{name: there.key}, **params)

        return ask

    def _put(self, ask, content):
        answer = ask("put_object", **_told(content), **self._sent(content, 0, content.size_bytes, content.sha256))
        return self._proof(ask, content, answer.get("ETag"), _base64(content.sha256))

    def _sent(self, content, first, count, sha256):
        """How a part of a file, or all of it, goes on its way."""
        return {"ContentLength": count, "ChecksumSHA256": _base64(sha256), "sha256": sha256,
                "body_of": lambda buffer: File(content.path, count, sha256, self._pool, buffer, content.opened, first,
                                               content.size_bytes)}

    def _put_parts(self, ask, there, content, begun):
        self._abort(ask, there)
        begun.append(True)
        upload = ask("create_multipart_upload", ChecksumAlgorithm="SHA256", **_told(content)).get("UploadId")
        whole, parts = hashlib.sha256(), []
        for number, first in enumerate(range(0, content.size_bytes, PART_BYTES), 1):
            count = min(PART_BYTES, content.size_bytes - first)
            try:
                sha256 = self._pool.apply(_hashed, (content, first, count, whole))
            except OSError as error:
                raise MediaError("the file cannot be read", str(content.path)) from error
            answer = ask("upload_part", UploadId=upload, PartNumber=number, **self._sent(content, first, count, sha256))
            parts.append({"PartNumber": number, "ETag": answer.get("ETag", ""), "ChecksumSHA256": _base64(sha256)})
        if whole.hexdigest() != content.sha256:
            raise Refused(Failure(http.CHANGED, ours=True))
        answer = ask("complete_multipart_upload", UploadId=upload, MultipartUpload={"Parts": parts})
        digests = b"".join(b64decode(part["ChecksumSHA256"]) for part in parts)
        return self._proof(ask, content, answer.get("ETag"), _base64(hashlib.sha256(digests).hexdigest()))

    @staticmethod
    def _proof(ask, content, etag, checksum):
        """Of what the store says of the object, not of what it said to the write. `checksum` is of the whole, or of
        the parts' (Amazon S3, "Checking object integrity": composite); None where the file is gone: of parts then
        their digest of the whole is enough, which they would not have been completed without."""
        there = ask("head_object", ChecksumMode="ENABLED", also=(404,))
        if there is None:
            raise Refused(Failure("took it, and does not have it"))
        if there.get("ContentLength") != content.size_bytes:
            raise Refused(Failure(f"took {content.size_bytes} bytes, and has {there.get('ContentLength')}"))
        said = there.get("ChecksumSHA256")
        if checksum is None:
            said, checksum = None if content.size_bytes > PART_BYTES else said, _base64(content.sha256)
        known = there.get("Metadata", {}).get("sha256")
        if known != content.sha256 if said is None else said.partition("-")[0] != checksum:
            raise Refused(Failure("took it, and has other bytes"))
        return Proof(200, etag and http.printable(etag), content.sha256)

    @staticmethod
    def _abort(ask, there):
        """Ends what earlier attempts at an object have left: parts of it that nobody completes are kept, and paid for.
        Whose keys may not look leaves them to a rule of the bucket."""
        for _ in range(LOOKS):
            found = ask("list_multipart_uploads", "Prefix", MaxUploads=UPLOADS_AT_ONCE, also=CANNOT_LIST) or {}
            left = [one.get("UploadId") for one in found.get("Uploads", ()) if one.get("Key") == there.key]
            for upload in left:
                ask("abort_multipart_upload", UploadId=upload, also=(NO_UPLOAD,))
            if not left:
                return

    def _get(self, ask, size_bytes, sha256, file):
        found = hashlib.sha256()

        def read(response):
            if response.status != 200:
                return http.beginning(response)
            length, left = response.headers.get("Content-Length", "some"), size_bytes
            if length != str(size_bytes):
                raise Refused(Failure(f"has {http.printable(length)} bytes of {size_bytes}"))
            response.expect(size_bytes)
            while left and (block := response.read(min(left, HASHED_BYTES))):
                self._pool.apply(_kept, (file, found, block))
                left -= len(block)
            return b""

        ask("get_object", read=read)
        if found.hexdigest() != sha256:
            raise Refused(Failure("has other bytes"))


def _told(content):
    return {"ContentType": content.content_type,
            "Metadata": {"recording-id": content.recording_id, "sha256": content.sha256}}


def _base64(sha256):
    return b64encode(bytes.fromhex(sha256)).decode()


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
