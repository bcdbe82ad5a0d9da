"""Legs, bridges and calls, from events; and the question to policy whenever the answer may have changed.

`feed` and `tick` are synchronous and never wait. Policy is asked of a caller when it appears and when it answers
with nobody called; of a pair when a leg is called for it, and when two legs meet that had not been asked (transfer,
pick-up). A rule says yes at most once for a leg, and an account's once in a call as long as that leg lives.
"""

from logging import DEBUG

import structlog

from kazoo_rec.calls.leg import Call, Identity, Leg, facts_of, is_bypassed, is_wideband
from kazoo_rec.policy.decision import Call as Question
from kazoo_rec.policy.decision import decide

#: What the tracker has to hear of; `switch.commands.subscribe` takes them.
EVENTS = ("CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_BRIDGE", "CHANNEL_HOLD", "CHANNEL_UNHOLD", "CHANNEL_UUID",
          "CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY", "RECORD_START", "RECORD_STOP")
SUBCLASSES = ("sofia::register", "sofia::unregister", "sofia::expire")

#: Legs that were told of as not to be placed; a caller's kind, not its number of calls, should fill the log.
UNPLACED_KINDS = 1000

log = structlog.get_logger()


def is_placed(leg: Leg, directory) -> bool:
    """Whether there is an account for a leg; one that was called beyond the carrier is its caller's matter."""
    return directory.has_account(leg.identity.account_id) or (leg.called and leg.identity.network == "offnet")


class Tracker:
    """The legs of one switch.

    Parameters:
      identifier: `calls.identity.Identifier`.
      registrations: `calls.registrations.Registrations` of this switch.
      directory: gives the newest `documents.directory.Directory` when called.
      recorder: `calls.recorder.Recorder`, told what to record.
    """

    def __init__(self, identifier, registrations, directory, recorder):
        self._identifier, self._registrations = identifier, registrations
        self._directory, self._recorder = directory, recorder
        self._legs: dict[str, Leg] = {}
        self._unplaced: set[tuple] = set()
        self.unplaced = 0
        self._handlers = {
            "CHANNEL_CREATE": self._created, "CHANNEL_ANSWER": self._answered, "CHANNEL_BRIDGE": self._bridged,
            "CHANNEL_HOLD": self._held, "CHANNEL_UNHOLD": self._unheld, "CHANNEL_UUID": self._renamed,
            "CHANNEL_HANGUP_COMPLETE": self._hung_up, "CHANNEL_DESTROY": self._destroyed,
            "RECORD_START": self._record_start, "RECORD_STOP": self._record_stop, "CUSTOM": self._custom,
        }

    def __len__(self):
        return len(self._legs)

    def feed(self, event, now_at):
        """Takes in one event (`switch.events.Event`); `now_at` is the engine's clock in ms, any origin."""
        handler = self._handlers.get(event.name)
        if handler:
            handler(event, now_at)

    def tick(self, now_at):
        self._recorder.tick(now_at)

    def leg(self, uuid: str) -> Leg | None:
        return self._legs.get(uuid)

    def uuids(self) -> set[str]:
        """The legs that are known."""
        return set(self._legs)

    def keep_only(self, uuids: set[str], cause: str):
        """Forgets every leg that is not in `uuids`: the switch does not have it, and its end was not heard, nor
        perhaps what came before it. What there is of its recordings, their files tell (`recovery.py`)."""
        for leg in [leg for uuid, leg in self._legs.items() if uuid not in uuids]:
            log.info("the end of a leg was not heard", call_id=leg.uuid, reason=cause)
            leg.alive = False
            self._recorder.forget(leg)
            self._remove(leg)

    # -- events

    def _created(self, event, now_at):
        if event.uuid in self._legs:
            return
        leg = Leg(
            uuid=event.uuid, originator=event.variable("originator"), identity=Identity("offnet"),
            direction=event.get("Call-Direction"), facts=facts_of(event), wideband=is_wideband(event),
            plumbing=event.get("Channel-Name").startswith("loopback/"),
            other_half=event.variable("other_loopback_leg_uuid"))
        behind = self._legs.get(leg.originator) or self._legs.get(leg.other_half)
        partner = self._real(behind)
        (behind.call if behind else Call(leg.uuid)).add(leg)
        self._legs[leg.uuid] = leg
        if leg.plumbing:
            return
        directory = self._directory()
        leg.called = partner is not None or (bool(leg.originator) and behind is None)
        if leg.called:
            leg.identity = self._identifier.callee(event, directory, partner.identity if partner else None)
        else:
            leg.identity = self._identifier.caller(event, directory)
        self._note_unplaced(leg, event, directory)
        if leg.called:
            self._note_bypass(leg, event, partner)
        if partner:
            self._ask(partner, leg, now_at)
        elif not leg.called:
            self._ask(leg, None, now_at)

    def _answered(self, event, now_at):
        leg = self._legs.get(event.uuid)
        if leg is None or leg.answered_ms is not None:
            return
        leg.answered_ms, leg.wideband = event.time_us // 1000, is_wideband(event)
        self._recorder.answered(leg, event, now_at)
        self._recorder.heard_partner(leg, now_at)
        if not leg.called and not leg.plumbing and not leg.call.has_callee():
            self._settle(leg, "onnet", now_at)
            self._ask(leg, None, now_at, destination="onnet")

    def _bridged(self, event, now_at):
        near = self._legs.get(event.get("Bridge-A-Unique-ID") or event.uuid)
        far = self._legs.get(event.get("Bridge-B-Unique-ID") or event.get("Other-Leg-Unique-ID"))
        at_ms = event.time_us // 1000
        for leg in (near, far):
            if leg is not None:
                leg.bridged_ms = leg.bridged_ms or at_ms
                self._recorder.heard_partner(leg, now_at)
        near, far = self._real(near), self._real(far)
        if near is None or far is None or near is far:
            return
        if far.call is not near.call:
            near.call.add(far)
        self._settle(near, self._destination(near, far), now_at)
        self._ask(near, far, now_at)

    def _held(self, event, _now_at):
        leg = self._legs.get(event.uuid)
        if leg is not None:
            leg.held_ms = event.time_us // 1000
            self._recorder.held(leg)

    def _unheld(self, event, _now_at):
        leg = self._legs.get(event.uuid)
        if leg is not None:
            leg.held_ms = None
            self._recorder.unheld(leg, event.time_us // 1000)

    def _renamed(self, event, _now_at):
        leg = self._legs.pop(event.get("Old-Unique-ID"), None)
        if leg is not None:
            leg.uuid = event.uuid
            self._legs[leg.uuid] = leg
            self._recorder.renamed(leg)

    def _hung_up(self, event, _now_at):
        leg = self._legs.get(event.uuid)
        if leg is not None:
            leg.alive, leg.cause = False, event.get("Hangup-Cause")

    def _destroyed(self, event, _now_at):
        leg = self._legs.get(event.uuid)
        if leg is not None:
            leg.alive = False
            self._recorder.left(leg, leg.cause)
            self._remove(leg)

    def _record_start(self, event, now_at):
        self._recorder.started(event, now_at)

    def _record_stop(self, event, _now_at):
        self._recorder.stopped(event)

    def _custom(self, event, _now_at):
        self._registrations.feed(event)

    def _remove(self, leg):
        leg.call.remove(leg)
        del self._legs[leg.uuid]

    # -- what policy is asked

    def _ask(self, a, b, now_at, destination=None):
        directory = self._directory()
        account = a.identity.account_id
        if account is None and b is not None and a.identity.network == "offnet":
            account = b.identity.account_id  # nothing told whose number was called; whom it reached tells
        if b is not None:
            destination = b.identity.network
        crosses = b is not None and self._crosses(account, b)
        if account is None and not crosses:
            return
        decision = decide(Question(
            account=directory.account(account),
            callee_account=directory.account(b.identity.account_id) if crosses else None,
            caller=self._endpoint(directory, a), callee=self._endpoint(directory, b),
            source=a.identity.network, destination=destination))
        if log.is_enabled_for(DEBUG):
            for refusal in decision.refusals:
                log.debug("not recorded", call_id=a.uuid, other_leg=b and b.uuid, rule=refusal.rule,
                          reason=refusal.reason)
        wanted = {a: [], b: []}
        for plan in decision.plans:
            leg = a if plan.leg == "A" else b
            whose = b.identity.account_id if plan.for_callee_account else account
            network = "offnet" if crosses else destination
            if leg.alive and not self._said(leg, plan, whose, network):
                settled = plan.rule.endswith(".inbound") or b is None
                wanted[leg].append((plan, whose, network if plan.rule.endswith(".outbound") else destination, settled))
        for leg, plans in wanted.items():
            if plans:
                self._recorder.want(leg, plans, a.identity.network, now_at)

    def _said(self, leg, plan, account, network):
        """Whether this rule has said yes already: for its leg, and an account's A leg rules once in the whole call."""
        legs, rules = (leg,), (plan.rule,)
        if plan.rule.startswith("account.") and plan.leg == "A":
            legs, rules = leg.call.legs, ("account.inbound", "account.outbound")
        return any(
            one.plan.rule in rules and one.plan.leg == plan.leg and one.account_id == account and not one.dropped
            and (one.settled or one.destination == network)
            for other in legs for one in other.recordings)

    def _settle(self, a, destination, now_at):
        """The leg that `a` reached is known: what was wanted for one on another network is not."""
        for recording in a.recordings:
            if recording.settled:
                continue
            if recording.destination == destination:
                recording.settled = True
            else:
                self._recorder.drop(recording, f"the call went {destination}", now_at)

    def _destination(self, a, b):
        return "offnet" if self._crosses(a.identity.account_id, b) else b.identity.network

    @staticmethod
    def _crosses(account, b):
        theirs = b.identity
        return theirs.network == "onnet" and theirs.account_id not in (None, account)

    @staticmethod
    def _endpoint(directory, leg):
        whose = leg.identity if leg else None
        if whose is None or whose.network == "offnet" or whose.account_id is None:
            return None
        return directory.endpoint(whose.account_id, whose.user_id, whose.device_id)

    def _note_bypass(self, leg, event, partner):
        """A leg without media must not be armed: `record_session` at its answer would hang the call, or end it. Of a
        caller that rings, the leg that is called for it tells."""
        leg.bypassed = is_bypassed(event)
        if partner is not None and partner.answered_ms is None:
            partner.bypassed = leg.bypassed
            if leg.bypassed:
                self._recorder.bypassed(partner)

    # -- looking through loopback legs

    def _real(self, leg):
        """`leg`, or for plumbing the leg behind it: back over halves and originators; where there is only plumbing
        (a click-to-call through loopback), the first real leg of its call. None where there is none."""
        if leg is None or not leg.plumbing:
            return leg
        seen, behind = set(), leg
        while behind is not None and behind.plumbing and behind.uuid not in seen:
            seen.add(behind.uuid)
            behind = self._legs.get(behind.originator) or self._legs.get(behind.other_half)
        return behind if behind is not None and not behind.plumbing else leg.call.first()

    def _note_unplaced(self, leg, event, directory):
        if is_placed(leg, directory):
            return
        self.unplaced += 1
        whose = leg.identity
        kind = (event.variable("sofia_profile_name"), event.get("Caller-Context"), whose.account_id, whose.how)
        if kind not in self._unplaced and len(self._unplaced) < UNPLACED_KINDS:
            self._unplaced.add(kind)
            log.warning("a leg could not be placed", call_id=leg.uuid, account=whose.account_id, how=whose.how,
                        network=whose.network, profile=kind[0], context=kind[1], **{
                            name: event.variable(name) for name in (
                                "sip_auth_username", "sip_auth_realm", "dialed_user", "dialed_domain", "sip_req_user")},
                        hint="no document has this realm, user or number; `kazoo_rec_account_id` can say whose it is")
