"""Puts what we believe beside what the switch has: after each connection, and now and then, as events may be lost."""

from itertools import groupby

import gevent
import structlog

from kazoo_rec.calls.astray import Astray
from kazoo_rec.calls.foundling import Foundlings
from kazoo_rec.calls.inquiry import LEGS_AT_ONCE, Inquiry
from kazoo_rec.calls.leg import declined_of
from kazoo_rec.calls.midcall import Progress
from kazoo_rec.calls.recording import MESSAGE, mark_of
from kazoo_rec.calls.resumption import DISK_WITHIN_S
from kazoo_rec.calls.room import ROOM
from kazoo_rec.store.recordings import OPEN_STATES
from kazoo_rec.store.spans import declined, is_declined, missed
from kazoo_rec.switch import commands, replies
from kazoo_rec.switch.rows import Rows

#: Seconds between sweeps of a connection that stays up.
SWEEP_EVERY_S = 300

#: Seconds between looks at open rows that nothing is being recorded for.
LEFT_EVERY_S = 10

#: Seconds before one that the switch did not answer is tried again, and before one that takes in what the list of
#: the sweep after a connection did not have yet.
SWEEP_RETRY_S = 2

#: Seconds within which the event of a leg's end has found its way to us.
NEWS_WITHIN_S = 5

#: Seconds by which the list of all legs may be behind them. Whatever it does not have that began before our events do,
#: nobody tells us of.
LIST_LAG_S = 1

#: Seconds for the list of all legs: 1 KB each.
LIST_WITHIN_S = 30.0

#: What is of use in a row of that list.
COLUMNS = ("uuid", "direction", "call_uuid", "initial_context", "initial_dest")

#: Seconds between looks whether there is room for more, and how often before each call: those whose turn has not come
#: wait, and a switch that is overloaded begins nothing for long.
ROOM_S, ROOM_LOOKS = 0.01, 10

#: Why what came before a leg was taken in is missing.
NOT_CONNECTED = "the engine was not connected"

log = structlog.get_logger()


class Recovery:
    """Of one switch.

    `took_in`: legs that the switch had when it was connected are known, but those of which it did not tell.

    Parameters:
      node: the switch's name in the rows.
      tracker, recorder, registrations: the switch's own.
      rows: the store's `recordings`.
      files: `recordings_dir` as this process and as the switch see it (`calls.files.Files`).
      clock: `calls.clock.SwitchClock`.
      now_at: the engine's clock.
      observe: write nothing.
      rooms: `calls.rooms.Rooms` of this switch.
      webhook: as of `calls.recorder.Recorder`.
      took_all_in: is told when the calls that were in progress at the connection are known.
    """

    def __init__(self, node, tracker, recorder, registrations, rows, files, clock, now_at, observe=False,
                 rooms=None, webhook=lambda row, state: None, took_all_in=lambda: None):
        self._observe, self._rooms, self._webhook, self._took_all_in = observe, rooms, webhook, took_all_in
        self._node, self._tracker, self._recorder, self._rows = node, tracker, recorder, rows
        self._registrations, self._files, self._clock, self._now_at = registrations, files, clock, now_at
        self._lost_at, self._known_before, self._left_before = None, set(), set()
        self._vain: dict[str, int] = {}
        #: Another one for each connection, None while there is none: a look of before tells nothing of what came after.
        self._hearing = object()
        self.took_in = False

    def knows(self, uuid: str) -> bool:
        """Whether a leg that the tracker does not know is not there."""
        return self.took_in and uuid not in self._vain

    def connected(self, send):
        """Takes in what time it is there and who is registered; `sweep` has to follow. `send(command, timeout_s)` asks
        the switch."""
        self._clock.read(send)
        self._registrations.load(replies.registrations(send(commands.show_registrations(), LIST_WITHIN_S)))
        self._hearing = object()

    def lost(self, heard_at: int | None = None):
        """The connection has ended; until `heard_at` (the engine's clock; None: now) the switch was heard."""
        self._lost_at, self.took_in = self._now_at() if heard_at is None else heard_at, False
        self._hearing = None
        if self._rooms is not None:
            self._rooms.lost()

    def restarted(self):
        """The switch is another process: nothing of before lives, unless it is recovered."""
        self._tracker.restarted(self._lost_at, self._heard_ms())
        self._clock.forget()

    def _heard_ms(self):
        """Until when the switch was heard before it is compared with what we believe; None: it is not known."""
        return None if self._lost_at is None else self._clock.at(self._lost_at)

    def sweep(self, send, doubtful: bool) -> bool:
        """Takes in legs that are not known, forgets legs that the switch does not have, and closes rows of which no
        recording is left. `doubtful`: events were missed, and of legs that are known news too. False where the switch
        did not tell of a leg: it is asked again by the next sweep, last.

        `show channels` reads a database that is written behind the calls, and may keep a leg for ever that is gone
        (seen when SQLite was busy): it finds whom to ask about, `uuid_exists` is what is believed. Of legs that are
        listed, those are asked about that the sweep before this one knew too.
        """
        self._clock.read(send)
        hearing = self._hearing
        heard_ms, known = self._heard_ms(), self._tracker.uuids()
        listed, news = self._list(send, doubtful)
        heard_of = () if doubtful else self._tracker.uuids() - self._vain.keys()
        ask = Inquiry(send, self._files, self._vain)
        self._take_in(ask, [row for row in news if row["uuid"] not in heard_of])
        self.took_in = self._still(hearing)
        fault = self._sweep_rooms(send, hearing)
        gone = {uuid for uuid in known - (listed - self._known_before) if not ask.exists(uuid)}
        self._known_before = known
        if doubtful:
            self._take_in_late(send, ask)
            if self._still(hearing):
                self._took_all_in()
        gevent.sleep(NEWS_WITHIN_S)
        if self._still(hearing):  # else another process may have answered, which has none of them
            self._tracker.keep_only(self._tracker.uuids() - gone, "the switch does not have it", heard_ms)
            self._lost_at = None
        self._close_rows(ask)
        if fault is not None:
            raise fault
        return not self._vain

    def _sweep_rooms(self, send, hearing):
        """What ails the rooms must not keep legs from being forgotten, nor their rows from being closed."""
        if self._rooms is None:
            return None
        try:
            self._rooms.sweep(send)
        except Exception as fault:  # noqa: BLE001  raised when the legs are done
            return fault
        if not self._still(hearing):
            self._rooms.lost()
        return None

    def _still(self, hearing):
        return hearing is not None and hearing is self._hearing

    def _list(self, send, doubtful):
        """(uuids of the legs that are listed, what is of use in the rows of those that are not known, or of all)."""
        listed, news = set(), []

        def take(row):
            listed.add(row.get("uuid"))
            if doubtful or row.get("uuid") in self._vain or self._tracker.leg(row.get("uuid")) is None:
                news.append({column: row.get(column) for column in COLUMNS})

        rows = Rows("uuid", take)
        send(commands.show_channels(), LIST_WITHIN_S, rows.feed)
        rows.end()
        for uuid in self._vain.keys() - listed:
            del self._vain[uuid]
        return listed, news

    # -- legs in progress

    def _take_in(self, ask, rows):
        """A call after the other, callers before the legs that they called: their events wait until it is taken in,
        and those of other calls do not."""
        calls = sorted(_calls(rows), key=lambda call: sum(self._vain.get(row["uuid"], 0) for row in call))
        uuids = [row["uuid"] for call in calls for row in call]
        if not uuids:
            return
        before, unlisted = self._rows_of(uuids), []
        astray = Astray(self._recorder, self._rows, self._webhook, self._files)
        foundlings = Foundlings(self._node, self._recorder, self._rows, self._files, self._clock.now_ms)
        # What begins from now on, the answers may not have yet.
        ran = {one for leg in self._tracker.legs() for one in leg.recordings if one.running}
        asked, starting = ask.legs(uuids), []
        self._tracker.expect(set(uuids))
        try:
            for call in calls:
                answers = [(row, *(next(asked) or (None, frozenset()))) for row in call]
                for leg in self._take_call(answers, before, astray, foundlings, unlisted):
                    starting += leg.recordings
                for _ in range(ROOM_LOOKS):
                    starting = [recording for recording in starting if recording.busy]
                    if len(starting) < LEGS_AT_ONCE:
                        break
                    gevent.sleep(ROOM_S)
        finally:
            for uuid in uuids:
                self._tracker.let_go(uuid, self._now_at())
        if not self._observe:
            astray.end(self._heard_ms(), self._now_at())
        self._recorder.endings.lose([one for one in unlisted if one in ran], self._now_at())

    def _take_in_late(self, send, ask):
        """Legs that began just before their events were asked for, and that the list did not have yet."""
        gevent.sleep(LIST_LAG_S)
        _, news = self._list(send, doubtful=False)
        self._take_in(ask, [row for row in news if row["uuid"] not in self._tracker.uuids() | self._vain.keys()])

    def _take_call(self, answers, before, astray, foundlings, unlisted):
        taken, by = [], set().union(*(declined_of(dump) for _, dump, _ in answers if dump))
        for row, dump, listed in answers:
            known, now_at = row["uuid"] in self._tracker.uuids(), self._now_at()
            if dump is None and not known and row["uuid"] not in before:
                dump = self._tracker.ended(row["uuid"])
            if dump is None or not self._tracker.expects(row["uuid"]):
                continue
            rows, progress, came, lost = before.get(dump.uuid, []), Progress.of(dump), (), {}
            if not (known or self._observe or progress.over):
                came, lost = foundlings.look(dump, listed, rows)
            leg = self._tracker.take(dump, row, now_at, NOT_CONNECTED)
            rows = [self._declined(past) if past["account_id"] in by else past for past in (*rows, *came)]
            foundlings.note(leg, dump, lost)
            astray.look(dump, listed, [*self._own(leg, rows, known), *({"id": one.id} for one in leg.foundlings)])
            if known:
                unlisted += self._recorder.resumption.unlisted(leg, listed)
            else:
                for past in rows:
                    armed = progress.may_begin and bool(dump.variable(f"execute_on_answer_{past['id']}"))
                    self._recorder.resumption.resume(leg, past, armed, listed, now_at)
            taken.append((leg, progress.bridged_to))
        self._tracker.meet(taken, self._now_at(), NOT_CONNECTED)
        if not self._observe:
            astray.end_unknown()
            for leg, _ in taken:
                foundlings.end_left(leg)
        for row, _, _ in answers:
            self._tracker.let_go(row["uuid"], self._now_at())
        return [leg for leg, _ in taken]

    def _own(self, leg, rows, known):
        """Of a leg that was known already, what another engine has open is nobody's: it was planned for here."""
        ours = {recording.id for recording in leg.recordings}
        return [row for row in rows if not known or row["state"] not in OPEN_STATES or row["id"] in ours
                or row["id"] in self._recorder]

    def _rows_of(self, uuids):
        """{leg's uuid: its recordings so far, the oldest first}; what a mark on the disk says, their rows may not."""
        found, rows, marked = {}, self._rows.of_calls(self._node, uuids), set()
        with gevent.Timeout(DISK_WITHIN_S, False):
            for row in rows:
                if row["state"] in OPEN_STATES and (row["settings"].get("announce") or {}).get("opt_out_digit") and (
                        self._files.exists(mark_of(row["master"].rpartition("/")[0], row["id"]))):
                    marked.add(row["id"])
        for row in rows:
            found.setdefault(row["call_id"], []).append(self._declined(row) if row["id"] in marked else row)
        return found

    def _declined(self, row):
        """A row as it is of what was declined, if it is not over."""
        if row["state"] not in OPEN_STATES or row["rule"] == MESSAGE or is_declined(row["spans"]):
            return row
        return {**row, "spans": [*row["spans"], declined(self._clock.now_ms())]}

    # -- what is gone

    def close_left(self, send):
        """Between sweeps: closes open rows that were nobody's at the look before this one too, such as those that
        delivery has made of files without one (`delivery.orphans`)."""
        if not self.took_in:
            return
        left = {one for one in self._rows.open_ids(self._node) if one not in self._recorder}
        self._close_rows(Inquiry(send, self._files, self._vain), left & self._left_before)
        self._left_before = left

    def _close_rows(self, ask, ids=None):
        """Rows of which nothing runs and whose end was not heard: their file, if there is one, is what there is of
        them. One that had started is delivery's to look for: it tells a missing file from a directory that is not
        mounted."""
        if self._observe:
            return
        for recording_id in self._rows.open_ids(self._node) if ids is None else ids:
            if recording_id in self._recorder or (row := self._rows.get(recording_id)) is None:
                continue
            if row["state"] not in OPEN_STATES or self._in_a_room(row) or self._may_run(ask, row):
                continue
            paths = [path for path in _paths(row) if self._files.exists(path)]
            if row["stopped_ms"] is not None:  # its leg was hanging up when this was written
                self._rows.update_open(row["id"], state="stopped")
                continue
            state, reason, at_ms = "stopped", "its end was not heard", self._clock.now_ms()
            if not paths and not row["started_ms"]:
                # Whether one of an engine before was answered nobody knows: better an alarm too many than a talk that
                # is missing. This engine's own was armed, and would have left a file.
                own = row["id"] in self._recorder.endings.forgotten and not missed(row["spans"])
                state = "discarded" if own or self._has_another(row) else "failed"
                reason = "its end was not heard, and nothing was recorded"
            self._recorder.endings.forgotten.discard(row["id"])
            log.info("a recording is closed by what there is of it", recording_id=row["id"],
                     call_id=row["call_id"], state=state, reason=reason)
            columns = {"state": state, "state_reason": reason, "master": (paths or [row["master"]])[0],
                       "stopped_ms": at_ms}
            span = {"kind": "unheard", "from_ms": row["started_ms"] or at_ms, "to_ms": at_ms}
            columns["spans"] = [*row["spans"], span]
            if told := self._webhook(row, state):
                self._rows.tell(row["id"], columns, told, OPEN_STATES)
            else:
                self._rows.update_open(row["id"], **columns)

    def _has_another(self, row):
        """Whether its leg was recorded by the same rule again."""
        return any(one["rule"] == row["rule"] and one["id"] != row["id"]
                   for one in self._rows.of_calls(self._node, [row["call_id"]]))

    def _in_a_room(self, row):
        """Whether it is of a room, or may be: nobody but the list of all rooms tells that one does not run."""
        if self._rooms is None:
            return False
        return row["id"] in self._rooms or (row["leg"] == ROOM and not self._rooms.knows_all)

    def _may_run(self, ask, row):
        """Whether the switch records it all the same, or does not tell. A leg that was recovered has its old uuid and
        no recording."""
        if row["call_id"] in self._vain:
            return True
        recorded = ask.recorded(row["call_id"])
        return recorded is None or not recorded.isdisjoint(_paths(row))


def _paths(row):
    return row["master"], row["master"].replace(".wav", ".f.wav")


def _calls(rows):
    """Rows of `show channels` by call, callers first in each; those last that no leg of a phone or carrier began."""
    def call_of(row):
        return row["call_uuid"] or row["uuid"]

    rows = sorted(rows, key=lambda row: (call_of(row), row["uuid"] != call_of(row)))
    calls = [list(group) for _, group in groupby(rows, call_of)]
    return sorted(calls, key=lambda call: all(row["direction"] == "outbound" for row in call))
