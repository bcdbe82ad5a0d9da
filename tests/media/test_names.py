"""What the files of a recording are called."""


import numpy as np
import soundfile

from kazoo_rec.media import encode, names, wav
from kazoo_rec.media.sealed import published

ID = "202611-0123456789abcdef0123456789abcdef"
OTHER = ID.replace("0123", "9999", 1)


def test_every_file_of_a_recording_is_known_without_a_look_at_its_directory(tmp_path, monkeypatch):
    master = tmp_path / f"{ID}.wav"
    soundfile.write(master, np.zeros((800, 2), "<i2"), 8000)
    whole = wav.probe(master)
    for channels in (1, 2):
        encode.to_wav(whole, tmp_path / names.delivered(ID, "wav", channels), "mono", "both")
    encode.to_mp3(whole, tmp_path / names.delivered(ID, "mp3", 1), "mono", "both")
    monkeypatch.setattr("os.replace", lambda part, target: None)  # killed before it
    for kind in ("mono", "dual", "inbound", "outbound"):
        for form in ("mp3", "wav"):
            (tmp_path / names.played(ID, kind, form)).touch()
            with published(tmp_path / names.played(ID, kind, form)):
                pass
    (tmp_path / names.declined(ID)).touch(), (tmp_path / f"{ID}.f.wav").touch(), (tmp_path / f"{OTHER}.wav").touch()
    known = names.all_of(ID, master)
    assert known[-1] == master and len(known) == len(set(known))
    there = set(tmp_path.iterdir())
    assert len(there) == 23 and there - set(known) == {tmp_path / f"{OTHER}.wav"}
