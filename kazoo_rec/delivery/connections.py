"""Connections to the servers that take the files, kept open from one upload to the next."""

import ssl
from collections import deque
from http.client import HTTPConnection, HTTPSConnection
from select import POLLIN
from urllib.parse import urlsplit

from gevent import monkey
from requests.certs import where

#: Bytes of a file that are read and hashed at once: each turn of a thread costs as much as 100 kB do.
READ_BYTES = 1_048_576

_poll = monkey.get_original("select", "poll")


def trusted() -> ssl.SSLContext:
    """Verifies certificates against the authorities that requests has, whatever the environment says."""
    return ssl.create_default_context(cafile=where())


class Connections:
    """What is open and not in use, `most` of them at once. A connection has a `buffer` of READ_BYTES, as fresh memory
    for each file costs more than sending it does.
    """

    def __init__(self, most: int, context: ssl.SSLContext | None = None):
        self._context = context or trusted()
        self._idle: deque[tuple[str, HTTPConnection]] = deque(maxlen=most)

    def take(self, origin: str) -> HTTPConnection:
        """One to `origin` (`scheme://host:port`), open or yet to be opened by its first request; nobody else's until
        it is given back.
        """
        for idle in reversed(self._idle):
            if idle[0] == origin:
                self._idle.remove(idle)
                if not spoken_to(idle[1]):
                    return idle[1]
                idle[1].close()
                return self.take(origin)
        parts = urlsplit(origin)
        connection = (HTTPConnection(parts.hostname, parts.port) if parts.scheme == "http"
                      else HTTPSConnection(parts.hostname, parts.port, context=self._context))
        connection.buffer = bytearray(READ_BYTES)
        return connection

    def give_back(self, origin: str, connection: HTTPConnection):
        """The answer to its request was read to the end."""
        if len(self._idle) == self._idle.maxlen:
            self._idle.popleft()[1].close()
        self._idle.append((origin, connection))

    def close(self):
        while self._idle:
            self._idle.pop()[1].close()


def spoken_to(connection):
    """Whether a connection without a request has something to read: its end, most often."""
    ready = _poll()
    ready.register(connection.sock.fileno(), POLLIN)
    return bool(ready.poll(0))
