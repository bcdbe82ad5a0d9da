"""Another recording in the place of one that has ended, of the same settings and silent by what that was.

Of a leg that goes on though its recording was ended by nobody's order, or taken along by a transfer; of the leg that
goes on without the one that was recorded; of a leg that somebody joins whom nothing was announced to.
"""

from kazoo_rec.calls.recording import Recording, directory_of, new_id

#: Milliseconds before a leg gets another: with most, the leg ends as well, and its end is on its way.
ANOTHER_AFTER_MS = 250


class Succession:
    """Of one switch.

    Parameters:
      recorder: `calls.recorder.Recorder`: `plan(recording)`, `order(leg, recordings, now_at)`.
      ledger: the recorder's.
      epoch_ms: the switch's clock.
    """

    def __init__(self, recorder, ledger, epoch_ms):
        self._recorder, self._ledger, self._epoch_ms = recorder, ledger, epoch_ms
        #: Whose leg goes on without it: when it gets another, since when it has none, and why.
        self._bereft: dict[Recording, tuple[int, int, str]] = {}

    def expect(self, gone: Recording, since_ms: int, why: str, now_at: int):
        """Its leg gets another, unless it ends now; nothing of it is recorded since `since_ms`, and its row says why.
        """
        self._bereft[gone] = now_at + ANOTHER_AFTER_MS, since_ms, why

    def forget(self, recordings):
        """Those of these whose leg goes on without them get no other, by order: it is as if that had ended them, for an
        engine after this one too."""
        for gone in recordings:
            if self._bereft.pop(gone, None):
                gone.ending = True
                gone.spans = [span for span in gone.spans if span["kind"] != "unordered"]
                self._ledger.save(gone, spans=gone.spans_now())

    def tick(self, now_at: int):
        for gone in [gone for gone, (due_at, _, _) in self._bereft.items() if due_at <= now_at]:
            _, since_ms, why = self._bereft.pop(gone)
            if gone.leg.alive:  # most end with the transfer
                gone.cut_short = False
                another = self._after(gone, gone.silent_at_end, now_at, missed=(since_ms, why))
                if self._recorder.plan(another):
                    self._recorder.order(gone.leg, [another], now_at)

    def follow(self, gone: Recording, leg, now_at: int):
        """Records `leg`, which goes on without the leg of `gone`."""
        plan = gone.plan._replace(leg="B" if leg.called else "A",
                                  reason=f"{gone.plan.reason} Leg {gone.leg.uuid} was transferred away.")
        another = self._after(gone, gone.silent_at_end, now_at, leg=leg, plan=plan, settled=True)
        if self._recorder.plan(another):
            self._recorder.order(leg, [another], now_at)

    def renew(self, ending: Recording, now_at: int):
        """Plans the one that waits for its announcement while `ending` ends."""
        silent = [(kind, span.get("by")) for kind, span in ending.silenced.items()]
        self._recorder.plan(self._after(ending, silent, now_at))

    def _after(self, gone, silent, now_at, leg=None, plan=None, settled=None, missed=None):
        leg = leg or gone.leg
        another = Recording(
            new_id(), leg, plan or gone.plan, gone.account_id, gone.destination,
            gone.settled if settled is None else settled, directory_of(gone.account_id), gone.source, now_at,
            missed=missed, begun_as=gone.begun_as or gone.id,
            interaction_id=gone.interaction_id or ("" if leg is gone.leg else gone.leg.call.interaction_id))
        for kind, by in silent:
            another.silence(kind, self._epoch_ms(), by)
        return another
