"""A trace through the engine's own tracker, identifier, policy and recorder: whose each leg is, and what is recorded.

Two things are not as they were on the switch. Commands are obeyed at once (`switch.py`), so that what can be armed is
armed in time; a busy engine may be later and starts such a recording by command. And legs that were up when the trace
began are not known, as they are not to an engine that starts then.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from gevent.event import AsyncResult

from kazoo_rec.calls.files import Files
from kazoo_rec.calls.identity import Identifier, IdentityRules
from kazoo_rec.calls.leg import Leg
from kazoo_rec.calls.recorder import Recorder
from kazoo_rec.calls.registrations import Registrations
from kazoo_rec.calls.tracker import RESTARTED, Tracker
from kazoo_rec.documents.directory import Directory
from kazoo_rec.errors import KazooRecError
from kazoo_rec.switch import commands, replies
from kazoo_rec.switch.events import Event
from kazoo_rec.traces.switch import ObedientSwitch

#: A directory that is never looked at.
ROOT = "/replay"

#: What the row's state means for who reads a replay.
OUTCOMES = {"stopped": "recorded", "recording": "recording when the trace ended", "armed": "armed when the trace ended"}


@dataclass(slots=True, eq=False)
class Told:
    """One leg: what is known of it, and each rule's word on it.

    `source` and `destination` are the networks of the call in which policy was last asked of this leg, as its account
    sees them; None where it was not asked, or the destination was never known. `rows` are its recordings as the store
    would have them, with `by` ("arming" or "command", None where nothing began) and `outcome` beside. `refusals` maps
    a rule to why it does not record this leg. `on_switch` are the paths that the trace's own switch recorded it to.
    """

    leg: Leg
    number: int
    at_s: float
    source: str | None = None
    destination: str | None = None
    rows: list[dict] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    on_switch: list[str] = field(default_factory=list)

    @property
    def role(self) -> str:
        return "plumbing" if self.leg.plumbing else "callee" if self.leg.called else "caller"


class Replay:
    """Takes the lines of a trace, one after the other; `legs` are those that it was told of, in order.

    `up_before` is how many legs the switch had when the trace began, None where it was not asked.
    """

    def __init__(self, directory: Directory, rules: IdentityRules | None = None):
        self.events, self.up_before, self.faults = 0, None, []
        self._switch, self._rows, self._registrations = ObedientSwitch(), _Rows(), Registrations()
        self._recorder = Recorder("replay", self._switch.send, self._rows, Files(ROOT, ROOT, _leave_alone),
                                  lambda: self._switch.time_us // 1000, spawn=_now)
        self._tracker = Tracker(Identifier(rules or IdentityRules(), self._registrations), self._registrations,
                                lambda: directory, self._recorder, self._asked)
        self._told: dict[Leg, Told] = {}
        self._numbers, self._core_uuid = itertools.count(1), ""

    def feed(self, lines: Iterable[dict]) -> "Replay":
        for line in lines:
            if "event" in line:
                self._event(Event(line["event"]), line["t"])
            elif "reply" in line:
                self._reply(line["command"], line["reply"])
        return self

    @property
    def legs(self) -> list[Told]:
        return self._with_rows(self._told.values())

    def take(self) -> list[Told]:
        """Those whose leg has ended, which are forgotten."""
        ended = self._with_rows([told for told in self._told.values() if not told.leg.alive])
        for told in ended:
            del self._told[told.leg]
            for row in told.rows:
                del self._rows.by_id[row["id"]]
                self._switch.began_armed.discard(row["id"])
        return ended

    def _with_rows(self, those):
        by_uuid: dict[str, list] = {}
        for row in self._rows.by_id.values():
            by_uuid.setdefault(row["call_id"], []).append(row)
        for told in those:
            told.rows = [self._outcome(row) for row in by_uuid.get(told.leg.uuid, ())]
            recorded = {row["rule"] for row in told.rows}
            told.refusals = {rule: reason for rule, reason in told.refusals.items() if rule not in recorded}
        return list(those)

    def _outcome(self, row):
        began = row.get("started_ms") is not None
        by = ("arming" if row["id"] in self._switch.began_armed else "command") if began else None
        outcome = OUTCOMES.get(row["state"]) or f"not recorded: {row['state_reason']}"
        restarted = any(span.get("why") == RESTARTED for span in row["spans"])
        if restarted or (row["state"] == "armed" and row["id"] not in self._recorder):
            outcome = "recorded until the switch was restarted" if began else "not recorded: the switch was restarted"
        return {**row, "by": by, "outcome": outcome}

    def _event(self, event, at_s):
        self.events += 1
        switch = self._switch
        switch.now_ms, switch.time_us = round(at_s * 1000), event.time_us or switch.time_us
        if event.core_uuid and event.core_uuid != self._core_uuid:
            if self._core_uuid:
                self._tracker.keep_only(set(), RESTARTED)
            self._core_uuid = event.core_uuid
        switch.reach_limits()
        self._drain()
        self._tracker.tick(switch.now_ms)
        if event.name == "CHANNEL_ANSWER":
            event = switch.answered(event)
        elif event.name in ("CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY"):
            switch.ended(event.uuid)
            self._drain()
        elif event.name == "CHANNEL_UUID":
            switch.renamed(event.get("Old-Unique-ID"), event.uuid)
        self._tracker.feed(event, switch.now_ms)
        self._note(event, at_s)
        self._drain()

    def _drain(self):
        """Hands on what the switch has to tell, and what comes of that."""
        while self._switch.events:
            self._tracker.feed(self._switch.events.popleft(), self._switch.now_ms)

    def _reply(self, command, reply):
        try:
            if command == commands.show_registrations():
                self._registrations.load(replies.registrations(reply))
            elif command == commands.show_channels() and self.up_before is None and not self.events:
                self.up_before = len(replies.channels(reply))
        except KazooRecError as refused:
            self.faults.append(f"{command}: {refused}")

    def _note(self, event, at_s):
        leg = self._tracker.leg(event.uuid)
        if leg is None:
            return
        if event.name == "CHANNEL_CREATE":
            self._of(leg, at_s)
        elif event.name == "RECORD_START" and leg in self._told:
            self._told[leg].on_switch.append(event.get("Record-File-Path"))

    def _of(self, leg, at_s=None):
        if leg not in self._told:
            self._told[leg] = Told(leg, next(self._numbers), self._switch.now_ms / 1000 if at_s is None else at_s)
        return self._told[leg]

    def _asked(self, a, b, question, decision):
        crosses = question.callee_account is not None
        sides = {"A": self._of(a)}
        sides["A"].source = question.source
        sides["A"].destination = ("offnet" if crosses else question.destination) or sides["A"].destination
        if b is not None:
            sides["B"] = self._of(b)
            sides["B"].source, sides["B"].destination = "offnet" if crosses else question.source, question.destination
        for one in decision.refusals:
            if one.leg in sides:
                sides[one.leg].refusals[one.rule] = one.reason
        for one in decision.plans:
            if one.leg in sides:
                sides[one.leg].refusals[one.rule] = f"{one.rule} records another leg of this call already."


class _Rows:
    """The store's recordings, as a dict."""

    def __init__(self):
        self.by_id: dict[str, dict] = {}

    def insert(self, row):
        self.by_id[row["id"]] = dict(row)
        return _done(1)

    def update(self, recording_id, **columns):
        self.by_id[recording_id].update(columns)
        return _done(1)

    def update_open(self, _recording_id, **_columns):
        """Of a recording from before: what the engine of the trace's own time made is none of this one's."""
        return _done(1)


def _done(value):
    result = AsyncResult()
    result.set(value)
    return result


def _leave_alone(_function, _args):
    """No directory is made and no file removed."""


def _now(function, *args):
    function(*args)
