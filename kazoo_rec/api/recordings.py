"""Recordings: found, explained, kept and deleted."""

from sqlalchemy import or_, true

from kazoo_rec.api.body import corrected, data_of, expect
from kazoo_rec.api.door import written
from kazoo_rec.api.envelope import ApiError, changed_meanwhile, invalid, not_found, succeed
from kazoo_rec.api.listing import (
    GREGORIAN_S,
    OF_EVERY_LIST,
    key_for,
    page_size_of,
    start_key_of,
    time_ms,
    unknown,
    whole,
)
from kazoo_rec.api.sound import Sound
from kazoo_rec.store.tables import recordings

COLUMNS = recordings.c

#: What a list leaves out unless it is asked for by `filter_state`: legs that were not answered, and what is deleted.
UNHEARD = ("armed", "discarded", "deleted")

#: Fields that `filter_FIELD` compares, Kazoo's names among them.
FILTERS = {"call_id": COLUMNS.call_id, "interaction_id": COLUMNS.interaction_id, "direction": COLUMNS.direction,
           "owner_id": COLUMNS.user_id, "user_id": COLUMNS.user_id, "device_id": COLUMNS.device_id,
           "label": COLUMNS.label, "origin": COLUMNS.origin, "leg": COLUMNS.leg,
           "caller_id_number": COLUMNS.caller_id_number, "callee_id_number": COLUMNS.callee_id_number,
           "from": COLUMNS.from_uri, "to": COLUMNS.to_uri, "rule": COLUMNS.rule}

#: Where `number` is looked for, and `q`.
NUMBERS = (COLUMNS.caller_id_number, COLUMNS.callee_id_number)
TEXTS = (*NUMBERS, COLUMNS.caller_id_name, COLUMNS.callee_id_name, COLUMNS.from_uri, COLUMNS.to_uri, COLUMNS.label,
         COLUMNS.call_id)

#: Characters of what is looked for.
LONGEST_SEARCH = 64

#: Values of `filter_partial`.
PARTIAL = {"true": True, "false": False}

TIMES = {"created_from": COLUMNS.created_ms, "created_to": COLUMNS.created_ms, "modified_from": COLUMNS.updated_ms,
         "modified_to": COLUMNS.updated_ms}

#: What is said of a delivery that was done. Where the operator has the library, and how it fares, is not said.
_DELIVERED = {"upload": "delivered to {host}", "library": "put into the library"}
_UNTOLD = "the library has not taken it"

READERS = {"admin", "user", "listener"}


class Recordings:
    """Of an account, or (`document_id`) of one of its users; the newest first."""

    def __init__(self, store):
        self._store, self.roles = store, {"GET": READERS}

    def on_get(self, request, response, account_id, document_id=None):
        size, token = page_size_of(request), request.context.token
        if document_id is not None and token["role"] == "user" and document_id != token["user_id"]:
            raise not_found(document_id)
        owner = token["user_id"] if token["role"] == "user" else document_id
        conditions = [*_conditions(request), *([COLUMNS.user_id == owner] if owner is not None else [])]
        rows = self._store.recordings.page(account_id, conditions, _before(request), size + 1)
        more = {}
        if len(rows) > size:
            last = rows[size - 1]
            more = {"next_start_key": key_for(f"{last['created_ms']} {last['id']}")}
        succeed(request, response, [shown(row) for row in rows[:size]], page_size=len(rows[:size]), **more)


class Recording:
    """One: as JSON; as audio where `Accept` or `?accept=` wants that. `sound` is a `Sound`."""

    def __init__(self, store, sound: Sound):
        self._store, self._sound = store, sound
        self.roles = {"GET": READERS, "PATCH": {"admin"}, "DELETE": {"admin"}}

    def on_get(self, request, response, account_id, recording_id):
        deliveries = self._store.deliveries.ask_for(recording_id)
        row = found(self._store, request, account_id, recording_id)
        response.set_header("Vary", "Accept")
        presentation = self._sound.asked_of(request, row)
        if presentation is not None:
            self._sound.play(request, response, row, *presentation)
        else:
            told = {**shown(row), "deliveries": [_delivery(one) for one in deliveries.get()]}
            succeed(request, response, told, revision=row["updated_ms"])

    def on_patch(self, request, response, account_id, recording_id):
        data = data_of(request)
        row = found(self._store, request, account_id, recording_id)
        faults = {name: {"additionalProperties": {
            "message": "Strict checking of data is enabled; only include schema-defined properties"}}
            for name in data if name != "legal_hold"}
        if faults:
            raise ApiError(400, "validation error", faults)
        hold = corrected(data.get("legal_hold"))
        if type(hold) is not bool:
            raise invalid("legal_hold", "type", "Value did not match type(s): boolean", target="boolean")
        seen_ms = row["updated_ms"] if expect(request, row["updated_ms"]) else None
        if not written(self._store.recordings.hold(row["id"], hold, seen_ms)):
            found(self._store, request, account_id, recording_id)
            raise changed_meanwhile()
        row = self._store.recordings.get(row["id"])
        succeed(request, response, shown(row), revision=row["updated_ms"])

    def on_delete(self, request, response, account_id, recording_id):
        row = found(self._store, request, account_id, recording_id)
        seen_ms = row["updated_ms"] if expect(request, row["updated_ms"]) else None
        if not written(self._store.recordings.request_delete(row["id"], request.context.token["id"], seen_ms)):
            row = found(self._store, request, account_id, recording_id)
            expect(request, row["updated_ms"])
            why = "is on legal hold" if row["legal_hold"] else f"is not finished: {row['state']}"
            raise ApiError(409, "conflict", {"message": f"the recording {why}", "state": row["state"]})
        succeed(request, response, {**shown(row), "_read_only": {"deleted": True}})


class Peaks:
    """The loudest sample of each of `points` equal parts (default 800), for each channel, from 0 to 1."""

    def __init__(self, store, sound: Sound):
        self._store, self._sound, self.roles = store, sound, {"GET": READERS}

    def on_get(self, request, response, account_id, recording_id):
        points = whole("points", request.get_param("points", default="800"), 1, 10_000)
        row = found(self._store, request, account_id, recording_id)
        succeed(request, response, {"duration_ms": row["duration_ms"],
                                    "channels": self._sound.peaks(row, points)})


class Explain:
    """Why a recording was made, what happened to it, and when."""

    def __init__(self, store):
        self._store, self.roles = store, {"GET": READERS}

    def on_get(self, request, response, account_id, recording_id):
        row = found(self._store, request, account_id, recording_id)
        happened = [{"at_ms": row[f"{what}_ms"], "what": what} for what in ("armed", "answered", "started", "stopped")
                    if row[f"{what}_ms"] is not None]
        happened += [{"at_ms": one["delivered_ms"],
                      "what": _DELIVERED.get(one["kind"], "{kind} to {host}").format(**one)}
                     for one in self._store.deliveries.of(row["id"]) if one["delivered_ms"]]
        if row["audio_removed_ms"] is not None:
            happened.append({"at_ms": row["audio_removed_ms"], "what": "its audio was removed here"})
        succeed(request, response, {
            "id": row["id"], "rule": row["rule"], "leg": row["leg"], "reason": row["reason"],
            "settings": {name: {"value": value, "from": row["settings_from"].get(name)}
                         for name, value in row["settings"].items() if name not in ("url", "status_callback")},
            "source": row["source"], "destination": row["destination"], "state": row["state"],
            "state_reason": row["state_reason"], "spans": row["spans"], "happened": happened})


def found(store, request, account_id, recording_id) -> dict:
    """The row, where it is the account's, not deleted, and the asker's to see; else raises ApiError."""
    row, token = store.recordings.get(recording_id), request.context.token
    if row is None or row["account_id"] != account_id or row["delete_requested_ms"] is not None:
        raise not_found(recording_id)
    if token["role"] == "user" and row["user_id"] != token["user_id"]:
        raise not_found(recording_id)
    return row


def shown(row: dict) -> dict:
    """A recording as the API shows it: Kazoo's fields, then ours (Kazoo, schemas/call_recordings.json). No URL of a
    delivery: it may have a password in it."""
    settings = row["settings"]
    begun_ms = row["started_ms"] or row["armed_ms"] or row["created_ms"]
    return {
        "id": row["id"], "call_id": row["call_id"], "interaction_id": row["interaction_id"],
        "cdr_id": f"{row['id'][:6]}-{row['call_id']}", "name": (row["file"] or "").rpartition("/")[2] or None,
        "caller_id_name": row["caller_id_name"], "caller_id_number": row["caller_id_number"],
        "callee_id_name": row["callee_id_name"], "callee_id_number": row["callee_id_number"],
        "from": row["from_uri"], "to": row["to_uri"], "direction": row["direction"], "owner_id": row["user_id"],
        "start": begun_ms // 1000 + GREGORIAN_S, "duration_ms": row["duration_ms"],
        "duration": None if row["duration_ms"] is None else row["duration_ms"] // 1000,
        "content_type": row["content_type"], "media_type": settings["format"], "media_source": "recorded",
        "origin": row["origin"], "source_type": "kazoo_rec",
        "account_id": row["account_id"], "device_id": row["device_id"], "node": row["node"], "leg": row["leg"],
        "rule": row["rule"], "reason": row["reason"], "source": row["source"], "destination": row["destination"],
        "state": row["state"], "state_reason": row["state_reason"], "spans": row["spans"], "partial": row["partial"],
        "truncated_by_limit": row["truncated_by_limit"], "armed_ms": row["armed_ms"],
        "answered_ms": row["answered_ms"], "started_ms": row["started_ms"], "stopped_ms": row["stopped_ms"],
        "size_bytes": row["size_bytes"], "sha256": row["sha256"], "channels": row["channels"],
        "sample_rate": row["sample_rate"], "label": row["label"], "legal_hold": row["legal_hold"],
        "audio_removed_ms": row["audio_removed_ms"],
        **({"deleted_ms": row["delete_requested_ms"], "deleted_by": row["deleted_by"]}
           if row["delete_requested_ms"] is not None else {}),
    }


def _delivery(row):
    told = {name: row[name] for name in ("kind", "host", "method", "state", "attempts", "status", "last_error",
                                         "delivered_ms", "next_attempt_ms", "etag")}
    return told | {"host": "library", "last_error": row["last_error"] and _UNTOLD} if row["kind"] == "library" else told


def _conditions(request):
    conditions, kept = [], COLUMNS.delete_requested_ms.is_(None)
    heard = COLUMNS.state.not_in(UNHEARD)
    for name, value in request.params.items():
        if name == "filter_state" and value == "deleted":
            heard, kept = COLUMNS.delete_requested_ms.is_not(None), true()
        elif name == "filter_state":
            heard = COLUMNS.state == value
        elif name == "filter_partial":
            if value not in PARTIAL:
                raise invalid(name, "enum", "Value not found in enumerated list of values", target=list(PARTIAL))
            conditions.append(COLUMNS.partial.is_(PARTIAL[value]))
        elif name.startswith("filter_not_") and name[11:] in FILTERS:
            conditions.append(FILTERS[name[11:]].is_distinct_from(value))
        elif name.startswith("filter_") and name[7:] in FILTERS:
            conditions.append(FILTERS[name[7:]] == value)
        elif name in TIMES:
            at_ms = time_ms(name, value)
            conditions.append(TIMES[name] >= at_ms if name.endswith("from") else TIMES[name] < at_ms + 1000)
        elif name == "min_duration_s":
            conditions.append(COLUMNS.duration_ms >= whole(name, value, 0, 999_999_999_999) * 1000)
        elif name in ("number", "q"):
            if len(value) > LONGEST_SEARCH:
                raise invalid(name, "maxLength", f"String must not be more than {LONGEST_SEARCH} characters",
                              target=LONGEST_SEARCH)
            conditions.append(or_(*(column.contains(value, autoescape=True)
                                    for column in (NUMBERS if name == "number" else TEXTS))))
        elif name not in OF_EVERY_LIST:
            raise unknown(name)
    return [*conditions, heard, kept]


def _before(request):
    key = start_key_of(request)
    if key is None:
        return None
    at_ms, _, recording_id = key.partition(" ")
    return whole("start_key", at_ms, 0, 10**18), recording_id
