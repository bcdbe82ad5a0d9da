"""Recordings of actions whose leg is transferred away: who was on its other side goes on being recorded.

A recording never moves along to its leg's partner (the switch then obeys no command about it). So it ends with its
leg; when who is left is bridged again, by REFER, `uuid_transfer -bleg` or an attended transfer, that leg is recorded
anew with the same settings, unless it is of another account. Rules of documents need none of this: they are asked of
every pair that meets.
"""

from kazoo_rec.calls.leg import Leg
from kazoo_rec.switch.events import Event

#: What a leg that transferred by REFER, with Replaces or without, hangs up with (sofia.c); uuid_transfer says it on the
#: leg that is left.
TRANSFERRED = ("recv_replace", "replaced")

#: `transfer_source` has whole seconds, and is written before the leg that transferred hangs up (switch_ivr.c).
WRITTEN_BEFORE_MS = 2000


class Following:
    """Of one switch; told by the tracker. `succession` is `calls.succession.Succession`."""

    def __init__(self, succession):
        self._succession = succession
        #: Who is left → (recording, when its leg hung up in ms since the epoch, whether by a transfer).
        self._left: dict[Leg, list] = {}

    def ended(self, leg: Leg, event: Event, now_at: int):
        """`leg` has hung up; whoever it talked with may go on with another, or does so already."""
        other = leg.bridged_to
        gone = [one for one in leg.recordings if _is_to_follow(one)]
        if not gone or other is None or not other.alive or other.plumbing:
            return
        transferred = event.variable("transfer_disposition") in TRANSFERRED
        self._left.setdefault(other, []).extend((one, event.time_us // 1000, transferred) for one in gone)
        if other.bridged_to is not leg and other.bridged_to is not None and other.bridged_to.alive:
            self._follow(other, None, now_at)

    def met(self, near: Leg, far: Leg, event: Event | None, now_at: int):
        """These two are bridged, as an event of `near` says, or as the switch was found."""
        self._follow(near, event, now_at)
        self._follow(far, None, now_at)

    def forget(self, leg: Leg):
        self._left.pop(leg, None)

    def _follow(self, leg, event, now_at):
        for gone, ended_ms, transferred in self._left.pop(leg, ()):
            if leg.identity.account_id not in (None, gone.account_id):
                continue  # what it says to others is its account's
            if transferred or _transferred_ms(event) > ended_ms - WRITTEN_BEFORE_MS:
                self._succession.follow(gone, leg, now_at)


def _is_to_follow(recording):
    """Where its leg's end has ended it, or will: not an order, nor its limit."""
    return (recording.by_action and recording.plan.settings["should_follow_transfer"] and not recording.over
            and (recording.cut_short or recording.state == "recording"))


def _transferred_ms(event):
    """When the leg was transferred last: `1795221375:<uuid>:bl_xfer:1002 …`, seconds; 0 where it was not."""
    written = event.variable("transfer_source").partition(":")[0] if event else ""
    return int(written) * 1000 if written.isdecimal() else 0
