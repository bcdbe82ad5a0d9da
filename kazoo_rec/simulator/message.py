"""The application `record`: what the caller says goes to a file until he ends it (switch_ivr_play_say.c)."""

import os

from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.playing import terminators
from kazoo_rec.simulator.process import HungUp
from kazoo_rec.simulator.recording import ENDINGS
from kazoo_rec.simulator.sound import RecordedFile, tone


def record(leg, data):
    """`<path> [<limit s> [<silence threshold> [<silence s>]]]`: until a digit of `playback_terminators`, silence, the
    limit or the hang-up. It makes no directories: where the file cannot be opened, the call is hung up."""
    words = [*data.split(), "", "", ""]
    limit_s, silence_s = (int(word.removeprefix("+") or 0) for word in (words[1], words[3]))
    silence_s = (silence_s or 3) if int(words[2] or 0) else 0
    leg.set("playback_terminator_used", "")
    try:
        message = Message(leg, words[0])
    except OSError:
        leg.hangup("DESTINATION_OUT_OF_ORDER")
        return
    clock, hung_up = leg.clock, False
    ends = clock.whole_seconds(limit_s) + 1 if limit_s else float("inf")
    begun = clock.now
    try:
        while (left_s := min(ends, _silent(leg, begun, silence_s)) - clock.now) > 1e-6:
            digit = yield leg.digits, min(left_s, silence_s or left_s)
            if digit is not None and digit in terminators(leg):
                leg.set("playback_terminator_used", digit)
                break
    except HungUp:
        hung_up = True
    message.close(exhausted=not hung_up and _silent(leg, begun, silence_s) <= clock.now + 1e-6)


def _silent(leg, begun, silence_s) -> float:
    """When it will have been silent for so long, if nobody says anything from now on."""
    if not silence_s:
        return float("inf")
    return (leg.clock.now if leg.says_hz else max(begun, leg.silent_since)) + silence_s


class Message:
    """A file that grows while its leg speaks. Raises OSError."""

    def __init__(self, leg, path):
        if not path.startswith("/"):
            path = f"{leg.switch.recordings}/{path}"
        if not os.path.isdir(os.path.dirname(path)) or path.rpartition(".")[2] not in ENDINGS:
            raise OSError(f"cannot be written: {path}")
        if leg.switch.is_disk_full:
            raise OSError("the disk is full")
        rate = leg.variables.get("record_rate") or leg.variables.get("record_sample_rate", "")
        self._leg, self._path, self._rate = leg, path, int(rate) if rate.isdigit() else leg.rate
        self._file = RecordedFile(path, self._rate, 1, 0, append=leg.variables.get("RECORD_APPEND") == "true")
        self._until, self._frames = leg.clock.now, 0
        leg.tapes.append(self)
        leg.variables["silence_hits_exhausted"] = "false"
        leg.is_decoded = True
        leg.publish("RECORD_START", after={"Record-File-Path": path})

    def catch_up(self):
        """Takes in the whole frames that went by since the last time, as things stood until now."""
        count = int((self._leg.clock.now - self._until) / FRAME_S + 1e-6)
        samples = round(self._rate * FRAME_S)
        first = round(self._until / FRAME_S) * samples
        self._until += count * FRAME_S
        if count > 0 and not self._leg.held:
            self._frames += count
            self._file.full = self._leg.switch.is_disk_full
            self._file.write(tone(self._leg.says_hz, self._rate, first, count * samples))

    def close(self, exhausted: bool):
        leg = self._leg
        self.catch_up()
        leg.tapes.remove(self)
        size, ms = str(self._file.close()), self._frames * 20
        leg.variables |= {
            "silence_hits_exhausted": "true" if exhausted else "false", "record_record_file_size": size,
            "record_file_size": size, "record_seconds": str(ms // 1000), "record_ms": str(ms),
            "record_samples": str(self._frames * round(self._rate * FRAME_S))}
        leg.publish("RECORD_STOP", after={"Record-File-Path": self._path})
        leg.is_decoded = False

    def abandon(self):
        """The switch was killed."""
        self.catch_up()
        self._leg.tapes.remove(self)
        self._file.abandon()
