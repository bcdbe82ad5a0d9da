"""What is said in a conference, in a file (conference_record.c)."""

from kazoo_rec.simulator.clock import FRAME_S
from kazoo_rec.simulator.record_start import THREAD_START_S
from kazoo_rec.simulator.sound import RecordedFile, mixed

_RATE = 8000
_BUFFER_BYTES = 65536


class RoomRecording:
    """A file of all that is said in a room. It begins when its thread runs, and ends on a frame."""

    def __init__(self, room, path):
        self.room, self.path, self.begun_s = room, path, room.clock.epoch_us() // 1_000_000
        self._file, self._frames, self._until, self._is_paused, self._is_over = None, 0, 0.0, False, False
        self.number = room.switch.next_member()
        room.clock.after(THREAD_START_S, self._begin)

    def _begin(self):
        try:
            if not self.path.endswith(".wav") or self.room.switch.is_disk_full:
                raise OSError(f"cannot be written: {self.path}")
            self._file = RecordedFile(self.path, _RATE, 1, _BUFFER_BYTES, append=False)
        except OSError:
            self.room.recordings.pop(self.path, None)
            self.room.tell("start-recording", Path=self.path, Error="File could not be opened for recording")
            return
        self._until = self.room.clock.now
        self.room.tell("start-recording", Path=self.path)

    def pause(self, is_paused: bool):
        self.catch_up()
        self._is_paused = is_paused
        self.room.tell("pause-recording" if is_paused else "resume-recording", Path=self.path, Other_Recordings="true")

    def end_soon(self):
        if not self._is_over:
            self._is_over = True
            self.room.clock.after(FRAME_S, self.end)

    def end(self):
        if self.room.recordings.pop(self.path, None) is None or self._file is None:
            return
        self.catch_up()
        samples, size = self._frames * round(_RATE * FRAME_S), self._file.close()
        self.room.tell("stop-recording", Path=self.path, Other_Recordings="true" if self.room.recordings else "false",
                       Samples_Out=str(samples), Samplerate=str(_RATE), Milliseconds_Elapsed=str(self._frames * 20),
                       Record_File_Size=str(size))

    def catch_up(self):
        """Takes in the whole frames that went by since the last time, as things stood until now."""
        count = int((self.room.clock.now - self._until) / FRAME_S + 1e-6)
        samples = round(_RATE * FRAME_S)
        first = round(self._until / FRAME_S) * samples
        self._until += count * FRAME_S
        if self._file is None or self._is_paused or count <= 0:
            return
        self._frames += count
        self._file.full = self.room.switch.is_disk_full
        self._file.write(mixed(self.room.heard_by(None), _RATE, first, count * samples))

    def abandon(self):
        self.catch_up()
        if self._file is not None:
            self._file.abandon()
