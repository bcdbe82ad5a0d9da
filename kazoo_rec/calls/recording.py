"""One recording while its leg lives: what was planned, what the switch has done of it, and its row."""

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from gevent.event import Event

from kazoo_rec.calls.leg import Leg
from kazoo_rec.policy.decision import Plan
from kazoo_rec.policy.settings import digest
from kazoo_rec.store.comment import Comment, made
from kazoo_rec.store.spans import is_declined
from kazoo_rec.store.urls import masked

#: Sample rate of a master in Hz, where no document says one.
NARROWBAND_HZ, WIDEBAND_HZ = 8000, 16000

#: A recording takes from its leg's variables whatever its own braces do not say (switch_ivr_async.c,
#: get_recording_var): what another recorder sets there for itself must not cut, swap, append to or end ours.
NOT_OF_THE_LEG = {
    "RECORD_STEREO_SWAP": "false", "RECORD_READ_ONLY": "false", "RECORD_WRITE_ONLY": "false", "RECORD_APPEND": "false",
    "RECORD_ANSWER_REQ": "false", "RECORD_MIN_SEC": "0", "RECORD_INITIAL_TIMEOUT_MS": "0",
    "RECORD_FINAL_TIMEOUT_MS": "0", "RECORD_TOGGLE_ON_REPEAT": "false", "RECORD_HANGUP_ON_ERROR": "false",
    "RECORD_CHECK_BRIDGE": "false",
}

#: The switch counts whole wall-clock seconds and ends in (limit - 1, limit]: one more, so that none is missing.
LIMIT_MARGIN_S = 1

#: Spans during which the switch gives a recording no samples.
NO_SAMPLES = ("hold", "pause")

#: Media that a phone did not send are told of from so many ms, and from such a share of the recording on: a packet may
#: be lost.
UNSENT_MS, UNSENT_SHARE = 1000, 0.02

#: Rules of recordings that an action began: of a callflow, or of the dialplan's event `kazoo_rec::record_call`.
ACTIONS = ("callflow", "event")

#: `by` of a span that is there as its leg is muted in a conference: the room says when it ends.
MUTED = "mute"

#: The cause in the row of what was stopped before it began, and of what a rule wanted that does not any more.
CALLED_OFF, DROPPED = "called off", "dropped"

#: The rule of what the application `record` takes down: the action record_caller.
MESSAGE = "record_caller"

#: Below the recordings directory, as `Recording.master` is.
_FILE = re.compile(r"[A-Za-z0-9_-]{1,64}/[0-9]{8}/([0-9]{6}-[0-9a-f]{32})(?:\.f)?\.wav")


class Past(NamedTuple):
    """A plan as its row tells of it; or one that no rule made. `room` and `room_id` are the name and the uuid of the
    conference that it is a recording of."""

    rule: str
    leg: str
    settings: Mapping[str, object]
    origin: Mapping[str, str]
    reason: str
    room: str = ""
    room_id: str = ""


@dataclass(slots=True, eq=False)
class Recording:
    """A plan for one leg; `source` is the network that its call came from. Times: `*_ms` the switch's clock since the
    epoch, `*_at` the engine's own clock in ms.

    `destination` is the network for which the rule said yes; `settled` once no other leg can change it. `running` holds
    the paths that the switch has said it records to: one, unless arming and fallback both took. `asked_ms` is when a
    start by command was ordered, `obeyed_ms` when the switch answered it, `wanted_ms` when what made it wanted
    happened, `begun_at` when its beginning was heard. `busy` while a start, or the question whether it needs one, is on
    its way: two starts at once would make two that run. `armed_in_time` once the switch has taken its arming, before
    its leg can have answered. `missed` is (since when, why) its leg's talk was not recorded before it. `awaits_bridge`
    while it may be that its leg answered and another takes the call.
    `silenced` is {"mask" or "pause": the span that is open for it}; what has not begun waits for its end. `called_off`
    is one that somebody stopped before it began, so that no rule asks again. `cut_short` is one that its leg's end, or
    what took it along, has ended; `silent_at_end` is what it was silenced by then: (kind, by). One that goes on for
    another, which a transfer ended, has the id of the first in `begun_as`, and its `interaction_id`. `announced` once
    all whom it must be announced to have heard it. `ending` is one that was told to stop, and is told until it has;
    `silence_at` is when a mask or pause that the switch did not hear of is said again. `closing` has the columns of one
    that has ended with its leg, which is about to tell what its phone sent. `begun` and `ended` are for who waits;
    `not_recorded_since_ms` (since the epoch) is there while an alarm is for it (`calls.vigil`). `follows` are set as
    those have ended in whose place it is begun by command (`calls.foundling`).
    """

    id: str
    leg: Leg
    plan: Plan | Past
    account_id: str
    destination: str | None
    settled: bool
    directory: str
    source: str
    wanted_at: int
    state: str = "armed"
    reason: str | None = None
    dropped: bool = False
    at_limit: bool = False
    check_at: int | None = None
    limit_at: int | None = None
    stop_at: int | None = None
    silence_at: int | None = None
    asked_ms: int | None = None
    obeyed_ms: int | None = None
    begun_at: int | None = None
    started_ms: int | None = None
    hold_from_ms: int | None = None
    spans: list = field(default_factory=list)
    running: list = field(default_factory=list)
    missed: tuple[int, str] | None = None
    row: object = None
    busy: bool = False
    armed_in_time: bool = False
    awaits_bridge: bool = False
    silenced: dict = field(default_factory=dict)
    called_off: bool = False
    cut_short: bool = False
    silent_at_end: tuple = ()
    begun_as: str = ""
    interaction_id: str = ""
    wanted_ms: int | None = None
    announced: bool = False
    ending: bool = False
    closing: dict | None = None
    node: str = ""
    begun: Event = field(default_factory=Event)
    ended: Event = field(default_factory=Event)
    not_recorded_since_ms: int | None = None
    follows: tuple[Event, ...] = ()

    @property
    def row_state(self) -> str:
        return "paused" if self.state == "recording" and "pause" in self.silenced else self.state

    @property
    def by_action(self) -> bool:
        return self.plan.rule in ACTIONS

    @property
    def is_message(self) -> bool:
        """The application `record` writes it: it is in no list of the switch's, and no command reaches it."""
        return self.plan.rule == MESSAGE

    @property
    def label(self) -> str | None:
        return self.plan.settings.get("label")

    @property
    def on_bridge(self) -> bool:
        return bool(self.plan.settings["record_on_bridge"])

    @property
    def announce(self) -> Mapping[str, object]:
        return self.plan.settings.get("announce") or {}

    @property
    def unannounced(self) -> bool:
        """Whether it must not begin, as it was not announced yet."""
        return bool(self.announce.get("required")) and not self.announced

    @property
    def declined(self) -> bool:
        return is_declined(self.spans)

    @property
    def over(self) -> bool:
        return self.dropped or self.at_limit or self.ending or self.declined

    @property
    def unwanted(self) -> list[str]:
        """Paths that the switch records to and should not: all of one that is over, else what came second."""
        return list(self.running) if self.over else self.running[1:]

    @property
    def silent_for_all(self) -> set[str]:
        """The kinds of its silences, or of those that it ended with, that are for all of its leg."""
        silences = self.silent_at_end or [(kind, span.get("by")) for kind, span in self.silenced.items()]
        return {kind for kind, by in silences if not by}

    @property
    def master(self) -> str:
        """Where the audio is, relative to the recordings directory: what is running, else what was armed."""
        return self.running[0] if self.running else f"{self.directory}/{self.id}.wav"

    @property
    def armed_path(self) -> str:
        return f"{self.directory}/{self.id}.wav"

    @property
    def fallback_path(self) -> str:
        """Another name than the armed one, so that each obeys its own commands should both be running."""
        return f"{self.directory}/{self.id}.f.wav"

    @property
    def limit_s(self) -> int:
        """What the switch is told; 0 with record_on_bridge, as it would count from before the bridge."""
        return 0 if self.on_bridge else self.plan.settings["time_limit"] + LIMIT_MARGIN_S

    def variables(self) -> dict[str, str]:
        """What travels with the recording and comes back as `Recording-Variable-*`.

        Unbuffered, so that a crash costs milliseconds; no pre-buffer, which would let 0.46 s before an unmask
        through and make anything under 0.5 s report 20 ms (switch_ivr_async.c, record_callback).
        """
        settings = self.plan.settings
        rate = settings["record_sample_rate"] or (WIDEBAND_HZ if self.leg.wideband else NARROWBAND_HZ)
        return {
            "kazoo_rec_id": self.id,
            "kazoo_rec_account": self.account_id,
            "kazoo_rec_rule": self.plan.rule,
            "RECORD_COMMENT": str(self.comment(self.node)),
            "RECORD_STEREO": "true",
            "RECORD_PRE_BUFFER_FRAMES": "0",
            "enable_file_write_buffering": "false",
            "record_sample_rate": str(rate),
            "RECORD_BRIDGE_REQ": "true" if self.on_bridge else "false",
            **NOT_OF_THE_LEG,
        }

    def comment(self, node: str) -> Comment:
        """What its file says of it, on the switch `node`: `delivery.orphans` makes a row of that, and
        `calls.foundling` goes on with it."""
        leg, plan = self.leg, self.plan
        return made(leg.uuid, self.interaction_id or leg.call.interaction_id, plan.rule, plan.leg,
                    leg.identity.user_id, leg.identity.device_id, digest(masked(plan.settings)), node)

    def hold(self, at_ms: int):
        """The leg put itself on hold: its recording gets no samples until `unhold`."""
        if self.hold_from_ms is None:
            self.hold_from_ms = at_ms

    def unhold(self, at_ms: int):
        if self.hold_from_ms is not None:
            self.spans.append({"kind": "hold", "from_ms": self.hold_from_ms, "to_ms": max(at_ms, self.hold_from_ms)})
            self.hold_from_ms = None

    def silence(self, kind: str, at_ms: int, by: str | None = None) -> bool:
        """Opens a span of "mask" (the file has silence) or "pause" (it has nothing); False where one is open. `by` is
        the rule of an action that asks for it; else it is for all of the leg, and an action does not end it."""
        if kind in self.silenced:
            return not by and self.silenced[kind].pop("by", None) is not None
        self.silenced[kind] = span = {"kind": kind, "from_ms": at_ms, "to_ms": None, **({"by": by} if by else {})}
        self.spans.append(span)
        return True

    def unsilence(self, kind: str, at_ms: int):
        span = self.silenced.pop(kind, None)
        if span is not None:
            span["to_ms"] = max(at_ms, span["from_ms"])

    def close_spans(self, at_ms: int):
        """It has ended, and with it whatever kept it silent."""
        self.unhold(at_ms)
        self.silent_at_end = tuple((kind, span.get("by")) for kind, span in self.silenced.items())
        for kind, _ in self.silent_at_end:
            self.unsilence(kind, at_ms)

    def note_missed(self):
        """It has started: what was missed until now is a span."""
        self.spans += self._missed_until(self.started_ms)

    def _missed_until(self, at_ms):
        if self.missed is None or (self.on_bridge and self.leg.bridged_ms is None):
            return []
        from_ms, why = self.missed
        if self.on_bridge:
            from_ms = max(from_ms, self.leg.bridged_ms)
        return [{"kind": "gap", "from_ms": from_ms, "to_ms": at_ms, "why": why}] if from_ms < at_ms else []

    def counted_ms(self, stopped_ms: int) -> int:
        """How long the switch has counted for its limit: holds and pauses too."""
        return stopped_ms - self.started_ms if self.started_ms else 0

    def has_reached_limit(self, stopped_ms: int) -> bool:
        """Whether what ended then can have been ended by its limit."""
        return self.counted_ms(stopped_ms) >= (self.plan.settings["time_limit"] - 1) * 1000

    def expected_ms(self, stopped_ms: int, without=NO_SAMPLES) -> int:
        """How long the audio should be: from its start (or the bridge, if it waits for one) to its end, less holds and
        pauses, which may lie in each other."""
        begun = self.started_ms
        if self.on_bridge:
            begun = max(begun, self.leg.bridged_ms) if self.leg.bridged_ms else stopped_ms
        return spoken_ms(begun, stopped_ms, self.spans, without)

    @classmethod
    def of_row(cls, leg: Leg, row: Mapping) -> "Recording":
        """One that was begun before this engine was, as far as its row tells."""
        plan = Past(row["rule"], row["leg"], row["settings"], row["settings_from"], row["reason"])
        spans = [dict(span) for span in row["spans"]]
        gap = None if row["started_ms"] else next((span for span in spans if span["kind"] == "gap"), None)
        if gap:  # until it was planned; it ends as it begins
            spans.remove(gap)
        return cls(row["id"], leg, plan, row["account_id"], row["destination"], True, row["master"].rpartition("/")[0],
                   row["source"], leg.answered_at, state="recording" if row["state"] == "paused" else row["state"],
                   started_ms=row["started_ms"], spans=spans, interaction_id=row["interaction_id"],
                   silenced={span["kind"]: span for span in spans if span["to_ms"] is None},
                   announced=any(span["kind"] == "announced" for span in spans), node=row["node"],
                   missed=gap and (gap["from_ms"], gap["why"]))

    def note_silent(self, received_ms: int | None):
        """Its leg's phone has sent so much media: if that is less than it should have, the file has silence for the
        rest. What came before the recording may be in it, so that what is missing is more rather than less."""
        due_ms = self.expected_ms(self.closing["stopped_ms"], without=("hold",))
        if received_ms is not None and due_ms - received_ms > max(UNSENT_MS, UNSENT_SHARE * due_ms):
            self.spans.append({"kind": "silent", "from_ms": self.started_ms, "to_ms": self.closing["stopped_ms"],
                               "sent_ms": received_ms, "of_ms": due_ms})

    def spans_now(self) -> list[dict]:
        """For the row, which is written later than now."""
        return [dict(span) for span in self.spans]

    def new_row(self, node: str, epoch_ms: int) -> dict:
        """The row as it is when the recording is planned, of the switch `node`, which its file names as well."""
        self.node, leg, plan = node, self.leg, self.plan
        room = plan if isinstance(plan, Past) and plan.room else None
        return {
            "id": self.id, "node": node, "account_id": self.account_id,
            "user_id": leg.identity.user_id, "device_id": leg.identity.device_id,
            "call_id": leg.uuid, "leg": plan.leg,
            "interaction_id": self.interaction_id or (room and room.room_id) or leg.call.interaction_id,
            "rule": plan.rule, "reason": plan.reason,
            "settings": dict(plan.settings), "settings_from": dict(plan.origin),
            "source": self.source, "destination": self.destination,
            "direction": leg.direction, **leg.facts, "origin": self._origin(), "label": self.label,
            # Should this engine not live to see it begin, what was missed is told all the same.
            "state": self.state, "master": self.master, "spans": self.spans_now() + self._missed_until(epoch_ms),
            "armed_ms": epoch_ms, "answered_ms": leg.answered_ms,
        }

    def _origin(self):
        """As Kazoo words it (core/kazoo_call, cf_record_call.erl: `callflow : <label>`)."""
        rule = self.plan.rule
        if self.by_action or self.is_message:
            made_by = "event" if rule == "event" else "callflow"
            return f"{made_by} : {self.label}" if self.label else made_by
        if isinstance(self.plan, Past) and self.plan.room:
            return f"conference : {self.plan.room}"
        if rule == "api":
            return rule
        side = "account" if rule.startswith("account.") else "endpoint"
        inbound = rule.endswith(".inbound")
        return f"inbound from {self.source} to {side}" if inbound else f"outbound to {self.destination} from {side}"


def told(recording: Recording) -> dict:
    """What people and callflows are told of it."""
    state = "discarded" if recording.dropped else recording.row_state
    return {"id": recording.id, "state": state, "state_reason": recording.reason, "rule": recording.plan.rule,
            "reason": recording.plan.reason, "masked": "mask" in recording.silenced,
            "started_ms": recording.started_ms, "not_recorded_since_ms": recording.not_recorded_since_ms,
            "spans": recording.spans_now()}


def spoken_ms(begun_ms: int, stopped_ms: int, spans: list[dict], without=NO_SAMPLES) -> int:
    """How much audio there is between two times, less holds and pauses."""
    without_ms, until = 0, begun_ms
    for span in sorted((one for one in spans if one["kind"] in without), key=itemgetter("from_ms")):
        end = stopped_ms if span["to_ms"] is None else min(span["to_ms"], stopped_ms)
        without_ms += max(0, end - max(span["from_ms"], until))
        until = max(until, end)
    return max(0, stopped_ms - begun_ms - without_ms)


def id_of(path: str | None) -> str:
    """The id of the recording that a path, relative, is of; "" where it is of none."""
    found = _FILE.fullmatch(path or "")
    return found[1] if found else ""


def new_id(now_s: float | None = None) -> str:
    """`YYYYMM-<32 hex>`, the month of now (UTC), as Kazoo's recordings are named."""
    return f"{time.strftime('%Y%m', time.gmtime(now_s))}-{uuid.uuid4().hex}"


def mark_of(directory: str, recording_id: str) -> str:
    """The empty file beside a recording that was declined, as `media.names.declined` calls it."""
    return f"{directory}/{recording_id}.declined"


def directory_of(account_id: str, now_s: float | None = None) -> str:
    """`<account>/<YYYYMMDD>`: the account's directory has days below it and no files, a day's has files and nothing
    below it, as a neighbour named `8000` would make the switch refuse (mod_sndfile.c, alt_path)."""
    return f"{account_id}/{time.strftime('%Y%m%d', time.gmtime(now_s))}"
