"""Checks documents against schemas/*.json, all faults at once, and corrects types as Crossbar does."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from ipaddress import ip_network
from reprlib import Repr
from urllib.parse import urlsplit

import orjson
import phonenumbers
from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from kazoo_rec.documents.callflows import compiled
from kazoo_rec.store.urls import without_passwords

#: Levels of nesting; more than any real document has, and far from the end of the stack.
MAX_DEPTH = 64

#: Kinds of documents, as the store names them, and their schemas.
SCHEMAS = {
    "account": "accounts.json",
    "user": "users.json",
    "device": "devices.json",
    "callflow": "callflows.json",
    "call_recording": "call_recording.json",
    "recording_settings": "call_recording.parameters.json",
    "record_call": "callflows.record_call.json",
    "record_caller": "callflows.record_caller.json",
    "config": "config.json",
}

TYPES = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
}

formats = FormatChecker(formats=())


class _Shortened(Repr):
    def repr_str(self, text, level):
        return super().repr_str(without_passwords(text), level)


_shortened = _Shortened()
_shortened.maxstring = _shortened.maxother = _shortened.maxlong = 60
_shortened.maxlevel = 2


def check(kind: str, document: object) -> tuple[object, list[dict]]:
    """A corrected copy of the document, and every fault that is left in it as {"path": "call_recording.inbound.any",
    "message": what it is and what is allowed}.

    Corrected is what has a false type and one plain meaning ("30" and 30.0 become 30, "true" becomes true), as
    Crossbar does; a member that is null says nothing and is dropped.
    """
    if deeper_than(MAX_DEPTH, document):
        return document, [{"path": "", "message": f"is nested deeper than {MAX_DEPTH} levels"}]
    document, errors = validated(kind, document)
    faults = dict.fromkeys(fault for error in errors for fault in _faults(error))
    return document, [{"path": path, "message": message} for path, message in faults]


def validated(kind: str, document: object) -> tuple[object, list[ValidationError]]:
    """As `check`, for a document that is not too deep, with jsonschema's own errors."""
    document = _without_nulls(document)
    errors = _errors(kind, document)
    while [error for error in errors if _correct(document, error)]:
        errors = _errors(kind, document)
    return document, errors


@cache
def keys(kind: str) -> frozenset[str]:
    """Those that a document of this kind may have at its top."""
    return frozenset(orjson.loads((files("kazoo_rec.schemas") / SCHEMAS[kind]).read_bytes())["properties"])


def quoted(value: object) -> str:
    """A foreign value for people's eyes: its repr, cut short, however long or deep it is, without passwords of URLs."""
    return _shortened.repr(value)


def worded(fault: dict) -> str:
    """A fault of `check` without the value that was said: a password may be in it."""
    return f"{fault['path']}: {fault['message'].partition(', not ')[0]}".removeprefix(": ")


def _errors(kind: str, document: object) -> list[ValidationError]:
    errors = _validator(kind).iter_errors(document)
    return sorted(errors, key=lambda error: [str(step) for step in error.absolute_path])


@cache
def _validator(kind: str) -> Validator:
    resources = [file for file in files("kazoo_rec.schemas").iterdir() if file.name.endswith(".json")]
    schemas = {file.name: orjson.loads(file.read_bytes()) for file in resources}
    for schema in schemas.values():
        # A schema that names its dialect would be given jsonschema's own class for it, in place of ours.
        schema.pop("$schema", None)
    registry = Registry().with_resources((name, DRAFT202012.create_resource(schemas[name])) for name in schemas)
    # JSON Schema takes 30.0 for an integer; it would reach a command as "30.0".
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    strict = validators.extend(Draft202012Validator, {"uniqueItems": _all_differ}, type_checker=types)
    return strict({"$ref": SCHEMAS[kind]}, registry=registry, format_checker=formats)


def _all_differ(_validator, wanted: bool, value: object, _schema: Mapping) -> Iterable[ValidationError]:
    """jsonschema's own compares each item with each, once they are of several types: minutes for a megabyte of them."""
    if wanted and isinstance(value, list) and len(set(map(repr, value))) < len(value):
        yield ValidationError("has an item twice")


@formats.checks("uri", raises=ValueError)
def _has_host_and_port(value: object) -> bool:
    """What a pattern cannot tell of a URL; urlsplit raises for a port or an address in brackets that is none."""
    return not isinstance(value, str) or (bool(urlsplit(value).hostname) and urlsplit(value).port != 0)


@formats.checks("network", raises=ValueError)
def _is_network(value: object) -> bool:
    return not isinstance(value, str) or bool(ip_network(value))


@formats.checks("number-pattern", raises=ValueError)
def _is_pattern(value: object) -> bool:
    return not isinstance(value, str) or bool(compiled(value))


@formats.checks("country")
def _is_country(value: object) -> bool:
    return not isinstance(value, str) or value in phonenumbers.SUPPORTED_REGIONS


def _correct(document: object, error: ValidationError) -> bool:
    """Puts the value that was meant in the place of one that has a false type; False where there is none."""
    if error.validator != "type" or not error.absolute_path:
        return False
    allowed, value = error.validator_value, error.instance
    if "boolean" in allowed and value in ("true", "false"):
        meant = value == "true"
    elif "integer" in allowed and _is_whole(value):
        meant = int(value)
    else:
        return False
    *way, last = error.absolute_path
    try:
        for step in way:
            document = document[step]
        document[last] = meant
    except (KeyError, IndexError, TypeError):  # an error before this one was corrected above it: the next look tells
        return False
    return True


def _is_whole(value: object) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"-?[0-9]{1,15}", value) is not None
    return isinstance(value, float) and value.is_integer()


def _faults(error: ValidationError) -> list[tuple[str, str]]:
    """(path, message). Of a path's steps only the last may be foreign, and then it is quoted."""
    path = [str(step) for step in error.absolute_path]
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        text = f"is an unknown key; allowed are {', '.join(known)}"
        return [(".".join([*path, _step(key)]), text) for key in error.instance if key not in known]
    if error.validator == "required":
        return [(".".join([*path, key]), "is missing") for key in error.validator_value if key not in error.instance]
    return [(".".join(path), f"must be {_expected(error.schema)}, not {quoted(error.instance)}")]


def _step(key: object) -> str:
    return key if isinstance(key, str) and re.fullmatch(r"[\w-]{1,64}", key, re.ASCII) else quoted(key)


def _expected(schema: Mapping) -> str:
    if "title" in schema:
        return schema["title"]
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    text = TYPES[schema["type"]]
    if "maxItems" in schema:
        text += f" of at most {schema['maxItems']} items" + (", each once" if schema.get("uniqueItems") else "")
    if "maxLength" in schema:
        text += f" of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    elif "minLength" in schema:
        text += f" of at least {schema['minLength']} character(s)"
    if "exclusiveMinimum" in schema:
        text += f" above {schema['exclusiveMinimum']}"
    if "minimum" in schema:
        text += f" from {schema['minimum']}"
    if "maximum" in schema:
        text += f" to {schema['maximum']}"
    return text


def deeper_than(levels: int, document: object) -> bool:
    """Whether objects and lists lie more than so many levels inside each other; not by recursion."""
    reached = [document]
    for _ in range(levels):
        reached = [inner for outer in reached for inner in _members(outer)]
    return bool(reached)


def _members(value: object) -> Iterable:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
