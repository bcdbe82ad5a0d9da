"""Plays a sound to the caller: a file of the switch's sounds, tones, silence or music; `message` is what record_caller
took down last in this flow."""

from kazoo_rec.callflow.flow import Flow
from kazoo_rec.switch import commands

#: Kazoo lets any key end it.
ANY_KEY = "0123456789*#"


def run(flow: Flow, data):
    sound = data.get("id", "")
    if sound == "message" and flow.message is None:
        flow.say("play: there is no message")
        return "_"
    application = commands.play_recording(flow.message) if sound == "message" else commands.play(sound)
    keys = commands.end_by("".join(data.get("terminators", ANY_KEY)))
    flow.say(f"play: {sound}")
    if data.get("answer", True):
        flow.answer()
    flow.session.tell(*keys)
    flow.session.execute(*application)
    flow.give_back(["playback_terminators"])
    return "_"
