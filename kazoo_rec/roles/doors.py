"""What others reach an engine by: sockets for orders, and for callflows."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import gevent
import structlog

from kazoo_rec.errors import ConfigError

#: Seconds before what could not be served is tried again: a port may be another engine's that ends, an address not up
#: yet, a certificate half replaced.
SERVED_AGAIN_S = 5.0

log = structlog.get_logger()


class Door(NamedTuple):
    """`open()` raises OSError and ConfigError where that cannot be."""

    address: str
    open: Callable[[], object]
    opened: str
    refused: str
    hint: str


class Doors:
    """Without one of them the engine records all the same: it is tried again."""

    def __init__(self):
        self._closed: list[Door] = []

    def open(self, doors: Iterable[Door]):
        self._closed = [door for door in doors if not _opened(door)]

    def open_others(self):
        """Returns when all are open."""
        while self._closed:
            gevent.sleep(SERVED_AGAIN_S)
            self._closed = [door for door in self._closed if not _opened(door, again=True)]

    def leave(self):
        """Tries no more."""
        self._closed = []


def _opened(door, again=False):
    try:
        door.open()
    except (OSError, ConfigError) as refused:
        if not again:
            log.error(door.refused, address=door.address, reason=str(refused), hint=door.hint)
        return False
    if again:
        log.info(door.opened, address=door.address)
    return True
