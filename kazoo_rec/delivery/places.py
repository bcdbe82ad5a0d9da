"""Places: how many recordings are finished at once, how many uploads run at once, and whose."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from kazoo_rec.delivery.servers import FAILING, NEW, PROVEN, Servers
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.delivery.turns import Turns

#: What is at work in a place: an upload says how its queue stood when it began, SENT that it is being written down.
FINISHING, DELETING, SENT, UPLOADS = "finishing", "deleting", "sent", (PROVEN, NEW, FAILING)

#: Of so many places one more is there to ask failing servers.
PLACES_PER_TRIAL = 4

#: Seconds after which an upload leaves its place to another, and for each place how many may have done so: servers that
#: begin to hang hold up the others no longer than that.
LONG_S, LONG_PER_PLACE = 1.0, 3


@dataclass(frozen=True, slots=True)
class Place:
    """`queue` is (account_id,) of what has stopped, (account_id, host) of what is due, () of what is deleted, or
    ("", "library") where it is deleted from the library as well: no account's id is ""."""

    queue: tuple
    kind: str
    since_s: float = field(default_factory=time.monotonic, compare=False)


class FinishingPlaces:
    """`most` places, which accounts have in turn."""

    def __init__(self, most: int):
        self._most, self._turns = most, Turns()

    def give(self, queues: Iterable[tuple], taken: list[Place]) -> Counter:
        """How many recordings of each queue may be begun; `taken` are all places in use."""
        at_work, given = Counter(place.queue[0] for place in taken if place.kind == FINISHING), Counter()
        room = self._most - at_work.total()

        def take(queue):
            if given.total() >= room:
                return False
            given[queue] += 1
            return True

        self._turns.give(queues, at_work, take)
        return given


class UploadPlaces:
    """`uploads` places, of which a host has `uploads_per_host` at most, and a few more for servers that fail: these
    never take a place that others could have. A server that is not proven is given one upload at a time. An account
    has one at a time with its failing servers, and once it has such, one with its new ones: whoever names a thousand
    dead servers has two places with them.
    """

    def __init__(self, settings: DeliverySettings, servers: Servers):
        self._most, self._per_host, self._servers = settings.uploads, settings.uploads_per_host, servers
        self._trials = max(1, settings.uploads // PLACES_PER_TRIAL)
        self._turns = Turns()

    def give(self, queues: Iterable[tuple], taken: list[Place], now_s: float | None = None) -> Counter:
        """How many uploads of each queue may be begun; an account's queues have their turns in this order. What was
        sent makes room before its row is written, unless that takes long. `now_s` is of `time.monotonic`.
        """
        now_s = time.monotonic() if now_s is None else now_s
        kinds, at_work = Counter(place.kind for place in taken), [place for place in taken if place.kind in UPLOADS]
        trials, running = kinds[FAILING], [place for place in taken if place.kind in (PROVEN, NEW)]
        long = sum(now_s - place.since_s > LONG_S for place in running)
        ordinary = max(len(running) - min(long, LONG_PER_PLACE * self._most), kinds[SENT])
        hosts = Counter(place.queue[1] for place in at_work)
        unproven = Counter((place.kind, name) for place in at_work if place.kind != PROVEN for name in place.queue)
        given = Counter()

        def take(queue):
            nonlocal trials, ordinary
            kind, (account_id, host) = self._servers.standing(queue), queue
            failing = kind == FAILING
            if trials >= self._trials if failing else ordinary >= self._most:
                return False
            untroubled = kind == NEW and not self._servers.fail(account_id)
            if hosts[host] >= self._per_host or unproven[kind, host] or (
                    unproven[kind, account_id] >= (self._per_host if untroubled else 1)):
                return False
            if kind != PROVEN:
                unproven.update([(kind, account_id), (kind, host)])
            hosts[host] += 1
            given[queue] += 1
            trials += failing
            ordinary += not failing
            return True

        self._turns.give(queues, Counter(place.queue[0] for place in at_work), take)
        return given
