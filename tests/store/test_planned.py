"""The host's clock jumps: rows that were written before."""

import pytest
from sqlalchemy import event

from kazoo_rec.store.engines import GONE_AFTER_MS, Running

from .test_store import row, upload

HOUR_MS = 3_600_000


def put(store, *uploads):
    store.recordings.insert(row("r1", state="stopped")).get()
    store.recordings.finish("r1", {"state": "recorded"}, list(uploads)).get()


def planned(store):
    return [(one["state"], one["next_attempt_ms"], one["give_up_ms"]) for one in store.deliveries.of("r1")]


def test_all_that_is_due_of_a_node_moves_by_as_much(store):
    put(store, upload("r1"), upload("r1", node="fs2"), upload("r1", state="failed"))
    assert store.deliveries.shift("fs1", -HOUR_MS).get() == 1
    assert planned(store) == [("due", 1000 - HOUR_MS, 9000 - HOUR_MS), ("due", 1000, 9000), ("failed", 1000, 9000)]


def test_what_is_planned_for_later_than_anything_is_tried_now(store):
    put(store, upload("r1", next_attempt_ms=2000), upload("r1", next_attempt_ms=2001),
        upload("r1", next_attempt_ms=9999, node="fs2"), upload("r1", next_attempt_ms=9999, state="failed"))
    assert store.deliveries.bring_near("fs1", 500, 2000).get() == 1
    assert [at_ms for _, at_ms, _ in planned(store)] == [2000, 500, 9999, 9999]


@pytest.mark.parametrize(("plan", "at_ms"), [
    (lambda store: store.deliveries.shift("fs1", 5000), 6000),
    (lambda store: store.deliveries.bring_near("fs1", 7000, 0), 7000)])
def test_however_much_is_due_no_statement_plans_more_than_a_piece(store, monkeypatch, plan, at_ms):
    monkeypatch.setattr("kazoo_rec.store.deliveries.REPLANNED_AT_ONCE", 2)
    changed = []
    event.listen(store._writing, "after_cursor_execute", lambda _connection, cursor, statement, *_: (
        changed.append(cursor.rowcount) if statement.startswith("UPDATE deliveries") else None))
    put(store, *(upload("r1", state="failed" if number == 1 else "due") for number in range(6)))
    assert plan(store).get() == 5 and changed == [2, 2, 1]
    assert sorted(one[1] for one in planned(store)) == [1000, *[at_ms] * 5]


def test_an_engine_that_was_seen_before_the_clock_was_put_back_is_not_taken_to_run(store):
    store.engines.say("fs1", 3, "fs1.example:8085", ["fs1", "fs1-2"]).get()
    now_ms = store.engines._clock_ms()
    for passed_ms, runs in ((0, True), (GONE_AFTER_MS - 1, True), (GONE_AFTER_MS, False), (-HOUR_MS, False)):
        store.engines._clock_ms = lambda at_ms=now_ms + passed_ms: at_ms
        running = [Running("fs1", "fs1.example:8085", frozenset({"fs1", "fs1-2"}))]
        assert (store.engines.running(), store.engines.behind(4)) == ((running, ["fs1"]) if runs else ([], []))
