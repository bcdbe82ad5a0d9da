"""`kazoo-rec callflow check`, as an operator types it."""

import json

import pytest
from click.testing import CliRunner

from kazoo_rec.cli.callflow import callflow


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def check(*files):
    return CliRunner().invoke(callflow, ["check", *map(str, files)])


GOOD = """
numbers: ["1001", 0044]
patterns: ["^9(.*)$"]
flow:
  module: record_call
  data: {action: start, time_limit: 60}
  children:
    _: {module: voicemail, data: {}}
"""


def test_a_callflow_without_a_fault_is_summed_up(file):
    path = file("a.yaml", GOOD)
    done = check(path)
    assert done.exit_code == 0
    assert done.output == (
        f"{path}: 2 number(s), 1 pattern(s), 2 action(s); left to the dialplan: 'voicemail'\n")


def test_every_fault_of_every_file_is_told_with_its_path(file):
    bad = file("bad.json", {"numbers": ["1", "1"], "patterns": ["(a+)+"], "flow": {
        "module": "menu", "children": {"1": {"module": "record_call", "data": {"action": "begin", "format": "ogg"}}}}})
    broken, good = file("broken.yaml", "flow: [\n"), file("good.yaml", GOOD)
    done = check(bad, broken, good)
    assert done.exit_code == 2
    for said in (f"{bad}: numbers: ", f"{bad}: patterns.0: ", f"{bad}: flow.children.1.data.action: must be one of ",
                 f"{bad}: flow.children.1.data.format: must be one of mp3, wav", f"{broken}: cannot be read: ",
                 f"{good}: 2 number(s)"):
        assert said in done.output


@pytest.mark.parametrize("same", ["numbers", "patterns"])
def test_two_callflows_of_an_account_have_no_number_and_no_pattern_in_common(file, same):
    first, second = (file(f"{name}.json", {same: ["3200"], "flow": {"module": "play"}}) for name in ("a", "b"))
    done = check(first, second)
    assert done.exit_code == 2
    assert f"{second}: {same}: the {same[:-1]} '3200' is {first}'s already\n" in done.output


@pytest.mark.parametrize("content", ["[]", "null", '"x"', "3"])
def test_what_is_no_document_is_told(file, content):
    done = check(file("a.json", content))
    assert done.exit_code == 2 and "must be an object" in done.output


def test_a_name_of_an_action_cannot_write_lines_of_its_own(file):
    done = check(file("a.json", {"flow": {"module": "x\n\x1b[31mno faults"}}))
    assert "'x\\n\\x1b[31mno faults'" in done.output
