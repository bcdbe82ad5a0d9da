"""The audio of a recording over HTTP: which presentation, which part of it, never half a file."""

import re
from pathlib import Path
from weakref import WeakValueDictionary

import falcon
from gevent.lock import BoundedSemaphore

from kazoo_rec.api.envelope import ApiError, invalid, not_found
from kazoo_rec.errors import MediaError
from kazoo_rec.media import encode, wav
from kazoo_rec.media.peaks import peaks
from kazoo_rec.store.recordings import OPEN_STATES

FORMATS = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/wav": "wav", "audio/x-wav": "wav"}
TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav"}

CHOICES = {"format": ["mp3", "wav"], "channels": ["mono", "dual"], "track": ["both", "inbound", "outbound"]}

#: Read and sent at once.
BLOCK_BYTES = 256 * 1024


class Sound:
    """Parameters: `recordings_dir` as this host sees it, `run(function, args)` on a thread."""

    def __init__(self, recordings_dir: Path, run):
        self._recordings_dir, self._run = recordings_dir, run
        self._making = WeakValueDictionary()  # a presentation → the lock of who makes it: the others wait for his

    @staticmethod
    def asked_of(request, row) -> tuple[str, str, str] | None:
        """(format, channels, track) that a request names, else those of the recording's settings; None where it wants
        JSON. Raises ApiError for what is not made."""
        said = request.get_param("accept")
        if said is not None and said not in (*FORMATS, falcon.MEDIA_JSON):
            raise ApiError(406, "not_acceptable", {"message": "not acceptable", "target": sorted(FORMATS)})
        if request.get_param("inline", default="false") not in ("true", "false"):
            raise invalid("inline", "enum", "Value not found in enumerated list of values", target=["true", "false"])
        channels, track = (one_of(name, request.get_param(name), row) for name in ("channels", "track"))
        form = FORMATS.get(said or request.client_prefers((falcon.MEDIA_JSON, *FORMATS)))
        return form and (form, channels, track)

    def play(self, request, response, row, form, channels, track):
        """Fills the response with the file, or the part that Range asks for."""
        request.context.sent = f"{form} {channels} {track}"
        with self._making.setdefault((row["id"], form, channels, track), BoundedSemaphore()):
            path = self._run(self._presentation, (row, form, channels, track))
        response.set_header("Accept-Ranges", "bytes")
        response.set_header("X-Request-ID", request.context.request_id)
        response.set_header("Vary", "Accept")
        response.cache_control = ["private", "no-cache"]
        inline = request.get_param("inline") == "true"
        response.set_header("Content-Disposition", f'{"inline" if inline else "attachment"}; filename="{path.name}"')
        etag = f'"{row["sha256"][:32]}-{form}-{channels}-{track}"'
        response.set_header("ETag", etag)
        if etag in (request.get_header("If-None-Match") or ""):
            response.status = 304
            return
        response.content_type = TYPES[form]
        self._send(request, response, path, etag)

    def peaks(self, row, points):
        """See `media.peaks`."""
        return self._run(self._of_master, (row, lambda master: peaks(master, points)))

    def _send(self, request, response, path, etag):
        file = self._run(open, (path, "rb"))
        size = path.stat().st_size
        part = _range(request.get_header("Range"), size)
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

    def _presentation(self, row, form, channels, track):
        """The file that is asked for; made where it is not what was delivered. Blocks."""
        def made(master):
            known = wav.probe(master)
            count = encode.channels_of(known, channels, track)
            kind = track if track != "both" else "dual" if count == 2 else "mono"
            target = master.with_name(f"{row['id']}.{kind}.{form}")
            if not target.exists():
                make = encode.to_mp3 if form == "mp3" else encode.to_wav
                make(known, target, channels, track)
            return target

        settings = row["settings"]
        if row["file"] and (form, channels, track) == (settings["format"], settings["channels"], settings["track"]):
            file = self._recordings_dir / row["file"]
            if _playable(row) and file.exists():
                return file
        return self._of_master(row, made)

    def _of_master(self, row, make):
        if not _playable(row):
            raise not_found(row["id"])
        try:
            return make(self._recordings_dir / row["master"])
        except (FileNotFoundError, MediaError):
            raise ApiError(404, "bad_identifier", {
                "message": "the audio is not here: it was removed after its delivery, or its disk is not mounted",
                "state": row["state"]}) from None


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
