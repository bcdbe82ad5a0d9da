"""What TLS is spoken by: certificates, their keys, and whom they are verified against."""

import ssl
from pathlib import Path
from typing import NamedTuple

from kazoo_rec.errors import ConfigError


class Mutual(NamedTuple):
    """Both ends of connections whose peers show each other certificates of one authority: one host serves and asks
    with the same."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def server(section: str, certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, for clients that show nothing. `section` of the configuration names the files. Reads both;
    raises ConfigError where they cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _show(context, section, certificate, key)
    return context


def mutual(section: str, certificate: Path, key: Path, ca: Path) -> Mutual:
    """TLS 1.3, as both ends are ours. Who shows no valid certificate of `ca` is refused, and whoever is asked has to
    have its own name in it; no other authority is trusted. Reads all three; raises ConfigError as `server` does."""
    both = Mutual(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    for context in both:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        _show(context, section, certificate, key)
        _trust(context, section, ca)
    both.server.num_tickets = 0  # nobody comes again without being verified
    return both


def meet(ends: Mutual, name: str) -> dict:
    """What the one end sees of the other where they meet at `name`: its certificate, as `getpeercert` has it. In
    memory: nobody is connected to. Raises ssl.SSLError where one of them refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ends.client.wrap_bio(to_client, to_server, server_hostname=name)
    server = ends.server.wrap_bio(to_server, to_client, server_side=True)
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.getpeercert()


def refusal(error: OSError) -> str:
    """Why there is no connection, in OpenSSL's or the system's words: nothing in them is the peer's."""
    return getattr(error, "verify_message", None) or getattr(error, "reason", None) or error.strerror or str(error)


def _show(context, section, certificate, key):
    for name, path in (("certificate", certificate), ("key", key)):
        _readable(section, name, path)
    try:
        context.load_cert_chain(certificate, key, password="")  # one that has a password is refused
    except ssl.SSLError as refused:
        raise ConfigError(f"{section}.certificate and {section}.key cannot be used",
                          str(refused.reason or refused).lower(),
                          "PEM, a key without a password, and the certificate of that key first") from refused


def _trust(context, section, ca):
    _readable(section, "ca", ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as refused:
        raise ConfigError(f"{section}.ca cannot be used", str(refused.reason or refused).lower(),
                          "PEM: the certificate of the authority") from refused


def _readable(section, name, path):
    try:
        path.read_bytes()
    except OSError as refused:
        raise ConfigError(f"{section}.{name} cannot be read", f"{path}: {refused.strerror}",
                          "its file and directories have to be readable for this user") from refused
