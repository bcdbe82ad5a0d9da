"""`kazoo-rec callflow run`, as an operator types it: a call on the simulator."""

import subprocess
import sys

import pytest

RECEPTION = """
numbers: ["3200"]
flow:
  module: menu
  data: {media: {greeting: "tone_stream://%(200,0,450)"}, timeout: 3000, retries: 1}
  children:
    "1":
      module: record_call
      data: {action: start, label: sales}
      children:
        _: {module: user, data: {id: alice, timeout: 2}, children: {_: {module: voicemail}}}
    "2": {module: callflow, data: {id: closed}}
"""
CLOSED = "flow: {module: record_caller, data: {time_limit: 5}, children: {_: {module: play, data: {id: message}}}}\n"


@pytest.fixture
def run(tmp_path):
    (tmp_path / "reception.yaml").write_text(RECEPTION)
    (tmp_path / "closed.yaml").write_text(CLOSED)

    def run(*options):
        command = [sys.executable, "-m", "kazoo_rec", "callflow", "run", str(tmp_path / "reception.yaml"), "--with",
                   str(tmp_path / "closed.yaml"), "--speed", "2", *options]
        done = subprocess.run(command, text=True, capture_output=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_each_step_is_printed_and_what_was_recorded(run):
    assert run("--number", "3200", "--press", "1:1", "--hangs-up", "4") == [
        "1000 calls 3200", "  menu: 1 pressed", "  record_call: start 'sales'", "  user: alice, 1 phone(s)",
        "the call has ended: NORMAL_CLEARING", "recorded: callflow : sales, stopped"]


def test_what_is_left_to_the_dialplan_is_told(run):
    assert run("--number", "3200", "--press", "1:1", "--nobody-answers")[-4:] == [
        "  not connected: NO_ANSWER", "  voicemail: left to the dialplan",
        "the dialplan goes on, with kazoo_rec_unhandled=voicemail", "recorded: callflow : sales, stopped"]


def test_another_callflow_may_be_gone_on_with_and_a_message_is_played_back(run):
    assert run("--number", "3200", "--press", "1:2", "--press", "4:#")[1:5] == [
        "  menu: 2 pressed", "  callflow: closed", "  record_caller: records", "  play: message"]


def test_a_number_that_it_does_not_have_is_the_dialplan_s(run):
    assert run("--number", "\x1b[31m") == ["1000 calls \\x1b[31m", "the dialplan goes on"]


@pytest.mark.parametrize(("arguments", "message"), [
    (("--number", "1", "--press", "x"), "is not SECONDS:KEY"), (("--number", "1", "--press", "1:A"), "is not SECONDS"),
    ((), "Missing option '--number'")])
def test_an_option_that_cannot_be_obeyed_is_told(tmp_path, arguments, message):
    (tmp_path / "a.yaml").write_text(CLOSED)
    done = subprocess.run([sys.executable, "-m", "kazoo_rec", "callflow", "run", str(tmp_path / "a.yaml"), *arguments],
                          text=True, capture_output=True, timeout=60)
    assert done.returncode == 2 and message in done.stderr


def test_a_callflow_with_faults_is_not_run(tmp_path):
    (tmp_path / "a.yaml").write_text("flow: {module: play}\nnumbers: [3, 3]\n")
    done = subprocess.run([sys.executable, "-m", "kazoo_rec", "callflow", "run", str(tmp_path / "a.yaml"), "--number",
                           "3"], text=True, capture_output=True, timeout=60)
    assert done.returncode == 1 and "numbers: must be" in done.stderr
