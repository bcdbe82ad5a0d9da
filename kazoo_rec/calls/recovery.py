"""Puts what we believe beside what the switch has: after each connection, and now and then, as events may be lost."""

import gevent
import structlog

from kazoo_rec.switch import commands, replies

#: Seconds between sweeps of a connection that stays up.
SWEEP_EVERY_S = 300

#: Seconds before one that the switch did not answer is tried again.
SWEEP_RETRY_S = 2

#: Seconds within which the event of a leg's end has found its way to us.
NEWS_WITHIN_S = 5

#: Seconds for the answer whether a leg exists.
ANSWER_WITHIN_S = 5.0

#: Seconds for the list of all legs: 1 KB each.
LIST_WITHIN_S = 30.0

log = structlog.get_logger()


class Recovery:
    """Of one switch.

    Parameters:
      node: the switch's name in the rows.
      tracker, recorder, registrations: the switch's own.
      rows: the store's `recordings`.
      exists: tells whether a recording's file, relative, is there (`calls.files.Files.exists`).
      epoch_ms: the wall clock.
      observe: write nothing.
    """

    def __init__(self, node, tracker, recorder, registrations, rows, exists, epoch_ms, observe=False):
        self._observe = observe
        self._node, self._tracker, self._recorder, self._rows = node, tracker, recorder, rows
        self._registrations, self._exists, self._epoch_ms = registrations, exists, epoch_ms

    def connected(self, send):
        """Takes in who is registered; `sweep` has to follow. `send(command, timeout_s)` asks the switch."""
        self._registrations.load(replies.registrations(send(commands.show_registrations(), LIST_WITHIN_S)))

    def restarted(self):
        """The switch is another process: nothing of before lives."""
        self._tracker.keep_only(set(), "the switch was restarted")

    def sweep(self, send):
        """Forgets legs that the switch does not have, and closes rows of which no leg is left.

        `show channels` reads a database that is written behind the calls, and may keep a leg for ever that is gone
        (seen when SQLite was busy): it finds whom to ask about, `uuid_exists` is what is believed.
        """
        known = self._tracker.uuids()
        listed = {row["uuid"] for row in replies.channels(send(commands.show_channels(), LIST_WITHIN_S))}
        gone = {uuid for uuid in known - listed if not self._exists_on(send, uuid)}
        gevent.sleep(NEWS_WITHIN_S)
        self._tracker.keep_only(self._tracker.uuids() - gone, "the switch does not have it")
        self._close_rows(send)

    @staticmethod
    def _exists_on(send, uuid):
        return replies.exists(send(commands.exists(uuid), ANSWER_WITHIN_S))

    def _close_rows(self, send):
        """Rows whose leg is gone and its end unheard: their file, if there is one, is what there is of them. One that
        had started is delivery's to look for: it tells a missing file from a directory that is not mounted."""
        if self._observe:
            return
        for row in self._rows.open(self._node):
            if row["id"] in self._recorder or self._exists_on(send, row["call_id"]):
                continue
            paths = [path for path in (row["master"], row["master"].replace(".wav", ".f.wav")) if self._exists(path)]
            state, reason = "stopped", "its end was not heard"
            if not paths and not row["started_ms"]:
                state, reason = "discarded", "its end was not heard, and nothing was recorded"
            log.info("a recording is closed by what there is of it", recording_id=row["id"],
                     call_id=row["call_id"], state=state, reason=reason)
            self._rows.update_open(row["id"], state=state, state_reason=reason, master=(paths or [row["master"]])[0],
                                   stopped_ms=self._epoch_ms())
