"""Legs that are wanted and not recorded: an alarm after a second, and for accounts that the law binds the call's end.

Wanted is what a rule, an action or a person has planned for a leg. It is missing while its leg has answered (and is
bridged, where it waits for that), is not on hold, and the switch has not said that it records it; or has ended it,
refused it or lost it by nobody's order while the leg goes on. What is silenced before it begins, still to be announced,
declined, stopped, at its limit or followed by another is not missing. A room is no leg.

What an account wants done is its document's `on_no_recording`:

    continue  nothing: the row says `failed` when the leg is gone
    alarm     (where nothing is said) counted, logged, told by the webhook `missing`, shown by the API's channels
    hangup    as alarm, and the leg is hung up, once the switch has said that it does not record it. A dialplan sees to
              the same where no engine is there (freeswitch-conf/README.md); its guard is called off as recording begins
"""

from dataclasses import dataclass

import structlog

from kazoo_rec.calls.guard import Guards
from kazoo_rec.calls.orders import COMMAND_WITHIN_S
from kazoo_rec.calls.room import Room
from kazoo_rec.errors import CommandFailed, SwitchError
from kazoo_rec.switch import commands, replies

#: What an account may want done. ALARM where it says nothing.
CONTINUE, ALARM, HANGUP = "continue", "alarm", "hangup"

#: Milliseconds before a leg that is not recorded is an alarm, and before it is hung up: the fallback, which looks each
#: 250 ms, has had its time by then, and the switch has answered for as long.
ALARM_AFTER_MS, HANG_UP_AFTER_MS = 1000, 2000

#: Milliseconds before a leg is asked about, and hung up, again.
AGAIN_MS = 1000

#: What its webhook is called (`delivery.webhook.STATUSES`).
MISSING = "missing"

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Watch:
    """Of one recording; by the engine's clock, None while it is not missing."""

    since_at: int | None = None
    alarmed: bool = False
    hang_up_at: int | None = None


class Vigil:
    """Of one switch. `expect`, `ended` and `tick` never wait.

    Parameters:
      send, files, spawn: as of `calls.orders.Orders`.
      outcome: `calls.recorder.Recorder`: `found(recording, path)`.
      stance: what an account wants done, by its id.
      meter: `calls.meter.Meter`.
      epoch_ms: the switch's clock.
      tell: has `tell(recording, MISSING)` told to who wants to know.
    """

    def __init__(self, send, files, spawn, outcome, stance, meter, epoch_ms, tell):
        self._send, self._files, self._spawn, self._outcome = send, files, spawn, outcome
        self._stance, self._meter, self._epoch_ms, self._tell = stance, meter, epoch_ms, tell
        self._guards, self._watched = Guards(send, spawn), {}

    def expect(self, recording):
        """It is planned, or taken up from an engine before."""
        if not (isinstance(recording.leg, Room) or recording.is_message):
            self._watched[recording] = _Watch()

    def began(self, recording, now_at):
        """The switch records it: a guard that the dialplan has set, for when no engine is there, is called off."""
        if not isinstance(recording.leg, Room) and self._stance(recording.account_id) == HANGUP:
            for leg in dict.fromkeys((recording.leg, recording.leg.call.first())):
                if leg is not None:
                    self._guards.call_off(leg, now_at)

    def ended(self, recording):
        """It has ended; most do with their leg."""
        if recording not in self._watched and _is_lost(recording):
            self.expect(recording)

    def tick(self, now_at):
        self._guards.tick(now_at)
        for recording, watch in list(self._watched.items()):
            if _is_settled(recording):
                self._over(recording, watch)
                del self._watched[recording]
            elif not _is_due(recording):
                self._over(recording, watch)
            elif watch.since_at is None:
                watch.since_at = now_at
            elif now_at - watch.since_at > ALARM_AFTER_MS:
                self._missing(recording, watch, now_at)

    def missing(self, now_at) -> tuple[int, int]:
        """How many legs an alarm is for, and for how long the first of them has been without, in ms."""
        alarmed = [(recording.leg, watch) for recording, watch in self._watched.items() if watch.alarmed]
        return (len({leg for leg, _ in alarmed}), max((now_at - watch.since_at for _, watch in alarmed), default=0))

    def _missing(self, recording, watch, now_at):
        stance = self._stance(recording.account_id)
        if stance == CONTINUE:
            return
        if not watch.alarmed:
            watch.alarmed, watch.hang_up_at = True, watch.since_at + HANG_UP_AFTER_MS
            recording.not_recorded_since_ms = self._epoch_ms() - (now_at - watch.since_at)
            self._meter.alarms.inc()
            log.error("a leg is not being recorded", call_id=recording.leg.uuid, recording_id=recording.id,
                      account=recording.account_id, rule=recording.plan.rule, state=recording.state,
                      reason=recording.reason, then=stance)
            self._tell(recording, MISSING)
        if stance == HANGUP and watch.hang_up_at <= now_at and _is_its_own(recording):
            watch.hang_up_at = now_at + AGAIN_MS + int(COMMAND_WITHIN_S * 1000)
            self._spawn(self._hang_up, recording, watch, now_at)

    def _over(self, recording, watch):
        if watch.alarmed and recording.leg.alive:
            log.warning("a leg is recorded after all, or was not to be", call_id=recording.leg.uuid,
                        recording_id=recording.id, state=recording.state)
        watch.since_at, watch.alarmed, recording.not_recorded_since_ms = None, False, None

    def _hang_up(self, recording, watch, asked_at):
        leg = recording.leg
        try:
            path = self._listed(recording)
            if path is not None:
                self._outcome.found(recording, path)
            elif not _is_settled(recording) and _is_due(recording):
                self._send(commands.kill(leg.uuid, commands.NOT_RECORDED), COMMAND_WITHIN_S)
                self._meter.hangups.inc()
                log.error("a leg was hung up: it was not recorded", call_id=leg.uuid, recording_id=recording.id,
                          account=recording.account_id)
        except CommandFailed as refused:
            log.info("a leg that was to be hung up is gone", call_id=leg.uuid, reply=refused.reply)
        except SwitchError as unheard:
            log.error("a leg that is not recorded could not be hung up", call_id=leg.uuid, recording_id=recording.id,
                      reason=str(unheard))
        finally:
            watch.hang_up_at = asked_at + AGAIN_MS

    def _listed(self, recording):
        """The path that the switch records it to; None where it does not."""
        listed = replies.recorded(self._send(commands.buglist(recording.leg.uuid), COMMAND_WITHIN_S))
        paths = recording.armed_path, recording.fallback_path
        return next((path for path in paths if self._files.on_switch(path) in listed), None)


def _is_settled(recording):
    """Whether it is not missing any more, and nothing but its own end can make it so."""
    if not recording.leg.alive or recording.over or recording.state == "recording":
        return True
    return recording.ended.is_set() and (not _is_lost(recording) or _is_followed(recording))


def _is_lost(recording):
    """Whether it has ended by nobody's order, as far as that is known while its leg goes on."""
    return recording.leg.alive and not recording.over and not recording.cut_short and (
        recording.state in ("failed", "stopped") or recording.reason == "empty")


def _is_followed(recording):
    """Whether another has its place, as after a transfer that took it along, or an announcement to somebody new."""
    recordings = recording.leg.recordings
    if recording not in recordings:
        return False
    return any(one.account_id == recording.account_id and one.plan.rule == recording.plan.rule
               for one in recordings[recordings.index(recording) + 1:])


def _is_due(recording):
    leg = recording.leg
    if leg.answered_ms is None or leg.held_ms is not None or (recording.on_bridge and leg.bridged_ms is None):
        return False
    return recording.ended.is_set() or not (recording.silenced or recording.unannounced)


def _is_its_own(recording):
    """An account ends its own calls alone: not a leg of another's that it records by an order."""
    return recording.leg.identity.account_id in (None, recording.account_id)
