"""Legs, bridges and calls, from events; and the question to policy whenever the answer may have changed.

`feed` and `tick` are synchronous and never wait. Policy is asked of a caller when it appears and when it answers
with nobody called; of a pair when a leg is called for it, and when two legs meet that had not been asked (transfer,
pick-up). A rule says yes at most once for a leg, and an account's once in a call as long as that leg lives.
"""

from collections import deque
from logging import DEBUG

import structlog
from gevent.event import Event as Heard

from kazoo_rec.calls import announcement
from kazoo_rec.calls.attendance import SUBCLASS as ROOMS
from kazoo_rec.calls.following import Following
from kazoo_rec.calls.leg import (
    Call,
    Identity,
    Leg,
    declined_of,
    facts_of,
    has_media,
    is_bypassed,
    is_wideband,
    override_of,
)
from kazoo_rec.calls.midcall import Progress, as_created
from kazoo_rec.policy.decision import Call as Question
from kazoo_rec.policy.decision import decide
from kazoo_rec.switch.events import Event
from kazoo_rec.switch.redial import place

#: What the tracker has to hear of at all times; `switch.commands.subscribe` takes them.
EVENTS = ("CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_BRIDGE", "CHANNEL_HOLD", "CHANNEL_UNHOLD", "CHANNEL_UUID",
          "CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY", "RECORD_START", "RECORD_STOP", "MEDIA_BUG_START")
SUBCLASSES = ("sofia::register", "sofia::unregister", "sofia::expire", "kazoo_rec::record_call", ROOMS)

#: How long a recovered leg may take to be bridged again, or has for its media if it is not; 140 ms were seen.
RECOVERED_WITHIN_MS = 1000

RESTARTED = "the switch was restarted"

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
      asked: is told `(a, b, question, decision)` each time that policy was asked; b is None where nobody is called.
      rooms: `calls.rooms.Rooms` of this switch, where conferences are recorded.
    """

    def __init__(self, identifier, registrations, directory, recorder, asked=None, rooms=None):
        self._identifier, self._registrations = identifier, registrations
        self._directory, self._recorder, self._asked, self._rooms = directory, recorder, asked, rooms
        self._endings = recorder.endings
        self._legs: dict[str, Leg] = {}
        self._unplaced: set[tuple] = set()
        self._aside: dict[str, list] = {}
        self._event_ms: int | None = None
        self._recovered: dict[Leg, int] = {}
        self._lost_at: dict[str, int] = {}
        self._following, self._awaited = Following(recorder.succession), {}
        self._listeners = {} if rooms is None else {ROOMS: rooms.feed}
        self.unplaced = 0
        self._handlers = {
            "CHANNEL_CREATE": self._created, "CHANNEL_ANSWER": self._answered, "CHANNEL_BRIDGE": self._bridged,
            "CHANNEL_HOLD": self._held, "CHANNEL_UNHOLD": self._unheld, "CHANNEL_UUID": self._renamed,
            "CHANNEL_HANGUP_COMPLETE": self._hung_up, "CHANNEL_DESTROY": self._destroyed,
            "RECORD_START": self._record_start, "RECORD_STOP": self._record_stop,
            "MEDIA_BUG_START": self._bug_start, "CUSTOM": self._custom,
            **dict.fromkeys(announcement.EVENTS, self._heard),
        }

    def __len__(self):
        return len(self._legs)

    @property
    def calls(self) -> int:
        """How many calls the legs make up."""
        return len({leg.call for leg in self._legs.values()})

    def feed(self, event, now_at):
        """Takes in one event (`switch.events.Event`); `now_at` is the engine's clock in ms, any origin."""
        handler = self._handlers.get(event.name)
        if handler and not (self._aside and self._set_aside(event)):
            self._event_ms = event.time_us // 1000
            handler(event, now_at)
            self._event_ms = None

    def tick(self, now_at):
        self._recorder.tick(now_at)
        if self._rooms is not None:
            self._rooms.tick(now_at)
        for leg in [leg for leg, due_at in self._recovered.items() if due_at <= now_at]:
            del self._recovered[leg]
            if leg.alive and leg.bridged_ms is None:
                self._ask_alone(leg, now_at)
            leg.missed = None

    def leg(self, uuid: str) -> Leg | None:
        return self._legs.get(uuid)

    def wait_for(self, uuid: str, within_s: float) -> Leg | None:
        """The leg, should its CHANNEL_CREATE be on its way."""
        if uuid not in self._legs:
            self._awaited.setdefault(uuid, Heard()).wait(within_s)
            self._awaited.pop(uuid, None)
        return self._legs.get(uuid)

    def listen(self, subclass: str, listener):
        """Has `listener(event, now_at)` told of CUSTOM events, one of SUBCLASSES; it must not wait."""
        self._listeners[subclass] = listener

    def legs(self) -> list[Leg]:
        """Those that are no plumbing."""
        return [leg for leg in self._legs.values() if not leg.plumbing]

    def uuids(self) -> set[str]:
        """The legs that are known."""
        return set(self._legs)

    def keep_only(self, uuids: set[str], cause: str, heard_ms: int | None = None):
        """Forgets every leg that is not in `uuids`: the switch does not have it, and its end was not heard, nor
        perhaps what came before it. What there is of its recordings, their files tell (`recovery.py`). `heard_ms`:
        until then the switch was heard, by its own clock; None where nothing tells how long it was not."""
        for leg in [leg for uuid, leg in self._legs.items() if uuid not in uuids]:
            log.info("the end of a leg was not heard", call_id=leg.uuid, reason=cause)
            leg.alive = False
            self._endings.forget(leg, cause, heard_ms)
            self._remove(leg)

    def restarted(self, lost_at: int | None, heard_ms: int | None = None):
        """The switch is another process: no leg lives, unless it is recovered. Until `lost_at` (the engine's clock)
        the one before was heard, `heard_ms` by its own."""
        self._lost_at = {} if lost_at is None else {
            leg.uuid: lost_at for leg in self._legs.values() if any(one.started_ms for one in leg.recordings)}
        for leg in self._legs.values():
            self._recorder.resumption.keep(leg)
        self.keep_only(set(), RESTARTED, heard_ms)

    # -- legs in progress, of which events were not heard

    def expect(self, uuids: set[str]):
        """These legs are about to be taken in: their events, and legs that they call, wait until each is let go."""
        for uuid in uuids:
            self._aside.setdefault(uuid, [])

    def expects(self, uuid: str) -> bool:
        """Whether the leg is still to be taken in: not where its beginning was heard after all."""
        return uuid in self._aside

    def ended(self, uuid: str) -> Event | None:
        """As the dump of a leg that has ended before it was taken in: its CHANNEL_HANGUP_COMPLETE, which waits, has
        what a dump has."""
        for event in self._aside.get(uuid, ()):
            if event.name == "CHANNEL_HANGUP_COMPLETE" and event.uuid == uuid:
                return Event({**event.headers, "Answer-State": ""})
        return None

    def take(self, event, listed_row, now_at, why) -> Leg | None:
        """Takes in a leg, or what was missed of one that is known, from its dump (`switch.replies.leg`) and its row of
        `show channels`; `why` says what kept us from hearing. `meet` has to follow."""
        progress = Progress.of(event)
        leg = self._legs.get(event.uuid) or self._enter(as_created(event, self._registrations, listed_row))
        if progress.over or not leg.alive:
            return leg
        heard = any(one.name == "CHANNEL_ANSWER" and one.uuid == leg.uuid for one in self._aside.get(leg.uuid, ()))
        if progress.answered_ms and leg.answered_ms is None and not heard:  # the event knows what was armed in time
            lost_ms = self._lost_since(event, now_at)
            leg.missed = (lost_ms, RESTARTED) if lost_ms else (progress.answered_ms, why)
            leg.bypassed = not has_media(event)
            leg.answered_ms, leg.wideband = progress.answered_ms, is_wideband(event)
            self._recorder.answered(leg, event, now_at)
        elif (progress.bridged_ms or 0) > (leg.bridged_ms or 0):
            leg.missed = (progress.bridged_ms, why)
        leg.bridged_ms = leg.bridged_ms or progress.bridged_ms
        if progress.held_ms and leg.held_ms is None:
            leg.held_ms = progress.held_ms
            self._recorder.held(leg)
        elif leg.held_ms and not progress.held_ms:
            leg.held_ms = None
            self._recorder.unheld(leg, event.time_us // 1000)
        return leg

    def meet(self, legs: list[tuple[Leg, str]], now_at, why):
        """Asks policy of legs that were taken, each with the uuid of the one that it is bridged to; `why` as of
        `take`."""
        for leg, _ in legs:
            if leg.plumbing or not leg.alive:
                continue
            self._ask_first(leg, now_at)
        for leg, uuid in legs:
            other = self._legs.get(uuid)
            if other is None or not leg.alive or not other.alive:
                continue
            if other.answered_ms and other.missed is None and not other.recordings:
                other.missed = other.answered_ms, why  # it was heard to answer, and nobody knew whose call it was
            called = leg.originator == other.uuid or (leg.called and not other.called)
            near, far = (other, leg) if called else (leg, other)
            self._met(near, far, max(near.bridged_ms or 0, far.bridged_ms or 0), now_at)
        for leg, _ in legs:
            if leg.missed:
                self._ask_alone(leg, now_at)
        for met in {one for leg, uuid in legs for one in (leg, self._legs.get(uuid)) if one is not None}:
            if not met.called or self._partner(met):  # else nobody is asked before it meets its caller
                met.missed = None

    def let_go(self, uuid: str, now_at):
        """What waited for this leg is heard now, and of each leg that it called, what waited for that."""
        waiting, events = deque(self._aside.pop(uuid, ())), []
        while waiting:
            events.append(waiting.popleft())
            if events[-1].name == "CHANNEL_CREATE":
                waiting.extendleft(reversed(self._aside.pop(events[-1].uuid, ())))
        for event in events:  # not before all that waited is here: halves of a loopback name each other
            try:
                self.feed(event, now_at)
            except Exception as fault:  # noqa: BLE001  one event must not be the end of all others
                log.error("an event was not handled", event_name=event.name, fault=place(fault))

    def _set_aside(self, event):
        if event.name == "CHANNEL_CREATE" and event.uuid not in self._legs:
            self._aside.pop(event.uuid, None)  # the list was faster than its event: it is heard from its beginning
        uuids = [event.uuid, *map(event.get, ("Old-Unique-ID", "Bridge-A-Unique-ID", "Bridge-B-Unique-ID"))]
        if event.name == "CHANNEL_CREATE":
            uuids += map(event.variable, ("originator", "other_loopback_leg_uuid"))
        uuid = next((uuid for uuid in uuids if uuid in self._aside), None)
        if uuid is None:
            return False
        self._aside[uuid].append(event)
        if event.name == "CHANNEL_CREATE":
            self._aside.setdefault(event.uuid, [])
        return True

    # -- events

    def _created(self, event, now_at):
        if event.uuid in self._legs:
            return
        progress = Progress.of(event)
        if progress.answered_ms:  # the switch was killed, and has recovered the call (`sofia recover`)
            leg = self._enter(as_created(event, self._registrations))
            leg.answered_ms = progress.answered_ms
            leg.missed = (self._lost_since(event, now_at) or leg.answered_ms, RESTARTED)
            self._recovered[leg] = now_at + RECOVERED_WITHIN_MS
            return
        leg = self._enter(event)
        partner = self._partner(leg)
        if leg.called:
            self._note_bypass(leg, event, partner)
        if not leg.plumbing:
            self._ask_first(leg, now_at)

    def _ask_first(self, leg, now_at):
        if partner := self._partner(leg):
            self._ask(partner, leg, now_at)
        elif not leg.called:
            self._ask(leg, None, now_at)

    def _lost_since(self, event, now_at):
        """Since when, by the clock of the switch that says `event`, the leg was recorded no more as its switch died;
        None where it was not."""
        lost_at = self._lost_at.pop(event.uuid, None)
        return None if lost_at is None else event.time_us // 1000 - (now_at - lost_at)

    def _enter(self, event):
        leg = Leg(
            uuid=event.uuid, originator=event.variable("originator"), identity=Identity("offnet"),
            direction=event.get("Call-Direction"), facts=facts_of(event),
            override=override_of(event), declined=declined_of(event), wideband=is_wideband(event),
            plumbing=event.get("Channel-Name").startswith("loopback/"),
            other_half=event.variable("other_loopback_leg_uuid"))
        behind = self._legs.get(leg.originator) or self._legs.get(leg.other_half)
        partner = self._partner(leg)
        (behind.call if behind else Call(leg.uuid)).add(leg)
        self._legs[leg.uuid] = leg
        self._recorder.resumption.entered(leg)
        if awaited := self._awaited.pop(leg.uuid, None):
            awaited.set()
        if leg.plumbing:
            return leg
        directory = self._directory()
        leg.called = partner is not None or (bool(leg.originator) and behind is None)
        if leg.called:
            leg.identity = self._identifier.callee(event, directory, partner.identity if partner else None)
        else:
            leg.identity = self._identifier.caller(event, directory)
        self._note_unplaced(leg, event, directory)
        return leg

    def _answered(self, event, now_at):
        leg = self._legs.get(event.uuid)
        unheard_of = leg is None
        if unheard_of and self._recorder.armed_before(event):
            return  # by an engine before this one: recovery finds the leg, and what becomes of its recordings
        if unheard_of:  # its CHANNEL_CREATE was lost
            leg = self._enter(as_created(event, self._registrations))
        if leg.answered_ms is not None:
            return
        leg.answered_ms, leg.wideband = event.time_us // 1000, is_wideband(event)
        leg.bypassed = leg.bypassed or (unheard_of and not has_media(event))
        self._recorder.answered(leg, event, now_at)
        if unheard_of and not leg.plumbing:
            self._ask_first(leg, now_at)
        self._recorder.heard_partner(leg, now_at)
        self._ask_alone(leg, now_at)

    def _bridged(self, event, now_at):
        self._met(self._legs.get(event.get("Bridge-A-Unique-ID") or event.uuid),
                  self._legs.get(event.get("Bridge-B-Unique-ID") or event.get("Other-Leg-Unique-ID")),
                  event.time_us // 1000, now_at, event)

    def _met(self, near, far, at_ms, now_at, event=None):
        for leg in (near, far):
            if leg is not None:
                leg.bridged_ms = leg.bridged_ms or at_ms
                self._recorder.heard_partner(leg, now_at)
        near, far = self._real(near), self._real(far)
        if near is None or far is None or near is far:
            return
        if far.call is not near.call:
            near.call.add(far)
        near.bridged_to, far.bridged_to = far, near
        self._settle(near, self._destination(near, far), now_at)
        self._ask(near, far, now_at)
        self._following.met(near, far, event, now_at)
        if event is not None:
            near.missed = far.missed = None

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

    def _hung_up(self, event, now_at):
        leg = self._legs.get(event.uuid)
        if leg is not None:
            leg.alive, leg.cause = False, event.get("Hangup-Cause")
            self._endings.hung_up(leg, event)
            self._following.ended(leg, event, now_at)

    def _destroyed(self, event, now_at):
        leg = self._legs.get(event.uuid)
        if leg is not None:
            if leg.alive:
                leg.alive = False
                self._following.ended(leg, event, now_at)
            self._endings.left(leg, leg.cause, now_at)
            self._remove(leg)

    def _record_start(self, event, now_at):
        self._recorder.started(event, now_at)

    def _record_stop(self, event, now_at):
        self._endings.stopped(event, now_at)

    def _bug_start(self, event, now_at):
        self._endings.bug_started(event, now_at)

    def _heard(self, event, now_at):
        leg = self._legs.get(event.uuid)
        if leg is not None:
            self._recorder.heard(leg, event, now_at)

    def _custom(self, event, now_at):
        if listener := self._listeners.get(event.subclass):
            listener(event, now_at)
        else:
            self._registrations.feed(event)

    def _remove(self, leg):
        leg.call.remove(leg)
        del self._legs[leg.uuid]
        self._following.forget(leg)
        leg.bridged_to = None
        leg.recordings = []  # which know their leg: nothing of an ended call is left to the garbage collector

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
        question = Question(
            account=directory.account(account),
            callee_account=directory.account(b.identity.account_id) if crosses else None,
            caller=self._endpoint(directory, a), callee=self._endpoint(directory, b),
            source=a.identity.network, destination=destination,
            override=a.override, callee_override=b.override if b else None)
        decision = decide(question)
        if self._asked:
            self._asked(a, b, question, decision)
        if log.is_enabled_for(DEBUG):
            for refusal in decision.refusals:
                log.debug("not recorded", call_id=a.uuid, other_leg=b and b.uuid, rule=refusal.rule,
                          reason=refusal.reason)
        for refusal in decision.refusals:
            leg = a if refusal.leg == "A" else b
            if leg is not None:
                whose = b.identity.account_id if refusal.for_callee_account else account
                leg.refused[whose, refusal.rule] = refusal
        wanted = {a: [], b: []}
        for plan in decision.plans:
            leg = a if plan.leg == "A" else b
            whose = b.identity.account_id if plan.for_callee_account else account
            network = "offnet" if crosses else destination
            if leg.alive and not self._said(leg, plan, whose, network):
                settled = plan.rule.endswith(".inbound") or b is None
                wanted[leg].append((plan, whose, network if plan.rule.endswith(".outbound") else destination, settled))
        for leg, plans in wanted.items():
            if plans:  # what comes from another account comes from offnet, for the account that it reaches
                source = "offnet" if crosses and leg is b else a.identity.network
                self._recorder.want(leg, plans, source, now_at, self._event_ms)

    def _ask_alone(self, leg, now_at):
        """Of a caller that is answered with nobody called: it talks to the switch itself."""
        if leg.alive and leg.answered_ms and not leg.called and not leg.plumbing and not leg.call.has_callee():
            self._settle(leg, "onnet", now_at)
            self._ask(leg, None, now_at, destination="onnet")

    def _said(self, leg, plan, account, network):
        """Whether this rule has said yes already: for its leg, and an account's A leg rules once in the whole call."""
        legs, rules = (leg,), (plan.rule,)
        if plan.rule.startswith("account.") and plan.leg == "A":
            legs, rules = leg.call.legs, ("account.inbound", "account.outbound")
        return any(
            one.plan.rule in rules and one.plan.leg == plan.leg and one.account_id == account
            and (not one.dropped or one.called_off)
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

    def _partner(self, leg):
        """The leg that `leg` was called for."""
        return self._real(self._legs.get(leg.originator) or self._legs.get(leg.other_half))

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
