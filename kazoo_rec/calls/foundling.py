"""Recordings that the switch has of a leg in progress and that no row tells of: their engine was killed before it was
written, or the database was put back to what it was before.

Where its arming, which the leg keeps, or its file says that it is of this leg, of a rule that wants it now and of the
settings that it would have now, it is taken up as that rule's (`calls.resumption`). Else it ends before another begins.
Whether it was silenced nobody knows any more: the switch keeps it as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import gevent
import structlog
from gevent.event import Event as Done

from kazoo_rec.calls.astray import armed
from kazoo_rec.calls.leg import Leg
from kazoo_rec.calls.midcall import Progress
from kazoo_rec.calls.recording import id_of
from kazoo_rec.calls.resumption import DISK_WITHIN_S
from kazoo_rec.store.comment import Comment, of_arming, read
from kazoo_rec.switch.events import Event

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Foundling:
    """One of a leg. `directory` is where its file is, or will be; `paths` are what the switch records to, the armed one
    first: none of one that is armed. `began_ms` is by the switch's clock. `taken` once it is somebody's; `gone` are set
    as it has ended, None unless it was told to."""

    id: str
    directory: str
    paths: list[str]
    comment: Comment | None
    began_ms: int | None
    taken: bool = False
    gone: tuple[Done, ...] | None = None

    @property
    def account_id(self) -> str:
        return self.directory.partition("/")[0]

    def end(self, leg: Leg, disown):
        """That nothing is recorded twice; `disown` as `calls.recorder.Recorder.disown`. What there is of it,
        `delivery.orphans` finds."""
        log.warning("a recording of which no row tells is ended", recording_id=self.id, call_id=leg.uuid)
        self.gone = tuple(disown(leg.uuid, self.id, path) for path in self.paths or (None,))


class Foundlings:
    """Of one sweep.

    Parameters:
      node: the switch's name in the rows.
      recorder: `calls.recorder.Recorder`.
      rows: the store's `recordings`.
      files: `calls.files.Files`.
      now_ms: the switch's clock.
    """

    def __init__(self, node, recorder, rows, files, now_ms):
        self._node, self._recorder, self._rows, self._files, self._now_ms = node, recorder, rows, files, now_ms
        self._hangs = False

    def look(self, dump: Event, listed, rows) -> tuple[list[Mapping], dict[str, list[str]]]:
        """(rows of a leg that have come since `rows` were read, {id: paths} of what has none); `listed` and `rows` as
        of `calls.astray.Astray.look`. Raises what the store raises."""
        found, came, lost = {}, [], {}
        for path in sorted(listed):  # `<id>.f.wav` comes before `<id>.wav`
            if recording_id := id_of(path):
                found.setdefault(recording_id, []).insert(0, path)
        for recording_id in armed(dump, self._files):
            found.setdefault(recording_id, [])
        for recording_id in found.keys() - {row["id"] for row in rows}:
            if recording_id in self._recorder:
                continue
            row = self._rows.get(recording_id)
            if row is None:
                lost[recording_id] = found[recording_id]
            elif row["call_id"] == dump.uuid:
                came.append(row)
        return came, lost

    def note(self, leg: Leg, dump: Event, lost: Mapping[str, list[str]]):
        """What has no row is its leg's until `end_left`; what cannot be taken up ends. Waits for the disk, in a sweep
        once for one that hangs."""
        leg.foundlings = [self._foundling(leg, dump, recording_id, paths) for recording_id, paths in lost.items()]
        for one in leg.foundlings:
            if one.comment is None:
                one.end(leg, self._recorder.disown)

    def end_left(self, leg: Leg):
        """Those that no rule of the leg's has claimed."""
        for one in leg.foundlings:
            if not one.taken and one.gone is None:
                one.end(leg, self._recorder.disown)
        leg.foundlings = []

    def _foundling(self, leg, dump, recording_id, paths):
        arming = dump.variable(f"execute_on_answer_{recording_id}")
        armed_path = self._files.relative(arming.removeprefix("record_session ").partition(" ")[0])
        path, began_ms, now_ms = paths[0] if paths else armed_path or "", None, self._now_ms()
        if paths and path != armed_path:
            text, length_ms = self._said(path)
            comment = read(text)
            began_ms = max(leg.answered_ms or 0, (leg.held_ms or now_ms) - length_ms)
        else:
            comment = of_arming(arming)
            if paths:
                began_ms = leg.answered_ms
            elif not Progress.of(dump).may_begin:  # it has ended
                comment = None
        if comment and (comment.call_id, comment.switch, id_of(path)) != (leg.uuid, self._node, recording_id):
            comment = None
        return Foundling(recording_id, path.rpartition("/")[0], paths, comment, began_ms)

    def _said(self, path):
        if not self._hangs:
            with gevent.Timeout(DISK_WITHIN_S, False):
                return self._files.said(path)
            self._hangs = True
        return "", 0
