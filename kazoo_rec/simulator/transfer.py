"""Blind transfer, as a phone's REFER asks for it: the leg goes, its partner walks through the dialplan to another."""

from kazoo_rec.simulator import dialplan
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
    for each in (leg, partner):
        for name in ("signal_bond", "bridge_to"):
            each.variables.pop(name, None)
    partner.other = None
    partner.profile.times["Channel-Bridged"] = 0
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
