"""Recordings of rooms: a recorder whose legs are conferences.

What differs from a leg's (FreeSWITCH 1.10.12, conference_record.c): `+OK` comes before the file is opened; a second
start of one path is refused, so that repeating it is safe; there are no variables, so the path alone tells which
recording it is, and no limit, which the engine keeps; the file is one mixed track at the room's rate, and up to 4 s of
it are in memory (SWITCH_DEFAULT_FILE_BUFFER_LEN) and lost if the switch is killed; a profile may keep its events of
recordings to itself (`conference-events`), all but that of the end.
"""

import structlog

from kazoo_rec.calls.orders import COMMAND_WITHIN_S, Orders
from kazoo_rec.calls.recorder import Recorder
from kazoo_rec.calls.recording import id_of
from kazoo_rec.errors import CommandFailed, SwitchError
from kazoo_rec.switch import commands, replies
from kazoo_rec.switch.events import Event

#: In the replies to a start that came twice, and to one for a room that has ended.
HARMLESS = ("already being used", "not found")

log = structlog.get_logger()


class _RoomOrders(Orders):
    def stop(self, recording, path):
        self._spawn(self._tell, recording, commands.room_stop(recording.leg.name, self._files.on_switch(path)))

    def silence(self, recording, path):
        if recording.silenced:
            self._spawn(self._tell, recording, commands.room_pause(recording.leg.name, self._files.on_switch(path)))

    def _start(self, recording):
        self._prepare([recording])
        if not _wanted(recording):
            return
        path = self._files.on_switch(recording.armed_path)
        try:
            self._send(commands.room_start(recording.leg.name, path), COMMAND_WITHIN_S)
            self._outcome.obeyed(recording)
        except CommandFailed as refused:
            if not any(words in refused.reply for words in HARMLESS):
                self._outcome.failed(recording, "the switch refused", refused.reply)
        except SwitchError as unheard:
            _unheard(recording, unheard)

    def _verify(self, recording):
        if recording.running or recording.dropped or not recording.leg.alive:
            return
        try:
            rooms = replies.rooms(self._send(commands.rooms(), COMMAND_WITHIN_S))
        except SwitchError as unheard:
            _unheard(recording, unheard)
            return
        since_s = next((room.recorded.get(self._files.on_switch(recording.armed_path)) for room in rooms
                        if room.uuid == recording.leg.uuid), None)
        if since_s is None:
            self._start(recording)
        else:
            self._outcome.found(recording, recording.armed_path, began_ms(since_s, recording.obeyed_ms))


class RoomRecorder(Recorder):
    """As `Recorder`; a `leg` is a `calls.room.Room`."""

    ORDERS = _RoomOrders

    def heard(self, room, event, now_at):
        """What the switch says of a recording: it began or ended, was paused or resumed. `room` is None where it is
        not known."""
        path = self._files.relative(bare(event.get("Path")))
        action, recording_id = event.get("Action"), id_of(path)
        if not recording_id:
            return
        one = next((one for one in room.recordings if one.id == recording_id), None) if room else None
        over = one is not None and (one.ended.is_set() or (not one.running and _is_empty(event)))
        if action == "start-recording" and not event.get("Error"):
            self.started(_as_record(event, recording_id), now_at)
        elif action == "stop-recording" and not over:
            self.endings.stopped(_as_record(event, recording_id), now_at)
        elif one is None:
            return
        elif action in ("start-recording", "stop-recording"):
            self.failed(one, "the switch could not open the file")
        elif action == "pause-recording":
            self.silence(one, "pause")  # somebody else's order: ours has said so before
        elif "pause" in one.silenced and one.silenced["pause"]["from_ms"] <= event.time_us // 1000:
            self.unsilence(one, "pause", event.time_us // 1000)

    def found(self, recording, path, started_ms):
        """The switch lists the file, though its beginning was not heard."""
        if recording.state == "armed" and self._runs(recording, path, self._now_at):
            self.begun(recording, started_ms, self._now_at)

    def begun(self, recording, started_ms, now_at):
        recording.started_ms = started_ms
        self.keep_limit(recording, now_at)
        super().begun(recording, started_ms, now_at)

    def keep_limit(self, recording, now_at):
        gone_ms = max(0, self._epoch_ms() - recording.started_ms)
        recording.limit_at = now_at + recording.plan.settings["time_limit"] * 1000 - gone_ms
        self._ledger.watched.add(recording)


def began_ms(since_s: int, obeyed_ms: int | None = None) -> int:
    """The switch cuts to seconds: the end of that second, so that no audio is expected that cannot be there; or when,
    in that second, it took the order."""
    last_ms = since_s * 1000 + 999
    return last_ms if obeyed_ms is None else min(max(since_s * 1000, obeyed_ms), last_ms)


def bare(path: str) -> str:
    """Without what the switch puts before a path in a conference with video."""
    return path.rpartition("}")[2].strip()


def _as_record(event, recording_id):
    """A conference's event in the words of RECORD_START and RECORD_STOP."""
    return Event({
        "Event-Date-Timestamp": event.get("Event-Date-Timestamp"), "Record-File-Path": bare(event.get("Path")),
        "Recording-Variable-kazoo_rec_id": recording_id,
        "Record-Completion-Cause": "empty-file" if _is_empty(event) else ""})


def _is_empty(event):
    return event.get("Samples-Out") == "0"


def _wanted(recording):
    return recording.leg.alive and not (recording.running or recording.dropped or recording.silenced)


def _unheard(recording, unheard):
    log.warning("the switch did not hear a command", call_id=recording.leg.uuid, recording_id=recording.id,
                reason=str(unheard))
