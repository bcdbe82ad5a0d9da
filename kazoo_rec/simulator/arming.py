"""What a leg's variables tell it to execute at its answer and at its bridge: execute_on_… and api_on_answer."""

import gevent

from kazoo_rec.simulator import dialplan
from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.process import Process

#: From the bridge to what execute_on_pre_bridge names, as measured.
_PRE_BRIDGE_S = 0.2


class Arming:
    """Of one leg. What was not set when it answered is not executed."""

    def __init__(self, leg):
        self._leg, self._lines, self._process = leg, [], None

    def take(self):
        """It answers: what is set now counts. Where the answer brings the media, execute_on_media* comes first."""
        self._lines = [*(() if self._leg.early else self._told("execute_on_media")), *self._told("execute_on_answer")]

    @property
    def sticks(self) -> bool:
        """To record a called leg without media at its answer holds it there for ever: its caller is never answered."""
        leg = self._leg
        return leg.call.bypasses_media and leg.direction == "outbound" and any(
            line.startswith("record_session") for line in self._lines)

    def start(self):
        """Executes it beside the leg's own doing."""
        self._process = Process(self._leg.clock, self.run())
        self._process.start()

    def run(self):
        """Executes it in order of setting, a frame apart; on a called leg a frame late. The command of api_on_answer
        comes first."""
        leg = self._leg
        if command := leg.variables.get("api_on_answer"):
            gevent.spawn(leg.switch.api, command)
            yield FRAME_S
        if self._lines and leg.direction == "outbound":
            yield FRAME_S
        while self._lines and not leg.cause:
            yield from dialplan.execute(leg, self._lines.pop(0))
            if self._lines:
                yield FRAME_S

    def bridge(self):
        """It is bridged."""
        for line in self._told("execute_on_pre_bridge"):
            Process(self._leg.clock, self._later(line)).start()

    def drop(self):
        if self._process is not None:
            self._process.drop()

    def _told(self, name):
        """The lines of all variables whose names begin so, in order of setting."""
        return [line for each, lines in self._leg.variables.items() if each.startswith(name)
                for line in lines.removeprefix("ARRAY::").split("|:")]

    def _later(self, line):
        yield _PRE_BRIDGE_S
        yield from dialplan.execute(self._leg, line)
