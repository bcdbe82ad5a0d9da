"""The recordings directory, as the switch names it and as it is named here (a mount, another container)."""

import os

from kazoo_rec.errors import MediaError

#: The group that FreeSWITCH shares may write, new files get that group, nobody else sees anything.
DIRECTORY_MODE = 0o2770

#: Less than this, in bytes, is none: FreeSWITCH opens no file on a full disk.
ROOM_BYTES = 64 * 1024


class Files:
    """Paths below the recordings directory, always relative in rows.

    Parameters:
      on_switch, here: the same directory, absolute, in the switch's and in this process's eyes.
      run: runs a blocking function on a thread (`ThreadPool.apply`).
      read: gives (comment, length in ms) of a WAV (`media.wav.said`); without it none is looked into.
    """

    def __init__(self, on_switch: str, here: str, run, read=lambda path: ("", 0)):
        self._on_switch, self._here, self._run, self._read = on_switch.rstrip("/"), here, run, read
        self._made: set[str] = set()

    def on_switch(self, path: str) -> str:
        return f"{self._on_switch}/{path}"

    def relative(self, on_switch: str) -> str | None:
        """The path that the switch reports, relative; None where it is not below our directory."""
        head, sep, path = on_switch.partition(f"{self._on_switch}/")
        return path if sep and not head else None

    def make(self, path: str):
        """Makes a directory (and its parent), once. Raises OSError."""
        if path not in self._made:
            self.make_again(path)
            self._made.add(path)

    def make_again(self, path: str):
        """As `make`, should it have been removed since. Raises OSError."""
        self._run(_make, (self._here, path))

    def exists(self, path: str) -> bool:
        return self._run(os.path.exists, (os.path.join(self._here, path),))

    def said(self, path: str) -> tuple[str, int]:
        """(what a recording's file says of it, its length in ms): ("", 0) of one that says nothing."""
        try:
            return self._run(self._read, (os.path.join(self._here, path),))
        except (OSError, MediaError):
            return "", 0

    def is_full(self) -> bool:
        """Whether there is no room for a recording. Raises OSError."""
        return bool(self._run(_is_full, (self._here,)))

    def touch(self, path: str):
        """Makes an empty file; one that is there stays as it is. Raises OSError."""
        self._run(_touch, (os.path.join(self._here, path),))

    def remove(self, path: str):
        """Removes a file that is of no recording; one that is not there is no error."""
        self._run(_remove, (os.path.join(self._here, path),))


def _make(root, path):
    for part in path.split("/"):
        root = os.path.join(root, part)
        try:
            os.mkdir(root, 0o700)
        except FileExistsError:
            found = os.stat(root)
            if found.st_uid != os.geteuid() or found.st_mode & 0o777 != 0o700:
                continue  # else who made it was killed before the next line
        os.chmod(root, DIRECTORY_MODE)  # the umask would cut it


def _touch(path):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


def _remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _is_full(path):
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize < ROOM_BYTES or disk.f_flag & os.ST_RDONLY
