"""Validation errors as Crossbar writes them (Kazoo, core/kazoo_schemas/src/kz_json_schema.erl)."""

from kazoo_rec.api.envelope import ApiError, invalid
from kazoo_rec.documents.schema import validated
from kazoo_rec.store.secrets import forged
from kazoo_rec.store.urls import without_passwords


def checked(kind: str, document: dict) -> dict:
    """The document with its types corrected. Raises ApiError with every fault:
    {"dotted.path": {"code": {"message", "target"?, "value"?}}}."""
    document, errors = validated(kind, document)
    faults: dict[str, dict] = {}
    for error in errors:
        for path, code, fault in _faults(error):
            faults.setdefault(path, {}).setdefault(code, fault)
    if faults:
        raise ApiError(400, "validation error", faults)
    return document


def unforged(data: dict) -> dict:
    """The same. Raises ApiError where a URL in it looks sealed: nobody was shown one of ours."""
    if path := forged(data):
        raise invalid(path, "sealed", "User and password are said in clear")
    return data


def _faults(error):
    path, target, value = list(error.absolute_path), error.validator_value, error.instance
    known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    if error.validator == "required":
        for key in target:
            if key not in value:
                yield _dotted([*path, key]), "required", {"message": "Field is required but missing"}
    elif error.validator == "additionalProperties" and target is False:
        for key in value:
            if key not in known:
                yield _dotted([*path, key]), "additionalProperties", {
                    "message": "Strict checking of data is enabled; only include schema-defined properties"}
    else:
        code, message = _WORDS.get(error.validator, ("error", _expected))
        yield _dotted(path), code, {"message": message(error), "target": _plain(target), "value": _plain(value)}


def _expected(error):
    title = error.schema.get("title") if isinstance(error.schema, dict) else None
    return f"Value must be {title}" if title else "Value is not allowed here"


_WORDS = {
    "type": ("type", lambda error: "Value did not match type(s): " + ", ".join(_types(error.validator_value))),
    "enum": ("enum", lambda _: "Value not found in enumerated list of values"),
    "minimum": ("minimum", lambda error: f"Value must be at least {error.validator_value}"),
    "maximum": ("maximum", lambda error: f"Value must be at most {error.validator_value}"),
    "minLength": ("minLength", lambda error: f"String must be at least {error.validator_value} characters"),
    "maxLength": ("maxLength", lambda error: f"String must not be more than {error.validator_value} characters"),
    "pattern": ("pattern", _expected),
    "format": ("wrong_format", _expected),
    "maxItems": ("maxItems", lambda error: f"List must have at most {error.validator_value} items"),
    "uniqueItems": ("uniqueItems", lambda _: "List has an item twice"),
}


def _types(target):
    return [target] if isinstance(target, str) else target


def _dotted(path) -> str:
    return ".".join(str(step).replace(".", "%2E") for step in path)


def _plain(value):
    """A value to show again, no longer than people read, and without passwords of URLs."""
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if isinstance(value, str):
        return without_passwords(value)[:200]
    if isinstance(value, list) and len(value) <= 20 and all(isinstance(one, (str, int)) for one in value):
        return [without_passwords(one) if isinstance(one, str) else one for one in value]
    return None
