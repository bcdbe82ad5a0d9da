"""Files of recordings of which there is no row: what their engine had in memory died with it while the database took
nothing, or the database was put back to what it was before. Each becomes a row: finished and delivered where its
settings are known again, else `failed`, which keeps the file.

An engine that lives may have the row in memory. It writes in order, and says every 2 s that it lives: once it has said
so twice after a file was seen without a row, it has none for it.

Files that are to be gone go as well: delivery was killed between the row that says so and their removal, or could not.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import structlog

from kazoo_rec.delivery.finish import is_marked, remove
from kazoo_rec.delivery.mark import check
from kazoo_rec.delivery.meter import Meter
from kazoo_rec.errors import MediaError
from kazoo_rec.media import wav
from kazoo_rec.media.names import PART, all_of
from kazoo_rec.media.sealed import is_sealed, remove_abandoned
from kazoo_rec.store.comment import NOTHING, read

#: Seconds between looks at every directory that has changed, and between those at files that have no row yet.
ALL_EVERY_S, FOUND_EVERY_S = 300.0, 5.0

#: Seconds for which a file has not grown of which it is not known whose leg might still be recorded to it.
AT_REST_S = 600.0

#: Words of its engine after which an engine has nothing in memory of a file: one that it had begun to write, one after.
WORDS = 3

#: Files that are looked up at once.
AT_ONCE = 500

_ACCOUNT, _DAY = re.compile(r"[A-Za-z0-9_-]{1,64}"), re.compile(r"[0-9]{8}")
_FILE = re.compile(r"([0-9]{6}-[0-9a-f]{32})(?:\.f)?\.wav")
_SECOND_PART = re.compile(rf"[0-9]{{6}}-[0-9a-f]{{32}}\..*\.[0-9a-f]{{32}}{re.escape(PART)}")

_NOT_KNOWN = dict.fromkeys(("source", "from_uri", "to_uri", "caller_id_name", "caller_id_number", "callee_id_name",
                            "callee_id_number"), "")

log = structlog.get_logger()


@dataclass(slots=True)
class _Found:
    """A file without a row; `heard` are the engine's words since, `size` it has had since `since_s`."""

    id: str
    heard: set = field(default_factory=set)
    size: int = -1
    since_s: float = 0.0


class Orphans:
    """Of one recordings directory.

    Parameters:
      store, node: of this delivery and its switches' engine.
      switches: the meter of each, by name. Their rows become those of the one that the file names, else of the first.
      directory: of recordings.
      run: `run(function, args)` on a thread.
      settings_of: `settings_of(account, user, device, digest)` gives the settings that have this digest
        (`policy.settings.digest`) and where each comes from, None where no document says them any more.
      kept: the settings of one of which they are not known.
      now_s: a clock that nothing moves.
      mark: the directory's.
    """

    def __init__(self, store, node: str, switches: Mapping[str, Meter], directory: Path, run: Callable,
                 settings_of: Callable, kept: Mapping, now_s: Callable, mark: str | None = None):
        self._store, self._node, self._switches, self._directory, self._run = store, node, switches, directory, run
        self._settings_of, self._kept, self._now_s, self._mark = settings_of, kept, now_s, mark
        self._looked: dict[str, int] = {}
        self._found: dict[str, _Found] = {}
        self._all_at_s = None
        self._refused: set[tuple[Callable, str]] = set()  # what the disk refused last, of which path

    def look(self):
        """To be called every FOUND_EVERY_S. Raises what the store raises, and OSError where the directory itself is not
        to be had, or is another; one below it that cannot be read, or a file, is told once and holds up no other."""
        now_s = self._now_s()
        self._run(check, (self._directory, self._mark))
        if self._all_at_s is None or now_s >= self._all_at_s:
            self._all_at_s = now_s + ALL_EVERY_S
            for account in self._run(_accounts, (self._directory,)):
                for day, changed_ns in self._of_disk(account, _days, (self._directory, account)) or ():
                    if self._looked.get(day) != changed_ns and self._look_into(day):
                        self._looked[day] = changed_ns
        if self._found:
            self._settle(now_s)

    def _look_into(self, day):
        """Whether all of it could be read. A day may have a million files, and memory once had is not given back."""
        listing = _files(self._directory, day)
        while files := self._of_disk(day, _some, (listing, day)):
            self._note_unknown(files)
            self._remove_left(files)
        return files is not None

    def _of_disk(self, path, function, args):
        """What a function finds at a path, None where the disk refuses."""
        try:
            found = self._run(function, args)
        except OSError as refused:
            if (function, path) not in self._refused:
                log.error("files without a row cannot be looked for here", path=path, reason=str(refused))
            self._refused.add((function, path))
            return None
        self._refused.discard((function, path))
        return found

    def _note_unknown(self, files):
        unknown = self._store.recordings.unknown([recording_id for _, recording_id in files])
        for path, recording_id in files:
            if recording_id in unknown:
                self._found.setdefault(path, _Found(recording_id))

    def _remove_left(self, files):
        removed = self._store.recordings.removed([recording_id for _, recording_id in files])
        for path, recording_id in files:
            if recording_id in removed:
                self._of_disk(path, _remove_all, (recording_id, self._directory / path))

    def _settle(self, now_s):
        said_ms = next((row["said_ms"] for row in self._store.vitals.all()
                        if (row["node"], row["role"]) == (self._node, "engine")), None)
        unknown = self._store.recordings.unknown([found.id for found in self._found.values()])
        for path, found in list(self._found.items()):
            stat = self._of_disk(path, _stat, (self._directory / path,))
            if found.id not in unknown or stat is False:
                del self._found[path]
                continue
            if stat is None:
                continue
            if said_ms is not None:
                found.heard.add(said_ms)
            if stat.st_size != found.size:
                found.size, found.since_s = stat.st_size, now_s
            if len(found.heard) >= WORDS and self._adopt(path, found, stat, now_s - found.since_s >= AT_REST_S):
                del self._found[path]

    def _adopt(self, path, found, stat, at_rest):
        """Whether it has a row now."""
        row = self._of_disk(path, self._row, (path, found.id, stat))
        if row is None:
            return False
        account = row["account_id"]
        user, device, digest, declined = (row.pop(name) for name in ("user", "device", "digest", "declined"))
        settings = digest and self._settings_of(account, user, device, digest)
        known = row["node"] in self._switches or len(self._switches) == 1
        if row["node"] not in self._switches:
            row["node"] = next(iter(self._switches))
        if settings and (known or at_rest):
            # Whether the switch still writes it is the engine's to find out, as of every open row.
            row |= {"state": "recording", "settings": settings[0], "settings_from": settings[1],
                    "state_reason": None}
        elif at_rest:
            row |= {"state": "failed", "settings": dict(self._kept), "settings_from": {},
                    "state_reason": f"found without its row: {row['state_reason']}; the file is kept"}
            if declined:
                row |= {"state": "stopped", "state_reason": None}  # it is finished by being erased
        else:
            return False
        if self._store.recordings.adopt({**row, "user_id": user or None, "device_id": device or None}).get():
            self._switches[row["node"]].states.labels(row["state"]).inc()
            log.error("a recording was found without its row", recording_id=found.id, account=account,
                      state=row["state"], hint="the database was full, locked or put back; its file is where it was")
        return True

    def _row(self, path, recording_id, stat):
        """What is known of it. Blocks."""
        reason = "its settings are not known"
        try:
            text, duration_ms = wav.said(self._directory / path)
            said = read(text)
        except MediaError:
            said, duration_ms = None, 0
            if is_sealed(self._directory / path):
                reason = "it is encrypted, and its key was in its row"
        call, talk, rule, leg, user, device, digest, switch = said or NOTHING
        ended_ms = stat.st_mtime_ns // 1_000_000
        return {
            **_NOT_KNOWN, "id": recording_id, "node": switch, "account_id": path.partition("/")[0],
            "call_id": call, "interaction_id": talk or call, "rule": rule, "leg": leg,
            "direction": "outbound" if leg == "B" else "inbound", "origin": "found", "master": path,
            "reason": "Found without its row.", "started_ms": ended_ms - duration_ms, "stopped_ms": ended_ms,
            "created_ms": ended_ms - duration_ms, "duration_ms": duration_ms, "state_reason": reason,
            "user": user, "device": device, "digest": digest,
            "declined": is_marked({"id": recording_id, "master": path}, self._directory)}


def _accounts(directory):
    return [account.name for account in _directories(directory, _ACCOUNT)]


def _days(directory, account):
    """(account/day, when it was changed) of every one."""
    return [(f"{account}/{day.name}", day.stat().st_mtime_ns) for day in _directories(directory / account, _DAY)]


def _directories(path, name):
    with os.scandir(path) as entries:
        return [entry for entry in entries if name.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]


def _files(directory, day):
    """(path, id of its recording) of every master. What a killed process was making beside another goes."""
    with os.scandir(directory / day) as entries:
        for entry in entries:
            if match := _FILE.fullmatch(entry.name):
                yield f"{day}/{match[0]}", match[1]
            elif _SECOND_PART.fullmatch(entry.name):
                remove_abandoned(entry.path)


def _some(listing, day):
    """The next AT_ONCE files of a day."""
    return list(islice(listing, AT_ONCE))


def _remove_all(recording_id, master):
    remove(*all_of(recording_id, master))


def _stat(path):
    """False where there is no such file."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return False
