"""Calls in progress: their legs, what of them is recorded, and orders about that. The engines have all of it."""

from urllib.parse import parse_qs

import structlog

from kazoo_rec.api.body import data_of
from kazoo_rec.api.envelope import ApiError, invalid, not_found, succeed
from kazoo_rec.api.recordings import READERS
from kazoo_rec.api.validation import checked, unforged
from kazoo_rec.errors import EngineSilent, SwitchError, WrongState

ACTIONS = ("start", "stop", "mask", "unmask", "pause", "resume")

#: What Kazoo's metaflow has of them (schemas/metaflows.record_call.json).
METAFLOW_ACTIONS = ("start", "stop", "mask", "unmask")

#: Exotel's words.
STATUSES = {"paused": "pause", "in-progress": "resume"}

#: A form is one field.
LARGEST_FORM_BYTES = 4096

#: FreeSWITCH's are no longer (SWITCH_UUID_FORMATTED_LENGTH).
LONGEST_ID = 256

WRITERS = {"admin", "user"}

#: Of an order that was on its way.
_UNKNOWN = "what became of it is not known"

log = structlog.get_logger()


class Channels:
    """Every leg of an account; of a user's, to him."""

    def __init__(self, engines):
        self._engines, self.roles = engines, {"GET": READERS}

    def on_get(self, request, response, account_id):
        token = request.context.token
        his = token["user_id"] if token["role"] == "user" else None
        legs = [leg for leg in _asked(self._engines.legs, account_id, his) if _may_see(token, leg)]
        succeed(request, response, legs)


class Channel:
    """One leg. PUT and POST say the same."""

    def __init__(self, engines):
        self._engines, self.roles = engines, {"GET": READERS, "PUT": WRITERS, "POST": WRITERS}

    def on_get(self, request, response, account_id, call_id):
        succeed(request, response, _found(self._engines, request, account_id, call_id).leg)

    def on_put(self, request, response, account_id, call_id):
        action, settings = _order_of(data_of(request))
        succeed(request, response, _carried_out(self._engines, request, account_id, call_id, action, settings))

    on_post = on_put


class CallRecording:
    """Exotel's form of pause and resume: `Status=paused|in-progress`."""

    def __init__(self, engines):
        self._engines, self.roles = engines, {"PUT": WRITERS}

    def on_put(self, request, response, account_id, call_id):
        if (request.content_length or 0) > LARGEST_FORM_BYTES:
            raise ApiError(413, "payload_too_large", {"message": f"a form has at most {LARGEST_FORM_BYTES} bytes"})
        form = parse_qs(request.bounded_stream.read(LARGEST_FORM_BYTES).decode("utf-8", "replace"))
        said = form.get("Status", [])
        if len(said) != 1 or said[0] not in STATUSES:
            raise invalid("Status", "enum" if said else "required", "Value not found in enumerated list of values"
                          if said else "Field is required but missing", target=list(STATUSES))
        action = STATUSES[said[0]]
        succeed(request, response, _carried_out(self._engines, request, account_id, call_id, action, {}))


def _order_of(data):
    """(action, settings) of Kazoo's metaflow or of the plain form."""
    if "module" in data:
        _only(data, ("module", "data"), "")
        if data["module"] != "record_call":
            raise invalid("module", "enum", "Value not found in enumerated list of values", target=["record_call"])
        inner, where, actions = data.get("data"), "data", METAFLOW_ACTIONS
    else:
        _only(data, ("action", "record"), "")
        if data.get("action") != "record":
            raise invalid("action", "enum" if "action" in data else "required", "Value not found in enumerated list of "
                          "values" if "action" in data else "Field is required but missing", target=["record"])
        inner, where, actions = data.get("record"), "record", ACTIONS
    if not isinstance(inner, dict):
        raise invalid(where, "required" if inner is None else "type", "Field is required but missing" if inner is None
                      else "Value did not match type(s): object", target="object")
    action = inner.get("action")
    if action not in actions:
        raise invalid(f"{where}.action", "required" if action is None else "enum", "Field is required but missing"
                      if action is None else "Value not found in enumerated list of values", target=list(actions))
    settings = {name: value for name, value in inner.items() if name != "action"}
    if action != "start":
        _only(settings, (), f"{where}.")
    return action, checked("recording_settings", unforged(settings))


def _only(data, names, where):
    faults = {f"{where}{name}": {"additionalProperties": {
        "message": "Strict checking of data is enabled; only include schema-defined properties"}}
        for name in data if name not in names}
    if faults:
        raise ApiError(400, "validation error", faults)


def _carried_out(engines, request, account_id, call_id, action, settings):
    request.context.sent = action
    engine = _found(engines, request, account_id, call_id).engine
    leg = _asked(engines.order, engine, account_id, call_id, action, settings,
                 f"token {request.context.token['id']}")
    if leg is None:
        raise not_found(call_id)
    return leg


def _found(engines, request, account_id, call_id):
    if not 0 < len(call_id) <= LONGEST_ID:
        raise not_found(call_id[:LONGEST_ID])
    found = _asked(engines.find, account_id, call_id)
    if found is None or not _may_see(request.context.token, found.leg):
        raise not_found(call_id)
    return found


def _may_see(token, leg):
    return token["role"] != "user" or leg["owner_id"] == token["user_id"]


def _asked(ask, *about):
    try:
        return ask(*about)
    except WrongState as wrong:
        raise ApiError(409, "conflict", {"message": wrong.message}) from wrong
    except SwitchError as unheard:
        raise _unheard(f"{unheard.message}: {_UNKNOWN}") from unheard
    except EngineSilent as silent:
        log.warning("an engine does not answer", engines=silent.names, reason=silent.detail, sent=silent.sent)
        raise _unheard(f"{silent.message}: {_UNKNOWN}" if silent.sent else silent.message, engines=silent.names) \
            from silent


def _unheard(message, **more):
    return ApiError(504, "gateway_timeout", {"message": message, **more})
