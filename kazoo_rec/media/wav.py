"""WAV files as FreeSWITCH leaves them: 16-bit PCM, one or two channels, with a header that may be wrong.

FreeSWITCH writes the sizes when it closes a file; one that was killed leaves RIFF 8 and data 0 above good audio
(mod_sndfile.c has no SFC_SET_UPDATE_HEADER_AUTO). So the length of the audio comes from the size of the file.
"""

import os
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

from kazoo_rec.errors import MediaError
from kazoo_rec.media.sealed import opened, size_of

#: Bytes of one sample of one channel.
SAMPLE_BYTES = 2

#: Format tags (mmreg.h) of PCM, plain and WAVE_FORMAT_EXTENSIBLE.
PCM_TAGS = (0x0001, 0xFFFE)

#: Of what is said about a file; ours takes 300.
LONGEST_LIST_BYTES = 4096


#: Chunks before the audio, and behind it, that are looked at: a file of nothing but empty ones would take for ever.
MOST_CHUNKS = 64


@dataclass(frozen=True, slots=True)
class Wav:
    """Where the audio is: `data_bytes` from `data_offset` on, whole frames, `sample_rate` in Hz.

    `intact` says that both sizes in the header are true. `key` opens a sealed file, and seals what is made of this.
    """

    path: Path
    channels: int
    sample_rate: int
    data_offset: int
    data_bytes: int
    intact: bool
    key: bytes | None = field(default=None, repr=False)

    @property
    def frame_bytes(self) -> int:
        return self.channels * SAMPLE_BYTES

    @property
    def duration_ms(self) -> int:
        return round(self.data_bytes // self.frame_bytes * 1000 / self.sample_rate)


def probe(path: Path, key: bytes | None = None) -> Wav:
    """Reads the header and the size of a file, sealed or not, never its audio; a header without audio is a Wav of 0 ms.

    Raises MediaError for what is not a WAV of 16-bit PCM, ends within its header, or is sealed and not by `key`;
    OSError as `open` does.
    """
    with opened(path, key) as file:
        return replace(_probe(file, Path(path)), key=key)


def repair(path: Path) -> Wav:
    """Makes both sizes true, in place; what is left of an unfinished frame at the end goes. Twice is as good as once.

    Raises as `probe` does, and PermissionError for a file that only the switch's user may write.
    """
    with open(path, "r+b", buffering=0) as file:
        wav = _probe(file, Path(path))
        if wav.intact:
            return wav
        handle, size = file.fileno(), os.fstat(file.fileno()).st_size
        if size - wav.data_offset - wav.data_bytes < wav.frame_bytes:
            size = wav.data_offset + wav.data_bytes
            os.ftruncate(handle, size)
        os.pwrite(handle, struct.pack("<I", wav.data_bytes), wav.data_offset - 4)
        os.pwrite(handle, struct.pack("<I", size - 8), 4)
        os.fsync(handle)
        return _probe(file, Path(path))


def comment(path: Path) -> str:
    """The comment (ICMT of a LIST chunk) before the audio, as FreeSWITCH writes a recording's RECORD_COMMENT; "" where
    there is none. Raises as `probe` does."""
    with open(path, "rb") as file:
        if _read(file, 12)[:4] != b"RIFF":
            raise MediaError("not a WAV file")
        while True:
            chunk, chunk_bytes = struct.unpack("<4sI", _read(file, 8))
            if chunk == b"data":
                return ""
            if chunk == b"LIST" and chunk_bytes <= LONGEST_LIST_BYTES:
                text = _comment_in(_read(file, chunk_bytes))
                if text:
                    return text
            else:
                file.seek(chunk_bytes, os.SEEK_CUR)
            file.seek(chunk_bytes & 1, os.SEEK_CUR)


def said(path: Path) -> tuple[str, int]:
    """(its comment, its length in ms) of a file that is not sealed; it may still be written. Raises as `probe` does."""
    return comment(path), probe(path).duration_ms


def _comment_in(listed):
    offset = 4 if listed[:4] == b"INFO" else len(listed)
    while offset + 8 <= len(listed):
        name, size = struct.unpack_from("<4sI", listed, offset)
        if name == b"ICMT":
            return listed[offset + 8:offset + 8 + size].partition(b"\0")[0].decode("ascii", "replace")
        offset += 8 + size + (size & 1)
    return ""


def first(wav: Wav, length_ms: int) -> Wav:
    """The first `length_ms` of a file that stays as it is: it may still be written."""
    return replace(wav, data_bytes=min(wav.data_bytes, wav.sample_rate * length_ms // 1000 * wav.frame_bytes),
                   intact=False)


def _probe(file, path):
    size = size_of(file)
    riff, riff_bytes, wave = struct.unpack("<4sI4s", _read(file, 12))
    if riff != b"RIFF" or wave != b"WAVE":
        raise MediaError("not a WAV file", f"begins with {riff + wave!r}")
    form = None
    for _ in range(MOST_CHUNKS):
        chunk, chunk_bytes = struct.unpack("<4sI", _read(file, 8))
        offset = file.tell()
        if chunk == b"data":
            break
        if chunk == b"fmt ":
            form = _read(file, 16)
        file.seek(offset + chunk_bytes + (chunk_bytes & 1))
    else:
        raise MediaError("not a WAV file", f"no data among its first {MOST_CHUNKS} chunks")
    if form is None:
        raise MediaError("not a WAV file", "no format before its data")
    tag, channels, rate, _, frame_bytes, bits = struct.unpack("<HHIIHH", form)
    if tag not in PCM_TAGS or bits != 8 * SAMPLE_BYTES or channels not in (1, 2) or not rate \
            or frame_bytes != channels * SAMPLE_BYTES:
        raise MediaError("not a WAV of 16-bit PCM in one or two channels",
                         f"format {tag}, {bits} bits, {channels} channels, {rate} Hz")
    true = chunk_bytes % frame_bytes == 0 and _chunks_end(file, offset + chunk_bytes, size)
    data_bytes = chunk_bytes if true else size - offset
    if offset + data_bytes > 0xFFFF_FFFF:
        raise MediaError("more audio than a WAV file can have", f"{data_bytes} bytes")
    whole = data_bytes // frame_bytes * frame_bytes
    return Wav(path, channels, rate, offset, whole, true and whole == chunk_bytes and riff_bytes == size - 8)


def _read(file, count):
    found = file.read(count)
    if len(found) < count:
        raise MediaError("not a WAV file", f"ends within its header, after {file.tell()} bytes")
    return found


def _chunks_end(file, offset, size):
    """Whether chunks, such as libsndfile's LIST behind the data, lead from `offset` to exactly the end."""
    for _ in range(MOST_CHUNKS):
        if offset >= size:
            break
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in head[:4]):
            return False
        chunk_bytes = int.from_bytes(head[4:], "little")
        offset += 8 + chunk_bytes + (chunk_bytes & 1)
    return offset == size
