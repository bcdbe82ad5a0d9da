"""The api: serves HTTP."""

import gc
from functools import partial
from pathlib import Path

from kazoo_rec.api import loan
from kazoo_rec.api.app import make_app
from kazoo_rec.config import Config
from kazoo_rec.delivery import library, s3
from kazoo_rec.store import Store
from kazoo_rec.threads import Threads
from kazoo_rec.web import listen, serve

#: Threads that validate documents and read files, those that encode, and those that hash what is said at a log-in.
THREADS, ENCODING_THREADS, HASHING_THREADS = 4, 2, 1


class Api:
    """Role `api`, on the configuration's address; with its certificate, if it has one."""

    def __init__(self, config: Config):
        self._config = config
        self._store = self._server = None
        self._threads, self._encoding_threads = Threads(THREADS), Threads(ENCODING_THREADS)
        self._hashing_threads = Threads(HASHING_THREADS)

    def start(self):
        """Raises StoreError where the database is another version's, OSError where the address is taken, ConfigError
        where a certificate, or `delivery.ca_file`, cannot be used."""
        tls, control = self._config.api.tls(), self._config.control
        engines_tls = control.tls().client if control else None
        self._store = Store(self._config.database)
        self._threads.apply(loan.clear, (Path(self._config.recordings_dir.here),))
        listener = listen(self._config.api.host, self._config.api.port)
        self._server = serve(listener, self._app(engines_tls), tls)
        self._server.start()
        gc.freeze()  # what there is now stays: to look through it for garbage takes longer than most requests

    def _app(self, engines_tls):
        return make_app(self._store, self._config.node, Path(self._config.recordings_dir.here), self._threads.apply,
                        public_url=self._config.api.public_url, encode=self._encoding_threads.apply,
                        hashing=self._hashing_threads.apply, alarm_below=self._config.disk.alarm_below,
                        engines_tls=engines_tls,
                        fetch=partial(library.fetch, s3.opened(self._config.delivery, self._threads)))

    def stop(self):
        if self._server is not None:
            self._server.stop(timeout=5)
        if self._store is not None:
            self._store.close()
        for threads in (self._threads, self._encoding_threads, self._hashing_threads):
            threads.kill()
