"""AWS Signature Version 4, of requests to S3 whose body is known by its SHA-256 before it is sent (Amazon S3, API
Reference, "Authenticating Requests: Using the Authorization Header")."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from kazoo_rec.delivery.target import PORTS


def signed(method: str, url: str, headers: Mapping[str, str], sha256: str, keys: tuple[str, str], region: str,
           now_s: float) -> dict[str, str]:
    """The headers of a request, with what makes it that of the owner of `keys`.

    Parameters:
      url: as it is sent, percent-encoded; the names and values of its query as well, in the order of their names.
      sha256: of the body, in hex.
      keys: (access key, secret key).
      now_s: seconds since the epoch; S3 takes nothing that is more than 15 minutes from its own clock.
    """
    parts, at = urlsplit(url), time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    access_key, secret_key = keys
    host = parts.netloc.removesuffix(f":{PORTS[parts.scheme]}").lower()
    headers = {**headers, "X-Amz-Content-SHA256": sha256, "X-Amz-Date": at}
    lines = sorted((name.lower(), " ".join(value.split())) for name, value in {**headers, "Host": host}.items())
    names = ";".join(name for name, _ in lines)
    request = "\n".join((method, parts.path, parts.query, *(f"{name}:{value}" for name, value in lines), "", names,
                         sha256))
    scope = f"{at[:8]}/{region}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", at, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{secret_key}".encode()
    for step in (*scope.split("/"), text):
        key = hmac.digest(key, step.encode(), "sha256")
    return {**headers, "Authorization": f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, "
                                        f"Signature={key.hex()}"}
