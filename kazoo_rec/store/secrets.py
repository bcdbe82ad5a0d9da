"""User and password of URLs, encrypted in everything that is stored; keys of recordings, wrapped.

A sealed URL is still one: in the place of `user:password@` it has `sealed:KEY.TEXT@`, where TEXT is what stood there,
by AES-SIV (RFC 5297), bound to scheme, host and port: moved to another host it does not open. AES-SIV makes the same
of the same, so a document that is read again is seen to be unchanged.

A recording that is encrypted has a key of its own, wrapped as KEY.TEXT by its account's, which is made of the first
key.

The keys are those of the environment variable KAZOO_REC_KEY, else of the file `<database>.key`: 32 bytes each in
base64, parted by blanks or lines. The first seals, all open. A file that changes is read again before anything is
sealed, so that all processes seal by a new key from its first moment on.
"""

import fcntl
import hashlib
import os
import re
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from kazoo_rec.errors import StoreError
from kazoo_rec.store.urls import each, origin, with_userinfo

ENVIRONMENT = "KAZOO_REC_KEY"

#: Bytes of a key.
KEY_BYTES = 32

_SEALED = re.compile(r"sealed:([0-9a-f]{8})\.([A-Za-z0-9_-]+)")


class Secrets:
    """The keys of a database; those of the environment are as they were at the start."""

    def __init__(self, beside: str, environ: Mapping = os.environ):
        """Raises StoreError where there is none, or it is none."""
        self._said, self._file = environ.get(ENVIRONMENT), key_file(beside)
        self._keys: dict[str, bytes] = {}
        self._seen = None
        self.read()

    @property
    def older(self) -> list[str]:
        """The ids of the keys that open and do not seal."""
        return list(self._keys)[1:]

    @property
    def place(self) -> str:
        """Where the keys are said."""
        return str(self._file) if self._said is None else ENVIRONMENT

    @property
    def key_id(self) -> str:
        """Of the key that seals."""
        return next(iter(self._keys))

    def has(self, key_id: str) -> bool:
        return key_id in self._keys

    def has_all(self, others: "Secrets") -> bool:
        """Whether each key of others is here."""
        return others._keys.keys() <= self._keys.keys()

    def seal(self, value):
        """A URL, or a tree of JSON with each of its URLS, with user and password sealed by the first key. What is
        sealed by a key that is not here stays as it is."""
        self._look()
        return each(value, self._sealed)

    def open(self, value):
        """As `seal`, the other way. Raises StoreError, for a tenant to read, where a key is not there."""
        return each(value, self._opened)

    def open_known(self, value):
        """As `open`; what has no key here stays as it is."""
        return each(value, lambda url: self._plain(url) or url[0])

    def wrap(self, account_id: str, recording_id: str, data_key: bytes) -> str:
        """The key of a recording, as its row has it."""
        self._look()
        key_id = self.key_id
        text = self._of_account(key_id, account_id).encrypt(data_key, [recording_id.encode()])
        return f"{key_id}.{urlsafe_b64encode(text).decode()}"

    def unwrap(self, account_id: str, recording_id: str, wrapped: str | None) -> bytes | None:
        """The other way; None where the recording is not encrypted. Raises StoreError where the key is not there."""
        if wrapped is None:
            return None
        key_id, _, text = wrapped.partition(".")
        if key_id not in self._keys:
            self._look()  # a new one may have been made meanwhile
        with suppress(KeyError, InvalidTag, ValueError):
            return self._of_account(key_id, account_id).decrypt(urlsafe_b64decode(text), [recording_id.encode()])
        raise StoreError("the recording is encrypted, and its key is not there", key_id,
                         "bring that key back: without it the audio is lost")

    def _of_account(self, key_id, account_id):
        return _cipher(self._keys[key_id], f"kazoo_rec: recordings of {account_id}")

    def _of_urls(self, key_id):
        return _cipher(self._keys[key_id], "kazoo_rec: credentials of URLs")

    def _sealed(self, url):
        found, userinfo, key_id = _SEALED.fullmatch(url["userinfo"]), url["userinfo"], self.key_id
        if found and found[1] not in self._keys:
            return url[0]
        if found:
            opened = self._userinfo(url, *found.groups())
            if opened is not None and found[1] == key_id:
                return url[0]
            userinfo = userinfo if opened is None else opened
        text = self._of_urls(key_id).encrypt(userinfo.encode(), [origin(url).encode()])
        return with_userinfo(url, f"sealed:{key_id}.{urlsafe_b64encode(text).decode().rstrip('=')}")

    def _opened(self, url):
        plain = self._plain(url)
        if plain is None:
            raise StoreError("user and password of a URL cannot be opened",
                             f"{origin(url)}, by key {_SEALED.fullmatch(url['userinfo'])[1]}",
                             "bring back the key that they were sealed by, or say them again in the document")
        return plain

    def _plain(self, url):
        """The URL in clear, None where it is sealed and has no key here."""
        found = _SEALED.fullmatch(url["userinfo"])
        if not found:
            return url[0]
        opened = self._userinfo(url, *found.groups())
        return None if opened is None else with_userinfo(url, opened)

    def _userinfo(self, url, key_id, text):
        """What is sealed, None where it is by no key here."""
        if key_id not in self._keys:
            self._look()  # a new one may have been made meanwhile
        with suppress(InvalidTag, ValueError, KeyError):
            return self._of_urls(key_id).decrypt(urlsafe_b64decode(text + "=" * (-len(text) % 4)),
                                                 [origin(url).encode()]).decode()
        return None

    def _look(self):
        """Reads the file where it is another than before. Where it is none that can be used, what is known is: who runs
        goes on, who starts does not."""
        if self._said is None:
            with suppress(OSError, StoreError):
                if _identity(self._file) != self._seen:
                    self.read()

    def read(self) -> str:
        """Takes the keys as they are said now; the result is the `key_id`. Raises StoreError."""
        said = self._said
        if said is None:
            try:
                seen, said = _identity(self._file), self._file.read_text()
            except (OSError, UnicodeDecodeError) as refused:
                raise StoreError("the key of the database cannot be read", f"{self._file}: {refused}",
                                 f"bring it back, or say it as {ENVIRONMENT}: without it no password of a URL can be "
                                 "read any more") from refused
        keys = [_key(word, self.place) for word in said.split()]
        if not keys:
            raise StoreError("there is no key", self.place, "bring it back")
        self._keys = dict(keys)
        if self._said is None:
            self._seen = seen
        return self.key_id


def forged(value) -> str | None:
    """The dotted path of a URL that looks sealed, in a tree of JSON that somebody gave us; None where there is none.
    Ours are not shown to anybody."""
    found = []

    def look(url, path):
        if _SEALED.fullmatch(url["userinfo"]):
            found.append(".".join(path))
        return url[0]

    each(value, look, ())
    return found[0] if found else None


def key_file(beside: str) -> Path:
    return Path(f"{beside}.key")


def make_key(file: Path):
    """A new key, before those that there are, in a file that is its owner's alone (0600). Durable, whole or not at all;
    of two that are made at once each is there.

    Raises OSError.
    """
    file = Path(os.path.realpath(file))
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        known = file.read_text() if file.exists() else ""
        _put(file, f"{b64encode(os.urandom(KEY_BYTES)).decode()}\n{known}", directory)
    finally:
        os.close(directory)


def copy_key(source: Path, target: Path):
    """The keys of one file in another, as `make_key` makes it. Raises OSError."""
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        _put(target, source.read_text(), directory)
    finally:
        os.close(directory)


def _put(file, text, directory):
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)  # with another mode, perhaps
    with open(part, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(part, file)
    os.fsync(directory)


def _identity(file):
    found = os.stat(file)
    return found.st_ino, found.st_mtime_ns, found.st_size


def _key(word, place):
    try:
        key = b64decode(word, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise StoreError("this is no key", str(place), f"{KEY_BYTES} bytes in base64: `openssl rand -base64 32`")
    return hashlib.sha256(b"kazoo_rec: id of a key" + key).hexdigest()[:8], key


@lru_cache(maxsize=1_000)
def _cipher(key, use):
    return AESSIV(HKDFExpand(SHA512(), 64, use.encode()).derive(key))
