"""What a client sends: one JSON object, nothing in it that two readers could take for two things."""

import json
import re

from kazoo_rec.api.envelope import ApiError, changed_meanwhile, invalid
from kazoo_rec.documents.schema import MAX_DEPTH, deeper_than

#: Of what is sent, and of a document that changes have made; none that is meant comes near.
LARGEST_BODY_BYTES = 1024 * 1024

#: Above that others would feel it that the hub reads a body: a thread does.
AT_ONCE_BYTES = 64 * 1024


def data_of(request) -> dict:
    """The `data` object of the body. Raises ApiError (400, 411, 413) for everything else."""
    data = envelope_of(request).get("data")
    if not isinstance(data, dict):
        raise invalid("data", "type" if data is not None else "required", "Value did not match type(s): object"
                      if data is not None else "Field is required but missing", target="object")
    return data


def corrected(value):
    """What a text plainly means: "true" is true, "60" is 60, as Crossbar takes them."""
    if isinstance(value, str) and re.fullmatch("true|false|[0-9]{1,15}", value):
        return json.loads(value.lstrip("0") or "0")
    return value


def envelope_of(request) -> dict:
    """The body, an object; it is read once."""
    if not hasattr(request.context, "envelope"):
        request.context.envelope = _read(request)
    return request.context.envelope


def expect(request, revision: int) -> bool:
    """Whether the client said which revision it means, by If-Match or, where it sends a body, by `revision` in it.
    Raises ApiError (409) where it is not this one."""
    header = (request.get_header("If-Match") or "").strip()
    said = {header.removeprefix("W/").strip('"')} - {"", "*"}
    if request.method != "DELETE" and envelope_of(request).get("revision") is not None:
        said.add(str(envelope_of(request)["revision"]))
    if said - {str(revision)}:
        raise changed_meanwhile()
    return bool(said)


def too_large(what: str) -> ApiError:
    """Says how large `what` may be."""
    return ApiError(413, "payload_too_large", {"message": f"{what} has at most {LARGEST_BODY_BYTES} bytes"})


def _read(request):
    length = request.content_length
    if length is None:
        raise ApiError(411, "length_required", {"message": "the body needs a Content-Length"})
    if length > LARGEST_BODY_BYTES:
        raise too_large("a body")
    try:
        sent = request.bounded_stream.read(LARGEST_BODY_BYTES)
        if len(sent) < length:
            raise OSError
        body = request.context.run(_parse, (sent,)) if length > AT_ONCE_BYTES else _parse(sent)
    except RecursionError:
        raise _broken(f"is nested deeper than {MAX_DEPTH} levels") from None
    except OSError:
        raise _broken("it ends before its Content-Length") from None
    except ValueError as broken:  # json.JSONDecodeError and UnicodeDecodeError are such
        raise _broken(str(broken)) from None
    if not isinstance(body, dict):
        raise invalid("json", "type", "Value did not match type(s): object", target="object")
    return body


def _parse(sent):
    body = json.loads(sent.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    if deeper_than(MAX_DEPTH, body):
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    _check_values(body)
    return body


def _broken(why):
    return invalid("json", "invalid", f"Invalid JSON: {why[:200]}", target="body")


def _object(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice[:60]!r} is there twice")
    return found


def _constant(name):
    raise ValueError(f"{name} is no JSON")


def _check_values(value):
    """No NUL, which databases and C programs end a text at; no lone surrogate, which is in no encoding; no number that
    most readers of JSON do not have (RFC 8259, 6)."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text has a NUL character")
        value.encode()
    elif isinstance(value, (int, float)) and not -(2**63) <= value < 2**63:
        raise ValueError("a number is out of range")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_values(key)
            _check_values(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_values(inner)
