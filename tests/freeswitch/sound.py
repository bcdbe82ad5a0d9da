"""What is in a recorded file: how long it is, and which tones each channel has, in their order."""

import io
import wave
from dataclasses import dataclass

import numpy as np
import soundfile

#: A frame has a whole number of waves of every tone of the lab, all multiples of 10 Hz.
FRAME_MS = 100

#: Of the search for a tone that may be short.
PIECE_MS = 20

#: A tone is one that goes on for so long; shorter ones are seams between two.
LEAST_MS = 200

#: Root mean square below which a frame is silent; the phones' tones have 5,600.
SILENCE = 50

#: Amplitude from which a tone is there; the phones' have 8,000, the switch's more.
AUDIBLE = 1000


@dataclass(frozen=True)
class Channel:
    samples: np.ndarray
    rate_hz: int

    def _frames(self) -> np.ndarray:
        size = self.rate_hz * FRAME_MS // 1000
        return self.samples[:len(self.samples) // size * size].reshape(-1, size).astype(float)

    def tones(self) -> list[int]:
        """Frequencies in Hz, one after the other; silence between two is not told."""
        frames, told = self._frames(), []
        loud = np.sqrt((frames**2).mean(axis=1)) >= SILENCE
        hz = np.abs(np.fft.rfft(frames)).argmax(axis=1) * 1000 // FRAME_MS
        for earlier, later, speaks in zip(hz, hz[1:], loud[1:], strict=False):
            if earlier == later and speaks and told[-1:] != [later]:
                told.append(int(later))
        return told

    def has_ms(self, hz: int) -> int:
        """For how long a tone of a phone or of the switch is there, be it alone or among others; a fifth of a frame of
        it counts as a frame."""
        frames = self._frames()
        level = np.abs(np.fft.rfft(frames))[:, hz * FRAME_MS // 1000] * 2 / frames.shape[1]
        return int((level >= AUDIBLE).sum()) * FRAME_MS

    def level(self, hz: int) -> int:
        """The greatest amplitude that a tone has anywhere, 0 where it is not to be heard; looked for in pieces of
        20 ms, 5 ms apart, so that a quarter of a packet shows."""
        size, step = self.rate_hz * PIECE_MS // 1000, self.rate_hz * PIECE_MS // 4000
        if len(self.samples) < size:
            return 0
        pieces = np.lib.stride_tricks.sliding_window_view(self.samples.astype(float), size)[::step]
        wave = np.hanning(size) * np.exp(-2j * np.pi * hz * np.arange(size) / self.rate_hz)
        greatest = int(np.abs(pieces @ wave).max() * 4 / size)
        return greatest if greatest >= AUDIBLE else 0

    def silence_ms(self) -> int:
        return int((np.sqrt((self._frames()**2).mean(axis=1)) < SILENCE).sum()) * FRAME_MS


@dataclass(frozen=True)
class Wav:
    """A two-channel file: `left` is what the recorded leg said, `right` what it heard."""

    left: Channel
    right: Channel
    length_ms: float

    @classmethod
    def read(cls, body: bytes) -> "Wav":
        with wave.open(io.BytesIO(body)) as file:
            rate_hz, count = file.getframerate(), file.getnframes()
            assert file.getnchannels() == 2
            samples = np.frombuffer(file.readframes(count), "<i2").reshape(-1, 2)
        return cls(Channel(samples[:, 0], rate_hz), Channel(samples[:, 1], rate_hz), count * 1000 / rate_hz)


def channels(body: bytes) -> list[Channel]:
    """Of a WAV or MP3."""
    samples, rate_hz = soundfile.read(io.BytesIO(body), dtype="int16", always_2d=True)
    return [Channel(channel, rate_hz) for channel in samples.T]


def mp3_length_ms(body: bytes) -> float:
    """Length by counting frames of MPEG 2 or 2.5 layer III, which is what telephone rates come in (ISO 13818-3)."""
    rates_hz = {0b10: (22050, 24000, 16000), 0b00: (11025, 12000, 8000)}
    kbits = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    at = length_ms = 0
    while at + 4 <= len(body):
        header = int.from_bytes(body[at:at + 4], "big")
        assert header >> 21 == 0x7FF and header >> 17 & 3 == 0b01, f"no frame of layer III at {at}"
        rate_hz = rates_hz[header >> 19 & 3][header >> 10 & 3]
        at += 72 * kbits[header >> 12 & 15] * 1000 // rate_hz + (header >> 9 & 1)
        length_ms += 576 * 1000 / rate_hz
    return length_ms
