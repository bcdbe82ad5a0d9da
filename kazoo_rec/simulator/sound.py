"""Tones, and files of them: WAV as libsndfile writes it under FreeSWITCH."""

import os
import struct
from functools import lru_cache
from pathlib import Path

import numpy

#: Tones that the switch itself plays, Hz: to a caller who waits, and to a leg that was put on hold.
RINGBACK_HZ, MUSIC_HZ = 425, 280

#: Peak of a tone in a 16-bit sample; two of them mixed do not clip.
AMPLITUDE = 8000


@lru_cache(maxsize=256)
def _second_of(hz: int, rate: int):
    return (AMPLITUDE * numpy.sin(2 * numpy.pi * hz * numpy.arange(rate) / rate)).astype("<i2")


def tone(hz: int, rate: int, first: int, count: int):
    """`count` samples of a sine, from sample `first` of an endless one; 0 Hz is silence."""
    if not hz:
        return numpy.zeros(count, "<i2")
    at = first % rate  # numpy wraps by taking away again and again
    return numpy.take(_second_of(hz, rate), numpy.arange(at, at + count), mode="wrap")


def mixed(tones, rate: int, first: int, count: int):
    """Several tones at once."""
    whole = sum((tone(hz, rate, first, count).astype("<i4") for hz in tones if hz), numpy.zeros(count, "<i4"))
    return whole.clip(-32768, 32767).astype("<i2")


class RecordedFile:
    """A file that grows while a call goes on. A WAV says 8 and 0 bytes in its header until it is closed; files of other
    endings get bare samples.

    `buffer` is how many bytes the switch collects before it writes them, 0 for none; `comment` is in a LIST chunk
    before the audio. Raises OSError where it cannot be opened; `failed` says that something could not be written, as on
    a full disk: who sets `full` makes it one.
    """

    def __init__(self, path: str, rate: int, channels: int, buffer: int, append: bool, comment: str = ""):
        self.path, self._wav = Path(path), path.endswith(".wav")
        self._rate, self._channels, self._pending, self._comment = rate, channels, bytearray(), comment.encode()
        self.buffer, self.failed, self.full = buffer, False, False
        self.header_bytes = len(self._header(0, 0))
        for parent in reversed(self.path.parents):
            if not parent.exists():
                parent.mkdir(0o750, exist_ok=True)
        again = append and self.path.exists() and self.path.stat().st_size > 0
        mode = os.O_RDWR | os.O_CREAT | (0 if again else os.O_TRUNC)
        self._file = os.open(self.path, mode, 0o644)
        if again:
            os.lseek(self._file, 0, os.SEEK_END)
        elif self._wav:
            self._write(self._header(8, 0))
        if self.failed:
            os.close(self._file)
            raise OSError(f"no room for {path}")

    def write(self, samples):
        """Adds int16 samples of shape (frames,) or (frames, channels)."""
        self._pending += samples.tobytes()
        whole = len(self._pending) // self.buffer * self.buffer if self.buffer else len(self._pending)
        if whole:
            self._write(self._pending[:whole])
            del self._pending[:whole]

    def close(self) -> int:
        """Writes what is left and a true header; gives the file's size in bytes."""
        self._write(self._pending)
        size = os.fstat(self._file).st_size
        if self._wav:
            os.pwrite(self._file, self._header(size - 8, size - self.header_bytes), 0)
        os.close(self._file)
        return size

    def abandon(self):
        """The switch was killed: what it had not written is lost, the header stays as it was."""
        os.close(self._file)

    def remove(self):
        self.path.unlink(missing_ok=True)

    def _write(self, data):
        if self.full and data:
            self.failed = True
            return
        try:
            self.failed = os.write(self._file, data) < len(data) or self.failed
        except OSError:
            self.failed = True

    def _header(self, riff_bytes: int, data_bytes: int) -> bytes:
        step = 2 * self._channels
        return struct.pack("<4sI4s4sIHHIIHH", b"RIFF", riff_bytes, b"WAVE", b"fmt ", 16, 1, self._channels,
                           self._rate, self._rate * step, step, 16) + self._list() + struct.pack(
                               "<4sI", b"data", data_bytes)

    def _list(self):
        """As libsndfile writes it: an even number of bytes, the last of them 0."""
        if not self._comment:
            return b""
        text = self._comment + b"\0" * (2 - len(self._comment) % 2)
        return struct.pack("<4sI4s4sI", b"LIST", 12 + len(text), b"INFO", b"ICMT", len(text)) + text
