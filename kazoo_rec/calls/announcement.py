"""What parties hear before they are recorded, or as it begins; and their no to it.

`uuid_broadcast` plays to an answered leg in the place of what it hears, in a bridge, a conference or an IVR alike. A
leg that was called is played to once it is bridged: before, its bridge would wait for the end of the sound. That a
sound was played whole, PLAYBACK_STOP tells, and not by its status alone: that is "done", too, where the leg hung up or
was transferred meanwhile, and then the leg's state is not what it was at PLAYBACK_START (seen on FreeSWITCH 1.10.12).
"""

import uuid
from dataclasses import dataclass, field

import structlog

from kazoo_rec.calls.leg import Leg
from kazoo_rec.calls.orders import COMMAND_WITHIN_S
from kazoo_rec.errors import CommandFailed, CommandRefused, CommandTimeout, NotConnected, SwitchError
from kazoo_rec.switch import commands

#: What has to be heard of where something is announced, or may be declined.
EVENTS = ("PLAYBACK_START", "PLAYBACK_STOP", "DTMF")

#: Times that a sound which is broken off (by a key, a transfer) is begun.
MOST_ATTEMPTS = 3

#: Milliseconds before a leg is played to again, or its no is told again, where there was no connection.
RETRY_MS = 1000

#: A talk of which nothing was recorded as nothing was played, from this length on, is a failure.
FAULT_MS = 5000

#: In the row of what a party declined.
DECLINED = "declined"

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Hearing:
    """One leg's of one sound. `id` is in its events; `next_at` is when it is to be played next, None while that is
    under way or done. `from_ms`, `to_ms`: the switch's clock, `to_ms` once it was played whole. `state` is the
    leg's, in FreeSWITCH's numbers, as it began. `fault`: why it will not be heard."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    next_at: int | None = 0
    attempts: int = 0
    from_ms: int | None = None
    to_ms: int | None = None
    state: str = ""
    fault: str = ""

    def again(self, at: int, why: str):
        self.from_ms = None
        if self.attempts < MOST_ATTEMPTS:
            self.next_at = at
        else:
            self.fault = why


class Announcer:
    """Of one switch. A leg hears each sound once, for however many recordings it is.

    Parameters:
      send, spawn, listen: as of `calls.recorder.Recorder`.
      outcome: `calls.recorder.Recorder`: `announced(recording, from_ms, to_ms, now_at)`, `renew(recording, now_at)`,
        `decline(recording, at_ms, now_at)`, `failed(recording, reason)`, and whether a recording's id is in it.
    """

    def __init__(self, send, listen, spawn, outcome):
        self._send, self._listen, self._spawn, self._outcome = send, listen, spawn, outcome
        self._waiting = {}  # recordings, in order
        self._unsaid = {}  # legs that have declined → when the switch, which has not heard of it, is told again
        self._deaf, self._prepare_at = False, 0

    def expect(self, recording):
        """It is planned, or taken up from an engine before."""
        if _sound(recording) and not recording.announced and not recording.running:
            self._waiting[recording] = None
        if _sound(recording) or recording.announce.get("opt_out_digit"):
            self._spawn(self._prepare)

    def tick(self, now_at):
        """Plays what is due, and says which recordings all have heard of."""
        if self._deaf and self._prepare_at <= now_at:
            self._prepare_at = now_at + RETRY_MS
            self._spawn(self._prepare)
        for leg in [leg for leg, again_at in self._unsaid.items() if again_at <= now_at]:
            del self._unsaid[leg]
            if leg.alive:
                self._spawn(self._leave_word, leg, now_at)
        for recording in list(self._waiting):
            if recording.id not in self._outcome or recording.over:
                del self._waiting[recording]
                continue
            audience, complete = _audience(recording)
            hearings = [self._play(leg, recording, now_at) for leg in audience]
            if recording.running and recording.announce.get("required") and any(one.to_ms is None for one in hearings):
                del self._waiting[recording]
                self._outcome.renew(recording, now_at)
                continue
            fault = next((one.fault for one in hearings if one.fault), "")
            if fault:
                del self._waiting[recording]
                log.error("a recording is not announced", call_id=recording.leg.uuid, recording_id=recording.id,
                          reason=fault)
                if recording.unannounced:
                    self._outcome.failed(recording, f"never announced: {fault}")
            elif complete and all(one.to_ms is not None for one in hearings):
                del self._waiting[recording]
                if not recording.announced:
                    self._outcome.announced(recording, min(one.from_ms for one in hearings),
                                            max(one.to_ms for one in hearings), now_at)

    def heard(self, leg: Leg, event, now_at):
        """One of EVENTS, of `leg`."""
        if event.name == "DTMF":
            self._pressed(leg, event, now_at)
            return
        named = event.get("kazoo_rec_announce")
        hearing = next((one for one in leg.heard.values() if one.id == named), None)
        if hearing is None or hearing.to_ms is not None:
            return
        state = event.get("Channel-State-Number")
        if event.name == "PLAYBACK_START":
            hearing.from_ms, hearing.state = event.time_us // 1000, state
        elif event.get("Answer-State") == "hangup":
            hearing.from_ms = None
        elif hearing.from_ms is None or event.get("Playback-Status") != "done" or state != hearing.state:
            hearing.again(now_at, "it was broken off each time")
        else:
            hearing.to_ms = event.time_us // 1000
            self.tick(now_at)

    def doubt(self, leg: Leg):
        """News of `leg` may have been missed: what it has not heard by now is played to it again."""
        for hearing in leg.heard.values():
            if hearing.to_ms is None and hearing.next_at is None:
                hearing.again(0, "its end was not heard")

    def met(self, leg: Leg):
        """`leg` was bridged, perhaps to somebody who has not heard what both have to."""
        for recording in leg.recordings:
            if recording.announce.get("to") == "both" and recording.id in self._outcome and (
                    _sound(recording) in leg.heard or recording.announce.get("required")):
                self._waiting[recording] = None

    @staticmethod
    def verdict(recording, now_ms: int) -> tuple[str, str]:
        """(state, reason) of a recording that was never announced and whose leg is gone."""
        hearing = recording.leg.heard.get(_sound(recording))
        if hearing is None and recording.announce.get("to") == "both":
            return "discarded", "never announced: there was nobody on the other side"
        if hearing is None or hearing.state or now_ms - recording.leg.answered_ms < FAULT_MS:
            return "discarded", "ended before it was announced"
        return "failed", "never announced: the switch did not play it"

    def _pressed(self, leg, event, now_at):
        """What is pressed is told to nobody: it may be of a card's number."""
        digit = event.get("DTMF-Digit")
        recordings = [one for other in leg.call.legs for one in other.recordings]
        accounts = {one.account_id for one in recordings if one.announce.get("opt_out_digit") == digit != ""
                    and one.id in self._outcome and leg in _asked(one)}
        if accounts:
            leg.declined |= accounts
            self._spawn(self._leave_word, leg, now_at)
        for one in recordings:
            if one.account_id in accounts and not one.is_message:
                self._outcome.decline(one, event.time_us // 1000, now_at)

    def _leave_word(self, leg, now_at):
        """The leg says it itself from now on, to an engine after this one: the rows may never get to the database."""
        try:
            self._send(commands.decline(leg.uuid, leg.declined), COMMAND_WITHIN_S)
        except (CommandTimeout, NotConnected) as unheard:
            log.warning("the switch did not hear what a leg declines", call_id=leg.uuid, reason=str(unheard))
            self._unsaid[leg] = now_at + RETRY_MS
        except SwitchError as refused:
            log.info("a leg that declined is gone", call_id=leg.uuid, reason=str(refused))

    def _play(self, leg, recording, now_at):
        hearing = leg.heard.setdefault(_sound(recording), Hearing())
        if hearing.next_at is not None and hearing.next_at <= now_at:
            hearing.next_at, hearing.attempts = None, hearing.attempts + 1
            self._spawn(self._do, leg, hearing, _sound(recording), now_at)
        return hearing

    def _do(self, leg, hearing, sound, now_at):
        if not self._prepare():
            hearing.attempts -= 1
            hearing.again(now_at + RETRY_MS, "")
            return
        try:
            self._send(commands.announce(leg.uuid, sound, hearing.id), COMMAND_WITHIN_S)
        except CommandRefused as refused:
            hearing.fault = str(refused)
        except CommandFailed as refused:
            log.info("a leg that something was to be announced to is gone", call_id=leg.uuid, reply=refused.reply)
        except NotConnected as unheard:
            log.warning("the switch was not told to announce", call_id=leg.uuid, reason=str(unheard))
            hearing.attempts -= 1
            hearing.again(now_at + RETRY_MS, str(unheard))
        except CommandTimeout as unheard:
            log.warning("the switch did not hear a command", call_id=leg.uuid, reason=str(unheard))
            hearing.again(now_at + RETRY_MS, "the switch did not answer")

    def _prepare(self) -> bool:
        """Whether EVENTS are listened to. If not now, then later; with the first recording that needs it, so that no
        sound has to wait for that."""
        try:
            self._listen(EVENTS)
            self._deaf = False
        except SwitchError as unheard:
            self._deaf = True
            log.warning("the switch was not asked for playbacks and digits", reason=str(unheard))
        return not self._deaf


def _sound(recording):
    return recording.announce.get("file") or recording.announce.get("tone")


def _audience(recording):
    """(legs that can be played to by now, whether they are all)."""
    leg, to_both = recording.leg, recording.announce.get("to") == "both"
    if not leg.alive or leg.answered_ms is None or (
            leg.bridged_ms is None and (leg.called or leg.call.has_callee())):
        return (), False
    partner = leg.call.partner_of(leg) if to_both else None
    if partner is not None and partner.answered_ms is not None:
        return (leg, partner), True
    return ((), False) if to_both and recording.unannounced else ((leg,), not to_both)


def _asked(recording):
    """Legs that may decline: those that it is announced to."""
    leg = recording.leg
    return (leg, leg.call.partner_of(leg)) if recording.announce.get("to") == "both" else (leg,)
