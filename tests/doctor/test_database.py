import os
import sqlite3

import pytest

from kazoo_rec.doctor import database
from kazoo_rec.store.database import Database
from kazoo_rec.threads import Threads
from tests.database import of
from tests.delivery.fakes import stopped_row
from tests.doctor.conftest import only

NOW_MS = 1_795_242_427_000
HOUR_MS = 3_600_000


@pytest.fixture
def threads():
    made = Threads(1)
    yield made
    made.kill()


@pytest.fixture
def store(deployment):
    opened = deployment.store()
    yield opened
    opened.close()


def look(where, threads):
    store, found = database.opened(Database.of(where), threads)
    if store is not None:
        store.close()
    return only(found, "database")


def test_one_of_this_version_is_well_and_nothing_is_added(deployment, threads):
    before = sorted(os.listdir(deployment.place))
    assert look(of(deployment.place), threads).state == "ok"
    assert sorted(os.listdir(deployment.place)) == before


def test_one_that_is_not_made_yet_is_a_warning_and_is_not_made(tmp_path, threads):
    assert look(f"sqlite:///{tmp_path}/new.db", threads).state == "warning" and not os.listdir(tmp_path)


def test_one_in_no_directory_is_wrong(tmp_path, threads):
    assert "does not exist" in look(f"sqlite:///{tmp_path}/none/new.db", threads).seen


@pytest.mark.sqlite
@pytest.mark.parametrize("version, advice", [("0001", "brings it up to date"), ("another", "database downgrade")])
def test_one_of_another_version_is_wrong(deployment, threads, version, advice):
    with sqlite3.connect(deployment.place / "kazoo_rec.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [version])
    connection.close()
    found = look(of(deployment.place), threads)
    assert found.state == "wrong" and "another version" in found.seen and advice in found.advice


@pytest.mark.sqlite
def test_a_file_that_is_no_database_is_wrong(deployment, threads):
    (deployment.place / "kazoo_rec.db").write_text("not a database at all, and long enough to be looked at" * 50)
    assert look(of(deployment.place), threads).state == "wrong"


@pytest.mark.sqlite
def test_one_that_somebody_else_has_locked_is_wrong(deployment, threads, monkeypatch):
    monkeypatch.setattr(database, "LOCK_WITHIN_S", 0.01)
    holder = sqlite3.connect(deployment.place / "kazoo_rec.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    found = look(of(deployment.place), threads)
    holder.close()
    assert found.state == "wrong" and "locked" in found.seen


@pytest.mark.sqlite
@pytest.mark.parametrize("beside", ["", ".lock", ".lock.turn", ".lock.open", ".key"])
def test_one_that_others_may_read_is_wrong(deployment, threads, beside):
    (deployment.place / f"kazoo_rec.db{beside}").chmod(0o640)
    found = look(of(deployment.place), threads)
    assert found.state == "wrong" and "0640" in found.seen and "chmod 0600" in found.advice


@pytest.mark.sqlite
def test_one_whose_key_is_lost_is_wrong(deployment, threads):
    (deployment.place / "kazoo_rec.db.key").unlink()
    found = look(of(deployment.place), threads)
    assert found.state == "wrong" and "kazoo_rec.db.key" in found.seen and "bring it back" in found.advice


def insert(store, **columns):
    row = {"interaction_id": "i", "leg": "A", "rule": "account.inbound", "reason": "r", "settings_from": {},
           "source": "onnet", "direction": "inbound", "from_uri": "", "to_uri": "", "caller_id_name": "",
           "caller_id_number": "", "callee_id_name": "", "callee_id_number": "", "origin": "", **stopped_row(**columns)}
    store.recordings.insert({key: value for key, value in row.items() if key != "created_ms"}).get()
    return row["id"]


def upload(store, **columns):
    row = {"node": "fs1", "account_id": "acme", "kind": "upload", "url": "http://x/", "host": "http://x:80",
           "method": "put", "state": "due", "attempts": 0, "next_attempt_ms": NOW_MS, "give_up_ms": NOW_MS,
           "created_ms": NOW_MS, "recording_id": insert(store), **columns}
    store.recordings.finish(row["recording_id"], {"state": "recorded"}, [row]).get()


def test_nothing_that_waits_is_well(store):
    (found,) = database.waiting(store, NOW_MS)
    assert found.state == "ok"


@pytest.mark.parametrize("waits_ms, state", [(60_000, "ok"), (3 * HOUR_MS, "wrong")])
def test_a_recording_that_nobody_finishes_is_wrong(store, waits_ms, state):
    insert(store, stopped_ms=NOW_MS - waits_ms)
    (found,) = database.waiting(store, NOW_MS)
    assert found.state == state and (state == "ok" or "the first for 3 h" in found.seen)


@pytest.mark.parametrize("planned_ms, made_ms, state, seen", [
    (60_000, -HOUR_MS, "ok", "none late: 1 upload due"),
    (-3 * HOUR_MS, -3 * HOUR_MS, "wrong", "should have begun 3 h ago"),
    (60_000, -72 * HOUR_MS, "warning", "the first for 3 days"),
])
def test_uploads_that_are_late_or_refused_for_days_are_told_of(store, planned_ms, made_ms, state, seen):
    upload(store, next_attempt_ms=NOW_MS + planned_ms, created_ms=NOW_MS + made_ms)
    (found,) = database.waiting(store, NOW_MS)
    assert found.state == state and seen in found.seen


def test_uploads_that_were_given_up_are_a_warning(store):
    upload(store, state="failed")
    (found,) = database.waiting(store, NOW_MS)
    assert found.state == "warning" and "retry ID" in found.advice
