"""Who is in which conference room, and who of them is recorded, as the switch tells of it and accounts wish."""

from collections.abc import Callable

import gevent
import structlog

from kazoo_rec.calls.recording import MUTED
from kazoo_rec.calls.room import ROOM, RULE, Member, Room, Wish, goes_on, is_live, room_id
from kazoo_rec.errors import SwitchError, WrongState

#: The events that are fed (mod_conference.h, CONF_EVENT_MAINT).
SUBCLASS = "conference::maintenance"

#: Milliseconds before the switch is told again of a mute that it did not hear of.
FOLLOW_AGAIN_MS = 1000

#: Milliseconds between a room's end and that of a recording whose own end was not heard: neighbours arrive swapped.
NEWS_WITHIN_MS = 1000

log = structlog.get_logger()


class Attendance:
    """The rooms of one switch.

    Parameters:
      leg: `leg(uuid)` as the tracker knows it, or None.
      recorder, room_recorder: of legs, `calls.recorder.Recorder`; of rooms, `calls.room_recorder.RoomRecorder`.
      dispatch: `calls.dispatch.Dispatch`.
      now_at: the engine's clock.
      spawn: runs a function in a greenlet.
    """

    def __init__(self, leg, recorder, room_recorder, dispatch, now_at: Callable[[], int], spawn=gevent.spawn):
        self._leg, self._recorder, self._room_recorder = leg, recorder, room_recorder
        self._dispatch, self._now_at, self._spawn = dispatch, now_at, spawn
        #: Of rooms that are not there yet, by account and name.
        self.wishes: dict[tuple[str, str], Wish] = {}
        self._rooms: dict[str, Room] = {}
        self._ending: dict[Room, int] = {}
        self._handlers = {"add-member": self._came, "del-member": self._went, "mute-member": self._muted,
                          "unmute-member": self._muted}

    def called(self, name: str) -> Room | None:
        """The room that has this name now."""
        return next((room for room in self._rooms.values() if room.name == name and room.alive), None)

    def rooms(self) -> dict[str, Room]:
        """By uuid, those that have just ended too."""
        return dict(self._rooms)

    def has(self, room: Room, account_id: str) -> bool:
        """Whether an account has something to say of a room: a leg of its own is there, or something recorded."""
        return account_id in room.wishes or any(one.account_id == account_id for one in room.recordings) or any(
            leg.identity.account_id == account_id for leg in map(self._leg, room.members) if leg)

    def of_member(self, room: Room, uuid: str) -> list:
        """The recordings of a leg that were made of a member of `room`; those that have ended too."""
        leg = self._leg(uuid)
        return [one for one in leg.recordings if one.plan.rule == RULE and room_id(one) == room.uuid] if leg else []

    # -- what is wanted

    def grant(self, room: Room, wish: Wish):
        """Records what is wished of a room, and of who comes; what is recorded already goes on."""
        held = room.wishes.setdefault(wish.account_id, wish)
        held.join(wish)
        recorded = any(one.account_id == wish.account_id for one in room.recordings if goes_on(one))
        if wish.room and not recorded:
            self._room_recorder.want(room, [(room.plan(held, ROOM), wish.account_id, "onnet", True)], "onnet",
                                     self._now_at())
        for member in list(room.members.values()):
            self._want(room, member)

    def _want(self, room, member):
        """Records a member for each account that wants it; what was masked for a mute follows that."""
        leg = self._leg(member.uuid)
        member.waits = leg is None
        if leg is None or leg.plumbing or not leg.alive:
            return
        for wish in room.wishes.values():
            own = leg.identity.account_id == wish.account_id or member.uuid in wish.uuids
            if own and wish.wants(member.uuid) and not any(
                    one.account_id == wish.account_id for one in self.of_member(room, member.uuid) if goes_on(one)):
                plan = room.plan(wish, "B" if leg.called else "A")
                self._recorder.want(leg, [(plan, wish.account_id, "onnet", True)], leg.identity.network, self._now_at())
        if member.muted:  # before the start is on its way: it then waits for the end of that
            for one in filter(is_live, self.of_member(room, member.uuid)):
                self._recorder.silence(one, "mask", MUTED)
        self._spawn(self._follow, room, member)

    # -- events

    def feed(self, event, now_at):
        """Takes in one event of SUBCLASS; `now_at` is the engine's clock in ms."""
        uuid, name, action = (event.get(header) for header in ("Conference-Unique-ID", "Conference-Name", "Action"))
        if not uuid or not name:
            return
        room = self._rooms.get(uuid)
        if action.endswith("-recording"):
            self._room_recorder.heard(room, event, now_at)
        elif action == "conference-destroy":
            if room is not None and room.alive:
                room.alive = False
                self._ending[room] = now_at + NEWS_WITHIN_MS
        else:
            if room is None and action in ("conference-create", "add-member"):
                room = self.enter(name, uuid, event.time_us // 1000, now_at)
            if room is not None and action in self._handlers:
                self._handlers[action](room, event, now_at)

    def tick(self, now_at):
        """Finds what is late."""
        self._room_recorder.tick(now_at)
        for room in [room for room, due_at in self._ending.items() if due_at <= now_at]:
            self._room_recorder.endings.left(room, "", now_at)
            self._forget(room)
        for room in self._rooms.values():
            for member in room.members.values():
                if member.waits:
                    self._want(room, member)
                if member.unfollowed_at is not None and member.unfollowed_at <= now_at:
                    member.unfollowed_at = None
                    self._spawn(self._follow, room, member)
        for key in [key for key, wish in self.wishes.items() if wish.until_at <= now_at]:
            del self.wishes[key]

    def enter(self, name: str, uuid: str, since_ms: int, now_at: int) -> Room:
        """A room that was not known; `since_ms` by the switch's clock."""
        room = self._rooms[uuid] = Room.of(name, uuid, since_ms, now_at)
        return room

    def lose(self, room: Room):
        """The switch does not have it, and its end was not heard: its rows stay as they are, for recovery, but those of
        members, which may go on."""
        if room not in self._ending:
            self._room_recorder.endings.forget(room)
            self._forget(room)

    def _forget(self, room):
        for uuid in list(room.members):
            self.leave(room, uuid)
        self._ending.pop(room, None)
        self._rooms.pop(room.uuid, None)
        room.alive, room.recordings = False, []
        room.call.remove(room)

    def take(self, room: Room, member: Member):
        """A leg that is in a room, and was not."""
        room.members[member.uuid] = member
        leg = self._leg(member.uuid)
        for (account_id, name), wish in list(self.wishes.items()):
            if name == room.name and (member.uuid in wish.callers or (leg and leg.identity.account_id == account_id)):
                self.grant(room, self.wishes.pop((account_id, name)))
        self._want(room, member)

    def leave(self, room: Room, uuid: str):
        """Who was a member goes on elsewhere, if at all: it is not recorded there for this room."""
        room.members.pop(uuid, None)
        self._end(self.of_member(room, uuid))

    def end_strays(self):
        """As `leave`, for members that an engine before this one knew."""
        for one in self._recorder.of_rule(RULE):
            room = self._rooms.get(room_id(one))
            if room is None or one.leg.uuid not in room.members:
                self._end([one])

    def mute(self, room: Room, uuid: str, muted: bool):
        """A member may not speak, or may again."""
        member = room.members.get(uuid)
        if member is not None and member.muted != muted:
            member.muted = muted
            self._spawn(self._follow, room, member)

    def _came(self, room, event, _now_at):
        self.take(room, Member(event.uuid, event.get("Speak") == "false"))

    def _went(self, room, event, _now_at):
        if event.uuid not in room.members:
            return
        if event.get("Answer-State") == "hangup":  # with its leg, its recording ends
            del room.members[event.uuid]
        else:
            self.leave(room, event.uuid)

    def _muted(self, room, event, _now_at):
        self.mute(room, event.uuid, event.get("Action") == "mute-member")

    def _end(self, recordings):
        self._recorder.succession.forget(recordings)
        for one in recordings:
            if not goes_on(one) or not one.leg.alive:
                continue
            if one.running:
                self._recorder.ends(one, self._now_at())
                self._spawn(self._try_to_stop, one)
            else:
                self._recorder.call_off(one, "it left the conference before it was recorded", self._now_at())

    def _try_to_stop(self, one):
        try:
            self._dispatch.stop(one)
        except (SwitchError, WrongState) as refused:
            log.warning("a recording of who left a conference was not stopped", call_id=one.leg.uuid,
                        recording_id=one.id, reason=str(refused))

    def _follow(self, room, member):
        """Masks what a muted member says, and unmasks what was masked for that. The switch records a muted member all
        the same: it listens before the conference does."""
        with member.ordered:
            for one in filter(is_live, self.of_member(room, member.uuid)):
                try:
                    if member.muted:
                        self._dispatch.change(one, "mask", MUTED)
                    elif one.silenced.get("mask", {}).get("by") == MUTED:
                        self._dispatch.change(one, "unmask")
                except (SwitchError, WrongState) as refused:
                    member.unfollowed_at = self._now_at() + FOLLOW_AGAIN_MS
                    log.warning("the switch did not follow a mute", call_id=member.uuid, recording_id=one.id,
                                reason=str(refused))
