"""Puts rooms as we believe them beside those that the switch has: after each connection, and now and then."""

from kazoo_rec.calls.room import ROOM, RULE, Member, Wish, is_live
from kazoo_rec.calls.room_recorder import bare, began_ms
from kazoo_rec.errors import CommandFailed
from kazoo_rec.switch import commands, replies

#: In the reply of a switch without mod_conference (mod_event_socket.c, api_exec).
NO_CONFERENCES = "Command not found"

#: Seconds for the list of all rooms: 1 KB a member.
LIST_WITHIN_S = 30.0


class RoomRecovery:
    """Of one switch.

    Taken up again: rooms, members, who is muted, recordings of both, and that all members were wanted, where one is
    being recorded. Not to be known: what was wanted of a room or of members of which nothing is being recorded, pauses
    that others made meanwhile, and when what ended meanwhile did. A member whose own recording alone had ended, by its
    limit or by order, is recorded anew by an engine that does not know of that.

    Parameters:
      node: the switch's name in the rows.
      attendance: `calls.attendance.Attendance`.
      room_recorder: `calls.room_recorder.RoomRecorder`.
      rows: the store's `recordings`.
      files: `calls.files.Files`.
      epoch_ms: the switch's clock.
      now_at: the engine's clock.
    """

    def __init__(self, node, attendance, room_recorder, rows, files, epoch_ms, now_at):
        self._node, self._attendance, self._room_recorder = node, attendance, room_recorder
        self._rows, self._files, self._epoch_ms, self._now_at = rows, files, epoch_ms, now_at

    def sweep(self, send):
        """`send(command, timeout_s)` asks the switch. What changes while it answers is not taken for what was missed.

        Raises what `send` raises: a room that is not listed is believed to have ended, and its rows are closed.
        """
        known = self._attendance.rooms()
        members = {room: set(room.members) for room in known.values()}
        running = {one for room in known.values() for one in room.recordings if is_live(one) and one.running}
        try:
            listed = replies.rooms(send(commands.rooms(), LIST_WITHIN_S))
        except CommandFailed as refused:
            if NO_CONFERENCES not in refused.reply:
                raise
            listed = []
        open_rows = [row for row in self._rows.open(self._node) if row["rule"] == RULE] if listed else []
        for found in listed:
            self._take_in(found, open_rows, members, running)
        for uuid in known.keys() - {found.uuid for found in listed}:
            self._attendance.lose(known[uuid])
        self._attendance.end_strays()

    def _take_in(self, found, open_rows, members, running):
        attendance, now_at = self._attendance, self._now_at()
        room = attendance.rooms().get(found.uuid) or attendance.enter(
            found.name, found.uuid, self._epoch_ms() - found.age_s * 1000, now_at)
        recorded = {self._files.relative(bare(path)): since_s for path, since_s in found.recorded.items()}
        rows = [row for row in open_rows if row["interaction_id"] == room.uuid]
        for account_id in {row["account_id"] for row in rows} - room.wishes.keys():
            for row in rows:
                if row["account_id"] == account_id:
                    room.wishes.setdefault(account_id, _wish(row)).join(_wish(row))
        for row in rows:
            if row["leg"] == ROOM and row["id"] not in self._room_recorder and row["master"] in recorded:
                self._take_up(room, row, recorded, now_at)
        fresh = {one.master for one in room.recordings if one not in running}
        self._room_recorder.endings.lose(
            self._room_recorder.resumption.unlisted(room, frozenset(recorded) | fresh), now_at)
        before = members.get(room, set())
        for uuid, may_speak in found.members.items():
            if uuid in before:
                attendance.mute(room, uuid, not may_speak)
            elif uuid not in room.members:
                attendance.take(room, Member(uuid, not may_speak))
        for uuid in before - found.members.keys():
            attendance.leave(room, uuid)

    def _take_up(self, room, row, recorded, now_at):
        if row["state"] == "armed":
            row = {**row, "state": "recording", "started_ms": began_ms(recorded[row["master"]])}
            self._rows.update_open(row["id"], state=row["state"], started_ms=row["started_ms"])
        self._room_recorder.resumption.resume(room, row, False, frozenset(recorded), now_at)


def _wish(row):
    """What an open row tells of why there is one."""
    of_room, said = row["leg"] == ROOM, row["settings_from"]
    settings = {name: value for name, value in row["settings"].items() if said.get(name) == RULE}
    return Wish(row["account_id"], settings, row["reason"], room=of_room,
                everyone=not of_room and row["settings"]["conference"]["everyone"],
                uuids=set() if of_room else {row["call_id"]})
