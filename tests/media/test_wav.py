import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.errors import MediaError
from kazoo_rec.media.wav import probe, repair

from .sounds import tone, unclose, write_talk, write_wav


def chunk(name, body):
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def riff(*chunks):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def form(tag=1, channels=2, rate=8000, bits=16):
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits))


FORMAT = form()
DATA = chunk(b"data", bytes(8))


def test_a_closed_file_is_intact_and_as_long_as_its_audio(tmp_path):
    found = probe(write_talk(tmp_path / "a.wav", seconds=1.5))
    assert (found.channels, found.sample_rate, found.duration_ms, found.data_offset) == (2, 8000, 1500, 44)
    assert found.intact


def test_a_file_of_a_killed_switch_has_its_length_from_its_size_and_is_repaired(tmp_path):
    path = write_talk(tmp_path / "a.wav", seconds=1.5)
    closed = path.read_bytes()
    unclose(path)
    assert (probe(path).duration_ms, probe(path).intact) == (1500, False)
    assert repair(path).intact
    assert path.read_bytes() == closed


def test_an_unfinished_frame_at_the_end_is_no_audio_and_goes_in_the_repair(tmp_path):
    path = write_talk(tmp_path / "a.wav", seconds=1.0)
    closed = path.read_bytes()
    unclose(path)
    with open(path, "ab") as file:
        file.write(b"abc")
    assert probe(path).duration_ms == 1000
    assert repair(path).intact
    assert path.read_bytes() == closed


def test_a_header_that_is_behind_its_audio_is_repaired(tmp_path):
    path = write_talk(tmp_path / "a.wav", seconds=1.0)
    longer = write_talk(tmp_path / "b.wav", seconds=2.0).read_bytes()
    path.write_bytes(path.read_bytes()[:44] + longer[44:])
    assert not probe(path).intact
    assert repair(path).duration_ms == 2000
    assert path.read_bytes() == longer


def test_a_header_that_promises_more_than_there_is_is_repaired(tmp_path):
    path = write_talk(tmp_path / "a.wav", seconds=2.0)
    path.write_bytes(path.read_bytes()[:44 + 32_000])
    assert repair(path).duration_ms == 1000
    assert probe(path).intact


def test_repairing_what_is_intact_changes_nothing(tmp_path):
    path = write_talk(tmp_path / "a.wav")
    before = path.read_bytes()
    repair(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", [b"ISFTFreeSWITCH", b"ISFTodd"])
def test_chunks_before_and_behind_the_audio_are_not_audio(tmp_path, text):
    path = tmp_path / "a.wav"
    audio = tone(440, 0.5).tobytes() * 2
    path.write_bytes(riff(FORMAT, chunk(b"LIST", text), chunk(b"data", audio), chunk(b"LIST", text)))
    found = probe(path)
    assert (found.intact, found.duration_ms) == (True, 500)
    with open(path, "rb") as file:
        file.seek(found.data_offset)
        assert file.read(found.data_bytes) == audio


def test_a_wrong_riff_size_alone_is_repaired_and_the_chunks_behind_stay(tmp_path):
    path = tmp_path / "a.wav"
    whole = riff(FORMAT, chunk(b"data", tone(440, 0.5).tobytes() * 2), chunk(b"LIST", b"ISFTodd"))
    path.write_bytes(whole[:4] + bytes(4) + whole[8:])
    assert repair(path).duration_ms == 500
    assert path.read_bytes() == whole


def test_a_killed_switch_may_have_written_a_list_before_the_audio(tmp_path):
    path = tmp_path / "a.wav"
    whole = riff(FORMAT, chunk(b"LIST", b"ISFTodd"), chunk(b"data", tone(440, 0.5).tobytes() * 2))
    size_at = whole.index(b"data") + 4
    path.write_bytes(whole[:4] + bytes(4) + whole[8:size_at] + bytes(4) + whole[size_at + 4:])
    assert repair(path).duration_ms == 500
    assert path.read_bytes() == whole


def test_a_header_without_audio_lasts_nothing(tmp_path):
    found = probe(write_wav(tmp_path / "a.wav", [tone(440, 0)]))
    assert (found.duration_ms, found.data_bytes, found.intact) == (0, 0, True)


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "ends within its header, after 0 bytes"),
    (riff(FORMAT)[:30], "ends within its header, after 30 bytes"),
    (riff(FORMAT), "ends within its header"),
    (b"ID3\4" + bytes(60), "begins with"),
    (riff(DATA), "no format"),
    (riff(form(tag=7, channels=1, bits=8), DATA), "format 7, 8 bits"),
    (riff(form(channels=0), DATA), "0 channels"),
    (riff(form(channels=3), DATA), "3 channels"),
    (riff(form(rate=0), DATA), "0 Hz"),
    (riff(FORMAT, *[chunk(b"junk", b"")] * 70, DATA), "no data among its first 64 chunks"),
])
def test_what_is_no_wav_is_named(tmp_path, content, reason):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=reason):
        probe(path)
    with pytest.raises(MediaError, match=reason):
        repair(path)
    assert path.read_bytes() == content


@given(cut=st.integers(0, 2000), junk=st.binary(max_size=60))
def test_whatever_a_kill_leaves_is_refused_or_repaired_to_whole_frames(tmp_path_factory, cut, junk):
    path = write_talk(tmp_path_factory.mktemp("killed") / "a.wav", seconds=0.05)
    content = path.read_bytes()[:cut] + junk
    path.write_bytes(content)
    try:
        found = repair(path)
    except MediaError:
        assert path.read_bytes() == content
        return
    assert found.intact
    assert found == probe(path)
    assert found.data_bytes % found.frame_bytes == 0
    assert len(path.read_bytes()) >= len(content) - 3
