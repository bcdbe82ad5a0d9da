"""The servers that take the files: their names, their ports, their certificates. Nothing is sent to them."""

import ssl
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

import gevent
from gevent import socket
from gevent.pool import Pool

from kazoo_rec.delivery import bucket, target
from kazoo_rec.delivery.networks import Networks
from kazoo_rec.doctor.finding import Finding, ok, shown, warning, wrong
from kazoo_rec.errors import TargetError, TargetRefused

NAME = "delivery hosts"

#: Seconds for one host, for all of them, and hosts at once.
HOST_S, ALL_S, AT_ONCE = 8.0, 60.0, 32

#: Days before a certificate's end that an operator should hear of it.
EXPIRY_DAYS = 14


def reachable(urls: Iterable[tuple[str, str]], now_s: float, context: ssl.SSLContext, networks: Networks,
              objects: bool = False) -> list[Finding]:
    """Connects once to each distinct host of (url, whose) pairs, with TLS where it is https, and hangs up.

    `context` verifies certificates and `networks` allows addresses, as for uploads; `objects` says that there is an
    object store.
    """
    whose, found = {}, []
    for url, owner in urls:
        try:
            if not bucket.is_one(url):
                whose.setdefault(target.host(url), owner)
            elif bucket.place(url) and not objects:
                raise TargetError("cannot deliver to this URL", "there is no object store", "the configuration's `s3`")
        except TargetError as error:
            found.append(wrong(NAME, f"{owner}: {error.message}, {error.detail}: {shown(_without_secrets(url))}",
                               error.hint or "write it as https://host/path"))
    if not whose:
        return found or [ok(NAME, "no document has a url of a host")]
    pool = Pool(AT_ONCE)
    begun = {host: pool.spawn(_looked_at, host, owner, now_s, context, networks) for host, owner in whose.items()}
    try:
        pool.join(ALL_S)
        late = [host for host, one in begun.items() if not one.ready()]
        found += [one.value for one in begun.values() if one.ready() and one.value is not None]
    finally:
        pool.kill()
    if late:
        found.append(warning(NAME, f"{len(late)} of {len(begun)} hosts were not looked at within {ALL_S:g} s",
                             "does this host's DNS work?"))
    return found or [ok(NAME, f"{len(begun)} reachable, their certificates good")]


def _looked_at(host, owner, now_s, context, networks):
    """What is wrong with one host, None where nothing is."""
    parts = urlsplit(host)
    about = f"{host} ({owner})"
    limit = gevent.Timeout(HOST_S)
    try:
        with limit:
            return _tried(parts, about, now_s, context, networks)
    except gevent.Timeout as expired:
        if expired is not limit:
            raise
        return wrong(NAME, f"{about} does not answer within {HOST_S:g} s", "is it up, and no firewall between?")
    except TargetRefused:
        return wrong(NAME, f"{about} is at an address that is not the Internet's, or this host's own",
                     "if files may be sent there, name its network in delivery.allow_networks")
    except ssl.SSLCertVerificationError as refused:
        return wrong(NAME, f"the certificate of {about} is not to be trusted: {refused.verify_message}",
                     "its owner must install a valid one with its whole chain; uploads are refused until then")
    except ssl.SSLError as refused:
        return wrong(NAME, f"{about} does not speak TLS as we do: {refused.reason}", "is it an https port?")
    except socket.gaierror as unknown:
        return wrong(NAME, f"the name of {about} is not known: {unknown.strerror}",
                     "correct the url in the document, or this host's DNS")
    except UnicodeError:
        return wrong(NAME, f"{about} is no name of a host", "correct the url in the document")
    except OSError as refused:
        return wrong(NAME, f"{about} cannot be reached: {refused.strerror or refused}",
                     "is it up, and no firewall between?")


def _tried(parts, about, now_s, context, networks):
    with networks.connect(parts.hostname, parts.port, HOST_S) as plain:
        if parts.scheme == "http":
            return None
        with context.wrap_socket(plain, server_hostname=parts.hostname) as secured:
            until = secured.getpeercert()["notAfter"]
    days = (ssl.cert_time_to_seconds(until) - now_s) / 86_400
    if days < EXPIRY_DAYS:
        day = time.strftime("%Y-%m-%d", time.gmtime(ssl.cert_time_to_seconds(until)))
        return warning(NAME, f"the certificate of {about} ends in {days:.0f} days, on {day}",
                       "its owner should renew it: uploads fail from then on")
    return None


def _without_secrets(url):
    try:
        return target.without_credentials(url)[0].partition("?")[0]
    except ValueError:
        return url.rpartition("@")[2].partition("?")[0]
