"""Blind transfer, as a phone's REFER asks for it: the leg goes, its partner walks through the dialplan to another. And
as the command uuid_transfer does, of the leg itself too."""

from kazoo_rec.simulator import dialplan
from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.process import Process
from kazoo_rec.simulator.route import lines_to, redirect


def transfer(leg, number: str, goes_along: bool = False):
    """Hands the partner of `leg` on to `number`: a user of the leg's account, or somebody beyond the carrier.

    Recordings end with their leg. They go over to the partner with `recording_follow_transfer=true`, or where
    `goes_along`; commands find them there no more (switch_core_media_bug.c, switch_core_media_bug_transfer_callback).
    """
    partner = leg.partner
    if partner is None or leg.cause:
        return
    leg.call.settle()
    if goes_along or leg.variables.get("recording_follow_transfer") == "true":
        for recording in tuple(leg.recordings):
            recording.move(partner)
    domain = leg.phone.domain
    lines = lines_to(leg.switch, number, domain, partner.phone.variables or leg.phone.variables)
    _forget(partner, leg)
    if partner.process is not None:
        redirect(partner, number, domain)
        partner.handed_on = lines
        leg.hangup()
        return
    partner.turn_around()
    redirect(partner, number, domain)
    partner.publish("CALL_UPDATE", before={"Direction": "RECV"})
    partner.process = Process(leg.clock, dialplan.run(partner, lines))
    leg.news.put(("handed on", partner))
    partner.process.start()


def divert(leg, number: str, context: str):
    """The leg walks through the dialplan to another, its partner is dropped; by its own process, at the next frame."""
    def go():
        if leg.cause or leg.process is None:
            return
        if leg.partner is not None:
            leg.call.settle()
            _forget(leg, leg.partner)
        redirect(leg, number, context)
        leg.handed_on = lines_to(leg.switch, number, context, leg.phone.variables)
        if leg.parking is not None:
            leg.process.reset()
            leg.parking.put("transferred")
        else:
            leg.process.divert()
    leg.clock.after(FRAME_S, go)


def _forget(leg, partner):
    """A leg that is transferred shows nothing of its partner any more."""
    for each in (leg, partner):
        for name in ("signal_bond", "bridge_to"):
            each.variables.pop(name, None)
    leg.other = None
    leg.profile.times["Channel-Bridged"] = 0
