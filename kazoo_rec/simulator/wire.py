"""The event socket's bytes, as mod_event_socket and switch_event.c of FreeSWITCH 1.10 write them."""

import json
import re
from urllib.parse import quote

import orjson

_BARE_PERCENT = re.compile("%(?![0-9A-F]{2})")

UNKNOWN = "-ERR command not found"
GOODBYE = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
SHUTTING_DOWN = "The system is being shut down.\n"


def auth_request() -> bytes:
    return b"Content-Type: auth/request\n\n"


def reply(text: str, **headers: str) -> bytes:
    return _bytes(f"Content-Type: command/reply\nReply-Text: {text}\n{_lines(headers)}\n")


def api_response(text: str) -> bytes:
    body = _bytes(text)
    return b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(body), body)


def disconnect_notice(text: str, **headers: str) -> bytes:
    return _bytes(f"Content-Type: text/disconnect-notice\n{_lines(headers)}Content-Length: {len(text)}\n\n{text}")


def event(headers: dict, form: str) -> bytes:
    """One event in form "plain" or "json". A header `_body` is its body, where it has one."""
    body = json_body(headers) if form == "json" else plain_body(headers)
    return b"Content-Length: %d\nContent-Type: text/event-%b\n\n%b" % (len(body), form.encode(), body)


def plain_body(headers: dict[str, str]) -> bytes:
    """`Name: url-encoded value` lines and an empty one; a body comes behind them as it is."""
    body = headers.get("_body")
    lines = [f"{name}: {encode(value)}\n" for name, value in headers.items() if name != "_body"]
    if body is not None:
        lines.append(f"Content-Length: {len(_bytes(body))}\n")
    return _bytes("".join(lines) + "\n" + (body or ""))


def json_body(headers: dict[str, str]) -> bytes:
    """cJSON without white space. A value that starts with ARRAY:: is a list, whoever wrote it."""
    found = {name: value[7:].split("|:") if value[:7] == "ARRAY::" else value for name, value in headers.items()}
    if "_body" in found:
        found["Content-Length"], found["_body"] = str(len(_bytes(headers["_body"]))), found.pop("_body")
    try:
        return orjson.dumps(found)
    except TypeError:
        # A caller's name that is no UTF-8 goes out as it came in.
        return _bytes(json.dumps(found, ensure_ascii=False, separators=(",", ":")))


def encode(value: str) -> str:
    """switch_url_encode(). What looks like an escape already is left alone, which makes a caller's `%41` ambiguous."""
    return quote(_BARE_PERCENT.sub("%25", value), safe="%!$'()*,/", errors="surrogateescape")


def _lines(headers):
    return "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in headers.items())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
