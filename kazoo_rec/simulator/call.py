"""One call that is played: its legs, and what they need of each other."""

import re
from dataclasses import replace

from gevent.event import AsyncResult, Event

from kazoo_rec.simulator import habits, sip
from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.dialplan import run
from kazoo_rec.simulator.events import new_uuid
from kazoo_rec.simulator.faults import strike
from kazoo_rec.simulator.leg import Leg
from kazoo_rec.simulator.process import HungUp, Process
from kazoo_rec.simulator.record_start import in_front
from kazoo_rec.simulator.route import account_dialplan, usual_dialplan
from kazoo_rec.simulator.script import Phone, Script

_TARGET = re.compile(r"(?:\[[^\]]*\])?[^,\[]+")


class Call:
    """A script being played. `legs` are all its legs in the order of their making, gone ones too."""

    def __init__(self, switch, script: Script):
        self.switch, self.script, self.legs = switch, script, []
        self.without_media, self.bypasses_media, self.answers_wait = set(), False, {}
        self.answered = AsyncResult()
        self._ended, self._alive = Event(), 0

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until every leg is gone, at most `timeout` seconds of the wall. Whether they are."""
        return self._ended.wait(timeout)

    def begin(self, uuid: str = ""):
        script, switch = self.script, self.switch
        for phone in (script.caller, *script.called):
            switch.phones.add(phone)
        for fault in script.faults:
            strike(fault, self)
        applications = [f"bridge {dial_string(script.called)}" if line == "bridge" else line
                        for line in (script.dialplan or switch.extensions.get(script.dials)
                                     or usual_dialplan(script))]
        if script.click_to_call:
            leg = self.dial(script.caller, None, lone=True, uuid=uuid, applications=applications)
        else:
            leg = self._leg(script.caller, None, sip.inbound(switch, new_uuid(), script))
            leg.create()
            if script.caller.domain:
                leg.match(leg.profile.destination)
            habits.live(leg)
            self._run(leg, run(leg, applications))
        return leg

    def dial(self, phone: Phone, originator: Leg | None, lone: bool, uuid="", applications=()) -> Leg:
        """A leg to a phone: CHANNEL_OUTGOING, CHANNEL_CREATE, CHANNEL_ORIGINATE, and the phone begins to act."""
        if phone.via == "loopback":
            return self._loop(phone, originator)
        leg = self._leg(phone, originator, sip.outbound(self.switch, uuid or new_uuid(), phone, originator, lone))
        leg.is_lone_user = lone and bool(phone.domain) and phone.via == "user"
        leg.publish("CHANNEL_OUTGOING", variables=False)
        if phone.domain and phone.via == "user" and not lone:
            leg.publish("CHANNEL_OUTGOING", variables=False)
        if '\\"' in leg.profile.caller_id_name:
            # With an escaped quote in the name it makes an INVITE that cannot be sent.
            leg.miscarry("DESTINATION_OUT_OF_ORDER")
            return leg
        leg.create()
        habits.live(leg)
        if originator is None:
            self._run(leg, self._click(leg, applications))
        return leg

    def phones_of(self, data: str) -> list[Phone | None]:
        """The phones of a dial string: the script's own, or whom the switch knows; None is a stranger. Each may have
        variables of its own leg in brackets before it."""
        if data == dial_string(self.script.called):
            return list(self.script.called)
        return [self._phone(*in_front(each, "[", "]")) for each in _TARGET.findall(data)]

    def _phone(self, variables, endpoint):
        phone = self.switch.phones.at(endpoint)
        return phone and replace(phone, leg_variables=variables)

    def has_media(self, phone) -> bool:
        """Whether the media of that phone comes to the switch, and can be understood there."""
        return not self.bypasses_media and self.without_media.isdisjoint((phone.user, phone.address))

    def settle(self):
        """Before anything that can be heard changes: every recording takes in what was."""
        for leg in self.legs:
            leg.catch_up()
            if leg.partner is not None and leg.partner.call is not self:
                leg.partner.catch_up()
            if leg.member is not None:
                leg.member.room.catch_up()

    def enter_again(self, leg):
        self._alive += 1
        self._ended.clear()
        self.switch.enter(leg)

    def leave(self, leg):
        self.switch.leave(leg)
        self._alive -= 1
        if not self._alive:
            if not self.answered.ready():
                self.answered.set("")
            self._ended.set()

    def _loop(self, phone, originator):
        """A loopback channel: its `a` is the leg that was dialled, its `b` walks through the dialplan to the phone."""
        uuids = new_uuid(), new_uuid()
        near = self._leg(phone, originator, sip.loopback(self.switch, *uuids, phone, "a", originator))
        far = self._leg(phone, None, sip.loopback(self.switch, *uuids[::-1], phone, "b", originator))
        near.twin, far.twin = far, near
        near.publish("CHANNEL_OUTGOING", variables=False)
        near.create()
        far.create()
        lines = account_dialplan(phone.domain, originator.variables, (phone,))
        self._run(far, run(far, [f"bridge user/{phone.address}" if line == "bridge" else line for line in lines]))
        return near

    def _click(self, leg, applications):
        """A leg that the switch dialled by itself: it executes once it has answered."""
        try:
            while (yield leg.news)[0] != "answers":
                pass
            yield FRAME_S
            self.answered.set(leg.uuid)
            if leg.is_lone_user:
                leg.enrol()
            leg.profile = leg.profile.copied(
                caller_id_name="Outbound Call", caller_id_number=leg.profile.callee_id_number,
                callee_id_name="", callee_id_number=leg.profile.caller_id_number)
            leg.publish("CALL_UPDATE", before={"Direction": "RECV"})
            leg.state = ("CS_EXECUTE", 4)
        except HungUp:
            applications = ()
        yield from run(leg, applications)

    def _leg(self, phone, originator, made):
        leg = Leg(self, phone, originator=originator, **made)
        leg.variables |= phone.leg_variables
        if phone.user in self.answers_wait:
            leg.variables["execute_on_answer"] = f"sleep {self.answers_wait[phone.user] * 1000:.0f}"
        if self.bypasses_media:
            sip.without_port(leg.variables)
        if originator is not None and leg.direction == "outbound":
            leg.other = ("originator", originator.profile.copied())
        self.legs.append(leg)
        self._alive += 1
        self.switch.enter(leg)
        return leg

    def _run(self, leg, steps):
        leg.process = Process(leg.clock, steps)
        leg.process.start()


def dial_string(phones) -> str:
    return ",".join(phone.endpoint for phone in phones)
