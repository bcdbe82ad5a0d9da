"""The invariant: each leg that policy wanted recorded is one of delivered, queued, reported; else it is broken."""

import hashlib
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy
import soundfile

from tests.faults.truth import Ledger, Talk, received, talks

#: A leg that was answered for less, ms, may end with nothing.
SHORT_MS = 1000

#: So much of a talk may be missing, ms, without a word: from the answer to the first frame, and what a killed switch
#: had not written.
MISSING_MS = 400

#: So long after it hears the switch again, ms, an engine may take to find the legs that there are.
TAKEN_IN_MS = 2000

#: A file of fewer seconds is too short to tell its tones.
TELLING_S = 0.5


@dataclass(slots=True)
class Account:
    """How many recordings were wanted, and what became of them. `broken` says of each that is, why."""

    wanted: int = 0
    delivered: int = 0
    queued: int = 0
    reported: int = 0
    broken: list[str] = field(default_factory=list)

    def __str__(self):
        return (f"{self.wanted} wanted, {self.delivered} delivered, {self.queued} queued, {self.reported} reported, "
                f"{len(self.broken)} broken")


def account(switch_journal: Path, receiver: Path, recordings: Path, ledger: Ledger, since_ms: int = 0, outages=(),
            reconciled=frozenset) -> Account:
    """Compares what the switch did, what the server has, what is on the disk and what the rows say; when all is quiet.

    Parameters:
      receiver: the directory of the server's.
      recordings: that of the recordings.
      since_ms: legs that were answered before are left out.
      outages: (from, to), ms, in which no engine heard the switch.
      reconciled: `reconciled()` are the legs of which `kazoo-rec reconcile` says that nothing is there. It is the
        report for legs that were answered and over in one outage; for no others.
    """
    books = _Books(receiver, recordings, ledger, outages, cache(reconciled))
    found, legs = Account(), talks(switch_journal)
    for talk in legs.values():
        if talk.spoken[0][0] < since_ms:
            continue
        rows = books.of_leg.get(talk.uuid, [])
        if not talk.is_wanted:
            if rows:
                found.broken.append(f"{talk.uuid}: recorded, and nobody wants it")
            continue
        if talk.spoken_ms < SHORT_MS and not any(row["state"] not in ("discarded", "failed") for row in rows):
            continue
        found.wanted += 1
        try:
            kind = books.outcome(talk, rows)
            setattr(found, kind, getattr(found, kind) + 1)
        except _Broken as broken:
            found.broken.append(f"{talk.uuid} of {talk.user}: {broken}; " + ("; ".join(map(_told, rows)) or "no row"))
    found.broken += books.strangers(legs)
    return found


class _Broken(Exception):
    """Why."""


class _Books:
    def __init__(self, receiver, recordings, ledger, outages, reconciled):
        self._receiver, self._recordings, self._outages, self._reconciled = receiver, recordings, outages, reconciled
        self._received, self._uploads, self.of_leg = received(receiver / "journal"), {}, {}
        self._rows = ledger.recordings()
        for row in self._rows:
            self.of_leg.setdefault(row["call_id"], []).append(row)
        for delivery in ledger.deliveries():
            if delivery["kind"] == "upload":
                self._uploads.setdefault(delivery["recording_id"], []).append(delivery)

    def outcome(self, talk: Talk, rows) -> str:
        """"delivered", "queued" or "reported". Raises _Broken."""
        kept = [row for row in rows if row["state"] != "discarded"]
        if not kept and self._was_in_an_outage(talk) and talk.uuid in self._reconciled():
            return "reported"
        if not kept:
            raise _Broken(f"of {talk.spoken_ms} ms nothing is there and nothing is reported")
        self._check_overlap(kept)
        kinds = {self._of_row(talk, row) for row in kept}
        whole = [row for row in kept if row["state"] == "recorded" and not row["partial"]]
        if len(whole) == len(kept):
            missing_ms = talk.spoken_ms - sum(row["duration_ms"] for row in kept)
            if missing_ms > MISSING_MS:
                raise _Broken(f"{missing_ms} ms of {talk.spoken_ms} are missing, and no row says so")
        return min(kinds, key=("reported", "queued", "delivered").index)

    def _was_in_an_outage(self, talk):
        since, until = talk.spoken[0][0], talk.spoken[-1][1]
        return any(begun <= since and until <= ended + TAKEN_IN_MS for begun, ended in self._outages)

    def _of_row(self, talk, row):
        if row["state"] == "failed":
            if not row["state_reason"]:
                raise _Broken("failed without a reason")
            return "reported"
        uploads = self._uploads.get(row["id"], [])
        if row["state"] == "stopped":
            self._check_file(row["master"], None)
            return "queued"
        if row["state"] != "recorded":
            raise _Broken(f"{row['state']} for ever")
        if row["partial"] and not row["state_reason"]:
            raise _Broken("partial without a reason")
        if len(uploads) != 1:
            raise _Broken(f"{len(uploads)} uploads of one recording")
        (upload,) = uploads
        if upload["state"] == "due":
            self._check_file(row["file"], row["sha256"])
            return "queued"
        if upload["state"] == "failed":
            if not upload["last_error"]:
                raise _Broken("given up without a reason")
            self._check_file(row["file"], row["sha256"])
            return "reported"
        self._check_received(talk, row, upload)
        return "reported" if row["partial"] else "delivered"

    def _check_received(self, talk, row, upload):
        came = self._received.get(row["id"])
        if not came:
            raise _Broken("said to be delivered, and the server does not have it")
        if {one["sha256"] for one in came} != {row["sha256"]} or upload["proof_sha256"] != row["sha256"]:
            raise _Broken("the server has other bytes")
        if len({one["place"] for one in came}) != 1:
            raise _Broken(f"delivered to two places: {sorted({one['place'] for one in came})}")
        self._check_sound(talk, row, self._receiver / f"{row['id']}.{row['sha256'][:16]}")

    @staticmethod
    def _check_sound(talk, row, path):
        sound, rate = soundfile.read(path, always_2d=True)
        if len(sound) < TELLING_S * rate:
            return
        if abs(len(sound) / rate * 1000 - row["duration_ms"]) > 300:  # an MP3 has frames before and after
            raise _Broken(f"{len(sound) / rate:.2f} s in the file, {row['duration_ms']} ms in the row")
        sides = [{talk.says}, {talk.hears}] if sound.shape[1] == 2 else [{talk.says, talk.hears}]
        for side, expected in zip(sound.T, sides, strict=True):
            others = loudest(side, rate) - expected
            if others:
                raise _Broken(f"somebody else's call: {sorted(others)} Hz, not {sorted(expected)}")

    def _check_file(self, path, sha256):
        file = self._recordings / path
        if not file.exists():
            raise _Broken(f"queued, and its file is not there: {path}")
        if sha256 and hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            raise _Broken(f"queued, and its file is another: {path}")

    @staticmethod
    def _check_overlap(rows):
        """Two recordings of one leg are of times one after the other."""
        begun = sorted((row["started_ms"] or row["stopped_ms"] or 0, row["stopped_ms"] or 0) for row in rows)
        for (_, until), (since, _) in pairwise(begun):
            if since < until - MISSING_MS:
                raise _Broken("recorded twice at one time")

    def strangers(self, legs) -> list[str]:
        """What belongs to no leg, no row or no recording."""
        ids = {row["id"] for row in self._rows}
        found = [f"{row['id']}: a recording of {row['call_id']}, which never answered" for row in self._rows
                 if row["call_id"] not in legs and row["state"] not in ("discarded", "failed")]
        found += [f"{key}: the server has it, and no row" for key in self._received
                  if key.partition(".")[0] not in ids]  # a webhook's has the state behind it
        found += [f"{path.relative_to(self._recordings)}: a file without a row"
                  for path in self._recordings.glob("*/*/*.*") if path.name.partition(".")[0] not in ids]
        return found


def loudest(samples, rate: int) -> set[int]:
    """The tones of a file, Hz to the next ten: those that are there for a good part of it."""
    spectrum = numpy.abs(numpy.fft.rfft(samples * numpy.hanning(len(samples))))
    step = rate / len(samples)
    found, most = set(), spectrum.max()
    while len(found) < 4 and (at := int(spectrum.argmax())) and spectrum[at] > max(0.25 * most, 1e-9):
        found.add(round(at * step / 10) * 10)
        spectrum[max(0, at - round(15 / step)):at + round(15 / step)] = 0
    return found


def _told(row):
    return f"{row['id']} {row['state']} ({row['state_reason']}) {row['duration_ms']} ms"
