"""The engine's end: its legs, and orders about their recordings."""

import os
import socket
from contextlib import suppress
from urllib.parse import parse_qs

import orjson
import structlog
from gevent.pywsgi import WSGIServer

from kazoo_rec.errors import KazooRecError, SwitchError, WrongState

#: An order is shorter.
LARGEST_BYTES = 65536

#: Answers, in the words of RFC 9110.
_LINES = {200: "200 OK", 404: "404 Not Found", 409: "409 Conflict", 504: "504 Gateway Timeout"}

log = structlog.get_logger()


class Server:
    """GET /legs?account=, GET /legs?account=&uuid=, POST /legs?account=&uuid= with {"action", "settings", "who"}.

    Answers JSON: 200; 404, no such leg; 409, the order cannot be carried out; 504, the switch did not answer.

    Parameters: `path` of the socket; `controls`, a `calls.control.Control` for each switch.
    """

    def __init__(self, path: str, controls: list):
        self._path, self._controls, self._server, self._made = path, controls, None, None

    def start(self):
        """Raises OSError where there can be no socket."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self._path)
        os.chmod(self._path, 0o600)  # before it listens: until then nobody gets in
        self._made = os.stat(self._path).st_ino
        listener.listen(64)
        self._server = WSGIServer(listener, self._answer, log=None)
        self._server.start()

    def stop(self):
        if self._server is not None:
            self._server.stop(timeout=1)
            with suppress(FileNotFoundError):
                if os.stat(self._path).st_ino == self._made:  # else it is another engine's, which acts
                    os.unlink(self._path)

    def _answer(self, environ, start_response):
        status, body = self._status_and_body(environ)
        start_response(_LINES[status], [("Content-Type", "application/json")])
        return [orjson.dumps(body)]

    def _status_and_body(self, environ):
        asked = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
        account_id, uuid = asked.get("account", ""), asked.get("uuid")
        if uuid is None:
            return 200, [leg for control in self._controls for leg in control.legs(account_id)]
        try:
            for control in self._controls:
                if environ["REQUEST_METHOD"] == "GET":
                    leg = control.leg(account_id, uuid)
                else:
                    leg = control.order(account_id, uuid, **self._order(environ))
                if leg is not None:
                    return 200, leg
        except (WrongState, SwitchError) as refused:
            log.warning("an order was not carried out", call_id=uuid, account=account_id, reason=str(refused))
            return 409 if isinstance(refused, WrongState) else 504, {"message": _words(refused)}
        return 404, {}

    @staticmethod
    def _order(environ):
        if "kazoo_rec.order" not in environ:
            environ["kazoo_rec.order"] = orjson.loads(environ["wsgi.input"].read(LARGEST_BYTES))
        return environ["kazoo_rec.order"]


def _words(refused: KazooRecError) -> str:
    return f"{refused.message}: {refused.detail}" if refused.detail else refused.message
