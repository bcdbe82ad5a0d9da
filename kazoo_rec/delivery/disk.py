"""Room where recordings are kept. Calls are recorded as long as there is any: FreeSWITCH does not say when there is
none (it goes on counting), so it is made before, and whoever runs it is told before."""

import errno
import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
from gevent.event import AsyncResult
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.delivery.finish import remove
from kazoo_rec.delivery.http import explain
from kazoo_rec.delivery.mark import check
from kazoo_rec.delivery.meter import Meter
from kazoo_rec.delivery.settings import DiskSettings
from kazoo_rec.errors import StoreError
from kazoo_rec.media.names import PLAYED, all_of

#: Once it has begun, this share of the disk more is made free than was asked for: not a file for each that comes.
MORE_SHARE = 0.01

#: Recordings that are looked up at once.
AT_ONCE = 500

#: Milliseconds until more is removed: what was is not free at once everywhere (btrfs says so after its next commit, of
#: which there is one in 30 s), and where nothing may go it is not looked for all the time.
AGAIN_MS = 30_000

#: Seconds in which a database that takes anything has said that audio may go; one that takes nothing grants no legal
#: hold either.
CLAIMED_IN_S = 2.0

#: What a disk says that takes nothing more of anybody, or is not there (`mark.check`).
REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENODEV)

log = structlog.get_logger()


class Disk:
    """The file system of a directory.

    `free_bytes`; `least_bytes` below which `alarmed`; `wanted_bytes` are to be made free, 0 while there is room.

    Parameters: `run(function, args)` on a thread, `stat_of` as os.statvfs.
    """

    def __init__(self, directory: Path, settings: DiskSettings, run: Callable, stat_of=os.statvfs):
        self._directory, self._settings, self._run, self._stat_of = directory, settings, run, stat_of
        self.free_bytes = self.least_bytes = self.wanted_bytes = 0
        self.alarmed = False

    def look(self):
        """Raises OSError where the directory is not to be had."""
        found = self._run(self._stat_of, (self._directory,))
        all_bytes, self.free_bytes = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        self.least_bytes = round(all_bytes * self._settings.alarm_below)
        mark_bytes = all_bytes * self._settings.remove_delivered_below
        if self.free_bytes < mark_bytes or self.wanted_bytes:
            self.wanted_bytes = max(0, round(mark_bytes + all_bytes * MORE_SHARE) - self.free_bytes)
        alarmed = self.free_bytes < self.least_bytes
        if alarmed != self.alarmed:
            self.alarmed = alarmed
            told = {"directory": str(self._directory), "free_bytes": self.free_bytes, "least_bytes": self.least_bytes}
            if alarmed:
                log.error("the disk is nearly full", **told,
                          hint="make room: FreeSWITCH goes on without a word when it is full, and nothing is recorded")
            else:
                log.info("the disk has room again", **told)


class Clearing:
    """Removes what was made to be played, and then the audio of one node's delivered recordings, while their disk wants
    room.

    Never audio of one that is on legal hold, is not proved delivered, or is still to be sent or played by a link.

    Parameters: `store`, `node`, `directory`, `disk`, `run(function, args)` on a thread, `clock_ms` (since the epoch),
    `now_at` (ms that no jump of a clock moves), the node's `meter`, the directory's `mark`.
    """

    def __init__(self, store, node: str, directory: Path, disk: Disk, run: Callable, clock_ms, now_at,
                 meter: Meter, mark: str | None = None):
        self._store, self._node, self._directory, self._disk, self._run = store, node, directory, disk, run
        self._clock_ms, self._now_at, self._meter, self._mark = clock_ms, now_at, meter, mark
        self._again_at, self._refused = 0, False
        self._untold: dict[str, AsyncResult] = {}  # recordings whose audio went, of which no row says so yet

    def tick(self):
        """Until as much is removed as was wanted, or nothing is left that may go. What disk and store raise is logged,
        once: the next look may find them well. Nor does it wait for long for what it writes: a database may be on this
        disk, and need the room."""
        wanted_bytes = self._disk.wanted_bytes
        if not wanted_bytes or self._now_at() < self._again_at:
            return
        gone = self._remove(wanted_bytes)
        self._again_at = self._now_at() + AGAIN_MS
        if gone:
            self._meter.audio_removed.inc(len(gone))
            log.warning("audio of delivered recordings was removed to make room", node=self._node, recordings=len(gone),
                        bytes=sum(gone), wanted_bytes=wanted_bytes)

    def remove_delivered(self):
        """Everything that may go, whatever room there is: what was held or linked when it was delivered, or was left by
        a kill. As `tick`."""
        gone = self._remove(math.inf)
        if gone:
            log.info("audio of delivered recordings was removed", node=self._node, recordings=len(gone),
                     bytes=sum(gone))

    def _remove(self, wanted_bytes):
        """Bytes of each that went."""
        gone: list[int] = []
        self._untold = {recording_id: told for recording_id, told in self._untold.items() if not told.ready()}
        patience_s = CLAIMED_IN_S
        try:
            self._run(check, (self._directory, self._mark))
            if wanted_bytes < math.inf:
                played_bytes = self._run(_remove_played, (self._directory,))
                wanted_bytes = self._disk.wanted_bytes = max(0, wanted_bytes - played_bytes)
            for row in self._may_go() if wanted_bytes else ():
                # The row first: a hold that comes after it is told that nothing is there.
                told = self._untold[row["id"]] = self._store.recordings.claim(row["id"], self._clock_ms())
                told.wait(patience_s)
                if not told.successful():
                    if wanted_bytes == math.inf:
                        break
                    patience_s = 0
                elif not told.get():
                    continue
                gone.append(self._remove_claimed(row))
                if sum(gone) >= wanted_bytes:
                    break
            self._refused = False
        except (OSError, SQLAlchemyError, StoreError) as refused:
            if not self._refused:
                log.error("no room can be made", node=self._node, error=explain(refused),
                          hint="the directories of recordings have to be writable for this user")
            self._refused = True
        return gone

    def _remove_claimed(self, row):
        try:
            return self._run(_remove_all, (row["id"], self._directory / row["master"]))
        except OSError:
            self._store.recordings.update(row["id"], audio_removed_ms=None)
            raise

    def _may_go(self):
        after = None
        while rows := self._store.recordings.on_disk(self._node, self._clock_ms(), after, AT_ONCE):
            after = rows[-1]["stopped_ms"], rows[-1]["id"]
            for row in rows:
                if row["may_go"] and row["id"] not in self._untold:
                    yield row


def _remove_played(directory):
    """As `_remove_all`; what is just being made (.part) stays."""
    removed_bytes = 0
    for form in ("mp3", "wav"):
        for path in directory.glob(f"*/*/*{PLAYED}.{form}"):
            with suppress(FileNotFoundError):  # its recording was deleted meanwhile
                removed_bytes += path.stat().st_size
                path.unlink()
    return removed_bytes


def _remove_all(recording_id, master):
    """Returns how many bytes there were."""
    paths = [path for path in all_of(recording_id, master) if path.exists()]
    removed_bytes = sum(path.stat().st_size for path in paths)
    remove(*paths)
    return removed_bytes


def refuses(error: BaseException) -> bool:
    """Whether it is the disk's trouble, and not that of one file."""
    return isinstance(error, OSError) and error.errno in REFUSALS
