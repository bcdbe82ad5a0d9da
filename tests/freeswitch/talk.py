"""Two phones talk, and what of it has to be in a file."""

from pytest import approx

#: A file may differ so much from the talk that its leg's phone saw, in ms.
LENGTH_MS = 60

#: And so much longer, in ms, where the test begins a process meanwhile and its phones note the answer late.
LATE_MS = 150


def talk(call, called, duration_ms=1500):
    """Once both are up; the caller hangs up."""
    call.answered().hear(duration_ms)
    call.hang_up()
    called.ended()


def states(found) -> dict[str, str]:
    return {whose: recording.state for whose, recording in found.items()}


def assert_whole(recording, length_ms, says, hears, longer_ms=LENGTH_MS):
    """The file has `length_ms`, the tones `says` left and `hears` right, and is not called partial."""
    wav = recording.wav()
    assert length_ms - LENGTH_MS <= wav.length_ms <= length_ms + longer_ms
    assert (wav.left.tones(), wav.right.tones()) == (says, hears)
    assert recording.row["duration_ms"] == approx(wav.length_ms, abs=1)
    assert not recording.row["partial"]


def until_hushed(call, hz, way_ms):
    """Waits until what the phones have said of a tone is behind them: the phone of `call` does not hear it any more,
    and what it says itself has had `way_ms` to reach the switch. What a phone was held up with, the switch and its
    conferences pass on later."""
    for _ in range(50):
        heard = call.listen()
        call.speak(way_ms)
        if not heard().level(hz):
            return
    raise AssertionError("a tone does not end")
