"""The database through its doors: what is said to be durable is there, in order, and nobody's fault is another's."""

import fcntl
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from threading import get_ident

import gevent
import pytest
from alembic import command
from sqlalchemy import bindparam, event, func, select
from sqlalchemy.exc import IntegrityError, OperationalError

from kazoo_rec.errors import StoreError
from kazoo_rec.store import Store, migrations, secrets
from kazoo_rec.store.migrations import head, migrate, revision
from kazoo_rec.store.reader import Reader
from kazoo_rec.store.sqlite import reading
from kazoo_rec.store.statement import Statement
from kazoo_rec.threads import Threads


def row(recording_id, **columns):
    return {"id": recording_id, "node": "fs1", "account_id": "acme", "call_id": "a", "interaction_id": "a", "leg": "A",
            "rule": "account.inbound", "reason": "…", "settings": {"url": None}, "settings_from": {}, "source": "onnet",
            "direction": "inbound", "from_uri": "", "to_uri": "", "caller_id_name": "", "caller_id_number": "",
            "callee_id_name": "", "callee_id_number": "", "origin": "", "state": "armed", "master": "acme/x.wav",
            **columns}


def upload(recording_id, **columns):
    return {"recording_id": recording_id, "node": "fs1", "account_id": "acme", "kind": "upload",
            "url": "https://files.example/", "host": "https://files.example:443", "method": "put", "state": "due",
            "next_attempt_ms": 1000, "give_up_ms": 9000, "created_ms": 0, **columns}


def test_a_row_that_is_durable_is_seen_by_another_program(store, url):
    store.recordings.insert(row("r1", caller_id_name="O'Brien; DROP TABLE")).get()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as other:
        assert other.execute("SELECT id, caller_id_name FROM recordings").fetchall() == [("r1", "O'Brien; DROP TABLE")]


def test_a_text_with_a_nul_is_written_without_it(store):
    store.recordings.insert(row("r1", caller_id_name="An\0n", settings={"label": "a\0b"})).get()
    store.recordings.update("r1", state_reason="said \0").get()
    found = store.recordings.get("r1")
    assert (found["caller_id_name"], found["state_reason"]) == ("An?n", "said ?")


def test_writes_are_made_in_the_order_in_which_they_were_submitted(store):
    store.recordings.insert(row("r1"))
    for state in ("recording", "paused", "recording", "stopped"):
        last = store.recordings.update("r1", state=state)
    last.get()
    assert store.recordings.get("r1")["state"] == "stopped"


def test_a_write_that_is_refused_fails_alone(store):
    first, broken, second = (store.recordings.insert(row(name, reason=reason)) for name, reason in (
        ("r1", "…"), ("r3", None), ("r2", "…")))
    assert (first.get(), second.get()) == (1, 1)
    with pytest.raises(IntegrityError):
        broken.get()
    assert {one["id"] for one in store.recordings.list()} == {"r1", "r2"}


def test_late_news_changes_only_what_is_still_open(store):
    store.recordings.insert(row("r1", state="discarded")).get()
    assert store.recordings.update_open("r1", state="stopped").get() == 0
    assert store.recordings.get("r1")["state"] == "discarded"


def test_the_recordings_of_legs_are_all_of_them_whichever_leg_began_their_call(store):
    for recording_id, columns in (
            ("ended", {"state": "recorded", "created_ms": 1}), ("open", {"interaction_id": "gone", "created_ms": 2}),
            ("b", {"call_id": "b", "state": "failed", "interaction_id": "gone", "created_ms": 3}),
            ("other leg", {"call_id": "c"}),
            ("other switch", {"node": "fs2"}), ("last", {"created_ms": 4})):
        last = store.recordings.insert(row(recording_id, **columns))
    last.get()
    legs = [f"leg-{number}" for number in range(1200)]
    assert [one["id"] for one in store.recordings.of_calls("fs1", ["a", *legs, "b"])] == ["ended", "open", "b", "last"]


def test_what_is_open_on_a_node_is_known_by_its_ids(store):
    for recording_id, columns in (("open", {"state": "paused"}), ("over", {}), ("elsewhere", {"node": "fs2"})):
        last = store.recordings.insert(row(recording_id, **{"state": "stopped", **columns}))
    last.get()
    assert store.recordings.open_ids("fs1") == ["open"] == [one["id"] for one in store.recordings.open("fs1")]


def test_finishing_adds_the_deliveries_once(store):
    store.recordings.insert(row("r1", state="stopped")).get()
    assert store.recordings.finish("r1", {"state": "recorded"}, [upload("r1")]).get() == 1
    assert store.recordings.finish("r1", {"state": "recorded"}, [upload("r1")]).get() == 0
    assert len(store.deliveries.of("r1")) == 1


def test_what_is_told_is_told_once_and_with_the_change_that_it_tells_of(store):
    store.recordings.insert(row("r1"))
    told = {**upload("r1"), "kind": "webhook.in-progress"}
    for _ in range(2):
        assert store.recordings.tell("r1", {"state": "recording"}, told).get() == 1
    store.recordings.tell("r1", {"state": "failed"}, {**told, "kind": "webhook.failed"}).get()
    late = {**told, "kind": "webhook.absent"}
    assert store.recordings.tell("r1", {"state": "discarded"}, late, ("armed",)).get() == 0
    assert store.recordings.get("r1")["state"] == "failed"
    assert [one["kind"] for one in store.deliveries.of("r1")] == ["webhook.in-progress", "webhook.failed"]


def test_who_is_told_of_a_row_is_told_once_and_the_row_stays_as_it_is(store):
    store.recordings.insert(row("r1", state="stopped")).get()
    before = store.recordings.get("r1")
    missing = upload("r1", kind="webhook.missing")
    assert [store.recordings.notify(missing).get() for _ in range(2)] == [1, 0]
    assert [one["kind"] for one in store.deliveries.of("r1")] == ["webhook.missing"]
    assert store.recordings.get("r1") == before


def test_a_change_of_which_nobody_can_be_told_is_not_made(store):
    store.recordings.insert(row("r1"))
    with pytest.raises(IntegrityError):
        store.recordings.tell("r1", {"state": "recording"}, upload("r1", kind="webhook.failed", url=None)).get()
    assert store.recordings.get("r1")["state"] == "armed"


def recorded(store, recording_id, **columns):
    """A recording with an upload of it."""
    store.recordings.insert(row(recording_id, state="stopped"))
    store.recordings.finish(recording_id, {"state": "recorded"}, [upload(recording_id, **columns)]).get()


def test_queues_are_of_an_account_and_a_server_each_with_its_first_plan(store):
    assert store.deliveries.queues("fs1") == []
    for number, (account_id, host, at) in enumerate([
            ("a", "h2", 500), ("a", "h1", 400), ("b", "h1", 5000), ("a", "h2", 300), ("b", "h0", 7)]):
        recorded(store, f"r{number}", account_id=account_id, host=host, next_attempt_ms=at)
    recorded(store, "sent", account_id="c", state="delivered")
    recorded(store, "elsewhere", account_id="d", node="fs2")
    assert store.deliveries.queues("fs1") == [("a", "h1", 400), ("a", "h2", 300), ("b", "h0", 7), ("b", "h1", 5000)]


def test_what_is_due_of_a_queue_comes_in_order_of_its_plan_and_with_its_recording(store):
    for name, host, at in (("r1", "h1", 500), ("r2", "h2", 400), ("r3", "h1", 5000), ("r4", "h1", 300),
                           ("r5", "h1", 500)):
        recorded(store, name, host=host, next_attempt_ms=at)

    def due(now_ms, node="fs1", **wanted):
        return [job["recording"]["id"] for job in store.deliveries.due(
            node, {("acme", host): count for host, count in wanted.items()}, now_ms)]

    assert due(1000, h1=9) == ["r4", "r1", "r5"] and due(1000, h1=2, h2=1) == ["r4", "r1", "r2"]
    assert due(5000, h1=9)[-1] == "r3" and due(299, h1=9) == [] and due(9000, node="fs2", h1=9) == []
    (job,) = store.deliveries.due("fs1", {("acme", "h2"): 1}, 1000)
    (other,) = store.deliveries.due("fs1", {("acme", "h1"): 1}, 1000, {job["id"], 99, "r1"})
    assert other["recording"]["id"] == "r4"
    assert store.deliveries.due("fs1", {("acme", "h2"): 1}, 1000, {job["id"], other["id"]}) == []
    assert job == {**store.deliveries.of("r2")[0], "recording": store.recordings.get("r2")}


def test_what_has_had_its_time_is_given_up_together(store):
    recorded(store, "r1", give_up_ms=900)
    recorded(store, "r2", give_up_ms=901)
    recorded(store, "r3", give_up_ms=900, host="h2")
    assert store.deliveries.give_up("fs1", "acme", "https://files.example:443", 900, "not tried again").get() == 1
    assert [(one["state"], one["last_error"]) for name in ("r1", "r2", "r3") for one in store.deliveries.of(name)] == [
        ("failed", "not tried again"), ("due", None), ("due", None)]


def test_what_stopped_is_found_by_account_and_oldest_first(store):
    for name, account_id, at in (("r1", "a", 2), ("r2", "b", 1), ("r3", "a", 1)):
        store.recordings.insert(row(name, account_id=account_id, state="stopped", stopped_ms=at)).get()
    store.recordings.insert(row("r4", account_id="c", state="recorded")).get()
    assert store.recordings.accounts_stopped("fs1") == ["a", "b"] and store.recordings.accounts_stopped("fs2") == []
    assert [one["id"] for one in store.recordings.stopped("fs1", "a", 10)] == ["r3", "r1"]
    assert [one["id"] for one in store.recordings.stopped("fs1", "a", 1)] == ["r3"]
    assert [one["id"] for one in store.recordings.stopped("fs1", "a", 1, {"r3", "r2", 7})] == ["r1"]


def test_what_no_server_took_is_counted_by_account(store):
    sound = {"duration_ms": 1000, "sample_rate": 8000, "file": "acme/x.mp3", "size_bytes": 5000}
    for name, state, kind in (("r1", "due", "upload"), ("r2", "failed", "upload"), ("r3", "delivered", "upload"),
                              ("r4", "due", "webhook.completed")):
        store.recordings.insert(row(name, state="stopped"))
        store.recordings.finish(name, {"state": "recorded", **sound}, [upload(name, state=state, kind=kind)]).get()
    store.recordings.insert(row("r5", account_id="b", state="stopped", expected_ms=2000)).get()
    store.recordings.insert(row("r6", account_id="b", state="stopped")).get()
    assert store.recordings.undelivered("fs1") == {"acme": (2, 74_000), "b": (2, 64_000)}
    assert store.recordings.undelivered("fs2") == {} and store.deliveries.given_up() == 1


def test_a_failing_server_is_known_until_it_takes_something(store):
    store.failing_servers.add("fs1", "acme", "h1", 1, 5).get()
    store.failing_servers.add("fs1", "acme", "h1", 2, 7).get()
    store.failing_servers.add("fs2", "acme", "h1", 1, 5).get()
    assert store.failing_servers.all("fs1") == [
        {"node": "fs1", "account_id": "acme", "host": "h1", "failures": 2, "rests_until_ms": 7}]
    store.failing_servers.remove("fs1", "acme", "h1").get()
    assert store.failing_servers.all("fs1") == [] and len(store.failing_servers.all("fs2")) == 1


@pytest.mark.sqlite
@pytest.mark.parametrize(("ask", "index"), [
    (lambda store: store.deliveries.queues("fs1"), "deliveries_due"),
    (lambda store: store.deliveries.due("fs1", {("acme", "h1"): 4}, 1000), "deliveries_due"),
    (lambda store: store.deliveries.give_up("fs1", "acme", "h1", 1000, "").get(), "deliveries_due"),
    (lambda store: store.recordings.accounts_stopped("fs1"), "recordings_stopped"),
    (lambda store: store.deliveries.given_up(), "deliveries_given_up"),
    (lambda store: store.recordings.stopped("fs1", "acme", 4), "recordings_stopped"),
])
def test_whose_turn_it_is_is_found_without_a_walk_past_what_waits(store, ask, index):
    """The plan of each question: it goes by the index, and sorts nothing."""
    asked = []
    for engine, threads in ((store._looking, store._looks), (store._reading, store._reads),
                            (store._writing, store._writes)):
        database = threads.apply(engine.raw_connection).dbapi_connection
        database.set_trace_callback(asked.append)
    ask(store)
    with sqlite3.connect(store.beside) as database:
        plans = [[step[-1] for step in database.execute(f"EXPLAIN QUERY PLAN {sql}")]
                 for sql in asked if index.partition("_")[0] in sql]
    assert plans
    for step in (step for plan in plans for step in plan):
        assert "TEMP B-TREE" not in step
        if "deliveries" in step or "recordings" in step:
            assert index in step or ("SEARCH" in step and ("PRIMARY KEY" in step or "autoindex" in step)), plans


def test_a_failed_delivery_is_taken_up_again(store):
    store.recordings.insert(row("r1", state="stopped"))
    both = [upload("r1", state="failed"), upload("r1", state="delivered")]
    store.recordings.finish("r1", {"state": "recorded"}, both)
    assert store.deliveries.retry("r1", 2000, 3000).get() == 1
    assert [(one["state"], one["next_attempt_ms"]) for one in store.deliveries.of("r1")] == [
        ("due", 2000), ("delivered", 1000)]


def test_nothing_of_a_recording_that_is_to_be_deleted_is_due(store):
    store.recordings.insert(row("r1", state="stopped")).get()
    store.recordings.finish("r1", {"state": "recorded"}, [upload("r1")]).get()
    wanted = {("acme", "https://files.example:443"): 10}
    [job] = store.deliveries.due("fs1", wanted, 1000)
    store.recordings.request_delete("r1", "root").get()
    assert store.deliveries.update_due(job["id"], state="due", next_attempt_ms=0).get() == 0
    assert store.deliveries.retry("r1", 0, 9000).get() == 0
    assert store.deliveries.of("r1")[0]["state"] == "failed"
    store.deliveries.update(job["id"], state="due").get()
    assert store.deliveries.due("fs1", wanted, 1000) == []


def test_documents_change_only_where_they_differ(store):
    def taken(**bodies):
        return store.documents.take_files([
            {"kind": "user", "account_id": "acme", "id": name, "body": body, "source": f"acme/users/{name}.yaml"}
            for name, body in bodies.items()]).get()

    assert taken(ann={"n": 1}, bob={"n": 1}) == (2, 0)
    assert taken(ann={"n": 1}, bob={"n": 2}) == (1, 0)
    assert [(one["id"], one["seq"]) for one in store.documents.since(2)] == [("bob", 3)]
    assert taken(ann={"n": 1}) == (0, 1)
    assert [(one["id"], one["deleted"]) for one in store.documents.since(3)] == [("bob", True)]
    assert taken(ann={"n": 1}, bob={"n": 2}) == (1, 0)


def test_a_database_that_refuses_for_a_while_loses_nothing(store, monkeypatch):
    writer, refusals = store.recordings._submit.__self__, [OperationalError("COMMIT", {}, Exception("disk full"))] * 2
    commit = writer._commit

    def sometimes(batch, run):
        if refusals:
            raise refusals.pop()
        return commit(batch, run)

    monkeypatch.setattr(writer, "_commit", sometimes)
    monkeypatch.setattr("kazoo_rec.store.writer.RETRY_FIRST_S", 0.001)
    results = [store.recordings.insert(row(name)) for name in ("r1", "r2")]
    assert [result.get(timeout=5) for result in results] == [1, 1]


def test_reading_goes_on_while_another_process_writes(store, url):
    store.recordings.insert(row("r1")).get()
    holder = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    result = store.recordings.insert(row("r2"))
    with gevent.Timeout(3):
        assert [one["id"] for one in store.recordings.list()] == ["r1"]
    assert not result.ready()
    holder.execute("COMMIT")
    holder.close()
    assert result.get(timeout=10) == 1


def test_a_lock_that_cannot_be_taken_loses_nothing(store, monkeypatch):
    flock, faults = fcntl.flock, [OSError(5, "Input/output error")]

    def sometimes(*args):
        if faults:
            raise faults.pop()
        return flock(*args)

    monkeypatch.setattr("kazoo_rec.store.sqlite.fcntl.flock", sometimes)
    monkeypatch.setattr("kazoo_rec.store.writer.RETRY_FIRST_S", 0.001)
    assert store.recordings.insert(row("r1")).get(timeout=5) == 1


def test_who_waited_for_the_lock_writes_before_who_has_just_written(store, url, monkeypatch):
    theirs, order = Store(url), []
    begin, go_on = os.pipe()

    def noted(who, opened):
        commit = opened._writer._commit

        def note(batch, run):
            order.append(who)
            if order == ["ours"]:
                os.read(begin, 1)
            return commit(batch, run)

        monkeypatch.setattr(opened._writer, "_commit", note)

    noted("ours", store), noted("theirs", theirs)
    with open(f"{url.removeprefix('sqlite:///')}.lock.turn", "wb") as turn, gevent.Timeout(10):
        first = store.recordings.insert(row("r1"))
        while not order:
            gevent.idle()
        second = theirs.recordings.insert(row("r2"))
        while not is_taken(turn):
            gevent.idle()
        third = store.recordings.insert(row("r3"))
        os.write(go_on, b".")
        gevent.joinall((first, second, third))
    theirs.close()
    assert order == ["ours", "theirs", "ours"]
    os.close(begin), os.close(go_on)


def is_taken(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def test_an_upgrade_that_is_cut_short_leaves_nothing_and_is_done_again(url, monkeypatch):
    from alembic import op

    create = op.create_table

    def cut(name, *columns, **more):
        if name == "deliveries":
            raise KeyboardInterrupt
        return create(name, *columns, **more)

    monkeypatch.setattr(op, "create_table", cut)
    with pytest.raises(KeyboardInterrupt):
        migrate(url)
    monkeypatch.undo()
    migrate(url)
    assert revision(url) == head()


def test_accounts_of_the_first_version_are_found_after_the_upgrade(url):
    command.upgrade(migrations._config(url), "0001")
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("INSERT INTO documents (kind, account_id, id, body, deleted, seq) VALUES "
                           """('account', 'acme', 'acme', '{"name": "Acme Inc", "numbers": ["0301234"]}', 0, 1)""")
    migrate(url)
    store = Store(url)
    assert store.documents.accounts_by("name", "ACME  inc") == [("acme", "Acme Inc")]
    assert store.documents.accounts_by("number", "+4930 1234") == [("acme", "0301234")]
    store.close()


def test_an_account_is_found_by_what_it_says_now(store):
    def said(**body):
        store.documents.take_files([{"kind": "account", "account_id": "acme", "id": "acme", "body": body,
                                     "source": "acme.yaml"}] if body else []).get()
        return [bool(store.documents.accounts_by(what, text)) for what, text in (
            ("name", "Acme"), ("realm", "ACME.example"), ("number", "+15550001001"))]

    assert said(name="Acme", realm="acme.example") == [True, True, False]
    assert said(name="Globex", numbers=["5550001001"]) == [False, False, True]
    assert said() == [False, False, False]


def test_the_way_back_to_the_first_version_keeps_recordings_and_deliveries(url):
    migrate(url)
    store = Store(url)
    store.recordings.insert(row("r1", state="stopped")).get()
    store.recordings.finish("r1", {"state": "recorded"}, [upload("r1")]).get()
    store.close()
    command.downgrade(migrations._config(url), "0001")
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT recordings.id, state FROM recordings").fetchall() == [("r1", "recorded")]
        assert "legal_hold" not in connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'recordings'").fetchone()[0]
    migrate(url)
    store = Store(url)
    (job,) = store.deliveries.due("fs1", {("acme", "https://files.example:443"): 10}, 1000)
    assert job["recording"]["id"] == "r1"
    with pytest.raises(IntegrityError):
        store.recordings._submit(lambda connection: connection.exec_driver_sql("DELETE FROM recordings")).get()
    store.close()


def test_a_version_is_made_of_nothing_that_later_ones_change():
    for file in Path(migrations.__file__).parent.glob("versions/*.py"):
        assert "kazoo_rec" not in file.read_text(), file.name


def test_a_file_that_is_no_database_is_told_as_one(url):
    with open(url.removeprefix("sqlite:///"), "w") as file:
        file.write("hello, this is no database at all" * 40)
    with pytest.raises(StoreError, match="no database of kazoo_rec"):
        Store(url)


CHECKOUT = Path(__file__).parents[2]

#: A process that adds rows: argv has the database's URL, a prefix of their ids and their number.
WRITE_MANY = """
from gevent import monkey; monkey.patch_all()
import sys
from kazoo_rec.store import Store
from tests.store.test_store import row
url, name, count = sys.argv[1:]
store = Store(url)
for result in [store.recordings.insert(row(f"{name}-{n}")) for n in range(int(count))]:
    result.get()
store.close()
"""


def test_three_processes_write_one_database_and_none_is_refused(store, url):
    writers = [subprocess.Popen([sys.executable, "-c", WRITE_MANY, url, f"p{n}", "300"], cwd=CHECKOUT)
               for n in range(3)]
    assert [process.wait(60) for process in writers] == [0, 0, 0]
    assert store.recordings.count_by_state() == {"armed": 900}


def test_the_database_is_nobody_else_s_to_read(url):
    migrate(url)
    assert os.stat(url.removeprefix("sqlite:///")).st_mode & 0o777 == 0o600


def test_a_store_of_another_version_is_not_opened(url):
    with pytest.raises(StoreError, match="another version"):
        Store(url)
    migrate(url)
    assert revision(url) == head()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'older'")
    with pytest.raises(StoreError, match="older"):
        Store(url)


def test_the_migrations_make_the_tables_that_the_code_has(url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine

    from kazoo_rec.store.tables import metadata

    migrate(url)
    with create_engine(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_what_was_written_since_counts_masters_and_files_beside_them(store):
    """A master is two channels of 16 bits: 10 s at 8 kHz are 320 kB."""
    made = {"duration_ms": 10_000, "sample_rate": 8000, "state": "recorded"}
    store.recordings.insert(row("beside", **made, file="acme/x.mp3", size_bytes=80_000, created_ms=5000))
    store.recordings.insert(row("itself", **made, file="acme/x.wav", size_bytes=320_000, created_ms=5000))
    store.recordings.insert(row("before", **made, file="acme/x.mp3", size_bytes=80_000, created_ms=4999))
    store.recordings.insert(row("open", created_ms=6000)).get()
    assert store.recordings.written_since(5000) == (2, 720_000)
    assert store.recordings.written_since(7000) == (0, 0)


def test_what_waits_is_counted_with_the_time_of_the_first(store):
    assert store.recordings.unfinished() == (0, None) and store.deliveries.waiting() == (0, None, None)
    for name, stopped_ms in (("r1", 300), ("r2", 200)):
        store.recordings.insert(row(name, state="stopped", stopped_ms=stopped_ms)).get()
    store.recordings.insert(row("r3", state="recorded", stopped_ms=100)).get()
    assert store.recordings.unfinished() == (2, 200)
    store.recordings.finish("r1", {"state": "recorded"}, [
        upload("r1", created_ms=70, next_attempt_ms=900), upload("r1", created_ms=80, next_attempt_ms=800),
        upload("r1", created_ms=1, next_attempt_ms=1, state="failed"),
        upload("r1", created_ms=2, next_attempt_ms=2, state="delivered")]).get()
    assert store.deliveries.waiting() == (2, 70, 800) and store.deliveries.given_up() == 1
    store.failing_servers.add("fs1", "acme", "https://files.example:443", 1, 0).get()
    assert store.deliveries.waiting() == (2, 70, None)


@pytest.mark.sqlite
def test_what_waits_on_a_node_is_counted_from_the_index_alone(store):
    seen = []
    for number, (node, state) in enumerate([("fs1", "armed"), ("fs1", "stopped"), ("fs1", "stopped"),
                                            ("fs1", "recorded"), ("fs2", "stopped")]):
        store.recordings.insert(row(f"{number}", node=node, state=state, stopped_ms=50 - number)).get()
    assert store.recordings.waiting("fs1") == ({"armed": 1, "stopped": 2}, 48, 49)
    assert store.recordings.waiting("fs3") == ({}, None, None)
    store.recordings.finish("1", {"state": "recorded"}, [upload("1", next_attempt_ms=9_000, created_ms=20)]).get()
    store.recordings.finish("2", {"state": "recorded"}, [upload("2", next_attempt_ms=8_000, created_ms=30)]).get()
    assert store.deliveries.waiting_on("fs1") == (2, 20)
    assert store.deliveries.waiting_on("fs2") == (0, None)
    event.listen(store._reading, "before_cursor_execute", lambda *told: seen.append((told[2], told[3])))
    store.recordings.waiting("fs1")
    store.deliveries.waiting_on("fs1")
    plans = store._read(lambda connection: [
        step[-1] for sql, values in seen[:2]
        for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()])
    assert len(plans) >= 2 and all("USING COVERING INDEX" in step for step in plans), plans


def test_a_role_says_again_and_again_how_it_is_and_is_gone_when_it_leaves(store):
    store.vitals.say("fs1", "engine", {"switches": {}}).get()
    store.vitals.say("fs1", "engine", {"switches": {"fs1": True}}).get()
    (row,) = store.vitals.all()
    assert (row["node"], row["role"], row["state"]) == ("fs1", "engine", {"switches": {"fs1": True}})
    store.vitals.leave("fs1", "engine").get()
    assert store.vitals.all() == []


def add_user(store, name, credentials=None):
    new = {"kind": "user", "account_id": "acme", "id": name, "body": {"username": name}}
    return store.documents.put(new, None, lambda _row, _rivals: None, credentials)


@pytest.mark.parametrize("of_account", [True, False])
def test_a_document_and_its_credentials_come_and_go_in_one_transaction(store, of_account, monkeypatch):
    if of_account:
        account = {"kind": "account", "account_id": "acme", "id": "acme", "body": {}}
        store.documents.put(account, None, lambda _row, _rivals: None).get()
    monkeypatch.setattr("kazoo_rec.store.documents.set_credentials", cut_short)
    with pytest.raises(InterruptedError):
        add_user(store, "ann", {"md5": "0"}).get()
    monkeypatch.undo()
    assert store.documents.get("user", "acme", "ann") is None
    add_user(store, "ann", {"md5": "1"}).get()
    store.access.add_token({"id": "t", "hash": "h", "role": "user", "account_id": "acme", "user_id": "ann",
                            "made_by": "test"}).get()
    gone = ("account", "acme", "acme") if of_account else ("user", "acme", "ann")
    monkeypatch.setattr("kazoo_rec.store.documents.shut_out", cut_short)
    with pytest.raises(InterruptedError):
        store.documents.remove(*gone, store.documents.get(*gone)["seq"]).get()
    monkeypatch.undo()
    assert store.documents.get("user", "acme", "ann") and store.access.may_log_in("acme", "ann")
    store.documents.remove(*gone, store.documents.get(*gone)["seq"]).get()
    assert not store.access.may_log_in("acme", "ann") and store.access.tokens()[0]["revoked_ms"]


def test_who_goes_with_his_file_comes_back_without_his_tokens(store):
    filed = [{"kind": "account", "account_id": "acme", "id": "acme", "body": {}, "source": "acme/account.yaml"}]
    store.documents.take_files(filed).get()
    store.access.add_token({"id": "t", "hash": "h", "role": "admin", "account_id": "acme", "made_by": "test"}).get()
    store.documents.take_files([]).get()
    store.documents.take_files(filed).get()
    assert store.access.token("h") is None


def cut_short(*_args):
    raise InterruptedError


def test_files_are_compared_with_what_the_api_made_even_at_the_same_time(store, monkeypatch):
    filed = [{"kind": "account", "account_id": "acme", "id": "acme", "body": {}, "source": "acme/account.yaml"}]
    store.documents.take_files(filed).get()
    compared, submit = [], store.documents._submit

    def late(write):
        monkeypatch.setattr(store.documents, "_submit", submit)
        add_user(store, "ann").get()
        return submit(write)

    def check(_found, others):
        compared.append([row["id"] for row in others])
        if others:
            raise InterruptedError

    monkeypatch.setattr(store.documents, "_submit", late)
    changed = [{**filed[0], "body": {"name": "Acme"}}]
    with pytest.raises(InterruptedError):
        store.documents.take_files(changed, check).get()
    assert compared[:2] == [[], ["ann"]] and store.documents.get("account", "acme", "acme")["body"] == {}


def test_passwords_that_came_from_files_are_gone_after_the_upgrade(url):
    command.upgrade(migrations._config(url), "0001")
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("INSERT INTO documents (kind, account_id, id, body, source, deleted, seq) VALUES ('user', "
                           """'acme', 'ann', '{"username": "ann", "password": "x"}', 'ann.yaml', 0, 1)""")
    migrate(url)
    store = Store(url)
    assert store.documents.get("user", "acme", "ann")["body"] == {"username": "ann"}
    assert [row["id"] for row in store.documents.rivals({
        "kind": "user", "account_id": "acme", "id": "new", "body": {"username": "ANN"}})] == ["ann"]
    store.close()


@pytest.mark.parametrize(("query", "index"), [
    ("SELECT * FROM recordings WHERE account_id = 'a' AND user_id = 'u' ORDER BY created_ms DESC, id DESC",
     "recordings_of_user"),
    ("SELECT * FROM recordings WHERE account_id = 'a' AND (created_ms, id) < (5, 'x') ORDER BY created_ms DESC, "
     "id DESC", "recordings_of_account"),
    ("SELECT * FROM recordings WHERE call_id = 'c'", "recordings_of_leg")])
def test_lists_come_from_an_index_in_their_order(store, url, query, index):
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        plan = str(database.execute(f"EXPLAIN QUERY PLAN {query}").fetchall())
    assert f"USING INDEX {index}" in plan and "TEMP B-TREE" not in plan


@pytest.mark.sqlite
def test_what_is_to_be_removed_is_found_without_a_walk_past_all_that_was(store):
    asked = []

    @event.listens_for(store._reading, "before_cursor_execute")
    def plan(_connection, cursor, statement, parameters, _context, _many):
        asked.append(str(cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()))

    store.recordings.to_delete("fs1", 10, False, {"r1"})
    with sqlite3.connect(store.beside) as database:
        index = database.execute("SELECT sql FROM sqlite_master WHERE name = 'recordings_to_delete'").fetchone()[0]
    assert "recordings_to_delete" in asked[0] and "state != 'deleted'" in index


def test_a_look_up_that_fails_fails_alone(url):
    threads, parsed = Threads(1), select(func.json_extract(bindparam("text"), "$.a").label("a"))
    reader, statement = Reader(reading(url), threads), Statement(parsed)
    found = [reader.ask(statement, {"text": text}) for text in ('{"a": 1}', "{", '{"a": 2}')]
    gevent.wait(found, timeout=10)
    assert [one.value for one in found] == [[{"a": 1}], None, [{"a": 2}]]
    assert isinstance(found[1].exception, OperationalError)
    threads.kill()


def test_an_entry_of_the_audit_log_outlives_a_database_that_refuses(store):
    refusals = iter([OperationalError("", {}, sqlite3.OperationalError("database or disk is full"))])

    @event.listens_for(store._writing, "begin")
    def refuse(_connection):
        for refusal in refusals:
            raise refusal

    entry = {"account_id": "acme", "who": "t", "user_id": None, "remote": "", "method": "GET", "path": "/",
             "status": 200, "sent": None, "request_id": "1"}
    assert store.access.note(entry).get(timeout=10) == 1 and len(store.access.notes("acme", None, 10)) == 1
    assert next(refusals, None) is None


def test_a_look_up_has_what_sqlalchemy_finds(store):
    store.recordings.insert({**row("r-1"), "settings": {"url": None}, "partial": True}).get()
    [listed] = store.recordings.list()
    [paged] = store.recordings.page(listed["account_id"], [], None, 10)
    assert store.recordings.get("r-1") == listed == paged and paged["partial"] is True


def test_who_writes_does_not_look_at_the_file_of_the_key(store, monkeypatch):
    """It may be on a disk that stalls."""
    this, looks, identity = get_ident(), [], secrets._identity  # of the thread: nothing is patched here
    monkeypatch.setattr(secrets, "_identity", lambda file: looks.append(get_ident()) or identity(file))
    store.recordings.insert(row("r1", state="stopped")).get()
    store.recordings.tell("r1", {"label": "x"}, upload("r1", kind="webhook.in-progress")).get()
    store.recordings.finish("r1", {"state": "recorded"}, [upload("r1")]).get()
    assert looks and this not in looks


def test_a_delivery_that_only_tells_has_its_password_sealed(store):
    store.recordings.insert(row("r1", state="stopped")).get()
    store.recordings.notify(upload("r1", kind="webhook.absent", url="https://ann:hunter2@files.example/")).get()
    assert "hunter2" not in store.deliveries.of("r1")[0]["url"]
