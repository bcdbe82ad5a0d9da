"""Orders about the recordings of a leg, from people: carried out, and answered with what came of them."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager

import gevent
from gevent.lock import Semaphore

from kazoo_rec.calls.leg import Leg
from kazoo_rec.calls.orders import COMMAND_WITHIN_S, ROW_WITHIN_S
from kazoo_rec.calls.recording import Past
from kazoo_rec.errors import CommandFailed, CommandTimeout, NotConnected, WrongState
from kazoo_rec.policy.settings import DEFAULTS
from kazoo_rec.switch import commands

ACTIONS = ("start", "stop", "mask", "unmask", "pause", "resume")

#: What an order does to a recording: the kind of its span, and the command.
_SILENCES = {"mask": ("mask", commands.mask), "pause": ("pause", commands.pause)}
_ENDS_SILENCE = {"unmask": ("mask", commands.unmask), "resume": ("pause", commands.resume)}

#: Seconds within which a recording begins or ends after the switch has said that it will.
EVENT_WITHIN_S = 2.0


class Control:
    """Of one switch.

    An account sees legs that are its own or that it records, and of their recordings its own alone. Repeating an order
    changes nothing. A mask or pause is in the row before the switch is told of it, and its end after: where the switch
    did not answer, the row says "silent", and what an engine after this one reads is never too little.

    Parameters:
      tracker, recorder: the switch's own.
      send: `send(command, timeout_s) -> reply`, raising CommandFailed for -ERR.
      files: `calls.files.Files`.
      epoch_ms: the wall clock, for rows.
      now_at: the engine's clock.
      knows_all: whether a leg that is not known is not there.
    """

    def __init__(self, tracker, recorder, send, files, epoch_ms: Callable[[], int], now_at: Callable[[], int],
                 knows_all: Callable[[], bool]):
        self._tracker, self._recorder, self._send, self._files = tracker, recorder, send, files
        self._epoch_ms, self._now_at, self._knows_all = epoch_ms, now_at, knows_all

    def legs(self, account_id: str) -> list[dict]:
        return [_told(leg, account_id, leg.recordings) for leg in self._tracker.legs() if _sees(account_id, leg)]

    def leg(self, account_id: str, uuid: str) -> dict | None:
        """None where the account has no such leg. Raises NotConnected where that is not known."""
        leg = self._find(account_id, uuid)
        return leg and _told(leg, account_id, leg.recordings)

    def order(self, account_id: str, uuid: str, action: str, settings: Mapping, who: str) -> dict | None:
        """The leg as it is afterwards; None where the account has no such leg. `settings` are for "start".

        Raises WrongState, and CommandTimeout or NotConnected where it is not known what the switch did.
        """
        leg = self._find(account_id, uuid)
        if leg is None:
            return None
        recordings = leg.recordings  # a leg that goes meanwhile lets go of them
        with _one_at_a_time(leg):
            if not leg.alive:
                return None
            ours = [one for one in self._recorder.live(leg) if one.account_id == account_id and not one.dropped]
            if action == "start":
                self._start(leg, account_id, ours, settings, who)
            elif action == "stop":
                self._stop(leg, account_id, ours, who)
            elif not any(one.running or one.silenced for one in ours):
                raise WrongState("nothing of this leg is being recorded")
            elif action in _SILENCES:
                self._silence(ours, *_SILENCES[action])
            else:
                self._end_silence(ours, *_ENDS_SILENCE[action])
            return _told(leg, account_id, recordings)

    def _find(self, account_id, uuid):
        leg = self._tracker.leg(uuid)
        if leg is None and not self._knows_all():
            raise NotConnected("legs of the switch are not known yet")
        return leg if leg is not None and leg.alive and not leg.plumbing and _sees(account_id, leg) else None

    def _start(self, leg, account_id, ours, settings, who):
        if ours:
            return
        if leg.answered_ms is None or leg.bypassed:
            raise WrongState("the leg has not answered" if leg.answered_ms is None else "the leg has no media here")
        plan = Past("api", "B" if leg.called else "A", {**DEFAULTS, **settings, "enabled": True},
                    {name: "api" if name in settings else "default" for name in DEFAULTS},
                    f"{who} had it recorded, by the API.")
        before = len(leg.recordings)
        self._recorder.want(leg, [(plan, account_id, None, True)], leg.identity.network, self._now_at())
        recording = leg.recordings[before]
        if not recording.begun.wait(COMMAND_WITHIN_S):
            raise CommandTimeout("the recording has not begun yet")
        if recording.ended.is_set():
            raise WrongState("the recording did not begin", recording.reason or "")

    def _stop(self, leg, account_id, ours, who):
        if not ours and not any(one.account_id == account_id for one in leg.recordings):
            raise WrongState("nothing of this leg is being recorded")
        for one in ours:
            if not one.running:
                if leg.answered_ms is None:
                    self._send(commands.disarm(leg.uuid, [one.id]), COMMAND_WITHIN_S)
                self._recorder.call_off(one, f"{who} stopped it before it began, by the API", self._now_at())
                continue
            self._tell(one, commands.stop)
            if not one.ended.wait(EVENT_WITHIN_S):
                raise CommandTimeout("the recording has not ended yet")

    def _silence(self, ours, kind, command):
        changed = [one for one in ours if self._recorder.silence(one, kind)]
        with gevent.Timeout(ROW_WITHIN_S, False):
            for one in changed:
                one.row.wait()
        for one in ours:
            try:
                self._tell(one, command)
            except WrongState:
                if one in changed:
                    self._recorder.unsilence(one, kind, 0)  # a span of no length
                raise

    def _end_silence(self, ours, kind, command):
        for one in ours:
            until_ms = self._epoch_ms()
            self._tell(one, command)
            self._recorder.unsilence(one, kind, until_ms)

    def _tell(self, recording, command):
        """Every file that is being written of it, should it be two."""
        for path in list(recording.running):
            try:
                self._send(command(recording.leg.uuid, self._files.on_switch(path)), COMMAND_WITHIN_S)
            except CommandFailed as refused:
                if path in recording.running and not recording.ended.is_set():
                    raise WrongState("the switch refused", refused.reply.strip()) from refused


@contextmanager
def _one_at_a_time(leg):
    leg.ordered = leg.ordered or Semaphore()
    if not leg.ordered.acquire(timeout=COMMAND_WITHIN_S):
        raise CommandTimeout("an order of before is still on its way")
    try:
        yield
    finally:
        leg.ordered.release()


def _sees(account_id, leg):
    return leg.alive and (leg.identity.account_id == account_id
                          or any(one.account_id == account_id for one in leg.recordings))


def _told(leg: Leg, account_id: str, recordings: list) -> dict:
    whose = leg.identity
    own, partner = whose.account_id == account_id, leg.call.partner_of(leg) if leg.call else None
    said = {one.plan.rule for one in recordings if one.account_id == account_id}
    return {
        "uuid": leg.uuid, "interaction_id": leg.call.interaction_id if leg.call else leg.uuid,
        "account_id": account_id, "owner_id": whose.user_id if own else None,
        "device_id": whose.device_id if own else None, "network": whose.network, "direction": leg.direction,
        "other_leg_call_id": partner and partner.uuid, "answered_ms": leg.answered_ms, "bridged_ms": leg.bridged_ms,
        "held": leg.held_ms is not None, "from": leg.facts["from_uri"], "to": leg.facts["to_uri"],
        **{name: leg.facts[name] for name in ("caller_id_name", "caller_id_number", "callee_id_name",
                                              "callee_id_number")},
        "recordings": [_recording(one) for one in recordings if one.account_id == account_id],
        "not_recorded": [{"rule": rule, "reason": refusal.reason} for (account, rule), refusal in leg.refused.items()
                         if account == account_id and rule not in said]}


def _recording(one):
    state = "discarded" if one.dropped else one.row_state
    return {"id": one.id, "state": state, "state_reason": one.reason, "rule": one.plan.rule, "reason": one.plan.reason,
            "masked": "mask" in one.silenced, "started_ms": one.started_ms, "spans": one.spans_now()}
