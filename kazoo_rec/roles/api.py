"""The api: serves HTTP."""

import socket
import ssl
from pathlib import Path

from gevent.pywsgi import WSGIServer

from kazoo_rec.api.app import make_app
from kazoo_rec.config import Config
from kazoo_rec.store import Store
from kazoo_rec.threads import Threads

#: Threads that validate documents, hash passwords, encode and read files.
THREADS = 4


class Api:
    """Role `api`, on the configuration's address; with its certificate, if it has one."""

    def __init__(self, config: Config):
        self._config = config
        self._store = self._server = None
        self._threads = Threads(THREADS)

    def start(self):
        """Raises StoreError where the database is another version's, OSError where the address is taken or the
        certificate is none."""
        self._store = Store(self._config.database)
        host, port = self._config.api.host, self._config.api.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        # On the listening socket, which accepted ones inherit: gevent sends head and body apart, and without it every
        # answer on a kept connection waits 44 ms for the acknowledgement of the head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server = WSGIServer(listener, self._app(), log=None, **self._tls())
        self._server.start()

    def _app(self):
        return make_app(self._store, self._config.node, Path(self._config.recordings_dir.here), self._threads.apply,
                        public_url=self._config.api.public_url)

    def _tls(self):
        if self._config.api.certificate is None:
            return {}
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._config.api.certificate, self._config.api.key)
        return {"ssl_context": context}

    def stop(self):
        if self._server is not None:
            self._server.stop(timeout=5)
        if self._store is not None:
            self._store.close()
        self._threads.kill()
