"""That the recordings directory is the database's: both have the same mark, an id that the first start makes.

Where a mount is late or lost, another directory is in its place, or the empty one beneath: what is not found there is
neither missing nor removed.
"""

import errno
from pathlib import Path

#: In the recordings directory: locked by the delivery that works it; its content is the mark.
LOCK = ".kazoo_rec.lock"


def check(directory: Path, mark: str | None):
    """Raises OSError (ENODEV) where the directory's mark is another; `mark` None is not looked for. Blocks."""
    if mark is not None and read(directory) != mark:
        raise OSError(errno.ENODEV, "the recordings directory is not the one of this database: not mounted? If it is "
                      f"meant to be, `echo {mark} >{LOCK}` in it")


def read(directory: Path) -> str | None:
    """The mark of a directory, None where it has none. Raises OSError."""
    try:
        return (directory / LOCK).read_text("ascii", "replace").strip() or None
    except FileNotFoundError:
        return None
