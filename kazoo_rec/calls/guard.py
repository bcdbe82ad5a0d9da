"""Guards that a dialplan has set on legs, to end a call that no engine records (freeswitch-conf/README.md): called off
as recording begins, and again until it is certain. The switch sets one as the leg answers, but after it has begun what
was armed (switch_channel.c, switch_channel_perform_mark_answered): RECORD_START may be heard before."""

import structlog

from kazoo_rec.errors import CommandFailed, CommandOvertaken, SwitchError
from kazoo_rec.switch import commands
from kazoo_rec.switch.urgency import Perishable

#: Milliseconds before a guard is called off again: behind the answer, or where the switch did not hear.
AGAIN_MS = 1000

#: Seconds for the answer: a guard strikes 5 s after the leg's.
ANSWER_WITHIN_S = 1.0

log = structlog.get_logger()


class Guards:
    """Of one switch. `call_off` and `tick` never wait.

    Parameters:
      send, spawn: as of `calls.orders.Orders`.
    """

    def __init__(self, send, spawn):
        self._send, self._spawn = send, spawn
        #: By leg, when it is said again; None while that is on its way.
        self._due: dict = {}

    def call_off(self, leg, now_at):
        """Of a leg that is recorded, or whose partner is."""
        self._say(leg, now_at)

    def tick(self, now_at):
        for leg, due_at in list(self._due.items()):
            if not leg.alive:
                del self._due[leg]
            elif due_at is None or leg.answered_ms is None:
                continue
            elif max(due_at, leg.answered_at + AGAIN_MS) <= now_at:
                self._say(leg, now_at)

    def _say(self, leg, now_at):
        self._due[leg] = None
        self._spawn(self._unguard, leg, now_at)

    def _unguard(self, leg, asked_at):
        try:
            self._send(Perishable(commands.unguard(leg.uuid), lambda: leg.alive), ANSWER_WITHIN_S)
        except (CommandFailed, CommandOvertaken):
            pass  # a switch without that command has no guard either, nor has a leg that is gone
        except SwitchError as unheard:
            self._due[leg] = asked_at + AGAIN_MS
            log.error("a leg that is recorded may be hung up by its dialplan's guard", call_id=leg.uuid,
                      reason=str(unheard))
            return
        if leg.answered_ms is not None and asked_at >= leg.answered_at + AGAIN_MS:
            self._due.pop(leg, None)
        else:
            self._due[leg] = asked_at + AGAIN_MS
