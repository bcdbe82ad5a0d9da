"""The API described for programs: OpenAPI 3.1 (spec.openapis.org/oas/v3.1)."""

import re
from importlib.resources import files

import orjson

from kazoo_rec import __version__
from kazoo_rec.api.channels import ACTIONS, METAFLOW_ACTIONS, STATUSES
from kazoo_rec.api.documents import KINDS
from kazoo_rec.api.envelope import succeed_bare
from kazoo_rec.api.links import LONGEST_S
from kazoo_rec.api.listing import LARGEST_PAGE
from kazoo_rec.api.recordings import FILTERS, LONGEST_SEARCH, PARTIAL, TIMES
from kazoo_rec.api.sound import CHOICES, TYPES

_ID = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_TEXT = {"type": "string"}
_NUMBER = {"type": ["integer", "null"]}
_ANY = {"type": "object"}

#: What may go wrong, by status.
_ERRORS = {400: "What was sent cannot be taken; every fault is told.", 401: "No valid token.",
           403: "The token does not allow this.", 404: "There is no such thing in this account.",
           406: "Not made in that type.", 409: "Not in this state.", 411: "The body has no length.",
           413: "The body is too large.", 416: "There is no such part.", 429: "Too many failures: see Retry-After.",
            503: "The database does not answer, or the disk takes nothing more.",
           504: "The switch did not answer, or an engine, which is named, or the database has not written yet that a "
                "recording was stopped: what became of an order is not known."}

_RECORDING = {"type": "object", "required": ["id", "call_id", "account_id", "state", "reason", "duration_ms", "spans"],
              "properties": {"id": _TEXT, "call_id": _TEXT, "account_id": _TEXT, "state": _TEXT, "reason": _TEXT,
                             "duration_ms": _NUMBER, "start": {"type": "integer"}, "legal_hold": {"type": "boolean"},
                             "audio_removed_ms": {"type": ["integer", "null"]},
                             "sha256": {"type": ["string", "null"]}, "spans": {"type": "array"}}}
_CHANNEL = {"type": "object", "required": ["uuid", "account_id", "recordings", "not_recorded"], "properties": {
    "uuid": _TEXT, "account_id": _TEXT, "owner_id": {"type": ["string", "null"]}, "answered_ms": _NUMBER,
    "other_leg_call_id": {"type": ["string", "null"]}, "recordings": {"type": "array", "items": {
        "type": "object", "required": ["id", "state", "reason", "masked", "spans"], "properties": {
            "id": _TEXT, "state": _TEXT, "reason": _TEXT, "masked": {"type": "boolean"}, "spans": {"type": "array"},
            "not_recorded_since_ms": _NUMBER}}},
    "not_recorded": {"type": "array", "items": {"type": "object", "required": ["rule", "reason"]}}}}
_LINK = {"type": "object", "required": ["id", "format", "channels", "track", "expires_ms"], "properties": {
    "id": _TEXT, "url": _TEXT, "expires_ms": {"type": "integer"}, "revoked_ms": _NUMBER}}
_DOCUMENT = {"type": "object", "required": ["id"], "properties": {"id": _TEXT}}
_READY = {"type": "object", "required": ["ready", "not_ready", "checks"], "additionalProperties": False, "properties": {
    "ready": {"type": "boolean"}, "not_ready": {"type": "array", "items": _TEXT},
    "checks": {"type": "object", "additionalProperties": {
        "type": "object", "required": ["ready"], "properties": {"ready": {"type": "boolean"}}}}}}


class OpenApi:
    """Serves it."""

    def on_get(self, request, response):
        succeed_bare(request, response, document())


def document() -> dict:
    """The whole description."""
    account = "/v2/accounts/{account_id}"
    recording = f"{account}/recordings/{{recording_id}}"
    paths = {
        "/healthz": {"get": {**_operation("Whether this process lives."), "security": [], "responses": {"200": {
            "description": "It does.", "content": {"application/json": {"schema": _ANY}}}}}},
        "/readyz": {"get": {**_operation("Whether all of this node is ready."), "security": [], "responses": {
            code: {"description": told, "content": {"application/json": {"schema": _READY}}}
            for code, told in (("200", "All is."), ("503", "What `not_ready` names is not."))}}},
        "/metrics": {"get": {**_operation("Numbers, in Prometheus' text."), "security": [], "responses": {
            "200": {"description": "They.", "content": {"text/plain": {"schema": _TEXT}}}, "503": _error(503)}}},
        "/v2/openapi.json": {"get": {**_operation("This."), "security": [], "responses": {"200": {
            "description": "OpenAPI 3.1.", "content": {"application/json": {"schema": _ANY}}}}}},
        "/v2/api_auth": {"put": _log_in("A token of an hour for a token.", {"api_key": _TEXT}, ["api_key"])},
        "/v2/user_auth": {"put": _log_in("A token of an hour for a user's credentials.", {
            "credentials": _TEXT, "method": {"enum": ["md5", "sha"]}, "account_name": _TEXT, "account_realm": _TEXT,
            "phone_number": _TEXT}, ["credentials", "account_name"])},
        "/v2/schemas": {"get": _open(_operation("Names of the schemas of documents.", {
            "type": "array", "items": _TEXT}))},
        "/v2/schemas/{schema}": {"get": _open(_operation("One schema.", _ANY, errors=(404,)), 404)},
        "/v2/accounts": {"get": _list("Accounts (superadmins).", _DOCUMENT),
                         "put": _change("A new account (superadmins).", "accounts", 201)},
        account: _document("accounts"),
        f"{account}/audit": {"get": _list("Who did what, the newest first.", _ANY, errors=(404,))},
        f"{account}/recordings": {"get": _list("Recordings, the newest first.", _RECORDING, _searches(), (404,))},
        f"{account}/users/{{document_id}}/recordings": {
            "get": _list("Recordings of a user.", _RECORDING, _searches(), (404,))},
        recording: {
            "get": _sounding(_operation("A recording, as JSON or as audio.", _RECORDING, _presentation(), errors=(
                400, 404, 406, 409, 416))),
            "patch": _operation("Puts it on legal hold, or lets it go.", _RECORDING, errors=(400, 404, 409, 411, 413),
                                body={"type": "object", "required": ["legal_hold"], "additionalProperties": False,
                                      "properties": {"legal_hold": {"type": "boolean"}}}),
            "delete": _operation("Removes the audio.", _RECORDING, errors=(404, 409))},
        f"{recording}/peaks": {"get": _operation("Its outline.", _ANY, [
            _query("points", {"type": "integer", "minimum": 1, "maximum": 10_000})], errors=(400, 404, 409))},
        f"{recording}/explain": {"get": _operation("Why it was made, and what happened.", _ANY, errors=(404,))},
        f"{recording}/links": {
            "get": _operation("Links to it.", {"type": "array", "items": _LINK}, errors=(404,)),
            "post": _operation("A URL that plays it without a token.", _LINK, status=201, errors=(400, 404, 411, 413),
                               body={"type": "object", "additionalProperties": False, "properties": {
                                   "expires_in_s": {"type": "integer", "minimum": 1, "maximum": LONGEST_S},
                                   **{name: {"enum": values} for name, values in CHOICES.items()}}})},
        f"{recording}/links/{{link_id}}": {"delete": _operation("Revokes a link.", _ANY, errors=(404,))},
        "/v2/links/{secret}": {"get": _linked("Plays a recording.")},
    }
    paths |= _live(account)
    for name in KINDS:
        paths[f"{account}/{name}"] = {"get": _list(f"The account's {name}.", _DOCUMENT, errors=(404,)),
                                      "put": _change("A new one.", name, 201, errors=(404,))}
        paths[f"{account}/{name}/{{document_id}}"] = _document(name)
    for path, item in paths.items():
        if "get" in item:
            item["head"] = _silent(item["get"])
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        if names:
            item["parameters"] = [{"name": name, "in": "path", "required": True,
                                   "schema": _TEXT if name in ("schema", "call_id") else _ID} for name in names]
    return {
        "openapi": "3.1.0", "info": {"title": "kazoo_rec", "version": __version__},
        "security": [{"token": []}, {"bearer": []}], "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": {
            "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
            "bearer": {"type": "http", "scheme": "bearer"}}}}


def _operation(summary, data=_ANY, parameters=(), body=None, status=200, errors=(), **members):
    """One method of a path; `data` is the schema of what the envelope holds."""
    envelope = {"type": "object", "required": ["data", "status", "request_id", "timestamp", "node"], "properties": {
        "data": data, "status": {"const": "success"}, "request_id": _TEXT, "timestamp": _TEXT, "node": _TEXT,
        "revision": _TEXT, **members}}
    operation = {"summary": summary, "responses": {
        str(status): {"description": "Done.", "content": {"application/json": {"schema": envelope}}},
        **{str(code): _error(code) for code in sorted({401, 403, 429, *errors})}}}
    if parameters:
        operation["parameters"] = list(parameters)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": {
            "type": "object", "required": ["data"], "properties": {"data": body}}}}}
    return operation


def _live(account):
    """Calls in progress."""
    order = _operation("Records it (start takes settings), masks, pauses or stops that; what came of it.", _CHANNEL,
                       errors=(400, 404, 409, 411, 413, 504), body={"anyOf": [
            {"type": "object", "required": ["module", "data"], "additionalProperties": False, "properties": {
                "module": {"const": "record_call"}, "data": _order(METAFLOW_ACTIONS)}},
            {"type": "object", "required": ["action", "record"], "additionalProperties": False, "properties": {
                "action": {"const": "record"}, "record": _order(ACTIONS)}}]})
    form = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": {
        "type": "object", "required": ["Status"], "properties": {"Status": {"enum": list(STATUSES)}}}}}}
    return {
        f"{account}/channels": {"get": _operation("Legs in progress.", {"type": "array", "items": _CHANNEL},
                                                  errors=(404, 504))},
        f"{account}/channels/{{call_id}}": {"get": _operation("One of them.", _CHANNEL, errors=(404, 504)),
                                            "put": order, "post": order},
        f"{account}/calls/{{call_id}}/recording": {"put": {**_operation(
            "Pauses a recording or lets it go on.", _CHANNEL, errors=(400, 404, 409, 413, 504)),
            "requestBody": form}}}


def _order(actions):
    return {"type": "object", "required": ["action"], "properties": {"action": {"enum": list(actions)}}}


def _error(code):
    return {"description": _ERRORS[code], "content": {"application/json": {
        "schema": {"$ref": "#/components/schemas/error"}}}}


def _open(operation, *errors):
    """As `operation`, without a token."""
    responses = {code: answer for code, answer in operation["responses"].items()
                 if code not in ("401", "403", "429") or int(code) in errors}
    return {**operation, "security": [], "responses": responses}


def _log_in(summary, properties, required):
    operation = _operation(summary, {"type": "object", "required": ["account_id", "role"]}, status=201, errors=(
        400, 411, 413), body={"type": "object", "required": required, "properties": properties}, auth_token=_TEXT)
    return _open(operation, 401, 429)


def _list(summary, item, parameters=(), errors=()):
    page = [_query("page_size", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}), _query("start_key", _TEXT),
            _query("paginate", {"enum": ["true", "false"]})]
    return _operation(summary, {"type": "array", "items": item}, [*page, *parameters], errors=(400, *errors),
                      page_size={"type": "integer"}, start_key=_TEXT, next_start_key=_TEXT)


def _change(summary, name, status=200, errors=()):
    return _operation(summary, _DOCUMENT, status=status, errors=(400, 409, 411, 413, *errors),
                      body={"$ref": f"#/components/schemas/{name}"},
                      not_yet_obeyed_by={"type": "array", "items": _TEXT})


def _document(name):
    patch = _change("Lays what is sent over it; null removes a key.", name, errors=(404,))
    patch["requestBody"]["content"]["application/json"]["schema"]["properties"]["data"] = _ANY
    return {"get": _operation("It.", _DOCUMENT, errors=(404,)), "patch": patch,
            "post": _change("Replaces it.", name, errors=(404,)),
            "delete": _operation("Deletes it.", _DOCUMENT, errors=(404, 409))}


def _query(name, schema):
    return {"name": name, "in": "query", "schema": schema}


def _searches():
    whole = {"type": "integer", "minimum": 0, "maximum": 999_999_999_999}
    text = {"type": "string", "maxLength": LONGEST_SEARCH}
    return [*(_query(f"filter_{name}", _TEXT) for name in sorted((*FILTERS, "state"))),
            *(_query(f"filter_not_{name}", _TEXT) for name in sorted(FILTERS)),
            _query("filter_partial", {"enum": list(PARTIAL)}), _query("number", text),
            _query("q", text), *(_query(name, whole) for name in (*TIMES, "min_duration_s"))]


def _presentation():
    return [_query("accept", {"enum": ["application/json", "audio/mpeg", "audio/mp3", "audio/wav", "audio/x-wav"]}),
            _query("inline", {"enum": ["true", "false"]}),
            *(_query(name, {"enum": CHOICES[name]}) for name in ("channels", "track"))]


def _sounding(operation):
    """As `operation`, which may also answer with audio, whole or in part."""
    audio = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES.values()}
    responses = dict(operation["responses"])
    whole = responses.get("200", {"description": "Done.", "content": {}})
    responses["200"] = {**whole, "content": {**whole["content"], **audio}}
    responses["206"] = {"description": "The part that Range asks for.", "content": audio}
    responses["304"] = {"description": "The client has it."}
    return {**operation, "responses": responses}


def _silent(operation):
    """As `operation`, for HEAD: no body."""
    answers = operation["responses"].items()
    return {**operation, "summary": "What GET would say.",
            "responses": {code: {"description": answer["description"]} for code, answer in answers}}


def _linked(summary):
    operation = _operation(summary, errors=(404, 409, 416))
    operation["responses"].pop("401")
    operation["responses"]["200"] = {"description": "The audio.", "content": {}}
    return {**_sounding(operation), "security": []}


def _schemas():
    """The files of schemas/ as what a client may send: null says nothing, a text may mean a number."""
    found = {}
    for file in files("kazoo_rec.schemas").iterdir():
        if file.name.endswith(".json") and file.name != "config.json":
            schema = orjson.loads(file.read_bytes())
            schema.pop("$schema", None)
            found[file.name.removesuffix(".json")] = _pointed(schema, file.name)
    faults = {"type": "object", "required": ["data", "error", "message", "status", "request_id"], "properties": {
        "data": _ANY, "error": {"type": "string", "pattern": "^[45][0-9][0-9]$"}, "message": _TEXT,
        "status": {"const": "error"}, "request_id": _TEXT}}
    return {**found, "error": faults}


def _pointed(value, name):
    if isinstance(value, list):
        return [_pointed(inner, name) for inner in value]
    if not isinstance(value, dict):
        return value
    if "module" in value.get("properties", ()) and "allOf" in value:
        value = _by_module(value)
    result = {key: inner if key == "if" else _pointed(inner, name) for key, inner in value.items()}
    if value.get("type") in ("integer", "boolean"):
        result["type"] = [value["type"], "string"]
        if "enum" in value:
            result["enum"] = [*value["enum"], *map(str, value["enum"])]
    if isinstance(value.get("properties"), dict):
        result["properties"] = {key: {"anyOf": [inner, {"type": "null"}]}
                                for key, inner in result["properties"].items()}
    if isinstance(value.get("$ref"), str):
        file, _, place = value["$ref"].partition("#")
        result["$ref"] = f"#/components/schemas/{(file or name).removesuffix('.json')}{_reached(place)}"
    return result


def _by_module(action):
    """An action of a callflow as a choice of actions, which those who make requests from schemas understand; a list of
    conditions is what can be said of a wrong one."""
    modules = [one["if"]["properties"]["module"] for one in action["allOf"]]
    choices = [{**one["then"], "properties": {"module": module, **one["then"]["properties"]}}
               for module, one in zip(modules, action["allOf"], strict=True)]
    others = {"properties": {"module": {"not": {"anyOf": modules}}}}
    return {**{key: inner for key, inner in action.items() if key != "allOf"}, "anyOf": [*choices, others]}


def _reached(place):
    """A pointer into a schema, through the choice that each property has become."""
    return re.sub(r"(/properties/[^/]+)", r"\1/anyOf/0", place)
