"""What was found of one thing, and what to do where it is wrong."""

from dataclasses import dataclass

from kazoo_rec.errors import KazooRecError

OK, WARNING, WRONG, SKIPPED = "ok", "warning", "wrong", "skipped"

#: Characters kept of a text that a caller or a document chose.
TEXT_LIMIT = 80


@dataclass(frozen=True, slots=True)
class Finding:
    """`name` is what was looked at, `state` one of ok, warning, wrong and skipped (it could not be looked at), `seen`
    what was there, `advice` what to do. `switch` is the name of the switch that it is about, else empty.

    Texts are on one line and safe to show: what is not printable is escaped.
    """

    name: str
    state: str
    seen: str
    advice: str = ""
    switch: str = ""

    def __post_init__(self):
        for field in ("seen", "advice"):
            object.__setattr__(self, field, printable(getattr(self, field)))


def ok(name: str, seen: str) -> Finding:
    return Finding(name, OK, seen)


def warning(name: str, seen: str, advice: str) -> Finding:
    """Works, or may be meant so; but look at it."""
    return Finding(name, WARNING, seen, advice)


def wrong(name: str, seen: str, advice: str) -> Finding:
    return Finding(name, WRONG, seen, advice)


def skipped(name: str, seen: str) -> Finding:
    return Finding(name, SKIPPED, seen)


def failed(name: str, error: KazooRecError, advice: str = "") -> Finding:
    """An error that says itself what is wrong."""
    return wrong(name, f"{error.message}: {error.detail}" if error.detail else error.message, error.hint or advice)


def shown(value: str) -> str:
    """A foreign text as part of another: quoted and cut."""
    return repr(value[:TEXT_LIMIT])


def several(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    """What is not printable, line breaks and lone surrogates among it, is escaped."""
    return text if text.isprintable() else "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode() for one in text)
