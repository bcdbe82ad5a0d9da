"""What a document has the switch play is below its sounds: no file of the host, no URL, no command."""

import pytest

from kazoo_rec.documents.schema import check
from kazoo_rec.errors import CommandRefused
from kazoo_rec.switch import commands

UUID = "0123456789abcdef0123456789abcdef"
ID = UUID

OUTSIDE = [
    "/etc/passwd", "../../../etc/passwd.wav", "ivr/../../secret.wav", "./a.wav", ".hidden.wav", "ivr/.hidden/a.wav",
    "ivr//a.wav", "a.wav/", "C:\\a.wav", "file:///etc/passwd", "http://10.0.0.1/a.wav", "https://10.0.0.1/a.mp3",
    "http_cache://http://169.254.169.254/a.wav", "shout://10.0.0.1/a.mp3", "vlc://http://10.0.0.1/a",
    "av:///etc/passwd", "rtmp://a", "s3://a/b.wav", "file_string://a.wav!b.wav", "say:en:a", "phrase:a", "pgsql:a",
    "tone_stream://path=/etc/passwd", "tone_stream://%(1,1,1);path=/etc/passwd", "silence_stream://1,/etc/passwd",
    "local_stream:///etc/passwd", "{a=b}a.wav", "[a=b]a.wav", "<a=b>a.wav", "${system(id)}.wav", "$${a}.wav", "a.wav\n",
    "a.wav\nb", "a b.wav", "a.wav aleg", "a%2e%2e/b.wav", "a.wav;b", "a.wav!b", "a.wav@@1", "a.wav|b", "a.wav,b",
    "\u202ea.wav", "å.wav", "a\0.wav", "",
]


@pytest.mark.parametrize("sound", OUTSIDE)
def test_an_announcement_is_a_sound_of_the_switch(sound):
    _, faults = check("recording_settings", {"announce": {"file": sound}})
    assert faults
    with pytest.raises(CommandRefused):
        commands.announce(UUID, sound, ID)


@pytest.mark.parametrize("sound", OUTSIDE)
def test_what_a_callflow_plays_is_a_sound_of_the_switch(sound):
    _, faults = check("callflow", {"numbers": ["100"], "flow": {"module": "play", "data": {"id": sound}}})
    assert faults
    with pytest.raises(CommandRefused):
        commands.play(sound)


@pytest.mark.parametrize("sound", ["ivr/consent.wav", "a.mp3"])
def test_a_sound_of_the_switch_is_played(sound):
    assert check("recording_settings", {"announce": {"file": sound}})[1] == []
    assert check("callflow", {"numbers": ["100"], "flow": {"module": "play", "data": {"id": sound}}})[1] == []
    assert sound in commands.announce(UUID, sound, ID) and commands.play(sound).argument == sound
