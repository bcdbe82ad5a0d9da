"""Between the engine, which has the calls, and who asks it about them: HTTP over a UNIX socket beside the database.

Only the user that the roles run as may open the socket: it has mode 0600 before it listens.
"""


def socket_path(beside: str, engine: str) -> str:
    """Where the engine of that name listens."""
    return f"{beside}.{engine}.control"
