"""A master WAV as it is delivered: MP3 or WAV; mixed to one channel, both sides kept, or one side alone.

Left is what the recorded leg said, right is what it heard. Everything goes in blocks, so memory does not grow with
the length of a call.
"""

import wave
from pathlib import Path

import lameenc
import numpy as np

from kazoo_rec.errors import MediaError
from kazoo_rec.media.sealed import opened, published
from kazoo_rec.media.wav import SAMPLE_BYTES, Wav

#: Frames read, mixed and encoded at once: 8 s at 8 kHz.
BLOCK_FRAMES = 65_536

#: Constant bit rate of MP3 in kbit/s for each channel, up to 16 kHz and above: speech is clear at both.
NARROW_KBPS, WIDE_KBPS = 32, 64

#: LAME's, of 0 (best) to 9: 10 minutes take 0.28 s, and 2 is no better for a telephone's bandwidth.
QUALITY = 5

_SIDES = {"inbound": 0, "outbound": 1}


def channels_of(wav: Wav, channels: str, track: str) -> int:
    """How many channels a master delivered as `channels` (mono, dual) of `track` (both, inbound, outbound) has."""
    return 2 if wav.channels == 2 and channels == "dual" and track == "both" else 1


def to_mp3(wav: Wav, target: Path, channels: str, track: str):
    """Writes `target` whole or not at all, sealed where the master has a key. A decoder hears up to 0.2 s more than the
    master has: MP3's own delay."""
    count = channels_of(wav, channels, track)
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_channels(count)
    encoder.set_in_sample_rate(wav.sample_rate)
    encoder.set_bit_rate(count * (NARROW_KBPS if wav.sample_rate <= 16_000 else WIDE_KBPS))
    encoder.set_quality(QUALITY)
    with published(target, wav.key) as file:
        for samples in _blocks(wav, count, track):
            file.write(encoder.encode(samples.tobytes()))
        file.write(encoder.flush())


def to_wav(wav: Wav, target: Path, channels: str, track: str):
    """Writes `target` whole or not at all, sealed where the master has a key, with the rate of the master."""
    count = channels_of(wav, channels, track)
    with published(target, wav.key) as file, wave.open(file, "wb") as written:
        written.setparams((count, SAMPLE_BYTES, wav.sample_rate, wav.data_bytes // wav.frame_bytes, "NONE", ""))
        for samples in _blocks(wav, count, track):
            written.writeframesraw(samples.tobytes())


def _blocks(wav, count, track):
    """Little-endian samples, interleaved, block by block."""
    with opened(wav.path, wav.key) as file:
        file.seek(wav.data_offset)
        left = wav.data_bytes
        while left:
            block = file.read(min(left, BLOCK_FRAMES * wav.frame_bytes))
            if not block:
                raise MediaError("the file became shorter while it was read", f"{left} bytes are missing")
            left -= len(block)
            samples = np.frombuffer(block, "<i2")
            yield samples if wav.channels == count else _one_channel(samples.reshape(-1, 2), track)


def _one_channel(frames, track):
    if track in _SIDES:
        return frames[:, _SIDES[track]]
    # The sum, clipped, as FreeSWITCH mixes (switch_core_media_bug.c): half of it would be 6 dB too quiet.
    return frames.sum(axis=1, dtype=np.int32).clip(-32_768, 32_767).astype("<i2")
