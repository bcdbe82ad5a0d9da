"""Session recordings: `record_session` and `uuid_record` as switch_ivr_async.c does them, traps included."""

import os
from urllib.parse import unquote

import numpy

from .clock import FRAME_S
from .sound import RecordedFile, tone

#: Two starts on one path, one by execute_on_answer and one by command, both succeed when they are this close, in seconds.
RACE_S = 0.02
#: What modules of the switch can write. Only WAV is written as such here.
ENDINGS = ("wav", "mp3", "ogg", "flac", "gsm", "raw", "ul")
_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_TRUE = ("true", "yes", "on", "enabled", "active", "allow", "1", "t")
_FRAMES_BEFORE_WRITING = 25


def record_session(leg, data: str):
    """The application: `<path> [+<limit>] [{variables}]`. A blank anywhere else spoils what follows; failure is silent."""
    words = data.split(" ")
    limit_s, rest = 0, words[1:]
    if rest and rest[0].startswith("+") and rest[0][1:].isdigit():
        limit_s, rest = int(rest[0][1:]), rest[1:]
    variables = parse_variables(rest[0]) if len(rest) == 1 else {}
    start_recording(leg, words[0], limit_s, variables, armed=True)


def parse_variables(text: str) -> dict[str, str]:
    """`{a=b,c=d}` or `{^^:a=b:c=d}`: url-decoded first, so %2C protects no comma; {} where it is not both braces."""
    if not (text.startswith("{") and text.endswith("}")):
        return {}
    text, separator = unquote(text[1:-1]), ","
    if text.startswith("^^") and len(text) > 2:
        separator, text = text[2], text[3:]
    return dict(part.split("=", 1) for part in text.split(separator) if "=" in part)


def start_recording(leg, path: str, limit_s: int, variables: dict, armed: bool) -> bool:
    """Whether the switch says that it went well, which it also does where the path is being recorded already."""
    if not path or not leg.media or leg.cause:
        return False
    if not path.startswith("/"):
        path = f"{leg.switch.recordings}/{path}"
    now = leg.clock.now
    known = leg.files.get(path)
    if known is not None and (known.armed == armed or now - known.started >= RACE_S):
        return True
    if not leg.early and not leg.answered:
        if leg.direction == "outbound":
            return _ruin(leg)
        leg.pre_answer()
    try:
        recording = Recording(leg, path, limit_s, variables, armed)
    except OSError:
        return False
    # Commands find a recording by its path, and of two on one path only the later.
    leg.files[path] = recording
    leg.recordings.append(recording)
    leg.recorded.append(recording)
    recording.announce()
    return True


def _ruin(leg):
    """To record a called leg that only rings makes it early media without media: the call dies of it."""
    leg.pre_answer()
    leg.clock.after(4 * FRAME_S, lambda: leg.hangup("INCOMPATIBLE_DESTINATION"))
    return False


class Recording:
    """A media bug that writes to a file what a leg says (left) and hears (right). Raises OSError.

    `ms` is what RECORD_STOP tells, `cause` its completion cause, "" while it goes on. Audio comes in frames: whatever
    changes what can be heard calls `catch_up` first.
    """

    def __init__(self, leg, path, limit_s, variables, armed):
        self.leg, self.path, self.variables, self.armed = leg, path, variables, armed
        self.started = self._until = leg.clock.now
        self.cause, self.ms, self.size = "", 0, 0
        self._masked = self._paused = self._overdue = False
        self._stereo = self._on("RECORD_STEREO")
        self._reads, self._writes = not self._on("RECORD_WRITE_ONLY"), not self._on("RECORD_READ_ONLY")
        if not self._reads and not self._writes:
            self._reads = True
        rate = self._get("record_sample_rate")
        self.rate = int(rate) if rate.isdigit() and int(rate) in _RATES else leg.rate
        self._samples = round(self.rate * FRAME_S)
        early = self._get("RECORD_PRE_BUFFER_FRAMES")
        self._withheld = int(early) if early.isdigit() else _FRAMES_BEFORE_WRITING
        self._frames, self._unwritten = 0, numpy.zeros((0, 2) if self._stereo else 0, "<i2")
        self._file = self._opened()
        if limit_s > 0:
            leg.clock.at(leg.clock.whole_seconds(limit_s), self._limit)

    def announce(self):
        self._publish("RECORD_START")
        self.leg.publish("MEDIA_BUG_START", after=self._bug())

    # Orders

    def mask(self):
        self.catch_up()
        self._masked = True

    def unmask(self):
        self.catch_up()
        self._masked = False

    def pause(self):
        self.catch_up()
        self._paused = True

    def resume(self):
        self.catch_up()
        self._paused = False
        self.heed_limit()

    def end(self, cause: str):
        self.stop(cause)
        self.detach()

    # Its end

    def stop(self, cause: str):
        """Closes the file, keeps or removes it, and says RECORD_STOP."""
        if self.cause:
            return
        self.catch_up()
        self.cause = cause
        self.leg.files.pop(self.path, None)
        if self._file is not None:
            self._write_out()
            self.size = self._file.close()
            self._judge()
            self.leg.variables |= {
                "record_file_size": str(self.size), "record_samples": str(self._frames * self._samples),
                "record_seconds": str(self.ms // 1000), "record_ms": str(self.ms), "record_completion_cause": self.cause}
            self._publish("RECORD_STOP", {"Record-Completion-Cause": self.cause})
        else:
            self._publish("RECORD_STOP")

    def detach(self):
        if self in self.leg.recordings:
            self.leg.recordings.remove(self)
            self.leg.publish("MEDIA_BUG_STOP", after=self._bug())

    def abandon(self):
        """The switch was killed."""
        self.catch_up()
        self.leg.recordings.remove(self)
        if self._file is not None:
            self._file.abandon()

    def _judge(self):
        self.ms = self._frames * 20
        minimum, append = self._get("RECORD_MIN_SEC"), self._on("RECORD_APPEND")
        if append:
            return
        if not self._frames:
            self.cause = "empty-file"
        elif minimum.isdigit() and self.ms < int(minimum) * 1000:
            self.cause = "input-too-short"
        else:
            return
        self._file.remove()
        self.leg.variables["RECORD_DISCARDED"] = "true"

    def _limit(self):
        if not self.cause:
            self.catch_up()
            self._overdue = True
            self.heed_limit()

    def heed_limit(self):
        """A limit strikes on a frame: a paused or held leg has none, and is cut off when it comes back."""
        if self._overdue and self._listens() and not self.cause:
            self.end("success-maxtime")

    # Sound

    def catch_up(self):
        """Takes in the whole frames that went by since the last time, as things stood until now."""
        count = int((self.leg.clock.now - self._until) / FRAME_S + 1e-6)
        first = round(self._until / FRAME_S) * self._samples
        self._until += count * FRAME_S
        if count <= 0 or self.cause or not self._listens():
            return
        self._frames += count
        if self._file is None:
            return
        self._unwritten = numpy.concatenate((self._unwritten, self._heard(first, count * self._samples)))
        # Nothing is written in the first half second; later only a leg that nobody writes to keeps its frames back.
        if self._frames >= self._withheld:
            self._write_out(self._withheld * self._samples if self.leg.is_unheard else 0)

    def _write_out(self, keep=0):
        count = max(0, len(self._unwritten) - keep)
        if 0 < self._frames < self._withheld:
            self._frames, count = 1, self._samples
        if count:
            frames = self._unwritten[:count]
            self._file.write(numpy.zeros_like(frames) if self._masked else frames)
            self._unwritten = self._unwritten[count:]

    def _heard(self, first, count):
        said = tone(self.leg.says_hz if self._reads else 0, self.rate, first, count)
        heard = tone(self.leg.hears_hz if self._writes else 0, self.rate, first, count)
        if not self._stereo:
            return said + heard
        swap = self._on("RECORD_STEREO_SWAP")
        return numpy.column_stack((heard, said) if swap else (said, heard))

    def _listens(self) -> bool:
        leg = self.leg
        return not (self._paused or leg.held or (self._on("RECORD_ANSWER_REQ") and not leg.answered)
                    or (self._on("RECORD_BRIDGE_REQ") and leg.partner is None))

    # Settings and telling

    def _get(self, name: str) -> str:
        for names in (self.variables, self.leg.variables):
            for each, value in names.items():
                if each.lower() == name.lower():
                    return value
        return ""

    def _on(self, name: str) -> bool:
        return self._get(name).lower() in _TRUE

    def _opened(self):
        """The file to write; None where there is no ending: the switch then dumps bare codec data beside it."""
        directory, _, name = self.path.rpartition("/")
        ending = name.rpartition(".")[2] if "." in name else ""
        if not ending:
            return None
        if ending not in ENDINGS:
            raise OSError(f"no module writes {ending}")
        channels, buffering = 2 if self._stereo else 1, self._get("enable_file_write_buffering")
        buffer = int(buffering) if buffering.isdigit() and int(buffering) > 1 else 65536 * channels
        if buffering and not buffering.isdigit() and buffering.lower() not in _TRUE:
            buffer = 0
        if ending == "wav":
            for trap in (self.rate, 48000, 32000, 16000, 8000):
                if os.path.isdir(f"{directory}/{trap}"):
                    RecordedFile(f"{directory}/{trap}/{name}", self.rate, channels, 0, append=False).abandon()
                    raise OSError(f"lands in {trap}")
        return RecordedFile(self.path, self.rate, channels, buffer, self._on("RECORD_APPEND"))

    def _publish(self, event, more=()):
        self.leg.publish(event, after={
            "Record-File-Path": self.path, **{f"Recording-Variable-{name}": value for name, value in self.variables.items()},
            **dict(more)})

    def _bug(self):
        return {"Media-Bug-Function": "session_record", "Media-Bug-Target": self.path}
