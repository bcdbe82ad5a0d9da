"""Where in an object store: `s3://bucket/prefix`, as settings and the configuration say it, and who may write there."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import starmap
from urllib.parse import unquote

from kazoo_rec.errors import TargetError

#: In a place of the configuration: the account whose recording it is.
ACCOUNT = "{account_id}"

#: Amazon S3, "General purpose bucket naming rules": what ends in --x-s3 or --op-s3 has other hosts and signatures;
#: letters, digits and what needs no encoding in the names of objects.
_BUCKET = re.compile(r"(?=.{3,63}\Z)(?!\d+\.\d+\.\d+\.\d+\Z)(?!.*--(?:x|op)-s3\Z)"
                     r"[a-z0-9](?:[a-z0-9-]|\.(?!\.))*[a-z0-9]")
_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9!_.*'()=+@:,-]+")
_ACCESS_KEY = re.compile(r"[A-Za-z0-9._-]+")
_URL = re.compile(r"s3://(?:(?P<userinfo>[!-.0-9:-?A-~]*)@)?(?P<bucket>[^/@]*)(?P<prefix>(?:/.*)?)", re.S)

_HINT = "write it as s3://bucket/prefix"


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and the segments of a prefix; `keys` are (access key, secret key) where the URL has them."""

    bucket: str
    prefix: tuple[str, ...]
    keys: tuple[str, str] | None = field(default=None, repr=False)

    def within(self, other: "Place") -> bool:
        return self.bucket == other.bucket and self.prefix[:len(other.prefix)] == other.prefix

    def key(self, name: str) -> str:
        """Of an object."""
        return "/".join((*self.prefix, name))


def is_one(url: str) -> bool:
    return url.startswith("s3://")


def place(url: str) -> Place:
    """Raises TargetError for what is none, or has a user without a password."""
    found = _URL.fullmatch(url)
    if found is None:
        raise TargetError("not a place in an object store", "it is no URL of one", _HINT)
    if not _BUCKET.fullmatch(found["bucket"]):
        raise TargetError("not a place in an object store", "its bucket has no name that a bucket may have",
                          "3 to 63 lower-case letters, digits, - and ., not --x-s3 or --op-s3 at its end")
    prefix = found["prefix"].strip("/")
    segments = tuple(prefix.split("/")) if prefix else ()
    if not all(map(_SEGMENT.fullmatch, segments)):
        raise TargetError("not a place in an object store", "its prefix has an empty part, `.`, `..` or a character "
                          "that names of objects should not have", "letters, digits and !_.*'()=+@:,- between slashes")
    if found["userinfo"] is None:
        return Place(found["bucket"], segments)
    access_key, _, secret_key = found["userinfo"].partition(":")
    secret_key = unquote(secret_key)
    if not _ACCESS_KEY.fullmatch(access_key) or not secret_key.isprintable() or not secret_key:
        raise TargetError("not a place in an object store", "what is before @ is no pair of keys",
                          "s3://ACCESSKEY:SECRETKEY@bucket/prefix, with %2F for / in SECRETKEY")
    return Place(found["bucket"], segments, (access_key, secret_key))


def of_account(said: str, account_id: str) -> Place | None:
    """A place of the configuration as it is for an account; None where there is none for this one."""
    try:
        return place(said.replace(ACCOUNT, account_id))
    except TargetError:
        return None


def overlap(said: str, others: Iterable[str]) -> str | None:
    """The first of `others` that has, for some account, objects that `said` has as well; places of a configuration."""
    def segments(one):
        return one.removeprefix("s3://").strip("/").split("/")

    def may_be_one(first, second):
        return ACCOUNT in first or ACCOUNT in second or first == second

    for other in others:
        if all(starmap(may_be_one, zip(segments(said), segments(other), strict=False))):
            return other
    return None
