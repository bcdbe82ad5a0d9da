"""What a leg is told to do by `sendmsg`: its private messages (switch_ivr.c, switch_ivr_parse_event)."""

from collections import deque

from kazoo_rec.simulator import dialplan
from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.process import Process
from kazoo_rec.simulator.recording import is_true


class Orders:
    """The messages that a leg has not obeyed yet, each {header in lower case: value}, `_body` too.

    A leg looks for them at every frame, whatever it executes: what it is told is executed in the midst of that. With
    `event-lock` the later ones wait until this one is done.
    """

    def __init__(self, leg):
        self._leg, self._waiting, self._locks, self._looks, self._process = leg, deque(), 0, False, None

    def put(self, message: dict[str, str]):
        self._waiting.append(message)
        self._look_soon()

    def all(self):
        """Obeys those that wait; for the process of the leg."""
        while self._waiting and not self._leg.cause:
            yield from self.obey(self._waiting.popleft())

    def hang_up(self):
        """Ends what a leg without a process of its own executes."""
        if self._process is not None:
            self._process.interrupt()

    def obey(self, message: dict[str, str]):
        leg, locks = self._leg, is_true(message.get("event-lock", ""))
        self._locks += locks
        try:
            match message.get("call-command", ""):
                case "execute":
                    yield from self._execute(message)
                case "hangup":
                    leg.hangup(message.get("hangup-cause") or "NORMAL_CLEARING")
        finally:
            self._locks -= locks
            if self._waiting:
                self._look_soon()

    def _execute(self, message):
        leg, loops = self._leg, int(message.get("loops") or 1)
        for turn in range(loops):
            if leg.cause or "execute-app-name" not in message:
                break
            leg.variables |= {"current_loop": str(turn + 1), "total_loops": str(loops)}
            data = message.get("execute-app-arg") or message.get("_body", "")
            yield from dialplan.perform(leg, message["execute-app-name"], data, message.get("event-uuid", ""))
        for name in ("current_loop", "total_loops"):
            leg.variables.pop(name, None)

    def _look_soon(self):
        if not self._looks:
            self._looks = True
            clock = self._leg.clock
            clock.at((int(clock.now / FRAME_S + 1e-6) + 1) * FRAME_S, self._look)

    def _look(self):
        self._looks = False
        leg = self._leg
        while self._waiting and not self._locks and not leg.cause:
            steps = self.obey(self._waiting.popleft())
            process = leg.process or self._process
            if process is None or process.is_over:
                # A called leg, which executes nothing of its own.
                self._process = Process(leg.clock, steps)
                self._process.start()
            else:
                process.nest(steps)
