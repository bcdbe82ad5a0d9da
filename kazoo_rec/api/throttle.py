"""Holds up who guesses: failures of each guesser, forgiven one by one with time."""

from collections import OrderedDict
from collections.abc import Hashable

from kazoo_rec.api.envelope import ApiError

#: Failures in a row that a guesser has free, and seconds after which one is forgiven.
FREE, FORGIVEN_S = 10, 6.0

#: Times as many failures that an address has free, and has forgiven in the same time, where many log in from it.
SHARED = 8

#: Guessers kept in mind; the longest quiet is forgotten first.
GUESSERS = 10_000


class Throttle:
    """`clock()` gives seconds. A guesser is an address, or an address and what it guesses at; `shared` is what many
    guessers have in common, which has SHARED times as many failures."""

    def __init__(self, clock):
        self._clock = clock
        self._failures: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def attempt(self, guesser: Hashable, shared: Hashable = None):
        """Counts a failure, before the work that tells whether it is one: who guesses many at once has no more free.
        Raises ApiError (429) where the guesser has to wait, and counts nothing then: nobody is forgotten for it."""
        counts = {one: self._left(one) + share for one, share in _shares(guesser, shared)}
        if (wait_s := (max(counts.values()) - FREE) * FORGIVEN_S) > 0:
            raise ApiError(429, "too_many_requests", {"message": "too many failures"}, retry_after_s=int(wait_s) + 1)
        for one, count in counts.items():
            self._failures[one] = (count, self._clock())
            self._failures.move_to_end(one)
        while len(self._failures) > GUESSERS:
            self._failures.popitem(last=False)

    def succeeded(self, guesser: Hashable, shared: Hashable = None):
        """It was none."""
        for one, share in _shares(guesser, shared):
            self._failures[one] = (max(0.0, self._left(one) - share), self._clock())

    def _left(self, guesser):
        count, at = self._failures.get(guesser, (0.0, 0.0))
        return max(0.0, count - (self._clock() - at) / FORGIVEN_S)


def _shares(guesser, shared):
    return [(guesser, 1.0), *([(shared, 1 / SHARED)] if shared is not None else [])]
