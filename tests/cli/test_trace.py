"""`kazoo-rec trace` on a simulated switch, and the replay of what it wrote."""

import json
import os
import signal

import gevent
import pytest
from click.testing import CliRunner

from kazoo_rec.cli.trace import trace
from kazoo_rec.documents import files
from kazoo_rec.documents.directory import Directory
from kazoo_rec.errors import AccessRefused, NotConnected, TraceError
from kazoo_rec.simulator.script import Phone, Script
from kazoo_rec.simulator.simulator import Simulator
from kazoo_rec.switch.connection import Connection
from kazoo_rec.traces.file import Trace
from kazoo_rec.traces.replay import Replay

SECRET = {"vm-password": "hunter2", "note": "{sip_auth_password=hunter2}sofia/gateway/x"}
ALICE = Phone("1000", "acme.example", name="Alice Acme", hangs_up=0.6, variables=SECRET)
BOB = Phone("1001", "acme.example", name="Bob", answers=0.1)
CARRIER = Phone("442079460123", name="Jane", hangs_up=0.6)
PASSWORD = "swordfish"


@pytest.fixture
def switch(tmp_path):
    with Simulator(PASSWORD, recordings=tmp_path / "recordings") as running:
        yield running


@pytest.fixture
def documents(tmp_path):
    on = {"enabled": True, "url": "https://bob:hunter2@files.example/"}
    account = {"name": "Acme Inc", "realm": "acme.example", "country": "US", "numbers": ["(555) 000-1001"],
               "call_recording": {"account": {"inbound": {"any": on}}}}
    for name, body in (("account", account), ("devices/desk", {"owner_id": "alice", "sip": {"username": "1000"}}),
                       ("users/alice", {"first_name": "Alice", "call_recording": {"outbound": {"any": on}}})):
        file = tmp_path / "documents" / "acme" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(body))
    return tmp_path / "documents"


def started(switch, file, *arguments, seconds="300", password=PASSWORD):
    host, port = switch.address
    return gevent.spawn(CliRunner().invoke, trace, [
        "--seconds", seconds, "--host", host, "--port", str(port), "--to", str(file), *arguments],
        env={"ESL_PASSWORD": password, "KAZOO_REC_CONFIG": ""})


def play(switch, *scripts):
    switch.until(lambda: switch.has_listener("CHANNEL_CREATE"))
    for script in scripts:
        assert switch.play(script).wait(20)


def written(file, legs):
    """Waits until the ends of so many legs are in the file."""
    with gevent.Timeout(10):
        while not file.exists() or file.read_bytes().count(b'"CHANNEL_DESTROY"') < legs:
            gevent.idle()


def interrupted(taking, file, legs):
    written(file, legs)
    os.kill(os.getpid(), signal.SIGINT)
    result = taking.get(timeout=10)
    assert result.exit_code == 0, result.exception
    assert f"{legs} legs begun" in result.output
    return list(Trace(file))


def legs(lines, documents):
    rows = [{**row, "seq": 1, "deleted": False} for row in files.read(documents)]
    return [(told.role, told.leg.identity.network, told.leg.identity.account_id, bool(told.leg.identity.device_id),
             told.leg.identity.how, [row["rule"] for row in told.rows if row["outcome"] == "recorded"])
            for told in Replay(Directory().apply(rows)).feed(lines).legs]


def test_a_trace_has_what_a_replay_needs_and_no_secret(switch, documents, tmp_path):
    file = tmp_path / "a.jsonl"
    taking = started(switch, file)
    play(switch, Script(ALICE, (BOB,)))
    lines = interrupted(taking, file, 2)
    assert [line.get("command") for line in lines[:2]] == [
        "api show registrations as json", "api show channels as json"]
    assert lines == sorted(lines, key=lambda line: line["t"])
    assert legs(lines, documents) == [
        ("caller", "onnet", "acme", True, "authentication", ["account.inbound", "caller.outbound"]),
        ("callee", "onnet", "acme", False, "dialled user", [])]
    assert b"hunter2" not in file.read_bytes() and PASSWORD.encode() not in file.read_bytes()
    assert b'"variable_vm-password":"(removed)"' in file.read_bytes() and b"Alice Acme" in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_masked_trace_names_nobody_and_is_decided_alike_with_documents_masked_alike(switch, documents, tmp_path):
    file = tmp_path / "a.jsonl"
    taking = started(switch, file, "--mask", "--documents", str(documents))
    play(switch, Script(ALICE, (BOB,)), Script(CARRIER, (BOB,), dials="15550001001"))
    lines = interrupted(taking, file, 4)
    assert legs(lines, tmp_path / "a.jsonl.documents") == [
        ("caller", "onnet", "acme", True, "authentication", ["account.inbound", "caller.outbound"]),
        ("callee", "onnet", "acme", False, "dialled user", []),
        ("caller", "offnet", "acme", False, "number", ["account.inbound"]),
        ("callee", "onnet", "acme", False, "dialled user", [])]
    everything = file.read_text() + "".join(
        f"{one}{one.read_text()}" for one in (tmp_path / "a.jsonl.documents").rglob("*.json"))
    for somebody in ("Alice", "alice", "Bob", "Jane", "Acme Inc", "15550001001", "442079460123", "000-1001", "hunter2",
                     '"1000"', "1000@", "desk"):
        assert somebody not in everything


def test_another_trace_has_other_masks(switch, tmp_path):
    names = []
    for name in ("a", "b"):
        taking = started(switch, tmp_path / name, "--mask")
        play(switch, Script(ALICE, (BOB,)))
        events = [line["event"] for line in interrupted(taking, tmp_path / name, 2) if "event" in line]
        assert len({event["Caller-Username"] for event in events if event.get("Caller-Username")}) == 1
        names.append(events[0]["Caller-Username"])
        switch.until(lambda: not switch.has_listener("CHANNEL_CREATE"))
    assert names[0] != names[1]


def test_it_ends_after_its_time(switch, tmp_path):
    result = started(switch, tmp_path / "a", seconds="0.1").get(timeout=10)
    assert result.exit_code == 0 and "0 events, 0 legs begun" in result.output


def test_a_switch_that_goes_leaves_a_whole_trace_and_is_told(switch, tmp_path):
    file = tmp_path / "a.jsonl"
    taking = started(switch, file)
    play(switch, Script(ALICE, (BOB,)))
    written(file, 2)
    switch.kill()
    result = taking.get(timeout=10)
    assert isinstance(result.exception, NotConnected)
    assert "2 legs begun" in result.output and "ends early" in result.output
    assert sum("event" in line for line in Trace(file)) >= 8


def test_lost_events_are_noted(switch, tmp_path, monkeypatch):
    file, said = tmp_path / "a.jsonl", []
    connect = Connection.connect
    monkeypatch.setattr(Connection, "connect", lambda self: (connect(self), said.append(self)))
    taking = started(switch, file)
    play(switch, Script(ALICE, (BOB,)))
    said[0].on_lost(7)
    lines = interrupted(taking, file, 2)
    assert [line["note"] for line in lines if "note" in line] == ["the switch lost 7 events of one of its listeners"]
    assert "may have a gap" in taking.get().output


def test_what_cannot_be_begun_is_told_and_leaves_no_file(switch, tmp_path, documents):
    refused = started(switch, tmp_path / "a", password="wrong").get(timeout=10)
    assert isinstance(refused.exception, AccessRefused) and not (tmp_path / "a").exists()
    (tmp_path / "b").write_text("mine")
    taken = started(switch, tmp_path / "b").get(timeout=10)
    assert isinstance(taken.exception, TraceError) and (tmp_path / "b").read_text() == "mine"
    assert "--password" in started(switch, tmp_path / "c", password="").get(timeout=10).output
    assert "--mask" in started(switch, tmp_path / "c", "--documents", str(documents)).get(timeout=10).output


def test_the_switch_is_the_configurations(switch, tmp_path):
    host, port = switch.address
    (tmp_path / "kazoo_rec.yaml").write_text(json.dumps({
        "node": "fs1", "database": "sqlite:////none", "recordings_dir": "/none",
        "switches": [{"host": host, "port": 1, "password": "x"},
                     {"name": "fs2", "host": host, "port": port, "password": PASSWORD}]}))
    arguments = ["--config", str(tmp_path / "kazoo_rec.yaml"), "--seconds", "0.1", "--to", str(tmp_path / "a")]
    result = CliRunner().invoke(trace, [*arguments, "--switch", "fs2"], env={"ESL_PASSWORD": ""})
    assert result.exit_code == 0, result.exception
    assert "no switch 'fs9'" in CliRunner().invoke(trace, [*arguments, "--switch", "fs9"]).output
