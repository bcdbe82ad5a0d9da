"""Lists as Crossbar gives them: pages by an opaque key, filters by any key of a document (crossbar/doc/filters.md)."""

import base64
import binascii
import json
import re

from kazoo_rec.api.envelope import ApiError, invalid

PAGE_SIZE, LARGEST_PAGE = 50, 1000

#: The epoch of Kazoo's times, year 0, before that of Unix.
GREGORIAN_S = 62_167_219_200

#: What the query of every list may say beside its filters.
OF_EVERY_LIST = ("page_size", "start_key", "paginate", "auth_token")

_ABSENT = object()


def page_size_of(request) -> int:
    """Without pagination (`paginate=false`) the largest page. Raises ApiError where it is no number from 1 to 1000."""
    paginate = request.get_param("paginate", default="true")
    if paginate not in ("true", "false"):
        raise invalid("paginate", "enum", "Value not found in enumerated list of values", target=["true", "false"])
    size = whole("page_size", request.get_param("page_size", default=str(PAGE_SIZE)), 1, LARGEST_PAGE)
    return size if paginate == "true" else LARGEST_PAGE


def whole(name: str, said: str, least: int, most: int) -> int:
    """A number of a query. Raises ApiError where it is none from `least` to `most`."""
    if not re.fullmatch("[0-9]{1,18}", said) or not least <= int(said) <= most:
        raise invalid(name, "error", f"Value must be from {least} to {most}", value=said[:20])
    return int(said)


def time_ms(name: str, said: str) -> int:
    """Gregorian seconds of a query as milliseconds since the epoch."""
    return (whole(name, said, 0, 999_999_999_999) - GREGORIAN_S) * 1000


def unknown(name: str) -> ApiError:
    """A filter that this list does not have: left out silently, it would show what was to be filtered out."""
    return invalid(name, "error", "This list has no such filter")


def start_key_of(request) -> str | None:
    """What `start_key` stands for: behind which document the page begins."""
    said = request.get_param("start_key")
    if said is None:
        return None
    try:
        last = base64.b64decode(said + "=" * (-len(said) % 4), altchars=b"-_", validate=True).decode()
        if "\0" in last:
            raise ValueError(last)
        return last
    except (binascii.Error, ValueError):
        raise invalid("start_key", "error", "Value must be the next_start_key of the page before") from None


def key_for(last: str) -> str:
    """The start key of the page behind `last`."""
    return base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def filter_of(request):
    """`wanted(row) -> bool` over documents' rows, all of the query's filters together.

    filter_KEY, filter_not_KEY (a value, or a JSON list of them; dots go into objects), has_key, key_missing, has_value,
    value_missing, created_from, created_to, modified_from, modified_to (Gregorian seconds).
    """
    said = (_condition(name, value) for name, value in request.params.items())
    conditions = [condition for condition in said if condition is not None]
    return lambda row: all(condition(row) for condition in conditions)


def _condition(name, value):
    if name.startswith("filter_not_"):
        values = _values(value)
        return lambda row: _text(_at(row, name[11:])) not in values
    if name.startswith("filter_"):
        values = _values(value)
        return lambda row: _text(_at(row, name[7:])) in values
    if name in ("has_key", "has_value"):
        return lambda row: _at(row, value) not in (_ABSENT, *([None, "", [], {}] if name == "has_value" else []))
    if name in ("key_missing", "value_missing"):
        return lambda row: _at(row, value) in (_ABSENT, *([None, "", [], {}] if name == "value_missing" else []))
    if name in ("created_from", "created_to", "modified_from", "modified_to"):
        what, _, end = name.partition("_")
        at_ms = time_ms(name, value)
        if end == "from":
            return lambda row: row[f"{what}_ms"] >= at_ms
        return lambda row: row[f"{what}_ms"] < at_ms + 1000
    if name in OF_EVERY_LIST:
        return None
    raise unknown(name)


def _at(row, path):
    found = {**row["body"], "id": row["id"]}
    for step in path.split("."):
        if not isinstance(found, dict) or step not in found:
            return _ABSENT
        found = found[step]
    return found


def _values(said):
    try:
        values = json.loads(said) if said.startswith("[") else [said]
    except (ValueError, RecursionError):
        values = [said]
    return {_text(value) for value in values}


def _text(value):
    if value is _ABSENT:
        return None
    return value if isinstance(value, str) else json.dumps(value)
