"""Between the engine, which has the calls, and who asks it about them: HTTP over a UNIX socket beside the database,
and from other hosts over TLS, where both show a certificate of the same authority.

Only the user that the roles run as may open the socket: it has mode 0600 before it listens.
"""

import re

_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9][A-Za-z0-9.-]{0,252})):([1-9][0-9]{0,4})")


def socket_path(beside: str, engine: str) -> str:
    """Where the engine of that name listens."""
    return f"{beside}.{engine}.control"


def place(address: str) -> tuple[str, int] | None:
    """Host and port of "host:port" or "[IPv6]:port", None of anything else."""
    found = _PLACE.fullmatch(address)
    return (found[1] or found[2], int(found[3])) if found and int(found[3]) <= 65535 else None
