"""`uuid_displace`: a sound that a leg hears in place of what it heard, or, with `mux`, besides (switch_ivr_async.c)."""

from kazoo_rec.simulator.playing import parts_of
from kazoo_rec.simulator.process import HungUp, Process


class Displacement:
    """A sound on its way to one leg; `hz` is what is heard of it now."""

    def __init__(self, leg, path, parts, is_besides):
        self._leg, self._path, self._parts, self.is_besides, self.hz = leg, path, parts, is_besides, 0
        self._process = Process(leg.clock, self._run())

    def begin(self):
        self._leg.displaced[self._path] = self
        self._leg.publish("MEDIA_BUG_START", after=self._bug())
        self._process.start()

    def end(self):
        """Before its time."""
        self._process.interrupt()

    def _run(self):
        leg = self._leg
        try:
            for seconds, hz in self._parts:
                leg.call.settle()
                self.hz = hz
                yield seconds
        except HungUp:
            pass
        leg.call.settle()
        leg.displaced.pop(self._path, None)
        leg.publish("MEDIA_BUG_STOP", after=self._bug())

    def _bug(self):
        return {"Media-Bug-Function": "displace", "Media-Bug-Target": self._path}


def displace(leg, path: str, flags: str) -> bool:
    """Whether it began: one sound of a name at a time, and it must be there."""
    leg.pre_answer()
    parts = None if leg.cause or not leg.media or path in leg.displaced else parts_of(leg, path)
    if parts is not None:
        Displacement(leg, path, parts, is_besides="m" in flags).begin()
    return parts is not None
