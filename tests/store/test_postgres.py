"""PostgreSQL as the network has it: an answer that is lost, one that does not come, a lock that lasts."""

import os
from contextlib import contextmanager

import gevent
import pytest
import sqlalchemy
from gevent.event import Event
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from kazoo_rec.errors import StoreError
from kazoo_rec.store import Store, moving, notice, postgres
from kazoo_rec.store.database import Database
from kazoo_rec.store.migrations import migrate
from kazoo_rec.threads import Threads
from tests import database
from tests.faults.wire import Wire

from .test_store import row

pytestmark = pytest.mark.postgres

#: What the server says of a transaction that is committed.
COMMITTED = b"COMMIT\0"

ENTRY = {"account_id": "acme", "who": "t1", "remote": "192.0.2.1", "method": "GET", "path": "/v2", "status": 200,
         "sent": None, "user_id": None, "request_id": "one"}

ACCOUNT = {"kind": "account", "account_id": "acme", "id": "acme", "body": {"realm": "acme.example"}}


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr("kazoo_rec.store.writer.RETRY_FIRST_S", 0.001)
    monkeypatch.setattr("kazoo_rec.store.writer.RETRY_LAST_S", 0.01)
    monkeypatch.setattr(postgres, "ANSWER_WITHIN_S", 0.3)
    monkeypatch.setattr(postgres, "LOCK_WITHIN_S", 0.2)


@pytest.fixture
def wire(tmp_path):
    server = make_url(database.SERVER)
    laid = Wire((server.host, server.port))
    yield laid
    laid.stop()


@pytest.fixture
def store(tmp_path, wire):
    straight = database.of(tmp_path)
    migrate(straight)
    by_wire = make_url(straight.url).set(port=wire.port).render_as_string(hide_password=False)
    opened = Store(straight._replace(url=by_wire))
    yield opened
    wire.lose(None)
    opened.close()


@contextmanager
def locked(place, table):
    engine = sqlalchemy.create_engine(database.of(place).url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
    engine.dispose()


def losing(wire, then, write):
    """What `write()` gives, of which the first answer was lost."""
    wire.lose(COMMITTED, then)
    result = write()
    while not wire.lost:
        Event().wait(0.01)
    wire.lose(None)
    return result.get(timeout=10)


@pytest.mark.parametrize("then", ["end", "deaden"])
def test_what_was_committed_without_an_answer_is_not_written_twice(store, wire, then):
    store.recordings.insert(row("r1")).get(timeout=10)
    assert losing(wire, then, lambda: store.access.note(ENTRY)) == 1
    assert len(store.access.notes("acme", None, 10)) == 1
    assert losing(wire, then, lambda: store.documents.put(ACCOUNT, None, lambda *_: None))["seq"] == 1
    assert losing(wire, then, lambda: store.recordings.update_open("r1", state="stopped")) == 1


def test_what_others_have_made_of_it_meanwhile_stays(store, wire, tmp_path):
    store.recordings.insert(row("r1")).get(timeout=10)
    wire.lose(COMMITTED)
    stopped = store.recordings.update("r1", state="stopped")
    while not wire.lost:
        Event().wait(0.01)
    delivery = Store(database.of(tmp_path))
    assert delivery.recordings.finish("r1", {"state": "recorded"}, []).get(timeout=10) == 1
    delivery.close()
    wire.lose(None)
    assert stopped.get(timeout=10) == 1
    assert store.recordings.get("r1")["state"] == "recorded"


def test_what_was_not_committed_is_written_once_the_server_is_there(store, wire):
    wire.cut()
    results = [store.recordings.insert(row(f"r{n}")) for n in range(5)]
    results += [store.recordings.update(f"r{n}", state="stopped") for n in range(5)]
    Event().wait(0.1)
    assert not any(result.ready() for result in results)
    wire.mend()
    assert [result.get(timeout=10) for result in results] == [1] * 10
    assert store.recordings.count_by_state() == {"stopped": 5}


def test_a_server_that_says_nothing_is_given_up_and_asked_anew(store, wire):
    store.recordings.insert(row("r1")).get(timeout=10)
    asked = store.answer, lambda: store.recordings.get("r1")
    for ask in asked:
        ask()
    wire.deaden()
    assert store.recordings.insert(row("r2")).get(timeout=10) == 1
    store.answer()  # asked whether it is there first, it connects anew
    with pytest.raises(sqlalchemy.exc.OperationalError, match="says nothing"):
        store.recordings.get("r1")
    for ask in asked:
        ask()


def test_nobody_waits_for_a_lock_for_longer_than_it_is_given(store, tmp_path):
    with locked(tmp_path, "recordings"):
        written = store.recordings.insert(row("r1"))
        with pytest.raises(sqlalchemy.exc.OperationalError, match="lock timeout"):
            store.recordings.get("r1")
        assert not written.ready()
    assert written.get(timeout=10) == 1


@pytest.fixture
def locks(store, wire):
    """`locks(switch…)` makes an engine's lock, over the wire."""
    made = []

    def make(*switches):
        made.append(postgres.EngineLock(store._database.url, "", switches))
        return made[-1]

    yield make
    for lock in made:
        lock.release()


def test_the_lock_of_an_engine_does_not_wait_for_a_server_that_says_nothing(locks, wire):
    lock = locks("fs1")
    take = Threads(1).apply
    assert take(lock.take) is None
    wire.deaden()
    with pytest.raises(sqlalchemy.exc.OperationalError, match="says nothing"), gevent.Timeout(10):
        take(lock.take)


def test_terms_grow_and_outlive_what_the_server_forgets(locks, store, tmp_path):
    first, second = locks("fs1"), locks("fs2")
    assert first.take() is None and second.take() is None and second.term == first.term + 1
    database.change(tmp_path, "UPDATE writers SET at_s = 0 WHERE id <> 'the last engine'")
    Store(database.of(tmp_path)).recordings.insert(row("r1")).get(timeout=10)  # forgets what is old
    second.release()
    assert second.take() is None and second.term == first.term + 2


def test_a_session_that_has_lost_its_lock_is_no_lock(locks):
    lock = locks("fs1", "fs2")
    assert lock.take() is None and lock.take() is None
    lock._session.exec_driver_sql("SELECT pg_advisory_unlock_all()")
    with pytest.raises(StoreError, match="pooler"):
        lock.take()
    assert lock.take() is None and lock.take() is None


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_name_is_refused(tmp_path, encoding):
    place = tmp_path / encoding
    place.mkdir()
    database.said(place, f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(StoreError, match=rf"{encoding}.*createdb .*--encoding=UTF8 --template=template0"):
        migrate(database.of(place))


@pytest.fixture
def other(tmp_path):
    """A file to move to."""
    (tmp_path / "other").mkdir()
    return Database.of(f"sqlite:///{tmp_path}/other/kazoo_rec.db")


def wait_for(reason, logs):
    with gevent.Timeout(10):
        while not any(reason in line.get("reason", "") for line in logs):
            Event().wait(0.01)


def test_who_was_cut_off_while_the_database_was_moved_writes_no_more_there(store, wire, tmp_path, other):
    store.recordings.insert(row("r1", state="stopped")).get(timeout=10)
    store.answer()
    wire.cut()
    assert all(table.equal for table in moving.move(database.of(tmp_path), other, last=True))
    with capture_logs() as logs:
        wire.mend()
        written = store.recordings.insert(row("r2", state="stopped"))
        wait_for("this database was moved", logs)
    for ask in (store.answer, lambda: store.recordings.get("r1")):
        with pytest.raises(sqlalchemy.exc.OperationalError, match=f"was moved.*{other.shown}.*have that one"):
            ask()
    assert not written.ready() and store.waiting == 1
    wire.cut()
    moving.move(other, database.of(tmp_path))
    with capture_logs() as logs:
        wire.mend()
        wait_for("not whole yet", logs)
    wire.cut()
    moving.move(other, database.of(tmp_path), last=True)
    wire.mend()
    assert written.get(timeout=10) == 1 and {one["id"] for one in store.recordings.list()} == {"r1", "r2"}


@pytest.mark.parametrize("last", [False, True])
def test_who_connects_just_as_a_notice_is_put_up_obeys_it(store, wire, tmp_path, other, monkeypatch, last):
    """To the old database that was moved, or to the new one that is now a copy."""
    monkeypatch.setattr(postgres, "LOCK_WITHIN_S", 10)
    store.close()
    there, threads, found, put = database.of(tmp_path), Threads(1), [], notice.put

    def connect():
        engine = postgres.writing(there.url)
        try:
            engine.connect().close()
        except sqlalchemy.exc.OperationalError as refused:
            return str(refused)
        finally:
            engine.dispose()

    def put_late(connection, *words):
        if connection.dialect.name == "postgresql":
            found.append(threads.spawn(connect))
            while not found[0].ready() and not connection.exec_driver_sql(
                    "SELECT 1 FROM pg_locks WHERE NOT granted").first():
                Event().wait(0.01)
        put(connection, *words)

    monkeypatch.setattr(notice, "put", put_late)
    if last:
        moving.move(there, other, last=True)
    else:
        os.link(f"{there.beside}.key", f"{other.beside}.key")
        migrate(other)
        moving.move(other, there)
    assert ("was moved" if last else "not whole yet") in found[0].get(timeout=10)


def test_a_database_moves_to_one_other_alone(store, tmp_path, other, monkeypatch):
    store.close()
    there, third, reading = database.of(tmp_path), Database.of(f"sqlite:///{tmp_path}/third.db"), moving._reading

    def late(*words):
        monkeypatch.setattr(moving, "_reading", reading)
        moving.move(there, other, last=True)
        return reading(*words)

    monkeypatch.setattr(moving, "_reading", late)
    with pytest.raises(StoreError, match=f"was moved.*{other.shown}"):
        moving.move(there, third, last=True)
    with pytest.raises(StoreError, match="not whole"):
        Store(third)
    Store(other).close()


def interrupted(_target):
    raise KeyboardInterrupt


def test_a_database_whose_notice_is_taken_down_meanwhile_is_not_moved(store, tmp_path, other, monkeypatch):
    store.close()
    there, reading = database.of(tmp_path), moving._reading
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(moving._Target, "release", interrupted)  # both have their notices
        moving.move(there, other, last=True)

    def late(*words):
        monkeypatch.setattr(moving, "_reading", reading)
        with moving._engine(there) as engine, engine.begin() as connection:
            notice.take_down(connection)
        return reading(*words)

    monkeypatch.setattr(moving, "_reading", late)
    with pytest.raises(StoreError, match="taken down"):
        moving.move(there, other, last=True)
    Store(there).close()


@pytest.mark.parametrize("said", ["UPDATE recordings SET label = 'x'", "SELECT version_num FROM alembic_version"])
def test_who_holds_up_a_move_is_named(store, tmp_path, other, said):
    store.close()
    there, idle = database.of(tmp_path), sqlalchemy.create_engine(
        database.of(tmp_path).url, connect_args={"application_name": "psql"})
    with idle.begin() as connection:
        connection.exec_driver_sql(said)
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with pytest.raises(StoreError, match=rf"holds.* psql, process {pid}, .*end that transaction"):
            moving.move(there, other, last=True)
    idle.dispose()
    assert all(table.equal for table in moving.move(there, other, last=True))


@pytest.mark.parametrize(("state", "is_fault"), [
    ("26000", True), ("42P05", True), ("42501", True), ("42P01", False), ("42601", False), ("42703", False),
    ("23505", False), ("22001", False)])
def test_what_is_the_server_s_trouble_and_what_the_write_s(state, is_fault):
    from psycopg import errors
    cause = errors.lookup(state)("refused")
    assert postgres.is_fault(sqlalchemy.exc.DBAPIError("INSERT", None, cause)) == is_fault


def test_the_age_of_a_server_is_known(locks):
    lock = locks("fs1")
    first = lock.age_s()
    assert 0 < first < lock.age_s()
