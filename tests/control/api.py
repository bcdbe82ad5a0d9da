"""The API as a process of a host that has no engine."""

import json

import requests

from kazoo_rec.api import tokens
from tests.control.certificates import certified, free_port
from tests.faults.child import Child


class Api:
    """`api(method, path, data)` asks it, after `come_in` with a token.

    Parameters: `place`, a directory of its own; `shared`, what the configurations of all hosts say; `authority` of
    its certificate; `log`, a file.
    """

    def __init__(self, place, shared, authority, log):
        self._port, self._headers = free_port(), {}
        (place / "kazoo_rec.yaml").write_text(json.dumps({
            "node": "api1", **shared, "recordings_dir": str(place), "api": {"port": self._port},
            "switches": [{"password": "x"}], "control": certified(place, authority, free_port())}))
        self._process = Child(log, "kazoo_rec", "role", "api", "--config", place / "kazoo_rec.yaml")

    def __call__(self, method, path, data=None):
        return requests.request(method, f"http://127.0.0.1:{self._port}{path}", headers=self._headers, timeout=30,
                                **({"json": {"data": data}} if data else {}))

    def ready(self):
        try:
            return self("GET", "/healthz").status_code == 200
        except requests.ConnectionError:
            return False

    def come_in(self, store, role="admin", account_id="acme"):
        secret, row = tokens.make(role, account_id, None, "test", None)
        store.access.add_token(row).get()
        self._headers = {"X-Auth-Token": secret}

    def kill(self):
        self._process.kill()
