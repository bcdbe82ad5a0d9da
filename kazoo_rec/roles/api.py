"""The api: serves HTTP."""

import gc
import socket
import ssl
from functools import partial
from pathlib import Path

import structlog
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from kazoo_rec.api import loan
from kazoo_rec.api.app import make_app
from kazoo_rec.config import Config
from kazoo_rec.delivery import library, s3
from kazoo_rec.store import Store
from kazoo_rec.threads import Threads

#: Threads that validate documents and read files, those that encode, and those that hash what is said at a log-in.
THREADS, ENCODING_THREADS, HASHING_THREADS = 4, 2, 1

#: Connections at once; whoever comes then waits until one ends. Each may have a file open.
CONNECTIONS = 400

#: Seconds that a client may leave a connection idle, or take for `SENT_AT_ONCE` bytes of an answer.
WITHIN_S, SENT_AT_ONCE = 30.0, 64 * 1024

log = structlog.get_logger()


class Api:
    """Role `api`, on the configuration's address; with its certificate, if it has one."""

    def __init__(self, config: Config):
        self._config = config
        self._store = self._server = None
        self._threads, self._encoding_threads = Threads(THREADS), Threads(ENCODING_THREADS)
        self._hashing_threads = Threads(HASHING_THREADS)

    def start(self):
        """Raises StoreError where the database is another version's, OSError where the address is taken, ConfigError
        where the certificate, or `delivery.ca_file`, cannot be used."""
        tls = self._config.api.tls()
        self._store = Store(self._config.database)
        self._threads.apply(loan.clear, (Path(self._config.recordings_dir.here),))
        listener = listen(self._config.api.host, self._config.api.port)
        self._server = serve(listener, self._app(), tls)
        self._server.start()
        gc.freeze()  # what there is now stays: to look through it for garbage takes longer than most requests

    def _app(self):
        return make_app(self._store, self._config.node, Path(self._config.recordings_dir.here), self._threads.apply,
                        public_url=self._config.api.public_url, encode=self._encoding_threads.apply,
                        hashing=self._hashing_threads.apply, alarm_below=self._config.disk.alarm_below,
                        fetch=partial(library.fetch, s3.opened(self._config.delivery, self._threads)))

    def stop(self):
        if self._server is not None:
            self._server.stop(timeout=5)
        if self._store is not None:
            self._store.close()
        for threads in (self._threads, self._encoding_threads, self._hashing_threads):
            threads.kill()


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError where the address is taken."""
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    # On the listening socket, which accepted ones inherit: gevent sends head and body apart, and without it every
    # answer on a kept connection waits 44 ms for the acknowledgement of the head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(listener: socket.socket, app, tls: ssl.SSLContext | None = None) -> WSGIServer:
    """A server, not yet started, with a WSGI application."""
    return _Server(listener, app, log=None, spawn=Pool(CONNECTIONS), handler_class=_Handler,
                   **({"ssl_context": tls} if tls else {}))


class _Handler(WSGIHandler):
    """Cuts a client that has stopped, be it sending or reading: it would keep its place and its file for ever."""

    def __init__(self, client_socket, address, server, rfile=None):
        client_socket.settimeout(WITHIN_S)  # of each `recv` and each `sendall`
        super().__init__(client_socket, address, server, rfile)

    def log_request(self):
        """The audit log has it; to format a line for nobody takes as long as a look-up."""

    def _sendall(self, data):
        left = memoryview(data)
        while left:
            super()._sendall(left[:SENT_AT_ONCE])
            left = left[SENT_AT_ONCE:]


class _Server(WSGIServer):
    """One with which a client that does not come to terms over TLS is a line in the log, not a traceback."""

    def wrap_socket_and_handle(self, client_socket, address):
        try:
            super().wrap_socket_and_handle(client_socket, address)
        except OSError as refused:  # ssl.SSLError is one
            log.debug("no TLS with a client", remote=address[0], reason=str(getattr(refused, "reason", refused)))
