"""Recordings that an action begins, of a callflow or of the dialplan's event, and what later actions do to them.

They are one more recording of their leg, each with its own file, URL and settings: nothing that a rule of a document,
a person or another flow began is stopped or masked by an action, nor does any rule look at them.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from kazoo_rec.calls.execution import SILENCES, Execution, one_at_a_time
from kazoo_rec.calls.leg import Leg, text
from kazoo_rec.calls.recording import Past, Recording, told
from kazoo_rec.errors import CommandTimeout, NotConnected, WrongState
from kazoo_rec.policy.settings import DEFAULTS
from kazoo_rec.store.urls import URLS

#: What the actions record_call and record_caller have otherwise than a document's settings (Kazoo's user guide, "Call
#: Recording"; cf_record_call.erl for the transfer).
ACTION_DEFAULTS = {"time_limit": 3600, "should_follow_transfer": True}

#: Of an action's data, what is no setting of its recording.
NOT_SETTINGS = ("action", "skip_module", "origin")

#: Seconds within which the tracker has heard of a leg that a flow has.
LEG_WITHIN_S = 1.0


class Actions:
    """Of one switch. `knows` tells of a leg's uuid that is not known whether there is no such leg.

    Everything raises WrongState, CommandTimeout and NotConnected, as `Control.order` does.
    """

    def __init__(self, tracker, recorder, execution: Execution, knows):
        self._tracker, self._recorder, self._execution, self._knows = tracker, recorder, execution, knows

    def begin(self, account_id: str, uuid: str, settings: Mapping, *, rule: str, label: str | None = None,
              who: str) -> dict:
        """Begins one more recording of a leg, or arms it where the leg has not answered: what came of it, as
        `calls.recording.told`.

        `settings` are keys of policy.settings.DEFAULTS, media_name, label and should_follow_transfer, checked by
        schemas/callflows.record_call.json; `rule` is "callflow" or "event"; `who` is for people.
        """
        leg = self.leg(uuid)
        plan = plan_of(leg, settings, rule, label, who)
        with one_at_a_time(leg):
            if not leg.alive or leg.bypassed:
                raise WrongState("the leg has no media here" if leg.alive else "the leg has hung up")
            recording = self._execution.begin(leg, plan, account_id)
            with suppress(CommandTimeout):  # it may begin yet: who began it has to be able to end it
                self._execution.begun(leg, recording)
            return told(recording)

    def end(self, account_id: str, uuid: str, *, ids: Iterable[str] | None = None, label: str | None = None,
            who: str) -> list[dict]:
        """Stops what actions have begun of a leg and has one of these `ids`, or the `label`; [] where nothing has."""
        leg, ids = self.leg(uuid), set(ids or ())
        with one_at_a_time(leg):
            self._recorder.succession.forget(_named(leg.recordings, account_id, ids, label))
            ours = self.of(leg, account_id, ids, label)
            self._execution.stop(leg, ours, f"{who} stopped it before it began")
            return [told(one) for one in ours]

    def change(self, account_id: str, uuid: str, action: str, *, ids: Iterable[str] | None = None,
               label: str | None = None, who: str) -> list[dict]:
        """mask, unmask, pause or resume, of what `end` would stop. A silence that was ordered for all of the leg goes
        on: who ordered it ends it. `who` is for the caller's log."""
        leg = self.leg(uuid)
        with one_at_a_time(leg):
            ours = self.of(leg, account_id, ids, label)
            if action in SILENCES:
                self._execution.silence(ours, action, own=True)
            else:
                kind = "mask" if action == "unmask" else "pause"
                self._execution.end_silence(
                    [one for one in ours if "by" in one.silenced.get(kind, {"by": None})], action)
            return [told(one) for one in ours]

    def leg(self, uuid: str) -> Leg:
        """A leg that is there, or will be in a moment."""
        leg = self._tracker.wait_for(uuid, LEG_WITHIN_S)
        if leg is None and not self._knows(uuid):
            raise NotConnected("legs of the switch are not known yet")
        if leg is None or not leg.alive or leg.plumbing:
            raise WrongState("there is no such leg", "a loopback leg is not recorded" if leg and leg.plumbing else "")
        return leg

    def of(self, leg: Leg, account_id: str, ids: Iterable[str] | None, label: str | None) -> list[Recording]:
        """One that goes on for another, which a transfer took along, counts as that."""
        return _named(self._recorder.live(leg), account_id, set(ids or ()), label)


def _named(recordings, account_id, ids, label):
    return [one for one in recordings
            if one.by_action and one.account_id == account_id and not one.dropped
            and (one.id in ids or one.begun_as in ids or (label and one.label == label))]


def plan_of(leg: Leg, settings: Mapping, rule: str, label: str | None, who: str) -> Past:
    """What an action has recorded of `leg`, with everything that it does not say."""
    said = {name: text(value) if isinstance(value, str) and name not in URLS else value
            for name, value in settings.items() if name not in NOT_SETTINGS}
    if label or said.get("label"):
        said["label"] = text(label or said["label"])
    settings = {**DEFAULTS, **ACTION_DEFAULTS, **said, "enabled": True}
    origin = {name: rule if name in said else "default" for name in settings}
    return Past(rule, "B" if leg.called else "A", settings, origin, f"{who} had it recorded.")
