import io
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kazoo_rec.errors import MediaError
from kazoo_rec.media import encode, sealed, wav
from kazoo_rec.media.peaks import peaks
from kazoo_rec.media.sealed import CHUNK_BYTES, MAGIC, TAG_BYTES

from .sounds import write_talk

KEY, OTHER = bytes(range(32)), bytes(32)
CHUNK = CHUNK_BYTES

#: Around the edges of chunks.
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5]


def make(path, plain, key=KEY, step=40_000):
    with sealed.published(path, key) as file:
        for at in range(0, len(plain), step):
            assert file.write(plain[at:at + step]) == len(plain[at:at + step])


def read(path, key=KEY):
    with sealed.opened(path, key) as file:
        return file.read()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [40_000, CHUNK, 5 * CHUNK])
def test_what_was_sealed_is_read_as_it_was(tmp_path, size, step):
    plain = os.urandom(size)
    make(tmp_path / "a", plain, step=step)
    assert read(tmp_path / "a") == plain
    raw = (tmp_path / "a").read_bytes()
    assert raw.startswith(MAGIC) and len(raw) == 32 + size + TAG_BYTES * max(1, -(-size // CHUNK))
    assert size < 16 or plain[:16] not in raw
    with sealed.opened(tmp_path / "a", KEY) as file:
        assert sealed.size_of(file) == size and file.read() == plain


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(size=st.sampled_from(SIZES), data=st.data())
def test_from_any_place_so_many_bytes(tmp_path, size, data):
    plain = (bytes(range(251)) * (size // 251 + 1))[:size]
    make(tmp_path / "a", plain)
    expected, asked = io.BytesIO(plain), st.integers(0, size + 10)
    with sealed.opened(tmp_path / "a", KEY) as file:
        for at, count in data.draw(st.lists(st.tuples(asked, asked), max_size=5)):
            assert file.seek(at) == expected.seek(at)
            assert file.read(count) == expected.read(count)


def test_the_same_is_never_sealed_the_same_twice(tmp_path):
    for name in ("a", "b"):
        make(tmp_path / name, b"talk" * 99)
    assert (tmp_path / "a").read_bytes()[32:] != (tmp_path / "b").read_bytes()[32:]


@pytest.mark.parametrize("spoil", [
    lambda raw: raw[:-1], lambda raw: raw[:32 + CHUNK + TAG_BYTES], lambda raw: raw[:32 + 2 * (CHUNK + TAG_BYTES)],
    lambda raw: raw[:32], lambda raw: raw[:40], lambda raw: raw[:20], lambda raw: raw + b"x",
    lambda raw: raw[:32] + raw[32 + CHUNK + TAG_BYTES:],
    lambda raw: raw[:32] + raw[32 + CHUNK + 16:32 + 2 * (CHUNK + 16)] + raw[32:32 + CHUNK + 16] + raw[-21:],
    lambda raw: raw[:32] + bytes([raw[32] ^ 1]) + raw[33:], lambda raw: raw[:20] + b"?" + raw[21:],
    lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])])
def test_cut_changed_or_in_another_order_it_is_no_audio(tmp_path, spoil):
    make(tmp_path / "a", bytes(2 * CHUNK + 5))
    (tmp_path / "a").write_bytes(spoil((tmp_path / "a").read_bytes()))
    with pytest.raises(MediaError):
        read(tmp_path / "a")


@pytest.mark.parametrize("key", [OTHER, None])
def test_without_its_key_it_is_no_audio(tmp_path, key):
    make(tmp_path / "a", b"talk")
    with pytest.raises(MediaError):
        read(tmp_path / "a", key)


def test_a_plain_file_is_read_as_it_is(tmp_path):
    (tmp_path / "a").write_bytes(b"RIFF")
    assert read(tmp_path / "a") == read(tmp_path / "a", None) == b"RIFF" and not sealed.is_sealed(tmp_path / "a")


def test_a_file_is_sealed_in_its_place_once(tmp_path):
    plain = os.urandom(3 * CHUNK)
    (tmp_path / "a").write_bytes(plain)
    sealed.seal(tmp_path / "a", KEY)
    once = (tmp_path / "a").read_bytes()
    sealed.seal(tmp_path / "a", KEY)
    assert (tmp_path / "a").read_bytes() == once and sealed.is_sealed(tmp_path / "a") and read(tmp_path / "a") == plain
    assert os.listdir(tmp_path) == ["a"]


def test_of_an_error_nothing_is_left(tmp_path):
    with pytest.raises(InterruptedError), sealed.published(tmp_path / "a", KEY) as file:
        file.write(bytes(3 * CHUNK))
        raise InterruptedError
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("channels", "track"), [("mono", "both"), ("dual", "both"), ("mono", "inbound")])
def test_what_is_made_of_a_sealed_master_is_what_is_made_of_a_plain_one_and_sealed(tmp_path, channels, track):
    master = tmp_path / "a.wav"
    write_talk(master)
    plain, outline = wav.probe(master), peaks(master, 20)
    encode.to_mp3(plain, tmp_path / "plain.mp3", channels, track)
    encode.to_wav(plain, tmp_path / "plain.wav", channels, track)
    sealed.seal(master, KEY)
    found = wav.probe(master, KEY)
    assert (found.duration_ms, found.channels, found.intact) == (plain.duration_ms, plain.channels, plain.intact)
    assert peaks(master, 20, KEY) == outline and KEY.hex() not in repr(found) and str(KEY) not in repr(found)
    for form, make_it in (("mp3", encode.to_mp3), ("wav", encode.to_wav)):
        make_it(found, tmp_path / f"sealed.{form}", channels, track)
        assert sealed.is_sealed(tmp_path / f"sealed.{form}")
        assert read(tmp_path / f"sealed.{form}") == (tmp_path / f"plain.{form}").read_bytes()
