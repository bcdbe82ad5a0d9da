"""The switch as a process: a simulator that writes down what truly happened on it, in a file that outlives it.

Each leg of a call says a tone of its own: which pair of tones a file has tells whose it is.
"""

import json
import random
import sys
import time
from collections import deque
from pathlib import Path

import gevent

from kazoo_rec.simulator.faults import strike_all
from kazoo_rec.simulator.script import Phone, Script
from kazoo_rec.simulator.simulator import Simulator
from tests.faults.orders import serve

#: Tones, Hz, apart enough to be told in half a second: of callers, and of called. No two calls of 10,000 in a row have
#: the same two.
CALLERS_HZ, CALLED_HZ = range(300, 1300, 10), range(1400, 3400, 20)

#: Of these the account records every leg; of the other none.
RECORDED, UNRECORDED = "acme.example", "quiet.example"

#: One call in so many is of the account that is not recorded.
UNRECORDED_EVERY = 10

#: How many phones call, and how many are called.
PHONES = 50


def tones(number: int) -> tuple[int, int]:
    """What the caller and the called of that call say, Hz."""
    return (CALLERS_HZ[number % len(CALLERS_HZ)],
            CALLED_HZ[(number // len(CALLERS_HZ) + number) % len(CALLED_HZ)])


class Commands(deque):
    """The last of them; of one kind, how many there were."""

    introductions = 0

    def append(self, command):
        self.introductions += "show registrations" in command
        super().append(command)


class Witness(Simulator):
    """Writes a line for each leg that answers, ends, falls with the switch or rises again."""

    def __init__(self, journal: Path, **more):
        super().__init__(**more)
        self.commands = Commands(maxlen=self.commands.maxlen)
        self._journal = open(journal, "a", buffering=1)  # noqa: SIM115 - as long as the switch
        self._details = open(journal.with_suffix(".cdr"), "a", buffering=1)  # noqa: SIM115

    def note(self, what: str, leg):
        script = leg.call.script
        says, hears = script.caller.says, script.called[0].says if script.called else 0
        if leg.phone.user != script.caller.user:
            says, hears = hears, says
        self._journal.write(json.dumps({
            "what": what, "uuid": leg.uuid, "ms": self.clock.epoch_us() // 1000, "user": leg.phone.user,
            "domain": leg.phone.domain, "says": says, "hears": hears}) + "\n")

    def publish(self, name, headers, subclass=None, of=None):
        what = {"CHANNEL_ANSWER": "answered", "CHANNEL_HANGUP": "ended"}.get(name)
        leg = self.legs.get(of)
        if name == "CHANNEL_CREATE" and leg is not None and leg.answered:
            what = "rose"
        if what and leg is not None:
            self.note(what, leg)
        if name == "CHANNEL_HANGUP_COMPLETE" and leg is not None:
            self._detail(leg)
        super().publish(name, headers, subclass, of)

    def _detail(self, leg):
        """A call detail record, as mod_json_cdr writes it."""
        profile = leg.profile
        caller = {"context": profile.context, "destination_number": profile.destination,
                  "caller_id_name": profile.caller_id_name, "caller_id_number": profile.caller_id_number}
        self._details.write(json.dumps({"variables": {
            **leg.variables, **caller, "uuid": leg.uuid, "direction": leg.direction, "channel_name": leg.name,
            **({"originator": leg.originator.uuid} if leg.originator is not None else {}),
            "presence_id": leg.presence_id}, "callflow": [{"caller_profile": caller}]}) + "\n")

    def kill(self):
        for leg in self.legs.values():
            self.note("fell", leg)
        super().kill()


class Door:
    """What the harness may order of the switch."""

    def __init__(self, switch: Witness):
        self._switch, self._traffic, self._number = switch, None, 0

    def address(self):
        return self._switch.address

    def legs(self) -> int:
        return len(self._switch.legs)

    def unrecorded(self, before_ms: int) -> int:
        """How many legs that are to be recorded began before then (ms since the epoch), and go on unrecorded though
        they were answered."""
        return sum(leg.answered and not leg.cause and not leg.recordings and leg.phone.domain == RECORDED
                   and leg.profile.times["Channel-Created"] < before_ms * 1000 for leg in self._switch.legs.values())

    def recorded(self) -> dict[str, list[str]]:
        """What is being recorded: paths by the uuid of their leg."""
        return {leg.uuid: [recording.path for recording in leg.recordings] for leg in self._switch.legs.values()}

    def hang_up(self):
        """Every call ends."""
        for leg in tuple(self._switch.legs.values()):
            leg.hangup()

    def call(self, seed: int, number: int | None = None, talk_s: float | None = 5.0, rings_s: float | None = 0.3,
             domain=RECORDED, faults=()):
        """Plays one call; [uuid of the caller's leg]. Without `talk_s` it lasts until `hang_up`, without `rings_s`
        nobody answers it."""
        number = self._number if number is None else number
        self._number = number + 1
        says = tones(seed + number)
        caller = Phone(f"1{number % PHONES:03}", domain, says=says[0],
                       hangs_up=None if talk_s is None else rings_s + talk_s)
        called = Phone(f"2{number % PHONES:03}", domain, says=says[1], answers=rings_s)
        played = self._switch.play(Script(caller, (called,), faults=tuple(faults)))
        return [leg.uuid for leg in played.legs]

    def traffic(self, seed: int, calls_s: float, talk_s=(4.0, 10.0), number: int = 0):
        """Calls begin from now on, until `hush`."""
        self.hush()
        self._number = number
        self._traffic = gevent.spawn(self._call_on, seed, calls_s, talk_s)

    def hush(self) -> int:
        """No more calls begin; how many have."""
        if self._traffic is not None:
            self._traffic.kill()
            self._traffic = None
        return self._number

    def fault(self, name: str):
        """kill, start, shut_down, cut, stall, go_on: see Simulator."""
        if name not in ("kill", "start", "shut_down", "cut", "stall", "go_on", "fill_disk"):
            raise ValueError(name)
        getattr(self._switch, name)()

    def strike(self, sentences: list[str]):
        """What goes wrong from now on, by sentences of kazoo_rec/simulator/faults.py."""
        for sentence in sentences:
            strike_all(sentence, self._switch)

    def set(self, name: str, value):
        """An attribute of the simulator's."""
        setattr(self._switch, name, set(value) if name == "lost_events" else value)

    def api(self, line: str) -> str:
        return str(self._switch.api(line))

    def commands(self, contains: str) -> int:
        """How many commands had that in them."""
        return sum(contains in command for command in self._switch.commands)

    def listening(self) -> int:
        """How many connections are told of new legs."""
        return len(self._switch.sockets.wanting("CHANNEL_CREATE", None, None))

    def introductions(self) -> int:
        """How often an engine has come and asked who is registered."""
        return self._switch.commands.introductions

    def _call_on(self, seed, calls_s, talk_s):
        chance, due = random.Random(seed), time.monotonic()
        while True:
            due = max(due + 1 / calls_s, time.monotonic())  # what a busy host has held up is not made up for at once
            gevent.sleep(due - time.monotonic())
            domain = UNRECORDED if chance.randrange(UNRECORDED_EVERY) == 0 else RECORDED
            self.call(seed, talk_s=chance.uniform(*talk_s), rings_s=chance.uniform(0.1, 1.0), domain=domain)


def main(port: str, recordings: str, journal: str):
    switch = Witness(Path(journal), listener=("127.0.0.1", int(port)), recordings=recordings)
    switch.start()
    serve(Door(switch))


if __name__ == "__main__":
    main(*sys.argv[1:])
