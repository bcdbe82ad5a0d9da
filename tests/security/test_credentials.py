"""User and password in URLs: encrypted in what is stored, masked in what is shown, and used when a file is sent."""

import base64
import json
import os
import resource
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import gevent
import pytest
from alembic import command
from click.testing import CliRunner
from falcon.testing import TestClient
from gevent.threadpool import ThreadPool
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.api import tokens
from kazoo_rec.api.app import make_app
from kazoo_rec.cli.decide import decide
from kazoo_rec.cli.docs import docs
from kazoo_rec.cli.keys import keys
from kazoo_rec.cli.recordings import recordings
from kazoo_rec.delivery import target
from kazoo_rec.delivery.connections import Connections
from kazoo_rec.delivery.finish import finish
from kazoo_rec.delivery.networks import Networks
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.delivery.worker import Worker
from kazoo_rec.documents import files
from kazoo_rec.errors import ConfigError, DocumentError, StoreError
from kazoo_rec.store import Store, epoch_ms, migrations
from kazoo_rec.store.migrations import migrate
from kazoo_rec.store.secrets import Secrets, make_key
from kazoo_rec.store.urls import MASK, masked, restored, without_passwords
from tests.delivery.fakes import RECORDING_ID, Customer, stopped_row
from tests.delivery.test_way import OTHER_COLUMNS
from tests.media.sounds import write_talk

PASSWORD = "hunter2-%40x"
URL = f"https://ann:{PASSWORD}@files.example/calls?to="
SHOWN = f"https://{MASK}@files.example/calls?to="


@pytest.fixture(autouse=True)
def _patience():
    with gevent.Timeout(20):
        yield


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path}/kazoo_rec.db"
    migrate(url)
    return url


@pytest.fixture
def store(url):
    store = Store(url)
    yield store
    store.close()


@pytest.fixture
def secrets(tmp_path):
    make_key(tmp_path / "of.db.key")
    return Secrets(str(tmp_path / "of.db"))


def said(value=URL):
    return {"call_recording": {"any": {"any": {"enabled": True, "url": value, "status_callback": value}}}}


def on_disk(place):
    return b"".join(file.read_bytes() for file in place.iterdir() if file.name.startswith("kazoo_rec.db"))


def account(body, source="acme/account.yaml"):
    return {"kind": "account", "account_id": "acme", "id": "acme", "body": body, "source": source}


# Sealing itself

userinfos = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/?#[]\\"), min_size=1,
                    max_size=60)


@given(userinfo=userinfos, rest=st.sampled_from(["", "/", "/a@b", "?x=@", "#@y"]))
def test_what_is_sealed_opens_and_goes_to_the_same_place(tmp_path_factory, userinfo, rest):
    file = tmp_path_factory.getbasetemp() / "any.db.key"
    if not file.exists():
        make_key(file)
    secrets = Secrets(str(file).removesuffix(".key"))
    url = f"https://{userinfo}@files.example:81{rest}"
    sealed = secrets.seal(url)
    assert secrets.open(sealed) == url and secrets.seal(sealed) == sealed == secrets.seal(url)
    assert target.host(sealed) == target.host(url) == "https://files.example:81"
    assert target.without_credentials(secrets.open(sealed)) == target.without_credentials(url)
    assert masked(url) == masked(sealed) == f"https://{MASK}@files.example:81{rest}"
    assert len(userinfo) < 4 or userinfo not in sealed.partition("@")[0]


@pytest.mark.parametrize("url", ["https://files.example/a@b", "https://files.example/?a=b@c", "", None, 7, "no url @"])
def test_what_has_no_user_stays_as_it_is(secrets, url):
    tree = {"url": url, "name": "https://a:b@c"}
    assert secrets.seal(tree) == secrets.open(tree) == masked(tree) == tree


def test_a_sealed_url_that_is_moved_to_another_host_does_not_open(secrets):
    sealed = secrets.seal(URL)
    for other in ("evil.example", "files.example:8443", "files.example.evil.example"):
        with pytest.raises(StoreError) as refused:
            secrets.open(sealed.replace("files.example", other))
        assert "hunter" not in str(refused.value)
    with pytest.raises(StoreError):
        secrets.open(sealed.replace("https:", "http:"))


def test_keys_before_a_bucket_are_sealed_and_masked_as_passwords_are(secrets):
    url = "s3://AK:hunter%2F2@calls/rec"
    sealed = secrets.seal({"url": url})["url"]
    assert "hunter" not in sealed and "AK" not in sealed and secrets.open(sealed) == url
    assert target.server(sealed) == target.server(url) == "s3://calls"
    assert masked(url) == masked(sealed) == f"s3://{MASK}@calls/rec"
    assert restored({"url": f"s3://{MASK}@calls/new"}, {"url": url}) == {"url": "s3://AK:hunter%2F2@calls/new"}
    with pytest.raises(LookupError):
        restored({"url": f"s3://{MASK}@mine/new"}, {"url": url})
    with pytest.raises(StoreError):
        secrets.open(sealed.replace("@calls", "@mine"))


def test_who_writes_what_looks_sealed_has_it_sealed_like_anything_else(secrets):
    forged = f"https://sealed:{secrets.key_id}.QUJD@files.example/"
    assert secrets.seal(forged) != forged and secrets.open(secrets.seal(forged)) == forged


def test_what_looks_sealed_by_an_unknown_key_opens_nowhere_and_stops_nobody_else(store, config):
    forged = "https://sealed:00000000.QUJD@files.example/"
    store.documents.take_files([account(said(forged)), {**account(said()), "kind": "user", "id": "u"}]).get()
    assert store.documents.get("account", "acme", "acme")["body"] == said(forged)
    with pytest.raises(StoreError):
        store.secrets.open(forged)
    assert "1 rows sealed anew" in CliRunner().invoke(keys, ["rotate", "--config", config]).output


# The key

def test_the_key_is_made_with_the_database_for_its_owner_alone_and_stays(url, tmp_path):
    file = tmp_path / "kazoo_rec.db.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    made = file.read_text()
    assert len(base64.b64decode(made)) == 32
    migrate(url)
    assert file.read_text() == made
    assert sorted(path.name for path in tmp_path.iterdir() if ".part" in path.name) == []


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: file.write_text(""), lambda file: file.write_text("short"),
                                   lambda file: file.write_text(base64.b64encode(os.urandom(32)).decode())])
def test_without_its_key_a_database_is_not_opened_and_none_is_made_in_its_place(url, tmp_path, spoil):
    file = tmp_path / "kazoo_rec.db.key"
    spoil(file)
    left = file.exists() and file.read_text()
    for use in (Store, migrate):
        with pytest.raises(StoreError, match="key"):
            use(url)
    assert (file.exists() and file.read_text()) == left


def test_with_the_key_lost_for_good_a_new_one_is_made_when_the_operator_says_so(url, tmp_path):
    """As docs/secrets.md says."""
    store = Store(url)
    store.documents.take_files([account(said())]).get()
    store.close()
    (tmp_path / "kazoo_rec.db.key").unlink()
    with sqlite3.connect(tmp_path / "kazoo_rec.db") as database:
        database.execute("DELETE FROM sealing")
    migrate(url)
    store = Store(url)
    lost = store.documents.get("account", "acme", "acme")["body"]
    with pytest.raises(StoreError, match="cannot be opened"):
        store.secrets.open(lost)
    assert masked(lost) == said(SHOWN)
    assert store.documents.take_files([account(said())]).get() == (1, 0)
    assert store.secrets.open(store.documents.get("account", "acme", "acme")["body"]) == said()
    store.close()


def test_the_key_may_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("KAZOO_REC_KEY", base64.b64encode(bytes(32)).decode())
    url = f"sqlite:///{tmp_path}/kazoo_rec.db"
    migrate(url)
    Store(url).close()
    assert not (tmp_path / "kazoo_rec.db.key").exists()
    monkeypatch.setenv("KAZOO_REC_KEY", base64.b64encode(bytes(31) + b"x").decode())
    with pytest.raises(StoreError, match="KAZOO_REC_KEY"):
        Store(url)


def test_what_older_versions_wrote_in_clear_is_sealed_and_not_left_in_the_file(tmp_path):
    url = f"sqlite:///{tmp_path}/kazoo_rec.db"
    migrate(url)
    store = Store(url)
    store.documents.take_files([account({"realm": "acme.example"})]).get()
    store.recordings.insert(stopped_row(**OTHER_COLUMNS)).get()
    store.recordings.finish(RECORDING_ID, {"state": "recorded"}, [delivery()]).get()
    store.close()
    command.downgrade(migrations._config(url), "0006")
    with sqlite3.connect(tmp_path / "kazoo_rec.db") as database:
        database.execute("UPDATE documents SET body = ?", (json.dumps(said()),))
        database.execute("UPDATE recordings SET settings = ?", (json.dumps({"url": URL}),))
        database.execute("UPDATE deliveries SET url = ?", (URL,))
    assert b"hunter2" in on_disk(tmp_path)
    migrate(url)
    assert b"hunter2" not in on_disk(tmp_path)
    store = Store(url)
    assert store.secrets.open(store.documents.get("account", "acme", "acme")["body"]) == said()
    assert store.secrets.open(store.recordings.get(RECORDING_ID)["settings"]) == {"url": URL}
    assert store.secrets.open(store.deliveries.of(RECORDING_ID)[0]["url"]) == URL
    store.close()


def test_a_disk_without_room_for_a_copy_keeps_nothing_from_starting_and_the_next_start_tries_again(tmp_path, capsys):
    url, file = f"sqlite:///{tmp_path}/kazoo_rec.db", tmp_path / "kazoo_rec.db"
    migrate(url)
    store = Store(url)
    store.documents.take_files([account({"realm": "acme.example"}), {
        **account({"note": "x" * 2_000_000}), "kind": "user", "id": "u"}]).get()
    store.close()
    command.downgrade(migrations._config(url), "0006")
    with sqlite3.connect(file) as database:
        database.execute("UPDATE documents SET body = ? WHERE kind = 'account'", (json.dumps(said()),))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        migrate(url)
        Store(url).close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "in clear" in capsys.readouterr().out and b"hunter2" in on_disk(tmp_path)
    (tmp_path / "kazoo_rec.db.key").rename(tmp_path / "key")
    with pytest.raises(StoreError, match="key"):
        migrate(url)
    (tmp_path / "key").rename(tmp_path / "kazoo_rec.db.key")
    migrate(url)
    assert b"hunter2" not in on_disk(tmp_path)


def delivery():
    return {"recording_id": RECORDING_ID, "node": "fs1", "account_id": "acme", "kind": "upload", "url": URL,
            "host": target.host(URL), "method": "put", "state": "due", "attempts": 0, "next_attempt_ms": 0,
            "give_up_ms": 1, "created_ms": 0, "last_error": None}


# What is stored

def test_documents_of_files_are_sealed_and_found_unchanged(store, tmp_path):
    file = tmp_path / "documents" / "acme" / "account.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"realm": "acme.example", **said()}))
    assert store.documents.take_files(files.read(tmp_path / "documents"), files.fit).get() == (1, 0)
    assert store.documents.take_files(files.read(tmp_path / "documents"), files.fit).get() == (0, 0)
    row, = store.documents.since(0)
    assert "hunter2" not in str(row) and b"hunter2" not in on_disk(tmp_path)
    assert store.secrets.open(row["body"]) == {"realm": "acme.example", **said()}


def test_a_recording_and_its_deliveries_have_the_password_nowhere_and_the_server_gets_it(store, tmp_path, capsys):
    pool = ThreadPool(4)
    with Customer([("500 No", {})]) as customer:
        customer_url = customer.url.replace("//", f"//ann:{PASSWORD}@")
        row = stopped_row(settings={"url": customer_url, "status_callback": customer_url}, **OTHER_COLUMNS)
        write_talk(tmp_path / "recordings" / row["master"])
        store.recordings.insert(row).get()
        stored = store.recordings.stopped("fs1", "acme", 1)[0]
        assert finish(stored, store, tmp_path / "recordings", pool, epoch_ms(), DeliverySettings()) == "recorded"
        worker = Worker(store, "fs1", tmp_path / "recordings", pool, DeliverySettings(),
                        Connections(2, networks=Networks(["127.0.0.0/8"])), epoch_ms)
        worker.tick()
        worker.join()
        failed = [one for one in store.deliveries.of(row["id"]) if one["state"] == "due"]
        for _ in range(3):
            store.deliveries.retry(row["id"], 0, epoch_ms() + 60_000)
            worker.tick()
            worker.join()
    assert any(one["last_error"] for one in failed)
    basic = base64.b64encode(b"ann:hunter2-@x").decode()
    assert [headers["AUTHORIZATION"] for _, _, headers, _ in customer.requests] == [f"Basic {basic}"] * 3
    everything = str((store.recordings.list(), store.deliveries.of(row["id"]), failed)) + str(capsys.readouterr())
    assert "hunter2" not in everything and basic not in everything
    assert b"hunter2" not in on_disk(tmp_path)
    assert {one["state"] for one in store.deliveries.of(row["id"])} == {"delivered"}
    pool.kill()


def test_a_server_that_says_the_password_again_is_not_quoted(store, tmp_path):
    pool = ThreadPool(2)
    basic = base64.b64encode(b"ann:hunter2-@x").decode()
    row = stopped_row(settings={"url": None}, **OTHER_COLUMNS)
    store.recordings.insert(row).get()

    class Echo(Customer):
        def _serve(self, environ, start_response):
            super()._serve(environ, lambda *_: None)
            start_response("401 Who", [])
            return [f"{environ['HTTP_AUTHORIZATION']} that is hunter2-@x".encode()]

    with Echo() as customer:
        store.recordings.finish(row["id"], {"state": "recorded"}, [delivery() | {
            "kind": "webhook.completed", "url": customer.url.replace("//", f"//ann:{PASSWORD}@"), "method": "post",
            "give_up_ms": epoch_ms() + 1000}]).get()
        worker = Worker(store, "fs1", tmp_path, pool, DeliverySettings(),
                        Connections(2, networks=Networks(["127.0.0.0/8"])), epoch_ms)
        worker.tick()
        worker.join()
    error = store.deliveries.of(row["id"])[0]["last_error"]
    assert error == f"answered 401 Basic {MASK} that is {MASK}" and basic not in error
    pool.kill()


def test_an_error_of_the_database_does_not_say_what_was_to_be_written(store):
    row = stopped_row(settings={"url": URL}, **OTHER_COLUMNS)
    store.recordings.insert(row).get()
    for wrong in (lambda: store.recordings.insert(row | {"id": "another", "node": None}).get(),
                  lambda: store.recordings.finish(row["id"], {"state": "recorded"},
                                                  [delivery() | {"recording_id": None}]).get()):
        with pytest.raises(Exception) as refused:
            wrong()
        assert "sealed:" not in str(refused.value) and "hunter2" not in str(refused.value)


# What is shown

def test_masked_and_sent_back_nothing_is_lost():
    before = {"call_recording": {"inbound": {"any": {"url": URL}}, "outbound": {"any": {"url": "https://b:c@b.example"}}},
              "flow": {"children": {"_": {"data": {"url": "https://d:e@files.example/x"}}}}}
    assert restored(masked(before), before) == before


def test_a_mask_stands_for_what_its_host_had_elsewhere_only_where_that_is_one():
    moved = {"call_recording": {"any": {"any": {"url": SHOWN}}}}
    before = {"call_recording": {"inbound": {"any": {"url": URL}}, "outbound": {"any": {"url": URL}}}}
    assert restored(moved, before)["call_recording"]["any"]["any"]["url"] == URL
    before["call_recording"]["outbound"]["any"]["url"] = URL.replace("ann", "bob")
    with pytest.raises(LookupError, match=r"call_recording\.any\.any\.url"):
        restored(moved, before)


@pytest.mark.parametrize("shown", [SHOWN.replace("files", "evil"), SHOWN.replace("https", "http"),
                                   SHOWN.replace(".example", ".example:8443")])
def test_a_mask_never_stands_for_the_password_of_another_host(shown):
    with pytest.raises(LookupError):
        restored(said(shown), said())


class Client:
    def __init__(self, store, threads):
        secret, row = tokens.make("superadmin", None, None, "test", None)
        store.access.add_token(row).get()
        self._http = TestClient(make_app(store, "fs1", Path("/none"), threads.apply, epoch_ms, epoch_ms),
                                headers={"X-Auth-Token": secret})

    def __call__(self, method, path, data=None):
        return self._http.simulate_request(method, path, **({} if data is None else {"json": {"data": data}}))


@pytest.fixture
def ask(store):
    threads = ThreadPool(2)
    yield Client(store, threads)
    threads.kill()


def test_the_api_never_says_it_and_takes_the_mask_back(ask, store, tmp_path):
    made = ask("PUT", "/v2/accounts", {"name": "Acme", "realm": "acme.example", **said()})
    place = f"/v2/accounts/{made.json['data']['id']}"
    read = ask("GET", place)
    assert made.json["data"]["call_recording"] == read.json["data"]["call_recording"] == said(SHOWN)["call_recording"]
    changed = ask("PATCH", place, {"country": "US"})
    assert changed.json["data"] == {**read.json["data"], "country": "US"}
    written = ask("POST", place, {**read.json["data"], "name": "Acme Inc"})
    deep = ask("PATCH", place, {"call_recording": {"any": {"any": {"url": SHOWN + "&more=1"}}}})
    flow = ask("PUT", f"{place}/callflows", {"numbers": ["100"], "flow": {
        "module": "record_call", "data": {"action": "start", "url": URL}}})
    listed = ask("GET", "/v2/accounts"), ask("GET", f"{place}/callflows"), ask("GET", f"{place}/audit")
    answers = [made, read, changed, written, deep, flow, *listed]
    assert {answer.status_code for answer in answers} == {200, 201}
    assert not any("hunter2" in answer.text or "sealed:" in answer.text for answer in answers)
    assert flow.json["data"]["flow"]["data"]["url"] == SHOWN
    body = store.documents.get("account", made.json["data"]["id"], made.json["data"]["id"])["body"]
    assert "hunter2" not in str(body) and body["name"] == "Acme Inc"
    assert store.secrets.open(body)["call_recording"]["any"]["any"]["url"] == URL + "&more=1"
    assert store.secrets.open(body)["call_recording"]["any"]["any"]["status_callback"] == URL
    assert b"hunter2" not in on_disk(tmp_path)


def test_a_mask_that_stands_for_nothing_is_refused_and_says_where(ask):
    new = ask("PUT", "/v2/accounts", {"name": "Acme", "realm": "acme.example", **said(SHOWN)})
    assert new.status_code == 400 and "call_recording.any.any.url" in new.json["data"]
    made = ask("PUT", "/v2/accounts", {"name": "Acme", "realm": "acme.example", **said()}).json["data"]["id"]
    stolen = ask("PATCH", f"/v2/accounts/{made}", said(SHOWN.replace("files.example", "evil.example")))
    assert stolen.status_code == 400


FORGED = "https://sealed:00000000.QUJD@files.example/"


def test_what_looks_sealed_is_taken_from_nobody_and_what_lost_its_key_may_stay(ask, store, tmp_path):
    for data in (said(FORGED), {"call_recording": {"inbound": {"any": {"status_callback": FORGED}}}}):
        new = ask("PUT", "/v2/accounts", {"name": "Acme", "realm": "acme.example", **data})
        assert new.status_code == 400 and next(iter(new.json["data"].values())).keys() == {"sealed"}
    place = "/v2/accounts/" + ask("PUT", "/v2/accounts", {"name": "A", "realm": "a.example"}).json["data"]["id"]
    order = {"action": "record", "record": {"action": "start", "url": FORGED}}
    flow = {"numbers": ["100"], "flow": {"module": "record_call", "data": {"action": "start", "url": FORGED}}}
    for method, path, data, fault in (
            ("PATCH", place, said(FORGED), "call_recording.any.any.url"),
            ("POST", place, {"name": "A", "realm": "a.example", **said(FORGED)}, "call_recording.any.any.url"),
            ("PUT", f"{place}/callflows", flow, "flow.data.url"), ("PUT", f"{place}/channels/leg", order, "url")):
        refused = ask(method, path, data)
        assert refused.status_code == 400 and list(refused.json["data"]) == [fault]
    store.documents.take_files([account(said(FORGED), source=None)]).get()
    assert ask("PATCH", "/v2/accounts/acme", {"name": "Acme"}).status_code == 200
    assert ask("PATCH", "/v2/accounts/acme", said("https://sealed:x@files.example/")).status_code == 200
    (tmp_path / "documents" / "acme").mkdir(parents=True)
    (tmp_path / "documents" / "acme" / "account.json").write_text(json.dumps(said(FORGED)))
    with pytest.raises(DocumentError) as refused:
        files.read(tmp_path / "documents")
    assert "acme/account.json: call_recording.any.any.url" in str(refused.value)


def test_a_key_that_is_not_there_is_told_to_tenants_without_its_place(secrets, tmp_path):
    (tmp_path / "of.db.key").unlink()
    for refused in (lambda: secrets.open(FORGED), lambda: secrets.unwrap("acme", RECORDING_ID, "00000000.QUJD")):
        with pytest.raises(StoreError) as told:
            refused()
        assert "00000000" in str(told.value) and str(tmp_path) not in str(told.value)


@pytest.mark.parametrize("fault", [f"ftp://ann:{PASSWORD}@files.example/", f"https://ann:{PASSWORD}@files.example:x/",
                                   [URL], {"x": URL}, f"https://ann:{PASSWORD}@files.example/ blank",
                                   "https://ann:ab/cd-hunter2@files.example/x",  # base64 has slashes
                                   "https://ann:12/34-hunter2@files.example/x",  # `ann` with a port, it seems
                                   "https://ann:12?hunter2@files.example/x", "https://ann:12#hunter2@files.example/x"])
def test_a_fault_in_a_url_is_told_without_its_password(ask, tmp_path, fault):
    refused = ask("PUT", "/v2/accounts", {"name": "Acme", "realm": "acme.example", **said(fault)})
    assert refused.status_code == 400 and "hunter2" not in refused.text
    file = tmp_path / "documents" / "acme" / "account.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(said(fault)))
    checked = CliRunner().invoke(docs, ["check", str(tmp_path / "documents")])
    assert checked.exit_code == 1 and "url" in checked.output and "hunter2" not in checked.output


def test_a_file_that_is_no_yaml_is_told_without_the_line(tmp_path):
    file = tmp_path / "acme" / "account.yaml"
    file.parent.mkdir()
    file.write_text(f'call_recording: {{any: {{any: {{url: "{URL}}}}}}}\n')
    with pytest.raises(DocumentError) as refused:
        files.read(tmp_path)
    assert "hunter2" not in str(refused.value) and "line 1" in str(refused.value)


def test_the_command_line_masks_what_it_shows_and_exports_what_can_be_imported(store, tmp_path):
    config = tmp_path / "kazoo_rec.yaml"
    config.write_text(json.dumps({"node": "fs1", "database": f"sqlite:///{tmp_path}/kazoo_rec.db",
                                  "recordings_dir": "/rec", "switches": [{"password": "x"}]}))
    store.documents.take_files([account(said())]).get()
    store.recordings.insert(stopped_row(settings={"url": URL}, **OTHER_COLUMNS)).get()
    store.recordings.finish(RECORDING_ID, {"state": "recorded"}, [delivery()]).get()
    run = CliRunner().invoke
    shown = run(recordings, ["show", RECORDING_ID, "--config", str(config)])
    listed = run(recordings, ["list", "--json", "--config", str(config)])
    for told in (json.loads(shown.output), json.loads(listed.output)):
        assert told["settings"]["url"] == told["deliveries"][0]["url"] == SHOWN
    assert "hunter2" not in shown.output + listed.output
    assert run(docs, ["export", str(tmp_path / "out"), "--config", str(config)]).exit_code == 0
    file = tmp_path / "out" / "acme" / "account.json"
    assert json.loads(file.read_text()) == said() and stat.S_IMODE(file.stat().st_mode) == 0o600


def test_decide_says_the_settings_without_it(tmp_path):
    call = {"source": "onnet", "destination": "offnet",
            "account": {"call_recording": {"account": said()["call_recording"]}},
            "caller": {"user": None, "device": None}, "callee": None}
    (tmp_path / "call.json").write_text(json.dumps(call))
    told = CliRunner().invoke(decide, ["--json", str(tmp_path / "call.json")])
    assert SHOWN in told.output and "hunter2" not in told.output


@given(st.text(st.sampled_from("ab:/@ \\?#"), max_size=40))
def test_no_text_keeps_what_is_between_two_slashes_and_an_at(text):
    assert without_passwords(f"x https://ann:{PASSWORD}@{text}").startswith(f"x https://{MASK}@")


# A new key

@pytest.fixture
def config(tmp_path):
    file = tmp_path / "kazoo_rec.yaml"
    file.write_text(json.dumps({"node": "fs1", "database": f"sqlite:///{tmp_path}/kazoo_rec.db",
                                "recordings_dir": "/rec", "switches": [{"password": "x"}]}))
    return str(file)


def sealed_by(store):
    rows = [store.documents.since(0), store.recordings.list(), store.deliveries.of(RECORDING_ID)]
    return {part[:8] for part in str(rows).split("sealed:")[1:]}


@pytest.fixture
def with_rows(store):
    store.documents.take_files([account(said())]).get()
    store.recordings.insert(stopped_row(settings={"url": URL}, **OTHER_COLUMNS)).get()
    store.recordings.finish(RECORDING_ID, {"state": "recorded"}, [delivery()]).get()
    return store


def test_rotation_seals_everything_by_a_new_key_while_others_run(with_rows, config, tmp_path):
    store, file = with_rows, tmp_path / "kazoo_rec.db.key"
    old, first = store.secrets.key_id, file.read_text()
    assert sealed_by(store) == {old}
    rotated = CliRunner().invoke(keys, ["rotate", "--config", config])
    new, = sealed_by(store)
    assert rotated.exit_code == 0 and f"3 rows sealed anew by key {new}" in rotated.output and new != old
    assert file.read_text().split()[1:] == first.split() and stat.S_IMODE(file.stat().st_mode) == 0o600
    body = store.documents.get("account", "acme", "acme")["body"]
    assert store.secrets.open(body) == said()  # a process that runs finds the new key by itself
    store.documents.take_files([account({"realm": "x", **said()})]).get()
    file.write_text(file.read_text().split()[0])  # the old key is gone
    again = Store(f"sqlite:///{tmp_path}/kazoo_rec.db")
    assert again.secrets.open(again.documents.get("account", "acme", "acme")["body"])["realm"] == "x"
    again.close()


def test_who_runs_seals_by_the_new_key_from_the_rotation_on(with_rows, config):
    """What it has in memory is by the old one; it is written by the new one."""
    read = with_rows.documents.since(0)[0]["body"]
    CliRunner().invoke(keys, ["rotate", "--config", config])
    new, = sealed_by(with_rows)
    with_rows.documents.take_files([account({"realm": "x", **read})]).get()
    assert with_rows.secrets.wrap("acme", RECORDING_ID, b"k" * 32).startswith(new)
    assert sealed_by(with_rows) == {new} and with_rows.secrets.seal(URL)[15:23] == new


def test_older_keys_may_go_when_it_is_said(with_rows, config, tmp_path):
    store, file, old = with_rows, tmp_path / "kazoo_rec.db.key", with_rows.secrets.key_id
    stale = store.documents.get("account", "acme", "acme")["body"]
    CliRunner().invoke(keys, ["rotate", "--config", config])
    new = store.secrets.read()
    with sqlite3.connect(tmp_path / "kazoo_rec.db") as database:  # as who was writing just then
        database.execute("UPDATE documents SET body = ?", (json.dumps(stale),))
    assert sealed_by(store) == {old, new}
    resealed = CliRunner().invoke(keys, ["reseal", "--config", config])
    assert f"1 rows sealed anew by key {new}" in resealed.output and f"needs {old}" in resealed.output
    assert sealed_by(store) == {new} and len(file.read_text().split()) == 2
    file.write_text(file.read_text().split()[0])
    again = Store(f"sqlite:///{tmp_path}/kazoo_rec.db")
    assert again.secrets.unwrap("acme", "r", store.secrets.wrap("acme", "r", b"k" * 32)) == b"k" * 32
    assert again.secrets.open(again.documents.get("account", "acme", "acme")["body"]) == said()
    again.close()
    assert "older" not in CliRunner().invoke(keys, ["reseal", "--config", config]).output


def test_who_runs_goes_on_where_the_file_of_the_key_cannot_be_read(secrets, tmp_path):
    sealed = secrets.seal(URL)
    for content in ("no key", ""):
        (tmp_path / "of.db.key").write_text(content)
        assert secrets.seal(URL) == sealed
    (tmp_path / "of.db.key").unlink()
    assert secrets.seal(URL) == sealed and secrets.open(sealed) == URL


def test_of_keys_that_are_made_at_once_none_is_lost(tmp_path):
    making = ("import sys, pathlib; from kazoo_rec.store.secrets import make_key\n"
              "print('ready', flush=True); sys.stdin.read()\n"
              "for _ in range(100): make_key(pathlib.Path(sys.argv[1]))")
    makers = [subprocess.Popen([sys.executable, "-c", making, str(tmp_path / "of.db.key")], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE) for _ in range(2)]
    assert [maker.stdout.readline() for maker in makers] == [b"ready\n"] * 2
    for maker in makers:
        maker.stdin.close()
    assert [maker.wait() for maker in makers] == [0, 0]
    assert len(set((tmp_path / "of.db.key").read_text().split())) == 200


def test_a_rotation_that_was_killed_is_done_again(with_rows, config, tmp_path):
    make_key(tmp_path / "kazoo_rec.db.key")  # and then it was killed
    Store(f"sqlite:///{tmp_path}/kazoo_rec.db").close()
    assert CliRunner().invoke(keys, ["rotate", "--config", config]).exit_code == 0
    assert len(sealed_by(with_rows)) == 1 and len((tmp_path / "kazoo_rec.db.key").read_text().split()) == 3


def test_a_key_of_the_environment_is_rotated_by_whom_it_belongs_to(tmp_path, config, monkeypatch):
    old, new = (base64.b64encode(bytes([value]) * 32).decode() for value in (1, 2))
    monkeypatch.setenv("KAZOO_REC_KEY", old)
    url = f"sqlite:///{tmp_path}/kazoo_rec.db"
    migrate(url)
    store = Store(url)
    store.documents.take_files([account(said())]).get()
    store.close()
    monkeypatch.setenv("KAZOO_REC_KEY", f"{new} {old}")
    refused = CliRunner().invoke(keys, ["rotate", "--config", config]).exception
    assert isinstance(refused, ConfigError) and "keys reseal" in str(refused)
    assert "1 rows sealed anew" in CliRunner().invoke(keys, ["reseal", "--config", config]).output
    monkeypatch.setenv("KAZOO_REC_KEY", new)
    store = Store(url)
    assert store.secrets.open(store.documents.since(0)[0]["body"]) == said()
    assert not (tmp_path / "kazoo_rec.db.key").exists()
    store.close()
