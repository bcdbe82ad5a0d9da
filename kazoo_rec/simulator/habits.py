"""What a phone does by itself: its times, counted from the making of its leg."""

from kazoo_rec.simulator.hold import hold, unhold


def live(leg):
    """Lets the leg's phone act, as long as the leg lives."""
    phone = leg.phone

    def later(seconds, what, *values):
        if seconds is not None:
            leg.clock.after(seconds, lambda: leg.cause or what(*values))

    def put_down():
        leg.hangup("ORIGINATOR_CANCEL" if leg.direction == "inbound" and not leg.answered else phone.cause)

    for at, hz in (phone.says.items() if hasattr(phone.says, "items") else [(0.0, phone.says)]):
        later(at, leg.say, hz)
    if leg.direction == "outbound":
        later(phone.rings, leg.ring)
        later(phone.early_media, leg.pre_answer)
        if phone.refuses:
            later(phone.answers or 0.0, leg.hangup, phone.refuses)
        else:
            later(phone.answers, leg.answer)
    for begins, ends in phone.holds:
        later(begins, hold, leg)
        later(ends, unhold, leg)
    for at, digit in phone.presses.items():
        later(at, leg.press, str(digit))
    later(phone.hangs_up, put_down)
