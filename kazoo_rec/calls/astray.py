"""Recordings that the switch has on a leg and that are not, or not known to be, of it.

Some a transfer took along to another leg while nobody listened.

Somebody's `recording_follow_transfer=true` makes the switch do that, and MEDIA_BUG_START tells
(`Endings.bug_started`): unless the engine was down, or its connection. Then the switch goes on writing what others say
into the file of who has gone. It lists the file at the leg that has it now, and that leg knows, by the second, when it
was transferred: what is in the file from then on is not of the recording.

Others are of an engine whose place this one has taken, and which had not heard of that: their leg is known, and planned
for, here already. They end at once, that there are no two of one talk; what there is of them without a row
`delivery.orphans` finds. Of a leg that is not known they are `calls.foundling`'s.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

import structlog

from kazoo_rec.calls.recording import id_of, spoken_ms
from kazoo_rec.store.recordings import OPEN_STATES
from kazoo_rec.switch.events import Event

#: In the row.
TAKEN_ALONG = "a transfer that was not heard of took it along: up to a second before that is missing"

#: In the row where it is not known what of the file is of the recording.
NOT_TOLD_APART = "a transfer that was not heard of took it along: what others said then cannot be told apart"

#: The variable that arms a recording of ours, as a dump has it.
_ARMED = re.compile(r"variable_execute_on_answer_([0-9]{6}-[0-9a-f]{32})")

log = structlog.get_logger()


class Astray:
    """What one sweep has found.

    Parameters:
      recorder: `calls.recorder.Recorder`.
      rows: the store's `recordings`.
      webhook: as of `calls.recorder.Recorder`.
      files: `calls.files.Files`: what is armed to be recorded elsewhere is another engine's.
    """

    def __init__(self, recorder, rows, webhook, files):
        self._recorder, self._rows, self._webhook, self._files = recorder, rows, webhook, files
        self._found: dict[str, tuple[str, Event]] = {}

    def look(self, dump: Event, listed: Iterable[str], rows: Iterable[Mapping]):
        """`listed` are paths of ours that are recorded on a leg, `rows` the recordings that are of it."""
        own = {row["id"] for row in rows}
        for path in listed:
            if (recording_id := id_of(path)) and recording_id not in own:
                self._found[recording_id] = path, dump
        for recording_id in armed(dump, self._files):
            if recording_id not in own:
                self._found.setdefault(recording_id, (None, dump))

    def end_unknown(self):
        """Ends those of which there is no row, or was none when the leg's were read."""
        for recording_id, (path, dump) in list(self._found.items()):
            if recording_id in self._recorder:
                continue
            row = self._rows.get(recording_id)
            if row is None or row["call_id"] == dump.uuid:
                log.warning("a recording of which no row tells is ended", recording_id=recording_id, call_id=dump.uuid)
                self._recorder.disown(dump.uuid, recording_id, path)
                del self._found[recording_id]

    def end(self, lost_ms: int | None, now_at: int):
        """Ends the others where their own leg left them; `lost_ms` is until when we did hear of transfers."""
        for recording_id, (path, dump) in self._found.items():
            if recording_id in self._recorder and path is None:
                continue
            if recording_id in self._recorder:
                def when(started_ms, dump=dump):
                    moved_ms = transferred_ms(dump, max(started_ms or 0, lost_ms or 0))
                    return moved_ms, NOT_TOLD_APART if moved_ms is None else TAKEN_ALONG
                self._recorder.endings.carried(path, dump.uuid, when, now_at)
                continue
            row = self._rows.get(recording_id)
            if row and path and row["state"] in OPEN_STATES and row["call_id"] != dump.uuid:
                self._close(row, path, dump)

    def _close(self, row, path, dump):
        """One of an engine before this one."""
        self._recorder.endings.let_go(path)
        started_ms = row["started_ms"]
        moved_ms = started_ms and transferred_ms(dump, started_ms)
        columns = {"state": "failed", "state_reason": NOT_TOLD_APART, "master": path}
        if moved_ms is not None and not row["settings"]["record_on_bridge"]:
            spans = [{**span, "to_ms": moved_ms if span["to_ms"] is None else span["to_ms"]} for span in row["spans"]]
            columns = {
                "state": "stopped", "state_reason": TAKEN_ALONG, "partial": True, "master": path,
                "stopped_ms": moved_ms, "expected_ms": spoken_ms(started_ms, moved_ms, spans),
                "spans": [*spans, {"kind": "moved", "from_ms": moved_ms, "to_ms": moved_ms}]}
        log.warning("a transfer took a recording along unheard", recording_id=row["id"], call_id=row["call_id"],
                    other_leg=dump.uuid, state=columns["state"])
        if told := self._webhook(row, columns["state"]):
            self._rows.tell(row["id"], columns, told, OPEN_STATES)
        else:
            self._rows.update_open(row["id"], **columns)


def armed(dump: Event, files) -> Iterator[str]:
    """Ids of the recordings of ours that a leg has armed, or had as it was answered, as an event or a dump tells."""
    for name in dump.headers:
        if (ours := _ARMED.fullmatch(name)) and files.on_switch("") in dump.get(name):
            yield ours[1]


def transferred_ms(dump: Event, since_ms: int) -> int | None:
    """When the leg was transferred first since then, by what it keeps of each: `1795221375:<uuid>:bl_xfer:1002 …`
    (switch_ivr.c; seconds, cut); None where it does not tell."""
    written = (text.partition(":")[0] for name in ("transfer_history", "transfer_source")
               for text in dump.all(f"variable_{name}"))
    told_s = [int(text) for text in written if text.isdecimal()]
    return min((second * 1000 for second in told_s if second >= since_ms // 1000), default=None)
