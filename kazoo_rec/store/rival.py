"""Who has what an engine wants for itself alone."""

from typing import NamedTuple


class Rival(NamedTuple):
    """Another engine has `switch`; `who` is for people. `is_gone`: it ended just now, or is our own session of before,
    of whose end the server has not heard yet."""

    switch: str
    who: str
    is_gone: bool = False
