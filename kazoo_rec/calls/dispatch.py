"""What is told to the switch of one recording that runs, a leg's or a room's, and is waited for."""

from collections.abc import Callable

import gevent

from kazoo_rec.calls.orders import ROW_WITHIN_S
from kazoo_rec.calls.room import Room
from kazoo_rec.calls.word import Word
from kazoo_rec.errors import CommandTimeout, WrongState
from kazoo_rec.switch import commands

#: What an order does to a recording: the kind of its span, the command for a leg's, and that for a room's.
_SILENCES = {"mask": ("mask", commands.mask, None), "pause": ("pause", commands.pause, commands.room_pause)}
_ENDS_SILENCE = {"unmask": ("mask", commands.unmask, None), "resume": ("pause", commands.resume, commands.room_resume)}

#: Seconds within which a recording ends after the switch has said that it will.
EVENT_WITHIN_S = 2.0


class Dispatch:
    """A silence is in the row before the switch is told of it, and its end after, as `calls.control` has it.

    Each method raises WrongState where the switch refuses, CommandTimeout or NotConnected where it is not known what
    it did.

    Parameters:
      recorder, room_recorder: of legs and of rooms.
      send: `send(command, timeout_s) -> reply`, raising CommandFailed for -ERR.
      files: `calls.files.Files`.
      epoch_ms: the switch's clock.
      now_at: the engine's clock.
    """

    def __init__(self, recorder, room_recorder, send, files, epoch_ms: Callable[[], int], now_at: Callable[[], int]):
        self._recorder, self._room_recorder = recorder, room_recorder
        self._word, self._epoch_ms, self._now_at = Word(send, files), epoch_ms, now_at

    def recorder_of(self, one):
        return self._room_recorder if isinstance(one.leg, Room) else self._recorder

    def change(self, one, action: str, by: str | None = None):
        """"mask", "unmask", "pause" or "resume"; a room has no mask. `by` as of `Recording.silence`."""
        recorder = self.recorder_of(one)
        if action in _ENDS_SILENCE:
            (kind, *order), until_ms = _ENDS_SILENCE[action], self._epoch_ms()
            self._word.order(one, *order)
            recorder.unsilence(one, kind, until_ms)
            return
        kind, *order = _SILENCES[action]
        changed = recorder.silence(one, kind, by)
        with gevent.Timeout(ROW_WITHIN_S, False):
            one.row.wait()
        try:
            self._word.order(one, *order)
        except WrongState:
            if changed:
                recorder.unsilence(one, kind, 0)  # a span of no length
            raise

    def stop(self, one):
        """Until its file is closed. What the switch did not hear is said again (`Recorder.ends`)."""
        self.recorder_of(one).ends(one, self._now_at())
        self._word.tell(one, commands.stop, commands.room_stop)
        if not one.ended.wait(EVENT_WITHIN_S):
            raise CommandTimeout("the recording has not ended yet")
