"""Hostile callers, from the INVITE to the customer's server and back out of the API."""

import json
import re

import gevent
import pytest
from click.testing import CliRunner
from falcon.testing import TestClient

from kazoo_rec.api import tokens
from kazoo_rec.api.app import make_app
from kazoo_rec.cli.recordings import recordings
from kazoo_rec.simulator.script import Script
from kazoo_rec.store import epoch_ms
from kazoo_rec.threads import Threads
from tests.test_whole_way import ALICE, BOB, Site, phone

from .hostile import TEXTS
from .test_calls import COMMAND as OF_CALLS

#: And what is asked about the switch, which has nothing of a call in it.
COMMAND = re.compile(OF_CALLS.pattern.replace("/rec/acme", "/[^ ]*/recordings/acme")
                     + r"|api (show (channels|registrations) as json|conference json_list|strmicroepoch"
                       r"|global_getvar [a-z_]+)")

#: Calls: switch and product are one process here, which has to hear of each before it is over.
AT_ONCE = 12


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.recovery.NEWS_WITHIN_S", 0.5)
    installed = Site(tmp_path)
    yield installed
    installed.stop()


@pytest.fixture
def ask(site):
    threads, made = Threads(2), []

    def client(account):
        secret, row = tokens.make("admin", account, None, "test", None)
        site.store.access.add_token(row).get()
        app = make_app(site.store, "fs1", site.place / "recordings", threads.apply, lambda: epoch_ms() / 1000, epoch_ms)
        made.append(TestClient(app, headers={"X-Auth-Token": secret}))
        return made[-1]

    yield client
    threads.kill()


def finished(site, count):
    with gevent.Timeout(30):
        while True:
            rows = [row for row in site.store.recordings.list(limit=200) if row["state"] in ("recorded", "failed")]
            if len(rows) >= count and len(site.receiver.files) >= count:
                return rows
            gevent.sleep(0.05)


def test_whatever_callers_are_named_each_call_is_delivered_as_itself_and_nothing_else_happens(site, ask):
    settings = {"enabled": True, "url": f"{site.receiver.url}/in?tenant=acme", "format": "wav"}
    site.start(account={"any": {"any": settings}})
    names = [text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
             for text in TEXTS if text != "\ud800"]
    plays = []
    for first in range(0, len(names), AT_ONCE):
        plays += [site.simulator.play(Script(phone(ALICE, name=name, hangs_up=2.0), (phone(BOB, answers=0.3),)))
                  for name in names[first:first + AT_ONCE]]
        assert all(play.wait(60) for play in plays)
    rows = finished(site, len(names))
    assert len(rows) == len(names) == len(site.receiver.files)
    assert {row["call_id"] for row in rows} == {play.legs[0].uuid for play in plays}
    assert all(file.verified for file in site.receiver.files)
    for command in site.simulator.commands:
        assert COMMAND.fullmatch(f"api {command}"), command
    listed = ask("acme").simulate_get("/v2/accounts/acme/recordings?page_size=100")
    assert listed.status_code == 200
    assert {told["call_id"] for told in listed.json["data"]} == {row["call_id"] for row in rows}
    shown = CliRunner().invoke(recordings, ["list", "--limit", "200", "--config", str(site.place / "kazoo_rec.yaml")])
    assert shown.exit_code == 0
    assert all(line.isprintable() for line in shown.output.splitlines())
    for row in rows[:5]:
        of_one = ["show", row["id"], "--config", str(site.place / "kazoo_rec.yaml")]
        shown = CliRunner().invoke(recordings, of_one)
        assert json.loads(shown.output)["caller_id_name"] == row["caller_id_name"]
        assert all(line.isprintable() for line in shown.output.splitlines())
