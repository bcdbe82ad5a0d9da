"""Files as FreeSWITCH writes them, with a tone for each side, and ears to hear them with."""

import wave

import numpy as np

#: Hz of what the recorded leg says and of what it hears.
SAID, HEARD = 440, 1000


def tone(hertz, seconds, rate=8000, peak=8000):
    return (peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("<i2")


def write_wav(path, sides, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((len(sides), 2, rate, 0, "NONE", ""))
        file.writeframes(np.stack(sides, axis=1).astype("<i2").tobytes())
    return path


def write_talk(path, seconds=2.0, rate=8000):
    """A stereo master in which both sides are heard all the time."""
    return write_wav(path, [tone(SAID, seconds, rate), tone(HEARD, seconds, rate)], rate)


def unclose(path):
    """The header of a switch that was killed: RIFF 8, data 0."""
    with open(path, "r+b") as file:
        file.seek(4)
        file.write((8).to_bytes(4, "little"))
        file.seek(40)
        file.write(bytes(4))


def tones(samples, rate):
    """Which of the two tones a channel has: those within 20 dB of the louder."""
    spectrum = np.abs(np.fft.rfft(samples))
    hertz = np.fft.rfftfreq(len(samples), 1 / rate)
    level = {wanted: spectrum[np.abs(hertz - wanted) < 20].max() for wanted in (SAID, HEARD)}
    return {wanted for wanted, found in level.items() if found > 0.1 * max(level.values())}
