"""Orders in mid-call: from a request to the API, through the engine and a simulated switch, to the delivered file."""

import io
import stat
import wave
from pathlib import Path

import gevent
import numpy as np
import pytest
from falcon.testing import TestClient
from gevent.event import Event
from jsonschema import validate

from kazoo_rec.api import tokens
from kazoo_rec.api.app import make_app
from kazoo_rec.calls import control
from kazoo_rec.roles.engine import Engine
from kazoo_rec.simulator.script import Script
from kazoo_rec.threads import Threads
from tests.test_whole_way import ALICE, ALICE_HZ, BOB, Site, every, heard, phone

FRAME_MS = 20


class Live(Site):
    """A site with its API, and one call from Alice (1000) to Bob (1001) that lasts until it is ended."""

    threads = None

    def call(self, **settings):
        self.start(**settings)
        self.threads = Threads(2)
        self.app = make_app(self.store, "fs1", self.place / "recordings", self.threads.apply)
        with gevent.Timeout(10):
            while not self.store.engines.running():
                gevent.idle()
        self.ask = self.client("admin")
        self.talk = self.simulator.play(Script(phone(ALICE), (phone(BOB, answers=0.2),)))
        self.until(lambda: len(self.talk.legs) == 2 and all(leg.partner for leg in self.talk.legs))
        self.a, self.b = (leg.uuid for leg in self.talk.legs)
        self.until(lambda: self.channel(self.a) and self.channel(self.a)["bridged_ms"])
        return self

    def client(self, role, account="acme", user=None):
        for kind, name in (("account", account), ("user", user)):
            if name and not self.store.documents.get(kind, account, name):
                self.store.documents.put({"kind": kind, "account_id": account, "id": name, "body": {}}, None,
                                         lambda *_: None).get()
        secret, row = tokens.make(role, account, user, "test", None)
        self.store.access.add_token(row).get()
        http = TestClient(self.app, headers={"X-Auth-Token": secret})
        return lambda method, path, data=None, **more: http.simulate_request(
            method, f"/v2/accounts/{path}", **({"json": {"data": data}} if data else {}), **more)

    def channel(self, uuid):
        return self.ask("GET", f"acme/channels/{uuid}").json.get("data") or None

    def order(self, action, uuid=None, **settings):
        return self.ask("PUT", f"acme/channels/{uuid or self.a}",
                        {"action": "record", "record": {"action": action, **settings}})

    def passes(self, seconds):
        """Time of the call."""
        over, clock = Event(), self.simulator.clock
        clock.at(clock.now + seconds, over.set)
        assert over.wait(20)

    @staticmethod
    def until(condition):
        with gevent.Timeout(20):
            while not condition():
                gevent.idle()

    def recorded(self):
        self.until(lambda: any(one["state"] == "recording" for one in self.channel(self.a)["recordings"]))
        return self

    def end(self):
        self.simulator.api(f"uuid_kill {self.a}")
        assert self.talk.wait(20)
        return self.rows(self.talk)

    def stop(self):
        super().stop()
        if self.threads:
            self.threads.kill()


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.recovery.NEWS_WITHIN_S", 0.5)
    installed = Live(tmp_path)
    yield installed
    installed.stop()


def silent_ms(wav):
    """(before, silent, after): lengths of the left channel's sound, of the silence in it, and of its sound again."""
    with wave.open(io.BytesIO(wav)) as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    left = samples.reshape(-1, 2)[:, 0].astype(float)
    size = rate * FRAME_MS // 1000
    loud = np.abs(left[:len(left) // size * size]).reshape(-1, size).max(axis=1) > 50
    quiet = np.flatnonzero(~loud)
    assert len(quiet) and np.all(~loud[quiet[0]:quiet[-1] + 1])
    return quiet[0] * FRAME_MS, len(quiet) * FRAME_MS, (len(loud) - quiet[-1] - 1) * FRAME_MS


def test_a_masked_part_is_silent_in_the_file_and_a_span_of_its_row(site):
    site.call(account=every(site)).recorded()
    site.passes(0.4)
    masked = site.order("mask")
    assert masked.status_code == 200 and masked.json["data"]["recordings"][0]["masked"]
    assert site.order("mask").status_code == 200  # again: harmless
    site.passes(0.8)
    unmasked = site.ask("POST", f"acme/channels/{site.a}", {"module": "record_call", "data": {"action": "unmask"}})
    assert not unmasked.json["data"]["recordings"][0]["masked"]
    site.passes(0.4)
    row, = site.end()
    (span,) = row["spans"]
    assert span["kind"] == "mask" and span["to_ms"] - span["from_ms"] >= 800 and not row["partial"]
    wav = site.arrived(row)
    before, silent, after = silent_ms(wav)
    assert before >= 300 and after >= 300 and abs(silent - (span["to_ms"] - span["from_ms"])) <= 100
    assert heard(wav)[0] == {ALICE_HZ}


def test_a_pause_shortens_the_file_and_what_is_expected_of_it(site):
    site.call(account=every(site)).recorded()
    form = {"body": "Status=paused", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    paused = site.ask("PUT", f"acme/calls/{site.a}/recording", **form)
    assert paused.json["data"]["recordings"][0]["state"] == "paused"
    row, = site.store.recordings.list()
    assert row["state"] == "paused" and row["spans"][0]["to_ms"] is None
    site.passes(1.0)
    form["body"] = "Status=in-progress"
    resumed = site.ask("PUT", f"acme/calls/{site.a}/recording", **form)
    assert resumed.json["data"]["recordings"][0]["state"] == "recording"
    site.passes(0.3)
    row, = site.end()
    (span,) = row["spans"]
    paused_ms = span["to_ms"] - span["from_ms"]
    assert span["kind"] == "pause" and paused_ms >= 1000
    talked_ms = row["stopped_ms"] - row["started_ms"]
    assert row["expected_ms"] == talked_ms - paused_ms and not row["partial"]
    assert abs(row["duration_ms"] - row["expected_ms"]) <= 100


def test_a_recording_is_started_and_stopped_by_order_and_repeating_it_changes_nothing(site):
    site.call()
    told = site.channel(site.a)
    assert told["recordings"] == [] and told["other_leg_call_id"] == site.b
    assert {one["rule"] for one in told["not_recorded"]} >= {"account.inbound", "caller.outbound"}
    assert site.order("stop").status_code == site.order("mask").status_code == 409
    started = site.order("start", format="wav", channels="dual", url=site.receiver.url)
    assert started.status_code == 200, started.json
    (one,) = started.json["data"]["recordings"]
    assert (one["state"], one["rule"]) == ("recording", "api") and one["reason"].startswith("token ")
    assert site.order("start").json["data"]["recordings"][0]["id"] == one["id"]
    site.passes(0.5)
    stopped = site.order("stop")
    assert stopped.json["data"]["recordings"][0]["state"] == "stopped"
    assert site.order("stop").status_code == 200
    site.passes(0.3)
    row, = site.end()
    assert row["id"] == one["id"] and 400 <= row["duration_ms"] <= 800 and heard(site.arrived(row))[0] == {ALICE_HZ}


def test_an_engine_that_comes_back_knows_what_is_masked(site):
    site.call(account=every(site)).recorded()
    assert site.order("mask").status_code == 200
    engine = site.roles.pop(0)
    engine.stop()
    site.passes(0.3)
    site.roles.insert(0, Engine(engine._config))
    site.roles[0].start()
    site.until(lambda: (site.channel(site.a) or {}).get("recordings"))
    (one,) = site.channel(site.a)["recordings"]
    assert one["masked"] and one["spans"][0]["to_ms"] is None
    assert site.order("unmask").status_code == 200
    site.passes(0.4)
    row, = site.end()
    (span,) = row["spans"]
    assert span["to_ms"] - span["from_ms"] >= 300
    _, silent, after = silent_ms(site.arrived(row))
    assert silent >= 280 and after >= 300


def test_of_an_engine_whose_first_switch_is_away_the_calls_of_the_second_are_told_of_and_obey(site):
    site.call(account=every(site), config={"switches": [{"name": "away", "host": "127.0.0.1", "port": 1,
                                                         "password": "x"}]}).recorded()
    assert site.order("mask").json["data"]["recordings"][0]["masked"]
    assert not site.order("unmask").json["data"]["recordings"][0]["masked"]
    for answer in (site.ask("GET", "acme/channels/nobodys"), site.order("mask", "nobodys")):
        assert (answer.status_code, answer.json["data"]["engines"]) == (504, ["fs1"])


def test_answers_are_as_described(site):
    site.call(account=every(site)).recorded()
    described = TestClient(site.app).simulate_get("/v2/openapi.json").json
    for method, path, answer in (
            ("get", "channels", site.ask("GET", "acme/channels")), ("put", "channels/{call_id}", site.order("mask")),
            ("get", "channels/{call_id}", site.ask("GET", f"acme/channels/{site.a}")),
            ("put", "channels/{call_id}", site.order("start", format="ogg")),
            ("put", "channels/{call_id}", site.order("mask", site.b))):
        operation = described["paths"][f"/v2/accounts/{{account_id}}/{path}"][method]
        schema = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
        validate(answer.json, {**schema, "components": described["components"]})
    assert answer.status_code == 409


def test_who_may_see_and_order_what(site, monkeypatch):
    site.call(account=every(site)).recorded()
    path = f"channels/{site.a}"
    order = {"action": "record", "record": {"action": "mask"}}
    for client in (site.client("admin", "globex"), site.client("user", "globex", "x")):
        assert client("GET", f"globex/{path}").status_code == 404
        assert client("PUT", f"globex/{path}", order).status_code == 404
        assert client("GET", "globex/channels").json["data"] == []
    ann = site.client("user", "acme", "ann")
    assert ann("PUT", f"acme/{path}", order).status_code == 404
    told = []
    with monkeypatch.context() as patched:
        patched.setattr(control, "_told", lambda leg, *_: told.append(leg))
        assert ann("GET", "acme/channels").json["data"] == [] and not told  # nor is it made for nothing
    listener = site.client("listener")
    assert listener("GET", f"acme/{path}").status_code == 200
    assert listener("PUT", f"acme/{path}", order).status_code == 403
    assert len(listener("GET", "acme/channels").json["data"]) == 2
    assert not site.channel(site.a)["recordings"][0]["masked"]
    assert site.order("mask").status_code == 200
    noted = site.ask("GET", "acme/audit").json["data"]
    assert [one["status"] for one in noted
            if (one["path"], one["sent"]) == (f"/v2/accounts/acme/{path}", "mask")] == [200, 404]
    assert stat.S_IMODE(Path(f"{site.store.beside}.fs1.control").stat().st_mode) == 0o600


def test_a_switch_that_does_not_answer_is_told_and_the_row_says_silent(site, monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.execution.COMMAND_WITHIN_S", 0.3)
    site.call(account=every(site)).recorded()
    site.simulator.stall()
    assert site.order("mask").status_code == 504
    site.simulator.go_on()
    assert site.channel(site.a)["recordings"][0]["masked"]
    site.until(lambda: site.order("unmask").status_code == 200)
    row, = site.end()
    assert [span["kind"] for span in row["spans"]] == ["mask"] and row["spans"][0]["to_ms"]
