"""A beep now and then, to both parties of what is being recorded."""

import structlog

from kazoo_rec.calls.orders import COMMAND_WITHIN_S
from kazoo_rec.errors import SwitchError
from kazoo_rec.switch import commands

log = structlog.get_logger()


class Beeper:
    """Of one switch. A leg that is held, and a recording that is silenced, has none; of several recordings that are due
    together a leg hears one.

    Parameters: `send` and `spawn` as of `calls.recorder.Recorder`.
    """

    def __init__(self, send, spawn):
        self._send, self._spawn = send, spawn
        self._due = {}  # recording → when

    def expect(self, recording, now_at):
        """It has begun: the first beep is due after one of its settings' `beep_every_s`."""
        if every_s := recording.announce.get("beep_every_s"):
            self._due[recording] = now_at + every_s * 1000

    def tick(self, now_at):
        legs = {}
        for recording, due_at in list(self._due.items()):
            if recording.ended.is_set() or not recording.leg.alive:
                del self._due[recording]
            elif due_at <= now_at:
                self._due[recording] = now_at + recording.announce["beep_every_s"] * 1000
                if not recording.silenced and not recording.unwanted:
                    legs |= dict.fromkeys((recording.leg, recording.leg.call.partner_of(recording.leg)))
        for leg in legs:
            if leg is not None and leg.answered_ms is not None and leg.held_ms is None:
                self._spawn(self._beep, leg)

    def _beep(self, leg):
        try:
            self._send(commands.beep(leg.uuid), COMMAND_WITHIN_S)
        except SwitchError as refused:
            if leg.alive:
                log.warning("no beep was heard", call_id=leg.uuid, reason=str(refused))
