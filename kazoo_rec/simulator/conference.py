"""Conferences: the application, its rooms and what they say in CUSTOM conference::maintenance (mod_conference)."""

from contextlib import suppress

from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.events import new_uuid
from kazoo_rec.simulator.headers import channel_headers
from kazoo_rec.simulator.process import HungUp, Mailbox
from kazoo_rec.simulator.room_recording import RoomRecording
from kazoo_rec.simulator.sound import MUSIC_HZ

SUBCLASS = "conference::maintenance"
#: From a member's coming, or his being unmuted, until he is heard to talk, as measured.
_TALKS_AFTER_S = 3 * FRAME_S
_MUSIC = "local_stream://moh"


def conference(leg, data):
    """`<room>[@<profile>][+flags{mute}]`: the leg answers and takes part until it is kicked or hangs up."""
    name, _, flags = data.partition("+")
    name, _, profile = name.partition("@")
    if not leg.answered:
        leg.pre_answer()
        leg.answer()
        yield from leg.armed()
    room = leg.switch.rooms.get(name) or Room(leg.switch, name, profile or "default")
    member = room.join(leg, can_speak="mute" not in flags)
    with suppress(HungUp):
        yield member.kicked
    yield FRAME_S
    room.leave(member)


class Member:
    """A leg in a room."""

    def __init__(self, room, leg, number, can_speak):
        self.room, self.leg, self.number, self.can_speak = room, leg, number, can_speak
        self.joined, self.is_talking, self.kicked = leg.clock.now, False, Mailbox()

    @property
    def has_floor(self) -> bool:
        return self.room.floor is self

    @property
    def heard_hz(self) -> int:
        """What the others hear of him."""
        return self.leg.says_hz if self.can_speak and not self.leg.cause else 0

    def tell(self, action: str, **more: str):
        self.room.tell(action, self, **more)

    def mute(self):
        self.room.catch_up()
        self.can_speak = self.is_talking = False
        self.tell("mute-member")

    def unmute(self):
        self.room.catch_up()
        self.can_speak = True
        self.tell("unmute-member")
        self.listen()

    def kick(self):
        self.tell("kick-member")
        self.kicked.put("kicked")

    def listen(self):
        """Whether he talks is told a moment after he may, or has begun to."""
        self.leg.clock.after(_TALKS_AFTER_S, self._talks)

    def _talks(self):
        if self.leg.member is self and self.heard_hz and not self.is_talking:
            self.is_talking = True
            self.tell("start-talking")

    def headers(self):
        texts = {"Hear": True, "See": True, "Speak": self.can_speak, "Talking": self.is_talking, "Mute-Detect": False,
                 "Hold": False}
        return {
            "Floor": _said(self.has_floor), **channel_headers(self.leg, variables=False), "Video": "false",
            **{name: _said(value) for name, value in texts.items()}, "Member-ID": str(self.number),
            "Member-Type": "member", "Member-Ghost": "false", "Energy-Level": "100",
            "Current-Energy": "5000" if self.is_talking else "0"}


class Room:
    """A conference that goes on as long as it has members; `recordings` are those that run, by path."""

    def __init__(self, switch, name, profile):
        self.switch, self.clock, self.name, self.profile, self.uuid = switch, switch.clock, name, profile, new_uuid()
        self.members, self.recordings, self.floor, self.created = [], {}, None, self.clock.now
        self._plays = False
        switch.rooms[name] = self
        self.tell("conference-create")

    def join(self, leg, can_speak) -> Member:
        leg.call.settle()
        self.catch_up()
        member = leg.member = Member(self, leg, self.switch.next_member(), can_speak)
        leg.is_decoded = True
        self.members.append(member)
        member.tell("add-member")
        if len(self.members) == 1:
            self._plays = True
            self.clock.after(FRAME_S, self._give_floor)
        elif self._plays:
            self.clock.after(FRAME_S, self._end_music)
        member.listen()
        return member

    def leave(self, member):
        self.catch_up()
        if member.has_floor:
            self.floor = None
            others = [each for each in self.members if each is not member]
            self._hand_on(others[0] if others else None)
        self.members.remove(member)
        leg = member.leg
        member.tell("del-member")
        leg.is_decoded, leg.member = False, None
        if not self.members:
            self.switch.rooms.pop(self.name, None)
            self._end_music()
            self.clock.after(FRAME_S, self._destroy)
        elif len(self.members) == 1:
            self._plays = True

    def record(self, path):
        self.recordings[path] = RoomRecording(self, path)

    def catch_up(self):
        """Before anything that can be heard changes: everything that is recorded of it takes in what was."""
        for member in self.members:
            member.leg.catch_up()
        for recording in self.recordings.values():
            recording.catch_up()

    def heard_by(self, leg) -> tuple[int, ...]:
        """The tones that a member hears, Hz; of nobody, that is a recording, all."""
        tones = tuple(member.heard_hz for member in self.members if member.leg is not leg)
        return (*tones, MUSIC_HZ) if self._plays and len(self.members) == 1 else tones

    def tell(self, action: str, member: Member | None = None, **more: str):
        def headers():
            return {
                "Conference-Name": self.name, "Conference-Domain": self.switch.hostname,
                "Conference-Size": str(len(self.members)), "Conference-Ghosts": "0",
                "Conference-Profile-Name": self.profile, "Conference-Unique-ID": self.uuid,
                **(member.headers() if member is not None else {}), "Action": action,
                **{name.replace("_", "-"): value for name, value in more.items()}}
        self.switch.publish("CUSTOM", headers, SUBCLASS, member.leg.uuid if member is not None else None)

    def abandon(self):
        """The switch was killed."""
        for recording in self.recordings.values():
            recording.abandon()

    def _give_floor(self):
        if self.floor is None and self.members:
            self._hand_on(self.members[0])

    def _hand_on(self, member):
        self.floor = member
        self.tell("floor-change", member, Old_ID="none", New_ID=str(member.number) if member else "none")

    def _end_music(self):
        if self._plays:
            self.catch_up()
            self._plays = False
            self.tell("play-file-done", seconds="0", milliseconds="320", samples="2560", File=_MUSIC, Async="true")

    def _destroy(self):
        for path in tuple(self.recordings):
            self.recordings[path].end()
        self.tell("conference-destroy")


def _said(value) -> str:
    return "true" if value else "false"
