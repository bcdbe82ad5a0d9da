"""Recordings whose files are on another host are played from the library, to whom they are to be played."""


import io
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import gevent
import pytest
from gevent.monkey import get_original

from kazoo_rec.api import loan, sound
from kazoo_rec.api.app import make_app
from kazoo_rec.delivery import library, s3
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.media import sealed
from kazoo_rec.threads import Threads
from tests.api.conftest import ACME, Client
from tests.api.test_recordings import heard
from tests.media.sounds import HEARD, SAID

get_ident = get_original("_thread", "get_ident")


@pytest.fixture
def threads():
    threads = Threads(4)
    yield threads
    threads.kill()


@pytest.fixture
def objects(s3_settings, threads):
    return s3.opened(DeliverySettings(s3=s3_settings), threads)


@pytest.fixture
def here(tmp_path):
    """The recordings directory of the host that is asked."""
    directory = tmp_path / "here"
    directory.mkdir()
    return directory


@pytest.fixture
def ask(store, clock, here, threads, objects, root, stored):
    """Asks another host than the one that has the file."""
    def fetch(*asked):
        library.fetch(objects, *asked)

    client = Client(make_app(store, "fs2", here, threads.apply, clock, clock.ms, fetch=fetch), root.token)

    def ask(path, **params):
        return client("GET", path, params=params, headers=params.pop("headers", None))

    yield ask
    assert not os.listdir(here)  # nothing of it stays


@pytest.fixture
def kept(store, recording, acme, tmp_path, s3_settings, objects):
    """A recording that is in the library; the path that it is asked for by."""
    def kept(account=acme, encrypted=False, state="delivered", **columns):
        row, key = recording(account, **columns), os.urandom(32)
        master = tmp_path / "recordings" / row["master"]
        if encrypted:
            sealed.seal(master, key)
            store.recordings.update(row["id"], data_key=store.secrets.wrap(account, row["id"], key)).get()
        delivery = library.row(row, master, 0, DeliverySettings(s3=s3_settings))
        library.put(objects, {**delivery, "recording": row}, tmp_path / "recordings", time.time(), (5, 5))
        store.recordings.notify({**delivery, "state": state}).get()
        return f"/v2/accounts/{account}/recordings/{row['id']}"

    return kept


@pytest.mark.parametrize("encrypted", [False, True])
def test_it_is_played_in_every_presentation(ask, kept, encrypted):
    one = kept(encrypted=encrypted)
    assert heard(ask(one, accept="audio/wav")) == [{SAID}, {HEARD}]
    assert heard(ask(one, accept="audio/mpeg", channels="mono")) == [{SAID, HEARD}]
    assert ask(one, accept="audio/wav", track="inbound").headers["Content-Disposition"].endswith('.inbound.wav"')
    assert ask(f"{one}/peaks", points="10").json["data"]["duration_ms"] == 2000


def test_a_part_is_that_part(ask, kept):
    one = kept()
    whole = ask(one, accept="audio/wav")
    part = ask(one, accept="audio/wav", headers={"Range": "bytes=10-19", "If-Range": whole.headers["ETag"]})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert ask(one, accept="audio/wav", headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304


def test_another_accounts_is_not_there_and_not_asked_for(ask, kept, root, stored):
    globex = root("PUT", "/v2/accounts", {**ACME, "name": "Globex", "realm": "g.example", "numbers": []})
    one = kept(globex.json["data"]["id"])
    stored.ask("requests")
    theirs = one.rpartition("/")[2]
    asked = ask(f"/v2/accounts/{kept().split('/')[3]}/recordings/{theirs}", accept="audio/wav")
    assert asked.status_code == 404
    assert not any(theirs in line for line in stored.ask("requests"))


@pytest.mark.parametrize("columns", [{"state": "due"}, {"state": "failed"}])
def test_what_the_library_has_not_is_not_here_as_ever(ask, kept, columns):
    answer = ask(kept(**columns), accept="audio/wav")
    assert answer.status_code == 404 and "not here" in answer.json["data"]["message"]


def test_its_deliveries_say_that_it_is_there_and_not_where(ask, kept):
    one = kept()
    [delivery] = ask(one).json["data"]["deliveries"]
    assert (delivery["kind"], delivery["state"], delivery["host"]) == ("library", "delivered", "library")
    assert "calls" not in str(delivery)


@pytest.mark.parametrize("mode", ["503", "hang", "slow", "moved"])
def test_a_library_that_is_not_well_is_a_503_soon(ask, kept, stored, monkeypatch, mode):
    monkeypatch.setattr(library, "TIMEOUT_S", (0.3, 0.3))
    monkeypatch.setattr(s3, "SLOWEST_READ_BYTES_S", 1_000_000)
    one = kept()
    stored.ask("mode", mode=mode)
    answer = ask(one, accept="audio/wav")
    assert answer.status_code == 503 and answer.headers["Retry-After"] and "library" in answer.json["data"]["message"]
    assert "calls" not in answer.text and "127.0.0.1" not in answer.text


def test_one_that_is_down_is_a_503_and_is_asked_again(ask, kept, stored):
    one = kept()
    stored.ask("down")
    answer = ask(one, accept="audio/wav")
    stored.ask("up")
    assert answer.status_code == 503
    assert ask(one, accept="audio/wav").status_code == 200


def test_other_bytes_than_were_put_there_are_not_played(ask, kept, stored, store):
    one = kept()
    [key] = stored.ask("objects", bucket="calls")
    delivery = store.deliveries.of(one.rpartition("/")[2])[0]
    stored.ask("put", bucket="calls", key=key, size=delivery["size_bytes"])
    assert ask(one, accept="audio/wav").status_code == 503
    stored.ask("put", bucket="calls", key=key, size=10)
    assert ask(one, accept="audio/wav").status_code == 503


def while_one_is_fetched(ask, stored, one, other):
    """What is answered of the other, while the store hangs with the one, which comes after it."""
    stored.ask("mode", mode="hang")
    waiting = gevent.spawn(ask, one, accept="audio/wav")
    while not stored.ask("waiting"):
        pass
    answer = ask(other, accept="audio/wav")
    stored.ask("mode", mode="ok")
    assert waiting.get().status_code == 200
    return answer


def test_only_so_many_wait_for_it(ask, kept, monkeypatch, stored):
    monkeypatch.setattr(sound, "FETCHES", 1)
    one, other = kept(), kept("globex")
    refused = while_one_is_fetched(ask, stored, one, other)
    assert refused.status_code == 503 and "too many" in refused.text


@pytest.fixture
def free(monkeypatch):
    """Has the disk so many bytes more free than calls have to have."""
    def free(count):
        monkeypatch.setattr(sound.os, "statvfs", lambda _: SimpleNamespace(
            f_frsize=1000, f_blocks=10_000, f_bavail=count / 1000))

    return free


def test_nothing_is_fetched_or_made_in_the_room_that_calls_need(ask, kept, store, free, stored):
    one = kept()
    size = store.deliveries.of(one.rpartition("/")[2])[0]["size_bytes"]
    stored.ask("requests")
    free(2 * size - 1000)
    answer = ask(one, accept="audio/wav")
    assert answer.status_code == 503 and "the disk is full" in answer.text and not stored.ask("requests")
    free(2 * size)
    assert ask(one, accept="audio/wav").status_code == 200


def test_what_others_fetch_has_its_room_meanwhile(ask, kept, store, free, stored):
    one, other = kept(), kept("globex")
    size = store.deliveries.of(one.rpartition("/")[2])[0]["size_bytes"]
    free(3 * size)
    refused = while_one_is_fetched(ask, stored, one, other)
    assert refused.status_code == 503 and "the disk is full" in refused.text
    assert ask(other, accept="audio/wav").status_code == 200


def test_what_a_thread_still_writes_to_is_closed_on_another(ask, kept, monkeypatch):
    """It waits for the write, which an attempt that took too long has left."""
    hub, closed = get_ident(), []

    class File(io.FileIO):
        def close(self):
            closed.append(get_ident())
            super().close()

    monkeypatch.setattr(sound, "open", File, raising=False)
    assert ask(kept(), accept="audio/wav").status_code == 200
    assert closed and hub not in closed


def test_of_what_is_there_a_row_that_knows_nothing_any_more_says_so(ask, kept, store):
    """The database was an older version's in between."""
    one = kept()
    [delivery] = store.deliveries.of(one.rpartition("/")[2])
    store.deliveries.update(delivery["id"], size_bytes=None, sha256=None).get()
    answer = ask(one, accept="audio/wav")
    assert answer.status_code == 503 and "library" in answer.text


def test_a_file_here_that_is_not_the_recordings_is_not_played_either(ask, kept, here, store):
    one = kept(encrypted=True)
    row = store.recordings.get(one.rpartition("/")[2])
    planted = here / row["master"]
    planted.parent.mkdir(parents=True)
    planted.write_bytes(b"RIFF")
    answer = ask(one, accept="audio/wav")
    shutil.rmtree(here / row["account_id"])
    assert answer.status_code == 404 and "not here" in answer.text


def test_what_a_killed_api_was_playing_goes_at_the_next_start_and_what_another_plays_stays(tmp_path):
    with loan.lent(tmp_path, lambda function, args: function(*args)) as mine:
        code = ("import os, pathlib, sys; from kazoo_rec.api import loan; "
                "lent = loan.lent(pathlib.Path(sys.argv[1]), lambda function, args: function(*args)); "
                "(lent.__enter__() / 'file').touch(); os.kill(os.getpid(), 9)")
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
        assert len(os.listdir(tmp_path)) == 2
        loan.clear(tmp_path)
        assert os.listdir(tmp_path) == [mine.name]
    assert not os.listdir(tmp_path)
