"""Holds up who guesses: failures per address, each forgiven after some time."""

from collections import OrderedDict

from kazoo_rec.api.envelope import ApiError

#: Failures in a row that an address has free, and seconds after which one is forgiven.
FREE, FORGIVEN_S = 10, 6.0

#: Addresses kept in mind; the longest quiet is forgotten first.
ADDRESSES = 10_000


class Throttle:
    """`clock()` gives seconds."""

    def __init__(self, clock):
        self._clock = clock
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until this address is listened to again; 0 where it is."""
        return max(0.0, (self._left(address) - FREE + 1) * FORGIVEN_S)

    def check(self, address: str):
        """Raises ApiError (429) where this address has to wait."""
        if (wait_s := self.wait_s(address)) > 0:
            raise ApiError(429, "too_many_requests", {"message": "too many failures"}, retry_after_s=int(wait_s) + 1)

    def failed(self, address: str):
        """One more failure of this address."""
        self._failures[address] = (self._left(address) + 1, self._clock())
        self._failures.move_to_end(address)
        if len(self._failures) > ADDRESSES:
            self._failures.popitem(last=False)

    def _left(self, address):
        count, at = self._failures.get(address, (0.0, 0.0))
        return max(0.0, count - (self._clock() - at) / FORGIVEN_S)
