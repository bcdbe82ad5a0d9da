"""How recordings end: what the switch says of it, and what is known where it says nothing.

RECORD_STOP says that the file is closed. CHANNEL_HANGUP_COMPLETE follows it at once where the leg has hung up, and
tells what its phone had sent. A transfer that takes a recording along to another leg ends it for us, though the switch
goes on writing: no command by path reaches it there (switch_ivr_async.c keeps the path of the first leg).
"""

from kazoo_rec.calls.leg import Leg, answered_ms, received_ms
from kazoo_rec.calls.recording import id_of
from kazoo_rec.calls.room import Room
from kazoo_rec.store.spans import missed, unheard

#: A clock that is set is told from an event that was late by this, in ms.
CLOCK_SET_MS = 600_000

#: A talk this long of which nothing was recorded is a loss to report, not an unanswered call.
SILENT_LOSS_MS = 1000


class Endings:
    """Of one switch. Methods are called as events come and never wait; `now_at` is the engine's clock in ms.

    Parameters:
      ledger: `calls.ledger.Ledger`.
      orders: `calls.orders.Orders`.
      succession: `calls.succession.Succession`.
      announcer: `calls.announcement.Announcer`.
      files: `calls.files.Files`.
      epoch_ms: the switch's clock.
      observe: write no row.
      begun: `begun(recording, started_ms, now_at)` is told of one whose end is the first that is heard of it.
    """

    def __init__(self, ledger, orders, succession, announcer, files, epoch_ms, observe, begun):
        self._ledger, self._orders, self._succession, self._announcer = ledger, orders, succession, announcer
        self._files, self._epoch_ms, self._begun, self._observe = files, epoch_ms, begun, observe
        #: Paths of which an end ends nothing, as what is written there is not of a recording any more; and whose end
        #: it would come with, if that is known.
        self._let_go: dict[str, Leg | None] = {}
        #: Recordings that would have left a file had their legs been answered, of which nothing was heard: for recovery
        #: to close.
        self.forgotten: set[str] = set()

    # -- what the switch says

    def which(self, event) -> tuple[str, str | None]:
        """(id, path) of the recording that an event is of, ("", None) where that is none of ours. It is known by its
        path: the application `record` takes no variables along, and what is recorded elsewhere under an id of ours is
        not that recording."""
        path = self._files.relative(event.get("Record-File-Path"))
        recording_id = id_of(path)
        if not recording_id or event.get("Recording-Variable-kazoo_rec_id", recording_id) != recording_id:
            return "", None
        return recording_id, path

    def stopped(self, event, now_at):
        """RECORD_STOP: the file is closed. One that we do not know, from before a restart, is closed in the store."""
        recording_id, path = self.which(event)
        recording = self._ledger.get(recording_id)
        stopped_ms, cause = event.time_us // 1000, event.get("Record-Completion-Cause") or None
        if path in self._let_go:
            del self._let_go[path]
            return
        if recording is None:
            if recording_id and path and not self._observe:
                self._ledger.ended_unknown(recording_id, stopped_ms, cause, path, answered_ms(event))
            return
        if path in recording.running[1:]:
            recording.running.remove(path)
            recording.stop_at = None
            self._orders.remove(recording, path)
            return
        for second in recording.running[1:]:
            self._orders.remove(recording, second)
        if recording.started_ms is None and not (recording.dropped or recording.is_message):
            self._begun_unheard(recording, path, now_at)
        stopped_ms -= _clock_set_ms(recording, stopped_ms, now_at)
        recording.running = [path]
        recording.close_spans(stopped_ms)
        if recording.dropped:
            self._ledger.end(recording, "discarded", recording.reason, stopped_ms=stopped_ms, cause=cause)
            self._orders.remove(recording, path)
        elif recording.is_message:
            self._taken_down(recording, event, stopped_ms)
        else:
            self._closed(recording, event, stopped_ms, cause, now_at)

    def _begun_unheard(self, recording, path, now_at):
        """By its arming it began at the answer, by a command, as in a room, when that was answered."""
        armed = path == recording.armed_path and not isinstance(recording.leg, Room)
        began_ms = recording.leg.answered_ms if armed else recording.obeyed_ms or recording.asked_ms
        if began_ms is not None:
            self._begun(recording, began_ms, now_at)

    def _closed(self, recording, event, stopped_ms, cause, now_at):
        recording.cut_short = event.get("Answer-State") == "hangup"
        expected_ms = recording.expected_ms(stopped_ms) if recording.started_ms else None
        recording.at_limit |= cause == "success-maxtime" and recording.has_reached_limit(stopped_ms)
        columns = {"stopped_ms": stopped_ms, "cause": cause, "expected_ms": expected_ms, "spans": recording.spans,
                   "master": recording.master, "truncated_by_limit": recording.at_limit}
        if cause == "empty-file" and not recording.declined:
            lost = (expected_ms or 0) > SILENT_LOSS_MS or missed(recording.spans)
            self._ledger.end(recording, "failed" if lost else "discarded", "no media" if lost else "empty", **columns)
        elif recording.cut_short and recording.started_ms:
            recording.closing = columns
            if recording.leg.alive:
                self._ledger.watched.discard(recording)
                self._ledger.save(recording, **columns)
            else:
                self._close(recording)
        elif self._is_bereft(recording, stopped_ms, now_at):
            recording.spans.append({"kind": "unordered", "from_ms": stopped_ms, "to_ms": stopped_ms})
            self._ledger.end(recording, "stopped", unheard(recording.spans), **columns, partial=True)
        else:
            self._ledger.end(recording, "stopped", missed(recording.spans), **columns)

    def hung_up(self, leg, event):
        """CHANNEL_HANGUP_COMPLETE of `leg`: it tells what its phone has sent, and that it was answered, should the
        event of that have been lost."""
        leg.received_ms = received_ms(event)
        if leg.answered_ms is None and (told_ms := answered_ms(event)):
            leg.answered_ms, leg.answer_unheard = told_ms, True
        for recording in self._ledger.live(leg):
            if recording.closing is not None:
                self._close(recording)

    def _close(self, recording):
        recording.note_silent(recording.leg.received_ms)
        self._ledger.end(recording, "stopped", missed(recording.spans), **recording.closing)

    def message_ended(self, recording_id, event):
        """The application that wrote it has ended, as CHANNEL_EXECUTE_COMPLETE says: the file is closed."""
        recording = self._ledger.get(recording_id)
        if recording is not None and recording.is_message:
            self._let_go[recording.armed_path] = recording.leg
            self._taken_down(recording, event, event.time_us // 1000)

    def _taken_down(self, recording, event, stopped_ms):
        """`record_ms` is what the switch handed over: digits that were pressed are not in it."""
        recording.close_spans(stopped_ms)
        said_ms = event.variable("record_ms")
        limit_ms = recording.plan.settings["time_limit"] * 1000
        self._ledger.end(recording, "stopped", None, stopped_ms=stopped_ms, spans=recording.spans,
                         master=recording.master, expected_ms=int(said_ms) if said_ms.isdecimal() else None,
                         truncated_by_limit=recording.counted_ms(stopped_ms) > limit_ms)

    def bug_started(self, event, now_at):
        """MEDIA_BUG_START: one of ours on a leg that is not its own was taken along by a transfer, as somebody's
        `recording_follow_transfer=true` on the leg makes the switch do with every recording of it. `stop all` would end
        theirs. So it is finished with what it has until now, and its leg, if it goes on, gets another."""
        path = self._files.relative(event.get("Media-Bug-Target"))
        self.carried(path, event.uuid, lambda _: (event.time_us // 1000, None), now_at)

    def carried(self, path, uuid, when, now_at):
        """The switch records to `path` on the leg `uuid`: one that is another's was taken along. `when(started_ms)` is
        (the time; None where it is not known, and nothing of the file can be kept; why it is partial, if it is)."""
        recording = self._ledger.get(id_of(path))
        if not recording or uuid == recording.leg.uuid or path not in recording.running:
            return
        moved_ms, reason = when(recording.started_ms)
        if path in recording.running[1:]:
            recording.running.remove(path)
            self._orders.remove(recording, path)
            return
        self._let_go[path] = None
        recording.cut_short = not recording.at_limit
        at_ms = self._epoch_ms() if moved_ms is None else moved_ms
        recording.close_spans(at_ms)
        recording.spans.append({"kind": "moved", "from_ms": at_ms, "to_ms": at_ms})
        if recording.dropped:
            self._ledger.end(recording, "discarded", recording.reason)
            self._orders.remove(recording, path)
        elif moved_ms is None:
            self._ledger.end(recording, "failed", reason, stopped_ms=at_ms, master=path, spans=recording.spans)
        else:
            self._ledger.end(recording, "stopped", reason or missed(recording.spans), stopped_ms=at_ms, master=path,
                             expected_ms=recording.expected_ms(at_ms), spans=recording.spans,
                             **({"partial": True} if reason else {}))
        if not recording.over:
            self._succession.expect(recording, recording.spans[-1]["to_ms"],
                                    "a transfer took the recording before it along", now_at)

    def let_go(self, path):
        """What the switch goes on recording to `path` is of nobody: its end ends no recording."""
        self._let_go[path] = None

    # -- what it did not say

    def lose(self, recordings, now_at):
        """The switch does not record these: those that have not ended by now."""
        for recording in recordings:
            if recording.closing is not None and recording.id in self._ledger:
                self._close(recording)
            elif recording.id in self._ledger:
                self._let_go |= dict.fromkeys(recording.running, recording.leg)  # its end may be on its way
                self._lose(recording, None, None, now_at)

    def forget(self, leg, why=None, heard_ms=None):
        """The leg is gone, and with it news of its recordings: of one that ran, its file tells how it ended, which
        should have been `heard_ms` at the earliest; rows of others stay as they are, for recovery."""
        for recording in self._ledger.live(leg):
            if recording.closing is not None:
                self._close(recording)
            elif recording.dropped and recording.running:
                self._ledger.end(recording, "discarded", recording.reason)
                self._orders.remove(recording, recording.master)
            elif recording.state == "recording" and not recording.is_message:
                self._lose(recording, why, heard_ms)
            else:
                self._ledger.forget(recording)
                if leg.answered_ms is None and recording.armed_in_time:
                    self.forgotten.add(recording.id)

    def _lose(self, recording, why, heard_ms, now_at=None):
        """`now_at` is needed where its leg may go on."""
        stopped_ms = self._epoch_ms() if heard_ms is None else max(heard_ms, recording.started_ms)
        recording.at_limit |= (recording.leg.alive and not recording.on_bridge
                               and recording.has_reached_limit(stopped_ms))
        bereft = self._is_bereft(recording, stopped_ms, now_at)
        recording.close_spans(stopped_ms)
        recording.spans.append({"kind": "unheard", "from_ms": stopped_ms, "to_ms": stopped_ms,
                                **({"why": why} if why else {})})
        self._ledger.end(recording, "stopped", unheard(recording.spans), stopped_ms=stopped_ms, spans=recording.spans,
                         master=recording.master, partial=bereft or bool(missed(recording.spans)),
                         truncated_by_limit=recording.at_limit,
                         expected_ms=None if heard_ms is None else recording.expected_ms(stopped_ms))

    def left(self, leg, cause, now_at):
        """The leg is gone: no recording of it goes on."""
        for recording in self._ledger.live(leg):
            if recording.closing is not None:
                self._close(recording)
            elif recording.dropped:
                self._ledger.end(recording, "discarded", recording.reason)
                if recording.running:  # its end was not heard
                    self._orders.remove(recording, recording.master)
            elif recording.state == "recording":
                recording.close_spans(self._epoch_ms())
                self._ledger.end(recording, "stopped", "RECORD_STOP was not heard", stopped_ms=self._epoch_ms(),
                                 spans=recording.spans)
            elif leg.answered_ms is not None and leg.answer_unheard and not (
                    recording.unannounced or recording.silenced):
                # The switch began by itself, if it was armed in time: the file tells.
                recording.started_ms = leg.answered_ms
                self._ledger.save(recording, started_ms=recording.started_ms)
                self._lose(recording, "events of its leg were lost", self._epoch_ms())
            else:
                self._ledger.end(recording, *self._never_begun(recording, cause, now_at))
        self._let_go = {path: whose for path, whose in self._let_go.items() if whose is not leg}

    def _never_begun(self, recording, cause, now_at) -> tuple[str, str]:
        """(state, reason) of one that its leg, which is gone, did not have."""
        leg, now_ms = recording.leg, self._epoch_ms()
        if recording.unannounced and leg.answered_ms is not None:
            return self._announcer.verdict(recording, now_ms)
        if recording.silenced:
            return "discarded", "silenced from before its start to the leg's end"
        if leg.answered_ms is None:
            return "discarded", f"never answered: {cause}" if cause else "never answered"
        if recording.missed and now_ms - recording.missed[0] > SILENT_LOSS_MS:
            return "failed", f"ended before it started: {recording.missed[1]}"
        at_the_answer = recording.wanted_at <= leg.answered_at
        if (now_ms - leg.answered_ms if at_the_answer else now_at - recording.wanted_at) <= SILENT_LOSS_MS:
            return "discarded", "ended before it started"
        if now_at - leg.answered_at <= SILENT_LOSS_MS:
            return "failed", "ended before it started: the engine heard late of the call"
        return "failed", "never started: the switch did not obey"

    def _is_bereft(self, recording, stopped_ms, now_at):
        """Whether it ended by nobody's order while its leg goes on, which then gets another: unless it was ended as
        soon as it had begun, as the next one would be. Of a room it is not known: a moderator may have ended it."""
        if isinstance(recording.leg, Room) or not recording.leg.alive or recording.over or recording.cut_short or (
                recording.started_ms is None):
            return False
        if stopped_ms - recording.started_ms > SILENT_LOSS_MS:
            self._succession.expect(recording, stopped_ms, "the recording before it was ended by nobody's order",
                                    now_at)
        return True


def _clock_set_ms(recording, stopped_ms, now_at):
    """By how much the switch's clock was set (`fsctl sync_clock`) while it recorded: what is known of the recording
    is by the time of before. Events may be late, though not by so much."""
    if recording.begun_at is None:
        return 0
    set_ms = stopped_ms - recording.started_ms - (now_at - recording.begun_at)
    return set_ms if abs(set_ms) > CLOCK_SET_MS else 0
