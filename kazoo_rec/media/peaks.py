"""The outline of a recording, for a waveform."""

from pathlib import Path

import numpy as np

from kazoo_rec.media.encode import BLOCK_FRAMES
from kazoo_rec.media.sealed import opened
from kazoo_rec.media.wav import probe

_FULL_SCALE = 32_768


def peaks(path: Path, points: int, key: bytes | None = None) -> list[list[float]]:
    """For each channel the loudest sample, 0 to 1, of each of `points` parts of equal length (fewer where there are
    fewer samples). Raises as `wav.probe` does."""
    wav = probe(path, key)
    frames = wav.data_bytes // wav.frame_bytes
    points = min(points, frames)
    loudest = np.zeros((points, wav.channels), np.int32)
    with opened(path, key) as file:
        file.seek(wav.data_offset)
        for at in range(0, frames, BLOCK_FRAMES):
            count = min(BLOCK_FRAMES, frames - at)
            samples = np.frombuffer(file.read(count * wav.frame_bytes), "<i2").reshape(-1, wav.channels)
            parts = np.arange(at, at + len(samples)) * points // frames
            np.maximum.at(loudest, parts, np.abs(samples.astype(np.int32)))
    return [[round(float(value) / _FULL_SCALE, 4) for value in channel] for channel in loudest.T]
