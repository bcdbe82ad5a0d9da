"""What is being recorded, from plan to end: arm before the answer, verify, fall back.

A leg is armed while it rings (`execute_on_answer_<id>`): the switch itself starts at the answer, with no round trip.
CHANNEL_ANSWER carries the leg's variables as they were just before: where ours is missing, the arming came too late,
and the recording is started by command, to another file. Where it is there, RECORD_START follows within 22 ms; only
if none came after 250 ms, and the switch does not list the file, is it started by command. Nothing is ever started
on a leg that has not answered: on a ringing callee that kills the call (FreeSWITCH, switch_ivr_async.c). Nor, for as
long, on one of several callees before its bridge: of two that answer together the switch hangs one up, and a recording
begun just then keeps that leg there for ever (recording_thread holds its lock, and switch_core_session_thread waits).

Methods are called by the tracker as events come and never wait: what the switch is told is `orders.py`'s.
"""

import gevent
import structlog

from kazoo_rec.calls.announcement import DECLINED, Announcer
from kazoo_rec.calls.beep import Beeper
from kazoo_rec.calls.leg import has_media, received_ms
from kazoo_rec.calls.meter import Meter
from kazoo_rec.calls.orders import Orders
from kazoo_rec.calls.recording import MUTED, Recording, directory_of, id_of, new_id
from kazoo_rec.calls.vigil import ALARM, Vigil
from kazoo_rec.store.recordings import OPEN_STATES
from kazoo_rec.store.spans import missed, unheard

#: How long an armed recording may take to say RECORD_START; 22 ms is the longest seen.
START_WITHIN_MS = 250

#: How long a stop may go without RECORD_STOP before it is sent again; sending it twice is harmless.
STOP_WITHIN_MS = 1000

#: A clock that is set is told from an event that was late by this, in ms.
CLOCK_SET_MS = 600_000

#: Milliseconds before a mask or pause is said again.
SILENCE_AGAIN_MS = 1000

#: The cause in the row of what was stopped before it began, and of what a rule wanted that does not any more.
CALLED_OFF, DROPPED = "called off", "dropped"

#: A talk this long of which nothing was recorded is a loss to report, not an unanswered call.
SILENT_LOSS_MS = 1000

log = structlog.get_logger()


class Recorder:
    """Everything that is being recorded on one switch.

    Parameters:
      node: name of the switch, in every row.
      send: `send(command, timeout_s) -> reply` over any command connection (`switch.pool.Pool.send`).
      rows: the store's `recordings`.
      files: `recordings_dir` as this process and as the switch see it (`calls.files.Files`).
      epoch_ms: the switch's clock (`calls.clock.SwitchClock.now_ms`), for rows: its events' is not the host's.
      spawn: runs a function in a greenlet.
      observe: decide and log, command nothing, write no row.
      meter: counts what is made.
      listen: has the switch tell of events, by their names; raises what `send` raises.
      webhook: `webhook(row, state)` is the delivery that tells somebody of a row's new state, or None; `row` has the
        columns that do not change.
      on_no_recording: what an account wants done where a leg of its is not recorded, by its id (`calls.vigil`).
    """

    def __init__(self, node, send, rows, files, epoch_ms, spawn=gevent.spawn, observe=False, meter=None,
                 listen=lambda names: None, webhook=lambda row, state: None, on_no_recording=lambda account_id: ALARM):
        self._node, self._rows, self._files, self._epoch_ms, self._observe = node, rows, files, epoch_ms, observe
        self._orders = Orders(send, files, spawn, self)
        self._announcer, self._beeper = Announcer(send, listen, spawn, self), Beeper(send, spawn)
        self._webhook = webhook
        self._meter = meter or Meter()
        self._vigil = Vigil(send, files, spawn, self, on_no_recording, self._meter, epoch_ms, self._notify)
        self._by_id: dict[str, Recording] = {}
        self._watched: set[Recording] = set()
        self._carried: set[str] = set()
        #: Whose leg goes on without it: when it gets another, since when it has none, and why.
        self._bereft: dict[Recording, tuple[int, int, str]] = {}
        self._now_at = 0

    def __len__(self):
        return len(self._by_id)

    def __contains__(self, recording_id):
        return recording_id in self._by_id

    # -- what the tracker tells

    def want(self, leg, wanted, source, now_at, event_ms=None):
        """Records `leg` for each of `wanted`: (plan, account id, destination, settled). `event_ms` is when, by the
        switch's clock, what made them wanted happened: this may be heard late."""
        made = []
        for plan, account_id, destination, settled in wanted:
            recording = Recording(new_id(), leg, plan, account_id, destination, settled, directory_of(account_id),
                                  source, now_at, missed=leg.missed, wanted_ms=event_ms)
            for kind in {kind for one in self.live(leg) if one.account_id == account_id
                         for kind, span in one.silenced.items() if "by" not in span}:
                recording.silence(kind, self._epoch_ms())
            if self._plan(recording):
                made.append(recording)
        if made:
            self._order(leg, made, now_at)

    def follow(self, gone, leg, now_at):
        """Records `leg`, which goes on without the leg of `gone`, with the same settings; silent if that was."""
        plan = gone.plan._replace(leg="B" if leg.called else "A",
                                  reason=f"{gone.plan.reason} Leg {gone.leg.uuid} was transferred away.")
        another = Recording(
            new_id(), leg, plan, gone.account_id, gone.destination, True, directory_of(gone.account_id), gone.source,
            now_at, begun_as=gone.begun_as or gone.id,
            interaction_id=gone.interaction_id or gone.leg.call.interaction_id)
        for kind, by in gone.silent_at_end:
            another.silence(kind, self._epoch_ms(), by)
        if self._plan(another):
            self._order(leg, [another], now_at)

    def take_down(self, leg, plan, account_id, now_at):
        """A recording that the application `record` is about to make of `leg`: it obeys no command."""
        recording = Recording(new_id(), leg, plan, account_id, None, True, directory_of(account_id),
                              leg.identity.network, now_at)
        self._plan(recording)
        return recording

    def _order(self, leg, made, now_at):
        if leg.answered_ms is None:
            if not leg.bypassed:
                self._orders.arm(leg, made)
        elif leg.bypassed:
            for recording in made:
                self._end(recording, "failed", "no media")
        else:
            for recording in made:
                self._start_soon(recording, now_at)
            self.heard_partner(leg, now_at)

    def _plan(self, recording):
        leg, plan = recording.leg, recording.plan
        leg.recordings.append(recording)
        log.info("recording planned", call_id=leg.uuid, recording_id=recording.id, account=recording.account_id,
                 leg=plan.leg, reason=plan.reason)
        if self._observe:
            return False
        self._by_id[recording.id] = recording
        recording.row = self._rows.insert(recording.new_row(self._node, self._epoch_ms()))
        recording.row.rawlink(_row_refused)
        if leg.call.declines(recording.account_id) and not recording.is_message:
            self._end(recording, "discarded", DECLINED, cause=CALLED_OFF)
            return False
        self._announcer.expect(recording)
        self._vigil.expect(recording)
        return True

    def resume(self, leg, row, armed, listed, now_at):
        """Takes up what an engine before this one left: `row` is of `leg`, which is in progress; `armed` says that the
        leg still has its arming, `listed` are the paths that the switch records to. What has ended is not made again
        where its end was heard: by its limit, or by somebody."""
        recording = Recording.of_row(leg, row)
        paths = [path for path in (recording.armed_path, recording.fallback_path) if path in listed]
        if recording.declined:
            leg.declined.add(recording.account_id)
        if row["state"] == "discarded" and row["cause"] in (CALLED_OFF, DROPPED) and not recording.declined:
            recording.dropped, recording.called_off = True, row["cause"] == CALLED_OFF
            recording.reason = row["state_reason"]
            self._undo(recording, paths, armed and leg.answered_ms is None, now_at)
            return
        if self._observe or (row["state"] not in OPEN_STATES and not (recording.declined and paths)):
            if row["cause"]:
                leg.recordings.append(recording)
            return
        waits = row["state"] == "armed" and bool(recording.silenced)
        unannounced, armed = row["state"] == "armed" and recording.unannounced, armed and leg.answered_ms is None
        untold = row["state"] == "armed" and not paths and not armed and self._is_untold(recording)
        if not paths and not (armed or waits or unannounced or untold):
            return
        leg.recordings.append(recording)
        self._by_id[recording.id] = recording
        log.info("recording taken up again", call_id=leg.uuid, recording_id=recording.id, state=recording.state)
        recording.running = paths
        self._announcer.expect(recording)
        self._vigil.expect(recording)
        if not paths:
            if waits:
                self._watch(recording, now_at + START_WITHIN_MS)
            elif untold:
                if leg.answered_ms is not None:
                    recording.missed = max(row["armed_ms"], leg.answered_ms), "the engine was not connected"
                self._save(recording, answered_ms=leg.answered_ms)
                self._order(leg, [recording], now_at)
            return
        if all(span.get("by") != MUTED for span in recording.silenced.values()):
            for path in paths:
                self._orders.silence(recording, path)  # the switch does not tell whether it is: the row is the truth
        if recording.unwanted:
            self._stop_soon(recording, now_at)
        if recording.state == "armed":
            self._begun(recording, max(leg.answered_ms, row["armed_ms"]) if leg.answered_ms else self._epoch_ms())
        else:
            self._vigil.began(recording, now_at)
            self._beeper.expect(recording, now_at)
        if recording.on_bridge and leg.bridged_ms is not None:
            since_ms = self._epoch_ms() - max(leg.bridged_ms, leg.answered_ms)
            recording.limit_at = now_at - since_ms + recording.plan.settings["time_limit"] * 1000
            self._watched.add(recording)

    def _undo(self, recording, paths, armed, now_at):
        """What should not be, and the engine before this one had not ended or disarmed."""
        recording.leg.recordings.append(recording)
        if self._observe or not (paths or armed):
            return
        recording.running, self._by_id[recording.id] = paths, recording
        log.info("recording taken up again to end it", call_id=recording.leg.uuid, recording_id=recording.id)
        if paths:
            self._stop_soon(recording, now_at)
        else:
            self._orders.disarm(recording)

    def _is_untold(self, recording):
        """Of one that was armed, whether its engine died before it told the switch. Rules are asked anew; nobody asks
        an action again."""
        paths = recording.armed_path, recording.fallback_path
        return recording.by_action and not any(map(self._files.exists, paths))

    def refresh(self, leg, listed):
        """News of `leg` may have been missed: what the switch does not record any more (`listed` are the paths that it
        does) has ended."""
        self.lose(self.unlisted(leg, listed))

    def unlisted(self, leg, listed):
        """What the switch does not record on `leg` any more; what it does is silent if it should be."""
        self._announcer.doubt(leg)
        running = [recording for recording in self.live(leg) if recording.state == "recording"]
        for recording in running:
            for path in listed.intersection(recording.running):
                self._orders.silence(recording, path)
        return [recording for recording in running if listed.isdisjoint(recording.running)]

    def lose(self, recordings):
        """Those of these that have not ended by now."""
        for recording in recordings:
            if recording.id in self._by_id:
                self._carried.update(recording.running)  # its end may be on its way
                self._lose(recording, None, None)

    def missing(self, now_at) -> tuple[int, int]:
        """As `calls.vigil.Vigil.missing`."""
        return self._vigil.missing(now_at)

    def renamed(self, leg):
        for recording in self.live(leg):
            self._save(recording, call_id=leg.uuid)

    def bypassed(self, leg):
        """`leg`, which rings, will have no media: what is armed would harm its call."""
        for recording in self.live(leg):
            if not recording.is_message:
                self._orders.disarm(recording)

    def answered(self, leg, event, now_at):
        """CHANNEL_ANSWER of `leg`: what was armed in time is watched, what was not is started now. A leg without media
        is not touched: a command could end its call."""
        leg.answered_at = self._now_at = now_at
        for recording in self.live(leg):
            if recording.state != "armed" or recording.dropped or recording.is_message:
                continue
            recording.missed = leg.missed
            if not has_media(event):
                self._end(recording, "failed", "no media")
            elif recording.unannounced:
                continue
            elif event.variable(f"execute_on_answer_{recording.id}"):
                self._watch(recording, now_at + START_WITHIN_MS)
            else:
                log.info("armed too late, starting by command", call_id=leg.uuid, recording_id=recording.id)
                if leg.call.has_rival(leg):
                    recording.awaits_bridge = True
                    self._watch(recording, now_at + START_WITHIN_MS)
                else:
                    self._start_soon(recording, now_at)

    def heard_partner(self, leg, now_at):
        """Once `leg` is both answered and bridged, recordings that wait for that begin, and their limit with them."""
        if leg.answered_ms is None or leg.bridged_ms is None:
            return
        self._announcer.met(leg)
        for recording in self.live(leg):
            if recording.awaits_bridge:
                recording.awaits_bridge = False
                if recording.state == "armed" and not recording.dropped:
                    self._start_soon(recording, now_at)
            if recording.on_bridge and recording.limit_at is None and not recording.at_limit:
                recording.limit_at = now_at + recording.plan.settings["time_limit"] * 1000
                self._watched.add(recording)

    def heard(self, leg, event, now_at):
        """PLAYBACK_START, PLAYBACK_STOP or DTMF of `leg`."""
        self._announcer.heard(leg, event, now_at)

    def held(self, leg):
        for recording in self.live(leg):
            if recording.state == "recording":
                recording.hold(leg.held_ms)

    def unheld(self, leg, at_ms):
        for recording in self.live(leg):
            recording.unhold(at_ms)

    def started(self, event, now_at):
        """RECORD_START of a recording of ours."""
        recording_id, path = self._which(event)
        recording = self._by_id.get(recording_id)
        if recording is None and recording_id and path and not self._observe:
            # From before a restart: its arming was fired after all.
            self._rows.update_open(recording_id, state="recording", started_ms=event.time_us // 1000, master=path)
        if recording is None or path is None or path in recording.running:
            return
        recording.running.append(path)
        self._orders.silence(recording, path)
        if recording.unwanted:
            self._stop_soon(recording, now_at)
            return
        recording.begun_at = self._now_at = now_at
        self._begun(recording, event.time_us // 1000)

    def stopped(self, event):
        """RECORD_STOP: the file is closed. One that we do not know, from before a restart, is closed in the store."""
        recording_id, path = self._which(event)
        recording = self._by_id.get(recording_id)
        stopped_ms, cause = event.time_us // 1000, event.get("Record-Completion-Cause") or None
        if path in self._carried:
            self._carried.remove(path)
            return
        if recording is None:
            if recording_id and path and not self._observe:
                closed = self._rows.update_open(recording_id, state="stopped", stopped_ms=stopped_ms, cause=cause,
                                                master=path)
                closed.rawlink(lambda result: _unknown(result, recording_id, path))
            return
        if path in recording.running[1:]:
            recording.running.remove(path)
            recording.stop_at = None
            self._orders.remove(recording, path)
            return
        for second in recording.running[1:]:
            self._orders.remove(recording, second)
        stopped_ms -= self._clock_set_ms(recording, stopped_ms)
        recording.running = [path]
        recording.close_spans(stopped_ms)
        if recording.dropped:
            self._end(recording, "discarded", recording.reason, stopped_ms=stopped_ms, cause=cause)
            self._orders.remove(recording, path)
            return
        if recording.is_message:
            self._taken_down(recording, event, stopped_ms)
            return
        recording.cut_short = event.get("Answer-State") == "hangup"
        expected_ms = recording.expected_ms(stopped_ms) if recording.started_ms else None
        recording.at_limit |= cause == "success-maxtime" and recording.has_reached_limit(stopped_ms)
        columns = {"stopped_ms": stopped_ms, "cause": cause, "expected_ms": expected_ms, "spans": recording.spans,
                   "master": recording.master, "truncated_by_limit": recording.at_limit}
        if cause == "empty-file" and not recording.declined:
            lost = (expected_ms or 0) > SILENT_LOSS_MS or missed(recording.spans)
            self._end(recording, "failed" if lost else "discarded", "no media" if lost else "empty", **columns)
        elif recording.cut_short and recording.started_ms:
            recording.closing = columns
            if not recording.leg.alive:
                self._close(recording)
                return
            self._watched.discard(recording)
            self._save(recording, **columns)
        elif self._is_bereft(recording, stopped_ms):
            recording.spans.append({"kind": "unordered", "from_ms": stopped_ms, "to_ms": stopped_ms})
            self._end(recording, "stopped", unheard(recording.spans), **columns, partial=True)
        else:
            self._end(recording, "stopped", missed(recording.spans), **columns)

    def _is_bereft(self, recording, stopped_ms):
        """Whether it ended by nobody's order while its leg goes on, which then gets another: unless it was ended as
        soon as it had begun, as the next one would be."""
        if not recording.leg.alive or recording.over or recording.cut_short or recording.started_ms is None:
            return False
        if stopped_ms - recording.started_ms > SILENT_LOSS_MS:
            self._bereft[recording] = (self._now_at + START_WITHIN_MS, stopped_ms,
                                       "the recording before it was ended by nobody's order")
        return True

    def _clock_set_ms(self, recording, stopped_ms):
        """By how much the switch's clock was set (`fsctl sync_clock`) while it recorded: what is known of the recording
        is by the time of before. Events may be late, though not by so much."""
        if recording.begun_at is None:
            return 0
        set_ms = stopped_ms - recording.started_ms - (self._now_at - recording.begun_at)
        return set_ms if abs(set_ms) > CLOCK_SET_MS else 0

    def hung_up(self, leg, event):
        """CHANNEL_HANGUP_COMPLETE of `leg`, which follows RECORD_STOP at once: it tells what its phone has sent, and
        that it was answered, should the event of that have been lost."""
        leg.received_ms = received_ms(event)
        answered_us = event.get("Caller-Channel-Answered-Time")
        if leg.answered_ms is None and answered_us.isdecimal() and int(answered_us):
            leg.answered_ms, leg.answer_unheard = int(answered_us) // 1000, True
        for recording in self.live(leg):
            if recording.closing is not None:
                self._close(recording)

    def _close(self, recording):
        recording.note_silent(recording.leg.received_ms)
        self._end(recording, "stopped", missed(recording.spans), **recording.closing)

    def message_ended(self, recording_id, event):
        """The application that wrote it has ended, as CHANNEL_EXECUTE_COMPLETE says: the file is closed."""
        recording = self._by_id.get(recording_id)
        if recording is not None and recording.is_message:
            self._carried.add(recording.armed_path)
            self._taken_down(recording, event, event.time_us // 1000)

    def _taken_down(self, recording, event, stopped_ms):
        """`record_ms` is what the switch handed over: digits that were pressed are not in it."""
        recording.close_spans(stopped_ms)
        said_ms = event.variable("record_ms")
        limit_ms = recording.plan.settings["time_limit"] * 1000
        self._end(recording, "stopped", None, stopped_ms=stopped_ms, spans=recording.spans, master=recording.master,
                  expected_ms=int(said_ms) if said_ms.isdecimal() else None,
                  truncated_by_limit=recording.counted_ms(stopped_ms) > limit_ms)

    def bug_started(self, event, now_at):
        """MEDIA_BUG_START: one of ours on a leg that is not its own was taken along by a transfer, as somebody's
        `recording_follow_transfer=true` on the leg makes the switch do with every recording of it. No command by path
        reaches it there (switch_ivr_async.c keeps the path of the first leg), and `stop all` would end theirs. So it
        is finished with what it has until now, and its leg, if it goes on, gets another."""
        path = self._files.relative(event.get("Media-Bug-Target"))
        self.carried(path, event.uuid, lambda _: (event.time_us // 1000, None), now_at)

    def carried(self, path, uuid, when, now_at):
        """The switch records to `path` on the leg `uuid`: one that is another's was taken along. `when(started_ms)` is
        (the time; None where it is not known, and nothing of the file can be kept; why it is partial, if it is)."""
        recording = self._by_id.get(id_of(path))
        if not recording or uuid == recording.leg.uuid or path not in recording.running:
            return
        moved_ms, reason = when(recording.started_ms)
        if path in recording.running[1:]:
            recording.running.remove(path)
            self._orders.remove(recording, path)
            return
        self._carried.add(path)
        recording.cut_short = not recording.at_limit
        at_ms = self._epoch_ms() if moved_ms is None else moved_ms
        recording.close_spans(at_ms)
        recording.spans.append({"kind": "moved", "from_ms": at_ms, "to_ms": at_ms})
        if recording.dropped:
            self._end(recording, "discarded", recording.reason)
            self._orders.remove(recording, path)
        elif moved_ms is None:
            self._end(recording, "failed", reason, stopped_ms=at_ms, master=path, spans=recording.spans)
        else:
            self._end(recording, "stopped", reason or missed(recording.spans), stopped_ms=at_ms, master=path,
                      expected_ms=recording.expected_ms(at_ms), spans=recording.spans,
                      **({"partial": True} if reason else {}))
        if not recording.over:
            self._bereft[recording] = (now_at + START_WITHIN_MS, recording.spans[-1]["to_ms"],
                                       "a transfer took the recording before it along")

    def let_go(self, path):
        """What the switch goes on recording to `path` is of nobody: its end ends no recording."""
        self._carried.add(path)

    def drop(self, recording, reason, now_at):
        """Ends a recording that should not be, and leaves nothing of it but its row, which says so from now on.

        It is kept in mind until its leg is gone: where the disarming comes too late, RECORD_START stops it.
        """
        if recording.dropped:
            return
        recording.dropped, recording.reason, recording.check_at = True, reason, None
        if recording.id not in self._by_id:
            return
        if recording.running:
            self._stop_soon(recording, now_at)
        elif recording.leg.answered_ms is None:
            self._orders.disarm(recording)
        self._save(recording, state="discarded", state_reason=reason, cause=DROPPED)

    def call_off(self, recording, reason, now_at):
        """As `drop`, by somebody's order: no rule asks for it again, nor does an engine after this one."""
        recording.called_off = True
        self.drop(recording, reason, now_at)
        self._save(recording, state="discarded", state_reason=reason, cause=CALLED_OFF)

    def ends(self, recording, now_at):
        """It is being told to stop: from STOP_WITHIN_MS on, until it has, it is told again."""
        recording.ending, recording.stop_at = True, now_at + STOP_WITHIN_MS
        self._watched.add(recording)

    def silence(self, recording, kind, by=None) -> bool:
        """Says in the row that it is silent from now on, by the action `by` or, without, for all; False where the row
        says so already."""
        silenced = recording.silence(kind, self._epoch_ms(), by)
        if silenced:
            self._save_silence(recording)
        return silenced

    def unsilence(self, recording, kind, at_ms):
        if kind in recording.silenced:
            recording.unsilence(kind, at_ms)
            if recording.id in self._by_id:
                self._save_silence(recording)

    def _save_silence(self, recording):
        runs = recording.state == "recording" and not recording.dropped
        self._save(recording, spans=recording.spans_now(), **({"state": recording.row_state} if runs else {}))

    def forget(self, leg, why=None, heard_ms=None):
        """The leg is gone, and with it news of its recordings: of one that ran, its file tells how it ended, which
        should have been `heard_ms` at the earliest; rows of others stay as they are, for recovery."""
        for recording in self.live(leg):
            if recording.closing is not None:
                self._close(recording)
            elif recording.dropped and recording.running:
                self._end(recording, "discarded", recording.reason)
                self._orders.remove(recording, recording.master)
            elif recording.state == "recording" and not recording.is_message:
                self._lose(recording, why, heard_ms)
            else:
                self._by_id.pop(recording.id)
                self._watched.discard(recording)

    def _lose(self, recording, why, heard_ms):
        stopped_ms = self._epoch_ms() if heard_ms is None else max(heard_ms, recording.started_ms)
        recording.at_limit |= (recording.leg.alive and not recording.on_bridge
                               and recording.has_reached_limit(stopped_ms))
        bereft = self._is_bereft(recording, stopped_ms)
        recording.close_spans(stopped_ms)
        recording.spans.append({"kind": "unheard", "from_ms": stopped_ms, "to_ms": stopped_ms,
                                **({"why": why} if why else {})})
        self._end(recording, "stopped", unheard(recording.spans), stopped_ms=stopped_ms, spans=recording.spans,
                  master=recording.master, partial=bereft or bool(missed(recording.spans)),
                  truncated_by_limit=recording.at_limit,
                  expected_ms=None if heard_ms is None else recording.expected_ms(stopped_ms))

    def left(self, leg, cause):
        """The leg is gone: no recording of it goes on."""
        for recording in self.live(leg):
            if recording.closing is not None:
                self._close(recording)
            elif recording.dropped:
                self._end(recording, "discarded", recording.reason)
            elif recording.state == "armed" and recording.unannounced and leg.answered_ms is not None:
                self._end(recording, *self._announcer.verdict(recording, self._epoch_ms()))
            elif recording.state == "armed" and recording.silenced:
                self._end(recording, "discarded", "silenced from before its start to the leg's end")
            elif recording.state == "recording":
                recording.close_spans(self._epoch_ms())
                self._end(recording, "stopped", "RECORD_STOP was not heard", stopped_ms=self._epoch_ms(),
                          spans=recording.spans)
            elif leg.answered_ms is None:
                self._end(recording, "discarded", f"never answered: {cause}" if cause else "never answered")
            elif leg.answer_unheard:
                # The switch began by itself, if it was armed in time: the file tells.
                recording.started_ms = leg.answered_ms
                self._save(recording, started_ms=recording.started_ms)
                self._lose(recording, "events of its leg were lost", self._epoch_ms())
            elif recording.missed and self._epoch_ms() - recording.missed[0] > SILENT_LOSS_MS:
                self._end(recording, "failed", f"ended before it started: {recording.missed[1]}")
            elif (recording.wanted_at <= leg.answered_at and self._epoch_ms() - leg.answered_ms <= SILENT_LOSS_MS) or (
                    recording.wanted_at > leg.answered_at and self._now_at - recording.wanted_at <= SILENT_LOSS_MS):
                self._end(recording, "discarded", "ended before it started")
            elif self._now_at - leg.answered_at <= SILENT_LOSS_MS:
                self._end(recording, "failed", "ended before it started: the engine heard late of the call")
            else:
                self._end(recording, "failed", "never started: the switch did not obey")

    def tick(self, now_at):
        """Finds what is late: what did not start, what is at its limit, what was told to stop and did not; and whom
        something is to be played to."""
        self._now_at = now_at
        for recording in list(self._watched):
            if recording.check_at is not None and recording.check_at <= now_at and not recording.busy:
                recording.check_at = now_at + START_WITHIN_MS
                self._orders.verify(recording)
            if recording.limit_at is not None and recording.limit_at <= now_at:
                recording.limit_at, recording.at_limit = None, True
                self._stop_soon(recording, now_at)
            elif recording.stop_at is not None and recording.stop_at <= now_at:
                self._stop_soon(recording, now_at)
            if recording.silence_at is not None and recording.silence_at <= now_at:
                recording.silence_at = None
                for path in recording.running:
                    self._orders.silence(recording, path)

        for recording in [recording for recording, (due_at, _, _) in self._bereft.items() if due_at <= now_at]:
            _, since_ms, why = self._bereft.pop(recording)
            if recording.leg.alive:  # most end with the transfer
                self._go_on(recording, (since_ms, why), now_at)
        self._announcer.tick(now_at)
        self._beeper.tick(now_at)
        self._vigil.tick(now_at)

    # -- what came of orders

    def found(self, recording, path):
        """The switch lists the file, though RECORD_START was not heard: its arming began it at the answer, or a command
        since the last look, at most two periods ago."""
        if recording.state == "armed":
            recording.running.append(path)
            by_command_ms = max(recording.asked_ms or 0, self._epoch_ms() - 2 * START_WITHIN_MS)
            self._begun(recording, recording.leg.answered_ms if path == recording.armed_path else by_command_ms)

    def failed(self, recording, reason, cause=None):
        """It cannot be recorded, and trying again would not help."""
        if recording.id in self._by_id and not recording.running:
            self._end(recording, "failed", reason, cause=cause)

    def unheard(self, recording):
        """A mask or pause did not reach the switch: it is said again."""
        if recording.id in self._by_id:
            recording.silence_at = self._now_at + SILENCE_AGAIN_MS
            self._watched.add(recording)

    def announced(self, recording, from_ms, to_ms, now_at):
        """All whom it is to be announced to have heard it, from and to these times of the switch."""
        recording.announced, recording.wanted_at = True, now_at
        recording.spans.append({"kind": "announced", "from_ms": from_ms, "to_ms": to_ms})
        self._save(recording, spans=recording.spans_now())
        if recording.state == "armed" and not recording.dropped and recording.announce.get("required"):
            self._start_soon(recording, now_at)

    def renew(self, recording, now_at):
        """Somebody is on the line now whom it was not announced to: it ends, and another waits until it was."""
        self.ends(recording, now_at)
        self._stop_soon(recording, now_at)
        another = Recording(new_id(), recording.leg, recording.plan, recording.account_id, recording.destination,
                            recording.settled, directory_of(recording.account_id), recording.source, now_at,
                            begun_as=recording.begun_as or recording.id, interaction_id=recording.interaction_id)
        for kind, span in recording.silenced.items():
            another.silence(kind, self._epoch_ms(), span.get("by"))
        self._plan(another)

    def decline(self, recording, at_ms, now_at):
        """A party does not want it. What of it there is, delivery erases: the row says so from now on, whoever dies."""
        if recording.declined or recording.id not in self._by_id:
            return
        recording.spans.append({"kind": "declined", "from_ms": at_ms, "to_ms": at_ms})
        log.info("recording declined", call_id=recording.leg.uuid, recording_id=recording.id)
        self._save(recording, spans=recording.spans_now())
        if recording.running:
            self._stop_soon(recording, now_at)
        else:
            self.call_off(recording, DECLINED, now_at)

    # -- bookkeeping

    def _which(self, event):
        """(id, path) of the recording that an event is of, ("", None) where that is none of ours. It is known by its
        path: the application `record` takes no variables along, and what is recorded elsewhere under an id of ours is
        not that recording."""
        path = self._files.relative(event.get("Record-File-Path"))
        recording_id = id_of(path)
        if not recording_id or event.get("Recording-Variable-kazoo_rec_id", recording_id) != recording_id:
            return "", None
        return recording_id, path

    def _go_on(self, gone, missed_since, now_at):
        gone.cut_short = False
        another = Recording(new_id(), gone.leg, gone.plan, gone.account_id, gone.destination, gone.settled,
                            directory_of(gone.account_id), gone.source, now_at,
                            missed=missed_since, begun_as=gone.begun_as or gone.id, interaction_id=gone.interaction_id)
        for kind, by in gone.silent_at_end:
            another.silence(kind, self._epoch_ms(), by)
        if self._plan(another):
            self._start_soon(another, now_at)

    def _begun(self, recording, started_ms):
        recording.state, recording.started_ms, recording.check_at = "recording", started_ms, None
        self._meter.states.labels("recording").inc()
        leg = recording.leg
        from_the_answer = (leg.answered_ms and not recording.is_message and recording.wanted_at <= leg.answered_at
                           and not recording.announce.get("required"))
        if recording.missed is None and from_the_answer:
            self._meter.began(started_ms, leg.answered_ms)
            if started_ms - leg.answered_ms > START_WITHIN_MS:
                recording.missed = leg.answered_ms, "the switch began late"
        elif recording.missed is None and leg.answered_ms and recording.wanted_ms and not recording.spans:
            due_ms = max(leg.answered_ms, recording.wanted_ms)
            if not recording.announce.get("required") and started_ms - due_ms > START_WITHIN_MS:
                recording.missed = due_ms, "the engine heard of it late"
        recording.note_missed()
        if recording.limit_at is None and recording.stop_at is None and recording.silence_at is None:
            self._watched.discard(recording)
        if recording.leg.held_ms is not None:
            recording.hold(started_ms)
        reason = missed(recording.spans)
        self._save(recording, state=recording.row_state, answered_ms=recording.leg.answered_ms, started_ms=started_ms,
                   master=recording.master,
                   **({"spans": recording.spans, "partial": True, "state_reason": reason} if reason else {}))
        recording.begun.set()
        self._vigil.began(recording, self._now_at)
        self._beeper.expect(recording, self._now_at)
        log.info("recording started", call_id=recording.leg.uuid, recording_id=recording.id)

    def _start_soon(self, recording, now_at):
        if recording.unannounced:
            return
        recording.asked_ms = self._epoch_ms()
        self._watch(recording, now_at + START_WITHIN_MS)
        self._orders.start(recording)

    def _stop_soon(self, recording, now_at):
        recording.stop_at = now_at + STOP_WITHIN_MS
        self._watched.add(recording)
        for path in recording.unwanted:
            self._orders.stop(recording, path)

    def live(self, leg):
        """Recordings of `leg` that have not ended."""
        return [recording for recording in leg.recordings if recording.id in self._by_id]

    def _watch(self, recording, check_at):
        recording.check_at = check_at
        self._watched.add(recording)

    def _save(self, recording, **columns):
        told = "state" in columns and self._told_of(recording, columns["state"])
        recording.row = (self._rows.tell(recording.id, columns, told) if told
                         else self._rows.update(recording.id, **columns))
        recording.row.rawlink(_row_refused)

    def _told_of(self, recording, state):
        return self._webhook({"id": recording.id, "node": self._node, "account_id": recording.account_id,
                              "settings": recording.plan.settings}, state)

    def _notify(self, recording, what):
        if told := self._told_of(recording, what):
            self._rows.notify(told).rawlink(_row_refused)

    def _end(self, recording, state, reason, **columns):
        recording.state, recording.reason = state, reason
        recording.begun.set()
        recording.ended.set()
        self._meter.states.labels(state).inc()
        if state == "failed":
            self._meter.lost(state, reason)
        self._by_id.pop(recording.id, None)
        self._watched.discard(recording)
        self._vigil.ended(recording)
        self._save(recording, state=state, state_reason=reason, answered_ms=recording.leg.answered_ms, **columns)
        log.info(f"recording {state}", call_id=recording.leg.uuid, recording_id=recording.id, reason=reason)


def _unknown(result, recording_id, path):
    if not result.value:
        log.error("a recording ended of which no row is open", recording_id=recording_id, path=path)


def _row_refused(result):
    if result.exception is not None:
        log.error("a row was refused by the database", reason=str(result.exception))
