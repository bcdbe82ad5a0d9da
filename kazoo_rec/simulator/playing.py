"""What a leg is played, and the digits that it presses meanwhile: `playback` and `play_and_get_digits`."""

import re
import wave

import numpy

from kazoo_rec.simulator.process import HungUp
from kazoo_rec.simulator.record_start import in_front

_TONES = re.compile(r"tone_stream://((?:%\(\d+,\d+,\d+[^)]*\))+)(?:;loops=(\d+))?")
_TONE = re.compile(r"%\((\d+),(\d+),(\d+)")
_SILENCE = re.compile(r"silence_stream://(\d+)")


def playback(leg, path):
    try:
        done = yield from _play(leg, path, lambda digit: digit in terminators(leg))
    except HungUp:
        return "PLAYBACK ERROR"
    return "FILE PLAYED" if done else "FILE NOT FOUND"


def terminators(leg) -> str:
    """The digits that end a file or a `record`, from the variable `playback_terminators`."""
    named = leg.variables.get("playback_terminators", "*")
    return {"any": "1234567890*#", "none": ""}.get(named.lower(), named)


def play_and_get_digits(leg, data):
    """`<min> <max> <tries> <timeout ms> <terminators> <file> <file of refusal> <variable> [<regex> [<digit timeout ms>
    [<number to transfer to>]]]` (switch_ivr_play_say.c)."""
    words = [*data.split(), *[""] * 11]
    least, most, tries = (int(word or 0) for word in words[:3])
    most, ends, name, pattern = max(most, least), words[4] or "#", words[7], words[8]
    first_s = max(1.0, int(words[3] or 1000) / 1000)
    further_s = int(words[9] or 0) / 1000 or first_s
    while tries > 0 and not leg.cause:
        tries -= 1
        digits = yield from _collect(leg, words[5], most, ends, first_s, further_s)
        enough = digits is not None and len(digits) >= least
        leg.set("read_result", "success" if enough else "failure")
        leg.set(name, digits if enough else "")
        if enough and digits and (not pattern or re.search(pattern, digits)):
            return
        if enough and not digits and not least and "read_terminator_used" in leg.variables:
            return
        if enough and digits:
            leg.set(name, "")
            leg.set(f"{name}_invalid", digits)
        yield from _play(leg, words[6], lambda digit: False)
    if words[10]:
        leg.transfer(words[10])


def _collect(leg, path, most, ends, first_s, further_s):
    """What was pressed while the file is played and after it, up to `most` digits or one of `ends`; None for nothing
    in time."""
    pressed = []
    leg.set("read_terminator_used", "")

    def is_enough(digit):
        pressed.append(digit)
        return True

    if path and path != "silence":
        yield from _play(leg, path, is_enough)
    while len(pressed) <= most:
        if pressed and pressed[-1] in ends:
            leg.set("read_terminator_used", pressed.pop())
            break
        if len(pressed) == most:
            break
        digit = yield leg.digits, (further_s if pressed else first_s)
        if digit is None:
            return "".join(pressed) or None
        pressed.append(digit)
    return "".join(pressed)


def _play(leg, path, ends):
    """Plays tones, silence or a WAV file until `ends(digit)`; its events say the `{variables}` before its path. Whether
    there was something to play."""
    variables, plain = in_front(path, "{", "}")
    parts = parts_of(leg, plain)
    if parts is None:
        return False
    leg.playback_started(path, variables)
    status = "done"
    try:
        for seconds, heard_hz in parts:
            leg.call.settle()
            leg.playing_hz = heard_hz
            until = leg.clock.now + seconds
            while (digit := (yield leg.digits, max(0.0, until - leg.clock.now))) is not None:
                if ends(digit):
                    leg.set("playback_terminator_used", digit)
                    status = "break"
                    return True
    finally:
        leg.call.settle()
        leg.playing_hz = None
        leg.playback_stopped(path, status, variables)
    return True


def parts_of(leg, path):
    """(seconds, Hz) of what is heard one after the other; None for a file that is not there."""
    if found := _TONES.match(path):
        tones = [tuple(map(int, each)) for each in _TONE.findall(found[1])]
        return [part for on, off, hz in tones for part in ((on / 1000, hz), (off / 1000, 0))] * int(found[2] or 1)
    if found := _SILENCE.match(path):
        return ((int(found[1]) / 1000, 0),)
    try:
        with wave.open(path if path.startswith("/") else f"{leg.switch.recordings}/{path}") as file:
            return ((file.getnframes() / file.getframerate(), _pitch(file)),)
    except (OSError, EOFError, wave.Error):
        return None


def _pitch(file) -> int:
    """Hz of the loudest tone in the file's first second: as that it is heard."""
    samples = numpy.frombuffer(file.readframes(file.getframerate()), "<i2")[::file.getnchannels()]
    if not samples.any():
        return 0
    return round(int(numpy.abs(numpy.fft.rfft(samples)).argmax()) * file.getframerate() / len(samples))
