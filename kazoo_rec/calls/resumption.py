"""Takes up what an engine before this one left, or what this one missed while it was not connected."""

import gevent
import structlog

from kazoo_rec.calls.recording import CALLED_OFF, DROPPED, MUTED, Recording
from kazoo_rec.store.recordings import OPEN_STATES

#: Seconds for a look whether a file is there: events of calls wait meanwhile. A disk that hangs takes no recording.
DISK_WITHIN_S = 0.2

log = structlog.get_logger()


class Resumption:
    """Of one switch. Methods wait for the disk at most, and not for long.

    Parameters:
      recorder: `calls.recorder.Recorder`: what it offers to who takes recordings up.
      ledger: `calls.ledger.Ledger`.
      orders: `calls.orders.Orders`.
      files: `calls.files.Files`.
      epoch_ms: the switch's clock.
      observe: command nothing, write no row.
    """

    def __init__(self, recorder, ledger, orders, files, epoch_ms, observe):
        self._recorder, self._ledger, self._orders = recorder, ledger, orders
        self._files, self._epoch_ms, self._observe = files, epoch_ms, observe
        #: Of legs that their switch has lost, by uuid: their `declined` and `silent`, and recordings that are over.
        self._kept: dict[str, tuple[set, dict, list]] = {}

    def keep(self, leg):
        """`leg` is lost with its switch, which may recover it under its uuid: what people wanted of it holds then too.
        """
        newest = {(one.plan.rule, one.account_id): one for one in leg.recordings}.values()
        over = [one for one in newest if one.over and (one.called_off or not one.dropped)]
        silent = {account_id: set(kinds) for account_id, kinds in leg.silent.items()}
        for one in {*newest, *self._ledger.live(leg)} - {*over}:
            silent.setdefault(one.account_id, set()).update(one.silent_for_all)
        declined = leg.declined | {one.account_id for one in leg.recordings if one.declined}
        if declined or over or any(silent.values()):
            self._kept[leg.uuid] = declined, silent, over

    def entered(self, leg):
        """`leg` is known from now on: what was kept of it is its own again."""
        leg.declined, leg.silent, leg.recordings = self._kept.pop(leg.uuid, (leg.declined, leg.silent, leg.recordings))
        for recording in leg.recordings:
            recording.leg = leg

    def resume(self, leg, row, armed, listed, now_at):
        """`row` is of `leg`, which is in progress; `armed` says that its arming may begin it yet, `listed` are the
        paths that the switch records to. What has ended is not made again where its end was heard: by its limit, or by
        somebody. Of what is not made again nor goes on, the silences are for what takes its place."""
        if any(one.id == row["id"] for one in leg.recordings):
            return  # it was kept
        recording = Recording.of_row(leg, row)
        paths = [path for path in (recording.armed_path, recording.fallback_path) if path in listed]
        if recording.declined:
            leg.declined.add(recording.account_id)
        if row["state"] == "discarded" and row["cause"] in (CALLED_OFF, DROPPED) and not recording.declined:
            recording.dropped, recording.called_off = True, row["cause"] == CALLED_OFF
            recording.reason = row["state_reason"]
            self._undo(recording, paths, armed, now_at)
        elif self._observe or (row["state"] not in OPEN_STATES and not (recording.declined and paths)):
            if any(span["kind"] == "unordered" for span in recording.spans):
                self._hand_on(recording, row)  # its engine died before the leg got another
            elif row["cause"]:
                leg.recordings.append(recording)
        elif paths:
            self._take_up(recording, paths)
            self._go_on(recording, row, now_at)
        elif recording.declined:
            leg.recordings.append(recording)
            self._ledger.end(recording, "stopped", None, stopped_ms=self._epoch_ms(), spans=recording.spans)
        elif armed or row["state"] == "armed":
            self._await(recording, row, armed, now_at)
        else:
            leg.silent.setdefault(recording.account_id, set()).update(recording.silent_for_all)

    def claim(self, recording, now_at) -> bool:
        """Whether what the switch has of its leg already, and no row tells of, is `recording`, which was about to be
        made and goes on as that. Else what is there of its rule ends first, and that far nothing is missing. Of what
        does not tell its rule, and ends as well, it is not known whether it is of this one: all that may be missing is
        told."""
        leg = recording.leg
        there = [one for one in leg.foundlings if one.account_id == recording.account_id]
        own = [one for one in there if one.comment and not one.taken and one.gone is None
               and (one.comment.rule, one.comment.leg) == (recording.plan.rule, recording.plan.leg)]
        if len(own) == 1 and self._is(recording, own[0]):
            own[0].taken = True
            self._go_on_as(recording, own[0], now_at)
            return True
        for one in own:
            one.end(leg, self._recorder.disown)
        recording.follows = tuple(gone for one in there for gone in one.gone or ())
        if any(one.paths for one in own):
            recording.missed = self._epoch_ms(), "the recording before it had lost its row"
        return False

    def _is(self, recording, foundling):
        said = foundling.comment
        return said == recording.comment(self._ledger.node)._replace(interaction_id=said.interaction_id)

    def _go_on_as(self, recording, foundling, now_at):
        leg = recording.leg
        recording.id, recording.directory = foundling.id, foundling.directory
        recording.interaction_id = foundling.comment.interaction_id
        recording.running, recording.announced = foundling.paths, bool(foundling.paths)
        recording.missed, recording.wanted_at = None, leg.answered_at  # it was wanted before that
        leg.recordings.append(recording)
        self._ledger.open(recording, self._epoch_ms())
        log.warning("a recording of which no row told is taken up", call_id=leg.uuid, recording_id=recording.id)
        self._recorder.expect(recording)
        if foundling.paths:
            for path in recording.running:
                self._orders.silence(recording, path)
            if recording.unwanted:
                self._recorder.stop(recording, now_at)
            self._recorder.begun(recording, foundling.began_ms, now_at)
            self._recorder.keep_limit(recording, now_at)
        elif leg.answered_ms is not None:
            self._recorder.watch(recording, now_at)
        if leg.call.declines(recording.account_id):
            self._recorder.decline(recording, self._epoch_ms(), now_at)

    @staticmethod
    def _hand_on(recording, row):
        """What it was silent by as it ended is for what takes its place."""
        kinds = {span["kind"] for span in recording.spans
                 if span["kind"] in ("mask", "pause") and span["to_ms"] == row["stopped_ms"] and "by" not in span}
        recording.leg.silent.setdefault(recording.account_id, set()).update(kinds)

    def _take_up(self, recording, paths):
        recording.running = paths
        recording.leg.recordings.append(recording)
        self._ledger.take_up(recording)
        log.info("recording taken up again", call_id=recording.leg.uuid, recording_id=recording.id,
                 state=recording.state)
        self._recorder.expect(recording)

    def _go_on(self, recording, row, now_at):
        """The switch records it."""
        leg = recording.leg
        if all(span.get("by") != MUTED for span in recording.silenced.values()):
            for path in recording.running:
                self._orders.silence(recording, path)  # the switch does not tell whether it is: the row is the truth
        if recording.unwanted:
            self._recorder.stop(recording, now_at)
        if recording.state == "armed":
            since_ms = max(leg.answered_ms, row["armed_ms"]) if leg.answered_ms else self._epoch_ms()
            self._recorder.begun(recording, since_ms, now_at)
        else:
            self._recorder.goes_on(recording, now_at)
        self._recorder.keep_limit(recording, now_at)

    def _await(self, recording, row, armed, now_at):
        """It does not run: it is armed, waits for something, or nobody has told the switch."""
        leg, untold = recording.leg, not armed and self._is_untold(recording)
        if not (armed or recording.silenced or recording.unannounced or untold):
            return
        self._take_up(recording, [])
        if recording.silenced:
            self._recorder.watch(recording, now_at)
        elif untold:
            if leg.answered_ms is not None:
                recording.missed = max(row["armed_ms"], leg.answered_ms), "the engine was not connected"
            self._ledger.save(recording, answered_ms=leg.answered_ms)
            self._recorder.order(leg, [recording], now_at)
        elif armed and leg.answered_ms is not None:
            self._recorder.watch(recording, now_at)

    def _undo(self, recording, paths, armed, now_at):
        """What should not be, and the engine before this one had not ended or disarmed."""
        recording.leg.recordings.append(recording)
        if self._observe or not (paths or armed):
            return
        recording.running = paths
        self._ledger.take_up(recording)
        log.info("recording taken up again to end it", call_id=recording.leg.uuid, recording_id=recording.id)
        if paths:
            self._recorder.stop(recording, now_at)
        else:
            self._orders.disarm(recording)

    def _is_untold(self, recording):
        """Of one that was armed, whether its engine died before it told the switch. Rules are asked anew; nobody asks
        an action again."""
        paths, found = (recording.armed_path, recording.fallback_path), True
        if recording.by_action:
            with gevent.Timeout(DISK_WITHIN_S, False):
                found = any(map(self._files.exists, paths))
        return not found

    def unlisted(self, leg, listed):
        """News of `leg` may have been missed: what the switch does not record of it any more (`listed` are the paths
        that it does). What it does is silent if it should be."""
        self._recorder.doubt(leg)
        running = [recording for recording in self._ledger.live(leg) if recording.state == "recording"]
        for recording in running:
            for path in listed.intersection(recording.running):
                self._orders.silence(recording, path)
        return [recording for recording in running if listed.isdisjoint(recording.running)]
