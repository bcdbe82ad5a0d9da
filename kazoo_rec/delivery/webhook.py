"""Telling a server of a recording's new state: the setting `status_callback`.

A webhook is a delivery of kind "webhook.<status>", made in the transaction in which the row gets its state, and sent
again like an upload until it is taken. The statuses are those of Twilio's recording status callbacks, and `failed`.
"""

from collections.abc import Mapping

import orjson

from kazoo_rec.delivery import target
from kazoo_rec.errors import TargetError

KIND = "webhook."

#: What a state of a row is called. `absent`: nothing was recorded, or nothing of it is kept; `reason` says why.
#: "missing" is none of a row: an alarm of `calls.vigil`.
STATUSES = {"recording": "in-progress", "recorded": "completed", "failed": "failed", "discarded": "absent",
            "missing": "missing"}

#: Of these it is not known yet how they end.
_NOT_ENDED = {"in-progress": None, "missing": "wanted, and not being recorded"}

#: Of the row, what does not change after its recording has begun …
_OF_THE_CALL = ("account_id", "user_id", "device_id", "call_id", "interaction_id", "leg", "rule", "origin", "label",
                "direction", "from_uri", "to_uri", "caller_id_name", "caller_id_number", "callee_id_name",
                "callee_id_number", "started_ms")

#: … and what is known at its end.
_OF_THE_END = ("stopped_ms", "duration_ms", "channels", "sample_rate", "content_type", "size_bytes", "sha256",
               "partial", "truncated_by_limit", "spans")


def row(recording: Mapping, state: str, now_ms: int, retry_for_s: int) -> dict | None:
    """The delivery that tells of a recording's new `state`: due at once, or failed at once where its URL can never be
    sent to. None where nobody wants to know of it.

    Parameters:
      recording: id, node, account_id and settings of its row.
      retry_for_s: for how long it is tried.
    """
    url = recording["settings"].get("status_callback")
    if not url or state not in STATUSES:
        return None
    told = {
        "recording_id": recording["id"], "node": recording["node"], "account_id": recording["account_id"],
        "kind": f"{KIND}{STATUSES[state]}", "url": url, "host": "", "method": "post", "state": "due", "attempts": 0,
        "next_attempt_ms": now_ms, "give_up_ms": now_ms + retry_for_s * 1000, "created_ms": now_ms, "last_error": None,
    }
    try:
        return told | {"host": target.host(url)}
    except TargetError as error:
        return told | {"state": "failed", "last_error": str(error)}


def status(kind: str) -> str | None:
    """What a delivery of this kind tells; None for one of a file."""
    return kind.removeprefix(KIND) if kind.startswith(KIND) else None


def key(recording: Mapping, status: str) -> str:
    """Its Idempotency-Key: the same for each attempt."""
    return f"{recording['id']}.{status}"


def body(recording: Mapping, status: str) -> bytes:
    """JSON, and the same for each attempt: of a recording in progress nothing is told of how it ended later on."""
    ended = status not in _NOT_ENDED
    return orjson.dumps({
        "recording_id": recording["id"], "status": status,
        "reason": recording["state_reason"] if ended else _NOT_ENDED[status],
        **{name.removesuffix("_uri"): recording[name] for name in _OF_THE_CALL},
        **{name: recording[name] if ended else None for name in _OF_THE_END}})
