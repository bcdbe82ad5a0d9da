"""How each account fares with each server: a queue is (account_id, host). What one tenant's URL does says nothing of
another's at the same host.

A queue is *proven* once its server took something, *failing* since its last attempt failed through no fault of the
file's, and *new* before the first attempt of this process. What fails is kept in the store, as a restart that asked
twenty dead servers at once would have no place for the others.
"""

from collections import Counter, OrderedDict

from kazoo_rec.delivery.http import Failure, Proof

#: Milliseconds for which a server that failed twice in a row is not asked; doubled with each further time, up to the
#: last. What waits is then not sent to fail one by one, and goes on within a minute of the server's return.
REST_FIRST_MS, REST_LAST_MS = 1_000, 60_000

#: Milliseconds for which a server may ask not to be asked (Retry-After).
REST_ASKED_MS = 3_600_000

#: Queues that are remembered as proven: one that is forgotten begins with one upload instead of several.
PROVEN_MOST = 10_000

PROVEN, FAILING, NEW = "proven", "failing", "new"


class Servers:
    """Of one node.

    Parameters:
      rows: `Store.failing_servers`.
    """

    def __init__(self, rows, node: str):
        self._rows, self._node = rows, node
        self._failing: dict[tuple[str, str], tuple[int, int]] | None = None  # queue → (failures, rests until ms)
        self._accounts = Counter()  # of what is failing
        self._proven: OrderedDict[tuple[str, str], int] = OrderedDict()  # queue → since when (ms)

    def look(self, queues):
        """`queues` are all that have something due. Reads what was known before a restart; forgets the others."""
        if self._failing is None:
            self._failing = {(row["account_id"], row["host"]): (row["failures"], row["rests_until_ms"])
                             for row in self._rows.all(self._node)}
            self._accounts.update(account_id for account_id, _ in self._failing)
        for queue in self._failing.keys() - set(queues):
            self._forget(queue)

    def standing(self, queue) -> str:
        """PROVEN, FAILING or NEW."""
        return FAILING if queue in self._failing else PROVEN if queue in self._proven else NEW

    def fail(self, account_id: str) -> bool:
        """Whether any of an account's is failing."""
        return account_id in self._accounts

    def rests(self, queue, now_ms: int) -> bool:
        """Whether it is not to be asked yet. A clock that was put back lets nothing rest for longer."""
        _, until_ms = self._failing.get(queue, (0, now_ms))
        return 0 < until_ms - now_ms <= REST_ASKED_MS

    def told(self, queue, outcome: Proof | Failure, now_ms: int):
        """What came of an upload: a Failure that is of the file alone changes nothing."""
        if isinstance(outcome, Proof):
            if queue in self._failing:
                self._forget(queue)
            self._proven.setdefault(queue, now_ms)
            self._proven.move_to_end(queue)
            if len(self._proven) > PROVEN_MOST:
                self._proven.popitem(last=False)
        elif outcome.of_server:
            self._proven.pop(queue, None)
            self._accounts[queue[0]] += queue not in self._failing
            failures = self._failing.get(queue, (0, 0))[0] + 1
            rest_ms = min(REST_FIRST_MS * 2 ** min(failures - 2, 16), REST_LAST_MS) if failures > 1 else 0
            rest_ms = max(rest_ms, min((outcome.retry_after_s or 0) * 1000, REST_ASKED_MS))
            self._failing[queue] = failures, round(now_ms + rest_ms)
            self._rows.add(self._node, *queue, *self._failing[queue])

    def late_ms(self, queues, now_ms: int) -> int:
        """By how much the first of `queues` (account_id, host, planned ms) is late. What a failing server keeps waiting
        is not, nor what was planned before it took anything again."""
        return max((now_ms - max(planned_ms, self._proven.get((account_id, host), 0))
                    for account_id, host, planned_ms in queues if (account_id, host) not in (self._failing or ())),
                   default=0)

    @property
    def failing(self) -> int:
        """How many queues are."""
        return len(self._failing or ())

    def _forget(self, queue):
        del self._failing[queue]
        self._accounts -= Counter(queue[:1])
        self._rows.remove(self._node, *queue)
