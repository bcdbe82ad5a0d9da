"""The invariant: each leg that policy wanted recorded is one of delivered, queued, reported; else it is broken.

What is reported has to be true: a leg may miss audio only while no engine heard the switch, or the switch was dead; its
rows say how much, to a second (or that this is not known, where its beginning or end was not heard); and of what failed
there is no audio.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from math import inf
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

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

#: What rows tell of what is missing may be wrong by this, ms.
TOLD_MS = 1000

#: A piece of fewer seconds is too short to tell its tones; a file is listened to in such pieces, less its ends.
TELLING_S = 0.5

#: Seconds at the ends of a file in which one of two may have come, or gone, already.
ENDS_S = 0.3


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
            reconciled=frozenset, may_lose: bool = False) -> Account:
    """Compares what the switch did, what the server has, what is on the disk and what the rows say; when all is quiet.

    Parameters:
      receiver: the directory of the server's.
      recordings: that of the recordings.
      since_ms: legs that were answered before are left out.
      outages: (from, to), ms, in which no engine heard the switch.
      reconciled: `reconciled()` are the legs of which `kazoo-rec reconcile` says that nothing is there. It is the
        report for legs that were answered and over in one outage, which the product has a row of; for no others.
      may_lose: the fault costs audio of itself, outages or not. What is missing has to be told all the same.
    """
    books = _Books(receiver, recordings, ledger, outages, cache(reconciled), may_lose)
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
    def __init__(self, receiver, recordings, ledger, outages, reconciled, may_lose):
        self._receiver, self._recordings, self._reconciled = receiver, recordings, reconciled
        self._outages = [(begun, ended + TAKEN_IN_MS) for begun, ended in outages]
        self._noticed = [(one["since_ms"], one["until_ms"] or inf) for one in ledger.outages()]
        self._received, self._uploads, self.of_leg = received(receiver / "journal"), {}, {}
        self._rows, self._may_lose = ledger.recordings(), may_lose
        for row in self._rows:
            self.of_leg.setdefault(row["call_id"], []).append(row)
        for delivery in ledger.deliveries():
            if delivery["kind"] == "upload":
                self._uploads.setdefault(delivery["recording_id"], []).append(delivery)

    def outcome(self, talk: Talk, rows) -> str:
        """"delivered", "queued" or "reported". Raises _Broken."""
        kept = [row for row in rows if row["state"] != "discarded"]
        if not kept and self._is_named(talk):
            return "reported"
        if not kept:
            raise _Broken(f"of {talk.spoken_ms} ms nothing is there and nothing is reported")
        self._check_overlap(kept)
        kinds = {self._of_row(talk, row) for row in kept}
        self._check_missing(talk, kept)
        return min(kinds, key=("reported", "queued", "delivered").index)

    def _is_named(self, talk):
        """Whether it was over before an engine could hear of it, the product knows of that time, and `reconcile` finds
        the call."""
        since, until = talk.spoken[0][0], talk.spoken[-1][1]
        return (any(begun <= since and until <= ended for begun, ended in self._outages)
                and any(begun <= until and since <= ended + TAKEN_IN_MS for begun, ended in self._noticed)
                and talk.uuid in self._reconciled())

    def _check_missing(self, talk, rows):
        """Rows tell how much of their leg there is not."""
        if any(row["state"] == "stopped" for row in rows):
            return  # its length is not known yet
        missing_ms = talk.spoken_ms - sum(row["duration_ms"] or 0 for row in rows)
        if missing_ms < -MISSING_MS:
            raise _Broken(f"{-missing_ms} ms more than the {talk.spoken_ms} ms that were spoken")
        told = [row for row in rows if row["partial"] or row["state"] == "failed"]
        if missing_ms > MISSING_MS and not told:
            raise _Broken(f"{missing_ms} ms of {talk.spoken_ms} are missing, and no row says so")
        if told and not any(row["state"] == "failed" for row in rows):
            told_ms = sum(map(_told_missing_ms, rows))
            ends_unheard = any(span["kind"] == "unheard" for row in rows for span in json.loads(row["spans"]))
            begun_unheard = any("by how much was not heard" in (row["state_reason"] or "") for row in rows)
            if (missing_ms - told_ms > TOLD_MS and not begun_unheard) or (
                    told_ms - missing_ms > TOLD_MS and not ends_unheard):
                raise _Broken(f"{missing_ms} ms of {talk.spoken_ms} are missing, {told_ms} are told")
        away_ms = sum(max(0, min(until, ended) - max(since, begun)) for since, until in talk.spoken
                      for begun, ended in self._outages)
        if missing_ms - away_ms > MISSING_MS and not self._may_lose:
            raise _Broken(f"{missing_ms} ms of {talk.spoken_ms} are missing, and only for {away_ms} was nobody there")

    def _of_row(self, talk, row):
        if row["state"] == "failed":
            if not row["state_reason"]:
                raise _Broken("failed without a reason")
            if (there_s := self._seconds(row["master"])) > TELLING_S:
                raise _Broken(f"failed, and {there_s:.1f} s of it are there")
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
            raise _Broken(f"its delivery was given up: {upload['last_error']}")
        self._check_received(talk, row, upload)
        return "reported" if row["partial"] else "delivered"

    def _check_received(self, talk, row, upload):
        came = self._received.get(row["id"])
        if not came:
            raise _Broken("said to be delivered, and the server does not have it")
        if {one["sha256"] for one in came} != {row["sha256"]} or upload["proof_sha256"] != row["sha256"]:
            raise _Broken("the server has other bytes")
        if not all(one["verified"] for one in came):
            raise _Broken("sent without a digest")
        settings = json.loads(row["settings"])
        url = urlsplit(settings["url"])
        bucket = f"/{url.netloc}" if url.scheme == "s3" else ""
        place = f"{bucket}{url.path}/call_recording_{row['id']}.{settings['format']}"
        if (places := {one["place"] for one in came}) != {place}:
            raise _Broken(f"delivered to {sorted(places)}, not to {place}")
        for name, value in (("call_id", talk.uuid), ("recording_id", row["id"]), ("account_id", row["account_id"])):
            if not bucket and any(parse_qs(one["query"])[name] != [value] for one in came):
                raise _Broken(f"the server was told of another {name}")
        self._check_sound(talk, row, self._receiver / f"{row['id']}.{row['sha256'][:16]}")

    @staticmethod
    def _check_sound(talk, row, path):
        sound, rate = soundfile.read(path, always_2d=True)
        if abs(len(sound) / rate * 1000 - row["duration_ms"]) > 300:  # an MP3 has frames before and after
            raise _Broken(f"{len(sound) / rate:.2f} s in the file, {row['duration_ms']} ms in the row")
        channels = 2 if json.loads(row["settings"])["channels"] == "dual" else 1
        if sound.shape[1] != channels:
            raise _Broken(f"{sound.shape[1]} channels, not {channels}")
        sides = [{talk.says}, {talk.hears}] if channels == 2 else [{talk.says, talk.hears}]
        piece, first = int(TELLING_S * rate), int(ENDS_S * rate)
        for side, expected in zip(sound.T, sides, strict=True):
            for at in range(first, len(side) - first - piece, piece):
                if (there := loudest(side[at:at + piece], rate)) != expected:
                    raise _Broken(f"at {at / rate:.1f} s of {len(side) / rate:.1f} there are {sorted(there)} Hz, not "
                                  f"{sorted(expected)}")

    def _check_file(self, path, sha256):
        file = self._recordings / path
        if not file.exists():
            raise _Broken(f"queued, and its file is not there: {path}")
        if sha256 and hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            raise _Broken(f"queued, and its file is another: {path}")

    def _seconds(self, path):
        file = self._recordings / path
        return soundfile.info(file).duration if file.exists() and file.stat().st_size > 44 else 0

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
        found += [f"{key}: the server has it, and no row" for key in self._received if key not in ids]
        by_sound = {}  # of one leg: other calls have the same tones some time, and may last as long
        for row in self._rows:
            if row["sha256"] and row["duration_ms"] > TELLING_S * 1000:
                by_sound.setdefault((row["call_id"], row["sha256"]), []).append(row["id"])
        found += [f"the same bytes under {twice}" for twice in by_sound.values() if len(twice) > 1]
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


def _told_missing_ms(row) -> int:
    """Before it began, and less than there should be."""
    gaps_ms = sum(span["to_ms"] - span["from_ms"] for span in json.loads(row["spans"]) if span["kind"] == "gap")
    if late := re.search(r"it began late: up to ([\d.]+) s", row["state_reason"] or ""):
        gaps_ms += float(late[1]) * 1000
    return gaps_ms + max(0, (row["expected_ms"] or 0) - (row["duration_ms"] or 0))


def _told(row):
    return f"{row['id']} {row['state']} ({row['state_reason']}) {row['duration_ms']} ms"
