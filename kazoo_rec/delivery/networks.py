"""Which addresses may be connected to. A tenant says the URL, and must not reach through us what only we can reach."""

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network

from kazoo_rec.errors import TargetRefused

#: Of IPv4 what is not the Internet's (IANA IPv4 Special-Purpose Address Registry, RFC 6890 and 5771), and Azure's door
#: to its hosts, which has an address of the Internet.
_NOT_PUBLIC = tuple(map(ip_network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/3", "168.63.129.16/32",
    # Of 2000::/3: assignments of protocols (Teredo among them), documentation, 6to4, documentation.
    "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))

#: All that is given out of IPv6's for the Internet (IANA IPv6 Global Unicast Address Assignments).
_GIVEN_OUT = ip_network("2000::/3")

#: Every network, for what the operator names.
ANYWHERE = ("0.0.0.0/0", "::/0")

#: Its last 32 bits are the IPv4 address that a translator connects to (RFC 6052, 2.1).
_NAT64 = ip_network("64:ff9b::/96")


def _own(address: str) -> bool:
    """Whether an address is this host's: then what is sent to it comes from it. Nothing is sent to find that out."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((address, 9))
            return asking.getsockname()[0] == address
    except OSError:  # there is no way to it
        return False


class Networks:
    """The public Internet without this host itself, and what the operator allows.

    Parameters:
      allowed: networks such as "10.0.0.0/8" or "fd00::/8", as `delivery.allow_networks` has them.
      own: whether an address is this host's.
    """

    def __init__(self, allowed: Iterable[str] = (), own: Callable[[str], bool] = _own):
        self._allowed, self._own = tuple(map(ip_network, allowed)), own

    def allows(self, address: str) -> bool:
        """Whether an address, as `getaddrinfo` spells it, may be connected to. One that stands for an IPv4 address
        (::ffff:10.0.0.1, 64:ff9b::a00:1) is judged by that."""
        found = _meant(ip_address(address))
        if any(found in network for network in self._allowed):
            return True
        if (found.version == 6 and found not in _GIVEN_OUT) or any(found in network for network in _NOT_PUBLIC):
            return False
        return not self._own(str(found))

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """Connects to a host: its name is looked up once, and what is connected to is an address that was judged.

        Raises TargetRefused where none of its addresses is allowed, OSError where none of the others answers, each
        within `timeout_s`.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        allowed = [(family, address) for family, _, _, _, address in found if self.allows(address[0])]
        if not allowed:
            raise TargetRefused(host)
        *others, last = allowed
        for family, address in others:
            with suppress(OSError):
                return _connected(family, address, timeout_s)
        return _connected(*last, timeout_s)


def _connected(family, address, timeout_s):
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.settimeout(timeout_s)
        connecting.connect(address)
    except BaseException:
        connecting.close()
        raise
    return connecting


def _meant(address):
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return ip_address(int(address) & 0xFFFF_FFFF)
    return address
