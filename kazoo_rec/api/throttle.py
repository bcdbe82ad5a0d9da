"""Holds up who guesses: failures of each guesser, forgiven one by one with time."""

from collections import OrderedDict
from collections.abc import Hashable

from kazoo_rec.api.envelope import ApiError

#: Failures in a row that a guesser has free, and seconds after which one is forgiven.
FREE, FORGIVEN_S = 10, 6.0

#: Guessers kept in mind; the longest quiet is forgotten first.
GUESSERS = 10_000


class Throttle:
    """`clock()` gives seconds. A guesser is an address, or an address and what it guesses at."""

    def __init__(self, clock):
        self._clock = clock
        self._failures: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def attempt(self, guesser: Hashable):
        """Counts a failure, before the work that tells whether it is one: who guesses many at once has no more free.
        Raises ApiError (429) where the guesser has to wait."""
        count = self._left(guesser)
        if (wait_s := (count - FREE + 1) * FORGIVEN_S) > 0:
            raise ApiError(429, "too_many_requests", {"message": "too many failures"}, retry_after_s=int(wait_s) + 1)
        self._failures[guesser] = (count + 1, self._clock())
        self._failures.move_to_end(guesser)
        if len(self._failures) > GUESSERS:
            self._failures.popitem(last=False)

    def succeeded(self, guesser: Hashable):
        """It was none."""
        self._failures[guesser] = (max(0.0, self._left(guesser) - 1), self._clock())

    def _left(self, guesser):
        count, at = self._failures.get(guesser, (0.0, 0.0))
        return max(0.0, count - (self._clock() - at) / FORGIVEN_S)
