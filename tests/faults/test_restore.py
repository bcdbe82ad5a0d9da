"""The drill of docs/deployment.md: a database that is older than the directory is put back, and made whole from it."""

import os
import sqlite3
import subprocess
from contextlib import closing

import soundfile
import sqlalchemy

from kazoo_rec.control.client import Engines
from kazoo_rec.store import Store, sqlite
from tests import database, postgres
from tests.faults.site import Site, _now_ms
from tests.faults.truth import received


def back_up(place, copy):
    found = database.of(place)
    if found.backend is sqlite:
        with closing(sqlite3.connect(found.beside)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    else:
        _program("pg_dump", "--format=custom", f"--file={copy}", database.said(place)["database"])


def put_back(place, copy):
    """Nothing runs."""
    found = database.of(place)
    if found.backend is sqlite:
        for beside in ("-wal", "-shm"):
            if os.path.exists(found.beside + beside):
                os.unlink(found.beside + beside)
        os.replace(copy, found.beside)
    else:
        url = sqlalchemy.make_url(found.url)
        engine = sqlalchemy.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for do in ("DROP", "CREATE"):
                connection.exec_driver_sql(f"{do} DATABASE {url.database}")
        engine.dispose()
        _program("pg_restore", f"--dbname={database.said(place)['database']}", copy)


def _program(name, *arguments):
    place = next(place for place in postgres.PLACES if (place / name).exists())
    subprocess.run([place / name, *arguments], check=True)


def test_a_database_of_before_is_made_whole_from_the_directory(tmp_path, table):
    with Site(tmp_path) as site:
        store = Store(database.of(tmp_path))
        site.receiver.ask("mode", mode="503")
        deleted, masked = site.call(talk_s=1.5), site.call(talk_s=None)
        site.until(lambda: len(of(site, deleted, "recorded")) == 1, 30, "nothing is recorded")
        since_ms = _now_ms()
        due, over = site.call(talk_s=1.5), site.call(talk_s=None)
        site.until(lambda: len(of(site, due, "recorded")) == 1, 30, "nothing is recorded")
        site.wait_row(call_id=over, state="recording")
        back_up(tmp_path, tmp_path / "backup")

        (gone,) = of(site, deleted, "recorded")
        assert store.recordings.request_delete(gone["id"], "ann").get() == 1
        site.wait_row(id=gone["id"], state="deleted")
        site.receiver.ask("mode", mode="ok")
        assert store.deliveries.retry(of(site, due, "recorded")[0]["id"], _now_ms(), _now_ms() + 60_000).get()
        engines = Engines(store)
        engines.order(engines.find("acme", masked).engine, "acme", masked, "mask", {}, "ann")
        site.switch.ask("api", line=f"uuid_kill {over}")
        new, going = site.call(talk_s=2), site.call(talk_s=None)
        for uuid in (due, over, new):
            site.until(lambda uuid=uuid: delivered(site, uuid), 60, "not all is delivered")
        call = site.wait_row(call_id=going, state="recording")["interaction_id"]
        legs = {row["call_id"]: row["id"] for row in site.ledger.recordings() if row["interaction_id"] == call}
        before = {uuid: delivered(site, uuid) for uuid in (due, over, new)}
        store.close()
        site.kill("all")
        put_back(tmp_path, tmp_path / "backup")
        assert not of(site, new) and of(site, over, "recording") and of(site, gone["call_id"], "recorded")

        site.restart("all")
        site.wait_taken_in()
        site.until(lambda: of(site, new), 60, "a file has no row")
        site.switch.ask("hang_up")
        site.until(lambda: not site.switch.ask("legs") and not site.ledger.open() and site.ledger.due() == 1, 90,
                   "not all is done but what is gone")
        account = site.account(since_ms)
        table.add("database put back, calls in progress", account)
        assert account.wanted and account.delivered + account.reported == account.wanted
        for uuid, id in legs.items():  # what began after the backup and went on is taken up
            (row,) = of(site, uuid)
            assert (row["id"], row["state"], row["partial"]) == (id, "recorded", False)

        came = received(tmp_path / "received" / "journal")
        for uuid, keys in before.items():
            assert {row["id"] for row in of(site, uuid)} == keys, "the same recordings as before"
            for key in keys:
                assert len(came[key]) > 1, "sent again"
                assert len({one["sha256"] for one in came[key]}) == 1, "one, for who counts keys"
        assert gone["id"] not in came and not list(site.recordings.rglob(f"{gone['id']}*"))
        (upload,) = [one for one in site.ledger.deliveries() if one["recording_id"] == gone["id"]]
        assert upload["attempts"] and "FileNotFoundError" in upload["last_error"], "it is told"

        assert not site.switch.ask("commands", contains="unmask"), "nobody has unmasked it"
        (row,) = of(site, masked, "recorded")
        sound, rate = soundfile.read(site.recordings / row["master"])
        assert abs(sound[:rate // 2]).max() > 0.01 and abs(sound[-2 * rate:]).max() < 0.001


def of(site, uuid, state=None):
    return [row for row in site.ledger.recordings() if row["call_id"] == uuid and state in (None, row["state"])]


def delivered(site, uuid):
    """Recordings of the leg that the product knows to be delivered."""
    done = {one["recording_id"] for one in site.ledger.deliveries() if one["state"] == "delivered"}
    return {row["id"] for row in of(site, uuid)} & done
