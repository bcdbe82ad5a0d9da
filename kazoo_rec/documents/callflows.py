"""The callflows of one account, found by the number that was called."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from math import prod
from typing import NamedTuple

#: Characters of the longest number that a callflow may have; what is longer was never dialled.
LONGEST_NUMBER = 36
#: Ways in which a pattern may be laid over a number; each is tried in the worst case, from each digit on, while every
#: call waits: 3 ms. Two parts of any length are 1,369.
MOST_WAYS = 1_500

#: The number of the callflow for numbers that no other has.
NO_MATCH = "no_match"

#: What a pattern is made of. Of escapes only classes and signs: no references, no assertions but ^ and $.
_ITEM = re.compile(r"""
    (?P<quantifier> [*+?] | \{ (?P<least>[0-9]{1,2}) (?P<range>,(?P<most>[0-9]{0,2}))? \} )
    | (?P<end> \) ) | (?P<alternative> \| )
    | (?: \\[dDsSwW] | \\[^A-Za-z0-9] | \[\^?\]?(?:\\[^A-Za-z0-9]|\\[dDsSwW]|[^\]\[\\])*\] | [^\\\[\](){}*+?|^$]
        | \(\?: | \((?!\?) | [\^$] )
""", re.VERBOSE)


class Match(NamedTuple):
    """A callflow's document for a number, and what its pattern captured."""

    document: Mapping
    captures: tuple[str, ...] = ()


class Callflows:
    """Of one account; `documents` as they are in the store, by id."""

    def __init__(self, documents: Mapping[str, Mapping]):
        self._documents = documents
        self._numbers: dict[str, Mapping] = {}
        self._patterns: list[tuple[re.Pattern, Mapping]] = []
        for document in documents.values():
            for number in document.get("numbers") or ():
                self._numbers.setdefault(number, document)
            for pattern in document.get("patterns") or ():
                with suppress(ValueError):  # a version before this one took it, and none of its calls
                    self._patterns.append((compiled(pattern), document))

    def get(self, callflow_id: str) -> Mapping | None:
        return self._documents.get(callflow_id)

    def match(self, number: str, between: Callable[[], object] = lambda: None) -> Match | None:
        """The exact number (with or without its +), then the pattern whose longest capture is the longest (all that it
        matched, where it captures nothing), then `no_match` for what is a telephone number; as Kazoo's cf_flow.

        `between` is called between patterns, for others to have their turn."""
        if not 1 <= len(number) <= LONGEST_NUMBER or number == NO_MATCH:
            return None
        for written in (number, number.removeprefix("+"), f"+{number}"):
            if written in self._numbers:
                return Match(self._numbers[written])
        found = []
        for pattern, document in self._patterns:
            if match := pattern.search(number):
                found.append(Match(document, _captured(match)))
            between()
        if found:
            return max(found, key=lambda match: max(map(len, match.captures)))
        if NO_MATCH in self._numbers and re.fullmatch(r"\+?[0-9]+", number):
            return Match(self._numbers[NO_MATCH])
        return None


def compiled(pattern: str) -> re.Pattern:
    """A pattern over numbers: characters, classes, groups, alternatives, * + ? {}, ^ and $.

    Raises ValueError for what is none, and for what may be laid over a number in so many ways that trying them takes
    long (`(a+)+`, `a?a?a?…`); a group may be optional, not repeated.
    """
    if prod(_ways(pattern)) > MOST_WAYS:
        raise ValueError("fits a number in too many ways")
    try:
        return re.compile(pattern, re.ASCII)
    except re.error as fault:
        raise ValueError(str(fault)) from None


def _ways(pattern: str) -> Iterator[int]:
    """Of each item in turn, in how many ways it may be laid over a number."""
    at, before = 0, None
    while at < len(pattern):
        item = _ITEM.match(pattern, at)
        if item is None:
            raise ValueError(f"{pattern[at:at + 8]!r} is not taken")
        if item["alternative"]:
            yield 2
        elif item["quantifier"] and before is not None and not before["quantifier"]:  # else ? and + make it lazy
            if before["end"] and item["quantifier"] != "?":
                raise ValueError("a group is not repeated")
            yield _lengths(item)
        at, before = item.end(), item


def _lengths(quantifier: re.Match) -> int:
    if quantifier["least"] is None:
        return 2 if quantifier["quantifier"] == "?" else LONGEST_NUMBER + 1
    least = int(quantifier["least"])
    most = int(quantifier["most"] or LONGEST_NUMBER) if quantifier["range"] else least
    return max(1, min(most, LONGEST_NUMBER) - least + 1)


def _captured(match: re.Match) -> tuple[str, ...]:
    return tuple(text or "" for text in match.groups()) or (match[0],)
