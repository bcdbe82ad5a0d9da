"""The library: every finished recording's master in the operator's object store, as it lies on the disk, encrypted or
not, so that any host can play it.

It is a delivery of kind "library", made in the transaction in which the recording gets its state, and tried again like
an upload. Its row knows the length and the digest of what is to be there.
"""

import hashlib
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from kazoo_rec.delivery import target
from kazoo_rec.delivery.http import Failure, Proof
from kazoo_rec.delivery.s3 import Content, Object, ObjectStore
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.errors import LibraryError

KIND = "library"

#: Seconds to connect, and to answer, while somebody waits for it.
TIMEOUT_S = (5.0, 10.0)

_opened = partial(open, mode="rb")


def row(recording: Mapping, path: Path, now_ms: int, settings: DeliverySettings) -> dict | None:
    """The delivery of a recording's master, which is at `path`; None where there is no library. Blocks."""
    if settings.s3 is None or settings.s3.library is None:
        return None
    with open(path, "rb") as master:
        sha256, size_bytes = hashlib.file_digest(master, "sha256").hexdigest(), master.tell()
    host = f"{KIND}:{target.server(settings.s3.library)}"  # it does not wait with what the account sends there itself
    return {
        "recording_id": recording["id"], "node": recording["node"], "account_id": recording["account_id"], "kind": KIND,
        "url": settings.s3.library, "host": host, "method": "put", "state": "due",
        "attempts": 0, "next_attempt_ms": now_ms, "give_up_ms": now_ms + settings.retry_for_s * 1000,
        "created_ms": now_ms, "last_error": None, "size_bytes": size_bytes, "sha256": sha256,
    }


def place(objects: ObjectStore, delivery: Mapping, recording: Mapping) -> Object:
    """Where a recording is, or is to be: under its account and id."""
    name = f"{recording['id']}{Path(recording['master']).suffix}"
    return objects.library(delivery["url"], recording["account_id"], name)


def fetch(objects: ObjectStore | None, delivery: Mapping, recording: Mapping, file: BinaryIO):
    """Writes a recording's master, as it lay on its host's disk, to a file. Raises LibraryError where it is not to be
    had."""
    if objects is None:
        raise LibraryError("there is no object store", hint="the configuration's `s3`")
    failed = objects.get(place(objects, delivery, recording), *_to_be(delivery), file, time.time(), TIMEOUT_S)
    if failed:
        raise LibraryError("the library does not give a recording", failed.text)


def put(objects: ObjectStore, delivery: Mapping, recordings_dir: Path, now_s: float, timeout_s) -> Proof | Failure:
    """As `ObjectStore.put`; `delivery` has its recording under "recording". A file that is gone, or another, may be
    there already: the database was put back to a copy of before. Raises LibraryError."""
    recording = delivery["recording"]
    kind = "audio/wav" if recording.get("data_key") is None else "application/octet-stream"
    content = Content(recordings_dir / recording["master"], _opened, *_to_be(delivery), kind, recording["id"])
    there = place(objects, delivery, recording)
    outcome = objects.put(there, content, now_s, timeout_s)
    if isinstance(outcome, Failure) and outcome.ours:
        found = objects.look(there, content, now_s, timeout_s)
        return found if isinstance(found, Proof) else outcome
    return outcome


def _to_be(delivery):
    """Bytes and SHA-256 (hex) of what is to be there."""
    known = delivery["size_bytes"], delivery["sha256"]
    if None in known:
        raise LibraryError("nothing is known of what a recording is to be in the library",
                           "an older version had the database meanwhile")
    return known
