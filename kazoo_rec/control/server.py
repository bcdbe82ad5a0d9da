"""The engine's end: its legs, and orders about their recordings."""

import os
import socket
import ssl
import time
from contextlib import suppress
from urllib.parse import parse_qs

import orjson
import structlog
from gevent.lock import BoundedSemaphore
from gevent.pywsgi import WSGIServer

from kazoo_rec import web
from kazoo_rec.errors import KazooRecError, NotConnected, SwitchError, WrongState

#: An order is shorter.
LARGEST_BYTES = 65536

#: Seconds between lines about who is refused, of whom there may be thousands.
TOLD_EVERY_S = 10.0

#: Seconds between two who come to terms over TLS, which takes a millisecond or two of the hub that the calls have.
APART_S = 0.01

#: Answers, in the words of RFC 9110.
_LINES = {200: "200 OK", 400: "400 Bad Request", 404: "404 Not Found", 409: "409 Conflict", 504: "504 Gateway Timeout"}

_ORDER = {"action": str, "settings": dict, "who": str}

log = structlog.get_logger()


class Server:
    """GET /legs?account=, GET /legs?account=&user=, GET /legs?account=&uuid=, POST /legs?account=&uuid= with {"action",
    "settings", "who"}.

    Answers JSON: 200; 400, no such order; 404, no such leg; 409, the order cannot be carried out; 504, the switch did
    not answer.

    Parameters: `path` of the socket; `controls`, a `calls.control.Control` for each switch; `clock`, seconds.
    """

    def __init__(self, path: str, controls: list, clock=time.monotonic):
        self._path, self._controls, self._clock = path, controls, clock
        self._servers: list[WSGIServer] = []
        self._listing = BoundedSemaphore()
        self._made, self._refused, self._told_at = None, 0, -TOLD_EVERY_S

    def start(self):
        """Raises OSError where there can be no socket."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self._path)
        os.chmod(self._path, 0o600)  # before it listens: until then nobody gets in
        self._made = os.stat(self._path).st_ino
        listener.listen(64)
        self._serve(WSGIServer(listener, self._answer, log=None, error_log=None))
        owner = os.stat(os.path.dirname(self._path) or ".").st_uid
        if owner != os.geteuid():
            log.warning("the api may not reach this engine: its socket is another user's", socket=self._path,
                        owner=owner, user=os.geteuid(), hint="run the engine as the owner of that directory, as whom "
                        "the api runs: `runuser -u`, or `systemd-run --uid` as in docs/deployment.md")

    def start_for_others(self, host: str, port: int, context: ssl.SSLContext) -> int:
        """Over TLS, to whom `context` verifies; the port. Raises OSError where the address is taken."""
        return self._serve(web.serve(web.listen(host, port), self._answer, context, self._told, APART_S)).server_port

    def stop(self):
        for server in self._servers:
            server.stop(timeout=1)
        with suppress(FileNotFoundError):
            if os.stat(self._path).st_ino == self._made:  # else it is another engine's, which acts
                os.unlink(self._path)

    def _serve(self, server):
        server.start()
        self._servers.append(server)
        return server

    def _told(self, remote, reason):
        self._refused += 1
        if self._clock() - self._told_at >= TOLD_EVERY_S:
            log.warning("refused at the control address", remote=remote, reason=reason, times=self._refused)
            self._refused, self._told_at = 0, self._clock()

    def _answer(self, environ, start_response):
        status, body = self._status_and_body(environ)
        start_response(_LINES[status], [("Content-Type", "application/json")])
        return [orjson.dumps(body)]

    def _status_and_body(self, environ):
        asked = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"], keep_blank_values=True).items()}
        account_id, uuid = asked.get("account", ""), asked.get("uuid")
        if uuid is None:
            return 200, self._list(account_id, asked.get("user"))
        order = None
        if environ["REQUEST_METHOD"] != "GET":
            order = _order(environ["wsgi.input"].read(LARGEST_BYTES))
            if order is None:
                return 400, {"message": "this is no order"}
        try:
            control, leg = self._found(account_id, uuid)
            if control is not None and order:
                leg = control.order(account_id, uuid, **order)
        except (WrongState, SwitchError) as refused:
            log.warning("an order was not carried out", call_id=uuid, account=account_id, reason=str(refused))
            return 409 if isinstance(refused, WrongState) else 504, {"message": _words(refused)}
        return (404, {}) if leg is None else (200, leg)

    def _list(self, account_id, user_id):
        """One at a time: however many ask, the calls wait for no more than one. Each leg is JSON before the next is
        looked at, not all of them at the end."""
        with self._listing:
            return [orjson.Fragment(orjson.dumps(leg)) for control in self._controls
                    for leg in control.legs(account_id, user_id)]

    def _found(self, account_id, uuid):
        """The control that has the leg, and the leg; (None, None) where none has. Raises NotConnected where none has
        and one does not know."""
        unknown = None
        for control in self._controls:
            try:
                leg = control.leg(account_id, uuid)
            except NotConnected as silent:
                unknown = silent
            else:
                if leg is not None:
                    return control, leg
        if unknown is not None:
            raise unknown
        return None, None


def _order(body: bytes) -> dict | None:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    fits = isinstance(said, dict) and said.keys() == _ORDER.keys()
    return said if fits and all(isinstance(said[name], kind) for name, kind in _ORDER.items()) else None


def _words(refused: KazooRecError) -> str:
    return f"{refused.message}: {refused.detail}" if refused.detail else refused.message
