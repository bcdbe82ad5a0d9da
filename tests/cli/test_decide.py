"""`kazoo-rec decide`, in lines for programs and in words for people."""

import json

import pytest
from click.testing import CliRunner

from kazoo_rec.cli.decide import decide
from kazoo_rec.policy.settings import DEFAULTS

ON = {"any": {"any": {"enabled": True}}}
CALL = {
    "account": {"id": "a", "call_recording": {"account": {"inbound": {"offnet": {"enabled": True}}}}},
    "caller": {
        "user": {"call_recording": {"any": {"any": {"url": "https://files.example/"}}}},
        "device": {"call_recording": {"outbound": {"offnet": {"enabled": "true"}}}},
    },
    "callee": None,
    "source": "onnet",
    "destination": "offnet",
}


def lines(*inputs, args=("--json",)):
    text = b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in inputs)
    result = CliRunner().invoke(decide, args, input=text)
    return [json.loads(line) for line in result.output.splitlines()], result.exit_code


def error(one):
    (answer,), exit_code = lines(one)
    assert (list(answer), exit_code) == (["error"], 2)
    return answer["error"]


def test_a_call_is_answered_with_its_recordings_and_what_is_not_recorded():
    (answer,), exit_code = lines(CALL)
    assert exit_code == 0
    (recording,) = answer["recordings"]
    assert (recording["rule"], recording["leg"]) == ("caller.outbound", "A")
    assert recording["settings"] == {**DEFAULTS, "enabled": True, "url": "https://files.example/"}
    origins = dict.fromkeys(DEFAULTS, "default")
    assert recording["from"] == {**origins, "enabled": "device", "url": "user"}
    assert recording["reason"].startswith("caller.outbound records leg A: device call_recording.outbound.offnet")
    refused = {refusal["rule"]: refusal["reason"] for refusal in answer["not_recorded"]}
    assert list(refused) == ["account.inbound", "account.outbound", "callee.inbound"]
    assert all(refused.values())


def test_the_callees_own_account_records_leg_b():
    theirs = {"call_recording": {"account": ON, "endpoint": ON}}
    (answer, alone), exit_code = lines(
        {**CALL, "callee_account": theirs, "callee": {"user": None, "device": None}},
        {**CALL, "callee_account": None},
    )
    assert exit_code == 0
    found = [(recording["rule"], recording["leg"]) for recording in answer["recordings"]]
    assert found == [("caller.outbound", "A"), ("callee.inbound", "B"), ("account.inbound", "B")]
    assert answer["recordings"][1]["from"]["enabled"] == "account.endpoint"
    assert [recording["leg"] for recording in alone["recordings"]] == ["A"]


def test_a_destination_of_null_is_not_known_yet():
    (answer,), exit_code = lines({**CALL, "destination": None})
    assert (answer["recordings"], exit_code) == ([], 0)


@pytest.mark.parametrize(
    "party", ["account", "callee_account", "caller.user", "caller.device", "callee.user", "callee.device"]
)
def test_a_broken_call_recording_is_told_by_its_path(party):
    broken = {"call_recording": {"inbound": {"onnet": {"time_limit": "forever"}}}}
    name, _, kind = party.partition(".")
    found = error({**CALL, name: {"user": None, "device": None, kind: broken} if kind else broken})
    assert found == {
        "path": f"{party}.call_recording.inbound.onnet.time_limit",
        "message": "must be an integer from 5 to 10800, not 'forever'",
    }


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"source": "moon"}, "source"),
        ({"source": None}, "source"),
        ({"source": {}}, "source"),
        ({"destination": "moon"}, "destination"),
        ({"account": []}, "account"),
        ({"account": None}, "account"),
        ({"callee_account": 1}, "callee_account"),
        ({"caller": "x"}, "caller"),
        ({"caller": {"user": 5}}, "caller.user"),
        ({"callee": {"device": []}}, "callee.device"),
        ({"account": {"call_recording": True}}, "account.call_recording"),
    ],
)
def test_a_wrong_type_is_told_by_its_path(change, path):
    found = error({**CALL, **change})
    assert found["path"] == path
    assert found["message"].startswith("must be ")


@pytest.mark.parametrize("key", ["account", "caller", "callee", "source", "destination"])
def test_a_missing_key_is_named(key):
    assert error({name: value for name, value in CALL.items() if name != key}) == {"path": key, "message": "is missing"}


@pytest.mark.parametrize(
    "line", [b"{", b"\xff\xfe", b'"\\ud800"', b"[" * 5000, b"nonsense", b"5", b"NaN"], ids=lambda line: line[:9]
)
def test_a_line_that_is_no_object_is_an_error_of_that_line_alone(line):
    (first, second, third), exit_code = lines(CALL, line, CALL)
    assert exit_code == 2
    assert first == third
    assert second["error"]["path"] == ""
    assert "recordings" in first


def test_what_else_a_document_holds_is_not_looked_at():
    odd = {"id": "../..", "numbers": 5, "country": "nowhere", "sip": [], "name": None}
    (answer,), exit_code = lines({**CALL, "account": odd, "caller": {"user": odd, "device": odd}, "comment": "mine"})
    assert (answer["recordings"], exit_code) == ([], 0)


def test_blank_lines_are_none():
    assert lines(b"", b"  ", CALL)[0] == lines(CALL)[0]
    assert lines() == ([], 0)


def test_json_lines_are_read_from_a_file(tmp_path):
    (tmp_path / "calls.jsonl").write_text(json.dumps(CALL) + "\n" + json.dumps(CALL))
    answers, exit_code = lines(args=("--json", str(tmp_path / "calls.jsonl")))
    assert (answers, exit_code) == (lines(CALL)[0] * 2, 0)


def test_people_get_the_same_in_words(tmp_path):
    (tmp_path / "call.json").write_text(json.dumps(CALL))
    (tmp_path / "call.yaml").write_text(
        "{source: onnet, destination: onnet, account: {}, caller: null, callee: {device: {record_call: true}}}"
    )
    result = CliRunner().invoke(decide, [str(tmp_path / "call.json"), str(tmp_path / "call.yaml")])
    assert result.exit_code == 0
    (answer,), _ = lines(CALL)
    rows = [line.split() for line in result.output.splitlines()]
    for recording in answer["recordings"]:
        assert recording["reason"] in result.output
        for key, value in recording["settings"].items():
            assert [key, json.dumps(value), recording["from"][key]] in rows
    for refusal in answer["not_recorded"]:
        assert refusal["reason"] in result.output
    assert "callee.inbound records leg B: device record_call enables inbound onnet." in result.output


def test_people_are_told_what_is_wrong_and_the_other_files_are_answered(tmp_path):
    (tmp_path / "a.yaml").write_text("source: [}")
    (tmp_path / "b.yaml").write_text("")
    (tmp_path / "c.json").write_text("{")
    (tmp_path / "c.yaml").write_text("[" * 5000)
    (tmp_path / "d.json").write_text(json.dumps({**CALL, "source": "moon"}))
    (tmp_path / "e.json").write_text(json.dumps(CALL))
    result = CliRunner().invoke(decide, [str(path) for path in sorted(tmp_path.iterdir())])
    assert result.exit_code == 2
    assert "source must be one of onnet, offnet, not 'moon'" in result.output
    assert "the file must be an object, not None" in result.output
    assert result.output.count("cannot be read") == 3
    assert "caller.outbound records leg A" in result.output


def test_nothing_to_read_is_a_usage_error_with_a_hint(tmp_path):
    for args in ([], [str(tmp_path / "none.json")]):
        result = CliRunner().invoke(decide, args)
        assert (result.exit_code, "Usage:" in result.output) == (2, True)


def test_the_help_shows_an_example_that_works(tmp_path):
    text = CliRunner().invoke(decide, ["--help"]).output
    example = text.split("Example, call.yaml:\n")[1].split("\n\n")[0]
    (tmp_path / "call.yaml").write_text(example)
    result = CliRunner().invoke(decide, [str(tmp_path / "call.yaml")])
    assert result.exit_code == 0
    assert "caller.outbound records leg A: user call_recording.outbound.any enables outbound offnet" in result.output


def test_what_the_channel_asks_counts_where_the_account_allows_it():
    allowed = {**CALL, "account": {**CALL["account"], "allow_override": "true"}}
    (kept_out, denied, forced), exit_code = lines(
        {**allowed, "override": "no"}, {**CALL, "override": "no"}, {**allowed, "override": "force"})
    assert exit_code == 0
    assert [len(one["recordings"]) for one in (kept_out, denied, forced)] == [0, 1, 2]
    assert error({**CALL, "override": "yes"}) == {
        "path": "override", "message": "must be one of no, force, null, not 'yes'"}
