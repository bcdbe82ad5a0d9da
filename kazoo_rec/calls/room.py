"""A conference room, its members, and what accounts want of it."""

from dataclasses import dataclass, field

from gevent.lock import Semaphore

from kazoo_rec.calls.leg import Call, Identity, Leg, text
from kazoo_rec.calls.recording import Past
from kazoo_rec.policy.settings import DEFAULTS

#: The rule of recordings that somebody asked for, of rooms and of their members.
RULE = "conference"

#: The leg of a room's own recording: none.
ROOM = "room"


@dataclass(slots=True, eq=False)
class Member:
    """A leg in a room; `muted` there. `waits` while its leg is not known, `unfollowed_at` (the engine's clock) when the
    switch is told again of a mute that it did not hear of. `ordered` is held by who tells it."""

    uuid: str
    muted: bool = False
    waits: bool = False
    unfollowed_at: int | None = None
    ordered: Semaphore = field(default_factory=Semaphore)


@dataclass(slots=True, eq=False)
class Wish:
    """What an account wants of a room: the `room` itself, `everyone` of its own who is or comes in, or the legs
    `uuids`; `without` are those of whom it was stopped. `reason` says who wants it, for rows. For a room that is not
    there yet it waits for one of the account's legs, or of `callers`, whose callflows asked, and is forgotten at
    `until_at`, the engine's clock."""

    account_id: str
    settings: dict
    reason: str
    room: bool = False
    everyone: bool = False
    uuids: set = field(default_factory=set)
    without: set = field(default_factory=set)
    callers: set = field(default_factory=set)
    until_at: int = 0

    def wants(self, uuid: str) -> bool:
        return (self.everyone or uuid in self.uuids) and uuid not in self.without

    def join(self, newer: "Wish"):
        """Wants what either wanted; of what has not begun, as the newer says."""
        self.settings, self.reason = newer.settings, newer.reason
        self.room, self.everyone = self.room or newer.room, self.everyone or newer.everyone
        self.without = set() if newer.everyone else self.without - newer.uuids
        self.uuids, self.callers = self.uuids | newer.uuids, self.callers | newer.callers
        self.until_at = max(self.until_at, newer.until_at)

    def part(self, what: str, uuid: str | None):
        """Wants no more of `what` ("room", "members", "both"); with `uuid`, of that member alone."""
        if what != "members":
            self.room = False
        if what != "room" and uuid is None:
            self.everyone, self.uuids = False, set()
        elif what != "room":
            self.without.add(uuid)


@dataclass(slots=True, eq=False)
class Room(Leg):
    """One conference, from its first member to its last: for a recorder what a leg is. `uuid` is its
    Conference-Unique-ID, another one each time that a room of this `name` begins."""

    name: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    wishes: dict[str, Wish] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, uuid: str, began_ms: int, now_at: int) -> "Room":
        """`began_ms` by the switch's clock, `now_at` by the engine's."""
        name = text(name)
        facts = {"from_uri": "", "to_uri": name, "caller_id_name": "", "caller_id_number": "", "callee_id_name": name,
                 "callee_id_number": ""}
        room = cls(uuid=uuid, originator="", identity=Identity("onnet"), direction="inbound", facts=facts, name=name,
                   answered_ms=began_ms, answered_at=now_at, ordered=Semaphore())
        Call(uuid).add(room)
        return room

    def plan(self, wish: Wish, leg: str) -> Past:
        """Of the room (ROOM), or of a member's leg ("A" or "B"): of a member what it says, where nobody says otherwise.
        What is kept of the wish lets an engine after this one take it up."""
        ours = {**DEFAULTS, **({} if leg == ROOM else {"track": "inbound"}), **wish.settings, "enabled": True,
                "record_on_answer": False, "record_on_bridge": False,
                "conference": {"room": self.name, "everyone": wish.everyone}}
        said = {name: RULE if name in wish.settings else "default" for name in ours}
        return Past(RULE, leg, ours, said, wish.reason, self.name, self.uuid)


def is_live(recording) -> bool:
    """Whether a recording runs, or is about to; one that an engine before this one has ended does not say so itself."""
    return recording.state in ("armed", "recording") and not recording.dropped


def goes_on(recording) -> bool:
    """Of one that is live, whether nothing ends it: where something does, another may begin."""
    return is_live(recording) and not recording.over


def room_id(recording) -> str:
    """The uuid of the room that a member's recording was made for."""
    return recording.plan.room_id or recording.interaction_id
