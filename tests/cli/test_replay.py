"""`kazoo-rec replay` as an operator types it."""

import json

import pytest
import yaml
from click.testing import CliRunner

from kazoo_rec.cli.replay import replay
from kazoo_rec.errors import ConfigError, DocumentError, TraceError
from tests.traces import HERE, lines

URL = "https://files.example/calls"


@pytest.fixture
def place(tmp_path):
    """Documents and traces of the lab's."""
    documents = yaml.safe_load((HERE / "expected.yaml").read_text())["documents"]
    documents["acme/users/u1001"]["call_recording"]["inbound"]["any"]["url"] = URL
    for name, body in documents.items():
        file = tmp_path / "documents" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(body))
    return tmp_path


def trace(place, scenario):
    file = place / f"{scenario}.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines(scenario)))
    return file


def run(place, *arguments):
    return CliRunner().invoke(replay, [*map(str, arguments), "--documents", str(place / "documents")])


def test_each_leg_is_told_with_whose_it_is_and_what_is_recorded_of_it_and_why(place):
    result = run(place, trace(place, "onnet_to_onnet"))
    assert result.exit_code == 0
    first, second = result.output.split("leg 2, ")
    assert 'from 1000@acme.example ("Alice Acme") to 1001@acme.example' in first
    assert "onnet, account acme, user u1000, device d1000 (known by authentication)" in first
    assert "onnet to onnet" in first and "+ caller.outbound: recorded, started by arming" in first
    assert "- account.inbound: account.inbound does not record leg A: no document enables inbound onnet" in first
    assert "the switch recorded it to /var/lib/freeswitch/recordings/acme/2026/11/onnet_to_onnet-" in first
    assert "callee.inbound records leg B: user call_recording.inbound.any enables inbound onnet" in second
    assert f'enabled true (user), url "{URL}" (user); the rest is default' in second
    assert result.output.endswith("23 events, 2 legs, 3 recordings\n")


def test_programs_get_an_object_a_leg(place):
    result = run(place, "--json", trace(place, "cross_account"), trace(place, "busy"))
    legs = [json.loads(line) for line in result.stdout.splitlines()]
    assert [leg["account_id"] for leg in legs[:2]] == ["acme", "globex"] and len(legs) == 2 + 7
    b = legs[1]
    assert (b["leg"], b["role"], b["user_id"], b["device_id"], b["known_by"], b["source"], b["destination"]) == (
        2, "callee", "u2000", "d2000", "dialled user", "offnet", "onnet")
    assert [(one["rule"], one["outcome"], one["by"], one["from"]["enabled"]) for one in b["recordings"]] == [
        ("callee.inbound", "recorded", "arming", "user"), ("account.inbound", "recorded", "arming", "account")]
    assert legs[2]["recordings"][0]["outcome"] == "not recorded: never answered: USER_BUSY"
    assert legs[8]["not_recorded"][0] == {
        "rule": "account.inbound", "reason": "account.inbound does not record leg A: no document enables inbound "
        "onnet; nothing is said in account call_recording.account."}
    assert legs[8]["trace"].endswith("busy.jsonl")


@pytest.mark.parametrize("scenario", ["nasty_caller_id", "record_errors"])
def test_what_callers_say_does_nothing_to_a_terminal(place, scenario):
    file = trace(place, scenario)
    said = {"Caller-Caller-ID-Name": "\x1b[2J\u202eevil\nleg 99, caller", "Unique-ID": "u\x1b\n\udcff",
            "variable_sip_to_uri": "x\x9b31m", "Call-Direction": "inbound", "Event-Name": "CHANNEL_CREATE"}
    file.write_text(file.read_text() + json.dumps({"t": 99, "event": said}) + "\n")
    result = run(place, file)
    assert result.exit_code == 0
    assert all(line.isprintable() for line in result.output.splitlines())
    assert "leg 99" in result.output and not any(line.startswith("leg 99") for line in result.output.splitlines())


def test_a_leg_of_nobody_is_told_so(place):
    file = place / "a.jsonl"
    file.write_text(json.dumps({"t": 0, "event": {
        "Event-Name": "CHANNEL_CREATE", "Unique-ID": "a", "Call-Direction": "inbound"}}))
    output = run(place, file).output
    assert "offnet, nobody’s that the documents know (known by nothing)" in output
    assert "policy was not asked: no account is known for it" in output


def test_what_is_amiss_with_a_trace_is_said(place):
    path = trace(place, "onnet_to_onnet")
    path.write_text(path.read_text() + '{"t": 5, "ev')
    assert "its last line is cut short and was left out" in run(place, path).output
    up = {"t": 0, "command": "api show channels as json", "reply": '{"rows":[{"uuid":"z"}]}'}
    broken = {"t": 0, "command": "api show registrations as json", "reply": "-ERR \x1b"}
    path.write_text(f"{json.dumps(up)}\n{json.dumps(broken)}\n")
    output = run(place, path).output
    assert "1 legs were up before it began, and are not placed" in output
    assert "a reply was left out: api show registrations as json: " in output and "\x1b" not in output
    path.write_text("not a trace\n")
    result = run(place, path)
    assert isinstance(result.exception, TraceError) and "line 1: is not JSON" in result.exception.detail


def test_the_configuration_says_what_is_offnet_and_where_the_documents_are(place, monkeypatch):
    monkeypatch.setenv("ESL_PASSWORD", "secret")
    config = place / "kazoo_rec.yaml"
    config.write_text(json.dumps({
        "node": "fs1", "database": "sqlite:////none", "recordings_dir": "/none", "documents": "documents",
        "switches": [{"password": "${ESL_PASSWORD}"}],
        "identity": {"device": ["device_id"], "account": ["accountcode"], "user": ["owner_id"]}}))
    result = CliRunner().invoke(replay, ["--config", str(config), str(trace(place, "onnet_to_onnet"))])
    assert "account acme, user usr-acme-1000, device dev-acme-1000 (known by variables)" in result.output
    config.write_text("[]")
    assert isinstance(run(place, "--config", config, trace(place, "busy")).exception, ConfigError)


def test_faulty_documents_and_none_are_told(place):
    path = trace(place, "busy")
    assert "--documents" in CliRunner().invoke(replay, [str(path)], env={"KAZOO_REC_CONFIG": ""}).output
    (place / "documents" / "acme" / "account.json").write_text("{}x")
    assert isinstance(run(place, path).exception, DocumentError)
