"""The recordings directory on this host: rights, group, file system, space."""

import grp
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

from kazoo_rec.config import RecordingsDir
from kazoo_rec.delivery.settings import DiskSettings
from kazoo_rec.doctor.finding import Finding, ok, warning, wrong

#: Of file systems that another host serves: a stall of it stalls FreeSWITCH's calls.
NETWORK_TYPES = ("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ceph", "glusterfs", "9p", "afs", "coda", "lustre",
                 "beegfs", "gpfs", "gfs2", "ocfs2", "orangefs", "pvfs2")

#: Begins the type of a file system that a program serves (fuse.sshfs, fuse.s3fs, fuse.rclone, …), but for those that
#: keep everything on this host. Plain "fuse" does not say which it is; "fuseblk" is a local disk.
FUSE, LOCAL_FUSE = "fuse", ("fuseblk", "fuse.fuse-overlayfs", "fuse.mergerfs", "fuse.bindfs")

#: Bytes free below which calls are about to be lost, files free below which no recording can be begun.
LEAST_FREE_BYTES, LEAST_FREE_FILES = 200_000_000, 10_000

#: Days that the space has to last.
DAYS_WARNING, DAYS_WRONG = 7, 1

DAY_MS = 86_400_000

_MAKE = "install -d -o kazoo_rec -g freeswitch -m 2770 {}, with a group that FreeSWITCH and kazoo_rec share"


def rights(directory: RecordingsDir, groups: frozenset[int], mounts: str, access=os.access) -> list[Finding]:
    """Whether FreeSWITCH's group may go in, we may read and remove, and nobody else may look. Blocks.

    Parameters:
      groups: of this process.
      mounts: /proc/self/mountinfo (proc(5)).
    """
    name, path = "directory", Path(directory.here)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return [wrong(name, f"{path} does not exist", _MAKE.format(path))]
    except OSError as refused:
        return [wrong(name, f"{path}: {refused.strerror}", f"{_MAKE.format(path)}; and x for us on what is above it")]
    if not stat.S_ISDIR(found.st_mode):
        return [wrong(name, f"{path} is no directory", _MAKE.format(path))]
    mode = stat.S_IMODE(found.st_mode)
    seen = f"{path} is {user_name(found.st_uid)}:{group_name(found.st_gid)} {mode:04o}"
    faults = []
    if not access(path, os.R_OK | os.W_OK | os.X_OK):
        faults.append(("we may not read and remove what is in it",
                       f"run it as the engine's user; make that a member of the group {group_name(found.st_gid)}"))
    elif found.st_gid not in groups and os.geteuid():
        faults.append((f"we are not in its group {group_name(found.st_gid)}", f"`usermod -aG "
                       f"{group_name(found.st_gid)} {user_name(os.geteuid())}`, then start kazoo-rec again"))
    if not mode & 0o010:
        faults.append(("its group may not go into it, so FreeSWITCH cannot record", f"`chmod 2770 {path}`"))
    if not mode & stat.S_ISGID:
        faults.append(("it is not setgid: new files get their maker's own group", f"`chmod 2770 {path}`"))
    if mode & 0o007:
        faults.append(("everybody on this host may look into it", f"`chmod 2770 {path}`"))
    findings = [wrong(name, f"{seen}: {fault}", advice) for fault, advice in faults]
    kind = _file_system(path.resolve(), mounts)
    if kind in NETWORK_TYPES or (kind.startswith(FUSE) and kind not in LOCAL_FUSE):
        findings.append(wrong(name, f"{path} is on {kind}: a stall of it stalls calls",
                              "record on a local disk; delivery takes the files elsewhere"))
    return findings or [ok(name, seen)]


def space(here: str, written: Callable[[int], tuple[int, int]] | None, now_ms: int, removed: bool,
          marks: DiskSettings, stat_of=os.statvfs) -> list[Finding]:
    """What is free, and for how many days. Blocks.

    Parameters:
      written: (recordings, bytes) since a time in ms (`store.recordings.written_since`); None where there is no store.
      removed: whether files are removed once they are delivered.
      marks: shares of it below which somebody is told, and what was delivered is removed.
    """
    name = "disk space"
    try:
        disk = stat_of(here)
    except OSError as refused:
        return [wrong(name, f"{here}: {refused.strerror}", "see `directory`")]
    free_bytes = disk.f_bavail * disk.f_frsize
    seen = f"{_size(free_bytes)} free"
    advice = f"make room on the file system of {here}, or set delivery.remove_after_delivery"
    share = free_bytes / (disk.f_blocks * disk.f_frsize)
    if free_bytes < LEAST_FREE_BYTES or share < marks.alarm_below:
        return [wrong(name, f"{seen}: FreeSWITCH goes on without a word when the disk is full, and nothing is recorded",
                      advice)]
    if disk.f_files and disk.f_favail < LEAST_FREE_FILES:
        return [wrong(name, f"{seen}, but only {disk.f_favail} inodes", advice)]
    if share < marks.remove_delivered_below:
        return [warning(name, f"{seen}, {share:.1%}: audio of delivered recordings is being removed, the oldest first",
                        advice)]
    if written is None:
        return [ok(name, f"{seen}; without the database nobody knows for how long")]
    day_count, day_bytes = written(now_ms - DAY_MS)
    week_count, week_bytes = written(now_ms - 7 * DAY_MS)
    rate_bytes = max(day_bytes, week_bytes / 7)
    if not rate_bytes:
        return [ok(name, f"{seen}; no recording in the last 7 days to tell a rate by")]
    days = free_bytes / rate_bytes
    seen += (f", {days:.0f} days" if days >= 10 else f", {days:.1f} days") + (
        f" at {_size(rate_bytes)} a day: the higher of the last day ({day_count} recordings) and of a day of the last "
        f"week ({week_count}); masters and encoded files, " + (
            "though they are removed once delivered" if removed else "none of them removed"))
    if removed or days >= DAYS_WARNING:
        return [ok(name, seen)]
    return [wrong(name, seen, advice) if days < DAYS_WRONG else warning(name, seen, advice)]


def _file_system(path, mounts):
    """The type of the innermost mount that `path` is on; of two on one place, the later hides the earlier."""
    best, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape") if len(before.split()) > 4 else "?"
        if (f"{path}/".startswith(f"{point.rstrip('/')}/")) and len(point) >= len(best):
            best, kind = point, after.split()[0] if after else ""
    return kind


def user_name(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid):
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _size(count):
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
