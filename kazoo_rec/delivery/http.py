"""One attempt to upload a file: a PUT or POST of its bytes, and what came of it."""

import hashlib
import os
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from urllib.parse import urljoin

import gevent
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from kazoo_rec import __version__
from kazoo_rec.delivery import target
from kazoo_rec.errors import TargetError

#: Seconds to connect (and to take one block of the body), and to answer.
TIMEOUT_S = (10.0, 60.0)

#: Bytes a second below which an upload is broken off: nobody holds a place for ever.
SLOWEST_BYTES_S = 8_192

#: Bytes sent at once, within TIMEOUT_S, and read and hashed at once: each turn of a thread costs more than 64 KiB do.
BLOCK_BYTES, READ_BYTES = 65_536, 1_048_576

#: Redirects followed, each with the method and the body again, as Kazoo does.
REDIRECTS = 5

#: Bytes of an answer that are read: enough to give the connection back for the next upload.
ANSWER_BYTES = 4_096

#: Characters kept of a foreign text.
TEXT_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Proof:
    """The server answered 2xx to all bytes of the file. `sha256` (hex) is of the bytes as they were sent."""

    status: int
    etag: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Nothing was delivered. `text` is printable ASCII, `retry_after_s` what the server asked for, `final` that another
    attempt is of no use.
    """

    text: str
    status: int | None = None
    retry_after_s: float | None = None
    final: bool = False


def new_session(uploads: int) -> requests.Session:
    """A session for `uploads` at once. What one customer's server sets or our environment holds reaches no other."""
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in target.PORTS:
        session.mount(f"{scheme}://", HTTPAdapter(pool_connections=uploads, pool_maxsize=uploads))
    return session


def send(session, method: str, url: str, recording: Mapping, path: Path, pool, now_s: float,
         timeout_s=TIMEOUT_S) -> Proof | Failure:
    """Uploads `path`, which has to be the file whose `size_bytes` and `sha256` the recording's row has.

    Parameters:
      method: "put" or "post".
      url: complete, perhaps with user and password.
      pool: reads the file, so that a slow disk stops nobody else.
      now_s: seconds since the epoch, against which a date in Retry-After is read.
      timeout_s: to connect, and to answer.

    Raises TargetError for a URL that cannot be delivered to.
    """
    limit_s = sum(timeout_s) + recording["size_bytes"] / SLOWEST_BYTES_S
    limit = gevent.Timeout(limit_s)
    try:
        with limit:
            return _follow(session, method.upper(), url, recording, path, pool, now_s, timeout_s)
    except gevent.Timeout as expired:
        if expired is not limit:
            raise
        return Failure(f"slower than {SLOWEST_BYTES_S} bytes a second")
    except (requests.RequestException, HTTPError, OSError) as error:
        return Failure(explain(error))


def explain(error: BaseException) -> str:
    """Class and text of what was at the bottom of an error: requests' own text would show the whole URL."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(f"{type(error).__name__}: {text}")


def printable(text: str) -> str:
    """Foreign text as it may be logged and stored: ASCII without control characters, at most 200 of them."""
    return ascii(text)[1:-1][:TEXT_LIMIT]


def _follow(session, method, url, recording, path, pool, now_s, timeout_s):
    headers = {
        "Content-Type": recording["content_type"],
        "Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(recording['sha256'])).decode()}:",  # RFC 9530
        "Idempotency-Key": recording["id"],
        "User-Agent": f"kazoo_rec/{__version__}",
    }
    origin = target.host(url)
    address, credentials = target.without_credentials(url)
    for _ in range(REDIRECTS + 1):
        with closing(pool.apply(open, (path, "rb"))) as file:
            body = _Body(file, recording["size_bytes"], pool)
            with closing(session.request(
                    method, address, data=body, headers=headers, auth=credentials or _anonymous,
                    timeout=timeout_s, allow_redirects=False, stream=True)) as response:
                status = response.status_code
                if status not in (301, 302, 307, 308):
                    return _outcome(response, body, recording, now_s)
                onward = urljoin(address, response.headers.get("Location", ""))
        try:
            onward_host = target.host(onward)
        except TargetError as error:
            return Failure(printable(f"redirect: {error}"), status)
        if origin.startswith("https:") and not onward_host.startswith("https:"):
            return Failure("redirect: from https to http", status)
        if onward_host != origin:
            credentials = None
        address = target.without_credentials(onward)[0]
    return Failure(f"more than {REDIRECTS} redirects", status)


def _anonymous(request):
    return request


def _outcome(response, body, recording, now_s):
    status, sent = response.status_code, body.sent
    answer = b""
    with suppress(HTTPError, OSError):  # the status line has said it already
        answer = response.raw.read(ANSWER_BYTES)
    if not 200 <= status < 300:
        text = f"answered {status} {printable(answer.decode(errors='replace'))}".rstrip()
        return Failure(text[:TEXT_LIMIT], status, _retry_after_s(response.headers.get("Retry-After"), now_s))
    if sent != recording["size_bytes"]:
        return Failure(f"answered {status} after {sent} of {recording['size_bytes']} bytes", status)
    if body.sha256 != recording["sha256"]:
        return Failure("the file is not what it was when it was finished", status)
    etag = response.headers.get("ETag")
    return Proof(status, etag and printable(etag), body.sha256)


def _retry_after_s(value, now_s):
    """Seconds or an HTTP date (RFC 9110, 10.2.3); None for what is neither."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        return max(0.0, until.replace(tzinfo=until.tzinfo or UTC).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


class _Body:
    """A file as requests streams it. `sent` counts what the socket has taken; `sha256` is of that once it is all."""

    def __init__(self, file, size_bytes, pool):
        self._file, self._size_bytes, self._pool = file, size_bytes, pool
        self._hash = hashlib.sha256()
        self.sent = 0
        found = os.fstat(file.fileno()).st_size
        if found != size_bytes:
            raise OSError(f"the file has {found} bytes and had {size_bytes} when it was finished")

    def __len__(self):
        return self._size_bytes

    def __iter__(self):
        while self.sent < self._size_bytes:
            block = self._pool.apply(self._read)
            if not block:
                raise OSError(f"the file ended after {self.sent} bytes")
            for first in range(0, len(block), BLOCK_BYTES):
                part = block[first:first + BLOCK_BYTES]
                yield part
                self.sent += len(part)

    @property
    def sha256(self):
        return self._hash.hexdigest()

    def _read(self):
        block = self._file.read(min(READ_BYTES, self._size_bytes - self.sent))
        self._hash.update(block)
        return memoryview(block)
