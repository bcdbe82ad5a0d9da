"""The library in an object store: an object is written, looked at, read back and removed."""

import hashlib
import io
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from kazoo_rec.delivery.http import Failure
from kazoo_rec.delivery.s3 import Content, ObjectStore
from kazoo_rec.delivery.settings import S3Settings
from kazoo_rec.doctor.finding import Finding, ok, wrong

NAME = "library"

#: No account's: ids have no dot.
PLACE = "kazoo_rec.doctor"

#: Seconds to connect, and to answer.
TIMEOUT_S = (5.0, 10.0)

#: What to do about what S3 says.
_ADVICE = {
    "InvalidAccessKeyId": "correct s3.access_key", "SignatureDoesNotMatch": "correct s3.secret_key and s3.region",
    "NoSuchBucket": "make the bucket, or correct s3.library",
    "RequestTimeTooSkewed": "this host's clock is wrong: NTP",
    "AccessDenied": "the keys need s3:PutObject, s3:GetObject, s3:DeleteObject, s3:AbortMultipartUpload and "
                    "s3:ListBucketMultipartUploads",
    "PermanentRedirect": "correct s3.region", "AuthorizationHeaderMalformed": "correct s3.region"}


def library(settings: S3Settings | None, objects: ObjectStore | None, now_s: Callable[[], float]) -> list[Finding]:
    """Nothing where there is none."""
    if settings is None or settings.library is None:
        return []
    about, body = settings.library, secrets.token_bytes(1000)
    there = objects.library(settings.library, PLACE, secrets.token_hex(8))
    content = Content(Path(there.key), lambda _: io.BytesIO(body), len(body), hashlib.sha256(body).hexdigest(),
                      "application/octet-stream", "doctor")
    put = objects.put(there, content, now_s(), TIMEOUT_S)
    if isinstance(put, Failure):
        return [_wrong(f"{about} cannot be written", put)]
    read = io.BytesIO()
    found = [_wrong(f"what was written into {about} {what}", failed) for what, failed in (
        ("cannot be read", objects.get(there, len(body), content.sha256, read, now_s(), TIMEOUT_S)),
        ("cannot be removed", objects.remove(there, len(body), now_s(), TIMEOUT_S))) if failed]
    return found or [ok(NAME, f"{about} takes, has, gives and removes what it is given")]


def _wrong(about, failed):
    code = next((word for word in re.findall(r"\w+", failed.text) if word in _ADVICE), None)
    if code is None and failed.status is None and failed.text.startswith("took"):
        return wrong(NAME, f"{about}: the store {failed.text}", "it does not keep what it takes: use another")
    return wrong(NAME, f"{about}: {failed.text}", _ADVICE.get(code, "is s3.endpoint right, and the store up?"))
