"""Hold: the leg that puts itself on hold neither says nor hears anything, its partner hears music."""

from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.sound import MUSIC_HZ

_MUSIC = "local_stream://moh"
#: From the hold to the music, as measured.
_MUSIC_AFTER_S = 8 * FRAME_S


def hold(leg):
    if not leg.answered or leg.held:
        return
    leg.call.settle()
    leg.held, leg.call_state = True, "HELD"
    leg.profile.times["Channel-Last-Hold"] = leg.clock.epoch_us()
    leg.publish("CHANNEL_HOLD")
    leg.clock.after(_MUSIC_AFTER_S, lambda: _entertain(leg))


def unhold(leg):
    if not leg.held:
        return
    leg.call.settle()
    leg.held, leg.call_state = False, "UNHELD"
    leg.profile.times["Channel-Hold-Accum"] += leg.clock.epoch_us() - leg.profile.times["Channel-Last-Hold"]
    if leg.partner is not None:
        stop_music(leg.partner, "break", "FILE PLAYED")
    leg.publish("CHANNEL_UNHOLD")
    leg.call_state = "ACTIVE"
    for recording in tuple(leg.recordings):
        recording.heed_limit()


def stop_music(leg, status, response):
    """Of a leg whose partner holds it."""
    if leg.playing_hz == MUSIC_HZ:
        leg.call.settle()
        leg.playing_hz = None
        leg.playback_stopped(_MUSIC, status, {})
        leg.executed("playback", _MUSIC, response)


def _entertain(leg):
    if leg.held and leg.partner is not None and not leg.cause:
        leg.call.settle()
        leg.partner.playing_hz = MUSIC_HZ
        leg.partner.variables |= {"current_application_data": _MUSIC, "current_application": "playback"}
        leg.partner.playback_started(_MUSIC, {})
