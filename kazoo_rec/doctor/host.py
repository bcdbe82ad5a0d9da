"""What this host grants the engine and the API, and what they need to reach engines of other hosts."""

import ssl
import time

from kazoo_rec import tls
from kazoo_rec.config import Api, ControlAddress
from kazoo_rec.control import place
from kazoo_rec.control.client import Engines
from kazoo_rec.doctor.finding import Finding, ok, several, warning, wrong
from kazoo_rec.errors import ConfigError, EngineSilent

#: Days before its end that a certificate should be made anew: nobody else sees to it.
EXPIRY_DAYS = 30

#: Authorities of `control.ca`: one, and another while it is replaced. More are the world's.
AUTHORITIES = 2


def priority(granted: bool) -> list[Finding]:
    """See roles/priority.py for why."""
    if granted:
        return [ok("realtime priority", "the engine can have it")]
    return [warning("realtime priority", "the engine would not get it: on a busy host FreeSWITCH keeps it waiting",
                    "LimitRTPRIO=1 in its systemd unit, `--ulimit rtprio=1` for a container")]


def user(effective_id: int) -> list[Finding]:
    if effective_id:
        return []
    return [warning("user", "this runs as root, who may do what the engine may not",
                    "run it as the engine's user: `runuser -u kazoo_rec -- kazoo-rec doctor …`")]


def certificate(api: Api) -> list[Finding]:
    """Whether the API's certificate can be used, where it has one. Raises ConfigError where it cannot. Blocks."""
    if api.tls() is None:
        return []
    return [ok("certificate", f"{api.certificate} can be read, and {api.key} is its key")]


def control(address: ControlAddress | None, now_s: float) -> list[Finding]:
    """Whether engines and APIs of other hosts will take this one's certificate. Raises ConfigError where it cannot be
    used. Blocks."""
    if address is None:
        return []
    name, file, (host, _) = "control certificate", address.certificate, place(address.address)
    ends = address.tls()
    try:
        shown = tls.meet(ends, host)
    except ssl.SSLError as refused:
        return [wrong(name, f"{file} is refused by other hosts: {tls.refusal(refused)}",
                      f"it has to be of control.ca, for server and client, and to name {host} (docs/deployment.md)")]
    if (many := len(ends.client.get_ca_certs())) > AUTHORITIES:
        return [wrong(name, f"{address.ca} has {many} authorities: a certificate of any is enough to give orders",
                      "make an authority that vouches for these hosts and nobody else (docs/deployment.md)")]
    found = [_ends(name, which, until["notAfter"])
             for which, until in ((file, shown), *((address.ca, one) for one in ends.client.get_ca_certs()))
             if ssl.cert_time_to_seconds(until["notAfter"]) - now_s < EXPIRY_DAYS * 86_400]
    return found or [ok(name, f"{file} is good for {host}")]


def _ends(name, file, until):
    day = time.strftime("%Y-%m-%d", time.gmtime(ssl.cert_time_to_seconds(until)))
    return warning(name, f"{file} ends on {day}", "make a new one: from then on calls of other hosts are not reached")


def engines(store, address: ControlAddress | None) -> list[Finding]:
    """Whether the engines that run answer from here."""
    try:
        Engines(store, address.tls().client if address else None).legs("")
    except ConfigError:  # which `control` tells of
        return []
    except EngineSilent as silent:
        return [warning("engines", f"{silent.message}: {silent.detail}", silent.hint)]
    running = len(store.engines.running())
    return [ok("engines", f"{several(running, 'engine')} can be asked from here")] if running else []
