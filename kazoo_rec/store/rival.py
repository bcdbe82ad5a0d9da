"""Who has what an engine wants for itself alone."""

from typing import NamedTuple


class Rival(NamedTuple):
    """Another engine has `switch`; `who` is for people. `is_ours`: it is our own session of before, of whose end the
    server has not heard yet."""

    switch: str
    who: str
    is_ours: bool = False
