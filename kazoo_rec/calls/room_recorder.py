"""Recordings of rooms: a recorder whose legs are conferences.

What differs from a leg's (FreeSWITCH 1.10.12, conference_record.c): `+OK` comes before the file is opened; a second
start of one path is refused, so that repeating it is safe; there are no variables, so the path alone tells which
recording it is, and no limit, which the engine keeps; the file is one mixed track at the room's rate, and up to 4 s of
it are in memory (SWITCH_DEFAULT_FILE_BUFFER_LEN) and lost if the switch is killed; a profile may keep its events of
recordings to itself (`conference-events`), all but that of the end.
"""

import gevent
import structlog

from kazoo_rec.calls.orders import COMMAND_WITHIN_S, Orders
from kazoo_rec.calls.recorder import Recorder
from kazoo_rec.errors import CommandFailed, SwitchError
from kazoo_rec.switch import commands, replies

#: In the replies to a start that came twice, and to one for a room that has ended.
HARMLESS = ("already being used", "not found")

log = structlog.get_logger()


class RoomRecorder(Recorder):
    """As `Recorder`; a `leg` is a `calls.room.Room`, an event RECORD_START or RECORD_STOP as `Rooms` words them."""

    def __init__(self, node, send, rows, files, epoch_ms, spawn=gevent.spawn, **others):
        super().__init__(node, send, rows, files, epoch_ms, spawn, **others)
        self._orders = _RoomOrders(lambda *asked: replies.check_lines(send(*asked)), files, spawn, self)

    def resume(self, leg, row, armed, listed, now_at):
        self._now_at = now_at
        super().resume(leg, row, armed, listed, now_at)
        for recording in self.live(leg):
            if recording.state == "recording" and recording.limit_at is None and not recording.at_limit:
                self._limit(recording)

    def found(self, recording, path, started_ms):
        """The switch lists the file, though its beginning was not heard."""
        if recording.state == "armed":
            recording.running.append(path)
            self._begun(recording, started_ms)

    def _begun(self, recording, started_ms):
        recording.started_ms = started_ms
        self._limit(recording)
        super()._begun(recording, started_ms)

    def _limit(self, recording):
        gone_ms = max(0, self._epoch_ms() - recording.started_ms)
        recording.limit_at = self._now_at + recording.plan.settings["time_limit"] * 1000 - gone_ms
        self._watched.add(recording)


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
        except CommandFailed as refused:
            if not any(words in refused.reply for words in HARMLESS):
                self._outcome.failed(recording, "the switch refused", refused.reply)
        except SwitchError as unheard:
            _unheard(recording, unheard)

    def _verify(self, recording):
        if not _wanted(recording):
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
            self._outcome.found(recording, recording.armed_path, began_ms(since_s))


def began_ms(since_s: int) -> int:
    """The switch cuts to seconds: the end of that second, so that no audio is expected that cannot be there."""
    return since_s * 1000 + 999


def _wanted(recording):
    return recording.leg.alive and not (recording.running or recording.dropped or recording.silenced)


def _unheard(recording, unheard):
    log.warning("the switch did not hear a command", call_id=recording.leg.uuid, recording_id=recording.id,
                reason=str(unheard))
