"""How a role is, said to the store every few seconds: what of it is up, and its numbers. The api serves both."""

import gevent
import structlog
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.errors import StoreError
from kazoo_rec.store.vitals import SAID_EVERY_MS

log = structlog.get_logger()


class Vitals:
    """Of one role. `tell()` gives its state, JSON: {"metrics": what `families` gives, …}."""

    def __init__(self, store, node: str, role: str, tell):
        self._store, self._node, self._role, self._tell = store, node, role, tell
        self._greenlet = None

    def start(self):
        self._greenlet = gevent.spawn(self._run)

    def stop(self, leave: bool = True):
        """`leave`: nobody else says how this role of the node is."""
        if self._greenlet is not None:
            self._greenlet.kill()
        if self._greenlet is not None and leave:
            self._store.vitals.leave(self._node, self._role)

    def _run(self):
        while True:
            try:
                self._store.vitals.say(self._node, self._role, self._tell()).get()
            except (StoreError, SQLAlchemyError, OSError) as refused:  # who asks sees how old the last word is
                log.warning("how this role is could not be said", of=self._role, reason=str(refused))
            gevent.sleep(SAID_EVERY_MS / 1000)


def families(registry, **labels: str) -> list[dict]:
    """What a `prometheus_client` registry holds, as JSON: {"name", "type", "help", "samples": [[name, labels, value]]},
    with further `labels` on each sample."""
    return [
        {"name": family.name, "type": family.type, "help": family.documentation, "samples": [
            [sample.name, {**sample.labels, **labels}, sample.value]
            for sample in family.samples if not sample.name.endswith("_created")]}
        for family in registry.collect()]
