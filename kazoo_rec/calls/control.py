"""Orders about the recordings of a leg, from people: carried out, and answered with what came of them."""

from collections.abc import Callable, Iterator, Mapping

import gevent

from kazoo_rec.calls.actions import Actions
from kazoo_rec.calls.dialplan import SUBCLASS, Dialplan
from kazoo_rec.calls.execution import SILENCES, Execution, one_at_a_time
from kazoo_rec.calls.leg import Leg
from kazoo_rec.calls.messages import Messages
from kazoo_rec.calls.recording import Past, told
from kazoo_rec.errors import NotConnected, WrongState
from kazoo_rec.policy.settings import DEFAULTS
from kazoo_rec.switch.protocol import TURN_S

#: Legs that a list is made of before others have their turn: half a millisecond's.
AT_ONCE = 50

ACTIONS = ("start", "stop", "mask", "unmask", "pause", "resume")


class Control:
    """Of one switch.

    An account sees legs that are its own or that it records, and of their recordings its own alone. Repeating an order
    changes nothing. A mask or pause is in the row before the switch is told of it, and its end after: where the switch
    did not answer, the row says "silent", and what an engine after this one reads is never too little.

    `begin`, `end` and `change` are for actions of callflows, `calls.actions.Actions`'s; `message` and `message_ended`
    for the action record_caller, `calls.messages.Messages`'s. The dialplan's `kazoo_rec::record_call` is heard too.

    Parameters:
      tracker, recorder: the switch's own.
      send: `send(command, timeout_s) -> reply`, raising CommandFailed for -ERR.
      files: `calls.files.Files`.
      epoch_ms: the switch's clock, for rows.
      now_at: the engine's clock.
      knows: whether a leg, by its uuid, that the tracker does not know is not there.
      spawn: runs a function in a greenlet.
    """

    def __init__(self, tracker, recorder, send, files, epoch_ms: Callable[[], int], now_at: Callable[[], int],
                 knows: Callable[[str], bool], spawn=gevent.spawn):
        self._tracker, self._recorder, self._knows = tracker, recorder, knows
        self._execution = Execution(recorder, send, files, epoch_ms, now_at)
        actions = Actions(tracker, recorder, self._execution, knows)
        self.begin, self.end, self.change = actions.begin, actions.end, actions.change
        messages = Messages(actions.leg, recorder, files, now_at)
        self.message, self.message_ended = messages.message, messages.message_ended
        tracker.listen(SUBCLASS, Dialplan(actions, spawn).heard)

    def legs(self, account_id: str, user_id: str | None = None) -> Iterator[dict]:
        """Those that the account sees, or that are its user's. Others have their turns meanwhile."""
        for number, leg in enumerate(self._tracker.legs()):
            if number % AT_ONCE == 0:
                gevent.sleep(TURN_S)
            if _sees(account_id, leg) and (user_id is None or _is_his(account_id, user_id, leg.identity)):
                yield _told(leg, account_id, leg.recordings)

    def leg(self, account_id: str, uuid: str) -> dict | None:
        """None where the account has no such leg. Raises NotConnected where that is not known."""
        leg = self._find(account_id, uuid)
        return leg and _told(leg, account_id, leg.recordings)

    def order(self, account_id: str, uuid: str, action: str, settings: Mapping, who: str) -> dict | None:
        """The leg as it is afterwards; None where the account has no such leg. `settings` are for "start".

        Raises WrongState, and CommandTimeout or NotConnected where it is not known what the switch did, or whether an
        engine after this one would know of a stop.
        """
        leg = self._find(account_id, uuid)
        if leg is None:
            return None
        recordings = leg.recordings  # a leg that goes meanwhile lets go of them
        with one_at_a_time(leg):
            if not leg.alive:
                return None
            ours = [one for one in self._recorder.live(leg)
                    if one.account_id == account_id and not one.dropped and not one.is_message]
            if action == "start":
                self._start(leg, account_id, ours, settings, who)
            elif action == "stop":
                self._stop(leg, account_id, ours, f"{who} stopped it before it began, by the API")
            elif not any(one.running or one.silenced for one in ours):
                raise WrongState("nothing of this leg is being recorded")
            elif action in SILENCES:
                self._execution.silence(ours, action)
            else:
                self._execution.end_silence(ours, action)
            told = _told(leg, account_id, recordings)
        if action == "stop":  # others may order meanwhile; one that is said again waits for the same rows
            self._execution.written(one for one in recordings if one.account_id == account_id)
        return told

    def _find(self, account_id, uuid):
        leg = self._tracker.leg(uuid)
        if leg is None and not self._knows(uuid):
            raise NotConnected("legs of the switch are not known yet")
        return leg if leg is not None and leg.alive and not leg.plumbing and _sees(account_id, leg) else None

    def _start(self, leg, account_id, ours, settings, who):
        if any(not one.by_action and not one.over for one in ours):  # an action's may end with the next action
            return
        if leg.answered_ms is None or leg.bypassed:
            raise WrongState("the leg has not answered" if leg.answered_ms is None else "the leg has no media here")
        plan = Past("api", "B" if leg.called else "A", {**DEFAULTS, **settings, "enabled": True},
                    {name: "api" if name in settings else "default" for name in DEFAULTS},
                    f"{who} had it recorded, by the API.")
        self._execution.begun(leg, self._execution.begin(leg, plan, account_id))

    def _stop(self, leg, account_id, ours, why):
        if not ours and not any(one.account_id == account_id for one in leg.recordings):
            raise WrongState("nothing of this leg is being recorded")
        self._recorder.succession.forget(one for one in leg.recordings if one.account_id == account_id)
        self._execution.stop(leg, ours, why)


def _sees(account_id, leg):
    return leg.alive and (leg.identity.account_id == account_id
                          or any(one.account_id == account_id for one in leg.recordings))


def _is_his(account_id, user_id, whose):
    return (whose.account_id, whose.user_id) == (account_id, user_id)


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
        "recordings": [told(one) for one in recordings if one.account_id == account_id],
        "not_recorded": [{"rule": rule, "reason": refusal.reason} for (account, rule), refusal in leg.refused.items()
                         if account == account_id and rule not in said]}
