"""A trace as a file of JSON lines, in the order in which they were read from the switch:

    {"t": 0.04, "event": {"Event-Name": "CHANNEL_CREATE", …}}
    {"t": 0.01, "t_reply": 0.02, "command": "api show registrations as json", "reply": "…"}
    {"t": 0.0, "note": "…"}

`t` is in seconds since the trace began. Values of an event are texts or lists of texts; bytes that are not UTF-8 are
lone surrogates (`surrogateescape`), which JSON escapes.
"""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

from kazoo_rec.errors import TraceError

#: The longest line that is read: `show channels` of 30,000 legs.
LINE_BYTES = 64 * 1024 * 1024


class Trace:
    """Reads a trace. Once all was read, `cut_short` tells whether the last line was left out, as it is not whole."""

    def __init__(self, path: Path):
        self.path, self.cut_short = path, False

    def __iter__(self) -> Iterator[dict]:
        """Its lines. Raises TraceError for what is none, with the number of the line."""
        try:
            with open(self.path, "rb") as file:
                yield from self._lines(file)
        except OSError as unreadable:
            raise TraceError("a trace cannot be read", f"{str(self.path)!r}: {unreadable.strerror}") from unreadable

    def _lines(self, file):
        number = 0
        while text := file.readline(LINE_BYTES):
            number += 1
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                if number > 1 and not text.endswith(b"\n") and not file.read(1):
                    self.cut_short = True
                    return
                raise self._broken(number, "is not JSON") from None
            fault = _fault(line)
            if fault:
                raise self._broken(number, fault)
            yield line

    def _broken(self, number, fault):
        return TraceError("this is no trace", f"{str(self.path)!r}, line {number}: {fault}",
                          "`kazoo-rec trace` makes one; it has an event, a reply or a note on each line")


def _fault(line) -> str | None:
    if not isinstance(line, dict):
        return "is not an object"
    if "of" in line:
        return "has an event in part (`of`), and only whole ones are read"
    at = line.get("t")
    if isinstance(at, bool) or not isinstance(at, int | float) or not math.isfinite(at) or at < 0:
        return "has no time `t` in seconds"
    if not isinstance(line.get("event", {}), dict):
        return "has an event that is not an object"
    if not all(isinstance(line.get(name, ""), str) for name in ("command", "reply")):
        return "has a command or a reply that is not text"
    return None


class Writer:
    """Writes a new trace, for its owner's eyes alone; each line is in the file when `write` returns.

    Raises TraceError; what was written before stays whole.
    """

    def __init__(self, path: Path):
        self._path = path
        try:
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        except FileExistsError:
            raise TraceError("the trace was not begun", f"{str(path)!r} is there already",
                             "choose another name: nothing is overwritten") from None
        except OSError as refused:
            raise self._failed(refused) from refused

    def write(self, line: dict):
        text = json.dumps(line, separators=(",", ":")).encode()
        try:
            self._file.write(text + b"\n")
            self._file.flush()
        except OSError as refused:
            raise self._failed(refused) from refused

    def close(self):
        try:
            self._file.close()
        except OSError as refused:
            raise self._failed(refused) from refused

    def _failed(self, refused):
        return TraceError("the trace cannot be written", f"{str(self._path)!r}: {refused.strerror}")
