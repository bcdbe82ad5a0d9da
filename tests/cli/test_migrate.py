"""`kazoo-rec migrate`, as an operator types it: from a file to the database of tests.database, which is a file too
where there is no PostgreSQL."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from select import select as select_files
from types import SimpleNamespace

import gevent
import pytest
from click.testing import CliRunner
from sqlalchemy import JSON, Boolean, Text, create_engine, func, insert, inspect, select
from structlog.testing import capture_logs

from kazoo_rec.cli.migrate import migrate
from kazoo_rec.errors import StoreError
from kazoo_rec.store import Store, migrations, moving
from kazoo_rec.store.database import Database
from kazoo_rec.store.secrets import key_file, make_key
from kazoo_rec.store.tables import change, documents, metadata, sealing
from kazoo_rec.threads import Threads
from tests import database
from tests.faults.child import Child
from tests.store.test_store import row, upload

#: Of each table: more than one page, and an odd one.
PAGE = 20
ROWS = 2 * PAGE + 3

#: Texts that somebody may have had written, in whatever order their bytes give them.
TEXTS = ("", "a'; DROP TABLE recordings; --", "Zoë 𝄞 \u202e", "back\\slash \\u0000 %s :name", "\x01\x7f", "a\0b",
         "\ufffd")

#: As the store keeps them: as JSON in text, of which PostgreSQL finds nothing in what has a NUL or half a character.
TREES = ({}, [], None, "text", [2 ** 70, -0.5], {"a": {"ü": [1, True, None, "𝄞"]}},
         {"nul\0": "\0", "\\u0000": "\\ud800"}, {"half": "\ud834", "pair": "\U0001d11e", "other": ["\udd1e"]},
         {"huge": ["x" * 10_000, "\\" * 10_000]})


def fit(value):
    if isinstance(value, str):
        return "".join("?" if one == "\0" or "\ud800" <= one <= "\udfff" else one for one in value)
    if isinstance(value, dict):
        return {fit(key): fit(inner) for key, inner in value.items()}
    return [fit(inner) for inner in value] if isinstance(value, list) else value


def value_of(column, number):
    if column.foreign_keys:
        return value_of(*[reference.column for reference in column.foreign_keys], number)
    if isinstance(column.type, JSON):
        return TREES[number % len(TREES)]
    if isinstance(column.type, Boolean):
        return number % 2 == 0
    if not isinstance(column.type, Text):
        large = 2 ** 31 - 1 if type(column.type).__name__ == "Integer" else 2 ** 63 - 1
        return number + 1 if column.primary_key else large - number
    if column.nullable and number % 3 == 0:
        return None
    return f"{TEXTS[number % len(TEXTS)]}{number if column.primary_key or column.unique else ''}"


def fill(connection):
    """Every table that there is, but of those that have one row."""
    for table in metadata.sorted_tables:
        if table not in (change, sealing):
            connection.execute(insert(table), [{column.name: value_of(column, number) for column in table.c}
                                               for number in range(ROWS)])


def content(place):
    found = {}
    engine = create_engine(Database.of(place).url)
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            rows = connection.execute(select(table)).mappings()
            found[table.name] = sorted((fit(dict(row)) for row in rows), key=lambda row: json.dumps(row))
    engine.dispose()
    return found


def run(source, target, *more):
    arguments = ["--from", source["database"], "--to", target["database"], *more]
    if state_dir := target.get("state_dir") or source.get("state_dir"):
        arguments += ["--state-dir", state_dir]
    found = CliRunner().invoke(migrate, arguments)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def of(said):
    return Database.of(said["database"], said.get("state_dir"))


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch):
    monkeypatch.setattr(moving, "ROWS_AT_ONCE", PAGE)


@pytest.fixture
def source(tmp_path):
    said = database.a_file(tmp_path)
    migrations.migrate(of(said))
    return said


@pytest.fixture
def target(tmp_path):
    place = tmp_path / "new"
    place.mkdir()
    return database.said(place)


@pytest.fixture
def store(source):
    """Its test closes it."""
    return Store(of(source))


def write(said, work):
    engine = of(said).backend.writing(of(said).url)
    with engine.begin() as connection:
        result = work(connection)
    engine.dispose()
    return result


def table_of(output):
    lines = [line.split() for line in output.splitlines()]
    return {words[0]: SimpleNamespace(rows=int(words[1]), written=int(words[2]), equal=words[-1] == "yes")
            for words in lines if words and words[0] in metadata.tables and len(words) > 3}


def test_every_table_is_moved_whatever_is_in_it(source, target):
    write(source, fill)
    assert set(inspect(create_engine(of(source).url)).get_table_names()) == {*metadata.tables, "alembic_version"}
    told = run(source, target, "--last")
    found = table_of(told.output)
    assert told.exit_code == 0 and found.keys() == metadata.tables.keys()
    assert all(one.equal and one.rows >= (1 if name in ("change", "sealing") else ROWS) for name, one in found.items())
    assert content(of(target)) == content(of(source))
    Store(of(target)).close()


def test_a_key_that_postgresql_cannot_have_comes_without_what_it_cannot(source, target):
    names = ["b\0", "b", "b?", "b\0\0z", "a\0"]
    write(source, lambda connection: connection.execute(insert(metadata.tables["document_keys"]), [
        {"kind": "user", "account_id": "acme", "id": "u", "what": "username", "text": name, "key": "k"}
        for name in names]))
    assert run(source, target, "--last").exit_code == 0
    assert [one["text"] for one in content(of(target))["document_keys"]] == ["a?", "b", "b?", "b??z"]


def test_what_has_changed_is_copied_and_nothing_else(source, target, store):
    for number in range(5):
        store.recordings.insert(row(f"r{number}", state="stopped")).get()
    store.vitals.say("fs1", "engine", {"a": 1}).get()
    first = run(source, target)
    assert table_of(first.output)["recordings"].written == 5 and "--last" in first.output
    assert table_of(run(source, target).output)["recordings"].written == 0
    store.recordings.update("r3", state="recorded").get()
    store.recordings.finish("r4", {"state": "recorded"}, [upload("r4")]).get()
    store.vitals.leave("fs1", "engine")
    store.documents.put({"kind": "account", "account_id": "acme", "id": "acme", "body": {"name": "A"}}, None,
                        lambda *_: None).get()
    store.close()
    found = table_of(run(source, target, "--last").output)
    assert {name: one.written for name, one in found.items() if one.written} == {
        "recordings": 2, "deliveries": 1, "vitals": 1, "documents": 1, "document_keys": 1, "change": 1}
    there = content(of(target))
    assert [one["state"] for one in there["recordings"]] == ["stopped"] * 3 + ["recorded"] * 2
    assert not there["vitals"] and there["change"][0]["seq"] == 1 and len(there["deliveries"]) == 1


def test_what_is_numbered_goes_on_behind_what_was_moved(source, target, store):
    store.recordings.insert(row("r1", state="stopped")).get()
    store.recordings.finish("r1", {"state": "recorded"}, [upload("r1"), upload("r1", kind="webhook.completed")]).get()
    store.close()
    run(source, target, "--last")
    moved = Store(of(target))
    moved.recordings.notify(upload("r1", kind="webhook.failed")).get()
    assert [one["id"] for one in moved.deliveries.of("r1")] == [1, 2, 3]
    moved.close()


def test_nobody_starts_on_what_is_not_whole_nor_on_what_was_moved(source, target, store):
    store.recordings.insert(row("r1")).get()
    run(source, target)
    for start in (Store, migrations.migrate):
        with pytest.raises(StoreError, match=r"a copy that is not whole yet.*migrate"):
            start(of(target))
    with pytest.raises(StoreError, match=r"somebody has the database open.*stop kazoo-rec"):
        run(source, target, "--last")
    store.recordings.update("r1", state="stopped").get()
    store.close()
    assert "Nothing starts on" in run(source, target, "--last").output
    for start in (Store, migrations.migrate):
        with pytest.raises(StoreError, match=r"this database was moved.* to "):
            start(of(source))
    for more in ((), ("--last",)):
        with pytest.raises(StoreError, match="this database was moved"):
            run(source, target, *more)
    moved = Store(of(target))
    assert moved.recordings.get("r1")["state"] == "stopped"
    moved.close()


def held(said):
    """Somebody changes its tables."""
    return of(said).backend.migrating(*of(said), lambda: pytest.fail("somebody else does"))


def test_who_starts_while_it_is_copied_is_told_at_once(source, target):
    run(source, target)
    with held(target), pytest.raises(StoreError, match="a copy that is not whole yet"):
        migrations.migrate(of(target))
    run(source, target, "--last")
    with held(source), pytest.raises(StoreError, match="this database was moved"):
        migrations.migrate(of(source))


def test_who_waits_for_who_changes_the_tables_says_so(target):
    start = Threads(1)
    with held(target), capture_logs() as logs, gevent.Timeout(20):
        begun = start.spawn(migrations.migrate, of(target))
        while not logs:
            gevent.sleep(0.01)
    begun.get(timeout=20)
    assert [line["event"] for line in logs] == ["waits for whoever changes the database"]
    assert migrations.revision(of(target)) == migrations.head()


def test_a_command_that_waits_says_so_beside_what_it_prints(target, tmp_path):
    (tmp_path / "kazoo_rec.yaml").write_text(json.dumps({
        "node": "fs1", "recordings_dir": "/rec", "switches": [{"password": "x"}], **target}))
    command = [sys.executable, "-m", "kazoo_rec", "token", "create", "--role", "superadmin", "--config",
               str(tmp_path / "kazoo_rec.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        with held(target):
            said, _, _ = select_files([process.stdout, process.stderr], [], [], 30)
        printed, logged = process.communicate(timeout=30)
    assert said == [process.stderr] and process.returncode == 0, logged
    assert len(printed.split()) == 1 and "waits for whoever changes the database" in logged


@pytest.mark.parametrize("more", [(), ("--last",)])
def test_who_waited_for_the_last_run_of_another_changes_nothing(source, target, monkeypatch, more):
    write(source, fill)
    run(source, target)
    backend, migrating = of(target).backend, of(target).backend.migrating

    @contextmanager
    def late(*words):
        monkeypatch.setattr(backend, "migrating", migrating)
        run(source, target, "--last")
        moved = Store(of(target))
        moved.recordings.insert(row("new")).get()
        moved.close()
        with migrating(*words):
            yield

    monkeypatch.setattr(backend, "migrating", late)
    with pytest.raises(StoreError, match="this database was moved"):
        run(source, target, *more)
    moved = Store(of(target))
    assert moved.recordings.get("new") and not opens(source)
    moved.close()


def test_it_may_move_back(source, target):
    write(source, fill)
    run(source, target, "--last")
    moved = Store(of(target))
    moved.recordings.insert(row("new", settings={"url": "https://u:p@files.example/"})).get()
    moved.close()
    assert table_of(run(target, source).output)["recordings"].written == 1
    assert run(target, source, "--last").exit_code == 0
    back = Store(of(source))
    assert back.secrets.open(back.recordings.get("new")["settings"]["url"]) == "https://u:p@files.example/"
    back.close()
    with pytest.raises(StoreError, match="this database was moved"):
        Store(of(target))


def test_a_target_that_is_used_is_refused(source, target):
    os.link(f"{of(source).beside}.key", f"{of(target).beside}.key")
    migrations.migrate(of(target))
    theirs = Store(of(target))
    with pytest.raises(StoreError, match="somebody has the database open"):
        run(source, target)
    theirs.vitals.say("fs9", "engine", {}).get()
    theirs.close()
    with pytest.raises(StoreError, match=r"the target is in use.*vitals"):
        run(source, target)
    Store(of(target)).close()


@pytest.mark.parametrize("said", ["nonsense", "postgresql://ann:hunter2@db:port/x", "sqlite://", "", "mysql://a/b"])
def test_what_names_no_database_is_refused_without_its_password(source, said, tmp_path):
    for one, other in ((source, {"database": said}), ({"database": said}, source)):
        with pytest.raises(StoreError) as refused:
            run(one, {**other, "state_dir": str(tmp_path)})
        assert "hunter2" not in str(refused.value) and "sqlite:////" in str(refused.value)


@pytest.mark.parametrize("said", [
    "postgresql://ann:hunter2@db/x", "postgresql://db/x?user=ann&password=hunter2",
    "postgresql://db/x?host=/run/postgresql&pass%77ord=hunter2&password=hunter2", "postgresql:///x?sslpassword=hunter2"])
def test_no_password_is_shown(said):
    found = Database.of(said, "/var/lib/kazoo_rec")
    assert "hunter2" in found.url and "hunter2" not in found.shown + repr(found) + moving.named(found)
    assert ("host=" in found.shown) == ("host=" in said)


def test_a_database_is_not_moved_to_itself(source, target, tmp_path):
    (tmp_path / "link").symlink_to(of(source).beside)
    (tmp_path / "hard").hardlink_to(of(source).beside)
    for name in (of(source).beside, f"{tmp_path}/./{os.path.relpath(of(source).beside, tmp_path)}", tmp_path / "link",
                 tmp_path / "hard"):
        with pytest.raises(StoreError, match="the same database"):
            run(source, {"database": f"sqlite:///{name}"}, "--last")
    Store(of(source)).close()
    run(source, target, "--last")
    with pytest.raises(StoreError, match="the same database"):
        run(target, target)
    Store(of(target)).close()


def test_a_copy_of_another_database_is_refused(source, target, tmp_path):
    run(source, target)
    (tmp_path / "other").mkdir()
    other = database.a_file(tmp_path / "other")
    os.link(f"{of(source).beside}.key", f"{of(other).beside}.key")
    migrations.migrate(of(other))
    with pytest.raises(StoreError, match="another database's copy"):
        run(other, target)


def test_what_is_sealed_stays_so_and_the_key_comes_along(source, target, store):
    url = "https://ann:secret@files.example/"
    store.recordings.insert(row("r1", settings={"url": url})).get()
    told = run(source, target)
    theirs = f"{of(target).beside}.key"
    assert os.stat(theirs).st_mode & 0o777 == 0o600 and "secret" not in str(content(of(target)))
    make_key(key_file(store.beside))
    store.secrets.read(), store.reseal(), store.close()
    told = run(source, target, "--last")
    assert theirs in told.output
    moved = Store(of(target))
    assert moved.secrets.key_id == store.secrets.key_id
    assert moved.secrets.open(moved.recordings.get("r1")["settings"]["url"]) == url
    moved.close()


@pytest.mark.postgres
def test_both_may_have_their_files_in_one_directory(source, target, store, tmp_path):
    """The one that the shipped unit may write to."""
    target = {**target, "state_dir": str(tmp_path)}
    with ExitStack() as held:
        for one in (store.engine_lock(["db"]), store.engine_lock(["key"])):
            held.callback(one.release)
            assert one.take() is None
        store.recordings.insert(row("r1", settings={"url": "https://u:p@files.example/"})).get()
        before = {path: path.read_bytes() for path in tmp_path.glob("kazoo_rec.db.*")}
        run(source, target)
        assert {path: path.read_bytes() for path in before} == before
        store.close()
    run(source, target, "--last")
    moved = Store(of(target))
    assert moved.secrets.open(moved.recordings.get("r1")["settings"]["url"]) == "https://u:p@files.example/"
    moved.close()
    assert {path.name for path in tmp_path.glob("kazoo_rec*")} - {path.name for path in before} == {
        "kazoo_rec.key", "kazoo_rec.db"}


def test_another_key_is_left_where_it_is(source, target, tmp_path):
    make_key(key_file(of(target).beside))
    before = key_file(of(target).beside).read_text()
    with pytest.raises(StoreError, match="the target has another key"):
        run(source, target)
    assert key_file(of(target).beside).read_text() == before


def test_an_older_source_is_told_to_be_brought_up_to_date_first(source, target):
    write(source, lambda connection: connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(StoreError, match="`kazoo-rec run` brings it up to date"):
        run(source, target)
    with pytest.raises(StoreError, match="no such database"):
        run({"database": "sqlite:////none/none.db"}, target)


def test_what_is_not_equal_is_not_moved(source, target, store, monkeypatch):
    store.recordings.insert(row("r1")).get()
    store.close()
    monkeypatch.setattr(moving._Target, "_with_parents", staticmethod(lambda *_: []))
    told = run(source, target, "--last")
    assert told.exit_code == 1 and "NO" in told.output and "the old database is still the one to use" in told.output
    monkeypatch.undo()
    Store(of(source)).close()
    assert run(source, target, "--last").exit_code == 0


@pytest.mark.parametrize("of_, when, nth, said", [
    ("kazoo_rec.store.moving:_Target._write", "before", 3, ""),
    ("kazoo_rec.store.moving:_Target._write", "after", 5, ""),
    ("kazoo_rec.store.moving:copy_key", "after", 1, ""),
    ("kazoo_rec.store.moving:migrate", "after", 1, ""),
    ("kazoo_rec.store.notice:put", "after", 1, "copy"),
    ("kazoo_rec.store.notice:put", "after", 1, "moved"),
    ("kazoo_rec.store.moving:_Target.release", "before", 1, ""),
    ("kazoo_rec.store.moving:_Target.release", "after", 1, ""),
])
def test_killed_anywhere_it_goes_on_and_the_library_is_in_one_of_the_two(
        source, target, tmp_path, of_, when, nth, said):
    write(source, fill)
    before = content(of(source))
    state_dir = ["--state-dir", target["state_dir"]] if "state_dir" in target else []
    fate = {"of": of_, "when": when, "nth": nth, "said": said}
    killed = Child(tmp_path / "log", "tests.faults.doomed", json.dumps(fate), "migrate", "--from", source["database"],
                   "--to", target["database"], *state_dir, "--last")
    assert killed.wait(60) == -signal.SIGKILL
    killed.kill()
    usable = [said for said in (source, target) if opens(said)]
    if of_.endswith("release") and when == "after":
        assert usable == [target]
    elif of_.endswith("release"):
        assert usable == [], "neither, or it would be in two places"
    else:
        assert usable[0] == source
        assert usable[1:] == [] or nth == 1, "one that has nothing of it yet"
    if usable != [target]:
        assert run(source, target, "--last").exit_code == 0
    assert content(of(target)) == before and not opens(source)


def opens(said):
    try:
        Store(of(said)).close()
    except StoreError:
        return False
    return True


def test_what_is_written_while_it_is_copied_comes_with_a_later_run(source, target, store, monkeypatch):
    """A delivery of a recording that began behind where the copy has been."""
    for number in range(3):
        store.recordings.insert(row(f"r{number}", state="stopped")).get()
    whole = moving._rows

    def rows(connection, table):
        if table.name == "deliveries" and connection.engine.url.database == of(source).beside:
            store.recordings.insert(row("a0", state="stopped")).get()
            store.recordings.finish("a0", {"state": "recorded"}, [upload("a0")]).get()
        return whole(connection, table)

    monkeypatch.setattr(moving, "_rows", rows)
    assert run(source, target).exit_code == 0
    monkeypatch.undo()
    assert not content(of(target))["deliveries"]
    store.close()
    assert run(source, target, "--last").exit_code == 0
    assert content(of(target)) == content(of(source)) and content(of(target))["deliveries"]


def test_what_the_source_has_no_more_goes(source, target):
    """It was put back to a copy of before."""
    write(source, lambda connection: (connection.execute(insert(metadata.tables["recordings"]), [
        row(f"r{number}", spans=[], truncated_by_limit=False, partial=False, legal_hold=False, created_ms=1,
            updated_ms=1) for number in range(3)]), connection.execute(
                insert(metadata.tables["deliveries"]), [upload("r1", id=7, attempts=0)])))
    run(source, target)
    write(source, lambda connection: [connection.exec_driver_sql(f"DELETE FROM {name}")
                                      for name in ("deliveries", "recordings")])
    assert run(source, target, "--last").exit_code == 0
    assert not content(of(target))["recordings"] and not content(of(target))["deliveries"]


def test_documents_are_found_where_they_were_moved(source, target, store):
    """What PostgreSQL would find nothing in any more is none of theirs."""
    body = {"name": "A\0\ud800", "realm": "acme.example"}
    store.documents.put({"kind": "account", "account_id": "acme", "id": "acme", "body": {"realm": "x"}}, None,
                        lambda *_: None).get()
    store.close()
    with sqlite3.connect(of(source).beside) as connection:
        connection.execute("UPDATE documents SET body = ?", [json.dumps(body)])
    connection.close()
    assert run(source, target, "--last").exit_code == 0
    name = documents.c.body["name"].as_string()
    found = write(target, lambda connection: connection.execute(select(name, func.count()).group_by(name)).all())
    assert found == [("A??", 1)]

