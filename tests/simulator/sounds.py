"""What can be heard in a file."""

import wave

import numpy

#: A tone counts from this share of the loudest's strength.
_SHARE = 0.2


def samples(path):
    """(samples of shape (frames, channels), rate)."""
    with wave.open(str(path)) as file:
        data = numpy.frombuffer(file.readframes(file.getnframes()), "<i2")
        return data.reshape(-1, file.getnchannels()), file.getframerate()


def tones(path, channel=0, begin=0.0, end=None) -> list[int]:
    """The tones in that channel between two seconds, Hz, to the nearest ten; [] is silence."""
    data, rate = samples(path)
    part = data[round(begin * rate):None if end is None else round(end * rate), channel].astype(float)
    if not len(part) or numpy.abs(part).max() < 100:
        return []
    strength = numpy.abs(numpy.fft.rfft(part * numpy.hanning(len(part))))
    peaks = [at for at in range(1, len(strength) - 1) if strength[at] == strength[max(0, at - 8):at + 9].max()]
    loud = [at for at in peaks if strength[at] > _SHARE * strength.max()]
    return sorted({round(at * rate / len(part) / 10) * 10 for at in loud})


def seconds(path) -> float:
    data, rate = samples(path)
    return round(len(data) / rate, 2)
