"""A day's legs, from their call detail records, through the engine's own tracker, identifier and policy: which of them
had to be recorded.

The records come when legs end, and in no order that policy could be asked in. So they are put down in a temporary
database, and played back as the events that the switch must have sent: of all of a day no more is in memory than the
legs that were up at once. What went on within a leg (holds, more than one transfer) no record tells.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from kazoo_rec.calls.identity import IdentityRules
from kazoo_rec.documents.directory import Directory
from kazoo_rec.traces.cdr import Detail
from kazoo_rec.traces.replay import Replay, Told

#: What happens to legs at one moment happens in this order.
CALLER_CREATED, CALLEE_CREATED, ANSWERED, BRIDGED, ENDED = range(5)

#: Legs that have ended before they are looked at together.
AT_ONCE = 500

_TABLES = """
CREATE TABLE legs (uuid TEXT PRIMARY KEY, created_us INTEGER, answered_us INTEGER, bridged_us INTEGER,
                   ended_us INTEGER, partner TEXT, originator TEXT, headers TEXT);
CREATE TABLE happened (at_us INTEGER, what INTEGER, uuid TEXT);
"""
_HAPPENED = f"""
INSERT INTO happened
SELECT created_us, CASE originator WHEN '' THEN {CALLER_CREATED} ELSE {CALLEE_CREATED} END, uuid FROM legs UNION ALL
SELECT answered_us, {ANSWERED}, uuid FROM legs WHERE answered_us UNION ALL
SELECT bridged_us, {BRIDGED}, uuid FROM legs WHERE bridged_us UNION ALL
SELECT ended_us, {ENDED}, uuid FROM legs
"""
#: Of two legs that are bridged, the caller's is the one without an originator, else the older.
_IN_ORDER = """
SELECT happened.at_us, happened.what, legs.uuid, legs.partner, legs.headers,
       (legs.originator != '', legs.created_us, legs.uuid) > (other.originator != '', other.created_us, other.uuid)
FROM happened JOIN legs USING (uuid) LEFT JOIN legs AS other ON other.uuid = legs.partner
ORDER BY happened.at_us, happened.what, happened.rowid
"""
_OUTSIDE = """
SELECT count(*) FROM legs WHERE (originator != '' AND originator NOT IN (SELECT uuid FROM legs))
OR (bridged_us AND partner NOT IN (SELECT uuid FROM legs))
"""


class Day:
    """Of one or more files. `legs` and `outside` are known once all has been played: how many there are, and how many
    of them belong to one that is in no file, so that it is not known with whom they talked."""

    def __init__(self, directory: Directory, rules: IdentityRules):
        self.legs = self.outside = 0
        self._directory, self._rules = directory, rules

    def play(self, details: Iterable[Detail]) -> Iterator[list[Told]]:
        """The legs that were answered, as they end, some hundred at once; each with `wanted(told)` of its rows."""
        with TemporaryDirectory(prefix="kazoo_rec-cdr-") as place, closing(
                sqlite3.connect(Path(place, "legs.db"), isolation_level=None)) as legs:
            self._put_down(legs, details)
            replay, ended = Replay(self._directory, self._rules), 0
            for at_us, what, uuid, partner, headers, is_callee in legs.execute(_IN_ORDER):
                pair = (partner, uuid) if is_callee else (uuid, partner)
                replay.feed([{"t": at_us / 1_000_000, "event": event} for event in _events(
                    at_us, what, uuid, pair, headers)])
                ended += what == ENDED
                if ended == AT_ONCE:
                    ended = 0
                    yield replay.take()
            yield replay.take()

    def _put_down(self, legs, details):
        legs.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;" + _TABLES)
        legs.executemany("INSERT OR REPLACE INTO legs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (
            (one.uuid, one.created_us, one.answered_us, one.bridged_us, one.ended_us, one.partner, one.originator,
             json.dumps(one.created.headers)) for one in details))
        legs.execute(_HAPPENED)
        self.legs = legs.execute("SELECT count(*) FROM legs").fetchone()[0]
        self.outside = legs.execute(_OUTSIDE).fetchone()[0]
        legs.execute("COMMIT")


def wanted(told: Told) -> list[dict]:
    """The recordings that had to be of an answered leg: rows as of `Told`."""
    return [row for row in told.rows if _had_to_be(told.leg, row)]


def _had_to_be(leg, row):
    if leg.answered_ms is None or (row["settings"]["record_on_bridge"] and leg.bridged_ms is None):
        return False
    return row["by"] is not None or row["state"] == "failed" or _waits_to_be_announced(row)


def _waits_to_be_announced(row):
    """What was played to whom, no record tells: it is taken for granted."""
    return bool((row["settings"].get("announce") or {}).get("required")) and "announced" in (row["state_reason"] or "")


def _events(at_us, what, uuid, pair, headers):
    head = {"Unique-ID": uuid, "Event-Date-Timestamp": str(at_us)}
    if what in (CALLER_CREATED, CALLEE_CREATED):
        yield {**json.loads(headers), **head}
    elif what == ANSWERED:
        yield {"Event-Name": "CHANNEL_ANSWER", "Channel-Read-Codec-Name": "any", **head}
    elif what == BRIDGED:
        yield {"Event-Name": "CHANNEL_BRIDGE", "Bridge-A-Unique-ID": pair[0], "Bridge-B-Unique-ID": pair[1], **head}
    else:
        yield {"Event-Name": "CHANNEL_HANGUP_COMPLETE", **head}
        yield {"Event-Name": "CHANNEL_DESTROY", **head}
