"""The other end: asks every engine that runs."""

import http.client
import socket
from urllib.parse import urlencode

import orjson

from kazoo_rec.control import socket_path
from kazoo_rec.errors import CommandTimeout, NotConnected, WrongState

#: Longer than an engine waits for its switch.
ANSWER_WITHIN_S = 15.0


class Engines:
    """The engines that `store` says run, each by its socket beside the database."""

    def __init__(self, store):
        self._store = store

    def legs(self, account_id: str) -> list[dict]:
        """Raises NotConnected where an engine that should run cannot be asked."""
        return [leg for name in self._store.engines.running()
                for leg in self._ask(name, "GET", {"account": account_id})]

    def leg(self, account_id: str, uuid: str) -> dict | None:
        """As `calls.control.Control.leg`; raises NotConnected where an engine cannot be asked and no other has it."""
        return self._of_one("GET", {"account": account_id, "uuid": uuid})

    def order(self, account_id: str, uuid: str, action: str, settings: dict, who: str) -> dict | None:
        """As `calls.control.Control.order`."""
        return self._of_one("POST", {"account": account_id, "uuid": uuid},
                            {"action": action, "settings": settings, "who": who})

    def _of_one(self, method, query, body=None):
        unheard = None
        for name in self._store.engines.running():
            try:
                leg = self._ask(name, method, query, body)
            except NotConnected as gone:
                unheard = gone
                continue
            if leg is not None:
                return leg
        if unheard is not None:
            raise unheard
        return None

    def _ask(self, name, method, query, body=None):
        connection = _Connection(socket_path(self._store.beside, name))
        try:
            connection.request(method, f"/legs?{urlencode(query)}", None if body is None else orjson.dumps(body))
            answer = connection.getresponse()
            said = orjson.loads(answer.read())
        except (OSError, http.client.HTTPException) as gone:
            raise NotConnected("an engine cannot be asked", name) from gone
        finally:
            connection.close()
        if answer.status == 409:
            raise WrongState(said["message"])
        if answer.status == 504:
            raise CommandTimeout(said["message"])
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise NotConnected("an engine has a fault", name)
        return said


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=ANSWER_WITHIN_S)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
