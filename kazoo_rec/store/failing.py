"""Servers that took nothing of an account's when they were last asked: after a restart they are still known."""

from gevent.event import AsyncResult
from sqlalchemy import bindparam, select

from kazoo_rec.store.sql import upsert
from kazoo_rec.store.statement import Statement
from kazoo_rec.store.tables import failing_servers

_KEY = ("node", "account_id", "host")
_ADD = Statement(upsert(failing_servers, ("failures", "rests_until_ms")), [*_KEY, "failures", "rests_until_ms"])
_REMOVE = Statement(failing_servers.delete().where(*(failing_servers.c[name] == bindparam(name) for name in _KEY)))


class FailingServers:
    """By node, account and host."""

    def __init__(self, read, submit):
        self._read, self._submit = read, submit

    def all(self, node: str) -> list[dict]:
        query = select(failing_servers).where(failing_servers.c.node == node)
        return self._read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])

    def add(self, node: str, account_id: str, host: str, failures: int, rests_until_ms: int) -> AsyncResult:
        """It failed `failures` times in a row, and is not to be asked before `rests_until_ms`."""
        values = {"node": node, "account_id": account_id, "host": host, "failures": failures,
                  "rests_until_ms": rests_until_ms}
        return self._submit(lambda connection: _ADD.execute(connection, values))

    def remove(self, node: str, account_id: str, host: str) -> AsyncResult:
        """It takes what it is given, or nothing waits for it any more."""
        values = {"node": node, "account_id": account_id, "host": host}
        return self._submit(lambda connection: _REMOVE.execute(connection, values))
