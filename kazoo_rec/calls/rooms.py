"""Conference rooms, recorded by order.

A room's own recording is one mixed track, from the order (or the room's first member) to the room's end: it belongs to
the room, whoever asked for it and has left. A member's own recording is one of its leg, beside whatever policy has of
it: from the order (or its coming) until it leaves, masked while it is muted. For what this is of the switch's, see
`room_recorder.py`.

Rows: `call_id` of the room's is the room's uuid (Conference-Unique-ID), that of a member's is its leg's; the room's
uuid is the `interaction_id` of all of them. `leg` is "room", or the member's "A" or "B".
"""

from collections.abc import Callable, Mapping

import gevent
import structlog

from kazoo_rec.calls.attendance import Attendance
from kazoo_rec.calls.dispatch import Dispatch
from kazoo_rec.calls.orders import COMMAND_WITHIN_S
from kazoo_rec.calls.recording import told
from kazoo_rec.calls.room import Room, Wish, goes_on, is_live
from kazoo_rec.calls.room_recovery import RoomRecovery
from kazoo_rec.errors import CommandTimeout, NotConnected, SwitchError, WrongState
from kazoo_rec.switch import commands

#: How long a wish waits for its room, or for the account to come into it; a menu's prompt fits in between.
COMES_WITHIN_MS = 60_000

log = structlog.get_logger()


class Rooms:
    """The rooms of one switch. An account has a room where one of its legs is, or where it has something recorded.
    `knows_all`: a room that is not known is not there.

    Parameters:
      node: the switch's name in the rows.
      leg: `leg(uuid)` as the tracker knows it, or None.
      recorder, room_recorder: of legs, `calls.recorder.Recorder`; of rooms, `calls.room_recorder.RoomRecorder`.
      send: `send(command, timeout_s) -> reply`, raising CommandFailed for -ERR.
      rows: the store's `recordings`.
      files: `calls.files.Files`.
      epoch_ms: the switch's clock.
      now_at: the engine's clock.
      spawn: runs a function in a greenlet.
    """

    def __init__(self, node, leg, recorder, room_recorder, send, rows, files, epoch_ms: Callable[[], int],
                 now_at: Callable[[], int], spawn=gevent.spawn):
        self._room_recorder, self._now_at, self.knows_all = room_recorder, now_at, False
        self._dispatch = Dispatch(recorder, room_recorder, send, files, epoch_ms, now_at)
        self._attendance = Attendance(leg, recorder, room_recorder, self._dispatch, now_at, spawn)
        self._recovery = RoomRecovery(node, self._attendance, room_recorder, rows, files, epoch_ms, now_at)

    def __contains__(self, recording_id):
        return recording_id in self._room_recorder

    def feed(self, event, now_at):
        """Takes in one event of `attendance.SUBCLASS`; `now_at` is the engine's clock in ms."""
        self._attendance.feed(event, now_at)

    def tick(self, now_at):
        self._attendance.tick(now_at)

    def sweep(self, send):
        """See `room_recovery.RoomRecovery.sweep`."""
        self._recovery.sweep(send)
        self.knows_all = True

    def lost(self):
        """The connection has ended: what is not known is not said not to be."""
        self.knows_all = False

    def record(self, account_id: str, name: str, what: str, settings: Mapping, who: str,
               uuid: str | None = None) -> list[dict]:
        """Records the "room" `name`, its "members", or "both"; what of that is recorded already goes on.

        A room that is not there yet, or has nobody of the account, is recorded from when that comes, within a minute;
        the answer is then []. Members are the account's own legs that are there and that come; with `uuid` it is that
        leg alone, whose callflow asks or of which the account is known to be the owner. `settings` as in
        policy.settings.DEFAULTS; a member's `track` is "inbound" where they do not say.

        Raises CommandRefused where no room can be called so, WrongState where the switch refuses, or something is to be
        announced to a room (which nobody hears whole: who comes later would not), CommandTimeout where it is not known
        what came of it.
        """
        commands.room_stop(name, "/a.wav")
        if what != "members" and settings.get("announce"):
            raise WrongState("nothing is announced to a room: announce it to who comes in, before")
        wish = Wish(account_id, dict(settings), f"{who} had it recorded.", room=what != "members",
                    everyone=what != "room" and uuid is None, uuids={uuid} - {None} if what != "room" else set(),
                    callers={uuid} - {None})
        room = self._attendance.called(name)
        if room is None or not (self._attendance.has(room, account_id) or uuid in room.members):
            wish.until_at = self._now_at() + COMES_WITHIN_MS
            self._attendance.wishes.setdefault((account_id, name), wish).join(wish)
            return []
        before = self._all(room, account_id, what, uuid)
        self._attendance.grant(room, wish)
        made = [one for one in self._all(room, account_id, what, uuid) if goes_on(one) or one not in before]
        for one in made:
            if not one.silenced and not one.begun.wait(COMMAND_WITHIN_S):
                raise CommandTimeout("the recording has not begun yet")
            if one.state == "failed":
                raise WrongState("the recording did not begin", one.reason or "")
        return [_told(one) for one in made]

    def stop(self, account_id: str, name: str, who: str, what: str = "both",
             uuid: str | None = None) -> list[dict] | None:
        """Ends what the account records, and what it wants of who comes; None where it has no such room.

        Raises WrongState, CommandTimeout or NotConnected where it is not known what the switch did.
        """
        wish = self._attendance.wishes.get((account_id, name))
        if wish is not None:
            wish.part(what, uuid)
        room = self._find(account_id, name)
        if room is None:
            return None if wish is None else []
        if account_id in room.wishes:
            room.wishes[account_id].part(what, uuid)
        ours = self._live(room, account_id, what, uuid)
        for one in self._all(room, account_id, what, uuid):
            self._dispatch.recorder_of(one).succession.forget([one])
        with room.ordered:
            for one in ours:
                if one.running:
                    self._dispatch.stop(one)
                else:
                    self._dispatch.recorder_of(one).call_off(one, f"{who} stopped it before it began", self._now_at())
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
        if action == "unmask" and any(room.members[one.leg.uuid].muted for one in ours):
            raise WrongState("a member is muted")
        log.info("a room's recordings are changed", room=name, account=account_id, action=action, who=who)
        with room.ordered:
            for one in ours:
                try:
                    self._dispatch.change(one, action)
                except SwitchError:  # what its row says is silent is said again, be it that the switch heard or not
                    self._dispatch.recorder_of(one).unheard(one)
                    raise
        return [_told(one) for one in ours]

    def _find(self, account_id, name):
        room = self._attendance.called(name)
        if room is None and not self.knows_all:
            raise NotConnected("rooms of the switch are not known yet")
        return room if room is not None and self._attendance.has(room, account_id) else None

    def _live(self, room, account_id, what, uuid):
        return [one for one in self._all(room, account_id, what, uuid) if is_live(one)]

    def _all(self, room, account_id, what, uuid):
        """Recordings of the account: of the room, of its members or of one, or both."""
        found = [] if what == "members" else list(room.recordings)
        if what != "room":
            members = [member for member in room.members if uuid in (None, member)]
            found += [one for member in members for one in self._attendance.of_member(room, member)]
        return [one for one in found if one.account_id == account_id]


def _told(one) -> dict:
    return {**told(one), "what": "room" if isinstance(one.leg, Room) else "member", "call_id": one.leg.uuid}
