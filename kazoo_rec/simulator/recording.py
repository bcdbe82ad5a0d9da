"""Session recordings, as switch_ivr_async.c makes them, traps included."""

import os

import numpy

from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.sound import RecordedFile, mixed, tone

#: What modules of the switch can write. Only WAV is written as such here.
ENDINGS = ("wav", "mp3", "ogg", "flac", "gsm", "raw", "ul")
_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_TRUE = ("true", "yes", "on", "enabled", "active", "allow", "1", "t")
_FRAMES_BEFORE_WRITING = 25
#: Per channel (SWITCH_DEFAULT_FILE_BUFFER_LEN).
_BUFFER_BYTES = 65536


def is_true(text: str) -> bool:
    """What counts as yes in a variable (switch_true)."""
    return text.lower() in _TRUE


class Recording:
    """A media bug that writes to a file what a leg says (left) and hears (right). Raises OSError.

    `ms` is what RECORD_STOP tells, `cause` its completion cause, "" while it goes on. Audio comes in frames: whatever
    changes what can be heard calls `catch_up` first. `keeps_bytes` is what remains of its file, None for all of it.
    """

    def __init__(self, leg, path, limit_s, variables, armed):
        self.leg, self.path, self.variables, self.armed = leg, path, variables, armed
        self.started = self._until = leg.clock.now
        self.cause, self.ms, self.size = "", 0, 0
        self._masked = self._paused = self._overdue = self._announced = False
        self.keeps_bytes = None
        self._stereo, self._swaps = self._on("RECORD_STEREO"), self._on("RECORD_STEREO_SWAP")
        self._hears = not self._on("RECORD_READ_ONLY")
        self._says = not self._hears or not self._on("RECORD_WRITE_ONLY")
        self._needs_answer, self._needs_bridge = self._on("RECORD_ANSWER_REQ"), self._on("RECORD_BRIDGE_REQ")
        self._appends, minimum = self._on("RECORD_APPEND"), self._get("RECORD_MIN_SEC")
        self._least_ms = int(minimum) * 1000 if minimum.isdigit() else 0
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
        """Says that it has begun, once."""
        if not self._announced:
            self._announced = True
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
        self.announce()
        self.catch_up()
        self.cause = cause
        self.leg.files.pop(self.path, None)
        if self._file is not None:
            self._write_out()
            self.size = self._file.close()
            if self._file.failed:
                self._fail()
            elif not self._appends:
                self._judge()
            if self.keeps_bytes is not None and os.path.exists(self.path):
                os.truncate(self.path, min(self.size, self.keeps_bytes))
            self.ms = self._frames * 20
            self.leg.variables |= {
                "record_file_size": str(self.size), "record_samples": str(self._frames * self._samples),
                "record_seconds": str(self.ms // 1000), "record_ms": str(self.ms),
                "record_completion_cause": self.cause}
            self._publish("RECORD_STOP", {"Record-Completion-Cause": self.cause})
        else:
            self._publish("RECORD_STOP")

    def detach(self):
        if self in self.leg.recordings:
            self.leg.recordings.remove(self)
            self.leg.publish("MEDIA_BUG_STOP", after=self._bug())

    def move(self, leg):
        """It goes over to another leg, by a transfer: no path leads to it any more, and no RECORD event tells."""
        before = self.leg
        before.files.pop(self.path, None)
        before.recordings.remove(self)
        leg.recordings.append(self)
        self.leg = leg
        leg.publish("MEDIA_BUG_START", after=self._bug())
        before.publish("MEDIA_BUG_STOP", after=self._bug())

    def abandon(self):
        """The switch was killed."""
        self.catch_up()
        self.cause = "killed"
        self.leg.recordings.remove(self)
        if self._file is not None:
            self._file.abandon()

    def _fail(self):
        """Something could not be written. A buffered recording counts what was handed over all the same."""
        self.cause = "uri-failure"
        if not self._file.buffer:
            self._frames = (self.size - self._file.header_bytes) // (self._samples * (4 if self._stereo else 2))

    def _judge(self):
        """Removes what is not worth keeping."""
        if not self._frames:
            self.cause = "empty-file"
        elif self._frames * 20 < self._least_ms:
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
        self._file.full = self.leg.switch.is_disk_full
        if count:
            frames = self._unwritten[:count]
            self._file.write(numpy.zeros_like(frames) if self._masked else frames)
            self._unwritten = self._unwritten[count:]

    def _heard(self, first, count):
        said = tone(self.leg.says_hz if self._says else 0, self.rate, first, count)
        heard = mixed(self.leg.hears if self._hears else (), self.rate, first, count)
        if not self._stereo:
            return said + heard
        return numpy.column_stack((heard, said) if self._swaps else (said, heard))

    def _listens(self) -> bool:
        leg = self.leg
        return not (self._paused or leg.held or leg.media_left or (self._needs_answer and not leg.answered)
                    or (self._needs_bridge and leg.partner is None))

    # Settings and telling

    def _get(self, name: str) -> str:
        for names in (self.variables, self.leg.variables):
            for each, value in names.items():
                if each.lower() == name.lower():
                    return value
        return ""

    def _on(self, name: str) -> bool:
        return is_true(self._get(name))

    def _opened(self):
        """The file to write; None where there is no ending: the switch then dumps bare codec data beside it."""
        directory, _, name = self.path.rpartition("/")
        ending = name.rpartition(".")[2] if "." in name else ""
        if not ending:
            return None
        if ending not in ENDINGS:
            raise OSError(f"no module writes {ending}")
        if self.leg.switch.is_disk_full:
            raise OSError("the disk is full")
        channels, buffering = 2 if self._stereo else 1, self._get("enable_file_write_buffering").lower()
        if not buffering or buffering in _TRUE:
            buffer = _BUFFER_BYTES * channels
        else:
            buffer = int(buffering) if buffering.isdigit() else 0
        if ending == "wav":
            for trap in (self.rate, 48000, 32000, 16000, 8000):
                if os.path.isdir(f"{directory}/{trap}"):
                    RecordedFile(f"{directory}/{trap}/{name}", self.rate, channels, 0, append=False).abandon()
                    raise OSError(f"lands in {trap}")
        return RecordedFile(self.path, self.rate, channels, buffer, self._appends, self._get("RECORD_COMMENT"))

    def _publish(self, event, more=()):
        own = {f"Recording-Variable-{name}": value for name, value in self.variables.items()}
        self.leg.publish(event, after={"Record-File-Path": self.path, **own, **dict(more)})

    def _bug(self):
        return {"Media-Bug-Function": "session_record", "Media-Bug-Target": self.path}
