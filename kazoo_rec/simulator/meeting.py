"""Legs of different calls that meet: the command uuid_bridge, and attended transfer by a REFER with Replaces, which
does the same (switch_ivr_bridge.c, switch_ivr_uuid_bridge)."""

from functools import partial

from kazoo_rec.simulator import dialplan
from kazoo_rec.simulator.bridge import talk
from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.events import new_uuid
from kazoo_rec.simulator.hold import stop_music, unhold
from kazoo_rec.simulator.process import HungUp, Mailbox, Process


def bring_together(leg, other):
    """Whoever they talk with now is dropped; a leg that rings somebody or was never answered is answered."""
    leg.clock.after(FRAME_S, lambda: leg.cause or other.cause or _gather(leg, other))


def transfer_attended(leg, consulting, goes_along: bool = False):
    """The phone of `leg` joins its partner with the partner of its second call, `consulting`, and is gone from both.

    Recordings end with their legs; with `recording_follow_transfer=true`, or where they go along, each goes over to
    the partner of its leg.
    """
    stays, reached = leg.partner, consulting.partner
    for each, partner in ((leg, stays), (consulting, reached)):
        each.call.settle()
        if goes_along or each.variables.get("recording_follow_transfer") == "true":
            for recording in tuple(each.recordings):
                recording.move(partner)
    leg.variables["transfer_disposition"] = "recv_replace"
    consulting.variables["transfer_disposition"] = "replaced"
    reached.variables["transfer_disposition"] = "bridge"
    _introduce(stays, reached)
    stop_music(stays, "done", "PLAYBACK ERROR")
    consulting.state = (consulting.state[0], 6)
    _release(reached, stays)

    def go():
        leg.variables.pop("bridge_to", None)
        if leg.held:
            unhold(leg)
            leg.call_state = "UNHELD"
        if not stays.cause:
            _release(stays, reached, leads=True)

    leg.clock.after(FRAME_S, go)


def _gather(leg, other):
    _introduce(leg, other)
    _release(leg, other, leads=True)
    _release(other, leg)


def _introduce(leg, other):
    """The profiles say who speaks with whom: a caller who is reached is shown as if he had been called."""
    if leg.direction == "outbound":
        leg.turn_around()
    calls, called = leg.profile, other.profile.inverted() if other.direction == "inbound" else other.profile
    other.profile = called.copied(caller_id_name=calls.caller_id_name, caller_id_number=calls.caller_id_number)
    leg.profile = calls.copied(callee_id_name=called.callee_id_name, callee_id_number=called.callee_id_number)
    other.is_lone_user = False
    for one, partner, kind in ((leg, other, "originatee"), (other, leg, "originator")):
        one.profile.times["Channel-Bridged"] = 0
        source = f"{one.clock.epoch_us() // 1_000_000}:{new_uuid()}:uuid_br:{partner.uuid}"
        one.variables |= {"signal_bond": partner.uuid, "bridge_uuid": partner.uuid, "transfer_source": source}
        one.variables.pop("bridge_to", None)
        one.other, one.shown_application = (kind, partner.profile.copied()), ("uuid_bridge", partner.uuid)
    leg.state = (leg.state[0], 8)
    other.variables["call_uuid"], other.news_to = leg.uuid, leg


def _release(leg, other, leads=False):
    """It leaves what it does, and goes on with the other."""
    goal = partial(_lead if leads else _follow, other=other)
    if leg.process is None:
        leg.partner.news.put(("handed on", leg))
        if leads:
            leg.process = Process(leg.clock, dialplan.run(leg, [goal]))
            leg.process.start()
        return
    leg.handed_on = [goal]
    if leg.parking is not None:
        leg.process.reset()
        leg.parking.put("bridged")
    else:
        leg.process.divert()


def _lead(leg, other):
    yield from talk(leg, other, _meet)


def _meet(leg, other):
    yield FRAME_S
    leg.state = ("CS_SOFT_EXECUTE", 3)
    if other.process is not None:
        other.state = ("CS_EXCHANGE_MEDIA", 5)


def _follow(leg, other):
    try:
        yield Mailbox()
    except HungUp:
        if not leg.cause and leg.partner is other:
            other.news.put(("handed on", leg))
