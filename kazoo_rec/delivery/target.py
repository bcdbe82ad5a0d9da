"""Where a recording goes: the URL of its settings, a file name and, if wanted, Kazoo's query.

As Kazoo builds it (core/kazoo_call/src/kzc_recording.erl, handler_fields_for_protocol and check_url;
core/kazoo_attachments/src/kz_att_http.erl), so that a server made for Kazoo needs no change.
"""

import re
from collections.abc import Mapping
from pathlib import PurePath
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from kazoo_rec.delivery import bucket
from kazoo_rec.errors import TargetError

#: Seconds from year 0, from which Kazoo counts, to 1970.
GREGORIAN_S = 62_167_219_200

#: Characters kept of a file name of the settings.
NAME_LIMIT = 128

PORTS = {"http": 80, "https": 443}

#: Blanks, line breaks and the backslash are read differently by different parsers; other characters want encoding.
_REFUSED = re.compile(r"[^!-\[\]-~]")

#: What a file name of the settings may hold; the rest becomes `_`.
_UNSAFE = re.compile(r"[^A-Za-z0-9._@+-]")


def host(url: str) -> str:
    """`scheme://host:port` in lower case: what uploads are counted by. Raises TargetError as `build` does."""
    parts, port = _parts(url)
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{name}:{port}"


def server(url: str) -> str:
    """As `host`; of an object store `s3://bucket`, each of which has rights and a region of its own."""
    return f"s3://{bucket.place(url).bucket}" if bucket.is_one(url) else host(url)


def build(url: str, recording: Mapping, file_name: str = "recording_id", query: str = "kazoo") -> str:
    """The URL to send a recording to, everything of it percent-encoded.

    Parameters:
      url: of the settings; may have a query, and a user and password.
      recording: the row, with `file`.
      file_name, query: as in DeliverySettings.

    Raises TargetError where `url` is not http or https, has no host, or has characters that no URL has.
    """
    _parts(url)
    base = url.partition("#")[0].rstrip("/")
    path, _, asked = base.partition("?")
    name = file_name_of(recording, file_name)
    if asked:
        _, equals, value = asked.rpartition("&")[2].partition("=")
        between = "&recording=" if value else "" if equals else "="
        following = "&"
    else:
        base, between, following = path.rstrip("/"), "/", "?"
    fields = "" if query == "none" else following + "&".join(
        f"{key}={_encoded(value)}" for key, value in _kazoo_fields(recording).items())
    return f"{base}{between}{name}{fields}"


def without_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """A URL without user and password, and these two, decoded, where it has them."""
    parts = urlsplit(url)
    userinfo, at, address = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = userinfo.partition(":")
    return urlunsplit(parts._replace(netloc=address)), (unquote(user), unquote(password))


def _parts(url):
    if _REFUSED.search(url):
        raise TargetError("not a URL", "has a blank, a control, non-ASCII or backslash character",
                          "percent-encode it")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TargetError("not a URL", "its host or port cannot be read") from error
    if parts.scheme not in PORTS:
        raise TargetError("cannot deliver to this URL", f"scheme {parts.scheme!r}", "use http or https")
    if not parts.hostname:
        raise TargetError("not a URL", "has no host")
    if port == 0:
        raise TargetError("not a URL", "port 0")
    if {"[", "]"}.intersection(parts.netloc.rpartition("@")[0]):
        # They may hide from the parser that those of the host are not a pair (RFC 3986, 3.2.1 has them encoded).
        raise TargetError("not a URL", "its user or password has a bracket", "percent-encode it")
    return parts, port or PORTS[parts.scheme]


def file_name_of(recording: Mapping, file_name: str) -> str:
    """The name that a file is delivered by, percent-encoded; `file_name` as in DeliverySettings."""
    extension = PurePath(recording["file"]).suffix
    wanted = recording["settings"].get("media_name")
    if wanted:
        wanted = _UNSAFE.sub("_", wanted)[:NAME_LIMIT]
        wanted = wanted.lstrip(".").rjust(len(wanted), "_")  # no hidden file, no `..`
        return wanted if wanted.endswith(extension) else f"{wanted}{extension}"
    known_by = recording["call_id"] if file_name == "call_id" else recording["id"]
    return f"call_recording_{_encoded(known_by)}{extension}"


def object_name(recording: Mapping, file_name: str) -> str:
    """As `file_name_of`, with the recording's id: an object store has one file of a name, the last."""
    name, recording_id = file_name_of(recording, file_name), recording["id"]
    if recording_id in name:
        return name
    stem, dot, extension = name.rpartition(".")
    return f"{stem}_{recording_id}{dot}{extension}"


def _encoded(value):
    return quote(str(value), safe="", errors="replace")


def _kazoo_fields(recording):
    """In Kazoo's order; what is not known is there, empty."""
    started_ms = recording["started_ms"]
    fields = {
        "from": recording["from_uri"],
        "to": recording["to_uri"],
        "caller_id_name": recording["caller_id_name"],
        "caller_id_number": recording["caller_id_number"],
        "call_id": recording["call_id"],
        # Kazoo's id of a call's record is the month, as in the recording's, and the call id.
        "cdr_id": f"{recording['id'][:6]}-{recording['call_id']}",
        "interaction_id": recording["interaction_id"],
        "owner_id": recording["user_id"],
        "account_id": recording["account_id"],
        "start": None if started_ms is None else started_ms // 1000 + GREGORIAN_S,
        "duration_ms": recording["duration_ms"],
        "recording_id": recording["id"],
    }
    return {key: "" if value is None else value for key, value in fields.items()}
