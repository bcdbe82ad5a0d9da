"""Whose turn it is: accounts take turns, however much each of them has waiting."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heapreplace


class Turns:
    """The next place is that of the account with the fewest at work; of several, of the one whose last turn is longest
    ago. So what hangs, or takes long, keeps no more places from the others than its account's share.
    """

    def __init__(self):
        self._given = 0
        # Account → which turn was its last, or the last of all before it came. Kept while it has nothing waiting: who
        # comes back from a rest does not go before who has waited.
        self._last: dict[str, int] = {}

    def give(self, queues: Iterable[tuple], at_work: Counter, take: Callable[[tuple], bool]):
        """Offers places until nobody takes one.

        Parameters:
          queues: tuples that begin with an account's id; of each account the one that comes first at the front.
          at_work: how many places each account has.
          take: takes a place for a queue, and says whether there was one for it.
        """
        waiting: dict[str, deque] = {}
        for queue in queues:
            waiting.setdefault(queue[0], deque()).append(queue)
        order = [(at_work[account], self._last.setdefault(account, self._given), account) for account in waiting]
        heapify(order)
        while order:
            busy, _, account = order[0]
            own = waiting[account]
            while own and not take(own[0]):
                own.popleft()
            if own:
                self._given += 1
                self._last[account] = self._given
                heapreplace(order, (busy + 1, self._given, account))
            else:
                heappop(order)
