"""`sofia recover`: calls that were up when the switch was killed come back, by their old UUIDs (seen on 1.10.12).

CHANNEL_CREATE of a leg that is answered already, the called one first; no CHANNEL_ANSWER, so that nothing that was
armed is executed again; no recording; CHANNEL_BRIDGE when both legs have their media. Loopback legs do not come back.
"""

from kazoo_rec.simulator.bridge import join
from kazoo_rec.simulator.process import HungUp, Process

#: From CHANNEL_CREATE to CHANNEL_BRIDGE.
_BRIDGED_S = 0.12


def recover(switch) -> int:
    """How many legs came back."""
    fallen, switch.fallen = [leg for leg in switch.fallen if leg.answered and leg.twin is None], []
    for leg in reversed(fallen):
        leg.rise()
    for leg in fallen:
        others = [other for other in fallen if other.uuid == leg.variables.get("signal_bond")]
        if not others or leg.originator is None:
            leg.process = Process(leg.clock, _live(leg, *others))
            leg.process.start()
    return len(fallen)


def _live(leg, other=None):
    try:
        yield _BRIDGED_S
        if other is not None and not other.cause:
            join(leg, other)
        while other is None or not other.cause:
            yield leg.news
    except HungUp:
        pass
    if other is not None:
        other.hangup()
    if not leg.cause:
        leg.hangup()
    leg.finish()
