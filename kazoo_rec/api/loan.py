"""Directories for audio of other hosts, each gone with its use: what is deleted is nowhere else."""

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp

#: How their names begin, in the recordings directory; no account is called so.
PREFIX = "kazoo_rec_play."


@contextmanager
def lent(recordings_dir: Path, run):
    """A new directory; open files outlive it. `run(function, args)` runs on a thread. Raises OSError."""
    directory, locked = run(_make, (recordings_dir,))
    try:
        yield directory
    finally:
        run(_remove, (directory, locked))


def clear(recordings_dir: Path):
    """Removes those of killed processes. Blocks."""
    for directory in recordings_dir.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process has it
            locked = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory)
            finally:
                os.close(locked)


def _make(recordings_dir):
    directory = Path(mkdtemp(prefix=PREFIX, dir=recordings_dir))
    locked = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(locked, fcntl.LOCK_EX)
    return directory, locked


def _remove(directory, locked):
    try:
        shutil.rmtree(directory)
    finally:
        os.close(locked)
