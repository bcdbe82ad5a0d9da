"""Three times the starts that a switch takes: what has to be first is first, nothing is lost, it passes by itself."""

import re
from collections import deque

import gevent
from gevent.event import Event as Flag
from structlog.testing import capture_logs

from kazoo_rec.switch import commands
from kazoo_rec.switch.turns import Turns
from kazoo_rec.switch.urgency import Urgency, urgency

from .fakes import ROOT, Scene

#: Milliseconds that FreeSWITCH takes to start a recording, and roughly for anything else; one connection.
START_MS, OTHER_MS = 11, 0.4
STEP_MS = 50
CALLS_A_STEP = 14  #: 280 a second; 90 starts are what a connection does
LOAD_STEPS = 40


class Site:
    """A switch with one connection, which takes its time by the scene's clock; calls that answer at once."""

    def __init__(self):
        self.scene = Scene([("account", "acme", "acme", {"realm": "acme.example", "call_recording": {
            "account": {"any": {"any": {"enabled": True}}}}})], spawn=gevent.spawn, send=self.send)
        self.turns = Turns(lambda: 1, "fs1", lambda: self.scene.now / 1000)
        self.served, self.order, self._budget_ms = deque(), [], 0.0
        self.legs = 0

    def send(self, command, timeout_s=3600.0):
        with self.turns.turn(urgency(command), 3600.0):
            answered = Flag()
            self.served.append((command, answered))
            answered.wait()
        return "+OK\n"

    def ask(self, command):
        """In a greenlet of its own, as people, sweeps and others do."""
        job = gevent.spawn(self.send, command)
        gevent.idle()
        return job

    def call(self):
        self.legs += 1
        self.scene.phone_calls(f"a{self.legs}", "1000").answer_unarmed(f"a{self.legs}")

    def step(self, calls=0):
        for _ in range(calls):
            self.call()
        gevent.idle()
        self._budget_ms += STEP_MS
        while self.served:
            cost_ms = START_MS if " start " in self.served[0][0] else OTHER_MS
            if cost_ms > self._budget_ms:
                break
            self._budget_ms -= cost_ms
            command, answered = self.served.popleft()
            self.order.append((self.scene.now, command))
            self._obey(command)
            answered.set()
            gevent.idle()
        else:
            self._budget_ms = 0.0
        self.scene.after(STEP_MS)
        self.turns.look()

    def _obey(self, command):
        if found := re.match(r"api uuid_record (\S+) start (\S+/(\S+?)(?:\.f)?\.wav)", command):
            uuid, path, recording_id = found.groups()
            self.scene.record_start(uuid, recording_id, path)

    def when(self, command):
        """When the switch took it, and how much it had taken before."""
        return next((at, number) for number, (at, taken) in enumerate(self.order) if taken == command)


def test_at_three_times_what_the_switch_can_every_call_is_recorded_and_the_urgent_is_not_late():
    site = Site()
    path = f"{ROOT}/acme/20261121/202611-0123456789abcdef0123456789abcdef.wav"
    mask, stop, dump = commands.mask("m", path), commands.stop("s", path), commands.dump("d")
    with capture_logs() as lines:
        for number in range(LOAD_STEPS):
            if number == LOAD_STEPS // 2:
                asked_at = site.scene.now
                jobs = [site.ask(dump), site.ask(stop), site.ask(mask)]
            site.step(CALLS_A_STEP)
        assert site.turns.overloaded and site.turns.waiting > 200
        steps = 0
        while site.turns.waiting or site.served:
            site.step()
            steps += 1
        assert steps < 3 * LOAD_STEPS
        for _ in range(110):
            site.step()
    gevent.joinall(jobs, raise_error=True)

    assert site.when(mask)[0] - asked_at <= STEP_MS
    starts = [number for number, (_, command) in enumerate(site.order) if " start " in command]
    assert site.when(stop)[1] > starts[-1] and site.when(dump)[1] > site.when(stop)[1]
    states = [row["state"] for row in site.scene.rows.by_id.values()]
    assert states == ["recording"] * (CALLS_A_STEP * LOAD_STEPS)
    assert len(starts) == len(states)  # none is started twice
    late = [row for row in site.scene.rows.by_id.values() if row.get("partial")]
    assert late and all("the switch began late" in row["state_reason"] for row in late)
    assert not site.turns.overloaded and not any(site.turns.given_up.values())
    said = [line["event"] for line in lines if "command" in line["event"] and line["log_level"] != "info"]
    assert len(said) == 2 and "overloaded" in said[0] and "do not wait any more" in said[1]


def test_what_is_armed_while_the_switch_is_overloaded_is_armed_before_anything_is_started():
    site = Site()
    for _ in range(10):
        site.step(CALLS_A_STEP)
    ringing = [f"r{number}" for number in range(20)]
    for uuid in ringing:
        site.scene.phone_calls(uuid, "1000")
    site.step()
    armed = [command for _, command in site.order if urgency(command) is Urgency.ARM]
    assert {command.split()[2] for command in armed} >= set(ringing) and site.turns.waiting > 50
