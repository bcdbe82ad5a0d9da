"""What the switch is told of recordings. Each order runs in a greenlet of its own: the row first, then the command."""

import gevent
import structlog
from gevent.event import Event

from kazoo_rec.calls.recording import mark_of
from kazoo_rec.errors import (
    CommandFailed,
    CommandOvertaken,
    CommandRefused,
    CommandTimeout,
    NotConnected,
    SwitchError,
)
from kazoo_rec.switch import commands, replies
from kazoo_rec.switch.urgency import Perishable

#: How long a command waits for its row to be durable. The row follows if it takes longer: a call does not wait.
ROW_WITHIN_S = 0.01

#: And, after that, for its directory: a disk that hangs holds up no arming. The switch makes what is not there itself.
DIRECTORY_WITHIN_S = 0.01

#: How long a command may go unanswered; the switch takes 11 ms to start a recording.
COMMAND_WITHIN_S = 5.0

#: What begins a silence of a kind, and what ends it.
SILENCES = {"mask": (commands.mask, commands.unmask), "pause": (commands.pause, commands.resume)}

#: In the reply where the leg has hung up and its events are on their way (mod_commands.c, session_record_function).
LEG_IS_GONE = "Cannot locate session"

log = structlog.get_logger()


class Orders:
    """Commands about recordings, and what the switch answered.

    Nothing is repeated here when the switch does not hear: what was not armed shows at the answer, what did not start,
    stop or fall silent is found by the recorder's tick.

    Parameters:
      send: `send(command, timeout_s) -> reply`, raising CommandFailed for -ERR.
      files: `calls.files.Files`.
      spawn: runs a function in a greenlet.
      outcome: is told `armed(recordings)`, `obeyed(recording)`, `found(recording, path)`,
        `failed(recording, reason, cause)` and `unheard(recording)`.
    """

    def __init__(self, send, files, spawn, outcome):
        self._send, self._files, self._spawn, self._outcome = send, files, spawn, outcome
        self._stopping: set[tuple] = set()

    def arm(self, leg, recordings):
        """Have the switch start these when `leg` answers; those that were not told of by then are left out."""
        self._spawn(self._arm, leg, recordings)

    def disarm(self, recording):
        self._spawn(self._tell, recording, commands.disarm(recording.leg.uuid, [recording.id]))

    def start(self, recording):
        """Start by command, under the fallback's name: the leg has answered. Nothing where that is on its way already,
        or a look that will do it."""
        if not recording.busy:
            self._spawn_one(self._start, recording)

    def verify(self, recording):
        """Look whether the switch records it, and start it where it does not."""
        self._spawn_one(self._verify, recording)

    def stop(self, recording, path):
        """Nothing where that is on its way already."""
        if (recording, path) not in self._stopping:
            self._stopping.add((recording, path))
            self._spawn(self._stop, recording, path)

    def disown(self, uuid, recording_id, path) -> Event:
        """Ends one that is nobody's: what is recorded to `path` on the leg; None: what is armed there. Set when that is
        done, or cannot be."""
        done = Event()
        self._spawn(self._disown, uuid, recording_id, path, done)
        return done

    def silence(self, recording, path):
        """What runs though it should be silent."""
        for kind in recording.silenced:
            self._spawn(self._silence, recording, path, kind)

    def remove(self, recording, path):
        """Remove a file, once the row that says why is durable. Where the row did not take that, as another engine or
        delivery has taken the recording further, the file stays."""
        if path is not None:
            self._spawn(self._remove, recording, path)

    def mark(self, recording):
        """Leave on its disk, and meanwhile, that it is to be erased."""
        self._spawn(self._mark, recording)

    def _spawn_one(self, order, recording):
        recording.busy = True
        self._spawn(self._do, order, recording)

    @staticmethod
    def _do(order, recording):
        try:
            order(recording)
        finally:
            recording.busy = False

    def _arm(self, leg, recordings):
        self._prepare(recordings)
        ready = [one for one in recordings if leg.answered_ms is None and not one.dropped and not one.unannounced]
        if not ready or not leg.alive or leg.bypassed:
            return
        armings = [commands.Arming(one.id, self._files.on_switch(one.armed_path), one.limit_s, one.variables())
                   for one in ready]
        try:
            if self._tell(ready[0], Perishable(commands.arm(leg.uuid, armings), lambda: leg.answered_ms is None)):
                self._outcome.armed(ready)
        except CommandRefused as refused:
            self._impossible(ready, refused)

    def _start(self, recording):
        self._prepare([recording])
        for gone in recording.follows:  # a stop is less urgent than a start
            gone.wait()
        leg = recording.leg
        if not _is_to_start(recording):
            return
        path = self._files.on_switch(recording.fallback_path)
        try:
            start = commands.start(leg.uuid, path, recording.limit_s, recording.variables())
            self._send(Perishable(start, lambda: _is_to_start(recording)), COMMAND_WITHIN_S)
            self._outcome.obeyed(recording)
        except CommandOvertaken:
            return
        except CommandRefused as refused:
            self._impossible([recording], refused)
        except CommandFailed as refused:
            if leg.alive and not recording.running and LEG_IS_GONE not in refused.reply:
                reason = self._why_not()
                log.error("the switch cannot record", call_id=leg.uuid, recording_id=recording.id, reply=refused.reply,
                          reason=reason,
                          hint="bypassed or proxied media, a disk that is full, or a directory that it may not write")
                self._outcome.failed(recording, reason, refused.reply)
        except (CommandTimeout, NotConnected) as unheard:
            _unheard(recording, unheard)

    def _why_not(self):
        """Why the switch does not record a leg that it has: its reply is the same for all that can be."""
        try:
            return "the disk is full" if self._files.is_full() else "no media"
        except OSError as refused:
            return f"the recordings directory cannot be used: {refused.strerror}"

    def _verify(self, recording):
        def wanted():
            return not (recording.running or recording.dropped) and recording.leg.alive

        if not wanted():
            return
        try:
            ask = Perishable(commands.buglist(recording.leg.uuid), wanted)
            listed = replies.recorded(self._send(ask, COMMAND_WITHIN_S))
        except (CommandOvertaken, CommandFailed):  # it fails for a leg that is gone, whose end will be heard or found
            return
        except SwitchError as unheard:
            _unheard(recording, unheard)
            return
        for path in (recording.armed_path, recording.fallback_path):
            if self._files.on_switch(path) in listed:
                self._outcome.found(recording, path)
                return
        self._start(recording)

    def _silence(self, recording, path, kind):
        """Of one whose silence has ended meanwhile the end is said again: the two may have changed places."""
        begin, end = SILENCES[kind]
        leg, path = recording.leg, self._files.on_switch(path)
        if self._tell(recording, begin(leg.uuid, path)) is None:
            self._outcome.unheard(recording)
        elif kind not in recording.silenced and not recording.ended.is_set():
            self._tell(recording, end(leg.uuid, path))

    def _stop(self, recording, path):
        stop = commands.stop(recording.leg.uuid, self._files.on_switch(path))
        try:
            self._tell(recording, Perishable(stop, lambda: path in recording.running))
        finally:
            self._stopping.discard((recording, path))

    def _disown(self, uuid, recording_id, path, done):
        try:
            self._send(commands.stop(uuid, self._files.on_switch(path)) if path
                       else commands.disarm(uuid, [recording_id]), COMMAND_WITHIN_S)
        except SwitchError as refused:
            log.warning("a recording of which no row tells was not ended", call_id=uuid, recording_id=recording_id,
                        reason=str(refused))
        finally:
            done.set()

    def _tell(self, recording, command) -> bool | None:
        """Whether the switch obeyed; None: it did not hear."""
        try:
            self._send(command, COMMAND_WITHIN_S)
            return True
        except CommandOvertaken:
            return False
        except CommandFailed as refused:
            if recording.leg.alive:
                log.warning("the switch refused", call_id=recording.leg.uuid, recording_id=recording.id,
                            reply=refused.reply)
            return False
        except (CommandTimeout, NotConnected) as unheard:
            _unheard(recording, unheard)
            return None

    def _remove(self, recording, path):
        said = recording.row  # None of one that was taken up, and of which nothing has changed since
        if said is not None and not said.wait():
            log.warning("a file stays: its row tells of another end", recording_id=recording.id, path=path)
            return
        try:
            self._files.remove(path)
        except OSError as refused:
            log.error("a file that should not be cannot be removed", recording_id=recording.id, path=path,
                      reason=str(refused), hint="its directory has to be writable for this user")

    def _mark(self, recording):
        try:
            self._files.touch(mark_of(recording.directory, recording.id))
        except OSError as refused:
            log.error("no mark can be left of what was declined", recording_id=recording.id, reason=str(refused),
                      hint="its row has to get to the database; its directory has to be writable for this user")

    def _prepare(self, recordings):
        with gevent.Timeout(ROW_WITHIN_S, False):
            for recording in recordings:
                recording.row.wait()
        with gevent.Timeout(DIRECTORY_WITHIN_S, False):
            for directory in {recording.directory for recording in recordings}:
                try:
                    self._files.make(directory)
                except OSError as refused:
                    log.error("a directory for recordings cannot be made", directory=directory, reason=str(refused),
                              hint="FreeSWITCH may make it, readable by its own group alone; see recordings_dir")

    def _impossible(self, recordings, refused):
        for recording in recordings:
            log.error("no command can be made for a leg", call_id=recording.leg.uuid, recording_id=recording.id,
                      reason=str(refused), hint="origination_uuid of letters, digits, _.@:-")
            self._outcome.failed(recording, "the leg's id cannot be part of a command")


def _is_to_start(recording):
    return recording.leg.alive and not (
        recording.running or recording.dropped or recording.silenced or recording.unannounced)


def _unheard(recording, unheard):
    log.warning("the switch did not hear a command", call_id=recording.leg.uuid, recording_id=recording.id,
                reason=str(unheard))
