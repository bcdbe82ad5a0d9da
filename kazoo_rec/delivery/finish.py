"""A recording that has stopped becomes what it is: recorded, discarded or failed. Nothing but its file is believed.

FreeSWITCH's own word on why a recording ended and how long it is cannot be trusted (a manual stop says "maxtime", a
full disk says 13 s for 3.8), so the length is the file's.
"""

import errno
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog

from kazoo_rec.delivery import library, target, webhook
from kazoo_rec.delivery.mark import check
from kazoo_rec.delivery.meter import Meter
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.errors import MediaError, TargetError
from kazoo_rec.media import encode, names, sealed, wav
from kazoo_rec.store.spans import is_cut, is_declined, is_moved, missed, silent, unheard

#: A recording is short when more than this, in ms, and more than this share of what was expected are missing.
SHORT_MS, SHORT_SHARE = 200, 0.01

#: Bytes of the key of a recording.
KEY_BYTES = 32

#: Rules whose master FreeSWITCH may play again after its end: the callflow's `play: message`.
PLAYED_AGAIN = ("record_caller",)

#: The cause of a recording of which the switch could not write something, unless it buffered it (switch_ivr_async.c).
NOT_WRITTEN = "uri-failure"

CONTENT_TYPES = {".mp3": "audio/mpeg", ".wav": "audio/wav"}

log = structlog.get_logger()


def finish(row: Mapping, store, recordings_dir: Path, pool, now_ms: int, settings: DeliverySettings,
           meter: Meter | None = None, mark: str | None = None) -> str | None:
    """Examines and encodes the file of a `stopped` row, then writes the row and its delivery in one transaction.

    The result is the recording's new state, now durable (the master of a `discarded` one may go), or None where the
    row was no longer `stopped`. May be killed anywhere and called again.
    `mark` is the directory's.
    Raises OSError (a full disk, a directory that is not there or is another) and what the store raises: the row is
    still `stopped`.
    """
    if pool.apply(_is_unclosed, (row, recordings_dir)):
        # Said before it is repaired: killed in between, nothing would tell it from one that is whole.
        at_ms = row["stopped_ms"]
        row = {**row, "spans": [*row["spans"], {"kind": "cut", "from_ms": at_ms, "to_ms": at_ms}]}
        store.recordings.update(row["id"], spans=row["spans"]).get()
    columns = pool.apply(examine, (row, recordings_dir, _key(row, store, settings), mark))
    deliveries = []
    if columns["state"] == "recorded" and row["settings"]["url"]:
        deliveries.append(_upload(row, now_ms, settings))
    if columns["state"] == "recorded" and (
            kept := pool.apply(library.row, (row, recordings_dir / row["master"], now_ms, settings))):
        deliveries.append(kept)
    if told := webhook.row(row, columns["state"], now_ms, settings.retry_for_s):
        deliveries.append(told)
    changed = store.recordings.finish(row["id"], columns, deliveries).get()
    if not changed:
        return None
    if meter is not None:
        meter.finished(row, columns)
    log.info("recording finished", recording_id=row["id"], call_id=row["call_id"], state=columns["state"],
             reason=columns["state_reason"], duration_ms=columns.get("duration_ms"))
    return columns["state"]


def examine(row: Mapping, recordings_dir: Path, key: bytes | None = None, mark: str | None = None) -> dict:
    """What the row's columns have to be; makes the file to deliver, and encrypts it and the master by `key`. Blocks for
    as long as that takes."""
    master = recordings_dir / row["master"]
    if is_declined(row["spans"]):
        return {"state": "discarded", "state_reason": "declined"}
    try:
        return _examined(row, master, recordings_dir, key, mark)
    except MediaError as error:
        return {"state": "failed", "state_reason": str(error)}


def is_marked(row: Mapping, recordings_dir: Path) -> bool:
    """Whether its engine has left word beside its file that it was declined. Blocks."""
    return (recordings_dir / row["master"]).with_name(names.declined(row["id"])).exists()


def remove(*paths: Path):
    """Removes files; one that is gone already is no error."""
    for path in paths:
        with suppress(FileNotFoundError):
            path.unlink()


def _is_unclosed(row, recordings_dir):
    """Whether the switch has not closed the file, and nobody has said so yet."""
    if any(is_so(row["spans"]) for is_so in (is_cut, is_declined, is_moved)):
        return False
    master = recordings_dir / row["master"]
    try:
        return master.stat().st_size > 0 and not wav.probe(master).intact
    except (FileNotFoundError, MediaError):
        return False


def _key(row, store, settings):
    """By which a recording is encrypted, None where it is not. It is in the row before anything is encrypted by it."""
    if row.get("data_key") is None and settings.encrypt and row["rule"] not in PLAYED_AGAIN:
        key = os.urandom(KEY_BYTES)
        wrapped = store.secrets.wrap(row["account_id"], row["id"], key)
        store.recordings.update(row["id"], data_key=wrapped).get()
        return key
    return store.secrets.unwrap(row["account_id"], row["id"], row.get("data_key"))


def _examined(row, master, recordings_dir, key, mark):
    settings = row["settings"]
    try:
        found = wav.probe(master, key) if master.stat().st_size else None
    except FileNotFoundError:
        found = None
    if found is None or not found.data_bytes:
        check(recordings_dir, mark)
        if not _audio_expected(row):
            return {"state": "discarded", "state_reason": "empty", "duration_ms": 0}
        if not any(path.is_dir() for path in recordings_dir.iterdir()):
            raise FileNotFoundError(errno.ENOENT, "the recordings directory has nothing in it: not mounted?")
        reason = "file empty" if master.exists() else "file missing"
        written = row["cause"] != NOT_WRITTEN
        return {"state": "failed", "state_reason": reason if written else f"{reason}: was the disk full?"}
    if is_moved(row["spans"]):
        found = wav.first(found, row["expected_ms"])
    elif not found.intact and not sealed.is_sealed(master):
        # A file that only the switch's user may write stays as it is: what is delivered is then a copy.
        with suppress(PermissionError):
            found = replace(wav.repair(master), key=key)
    duration_ms, least_s = found.duration_ms, settings["record_min_sec"] or 0
    row, begun = _begun(row, duration_ms)
    spans = row["spans"]
    short = _short(duration_ms, row["expected_ms"])
    lacks = [missed(spans), silent(spans), _late(row, master, duration_ms),
             f"the switch did not close its file: {duration_ms} ms are there" if is_cut(spans) else None,
             f"partial: {duration_ms} ms of {row['expected_ms']} ms" if short else None,
             "the switch could not write all of it: was the disk full?"
             if short and row["cause"] == NOT_WRITTEN else None]
    whole = not (any(lacks) or row["partial"] or unheard(spans) or is_moved(spans))
    if whole and max(duration_ms, row["expected_ms"] or 0) < least_s * 1000:  # the talk was, not only its file
        return {"state": "discarded", "state_reason": f"too short: {duration_ms / 1000:.1f} s of at least {least_s} s",
                "duration_ms": duration_ms}
    if is_moved(spans) or (found.channels == 2 and settings["track"] != "both"):
        # Others' talk, or what the other side said, was not to be recorded: what is kept takes the file's place before
        # the row says so. A switch that still writes has the old file, which has no name any more.
        encode.to_wav(found, master, "dual", settings["track"])
        found = wav.probe(master, key)
    with suppress(OSError):  # not where it is the switch's user's: then its directory, 2770, keeps others out
        master.chmod(sealed.FILE_MODE)
    file = _deliverable(row["id"], found, settings)
    if key is not None:
        sealed.seal(master, key)
    with sealed.opened(file, key) as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        size_bytes = opened.tell()
    return {
        **begun,
        "state": "recorded",
        "state_reason": "; ".join(filter(None, (unheard(spans), *lacks))) or None,
        "partial": bool(row["partial"] or any(lacks)),
        "duration_ms": duration_ms,
        "file": str(file.relative_to(recordings_dir)),
        "content_type": CONTENT_TYPES[file.suffix],
        "size_bytes": size_bytes,
        "sha256": sha256,
        "channels": encode.channels_of(found, settings["channels"], settings["track"]),
        "sample_rate": found.sample_rate,
    }


def _audio_expected(row):
    if missed(row["spans"]):
        return True
    if row["started_ms"] is None or row["cause"] == "empty-file":
        return False
    return row["expected_ms"] is None or _short(0, row["expected_ms"])


def _short(duration_ms, expected_ms):
    return expected_ms is not None and expected_ms - duration_ms > max(SHORT_MS, SHORT_SHARE * expected_ms)


def _begun(row, duration_ms):
    """(the row, what of it has to be another) by when its file begins, where that is before its engine took it for
    begun: it had not heard of the beginning, but late of its command's answer. What is in the file was not missed."""
    began_ms = (row["stopped_ms"] or 0) - duration_ms
    for gap in row["spans"]:
        if gap["kind"] == "gap" and gap["from_ms"] < began_ms < gap["to_ms"] - SHORT_MS and not unheard(row["spans"]):
            spans = [{**gap, "to_ms": began_ms} if span is gap else span for span in row["spans"]]
            begun = {"spans": spans, "started_ms": began_ms, "expected_ms": duration_ms}
            return {**row, **begun}, begun
    return row, {}


def _late(row, master, duration_ms):
    """How late it began, where its engine had it begun by command, after the answer, and did not live to hear of it.
    What is told as missed before that is not told again."""
    if row["started_ms"] is not None or not master.name.endswith(names.FALLBACK):
        return None
    if row["answered_ms"] is None or row["stopped_ms"] is None or unheard(row["spans"]):
        return "it began late, by how much was not heard"
    since_ms = max(row["answered_ms"], *(span["to_ms"] for span in row["spans"] if span["kind"] == "gap"), 0)
    late_ms = row["stopped_ms"] - duration_ms - since_ms
    return f"it began late: up to {late_ms / 1000:.1f} s before it were missed" if late_ms > SHORT_MS else None


def _deliverable(recording_id, master, settings):
    """The master itself where it is what was asked for, else a file beside it."""
    form, channels, track = settings["format"], settings["channels"], settings["track"]
    count = encode.channels_of(master, channels, track)
    if form == "wav" and count == master.channels and master.intact:
        return master.path
    file = master.path.with_name(names.delivered(recording_id, form, count))
    (encode.to_mp3 if form == "mp3" else encode.to_wav)(master, file, channels, track)
    return file


def _upload(row, now_ms, settings):
    """The row of an upload: due at once, or failed at once where its URL can never be sent to."""
    upload = {
        "recording_id": row["id"], "node": row["node"], "account_id": row["account_id"], "kind": "upload",
        "url": row["settings"]["url"], "host": "", "method": row["settings"]["method"], "state": "due", "attempts": 0,
        "next_attempt_ms": now_ms, "give_up_ms": now_ms + settings.retry_for_s * 1000, "created_ms": now_ms,
        "last_error": None,
    }
    try:
        return upload | {"host": target.server(upload["url"])}
    except TargetError as error:
        return upload | {"state": "failed", "last_error": str(error)}
