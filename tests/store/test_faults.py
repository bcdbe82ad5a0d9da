"""A database that is full, locked, broken or gone: what is submitted waits in its order, and is written later."""

import sqlite3
import subprocess
import sys

import pytest
from gevent.event import Event
from sqlalchemy import select
from sqlalchemy.exc import DatabaseError, DBAPIError, ProgrammingError, SQLAlchemyError

from kazoo_rec.errors import StoreError
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from kazoo_rec.store.reader import Reader
from kazoo_rec.store.sqlite import reading
from kazoo_rec.store.statement import Statement
from kazoo_rec.store.tables import documents
from kazoo_rec.threads import Threads

from .test_store import row


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr("kazoo_rec.store.writer.RETRY_FIRST_S", 0.001)
    monkeypatch.setattr("kazoo_rec.store.writer.RETRY_LAST_S", 0.01)


def pages(store, most):
    """Has SQLite take the disk for full at so many pages; 0 takes that back."""
    return store._writer.submit(
        lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={most or 2**30}").scalar())


def refused(monkeypatch, times):
    """The result is set when writes were refused this many times."""
    seen, enough = [], Event()

    class Log:
        def error(self, event, **told):
            seen.append(told)
            if len(seen) >= times:
                enough.set()

    monkeypatch.setattr("kazoo_rec.store.writer.log", Log())
    return enough


@pytest.mark.sqlite
def test_a_full_database_is_written_in_order_when_there_is_room(store, monkeypatch):
    enough = refused(monkeypatch, 3)
    pages(store, 1).get()
    results = [store.recordings.insert(row(f"r{n}", reason="x" * 5000)) for n in range(20)]
    results += [store.recordings.update(f"r{n}", state="stopped") for n in range(20)]
    assert enough.wait(10) and not any(result.ready() for result in results)
    store._writing.pool.connect().dbapi_connection.execute(f"PRAGMA max_page_count={2**30}")
    assert [result.get(timeout=10) for result in results] == [1] * 40
    assert store.recordings.count_by_state() == {"stopped": 20}


def test_a_row_that_is_wrong_by_itself_does_not_wait_for_the_database(store):
    wrong = store._writer.submit(lambda connection: connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)"))
    good = store.recordings.insert(row("r1"))
    with pytest.raises(DBAPIError, match="nowhere"):
        wrong.get(timeout=10)
    assert good.get(timeout=10) == 1


def test_a_write_of_what_no_column_takes_does_not_wait_for_the_database(store):
    """sqlite3 and psycopg refuse these themselves: there is no code of the database's."""
    wrongs = [store.recordings.update("r1", **{name: value}) for name, value in (
        ("state_reason", {"no": "text"}), ("state_reason", "\ud800"), ("channels", 2**70))]
    good = store.recordings.insert(row("r1"))
    assert good.get(timeout=10) == 1
    for wrong in wrongs:
        with pytest.raises((SQLAlchemyError, UnicodeError, OverflowError)):
            wrong.get(timeout=10)


def test_a_connection_that_was_closed_drops_nothing_that_waits(store, monkeypatch):
    commit, faults = store._writer._commit, [sqlite3.ProgrammingError("Cannot operate on a closed database.")]

    def closed(batch, run):
        if faults:
            raise ProgrammingError("COMMIT", {}, faults.pop(), connection_invalidated=True)
        return commit(batch, run)

    monkeypatch.setattr(store._writer, "_commit", closed)
    assert store.recordings.insert(row("r1")).get(timeout=10) == 1 and not faults


def test_a_database_that_is_found_broken_drops_nothing_that_waits(store, monkeypatch):
    """SQLITE_CORRUPT is no OperationalError of sqlite3's, and may pass: another host's disk, restored meanwhile."""
    commit, faults = store._writer._commit, [sqlite3.DatabaseError("database disk image is malformed")] * 3
    faults[0].sqlite_errorcode = sqlite3.SQLITE_CORRUPT

    def broken(batch, run):
        if faults:
            raise DatabaseError("COMMIT", {}, faults.pop())
        return commit(batch, run)

    monkeypatch.setattr(store._writer, "_commit", broken)
    assert store.recordings.insert(row("r1")).get(timeout=10) == 1 and not faults


@pytest.mark.sqlite
def test_more_than_memory_is_given_for_is_refused_and_the_rest_is_written(store, monkeypatch):
    monkeypatch.setattr("kazoo_rec.store.writer.MOST_WAITING", 5)
    enough = refused(monkeypatch, 1)
    pages(store, 1).get()
    results = [store.recordings.insert(row(f"r{n}", reason="x" * 5000)) for n in range(7)]
    assert enough.wait(10)
    for one in results[5:]:
        with pytest.raises(StoreError, match="too much waits"):
            one.get(timeout=10)
    store._writing.pool.connect().dbapi_connection.execute(f"PRAGMA max_page_count={2**30}")
    assert [result.get(timeout=10) for result in results[:5]] == [1] * 5


#: A process that writes a row within a transaction, says so, and waits to be killed.
AMID = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE recordings SET state = 'failed'")
print("there", flush=True)
sys.stdin.read()
"""


def test_who_is_killed_amid_a_transaction_leaves_nothing_of_it_and_holds_up_nobody(store, url):
    store.recordings.insert(row("r1")).get()
    other = subprocess.Popen([sys.executable, "-c", AMID, url.removeprefix("sqlite:///")], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"there\n"
    waiting = store.recordings.insert(row("r2"))
    other.kill()
    other.wait(10)
    assert waiting.get(timeout=20) == 1
    assert store.recordings.count_by_state() == {"armed": 2}


def test_who_asks_while_the_database_cannot_be_opened_is_told(tmp_path):
    threads, statement = Threads(1), Statement(select(documents))
    url = f"sqlite:///{tmp_path}/not/there.db"
    reader = Reader(reading(url), threads)
    with pytest.raises(DBAPIError):
        reader.ask(statement, {}).get(timeout=10)
    (tmp_path / "not").mkdir()
    migrate(url)
    assert reader.ask(statement, {}).get(timeout=10) == []
    threads.kill()


def test_a_database_that_is_cut_short_is_told_at_the_start(url):
    migrate(url)
    file = url.removeprefix("sqlite:///")
    with open(file, "r+b") as opened:
        opened.truncate(6000)
    with pytest.raises(StoreError, match=r"no database of kazoo_rec.*malformed"):
        Store(url)
    with pytest.raises(StoreError, match=r"cannot be brought up to date.*malformed"):
        migrate(url)
