"""One attempt to deliver: a PUT or POST of a file's bytes, or of a text, and what came of it."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import gevent

from kazoo_rec import __version__
from kazoo_rec.delivery import target
from kazoo_rec.delivery.answer import ANSWER_BYTES
from kazoo_rec.delivery.body import File, Text
from kazoo_rec.delivery.connections import spoken_to
from kazoo_rec.errors import MediaError, TargetError, TargetRefused
from kazoo_rec.media import sealed

#: Seconds to connect (and for the server to take anything of the body), and to answer.
TIMEOUT_S = (10.0, 60.0)

#: Bytes a second below which an upload is broken off: nobody holds a place for ever.
SLOWEST_BYTES_S = 8_192

#: Redirects followed, each with the method and the body again, as Kazoo does.
REDIRECTS = 5

#: Answers 4xx that do not depend on the file.
OF_SERVER = (401, 403, 407, 408, 429)

USER_AGENT = f"kazoo_rec/{__version__}"

#: Why a file is not sent.
CHANGED = "the file is not what it was when it was finished"

#: Characters kept of a foreign text.
TEXT_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Proof:
    """The server answered 2xx when its host had all bytes. `sha256` (hex) is of the bytes as they were sent."""

    status: int
    etag: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Nothing was delivered. `text` is printable ASCII, `retry_after_s` what the server asked for, `final` that another
    attempt is of no use, `ours` that the server has no part in it.
    """

    text: str
    status: int | None = None
    retry_after_s: float | None = None
    final: bool = False
    ours: bool = False

    @property
    def of_server(self) -> bool:
        """Whether the server would not have taken another file of this account either. Of the answers 4xx most are to
        the one file (RFC 9110, 15.5)."""
        return not self.ours and (self.status is None or not 400 <= self.status < 500 or self.status in OF_SERVER)


class Refused(Exception):
    """With the Failure that it is."""


def send(connections, method: str, url: str, recording: Mapping, path: Path, pool, now_s: float,
         timeout_s=TIMEOUT_S, key: bytes | None = None) -> Proof | Failure:
    """Uploads `path`, which has to be the file whose `size_bytes` and `sha256` the recording's row has.

    Parameters:
      connections: `delivery.connections.Connections`.
      method: "put" or "post".
      url: complete, perhaps with user and password.
      pool: reads the file, so that a slow disk stops nobody else.
      now_s: seconds since the epoch, against which a date in Retry-After is read.
      timeout_s: to connect, and to answer.
      key: of the recording, where its files are encrypted; what is sent is not.

    Raises TargetError for a URL that cannot be delivered to.
    """
    size_bytes, sha256 = recording["size_bytes"], recording["sha256"]
    opened = partial(sealed.opened, key=key, finished=True)
    headers = {
        "Content-Type": recording["content_type"],
        "Content-Length": str(size_bytes),
        "Repr-Digest": f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:",  # RFC 9530
        "Idempotency-Key": recording["id"],
    }
    return within(size_bytes, timeout_s, lambda: _follow(
        connections, method.upper(), url, headers, lambda buffer: File(path, size_bytes, sha256, pool, buffer, opened),
        now_s, timeout_s))


def tell(connections, url: str, content: bytes, key: str, now_s: float, timeout_s=TIMEOUT_S) -> Proof | Failure:
    """Posts JSON, with `key` as its Idempotency-Key; else as `send`."""
    headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), "Idempotency-Key": key}
    return within(len(content), timeout_s, lambda: _follow(
        connections, "POST", url, headers, lambda _: Text(content), now_s, timeout_s))


def explain(error: BaseException) -> str:
    """Class and text of what was at the bottom of an error."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(f"{type(error).__name__}: {text}")


def printable(text: str) -> str:
    """Foreign text as it may be logged and stored: ASCII without control characters, at most 200 of them."""
    return ascii(text)[1:-1][:TEXT_LIMIT]


def within(size_bytes: int, timeout_s, attempt: Callable, slowest_bytes_s: int | None = None) -> Proof | Failure:
    """What `attempt()` gives in the time that so many bytes may take; what it raises is a Failure."""
    slowest_bytes_s = slowest_bytes_s or SLOWEST_BYTES_S
    limit = gevent.Timeout(sum(timeout_s) + size_bytes / slowest_bytes_s)
    try:
        with limit:
            return attempt()
    except gevent.Timeout as expired:
        if expired is not limit:
            raise
        return Failure(f"slower than {slowest_bytes_s} bytes a second")
    except Refused as refused:
        return refused.args[0]
    except TargetRefused as refused:  # not final: another answer of DNS, or another word of the operator, may come
        return Failure(printable(str(refused)))
    except MediaError as error:
        return Failure(explain(error), ours=True)
    except (HTTPException, OSError, UnicodeError) as error:
        return Failure(explain(error))


def _follow(connections, method, url, headers, body_of, now_s, timeout_s):
    """`body_of(buffer)` makes the body anew for each address."""
    headers = {"User-Agent": USER_AGENT, **headers}
    first = origin = target.host(url)
    address, credentials = target.without_credentials(url)
    secrets = ()
    if credentials:
        basic = b64encode(":".join(credentials).encode()).decode()
        headers["Authorization"] = f"Basic {basic}"  # RFC 7617
        secrets = tuple(filter(None, (basic, credentials[1] or credentials[0])))
    for _ in range(REDIRECTS + 1):
        response, answer, body = ask(connections, origin, method, address, headers, body_of, timeout_s)
        status = response.status
        if status not in (301, 302, 307, 308):
            return _outcome(response, without(secrets, answer), body, now_s)
        try:
            address = urljoin(address, response.headers.get("Location", ""))
        except ValueError:  # brackets that have no IPv6 address in them
            return Failure("redirect: not a URL", status)
        try:
            origin = target.host(address)
        except TargetError as error:
            return Failure(printable(f"redirect: {error}"), status)
        if first.startswith("https:") and not origin.startswith("https:"):
            return Failure("redirect: from https to http", status)
        if origin != first:
            headers.pop("Authorization", None)
        address = target.without_credentials(address)[0]
    return Failure(f"more than {REDIRECTS} redirects", status)


def beginning(response, count: int = ANSWER_BYTES) -> bytes:
    """Of an answer's body."""
    with suppress(HTTPException, OSError):  # the status line has said it already
        return response.read(count)
    return b""


def ask(connections, origin: str, method: str, address: str, headers: Mapping, body_of: Callable, timeout_s,
        read: Callable = beginning):
    """One request to an address of `origin`: the answer's head, what `read(answer)` has of its body, and the body that
    was sent. Raises what sockets, http.client, `read` and the body raise."""
    connection, done = connections.take(origin), False
    try:
        with closing(body_of(connection.buffer)) as body:
            response, answer, done = _exchange(connection, method, address, headers, body, timeout_s, read)
    finally:
        if done:
            connections.give_back(origin, connection)
        else:
            connection.close()
    return response, answer, body


def _exchange(connection, method, address, headers, body, timeout_s, read):
    """(the answer's head, the start of its body, whether the connection may be used again)."""
    connect_s, answer_s = timeout_s
    body.read()  # what cannot be read is not asked for
    parts = urlsplit(address)
    if connection.sock is None:
        connection.timeout = connect_s
        connection.connect()
    connection.sock.settimeout(connect_s)
    connection.putrequest(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                          skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    # A server may answer before it has taken all, and hang up or take no more.
    try:
        connection.endheaders()
        body.send(connection.sock, connection.head)
    except TimeoutError:
        if not spoken_to(connection):
            raise
    except (BrokenPipeError, ConnectionResetError):
        pass
    connection.sock.settimeout(answer_s)
    response = connection.getresponse()
    body.withheld = response.unacknowledged()
    answer = read(response)
    return response, answer, body.complete and response.isclosed() and connection.sock is not None


def without(secrets: Iterable[str], answer: bytes) -> bytes:
    """A server may say again what it was told; nobody else is to read that."""
    for secret in secrets:
        answer = answer.replace(secret.encode(), b"********")
    return answer


def _outcome(response, answer, body, now_s):
    status = response.status
    if not 200 <= status < 300:
        text = f"answered {status} {printable(answer.decode(errors='replace'))}".rstrip()
        return Failure(text[:TEXT_LIMIT], status, retry_after_s(response.headers.get("Retry-After"), now_s))
    if failure := unsent(status, body):
        return failure
    etag = response.headers.get("ETag")
    return Proof(status, etag and printable(etag), body.sha256)


def unsent(status: int, body) -> Failure | None:
    """Why an answer 2xx is to other bytes than were to be sent; None where it is not."""
    if not body.complete:
        taken = max(0, body.sent - body.withheld)
        return Failure(f"answered {status} after {taken} of {body.size_bytes} bytes", status)
    return None if body.intact else Failure(CHANGED, status, ours=True)


def retry_after_s(value: str | None, now_s: float) -> float | None:
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
