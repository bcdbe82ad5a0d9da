"""What is being recorded, from plan to end: arm before the answer, verify, fall back.

A leg is armed while it rings (`execute_on_answer_<id>`): the switch itself starts at the answer, with no round trip.
CHANNEL_ANSWER carries the leg's variables as they were just before: where ours is missing, the arming came too late,
and the recording is started by command, to another file. Where it is there, RECORD_START follows within 22 ms; only
if none came after 250 ms, and the switch does not list the file, is it started by command. Nothing is ever started
on a leg that has not answered: on a ringing callee that kills the call (FreeSWITCH, switch_ivr_async.c). Nor, for as
long, on one of several callees before its bridge: of two that answer together the switch hangs one up, and a recording
begun just then keeps that leg there for ever (recording_thread holds its lock, and switch_core_session_thread waits).

Methods are called by the tracker as events come and never wait: what the switch is told is `orders.py`'s, how a
recording ends `ending.py`'s, what goes on for it `succession.py`'s, and what an engine before left `resumption.py`'s.
"""

import gevent
import structlog

from kazoo_rec.calls.announcement import DECLINED, Announcer
from kazoo_rec.calls.astray import armed
from kazoo_rec.calls.beep import Beeper
from kazoo_rec.calls.ending import Endings
from kazoo_rec.calls.ledger import Ledger
from kazoo_rec.calls.leg import has_media
from kazoo_rec.calls.meter import Meter
from kazoo_rec.calls.orders import Orders
from kazoo_rec.calls.recording import CALLED_OFF, DROPPED, Recording, directory_of, new_id
from kazoo_rec.calls.resumption import Resumption
from kazoo_rec.calls.succession import Succession
from kazoo_rec.calls.vigil import ALARM, Vigil
from kazoo_rec.store.spans import declined, missed

#: How long an armed recording may take to say RECORD_START; 22 ms is the longest seen.
START_WITHIN_MS = 250

#: An arming is taken this long after its leg's CHANNEL_CREATE at most, unless the engine is behind.
ARMED_WITHIN_MS = 1000

#: How long a stop may go without RECORD_STOP before it is sent again; sending it twice is harmless.
STOP_WITHIN_MS = 1000

#: Why nothing is recorded of an account that the disk has no room for.
OVER_QUOTA = "not recorded: the account is over its quota, and the disk is nearly full"

#: Milliseconds before a mask or pause is said again, and between looks whether what waits for its end began unheard.
SILENCE_AGAIN_MS = 1000

log = structlog.get_logger()


class Recorder:
    """Everything that is being recorded on one switch: `endings`, `succession` and `resumption` are of the same.

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
      refuses: whether nothing more is to be recorded of an account, by its id.
    """

    ORDERS = Orders

    def __init__(self, node, send, rows, files, epoch_ms, spawn=gevent.spawn, observe=False, meter=None,
                 listen=lambda names: None, webhook=lambda row, state: None, on_no_recording=lambda account_id: ALARM,
                 refuses=lambda account_id: False):
        self._files, self._epoch_ms, self._observe, self._now_at = files, epoch_ms, observe, 0
        self._refuses = refuses
        self._meter = meter or Meter()
        self._ledger = Ledger(node, rows, webhook, self._meter, lambda recording: self._vigil.ended(recording))
        self._orders = self.ORDERS(send, files, spawn, self)
        self._announcer, self._beeper = Announcer(send, listen, spawn, self), Beeper(send, spawn)
        self._vigil = Vigil(send, files, spawn, self, on_no_recording, self._meter, epoch_ms, self._ledger.notify)
        self.succession = Succession(self, self._ledger, epoch_ms)
        self.endings = Endings(self._ledger, self._orders, self.succession, self._announcer, files, epoch_ms, observe,
                               self.begun)
        self.resumption = Resumption(self, self._ledger, self._orders, files, epoch_ms, observe)

    def __len__(self):
        return len(self._ledger)

    def __contains__(self, recording_id):
        return recording_id in self._ledger

    def live(self, leg):
        """Recordings of `leg` that have not ended."""
        return self._ledger.live(leg)

    def of_rule(self, rule):
        """Recordings that have not ended, of every leg."""
        return self._ledger.of_rule(rule)

    # -- what the tracker tells

    def want(self, leg, wanted, source, now_at, event_ms=None):
        """Records `leg` for each of `wanted`: (plan, account id, destination, settled). `event_ms` is when, by the
        switch's clock, what made them wanted happened: this may be heard late."""
        made = []
        for plan, account_id, destination, settled in wanted:
            recording = Recording(new_id(), leg, plan, account_id, destination, settled, directory_of(account_id),
                                  source, now_at, missed=leg.missed, wanted_ms=event_ms)
            kinds = (one.silent_for_all for one in self._ledger.live(leg) if one.account_id == account_id)
            for kind in leg.silent.pop(account_id, set()).union(*kinds):
                recording.silence(kind, self._epoch_ms())
            if not self.resumption.claim(recording, now_at) and self.plan(recording):
                made.append(recording)
        if made:
            self.order(leg, made, now_at)

    def take_down(self, leg, plan, account_id, now_at):
        """A recording that the application `record` is about to make of `leg`: it obeys no command."""
        recording = Recording(new_id(), leg, plan, account_id, None, True, directory_of(account_id),
                              leg.identity.network, now_at)
        self.plan(recording)
        return recording

    def missing(self, now_at) -> tuple[int, int]:
        """As `calls.vigil.Vigil.missing`."""
        return self._vigil.missing(now_at)

    def renamed(self, leg):
        for recording in self._ledger.live(leg):
            self._ledger.save(recording, call_id=leg.uuid)

    def bypassed(self, leg):
        """`leg`, which rings, will have no media: what is armed would harm its call."""
        for recording in self._ledger.live(leg):
            if not recording.is_message:
                self._orders.disarm(recording)

    def answered(self, leg, event, now_at):
        """CHANNEL_ANSWER of `leg`: what was armed in time is watched, what was not is started now. A leg without media
        is not touched: a command could end its call."""
        leg.answered_at = self._now_at = now_at
        for recording in self._ledger.live(leg):
            if recording.state != "armed" or recording.dropped or recording.is_message:
                continue
            recording.missed = leg.missed
            if not has_media(event):
                self._ledger.end(recording, "failed", "no media")
            elif recording.unannounced:
                continue
            elif event.variable(f"execute_on_answer_{recording.id}"):
                self.watch(recording, now_at)
            else:
                log.info("armed too late, starting by command", call_id=leg.uuid, recording_id=recording.id)
                if leg.call.has_rival(leg):
                    recording.awaits_bridge = True
                    self.watch(recording, now_at)
                else:
                    self.start(recording, now_at)

    def heard_partner(self, leg, now_at):
        """Once `leg` is both answered and bridged, recordings that wait for that begin, and their limit with them."""
        if leg.answered_ms is None or leg.bridged_ms is None:
            return
        self._announcer.met(leg)
        for recording in self._ledger.live(leg):
            if recording.awaits_bridge:
                recording.awaits_bridge = False
                if recording.state == "armed" and not recording.dropped:
                    self.start(recording, now_at)
            if recording.on_bridge and recording.limit_at is None and not recording.at_limit:
                recording.limit_at = now_at + recording.plan.settings["time_limit"] * 1000
                self._ledger.watched.add(recording)

    def heard(self, leg, event, now_at):
        """PLAYBACK_START, PLAYBACK_STOP or DTMF of `leg`."""
        self._announcer.heard(leg, event, now_at)

    def held(self, leg):
        for recording in self._ledger.live(leg):
            if recording.state == "recording":
                recording.hold(leg.held_ms)

    def unheld(self, leg, at_ms):
        for recording in self._ledger.live(leg):
            recording.unhold(at_ms)

    def started(self, event, now_at):
        """RECORD_START of a recording of ours."""
        recording_id, path = self.endings.which(event)
        recording = self._ledger.get(recording_id)
        if recording is None and recording_id and path and not self._observe:
            # From before a restart: its arming was fired after all.
            self._ledger.began_unknown(recording_id, event.time_us // 1000, path)
        if recording is not None and path is not None and self._runs(recording, path, now_at):
            recording.begun_at = self._now_at = now_at
            self.begun(recording, event.time_us // 1000, now_at)

    def drop(self, recording, reason, now_at):
        """Ends a recording that should not be, and leaves nothing of it but its row, which says so from now on.

        It is kept in mind until its leg is gone: where the disarming comes too late, RECORD_START stops it.
        """
        if recording.dropped:
            return
        recording.dropped, recording.reason, recording.check_at = True, reason, None
        if recording.id not in self._ledger:
            return
        if recording.running:
            self.stop(recording, now_at)
        elif recording.leg.answered_ms is None:
            self._orders.disarm(recording)
        self._ledger.save(recording, state="discarded", state_reason=reason, cause=DROPPED)

    def call_off(self, recording, reason, now_at):
        """As `drop`, by somebody's order: no rule asks for it again, nor does an engine after this one."""
        recording.called_off = True
        self.drop(recording, reason, now_at)
        self._ledger.save(recording, state="discarded", state_reason=reason, cause=CALLED_OFF)

    def ends(self, recording, now_at):
        """It is being told to stop: from STOP_WITHIN_MS on, until it has, it is told again."""
        recording.ending, recording.stop_at = True, now_at + STOP_WITHIN_MS
        self._ledger.watched.add(recording)

    def silence(self, recording, kind, by=None) -> bool:
        """Says in the row that it is silent from now on, by the action `by` or, without, for all; False where the row
        says so already."""
        silenced = recording.silence(kind, self._epoch_ms(), by)
        if silenced:
            self._save_silence(recording)
        return silenced

    def unsilence(self, recording, kind, at_ms):
        if kind in recording.silenced:
            if kind in recording.silent_for_all:
                recording.leg.silent.get(recording.account_id, set()).discard(kind)
            recording.unsilence(kind, at_ms)
            if recording.check_at is not None:
                self.watch(recording, self._now_at)
            if recording.id in self._ledger:
                self._save_silence(recording)

    def _save_silence(self, recording):
        runs = recording.state == "recording" and not recording.dropped
        self._ledger.save(recording, spans=recording.spans_now(), **({"state": recording.row_state} if runs else {}))

    def tick(self, now_at):
        """Finds what is late: what did not start, what is at its limit, what was told to stop and did not; and whom
        something is to be played to."""
        self._now_at = now_at
        for recording in list(self._ledger.watched):
            if recording.check_at is not None and recording.check_at <= now_at and not recording.busy:
                recording.check_at = now_at + (SILENCE_AGAIN_MS if recording.silenced else START_WITHIN_MS)
                self._orders.verify(recording)
            if recording.limit_at is not None and recording.limit_at <= now_at:
                recording.limit_at, recording.at_limit = None, True
                self.stop(recording, now_at)
            elif recording.stop_at is not None and recording.stop_at <= now_at:
                self.stop(recording, now_at)
            if recording.silence_at is not None and recording.silence_at <= now_at:
                recording.silence_at = None
                for path in recording.running:
                    self._orders.silence(recording, path)
        self.succession.tick(now_at)
        self._announcer.tick(now_at)
        self._beeper.tick(now_at)
        self._vigil.tick(now_at)

    # -- what came of orders

    def armed(self, recordings):
        """The switch took their arming; where what made them wanted was heard late, after an answer for all we know."""
        for recording in recordings:
            heard_ms = recording.wanted_ms
            recording.armed_in_time = heard_ms is None or self._epoch_ms() - heard_ms <= ARMED_WITHIN_MS

    def obeyed(self, recording):
        """The switch took a start by command."""
        recording.obeyed_ms = self._epoch_ms()

    def found(self, recording, path):
        """The switch lists the file, though RECORD_START was not heard: its arming began it at the answer, or a command
        when that was answered; unless it was, since the last look, at most two periods ago."""
        if recording.state == "armed" and self._runs(recording, path, self._now_at):
            by_command_ms = recording.obeyed_ms or max(recording.asked_ms or 0, self._epoch_ms() - 2 * START_WITHIN_MS)
            self.begun(recording, recording.leg.answered_ms if path == recording.armed_path else by_command_ms,
                       self._now_at)

    def _runs(self, recording, path, now_at) -> bool:
        """The switch records to `path`: silent, if it should be. False where it should not, and is told to stop."""
        if recording.id not in self._ledger or path in recording.running:
            return False
        recording.running.append(path)
        self._orders.silence(recording, path)
        if recording.unwanted:
            self.stop(recording, now_at)
            return False
        return True

    def failed(self, recording, reason, cause=None):
        """It cannot be recorded, and trying again would not help."""
        if recording.id in self._ledger and not recording.running:
            self._ledger.end(recording, "failed", reason, cause=cause)

    def unheard(self, recording):
        """A mask or pause did not reach the switch: it is said again."""
        if recording.id in self._ledger:
            recording.silence_at = self._now_at + SILENCE_AGAIN_MS
            self._ledger.watched.add(recording)

    def announced(self, recording, from_ms, to_ms, now_at):
        """All whom it is to be announced to have heard it, from and to these times of the switch."""
        recording.announced, recording.wanted_at = True, now_at
        recording.spans.append({"kind": "announced", "from_ms": from_ms, "to_ms": to_ms})
        self._ledger.save(recording, spans=recording.spans_now())
        if recording.state == "armed" and not recording.dropped and recording.announce.get("required"):
            self.start(recording, now_at)

    def renew(self, recording, now_at):
        """Somebody is on the line now whom it was not announced to: it ends, and another waits until it was."""
        self.ends(recording, now_at)
        self.stop(recording, now_at)
        self.succession.renew(recording, now_at)

    def decline(self, recording, at_ms, now_at):
        """A party does not want it. What of it there is, delivery erases: the row says so from now on, and beside its
        file a mark, should the row never get to the database."""
        if recording.declined or recording.id not in self._ledger:
            return
        recording.spans.append(declined(at_ms))
        log.info("recording declined", call_id=recording.leg.uuid, recording_id=recording.id)
        self._ledger.save(recording, spans=recording.spans_now())
        if recording.running:
            self._orders.mark(recording)
            self.stop(recording, now_at)
        else:
            self.call_off(recording, DECLINED, now_at)

    # -- what it offers to those that have something recorded, or take it up

    def plan(self, recording) -> bool:
        """Enters it, with its row; False where nothing is to be ordered."""
        leg, plan = recording.leg, recording.plan
        leg.recordings.append(recording)
        log.info("recording planned", call_id=leg.uuid, recording_id=recording.id, account=recording.account_id,
                 leg=plan.leg, reason=plan.reason)
        if self._observe:
            return False
        self._ledger.open(recording, self._epoch_ms())
        if leg.call.declines(recording.account_id) and not recording.is_message:
            self._ledger.end(recording, "discarded", DECLINED, cause=CALLED_OFF)
            return False
        if self._refuses(recording.account_id) and not recording.is_message:
            self._ledger.end(recording, "failed", OVER_QUOTA)
            return False
        self.expect(recording)
        return True

    def order(self, leg, made, now_at):
        """Has the switch record what was planned for `leg`: at its answer, or now."""
        if leg.answered_ms is None:
            if not leg.bypassed:
                self._orders.arm(leg, made)
        elif leg.bypassed:
            for recording in made:
                self._ledger.end(recording, "failed", "no media")
        else:
            for recording in made:
                self.start(recording, now_at)
            self.heard_partner(leg, now_at)

    def expect(self, recording):
        """It is to begin, or goes on: what has to be played is played, and its absence is noticed."""
        self._announcer.expect(recording)
        self._vigil.expect(recording)

    def begun(self, recording, started_ms, now_at):
        """The switch records it since then, by its clock; what is missing before that, the row says."""
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
            self._ledger.watched.discard(recording)
        if leg.held_ms is not None:
            recording.hold(max(started_ms, leg.held_ms))
        reason = missed(recording.spans)
        self._ledger.save(
            recording, state=recording.row_state, answered_ms=leg.answered_ms, started_ms=started_ms,
            master=recording.master,
            **({"spans": recording.spans, "partial": True, "state_reason": reason} if reason else {}))
        recording.begun.set()
        self.goes_on(recording, now_at)
        log.info("recording started", call_id=leg.uuid, recording_id=recording.id)

    def start(self, recording, now_at):
        """By command, unless it waits to be announced."""
        if recording.unannounced:
            return
        recording.asked_ms = self._epoch_ms()
        self.watch(recording, now_at)
        self._orders.start(recording)

    def stop(self, recording, now_at):
        """Whatever of it the switch should not record, until that says it does not."""
        recording.stop_at = now_at + STOP_WITHIN_MS
        self._ledger.watched.add(recording)
        for path in recording.unwanted:
            self._orders.stop(recording, path)

    def watch(self, recording, now_at):
        """Looks, from START_WITHIN_MS on, whether it has begun."""
        recording.check_at = now_at + START_WITHIN_MS
        self._ledger.watched.add(recording)

    def goes_on(self, recording, now_at):
        """The switch records it."""
        self._vigil.began(recording, now_at)
        self._beeper.expect(recording, now_at)

    def disown(self, uuid, recording_id, path):
        """Ends what the switch records to `path` on the leg, or (None) has armed, and no row tells of: as
        `Orders.disown`."""
        return self._orders.disown(uuid, recording_id, path)

    def armed_before(self, event) -> bool:
        """Whether the leg of an event, which is not known, has a recording of ours armed."""
        return any(armed(event, self._files))

    def doubt(self, leg):
        """News of `leg` may have been missed."""
        self._announcer.doubt(leg)

    def keep_limit(self, recording, now_at):
        """Of one that is recorded already: what the switch does not end by itself, the engine will."""
        leg = recording.leg
        if recording.on_bridge and leg.bridged_ms is not None:
            since_ms = self._epoch_ms() - max(leg.bridged_ms, leg.answered_ms)
            recording.limit_at = now_at - since_ms + recording.plan.settings["time_limit"] * 1000
            self._ledger.watched.add(recording)
