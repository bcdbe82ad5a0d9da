"""Lists as Crossbar gives them: pages by an opaque key, filters by any key of a document (crossbar/doc/filters.md)."""

import base64
import binascii
import json

from kazoo_rec.api.envelope import invalid

PAGE_SIZE, LARGEST_PAGE = 50, 1000

#: The epoch of Kazoo's times, year 0, before that of Unix.
GREGORIAN_S = 62_167_219_200

_ABSENT = object()


def page_size_of(request) -> int:
    """Raises ApiError where it is no number from 1 to 1000."""
    said = request.get_param("page_size", default=str(PAGE_SIZE))
    if not said.isdecimal() or not 1 <= int(said) <= LARGEST_PAGE:
        raise invalid("page_size", "error", f"Value must be from 1 to {LARGEST_PAGE}", value=said[:20])
    return int(said)


def start_key_of(request) -> str | None:
    """What `start_key` stands for: behind which document the page begins."""
    said = request.get_param("start_key")
    if said is None:
        return None
    try:
        return base64.b64decode(said + "=" * (-len(said) % 4), altchars=b"-_", validate=True).decode()
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
        if not value.isdecimal() or len(value) > 12:
            raise invalid(name, "error", "Value must be Gregorian seconds", value=value[:20])
        what, _, end = name.partition("_")
        at_ms = (int(value) - GREGORIAN_S) * 1000
        if end == "from":
            return lambda row: row[f"{what}_ms"] >= at_ms
        return lambda row: row[f"{what}_ms"] < at_ms + 1000
    return None


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
