"""A scenario of tests/traces, played on the simulator: its calls from scenarios.yaml, its commands from the trace.

The simulated clock shows the trace's time of day, so that a limit in whole seconds strikes where it struck.
"""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import yaml

from kazoo_rec.simulator.clock import HandClock
from kazoo_rec.simulator.script import Phone, scripts_of
from kazoo_rec.simulator.simulator import Simulator
from tests import traces
from tests.simulator.conftest import Client, Controller

DOCUMENT = yaml.safe_load(Path(__file__).with_name("scenarios.yaml").read_text())

#: Names of events that are not compared, and why.
NOT_COMPARED = {
    "MODULE_UNLOAD": "never sent: the simulator has no modules",
    "CHANNEL_EXECUTE_COMPLETE": "sent, but left out of the traces; `legs` in scenarios.yaml has it",
}

#: How far, in seconds, an event may be from its time in the trace: a few frames of 20 ms, phones and reader were late.
CLOSE_S = 0.15

_RECORDINGS = "/var/lib/freeswitch/recordings"
#: Ports of phones, and the time and uuid of a transfer.
_ANEW = re.compile(r"(?<=127\.0\.0\.1:)6\d{3}|\d{10}:[0-9a-f-]{36}(?=:)")
#: What a reply names that was made for it.
_MADE = re.compile(r"(?<=^\+OK )(Job-UUID: )?[0-9a-f-]{36}$")


class Traced:
    """Both sides of a scenario.

    `real` and `simulated` are the legs in order of their coming, each a list of its events; `whole` are the simulated
    ones with the events that are not compared. `others` are (real, simulated) events that are of no leg,
    `replies` are (command, real, simulated), with the uuids and paths of the trace. Where a program controls the calls,
    `introductions` are (real, simulated) headers of the replies to its `connect`, `farewells` (real, simulated) notices
    to it, and of the legs only those are seen that it controls.
    """

    def __init__(self, name: str, directory: Path):
        lines = [_parsed(line) for line in traces.lines(name)]
        scenario = DOCUMENT["traced"][name]
        self._seen_from = "CREATE" if "controller" not in scenario else None
        events = [line["event"] for line in lines if "event" in line]
        self._names = {event["Event-Name"] for event in events} - set(NOT_COMPARED)
        # An event is read a little after it was made: the one that was read soonest tells the time.
        self._epoch_us = max(int(line["event"]["Event-Date-Timestamp"]) - round(line["t"] * 1e6)
                             for line in lines if "event" in line)
        self.real, real_others = self._legs(events)
        self.others = real_others, []
        self.replies, self.introductions, self._dialled = [], [], {}
        self.farewells = [line["message"] | {"body": line.get("body", "")} for line in lines if "message" in line], []
        for each in scenario.get("directories", ()):
            (directory / each).mkdir(parents=True)
        with Simulator(clock=HandClock(self._epoch_us / 1e6), recordings=directory) as switch:
            heard = self._play(scenario, switch, lines, directory)
        self.simulated, others = self._legs(heard)
        self.others = real_others, others
        self.whole = [[event for event in heard if event.get("Unique-ID") == uuid(leg)] for leg in self.simulated]
        self._places = {uuid(leg): f"leg {place}" for legs in (self.real, self.simulated)
                        for place, leg in enumerate(legs)}
        for side, legs in enumerate((self.real, self.simulated)):
            others = [event["Bridge-B-Unique-ID"] for leg in legs for event in leg if "Bridge-B-Unique-ID" in event]
            others += [introduction[side]["Unique-ID"] for introduction in self.introductions]
            others += _rooms([event for leg in (*legs, self.others[side]) for event in leg])
            for place, other in enumerate(others):
                self._places.setdefault(other, f"other leg {place}")
        self._places |= self._dialled | {_RECORDINGS: "", str(directory): ""}

    def seconds(self, event) -> float:
        """When it happened, in seconds of the trace."""
        return (int(event["Event-Date-Timestamp"]) - self._epoch_us) / 1e6

    def plain(self, value) -> str | None:
        """A header's value without what is another in each run: uuids, directories, ports of phones, transfers."""
        if value is None:
            return None
        return _ANEW.sub("…", _translated("|".join(value) if isinstance(value, list) else value, self._places))

    def _play(self, scenario, switch, lines, directory):
        """All events that its connections got."""
        creates = [event for leg in self.real for event in leg if event["Event-Name"] == "CHANNEL_CREATE"]
        callers = [create for create in creates if "variable_originator" not in create]
        scripts = scripts_of({"phones": DOCUMENT["phones"], "calls": scenario["calls"]})
        if "controller" in scenario:
            return self._control(scenario, switch, lines, scripts, directory)
        here = {_RECORDINGS: str(directory)}
        scripts = [replace(script, dialplan=tuple(_translated(each, here) for each in script.dialplan))
                   for script in scripts]
        # An event's time may be a frame before its making: no call begins before somebody listens.
        listens_s = next(line["t"] for line in lines if "command" in line) + 0.002
        calls = [switch.play(replace(script, at=max(listens_s, self.seconds(create))))
                 for script, create in zip(scripts, callers, strict=True)]
        for name, habits in scenario.get("registered", {}).items():
            switch.phones.add(Phone(**DOCUMENT["phones"][name] | habits))
        for at in scenario.get("starts_again", ()):
            switch.clock.at(at, switch.start)
        for at, habits in scenario.get("registers", {}).items():
            phone, expires_s = Phone(**DOCUMENT["phones"][habits["phone"]]), habits["expires"]
            switch.clock.at(at, partial(switch.register, phone, expires_s))
        clients = {}
        for line in lines:
            if "command" not in line:
                continue
            command, conn = line["command"], line.get("conn", 1)
            switch.clock.advance(max(0.0, line["t"] - switch.clock.now))
            if conn not in clients:
                clients[conn] = Client(switch.address, None if command.startswith("auth ") else switch.password)
            legs = [leg.uuid for call in calls for leg in call.legs]
            own = {uuid(leg): simulated for leg, simulated in zip(self.real, legs, strict=False)}
            own |= dict(zip(_rooms(self.others[0]), [room.uuid for room in switch.rooms.values()], strict=False))
            own[_RECORDINGS] = str(directory)
            reply = clients[conn].ask(_translated(command, own))
            reply = _translated(reply, {simulated: real for real, simulated in own.items()})
            # The trace has of replies what could be read as UTF-8.
            reply = reply.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            self._keep(command, line["reply"], reply)
        switch.clock.advance(max(8.0, lines[-1]["t"] + 1 - switch.clock.now))
        heard = [event for client in clients.values() for event in (client.events if client.ended else client.heard())]
        for client in clients.values():
            client.close()
        return heard

    def _control(self, scenario, switch, lines, scripts, directory):
        """The same where the commands are a program's that the switch has dialled."""
        program, clients = Controller(), {}
        for name, habits in scenario.get("registered", {}).items():
            switch.phones.add(Phone(**DOCUMENT["phones"][name] | habits))
        dialled = {scenario["controller"]: program.address}
        self._dialled = {program.address: scenario["controller"]}
        calls = [switch.play(replace(script, dialplan=tuple(_translated(each, dialled) for each in script.dialplan)))
                 for script in scripts]
        sent = scenario.get("sent", {})
        asked = [line | {"t": sent.get(line["t"], line["t"])} for line in lines if "command" in line]
        for place, line in enumerate(asked):
            switch.clock.advance(max(0.0, line["t"] - switch.clock.now))
            if line["command"] == "connect":
                client = clients[line["conn"]] = program.accept()
                client.ask("connect")
                told = {name: unquote(value) for name, value in client.heads[0].items()}
                self.introductions.append((line["headers"], told))
                if line["conn"] not in {each["conn"] for each in asked[place + 1:]}:
                    client.close()
                continue
            own = {real["Unique-ID"]: simulated["Unique-ID"] for real, simulated in self.introductions}
            own[_RECORDINGS] = str(directory)
            client = clients[line["conn"]]
            client.send(_translated(line["command"], own))
            had = len(client.replies)
            while len(client.replies) == had:
                switch.clock.advance(0.02)
            reply = _translated(client.replies[had], {simulated: real for real, simulated in own.items()})
            self._keep(line["command"], line["reply"], reply)
        program.close()
        switch.clock.advance(8)
        assert all(call.wait(0) for call in calls)
        for client in clients.values():
            heads = [head for head in client.heads if "notice" in head["Content-Type"]]
            self.farewells[1].extend({name: _translated(value, {there: here for here, there in own.items()})
                                      for name, value in head.items()} | {"body": notice}
                                     for head, notice in zip(heads, client.notices, strict=True))
            client.close()
        return [event for client in clients.values() for event in client.events]

    def _keep(self, command, real, simulated):
        self.replies.append((command, *(_MADE.sub("…", reply.rstrip("\n")) for reply in (real, simulated))))

    def _legs(self, events):
        """(the events of each leg that was seen coming, the names of events that are of none)."""
        legs = {}
        for event in events:
            if event["Event-Name"] in self._names:
                legs.setdefault(event.get("Unique-ID"), []).append(event)
        others = legs.pop(None, [])
        return [leg for leg in legs.values() if self._seen_from is None or self._seen_from in names(leg)], others


def _parsed(line):
    """An event that came as text as any other."""
    if "event_plain" in line:
        pairs = (each.split(": ", 1) for each in line["event_plain"].splitlines() if each)
        line = line | {"event": {name: unquote(value) for name, value in pairs}}
    return line


def _rooms(events):
    """The uuids of conferences, in order of their coming."""
    return list(dict.fromkeys(event["Conference-Unique-ID"] for event in events if "Conference-Unique-ID" in event))


def uuid(leg) -> str:
    return leg[0]["Unique-ID"]


def names(leg) -> list[str]:
    """The names of its events, without CHANNEL_."""
    return [event["Event-Name"].removeprefix("CHANNEL_") for event in leg]


def _translated(text, names):
    for one, other in names.items():
        text = text.replace(one, other)
    return text
