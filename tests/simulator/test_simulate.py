"""`kazoo-rec simulate` as a user runs it."""

import os
import signal
import textwrap

import gevent
import pytest
from click.testing import CliRunner

from kazoo_rec.cli.simulate import simulate
from kazoo_rec.simulator.script import read_scripts
from kazoo_rec.simulator.simulator import Simulator
from tests.simulator.conftest import Client

CALLS = """
phones:
  alice: {user: "1000", domain: acme.example, hangs_up: 3}
calls:
  - {name: short, caller: alice, called: {user: "1001", domain: acme.example, answers: 1}}
"""


@pytest.fixture
def started(monkeypatch):
    """The simulators that were started."""
    switches, start = [], Simulator.start
    monkeypatch.setattr(Simulator, "start", lambda self: (switches.append(self), start(self)))
    return switches


def test_it_plays_its_calls_to_who_listens_and_ends_on_interrupt(tmp_path, started):
    (tmp_path / "calls.yaml").write_text(CALLS)
    arguments = ["--port", "0", "--calls", str(tmp_path / "calls.yaml"), "--speed", "50", "--password", "secret"]
    running = gevent.spawn(CliRunner().invoke, simulate, arguments)
    with gevent.Timeout(10):
        while not started or not started[0].core_uuid:
            gevent.idle()
        client = Client(started[0].address, "secret")
        client.ask("event json CHANNEL_CREATE CHANNEL_DESTROY")
        while len(client.events) < 4:
            gevent.idle()
    os.kill(os.getpid(), signal.SIGINT)
    result = running.get(timeout=5)
    assert result.exit_code == 0
    assert "listens on 127.0.0.1:" in result.output and "Sessions since startup: 2" in result.output
    client.wait_for_end()
    assert client.notices == ["The system is being shut down.\n"]


def test_a_port_that_is_taken_is_told(switch):
    result = CliRunner().invoke(simulate, ["--port", str(switch.address[1])])
    assert result.exception.message == "cannot listen" and result.exception.hint == "choose another --port"


def test_help_shows_a_file_of_calls_that_can_be_read(tmp_path):
    example = simulate.help.partition("calls.yaml:\n")[2]
    (tmp_path / "calls.yaml").write_text(textwrap.dedent(example))
    assert [script.name for script in read_scripts(tmp_path / "calls.yaml")] == ["onnet", "DID", "ring group"]
