"""What is being recorded on one switch, and what the rows say of it."""

import structlog

from kazoo_rec.calls.leg import Leg
from kazoo_rec.calls.recording import Recording

log = structlog.get_logger()


class Ledger:
    """Recordings that have not ended, by their id. Rows are written by the store's writer: nothing here waits for one.

    Parameters:
      node: name of the switch, in every row.
      rows: the store's `recordings`.
      webhook: `webhook(row, state)` is the delivery that tells somebody of a row's new state, or None; `row` has the
        columns that do not change.
      meter: counts what is made.
      ended: is told of each recording that has ended.
    """

    def __init__(self, node, rows, webhook, meter, ended):
        self.node, self._rows, self._webhook, self._meter, self._ended = node, rows, webhook, meter, ended
        self._by_id: dict[str, Recording] = {}
        #: Those of which the recorder's tick has to find whether something is late.
        self.watched: set[Recording] = set()

    def __len__(self):
        return len(self._by_id)

    def __contains__(self, recording_id):
        return recording_id in self._by_id

    def get(self, recording_id: str) -> Recording | None:
        return self._by_id.get(recording_id)

    def live(self, leg: Leg) -> list[Recording]:
        """Recordings of `leg` that have not ended."""
        return [recording for recording in leg.recordings if recording.id in self._by_id]

    def of_rule(self, rule: str) -> list[Recording]:
        return [recording for recording in self._by_id.values() if recording.plan.rule == rule]

    def open(self, recording: Recording, epoch_ms: int):
        """One that is planned: its row is on its way to the disk."""
        self._by_id[recording.id] = recording
        recording.row = self._rows.insert(recording.new_row(self.node, epoch_ms))
        recording.row.rawlink(_row_refused)

    def take_up(self, recording: Recording):
        """One of an engine before this one, which has a row."""
        self._by_id[recording.id] = recording

    def forget(self, recording: Recording):
        """Its row is left as it is."""
        self._by_id.pop(recording.id, None)
        self.watched.discard(recording)

    def save(self, recording: Recording, **columns):
        told = "state" in columns and self._told_of(recording, columns["state"])
        recording.row = (self._rows.tell(recording.id, columns, told) if told
                         else self._rows.update(recording.id, **columns))
        recording.row.rawlink(_row_refused)

    def notify(self, recording: Recording, what: str):
        """Has whoever wants to know told of it; its row does not change."""
        if told := self._told_of(recording, what):
            self._rows.notify(told).rawlink(_row_refused)

    def end(self, recording: Recording, state: str, reason: str | None, **columns):
        recording.state, recording.reason = state, reason
        recording.begun.set()
        recording.ended.set()
        self._meter.states.labels(state).inc()
        if state == "failed":
            self._meter.lost(state, reason)
        self.forget(recording)
        self._ended(recording)
        self.save(recording, state=state, state_reason=reason, answered_ms=recording.leg.answered_ms, **columns)
        log.info(f"recording {state}", call_id=recording.leg.uuid, recording_id=recording.id, reason=reason)

    # -- rows of which no recording is open here: of an engine before this one

    def began_unknown(self, recording_id: str, started_ms: int, path: str):
        self._rows.update_open(recording_id, state="recording", started_ms=started_ms, master=path)

    def ended_unknown(self, recording_id: str, stopped_ms: int, cause: str | None, path: str, answered_ms: int | None):
        closed = self._rows.update_open(recording_id, state="stopped", stopped_ms=stopped_ms, cause=cause, master=path,
                                        **({"answered_ms": answered_ms} if answered_ms else {}))
        closed.rawlink(lambda result: _unknown(result, recording_id, path))

    def _told_of(self, recording, state):
        return self._webhook({"id": recording.id, "node": self.node, "account_id": recording.account_id,
                              "settings": recording.plan.settings}, state)


def _unknown(result, recording_id, path):
    if not result.value:
        log.error("a recording ended of which no row is open", recording_id=recording_id, path=path)


def _row_refused(result):
    if result.exception is not None:
        log.error("a row was refused by the database", reason=str(result.exception))
