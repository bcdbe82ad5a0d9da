"""User and password in URLs: where they stand, and how they are shown."""

import re
from collections.abc import Callable, Mapping

#: In the place of user and password, for people.
MASK = "********"

#: Keys of settings, orders and deliveries that have a URL.
URLS = frozenset(("url", "status_callback"))

#: Before `@`, of the authority of a URL (RFC 3986, 3.2); a backslash ends it for some parsers.
_URL = re.compile(r"(?P<scheme>https?|s3)://(?P<userinfo>[^/?#\\]+)@(?P<address>[^/?#@\\]*)(?P<rest>.*)", re.I | re.S)
#: To the last `@`: an unencoded password may have a slash.
_IN_TEXT = re.compile(r"//\S*@")


def masked(value):
    """A URL, or a tree of JSON with each of its URLS, with MASK for user and password."""
    return each(value, lambda url: with_userinfo(url, MASK))


def without_passwords(text: str) -> str:
    """A text of anything with MASK for what may be user and password of a URL in it, be it a broken one."""
    return _IN_TEXT.sub(f"//{MASK}@", text)


def restored(value, before):
    """A tree of JSON that was shown `masked` and came back, with what MASK stands for: what the tree `before` has of
    the same scheme, host and port, at the same place or, where all that it has agree, elsewhere.

    Raises LookupError with the dotted path of a URL of which that is not known.
    """
    there, known, lost = {}, {}, []

    def know(url, path):
        there[path] = url
        known.setdefault(origin(url), set()).add(url["userinfo"])

    def restore(url, path):
        if url["userinfo"] != MASK:
            return url[0]
        if path in there and origin(there[path]) == origin(url):
            return with_userinfo(url, there[path]["userinfo"])
        if len(found := known.get(origin(url), ())) == 1:
            return with_userinfo(url, *found)
        lost.append(".".join(path))
        return url[0]

    each(before, know, ())
    value = each(value, restore, ())
    if lost:
        raise LookupError(lost[0])
    return value


def each(value, change: Callable, path: tuple | None = None):
    """A URL, or a tree of JSON with each of its URLS, changed where it has a user: to `change(its match)`, or
    `change(its match, its path)` where a path is given."""
    if isinstance(value, str):
        found = _URL.fullmatch(value) if "@" in value else None
        return value if found is None else change(found) if path is None else change(found, path)
    if isinstance(value, Mapping):
        return {key: each(inner, change, path if path is None else (*path, str(key)))
                if key in URLS or not isinstance(inner, str) else inner for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner if isinstance(inner, str) else each(inner, change, path if path is None else (*path, str(place)))
                for place, inner in enumerate(value)]
    return value


def origin(url: re.Match) -> str:
    """`scheme://host:port`, as far as it is said, in lower case."""
    return f"{url['scheme']}://{url['address']}".lower()


def with_userinfo(url: re.Match, userinfo: str) -> str:
    return f"{url['scheme']}://{userinfo}@{url['address']}{url['rest']}"
