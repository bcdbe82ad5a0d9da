"""The audio of a recording over HTTP: which presentation, which part of it, never half a file."""

import errno
import os
import re
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import falcon
import structlog
from falcon.util.mediatypes import best_match
from gevent.lock import BoundedSemaphore

from kazoo_rec.api.envelope import ApiError, invalid, not_found
from kazoo_rec.api.loan import lent
from kazoo_rec.errors import LibraryError, MediaError, StoreError
from kazoo_rec.media import encode, names, sealed, wav
from kazoo_rec.media.peaks import peaks
from kazoo_rec.store.recordings import OPEN_STATES

FORMATS = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav"}
TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav"}

CHOICES = {"format": ["mp3", "wav"], "channels": ["mono", "dual"], "track": ["both", "inbound", "outbound"]}

#: Read and sent at once.
BLOCK_BYTES = 256 * 1024

#: Requests of one account that wait for an encode of its own, and the seconds after which others may come again: each
#: has one of the API's connections.
WAITERS, AGAIN_S = 4, 5

#: Requests that may wait for the library at once: where it hangs, others have the API's connections.
FETCHES = 32

log = structlog.get_logger()


class _NotHere(Exception):
    """There is no such file on this host, or it is not the recording's."""


class Sound:
    """Parameters: `recordings_dir` as this host sees it, `run(function, args)` on a thread, `encode(function, args)` on
    one that may be busy for seconds: nobody who reads waits for it; `alarm_below`, the share of the disk that has to be
    free for anything to be made; `fetch(delivery, recording, file)` brings a master from the library, None: there is
    none. Raises LibraryError."""

    def __init__(self, recordings_dir: Path, run, encode, store, alarm_below: float, fetch=None):
        self._recordings_dir, self._run, self._encode, self._store = recordings_dir, run, encode, store
        self._alarm_below, self._fetch = alarm_below, fetch
        self._fetches = self._wanted_bytes = 0
        self._encoding = WeakValueDictionary()  # an account → the lock of who encodes for it: nobody gets all threads

    @staticmethod
    def asked_of(request, row) -> tuple[str, str, str] | None:
        """(format, channels, track) that a request names, else those of the recording's settings; None where it wants
        JSON. Raises ApiError for what is not made."""
        kind = _kind(request)
        if request.get_param("inline", default="false") not in ("true", "false"):
            raise invalid("inline", "enum", "Value not found in enumerated list of values", target=["true", "false"])
        channels, track = (one_of(name, request.get_param(name), row) for name in ("channels", "track"))
        form = FORMATS.get(kind)
        return form and (form, channels, track)

    def play(self, request, response, row, form, channels, track):
        """Fills the response with the file, or the part that Range asks for."""
        request.context.sent = f"{form} {channels} {track}"
        if not _playable(row):
            raise not_found(row["id"])
        asked = row, form, channels, track
        response.set_header("Accept-Ranges", "bytes")
        response.set_header("X-Request-ID", request.context.request_id)
        response.cache_control = ["private", "no-cache"]
        etag = f'"{row["sha256"][:32]}-{form}-{channels}-{track}"'
        response.set_header("ETag", etag)
        if {"*", etag.strip('"')} & set(request.if_none_match or ()):  # without W/: the comparison is weak
            response.status = 304
            return
        file, name = self._run(self._delivered, asked) or self._slowly(row, partial(self._made, asked))
        how = "inline" if request.get_param("inline") == "true" else "attachment"
        response.set_header("Content-Disposition", f'{how}; filename="{name.replace(names.PLAYED, "")}"')
        response.content_type = TYPES[form]
        self._send(request, response, file, etag)

    def peaks(self, row, points):
        """See `media.peaks`."""
        if not _playable(row):
            raise not_found(row["id"])
        return self._slowly(row, lambda master, key: peaks(master, points, key))

    def _slowly(self, row, make):
        """What `make(master, its key)` gives of the master here, else of the library's."""
        lock = self._encoding.setdefault(row["account_id"], BoundedSemaphore())
        if lock.linkcount() >= WAITERS:
            raise ApiError(503, "service_unavailable", {"message": "too many of the account wait for audio to be made"},
                           retry_after_s=AGAIN_S)
        with lock:
            try:
                return self._encode(self._of_master, (row, make, self._recordings_dir / row["master"]))
            except _NotHere:
                return self._borrowed(row, make)

    def _borrowed(self, row, make):
        kept = next((one for one in self._store.deliveries.of(row["id"])
                     if (one["kind"], one["state"]) == ("library", "delivered")), None)
        if kept is None or self._fetch is None:
            raise _not_here(row)
        if self._fetches >= FETCHES:
            raise ApiError(503, "service_unavailable", {"message": "too many wait for the library"},
                           retry_after_s=AGAIN_S)
        self._fetches += 1
        size_bytes = kept["size_bytes"] or 0  # what is made of it has no more
        try:
            with self._room_for(size_bytes), lent(self._recordings_dir, self._run) as directory:
                master = directory / Path(row["master"]).name
                with self._room_for(size_bytes):
                    file = self._run(open, (master, "xb"))
                    try:
                        self._fetch(kept, row, file)
                    finally:
                        self._run(file.close)  # a thread may still be writing to it
                return self._encode(self._of_master, (row, make, master))
        except _NotHere:
            raise _not_here(row) from None
        except LibraryError as refused:
            log.warning("a recording cannot be had from the library", recording_id=row["id"], reason=str(refused))
            raise ApiError(503, "service_unavailable", {"message": "the library does not give it: try again"},
                           retry_after_s=AGAIN_S) from None
        except OSError as refused:
            raise _not_made() from refused
        finally:
            self._fetches -= 1

    def _send(self, request, response, file, etag):
        size = sealed.size_of(file)
        part = _range(request.get_header("Range"), size) if request.method == "GET" else None
        if part is not None and request.get_header("If-Range") in (None, etag):
            first, last = part
            if first > last:
                file.close()
                response.status, response.content_type = 416, falcon.MEDIA_JSON
                response.set_header("Content-Range", f"bytes */{size}")
                return
            response.status = 206
            response.set_header("Content-Range", f"bytes {first}-{last}/{size}")
        else:
            first, last = 0, size - 1
        response.content_length = last - first + 1
        response.stream = _blocks(file, first, last, self._run)

    def _delivered(self, row, form, channels, track):
        """(the file that was delivered, or was made before, and its name) where it is what is asked for; else None.
        Blocks."""
        settings = row["settings"]
        if row["file"] and (form, channels, track) == (settings["format"], settings["channels"], settings["track"]):
            path = self._recordings_dir / row["file"]
            try:
                return sealed.opened(path, self._key(row), finished=True), path.name
            except FileNotFoundError:
                pass
            except MediaError:  # it is not by the recording's key
                raise _not_here(row) from None

        def made_before(master, key):
            _, target = _target(master, key, row, form, channels, track)
            return (sealed.opened(target, key, finished=True), target.name) if target.exists() else None

        with suppress(_NotHere):
            return self._of_master(row, made_before, self._recordings_dir / row["master"])
        return None

    def _made(self, asked, master, key):
        """(the file that is asked for, its name). Blocks for seconds."""
        row, form, channels, track = asked
        known, target = _target(master, key, row, form, channels, track)
        if not target.exists():  # who had the lock before may have made it
            self._need_room(master.parent)
            make = encode.to_mp3 if form == "mp3" else encode.to_wav
            make(known, target, channels, track)
        return sealed.opened(target, key, finished=True), target.name

    @contextmanager
    def _room_for(self, size_bytes):
        """So much of the disk is nobody else's here. Raises OSError where there is no room for it."""
        self._wanted_bytes += size_bytes
        try:
            self._run(self._need_room, (self._recordings_dir,))
            yield
        finally:
            self._wanted_bytes -= size_bytes

    def _need_room(self, directory):
        """What is left is for calls, and for what is on its way. Blocks."""
        disk = os.statvfs(directory)
        if disk.f_bavail * disk.f_frsize - self._wanted_bytes < disk.f_blocks * disk.f_frsize * self._alarm_below:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _of_master(self, row, make, master):
        key = self._key(row)
        try:
            sealed.opened(master, key, finished=True).close()
            return make(master, key)
        except (FileNotFoundError, MediaError):
            raise _NotHere from None
        except OSError as refused:
            raise _not_made() from refused

    def _key(self, row):
        try:
            return self._store.secrets.unwrap(row["account_id"], row["id"], row["data_key"])
        except StoreError:
            raise ApiError(404, "bad_identifier", {"message": "the audio is encrypted, and its key is lost"}) from None


def _not_made():
    return ApiError(503, "service_unavailable", {"message": "it cannot be made: the disk is full or fails"})


def _not_here(row):
    removed = row["audio_removed_ms"] is not None
    return ApiError(404, "bad_identifier", {
        "message": "the audio was removed here after its delivery" if removed else "the audio is not here: is its disk "
        "mounted?", "state": row["state"]})


def _kind(request) -> str:
    """The type of media that is asked for, `?accept=` before the header; types have no case (RFC 9110, 8.3.1). Raises
    ApiError for audio that is not made; of a header that has no audio, JSON is what comes."""
    kinds, said = (falcon.MEDIA_JSON, *FORMATS), request.get_param("accept")
    accepted = (request.accept if said is None else said).lower()
    if said is not None and accepted in kinds:
        return accepted
    try:
        kind = best_match(kinds, accepted) if said is None else ""
    except ValueError:  # it is no list of types
        kind = ""
    if not kind and (said is not None or "audio/" in accepted):
        raise ApiError(406, "not_acceptable", {"message": "not acceptable", "target": sorted(FORMATS)})
    return kind or falcon.MEDIA_JSON


def _target(master, key, row, form, channels, track):
    known = wav.probe(master, key)
    kind = track if track != "both" else "dual" if encode.channels_of(known, channels, track) == 2 else "mono"
    return known, master.with_name(names.played(row["id"], kind, form))


def _playable(row):
    if row["state"] in (*OPEN_STATES, "stopped"):
        raise ApiError(409, "conflict", {"message": "the recording is not finished", "state": row["state"]})
    return row["state"] == "recorded"


def one_of(name: str, said: str | None, row: dict) -> str:
    """What was said of `name` (format, channels or track), else the setting of the recording. Raises ApiError where
    there is no such."""
    said = row["settings"][name] if said is None else said
    if said not in CHOICES[name]:
        raise invalid(name, "enum", "Value not found in enumerated list of values", target=CHOICES[name])
    return said


def _range(said, size):
    """(first, last) byte; None for no Range, several or one that cannot be read: the whole is right then (RFC 9110,
    14.2). first > last where there is nothing of it."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", said or "")
    if not found or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return (max(0, size - int(last)), size - 1) if int(last) else (size, size - 1)
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last), size - 1) if last else size - 1


def _blocks(file, first, last, run):
    try:
        file.seek(first)
        left = last - first + 1
        while left and (block := run(file.read, (min(left, BLOCK_BYTES),))):
            left -= len(block)
            yield block
    finally:
        file.close()
