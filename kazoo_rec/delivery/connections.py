"""Connections to the servers that take the files, kept open from one upload to the next."""

import ssl
from collections import deque
from http.client import HTTPConnection
from pathlib import Path
from select import POLLIN
from socket import IPPROTO_TCP, TCP_NODELAY
from urllib.parse import urlsplit

from gevent import monkey
from requests.certs import where

from kazoo_rec.delivery.answer import Answer
from kazoo_rec.delivery.body import HEAD_BYTES
from kazoo_rec.delivery.networks import Networks
from kazoo_rec.delivery.target import PORTS
from kazoo_rec.errors import ConfigError

#: Bytes of a file that are read and hashed at once: each turn of a thread costs as much as 100 kB do.
READ_BYTES = 1_048_576

_poll = monkey.get_original("select", "poll")


def trusted(own: Path | None = None) -> ssl.SSLContext:
    """Verifies certificates against the authorities that requests has, whatever the environment says, and against those
    of the file `own` (PEM). Raises ConfigError where that cannot be used."""
    context = ssl.create_default_context(cafile=where())
    if own is not None:
        try:
            context.load_verify_locations(cafile=own)
        except OSError as refused:  # ssl.SSLError is one
            why = getattr(refused, "reason", None) or refused.strerror
            raise ConfigError("delivery.ca_file cannot be used", f"{own}: {why}",
                              "a file of certificates, PEM, that this user may read") from refused
    return context


class Connections:
    """What is open and not in use, `most` of them at once, to addresses that `networks` allows: those of the Internet,
    where it is not given. A connection has a `buffer` for a head and READ_BYTES, as fresh memory for each file costs
    more than sending it does.
    """

    def __init__(self, most: int, context: ssl.SSLContext | None = None, networks: Networks | None = None):
        self._context, self._networks = context or trusted(), networks or Networks()
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
        connection = _Connection(origin, self._networks, self._context)
        connection.buffer = bytearray(HEAD_BYTES + READ_BYTES)
        return connection

    def give_back(self, origin: str, connection: HTTPConnection):
        """The answer to its request was read to the end."""
        if len(self._idle) == self._idle.maxlen:
            self._idle.popleft()[1].close()
        self._idle.append((origin, connection))

    def close(self):
        while self._idle:
            self._idle.pop()[1].close()


class _Connection(HTTPConnection):
    """To an origin. Its socket is connected to an address that is allowed, and to no proxy; SNI, the certificate and
    Host are of the name."""

    response_class = Answer

    def __init__(self, origin, networks, context):
        parts = urlsplit(origin)
        super().__init__(parts.hostname, parts.port)
        self.default_port = PORTS[parts.scheme]
        self._networks, self._context = networks, context if parts.scheme == "https" else None
        self.head = b""

    def connect(self):
        self.sock = self._networks.connect(self.host, self.port, self.timeout)
        self.sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)

    def send(self, data):
        """What http.client has to send is the head of a request: who sends its body sends both."""
        self.head = data


def spoken_to(connection):
    """Whether a connection without a request has something to read: its end, most often."""
    ready = _poll()
    ready.register(connection.sock.fileno(), POLLIN)
    return bool(ready.poll(0))
