"""What is at work: each row in a greenlet of its own, and what cannot be written down set aside for a while."""

from collections import Counter
from collections.abc import Callable, Mapping

import gevent
import structlog

from kazoo_rec.delivery import http
from kazoo_rec.delivery.disk import refuses
from kazoo_rec.delivery.places import Place

#: Milliseconds after a first failure; each further one doubles it, up to the last.
RETRY_FIRST_MS, RETRY_LAST_MS = 5_000, 3_600_000

#: Rows of one queue that may be set aside: when none of them may be tried yet, no further one is.
ASIDE_MOST = 100

log = structlog.get_logger()


class Jobs:
    """Parameters:
      now_at: milliseconds that no jump of a clock moves.
      spread: numbers of [0, 1), for the jitter of retries.
      ended: called with its Place when a row's work has ended.
      disk_full: called with an error that says that the disk takes nothing more; its row is not set aside.
    """

    def __init__(self, now_at, spread, ended, disk_full):
        self._now_at, self._spread, self._ended, self._disk_full = now_at, spread, ended, disk_full
        self._at_work: dict = {}  # id of a recording or delivery → (its greenlet, its place)
        self._aside: dict = {}  # queue → {the same ids → (failures, not before `now_at`)}

    @property
    def greenlets(self) -> list[gevent.Greenlet]:
        return [greenlet for greenlet, _ in self._at_work.values()]

    def begin(self, row: Mapping, place: Place, work: Callable):
        """Has `work(row)` done."""
        self._at_work[row["id"]] = gevent.spawn(self._do, row, place.queue, work), place

    def move(self, row: Mapping, place: Place):
        """What is at work with a row has another place from now on."""
        self._at_work[row["id"]] = self._at_work[row["id"]][0], place

    def take(self, queues: list[tuple], give, read, begin):
        """Begins what there are places for.

        Parameters:
          give: {queue: how many of it may begin}, of these queues, with these places taken.
          read: rows, of each queue as many as it is called with, but for the ids that it is called with. A queue that
            has fewer leaves its places to others.
          begin: called with queue and row.
        """
        queues = [queue for queue in queues if not self.stuck(queue)]
        while given := give(queues, [place for _, place in self._at_work.values()]):
            begun = Counter()
            for row in self.free(given, read):
                queue = row["account_id"], *([row["host"]] if "host" in row else [])
                if begun[queue] < given[queue]:
                    begun[queue] += 1
                    begin(queue, row)
            queues = [queue for queue in queues if begun[queue] == given[queue]]

    def stuck(self, queue: tuple) -> bool:
        """Whether so much of it is set aside that nothing more is to be begun."""
        return self._set_aside_of(queue, self._now_at()) >= ASIDE_MOST

    def free(self, wanted: Mapping[tuple, int], read) -> list:
        """Rows that nobody works on. What was at work before the read may be done after it, and its row is then old;
        during the read another look may have taken one up."""
        taken, now_at = set(self._at_work), self._now_at()
        for queue in wanted:
            taken |= {row_id for row_id, (_, until_at) in self._aside.get(queue, {}).items() if until_at > now_at}
        rows = read(wanted, taken)
        return [row for row in rows if row["id"] not in taken | self._at_work.keys()]

    def back_off_ms(self, failures: int) -> int:
        longest_ms = min(RETRY_LAST_MS, RETRY_FIRST_MS * 2 ** min(failures - 1, 16))
        return round(longest_ms * (1 - self._spread() / 2))

    def _do(self, row, queue, work):
        try:
            work(row)
            self._aside.get(queue, {}).pop(row["id"], None)
        except Exception as error:  # noqa: BLE001 - the trouble of one recording is no other's
            self._set_aside(row, queue, error)
        finally:
            _, place = self._at_work.pop(row["id"])
            self._ended(place)

    def _set_aside(self, row, queue, error):
        """The row could not be changed, so only this process knows not to try again at once."""
        if refuses(error):
            self._disk_full(error)
            return
        own = self._aside.setdefault(queue, {})
        failures = own.get(row["id"], (0, 0))[0] + 1
        wait_ms = self.back_off_ms(failures)
        own[row["id"]] = failures, self._now_at() + wait_ms
        log.error("recording set aside", recording_id=row.get("recording_id", row["id"]), error=http.explain(error),
                  retry_ms=wait_ms)

    def _set_aside_of(self, queue, now_at):
        return sum(until_at > now_at for _, until_at in self._aside.get(queue, {}).values())
