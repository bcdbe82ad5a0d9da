"""Requests to S3: made, signed and read by botocore, sent over the connections that all uploads have.

botocore's own connections read an answer however long it is, and have authorities and proxies of their own. A client
takes 12 MB and 0.1 s of processor to make, so there is one for all pairs of keys, which has none itself: each request
is signed with its owner's. Needs the extra `s3`.
"""

import hashlib
import io
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache

import boto3
import structlog
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.configprovider import ConfigValueStore, ConstantProvider
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError
from botocore.session import Session

from kazoo_rec.delivery import http, target
from kazoo_rec.delivery.body import Text
from kazoo_rec.delivery.connections import Connections
from kazoo_rec.delivery.http import Failure, Refused
from kazoo_rec.delivery.settings import S3Settings

#: What S3 says of one object alone (Amazon S3, "Error responses"): another one it would take.
_OF_FILE = frozenset(("BadDigest", "EntityTooLarge", "IncompleteBody", "InvalidPart", "KeyTooLongError", "NoSuchUpload",
                      "XAmzContentSHA256Mismatch"))

#: Bytes of an answer that are read: of some uploads, whose keys and ids are long.
_ANSWER_BYTES = 65_536

#: What botocore raises where XML has other elements than S3's.
_OF_STRANGE_XML = (ValueError, TypeError, AttributeError, LookupError, RecursionError)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Asked:
    connections: Connections
    keys: tuple[str, str] = field(repr=False)
    timeout_s: tuple[float, float]
    sha256: str | None
    body_of: Callable | None
    read: Callable | None


#: What a greenlet asks for: botocore tells whoever signs and sends a request nothing of whose it is.
_asked: ContextVar[_Asked] = ContextVar("asked")


class Client:
    """Of an object store. Making one blocks; raises ValueError for an endpoint or a region that cannot be one."""

    def __init__(self, settings: S3Settings, connections: Connections):
        self._s3, self._region = _made(settings.endpoint, settings.region), settings.region
        self._connections, self._own = connections, (settings.access_key, settings.secret_key)

    def ask(self, operation: str, keys: tuple[str, str], now_s: float, timeout_s, also=(), sha256: str | None = None,
            body_of: Callable | None = None, read: Callable | None = None, **params) -> dict | None:
        """What botocore's `operation` gives, None where the answer is one of `also`: its status, or "status code".

        Parameters:
          sha256, body_of: of the file that is sent; botocore does not see it. As in `http.ask`.
          read: as in `http.ask`.

        Raises Refused, and what `http.ask` raises.
        """
        asked = _asked.set(_Asked(self._connections, keys, timeout_s, sha256, body_of, read))
        try:
            return getattr(self._s3, operation)(**params)
        except ClientError as refused:
            status = refused.response["ResponseMetadata"]["HTTPStatusCode"]
            if status in also or f"{status} {_said(refused.response)[0]}" in also:
                return None
            failure = self._failure(refused.response, keys, now_s)
        except (OSError, UnicodeError):  # of http.ask; of a certificate it is a ValueError as well
            raise
        except (BotoCoreError, ResponseParserError, *_OF_STRANGE_XML) as error:  # its text may have keys
            failure = Failure(f"is not asked what S3 is, or does not answer it: {type(error).__name__}")
        finally:
            _asked.reset(asked)
        raise Refused(failure)

    def _failure(self, answer, keys, now_s):
        """Most answers 4xx are about the bucket, or the keys: its other objects fare no better. Whose keys they are may
        be in what is said: of the operator's that is for the log alone."""
        status, headers = (answer["ResponseMetadata"][name] for name in ("HTTPStatusCode", "HTTPHeaders"))
        code, message = (http.without(keys, said.encode()).decode() for said in _said(answer))
        if keys == self._own and message:
            log.warning("an object store refuses", status=status, code=code, said=http.printable(message))
            message = ""
        if status in (301, 307, 308):
            region = headers.get("x-amz-bucket-region", "another one")
            message = f"the bucket's region is {region}, and not {self._region}"
        said = ": ".join(one for one in (code, message) if one not in ("", str(status)))
        of_bucket = 300 <= status < 500 and status not in http.OF_SERVER and code not in _OF_FILE
        return Failure(http.printable(f"answered {status} {said}".rstrip()), None if of_bucket else status,
                       http.retry_after_s(headers.get("retry-after"), now_s))


def _said(answer):
    """Code and message of an error, "" where it has none: botocore reads whatever XML there is."""
    said = answer.get("Error", {})
    return [text if isinstance(text := said.get(name), str) else "" for name in ("Code", "Message")]


@cache
def _made(endpoint, region):
    """It asks nothing of the environment, of files in the home directory and of hosts that know keys, and asks once."""
    known = {name: default for name, (_, _, default, _) in Session.SESSION_VARIABLES.items()}
    known |= dict.fromkeys(("config_file", "credentials_file"))
    session = Session()
    session.register_component("config_store", ConfigValueStore(
        {name: ConstantProvider(default) for name, default in known.items()}))
    session.register_component("data_loader", Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH],
                                                     include_default_search_paths=False))
    s3 = boto3.Session(botocore_session=session).client("s3", region, endpoint_url=endpoint, config=Config(
        signature_version=UNSIGNED, ignore_configured_endpoint_urls=True, retries={"total_max_attempts": 1},
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
        s3={"addressing_style": "auto" if endpoint is None else "path", "us_east_1_regional_endpoint": "regional"}))
    for event, act in (("before-sign", _sign), ("before-send", _send), ("needs-retry", _decide)):
        s3.meta.events.register_first(f"{event}.s3", act)
    return s3


class _Signer(S3SigV4Auth):
    def payload(self, request):
        return _asked.get().sha256 or hashlib.sha256(request.body or b"").hexdigest()


def _sign(request, region_name, **_):
    _Signer(Credentials(*_asked.get().keys), "s3", region_name).add_auth(request)


def _send(request, **_):
    asked = _asked.get()
    headers = {**request.headers, "User-Agent": http.USER_AGENT}
    response, answer, body = http.ask(
        asked.connections, target.host(request.url), request.method, request.url, headers,
        asked.body_of or (lambda _: Text(request.body or b"")), asked.timeout_s,
        asked.read or (lambda response: http.beginning(response, _ANSWER_BYTES)))
    if response.status < 300 and (failure := http.unsent(response.status, body)):
        raise Refused(failure)
    return AWSResponse(request.url, response.status, response.headers, _Raw(answer))


def _decide(response, operation, **_):
    """Before botocore goes where an answer says that a bucket is: it is the operator who says where."""
    if response is not None and response[0].status_code >= 300:
        raise ClientError(response[1], operation.name)


class _Raw(io.BytesIO):
    """An answer as botocore reads it."""

    def stream(self):
        yield self.getvalue()
