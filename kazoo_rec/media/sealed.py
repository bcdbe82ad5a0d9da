"""Files of audio that are encrypted, and read as if they were not; the format is in docs/secrets.md.

AES-256-GCM over chunks, each with its number and whether it is the last in its nonce (STREAM: Hoang, Reyhanitabar,
Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance"), so that a file that was cut,
put in another order or changed is no audio. Each file has a key of its own, made of the recording's and of a salt.
"""

import fcntl
import io
import os
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kazoo_rec.errors import MediaError
from kazoo_rec.media.names import PART

#: What a sealed file begins with; no file of sound does.
MAGIC = b"kazoo_rec sealed"
SALT_BYTES = 16

#: Of plain text in each chunk but the last, and of its tag.
CHUNK_BYTES, TAG_BYTES = 65_536, 16

#: What was finished is ours alone; FreeSWITCH's group reads masters that it writes itself.
FILE_MODE = 0o600

_HEAD_BYTES = len(MAGIC) + SALT_BYTES
_STEP_BYTES = CHUNK_BYTES + TAG_BYTES


def opened(path: Path, key: bytes | None, finished: bool = False) -> BinaryIO:
    """A file to read and seek in, sealed or not; where its recording is `finished` and has a key, sealed alone.

    Raises MediaError for one that is sealed and is not whole, or not by `key` (32 bytes), here or while it is read, and
    for one that somebody put in the place of a sealed one; OSError as `open` does.
    """
    file = open(path, "rb")  # noqa: SIM115 - who asked closes it
    try:
        if os.pread(file.fileno(), len(MAGIC), 0) == MAGIC:
            file.seek(len(MAGIC))
            return io.BufferedReader(_Reader(file, key), CHUNK_BYTES)
        if finished and key is not None:
            raise MediaError("the file is not sealed, and its recording is")
    except BaseException:
        file.close()
        raise
    return file


def is_sealed(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def size_of(file: BinaryIO) -> int:
    """Bytes that there are to be read; the file is then at its beginning."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def seal(path: Path, key: bytes):
    """Puts a sealed file in the place of a plain one, at once; one that is sealed stays."""
    with opened(path, key) as plain:
        if isinstance(plain.raw, _Reader):
            return
        with published(path, key) as file:
            while block := plain.read(16 * CHUNK_BYTES):
                file.write(block)


@contextmanager
def published(target: Path, key: bytes | None = None):
    """A file that appears under its name when it is complete and on the disk, sealed where there is a key; on an error
    nothing is left of it. What a killed process left of it is written over."""
    file, part = _part(target)
    with file:
        try:
            if key is None:
                yield file
            else:
                sealing = _Writer(file, key)
                yield sealing
                sealing.end()
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException:
            with suppress(FileNotFoundError):
                part.unlink()
            raise
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _part(target):
    """The beginning of `target`, empty and ours: who makes the same file meanwhile, this process or another, has one of
    another name."""
    path = target.with_name(target.name + PART)
    while True:
        file = open(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE), "r+b")  # noqa: SIM115 - `published` closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                file.truncate()
                return file, path
        except FileNotFoundError:
            pass  # it was complete in between, and has its name now
        except BlockingIOError:
            path = target.with_name(f"{target.name}.{uuid.uuid4().hex}{PART}")
        file.close()


def remove_abandoned(part: str):
    """Removes what was to become a file, unless somebody writes it."""
    with suppress(OSError), open(part, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(part)


def _cipher(key, salt):
    return AESGCM(HKDF(SHA256(), 32, salt, b"kazoo_rec: file").derive(key))


def _nonce(number, last):
    return number.to_bytes(11, "big") + bytes([last])


class _Writer:
    """What `wave` and an encoder need of a file."""

    def __init__(self, file, key):
        salt = os.urandom(SALT_BYTES)
        self._file, self._cipher = file, _cipher(key, salt)
        self._waiting, self._number = bytearray(), 0
        file.write(MAGIC + salt)

    def write(self, data):
        self._waiting += data
        done = 0
        while len(self._waiting) - done > CHUNK_BYTES:  # what may be the last waits
            self._put(self._waiting[done:done + CHUNK_BYTES], last=False)
            done += CHUNK_BYTES
        del self._waiting[:done]
        return len(data)

    def flush(self):
        """`end` has to tell what is the last."""

    def end(self):
        self._put(self._waiting, last=True)

    def _put(self, chunk, last):
        self._file.write(self._cipher.encrypt(_nonce(self._number, last), bytes(chunk), None))
        self._number += 1


class _Reader(io.RawIOBase):
    """What was sealed, from any place on."""

    def __init__(self, file, key):
        super().__init__()
        if key is None:
            raise MediaError("the file is sealed, and its recording has no key")
        body = os.fstat(file.fileno()).st_size - _HEAD_BYTES
        count, rest = divmod(body, _STEP_BYTES)
        self._file, self._last = file, count if rest else count - 1
        if self._last < 0 or 0 < rest < TAG_BYTES:
            raise MediaError("the sealed file was cut")
        self._size, self._at = body - (self._last + 1) * TAG_BYTES, 0
        self._cipher = _cipher(key, file.read(SALT_BYTES))
        self._known = None, b""
        self._chunk(self._last)  # cut between two chunks, it has none that says that it is the last

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self._at

    def seek(self, offset, whence=os.SEEK_SET):
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer):
        if self._at >= self._size:
            return 0
        number, offset = divmod(self._at, CHUNK_BYTES)
        found = self._chunk(number)[offset:offset + len(buffer)]
        buffer[:len(found)] = found
        self._at += len(found)
        return len(found)

    def close(self):
        self._file.close()
        super().close()

    def _chunk(self, number):
        if self._known[0] != number:
            self._file.seek(_HEAD_BYTES + number * _STEP_BYTES)
            plain, text = None, self._file.read(_STEP_BYTES)
            with suppress(InvalidTag):
                plain = self._cipher.decrypt(_nonce(number, number == self._last), text, None)
            if plain is None:
                raise MediaError("the sealed file is not whole, or its key is another", f"chunk {number}")
            self._known = number, memoryview(plain)
        return self._known[1]
