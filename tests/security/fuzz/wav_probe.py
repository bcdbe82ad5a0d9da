"""WAV files: audio lies within the file, repairing makes the header true, and twice is as good as once."""

import os
import tempfile
from pathlib import Path

from kazoo_rec.errors import MediaError
from kazoo_rec.media import wav

#: In memory, where there is such a directory: a disk would be what is measured.
PLACE = Path("/dev/shm" if Path("/dev/shm").is_dir() else tempfile.gettempdir()) / f"kazoo_rec-fuzz-{os.getpid()}.wav"


def one(data: bytes):
    PLACE.write_bytes(data)
    try:
        hold()
    finally:
        PLACE.unlink()


def hold():
    size = PLACE.stat().st_size
    try:
        found = wav.probe(PLACE)
    except MediaError:
        assert PLACE.stat().st_size == size
        return
    audio = PLACE.read_bytes()[found.data_offset:found.data_offset + found.data_bytes]
    assert len(audio) == found.data_bytes
    assert found.data_bytes % found.frame_bytes == 0
    assert found.duration_ms >= 0
    mended = wav.repair(PLACE)
    assert mended.intact
    assert (mended.data_offset, mended.data_bytes) == (found.data_offset, found.data_bytes)
    assert PLACE.read_bytes()[mended.data_offset:mended.data_offset + mended.data_bytes] == audio
    assert wav.probe(PLACE) == mended == wav.repair(PLACE)
    short = wav.first(mended, 20)
    assert short.data_bytes <= mended.data_bytes
