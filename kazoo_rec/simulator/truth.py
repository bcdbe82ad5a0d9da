"""What truly happened on the simulated switch, kept in a file as it happens: the figures to hold a recorder to.

One JSON object a line, written at once, so that a kill -9 of the simulator loses none. Every line has `at`, seconds
since 1970 by the switch's clock, and `now`:

    started    the switch began: {"core"}; legs that have no `ended` before it were killed with the switch
    alive      once a second
    created    {"leg", "user", "domain", "direction", "originator", "call"}: the leg's uuid, its phone's number and
               domain ("" beyond the carrier), "inbound" or "outbound" as FreeSWITCH says it, who dialled it ("" for a
               caller) and the name of the script
    answered   {"leg", "says", "media"}: the tone of its phone in Hz, 0 for silence; false where nothing can be recorded
    recovered  the same, of a leg that `sofia recover` brought back
    says       {"leg", "says"}: another tone from here on
    held, unheld, media gone    {"leg"}: no samples of it, again, never again
    records    {"leg", "path"}: uuid_record or record_session opened a file
    moved      {"leg", "path", "to"}: the recording goes on of another leg
    stopped    {"leg", "path", "ms", "cause"}: as RECORD_STOP tells it; null and "killed" where the switch was killed
    ended      {"leg", "cause"}: it was hung up, or "killed"
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

#: `alive` comes so often; a leg that was killed with the switch is known to that many seconds.
ALIVE_S = 1.0


class Truth:
    """The writing side; without a path it keeps nothing."""

    def __init__(self, path=None):
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, clock, now: str, **more):
        """Adds a line. Raises OSError."""
        if self._file is not None:
            line = {"at": round(clock.epoch + clock.now, 3), "now": now, **more}
            os.write(self._file, json.dumps(line).encode() + b"\n")


@dataclass
class TrueFile:
    """A file that the switch wrote. `ms` and `cause` are what RECORD_STOP said, None and "" where it did not come."""

    path: str
    begun: float
    ended: float | None = None
    ms: int | None = None
    cause: str = ""


@dataclass
class TrueLeg:
    """A leg as it was; all times are seconds since 1970, None for not (yet).

    `killed` says that it went with the switch. `spans` are (from, to, Hz) in which it gave samples after its answer,
    `files` those that were begun on it, oldest first.
    """

    uuid: str
    user: str
    domain: str
    direction: str
    originator: str
    call: str
    created: float
    answered: float | None = None
    ended: float | None = None
    cause: str = ""
    killed: bool = False
    spans: list = field(default_factory=list)
    files: list = field(default_factory=list)
    _media: bool = False
    _gives: bool = False
    _since: float = 0.0
    _hz: int = 0

    @property
    def gave_s(self) -> float:
        """Seconds of samples after its answer."""
        return sum(end - begin for begin, end, _ in self.spans)

    def _turn(self, at, gives, hz=None):
        if self._gives and at > self._since:
            self.spans.append((self._since, at, self._hz))
        self._gives, self._since, self._hz = gives, at, self._hz if hz is None else hz

    def _take(self, at, now, line):
        match now:
            case "answered" | "recovered":
                self.answered, self.ended = self.answered or at, None
                self._media, self.killed = line["media"], False
                self._turn(at, self._media, line["says"])
            case "says":
                self._turn(at, self._gives, line["says"])
            case "held" | "unheld" | "media gone":
                self._media = self._media and now != "media gone"
                self._turn(at, now == "unheld" and self._media)
            case "records":
                self.files.append(TrueFile(line["path"], at))
            case "ended":
                self._end(at, line["cause"], line["cause"] == "killed")

    def _end(self, at, cause, killed=False):
        if self.ended is None:
            self._turn(at, False)
            self.ended, self.cause, self.killed = at, cause, killed


def read(path) -> list[TrueLeg]:
    """The legs of a file, in order of their coming; those that still live have given samples until its last line. A
    last line that was cut off is none."""
    legs, at = {}, 0.0
    for text in Path(path).read_text().splitlines(keepends=True):
        if not text.endswith("\n"):
            break
        line = json.loads(text)
        now, before, at = line["now"], at, line["at"]
        match now:
            case "started":
                for leg in legs.values():
                    leg._end(before, "killed", killed=True)
            case "created":
                legs[line["leg"]] = TrueLeg(line["leg"], *(line[name] for name in (
                    "user", "domain", "direction", "originator", "call")), created=at)
            case "stopped":
                file = next(file for leg in legs.values() for file in leg.files
                            if file.path == line["path"] and file.ended is None)
                file.ended, file.ms, file.cause = at, line["ms"], line["cause"]
            case "alive" | "moved":
                pass
            case _:
                legs[line["leg"]]._take(at, now, line)
    for leg in legs.values():
        leg._turn(at, leg._gives)
    return list(legs.values())
