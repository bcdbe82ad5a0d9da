import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from kazoo_rec.errors import MediaError
from kazoo_rec.media.encode import _published, channels_of, to_mp3, to_wav
from kazoo_rec.media.wav import probe

from .sounds import HEARD, SAID, tone, tones, unclose, write_talk, write_wav

#: Seconds that MP3 itself adds at 8 kHz: the encoder's delay, and the rest of the last frame.
MP3_PADDING_S = 0.2

SHAPES = {
    ("mono", "both"): [{SAID, HEARD}],
    ("dual", "both"): [{SAID}, {HEARD}],
    ("mono", "inbound"): [{SAID}],
    ("mono", "outbound"): [{HEARD}],
    ("dual", "inbound"): [{SAID}],
    ("dual", "outbound"): [{HEARD}],
}


@pytest.mark.parametrize(("encode", "padding_s"), [(to_mp3, MP3_PADDING_S), (to_wav, 0)])
@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize(("shape", "expected"), SHAPES.items())
def test_each_shape_has_the_sides_asked_for_each_in_its_channel(tmp_path, encode, padding_s, rate, shape, expected):
    master = probe(write_talk(tmp_path / "master.wav", seconds=3.0, rate=rate))
    target = tmp_path / "delivered"
    encode(master, target, *shape)
    samples, delivered_rate = soundfile.read(target, always_2d=True)
    assert delivered_rate == rate
    assert [tones(channel, rate) for channel in samples.T] == expected
    assert channels_of(master, *shape) == len(expected)
    assert -0.06 <= len(samples) / rate - 3.0 <= 0.06 + padding_s


@pytest.mark.parametrize("encode", [to_mp3, to_wav])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_mono_master_passes_through_whatever_is_asked(tmp_path, encode, shape):
    master = probe(write_wav(tmp_path / "master.wav", [tone(SAID, 2.0)]))
    encode(master, tmp_path / "delivered", *shape)
    samples, rate = soundfile.read(tmp_path / "delivered", always_2d=True)
    assert [tones(channel, rate) for channel in samples.T] == [{SAID}]


def test_a_master_whose_header_is_wrong_is_encoded_whole(tmp_path):
    path = write_talk(tmp_path / "master.wav", seconds=2.0)
    unclose(path)
    to_wav(probe(path), tmp_path / "delivered.wav", "dual", "both")
    assert probe(tmp_path / "delivered.wav").duration_ms == 2000
    assert probe(tmp_path / "delivered.wav").intact


def test_two_loud_sides_are_clipped_and_never_wrap_around(tmp_path):
    loud = np.full(8000, 30_000, "<i2")
    master = probe(write_wav(tmp_path / "master.wav", [loud, loud]))
    to_wav(master, tmp_path / "mono.wav", "mono", "both")
    assert set(soundfile.read(tmp_path / "mono.wav", dtype="int16")[0]) == {32_767}


def test_blocks_join_without_a_seam(tmp_path):
    rng = np.random.default_rng(1)
    left, right = rng.integers(-9000, 9000, (2, 200_001), dtype="<i2")
    master = probe(write_wav(tmp_path / "master.wav", [left, right]))
    to_wav(master, tmp_path / "mono.wav", "mono", "both")
    assert np.array_equal(soundfile.read(tmp_path / "mono.wav", dtype="int16")[0], left + right)


def test_of_a_master_that_becomes_shorter_nothing_is_published(tmp_path):
    path = write_talk(tmp_path / "master.wav", seconds=2.0)
    master = probe(path)
    with open(path, "r+b") as file:
        file.truncate(1000)
    for encode in (to_mp3, to_wav):
        with pytest.raises(MediaError, match="became shorter"):
            encode(master, tmp_path / "delivered", "mono", "both")
    assert [file.name for file in tmp_path.iterdir()] == ["master.wav"]


def test_an_older_file_of_the_same_name_gives_way(tmp_path):
    master = probe(write_talk(tmp_path / "master.wav", seconds=1.0))
    (tmp_path / "delivered.wav").write_bytes(b"older")
    to_wav(master, tmp_path / "delivered.wav", "mono", "both")
    assert probe(tmp_path / "delivered.wav").duration_ms == 1000


def test_two_that_make_one_file_at_once_do_not_write_into_each_other(tmp_path):
    master = probe(write_talk(tmp_path / "master.wav", seconds=1.0))
    target = tmp_path / "delivered"
    with _published(target) as first:
        first.write(b"half")
        to_wav(master, target, "dual", "both")
        assert probe(target).duration_ms == 1000
    assert target.read_bytes() == b"half"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["delivered", "master.wav"]


def test_what_a_killed_process_left_of_a_file_is_written_over(tmp_path):
    master = probe(write_talk(tmp_path / "master.wav", seconds=1.0))
    half = os.fork()
    if not half:
        with _published(tmp_path / "delivered.wav") as file:
            file.write(bytes(100_000))
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(half, 0)
    assert len(list(tmp_path.iterdir())) == 2
    to_wav(master, tmp_path / "delivered.wav", "mono", "both")
    assert probe(tmp_path / "delivered.wav").duration_ms == 1000
    assert sorted(file.name for file in tmp_path.iterdir()) == ["delivered.wav", "master.wav"]


def test_half_an_hour_takes_little_memory(tmp_path):
    """The peak of a process of its own, in kB above what it had when it had loaded everything."""
    frames = 30 * 60 * 8000
    write_wav(tmp_path / "master.wav", [np.zeros(0), np.zeros(0)])
    with open(tmp_path / "master.wav", "r+b") as file:
        file.truncate(44 + frames * 4)
    measured = subprocess.run([sys.executable, "-c", """
import re, sys
from pathlib import Path
from kazoo_rec.media import encode, wav
peak_kb = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before_kb = peak_kb()
encode.to_mp3(wav.probe(Path(sys.argv[1])), Path(sys.argv[2]), "mono", "both")
print(peak_kb() - before_kb)
""", tmp_path / "master.wav", tmp_path / "out.mp3"], capture_output=True, text=True, check=True)
    assert (tmp_path / "out.mp3").stat().st_size > 30 * 60 * 3900
    assert int(measured.stdout) < 50_000
