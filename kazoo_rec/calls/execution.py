"""Orders about recordings of a leg, carried out while who gave them waits for the switch to obey."""

from collections.abc import Iterable
from contextlib import contextmanager

import gevent
from gevent.lock import Semaphore

from kazoo_rec.calls.leg import Leg
from kazoo_rec.calls.orders import COMMAND_WITHIN_S, ROW_WITHIN_S
from kazoo_rec.calls.recording import Past, Recording
from kazoo_rec.calls.word import YES_WITHIN_S, Word
from kazoo_rec.errors import CommandTimeout, SwitchError, WrongState
from kazoo_rec.switch import commands, replies

#: What an order does to a recording: the kind of its span, and the command.
SILENCES = {"mask": ("mask", commands.mask), "pause": ("pause", commands.pause)}
ENDS_SILENCE = {"unmask": ("mask", commands.unmask), "resume": ("pause", commands.resume)}

#: Longer than an order that nobody answers takes: one that gave up would not have said that it is to be silent.
ORDER_WITHIN_S = 30.0

#: Seconds within which what is armed says RECORD_START (see recorder.py).
STARTED_WITHIN_S = 0.25

#: Seconds within which a recording ends after the switch has said that it will.
EVENT_WITHIN_S = 2.0

#: Seconds within which rows are durable that somebody is answered about.
DURABLE_WITHIN_S = 2.0


class Execution:
    """Each method raises WrongState where the switch refuses, CommandTimeout or NotConnected where it is not known what
    it did; for an order that changes a recording also where it is not there any more (`calls.word`). A mask or pause is
    in the row before the switch is told of it, and its end after."""

    def __init__(self, recorder, send, files, epoch_ms, now_at):
        self._recorder, self._send, self._files = recorder, send, files
        self._epoch_ms, self._now_at, self._word = epoch_ms, now_at, Word(send, files)

    def begin(self, leg: Leg, plan: Past, account_id: str) -> Recording:
        """One more recording of `leg`, which is to begin; does not wait."""
        before = len(leg.recordings)
        self._recorder.want(leg, [(plan, account_id, None, True)], leg.identity.network, self._now_at())
        return leg.recordings[before]

    def begun(self, leg: Leg, recording: Recording):
        """Armed where `leg` rings, else begun, unless it waits (for a bridge, to be told of, for its silence to end).
        After CommandTimeout it may begin yet."""
        observed = recording.id not in self._recorder and not recording.ended.is_set()
        waits = recording.silenced or recording.awaits_bridge or recording.unannounced
        if observed or leg.answered_ms is None or waits:
            return
        if not recording.begun.wait(COMMAND_WITHIN_S):
            raise CommandTimeout("the recording has not begun yet")
        if recording.ended.is_set():
            raise WrongState("the recording did not begin", recording.reason or "")

    def stop(self, leg: Leg, recordings: Iterable[Recording], why: str):
        """`why` is for those that had not begun. What the switch did not hear is said again (`Recorder.ends`)."""
        def end(one):
            if one.running:
                self._recorder.ends(one, self._now_at())
                self._word.tell(one, commands.stop)
                if not one.ended.wait(EVENT_WITHIN_S):
                    raise CommandTimeout("the recording has not ended yet")
                return
            try:
                if leg.answered_ms is None:
                    self._send(commands.disarm(leg.uuid, [one.id]), COMMAND_WITHIN_S)
            finally:
                self._recorder.call_off(one, why, self._now_at())

        _each(recordings, end)

    def written(self, recordings: Iterable[Recording]):
        """Returns when what has become of these is durable: until then an engine after this one would record on. Raises
        CommandTimeout."""
        rows = [one.row for one in recordings if one.row is not None]  # None: unchanged since it was taken up
        with gevent.Timeout(DURABLE_WITHIN_S, False):
            for row in rows:
                row.wait()
        if not all(row.successful() for row in rows):
            raise CommandTimeout("the database has not written yet that this is over")

    def silence(self, recordings: Iterable[Recording], action: str, *, own: bool = False):
        """`own`: by the action that began it, as `by` of `Recording.silence`; else for all of the leg. One that the
        switch did not hear of is said again (`Recorder.unheard`)."""
        kind, command = SILENCES[action]
        changed = [one for one in recordings if self._recorder.silence(one, kind, one.plan.rule if own else None)]
        with gevent.Timeout(ROW_WITHIN_S, False):
            for one in changed:
                one.row.wait()

        def silence(one):
            try:
                if not one.running and one.leg.answered_ms is None:
                    # The switch would begin it aloud; it is started by command once it may be heard.
                    self._send(commands.disarm(one.leg.uuid, [one.id]), YES_WITHIN_S)
                self._find(one)
                self._word.order(one, command)
            except WrongState:
                if one in changed:
                    self._recorder.unsilence(one, kind, 0)  # a span of no length
                raise
            except SwitchError:
                self._recorder.unheard(one)
                raise

        _each(recordings, silence)

    def end_silence(self, recordings: Iterable[Recording], action: str):
        """One of which it is not known whether the switch ended it goes on, as its row says, and is said again."""
        kind, command = ENDS_SILENCE[action]

        def end(one):
            until_ms = self._epoch_ms()
            try:
                self._word.order(one, command)
            except SwitchError:
                self._recorder.unheard(one)
                raise
            self._recorder.unsilence(one, kind, until_ms)

        _each(recordings, end)

    def _find(self, one):
        """The switch may have begun it, and RECORD_START be on its way, or lost."""
        if one.running or one.leg.answered_ms is None or one.check_at is None or one.begun.wait(STARTED_WITHIN_S):
            return
        listed = replies.recorded(self._send(commands.buglist(one.leg.uuid), YES_WITHIN_S))
        for path in (one.armed_path, one.fallback_path):
            if self._files.on_switch(path) in listed:
                self._recorder.found(one, path)


def _each(recordings, order):
    """Every one, whatever becomes of those before it; then what the first raised."""
    faults = []
    for one in recordings:
        try:
            order(one)
        except (WrongState, SwitchError) as fault:
            faults.append(fault)
    if faults:
        raise faults[0]


@contextmanager
def one_at_a_time(leg: Leg):
    """Who orders about a leg waits for who did before."""
    leg.ordered = leg.ordered or Semaphore()
    if not leg.ordered.acquire(timeout=ORDER_WITHIN_S):
        raise CommandTimeout("an order of before is still on its way")
    try:
        yield
    finally:
        leg.ordered.release()
