"""HTTP served by gevent: in clear or over TLS, and to clients that may be anybody."""

import io
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import ip_address
from time import monotonic

import gevent
import structlog
from gevent import Timeout
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from kazoo_rec import tls

#: Connections at once; whoever comes then waits until one ends. Each may have a file open.
CONNECTIONS = 400

#: Seconds that a client has for the head of a request, from the end of the one before it on, and for each
#: `SENT_AT_ONCE` bytes of a body or of an answer: a slow line is served, one that stands is cut.
WITHIN_S, SENT_AT_ONCE = 30.0, 64 * 1024

#: Seconds for a client and us to come to terms over TLS.
TERMS_WITHIN_S = 5.0

#: Connections that one address may have, from which nobody has shown a certificate that we ask for.
STRANGERS = 64

#: What a `TimeoutError` of a client says that took longer.
LATE = "a client took longer than it may"

log = structlog.get_logger()


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError where the address is taken."""
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    # On the listening socket, which accepted ones inherit: gevent sends head and body apart, and without it every
    # answer on a kept connection waits 44 ms for the acknowledgement of the head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _refused(remote: str, reason: str):
    log.debug("a client was refused", remote=remote, reason=reason)


def serve(listener: socket.socket, app, context: ssl.SSLContext | None = None,
          refused: Callable[[str, str], object] = _refused, apart_s: float = 0.0) -> WSGIServer:
    """A server, not yet started, with a WSGI application; over TLS with a context. `refused(remote, reason)` hears of
    a client that did not come to terms, or has too many connections, and of nothing that it said. Clients come to terms
    so many seconds apart."""
    server = _Server(listener, app, log=None, error_log=None, spawn=Pool(CONNECTIONS), handler_class=_Handler,
                     **({"ssl_context": context} if context else {}))
    server.refused, server.apart_s = refused, apart_s
    server.mutual = context is not None and context.verify_mode == ssl.CERT_REQUIRED
    return server


class _Handler(WSGIHandler):
    """Cuts a client that has stopped, or nearly, be it sending or reading: it would keep its place and its file for
    ever."""

    ignored_socket_errors = (*WSGIHandler.ignored_socket_errors, LATE)

    def __init__(self, client_socket, address, server):
        client_socket.settimeout(2 * WITHIN_S)  # for what gevent says by itself: 100, 400, 414; the rest ends before
        self._sent = _Sent(client_socket)
        super().__init__(client_socket, address, server, io.BufferedReader(self._sent))

    def log_request(self):
        """The audit log has it; to format a line for nobody takes as long as a look-up."""

    def read_requestline(self):
        self._sent.allow(0.0)
        return super().read_requestline()

    def get_environ(self):
        self._sent.allow(WITHIN_S / SENT_AT_ONCE)
        return super().get_environ()

    def run_application(self):
        try:
            super().run_application()
        finally:
            self._sent.allow(0.0)  # for what it left of the body, which gevent reads to get at the next request

    def _handle_client_error(self, ex):
        """Whoever is cut, or gone, in the middle of a head is told nothing, and is no traceback."""
        return None if isinstance(ex, OSError) else super()._handle_client_error(ex)

    def _sendall(self, data):
        left = memoryview(data)
        while left:
            # Of all of it: over TLS a socket's own time begins anew with each record that goes.
            with Timeout(WITHIN_S, TimeoutError(LATE)):
                super()._sendall(left[:SENT_AT_ONCE])
            left = left[SENT_AT_ONCE:]


class _Sent(io.RawIOBase):
    """What a client sends. Raises TimeoutError where it takes longer than it may, and from then on: what comes later
    is the middle of something."""

    def __init__(self, client_socket):
        self._socket, self._left_s, self._gain_s = client_socket, WITHIN_S, 0.0

    def allow(self, gain_s: float):
        """From now on it may keep us waiting for `WITHIN_S`, and for so much longer with each byte that came. What we
        take to answer does not count."""
        self._gain_s = gain_s
        if self._left_s > 0:
            self._left_s = WITHIN_S

    def readable(self):
        return True

    def readinto(self, buffer):
        if self._left_s <= 0:
            raise TimeoutError(LATE)
        begun_s = monotonic()
        try:
            # Not the socket's own time, which over TLS begins anew with each byte of a record that comes.
            with Timeout(self._left_s, TimeoutError(LATE)):
                count = self._socket.recv_into(buffer)
        except TimeoutError:
            self._left_s = 0.0
            raise
        self._left_s = min(WITHIN_S, self._left_s - (monotonic() - begun_s) + count * self._gain_s)
        return count


class _Server(WSGIServer):
    """One in which an address has so many places and no more, and with which a client that does not come to terms over
    TLS is told of, has some seconds, and is no traceback."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self._strangers, self._turn = Counter(), BoundedSemaphore()

    def handle(self, client_socket, address):
        with ExitStack() as place:
            if _is_here(address[0]) or self._has_room(address[0], place):
                super().handle(client_socket, address)

    def wrap_socket_and_handle(self, client_socket, address):
        remote = address[0]
        with ExitStack() as place:
            if not self._has_room(remote, place):
                return  # who calls closes it
            try:
                if self.apart_s:
                    with self._turn:
                        gevent.sleep(self.apart_s)
                # Of all of it: a client that sends a byte now and then is cut as one that is silent.
                with Timeout(TERMS_WITHIN_S, TimeoutError("not within its time")):
                    secured = self.wrap_socket(client_socket, **self.ssl_args)
            except OSError as refused:  # ssl.SSLError is one
                self.refused(remote, tls.refusal(refused))
                return
            if self.mutual or _is_here(remote):
                place.close()
            with secured:
                super().handle(secured, address)

    def _has_room(self, remote, place):
        """Whether that address may have one connection more; it has it until `place` is closed."""
        whose = _address(remote).packed[:8]  # of IPv6 a host has as many as it likes, of one network of 64 bits
        if self._strangers[whose] >= STRANGERS:
            self.refused(remote, "too many at once")
            return False
        self._strangers[whose] += 1
        place.callback(self._leave, whose)
        return True

    def _leave(self, whose):
        self._strangers[whose] -= 1
        if not self._strangers[whose]:
            del self._strangers[whose]


def _is_here(remote: str) -> bool:
    """It may be a proxy, by whose address all clients come, and which holds the slow ones itself."""
    return _address(remote).is_loopback


def _address(remote):
    address = ip_address(remote)
    return getattr(address, "ipv4_mapped", None) or address  # as who listens at :: has those of IPv4
