"""Conference rooms: who is in them, and what of them is recorded.

A room's own recording is one mixed track, from the order (or the room's first member) to the room's end: it belongs to
the room, whoever asked for it and has left. A member's own recording is one of its leg, beside whatever policy has of
it: from the order (or its coming) until it leaves, masked while it is muted. For what this is of the switch's, see
`room_recorder.py`.

Rows: `call_id` of the room's is the room's uuid (Conference-Unique-ID), that of a member's is its leg's; the room's
uuid is the `interaction_id` of all of them. `leg` is "room", or the member's "A" or "B".
"""

import re
from collections.abc import Callable, Mapping

import gevent
import structlog

from kazoo_rec.calls.orders import COMMAND_WITHIN_S, ROW_WITHIN_S
from kazoo_rec.calls.recorder import STOP_WITHIN_MS
from kazoo_rec.calls.room import ROOM, RULE, Member, Room, Wish
from kazoo_rec.calls.room_recorder import began_ms
from kazoo_rec.errors import CommandFailed, CommandTimeout, NotConnected, SwitchError, WrongState
from kazoo_rec.switch import commands, replies
from kazoo_rec.switch.events import Event

#: The path of a room's recording, relative to the recordings directory.
_MASTER = re.compile(r"[A-Za-z0-9_-]{1,64}/\d{8}/(\d{6}-[0-9a-f]{32})\.wav")

#: The events that are fed (mod_conference.h, CONF_EVENT_MAINT).
SUBCLASS = "conference::maintenance"

WHAT = ("room", "members", "both")

#: What an order does to a recording: the kind of its span, the command for a member's, and that for a room's.
_SILENCES = {"mask": ("mask", commands.mask, None), "pause": ("pause", commands.pause, commands.room_pause)}
_ENDS_SILENCE = {"unmask": ("mask", commands.unmask, None), "resume": ("pause", commands.resume, commands.room_resume)}

#: How long a wish waits for its room, or for the account to come into it; a menu's prompt fits in between.
COMES_WITHIN_MS = 60_000

#: Seconds within which a recording begins or ends after the switch has said that it will.
EVENT_WITHIN_S = 2.0

#: Milliseconds before the switch is told again of a mute that it did not hear of.
FOLLOW_AGAIN_MS = 1000

#: Milliseconds between a room's end and that of a recording whose own end was not heard: neighbours arrive swapped.
NEWS_WITHIN_MS = 1000

#: Seconds for the list of all rooms: 1 KB a member.
LIST_WITHIN_S = 30.0

#: `by` of a span that is not of an order.
MUTED = "mute"

log = structlog.get_logger()


class Rooms:
    """The rooms of one switch.

    An account has a room where one of its legs is, or where it has something recorded.

    Parameters:
      node: the switch's name in the rows.
      leg: `leg(uuid)` as the tracker knows it, or None.
      recorder, room_recorder: of legs, `calls.recorder.Recorder`; of rooms, `calls.room_recorder.RoomRecorder`.
      send: `send(command, timeout_s) -> reply`, raising CommandFailed for -ERR.
      rows: the store's `recordings`.
      files: `calls.files.Files`.
      epoch_ms: the wall clock.
      now_at: the engine's clock.
      spawn: runs a function in a greenlet.
    """

    def __init__(self, node, leg, recorder, room_recorder, send, rows, files, epoch_ms: Callable[[], int],
                 now_at: Callable[[], int], spawn=gevent.spawn):
        self._node, self._leg, self._rows, self._files = node, leg, rows, files
        self._recorder, self._room_recorder, self._send = recorder, room_recorder, send
        self._epoch_ms, self._now_at, self._spawn = epoch_ms, now_at, spawn
        self._rooms: dict[str, Room] = {}
        self._wishes: dict[tuple[str, str], Wish] = {}
        self._ending: dict[Room, int] = {}
        self._stopping: dict = {}
        self._knows_all = False
        self._handlers = {
            "add-member": self._came, "del-member": self._went, "mute-member": self._muted,
            "unmute-member": self._unmuted, "start-recording": self._started, "stop-recording": self._stopped,
            "pause-recording": self._paused, "resume-recording": self._resumed}

    def __contains__(self, recording_id):
        return recording_id in self._room_recorder

    # -- orders

    def record(self, account_id: str, name: str, what: str, settings: Mapping, who: str,
               uuid: str | None = None) -> list[dict]:
        """Records the "room" `name`, its "members", or "both"; what of that is recorded already goes on.

        A room that is not there yet, or has nobody of the account, is recorded from when that comes, within a minute;
        the answer is then []. Members are the account's own legs that are there and that come; with `uuid` it is that
        leg alone, whose callflow asks or of which the account is known to be the owner. `settings` as in
        policy.settings.DEFAULTS; a member's `track` is "inbound" where they do not say.

        Raises CommandRefused where no room can be called so, WrongState where the switch refuses, CommandTimeout where
        it is not known what came of it.
        """
        commands.room_stop(name, "/a.wav")
        wish = Wish(account_id, dict(settings), f"{who} had it recorded.", room=what != "members",
                    everyone=what != "room" and uuid is None, uuids={uuid} - {None} if what != "room" else set())
        room = self._called(name)
        if room is None or not (self._has(room, account_id) or uuid in room.members):
            wish.until_at = self._now_at() + COMES_WITHIN_MS
            held = self._wishes.setdefault((account_id, name), wish)
            held.join(wish)
            return []
        before = self._all(room, account_id, what, uuid)
        self._grant(room, wish)
        made = [one for one in self._all(room, account_id, what, uuid) if _is_live(one) or one not in before]
        for one in made:
            if not one.begun.wait(COMMAND_WITHIN_S) and not one.silenced:
                raise CommandTimeout("the recording has not begun yet")
            if one.state == "failed":
                raise WrongState("the recording did not begin", one.reason or "")
        return [_told(one) for one in made]

    def stop(self, account_id: str, name: str, who: str, what: str = "both",
             uuid: str | None = None) -> list[dict] | None:
        """Ends what the account records, and what it wants of who comes; None where it has no such room.

        Raises WrongState, CommandTimeout or NotConnected where it is not known what the switch did.
        """
        wished = self._unwish(self._wishes.get((account_id, name)), what, uuid)
        room = self._find(account_id, name)
        if room is None:
            return [] if wished else None
        self._unwish(room.wishes.get(account_id), what, uuid)
        ours = self._live(room, account_id, what, uuid)
        with room.ordered:
            for one in ours:
                if not one.running:
                    self._recorder_of(one).call_off(one, f"{who} stopped it before it began", self._now_at())
                    continue
                self._tell(one, commands.stop, commands.room_stop)
                if not one.ended.wait(EVENT_WITHIN_S):
                    raise CommandTimeout("the recording has not ended yet")
        return [_told(one) for one in ours]

    def change(self, account_id: str, name: str, action: str, who: str, what: str = "both",
               uuid: str | None = None) -> list[dict] | None:
        """"pause" or "resume"; "mask" or "unmask" of members alone, as the switch cannot mask a room. Repeating it
        changes nothing. None where the account has no such room; raises as `stop`."""
        room = self._find(account_id, name)
        if room is None:
            return None
        ours = self._live(room, account_id, what, uuid)
        if not ours:
            raise WrongState("nothing of this room is being recorded")
        if action in ("mask", "unmask") and any(one.leg is room for one in ours):
            raise WrongState("a room cannot be masked: it can be paused")
        log.info("a room's recordings are changed", room=name, account=account_id, action=action, who=who)
        with room.ordered:
            for one in ours:
                if action in _SILENCES:
                    self._silence(one, *_SILENCES[action])
                elif action == "unmask" and room.members[one.leg.uuid].muted:
                    raise WrongState("the member is muted")
                else:
                    self._end_silence(one, *_ENDS_SILENCE[action])
        return [_told(one) for one in ours]

    def _silence(self, one, kind, command, of_room, by=None):
        recorder = self._recorder_of(one)
        changed = recorder.silence(one, kind, by)
        with gevent.Timeout(ROW_WITHIN_S, False):
            one.row.wait()
        try:
            self._tell(one, command, of_room)
        except WrongState:
            if changed:
                recorder.unsilence(one, kind, 0)  # a span of no length
            raise

    def _end_silence(self, one, kind, command, of_room):
        until_ms = self._epoch_ms()
        self._tell(one, command, of_room)
        self._recorder_of(one).unsilence(one, kind, until_ms)

    def _tell(self, one, command, of_room):
        command, key = (of_room, one.leg.name) if isinstance(one.leg, Room) else (command, one.leg.uuid)
        for path in list(one.running):
            try:
                replies.check_lines(self._send(command(key, self._files.on_switch(path)), COMMAND_WITHIN_S))
            except CommandFailed as refused:
                if path in one.running and not one.ended.is_set():
                    raise WrongState("the switch refused", refused.reply.strip()) from refused

    # -- whose, and what of it

    def _called(self, name):
        return next((room for room in self._rooms.values() if room.name == name and room.alive), None)

    def _find(self, account_id, name):
        room = self._called(name)
        if room is None and not self._knows_all:
            raise NotConnected("rooms of the switch are not known yet")
        return room if room is not None and self._has(room, account_id) else None

    def _has(self, room, account_id):
        return account_id in room.wishes or any(one.account_id == account_id for one in room.recordings) or any(
            leg.identity.account_id == account_id for leg in map(self._leg, room.members) if leg)

    def _live(self, room, account_id, what, uuid):
        return [one for one in self._all(room, account_id, what, uuid) if _is_live(one)]

    def _all(self, room, account_id, what, uuid):
        """Recordings of the account: of the room, of its members or of one, or both."""
        found = [] if what == "members" else room.recordings
        if what != "room":
            members = [member for member in room.members if uuid in (None, member)]
            found = found + [one for member in members for one in self._of_member(member)]
        return [one for one in found if one.account_id == account_id]

    def _of_member(self, uuid):
        leg = self._leg(uuid)
        return [one for one in leg.recordings if one.plan.rule == RULE] if leg else []

    def _recorder_of(self, one):
        return self._room_recorder if isinstance(one.leg, Room) else self._recorder

    # -- what is wanted

    def _grant(self, room, wish):
        held = room.wishes.setdefault(wish.account_id, wish)
        held.join(wish)
        if wish.room and not self._live(room, wish.account_id, "room", None):
            self._room_recorder.want(room, [(room.plan(held, ROOM), wish.account_id, "onnet", True)], "onnet",
                                     self._now_at())
        for member in list(room.members.values()):
            self._want(room, member)

    def _want(self, room, member):
        """Records a member for each account that wants it and has not had it recorded since it came."""
        leg = self._leg(member.uuid)
        member.waits = leg is None
        if leg is None or leg.plumbing or not leg.alive:
            return
        for wish in room.wishes.values():
            own = leg.identity.account_id == wish.account_id or member.uuid in wish.uuids
            if own and wish.wants(member.uuid) and not any(
                    one.account_id == wish.account_id for one in self._of_member(member.uuid) if _is_live(one)):
                plan = room.plan(wish, "B" if leg.called else "A")
                self._recorder.want(leg, [(plan, wish.account_id, "onnet", True)], leg.identity.network, self._now_at())
        self._spawn(self._follow, member)

    @staticmethod
    def _unwish(wish, what, uuid):
        if wish is None:
            return False
        wish.room = wish.room and what == "members"
        if what != "room" and uuid is None:
            wish.everyone, wish.uuids = False, set()
        elif what != "room":
            wish.without.add(uuid)
        return True

    # -- events

    def feed(self, event, now_at):
        """Takes in one event of SUBCLASS; `now_at` is the engine's clock in ms."""
        uuid, name, action = (event.get(header) for header in ("Conference-Unique-ID", "Conference-Name", "Action"))
        if not uuid or not name:
            return
        room = self._rooms.get(uuid)
        if action == "conference-destroy":
            if room is not None and room.alive:
                room.alive = False
                self._ending[room] = now_at + NEWS_WITHIN_MS
            return
        if room is None and action in ("conference-create", "add-member"):
            room = self._enter(name, uuid, event.time_us // 1000, now_at)
        if action in self._handlers and (room is not None or action.endswith("-recording")):
            self._handlers[action](room, event, now_at)

    def tick(self, now_at):
        """Finds what is late."""
        self._room_recorder.tick(now_at)
        for room in [room for room, due_at in self._ending.items() if due_at <= now_at]:
            self._room_recorder.left(room, "")
            self._forget(room)
        for room in self._rooms.values():
            for member in room.members.values():
                if member.waits:
                    self._want(room, member)
                if member.unfollowed_at is not None and member.unfollowed_at <= now_at:
                    member.unfollowed_at = None
                    self._spawn(self._follow, member)
        for one in [one for one, due_at in self._stopping.items() if due_at <= now_at]:
            self._stop_soon(one, now_at)
        for key in [key for key, wish in self._wishes.items() if wish.until_at <= now_at]:
            del self._wishes[key]

    def _enter(self, name, uuid, since_ms, now_at):
        room = self._rooms[uuid] = Room.of(name, uuid, since_ms, now_at)
        return room

    def _forget(self, room):
        self._ending.pop(room, None)
        self._rooms.pop(room.uuid, None)
        room.alive, room.recordings = False, []
        room.call.remove(room)

    def _came(self, room, event, _now_at):
        self._take_member(room, Member(event.uuid, event.get("Speak") == "false"))

    def _take_member(self, room, member):
        room.members[member.uuid] = member
        leg = self._leg(member.uuid)
        for (account_id, name), wish in list(self._wishes.items()):
            if name == room.name and (member.uuid in wish.uuids or (leg and leg.identity.account_id == account_id)):
                self._grant(room, self._wishes.pop((account_id, name)))
        self._want(room, member)

    def _went(self, room, event, now_at):
        if room.members.pop(event.uuid, None) is None or event.get("Answer-State") == "hangup":
            return  # with its leg, its recording ends
        for one in filter(_is_live, self._of_member(event.uuid)):
            if one.running:
                self._stop_soon(one, now_at)
            else:
                self._recorder.call_off(one, "it left the conference before it was recorded", now_at)

    def _stop_soon(self, one, now_at):
        """Until it has ended: its leg may live on, in a callflow."""
        self._stopping.pop(one, None)
        if not one.ended.is_set() and one.leg.alive:
            self._stopping[one] = now_at + STOP_WITHIN_MS
            self._spawn(self._try_to_stop, one)

    def _try_to_stop(self, one):
        try:
            self._tell(one, commands.stop, commands.room_stop)
        except (SwitchError, WrongState) as refused:
            log.warning("a recording of who left a conference was not stopped", call_id=one.leg.uuid,
                        recording_id=one.id, reason=str(refused))

    def _muted(self, room, event, _now_at):
        self._mute(room, event.uuid, True)

    def _unmuted(self, room, event, _now_at):
        self._mute(room, event.uuid, False)

    def _mute(self, room, uuid, muted):
        member = room.members.get(uuid)
        if member is not None and member.muted != muted:
            member.muted = muted
            self._spawn(self._follow, member)

    def _follow(self, member):
        """Masks what a muted member says, and unmasks what was masked for that. The switch records a muted member all
        the same: it listens before the conference does."""
        with member.ordered:
            for one in filter(_is_live, self._of_member(member.uuid)):
                by_mute = one.silenced.get("mask", {}).get("by") == MUTED
                try:
                    if member.muted:
                        self._silence(one, "mask", commands.mask, None, MUTED)
                    elif by_mute:
                        self._end_silence(one, "mask", commands.unmask, None)
                except (SwitchError, WrongState) as refused:
                    member.unfollowed_at = self._now_at() + FOLLOW_AGAIN_MS
                    log.warning("the switch did not follow a mute", call_id=member.uuid, recording_id=one.id,
                                reason=str(refused))

    def _started(self, room, event, now_at):
        recording_id, path = self._ours(event)
        if path is None:
            return
        if event.get("Error"):
            self._failed(room, recording_id)
            return
        self._room_recorder.started(_as_record(event, recording_id), now_at)

    def _stopped(self, room, event, _now_at):
        recording_id, path = self._ours(event)
        if path is None:
            return
        one = self._known(room, recording_id)
        if one is not None and (one.ended.is_set() or (not one.running and event.get("Samples-Out") == "0")):
            self._failed(room, recording_id)  # follows its `Error`, or a profile did not let us hear of that
            return
        self._room_recorder.stopped(_as_record(event, recording_id))

    def _paused(self, room, event, _now_at):
        one = self._known(room, self._ours(event)[0])
        if one is not None:
            self._room_recorder.silence(one, "pause")  # somebody else's order: ours has said so before

    def _resumed(self, room, event, _now_at):
        one, at_ms = self._known(room, self._ours(event)[0]), event.time_us // 1000
        if one is not None and "pause" in one.silenced and one.silenced["pause"]["from_ms"] <= at_ms:
            self._room_recorder.unsilence(one, "pause", at_ms)

    def _failed(self, room, recording_id):
        one = self._known(room, recording_id)
        if one is not None:
            self._room_recorder.failed(one, "the switch could not open the file")

    def _ours(self, event):
        """(recording's id, relative path) of an event about one; ("", None) where it is not ours."""
        path = self._files.relative(_bare(event.get("Path")))
        found = path and _MASTER.fullmatch(path)
        return (found[1], path) if found else ("", None)

    @staticmethod
    def _known(room, recording_id):
        return next((one for one in room.recordings if one.id == recording_id), None) if room else None

    # -- rooms in progress, of which events were not heard

    def lost(self):
        """The connection has ended: what is not known is not said not to be."""
        self._knows_all = False

    def sweep(self, send):
        """Puts what is believed beside what the switch has. `send(command, timeout_s)` asks it.

        Taken up again: rooms, members, who is muted, recordings of both, and what was wanted of who comes, as the open
        rows tell. Not to be known: what was wanted of a room in which nothing is being recorded, pauses that others
        made meanwhile, and when what ended meanwhile did.
        """
        known = set(self._rooms)
        running = {one for room in self._rooms.values() for one in self._room_recorder.live(room) if one.running}
        try:
            listed = {room.uuid: room for room in replies.rooms(send(commands.rooms(), LIST_WITHIN_S))}
        except CommandFailed:  # a switch without mod_conference
            listed = {}
        open_rows = [row for row in self._rows.open(self._node) if row["rule"] == RULE] if listed else []
        for found in listed.values():
            self._take_in(found, open_rows, running)
        for room in [room for uuid, room in self._rooms.items() if uuid in known and uuid not in listed]:
            if room not in self._ending:
                self._room_recorder.forget(room)  # its rows are closed by recovery
                self._forget(room)
        self._knows_all = True

    def _take_in(self, found, open_rows, running):
        now_at = self._now_at()
        room = self._rooms.get(found.uuid)
        before = set(room.members) if room else set()
        room = room or self._enter(found.name, found.uuid, self._epoch_ms() - found.age_s * 1000, now_at)
        recorded = {self._files.relative(_bare(path)): since_s for path, since_s in found.recorded.items()}
        for row in open_rows:
            if row["interaction_id"] == room.uuid:
                self._take_up(room, row, recorded, now_at)
        fresh = {one.master for one in self._room_recorder.live(room) if one not in running}
        self._room_recorder.refresh(room, frozenset(recorded) | fresh)
        for uuid, may_speak in found.members.items():
            if uuid in before:
                self._mute(room, uuid, not may_speak)
            elif uuid not in room.members:
                self._take_member(room, Member(uuid, not may_speak))
        for uuid in before - set(found.members):
            room.members.pop(uuid, None)

    def _take_up(self, room, row, recorded, now_at):
        said = row["settings"].get("conference", {})
        of_room = row["leg"] == ROOM
        wish = Wish(row["account_id"], {}, row["reason"], room=of_room, everyone=bool(said.get("everyone")),
                    uuids=set() if of_room else {row["call_id"]})
        held = room.wishes.setdefault(wish.account_id, wish)
        held.settings = {name: value for name, value in row["settings"].items() if name != "conference"}
        held.room, held.everyone = held.room or wish.room, held.everyone or wish.everyone
        held.uuids |= wish.uuids
        since_s = recorded.get(row["master"])
        if not of_room or row["id"] in self._room_recorder or since_s is None:
            return
        if row["state"] == "armed":
            row = {**row, "state": "recording", "started_ms": began_ms(since_s)}
            self._rows.update_open(row["id"], state=row["state"], started_ms=row["started_ms"])
        self._room_recorder.resume(room, row, False, frozenset(recorded), now_at)


def _is_live(one):
    return one.state in ("armed", "recording") and not one.dropped


def _bare(path):
    """Without what the switch puts before it in a conference with video."""
    return path.rpartition("}")[2].strip()


def _as_record(event, recording_id):
    """A conference's event in the words of RECORD_START and RECORD_STOP."""
    return Event({
        "Event-Date-Timestamp": event.get("Event-Date-Timestamp"), "Record-File-Path": _bare(event.get("Path")),
        "Recording-Variable-kazoo_rec_id": recording_id,
        "Record-Completion-Cause": "empty-file" if event.get("Samples-Out") == "0" else ""})


def _told(one) -> dict:
    return {"id": one.id, "what": "room" if isinstance(one.leg, Room) else "member", "call_id": one.leg.uuid,
            "state": "discarded" if one.dropped else one.row_state, "state_reason": one.reason, "rule": one.plan.rule,
            "reason": one.plan.reason, "masked": "mask" in one.silenced, "started_ms": one.started_ms,
            "spans": one.spans_now()}
