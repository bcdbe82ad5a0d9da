"""Roles as processes: started, started again, stopped in order, and never left behind."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import gevent
import gevent.event
import pytest

from kazoo_rec.config import Config, RecordingsDir, Switch
from kazoo_rec.errors import AlreadyActs, DocumentError
from kazoo_rec.roles.supervisor import Supervisor
from kazoo_rec.store import Store
from tests.database import of

CHECKOUT = Path(__file__).parents[2]

#: A role that writes a line for each thing that happens to it.
ROLE = """
import os, signal, sys
name, log, lifeline = sys.argv[1], sys.argv[2], int(sys.argv[4])
def tell(what):
    with open(log, "a") as file: file.write(f"{name} {what} {os.getpid()}\\n")
def end(*_):
    tell("stopped"); sys.exit(0)
signal.signal(signal.SIGTERM, end)
tell("started")
os.read(lifeline, 1)
tell("orphaned")
"""


@pytest.fixture
def config(tmp_path):
    return Config("fs1", RecordingsDir("/rec", "/rec"), of(tmp_path), (Switch("fs1"),),
                  documents=tmp_path / "documents")


@pytest.fixture
def documents(config):
    account = config.documents / "acme" / "account.yaml"
    account.parent.mkdir(parents=True)
    account.write_text("realm: acme.example\n")
    return account


@pytest.fixture
def told(tmp_path):
    """Waits for a line of the roles' log and gives the pid in it; `told()` is the log so far."""
    log = tmp_path / "log"
    log.touch()

    def wait_for(line=None, count=1):
        with gevent.Timeout(20):
            while line is not None:
                found = [one.split() for one in log.read_text().splitlines() if one.startswith(line)]
                if len(found) >= count:
                    return int(found[-1][2])
                gevent.idle()
        return [" ".join(one.split()[:2]) for one in log.read_text().splitlines()]

    wait_for.file = log
    return wait_for


def argv_of(log):
    return lambda role: [sys.executable, "-c", ROLE, role, str(log)]


def test_roles_are_started_and_stopped_in_their_order(config, documents, told):
    supervisor = Supervisor(config, argv_of(told.file))
    supervisor.start()
    for role in ("engine", "delivery", "api"):
        told(f"{role} started")
    supervisor.stop()
    assert told()[3:] == ["api stopped", "delivery stopped", "engine stopped"]


def test_a_role_that_dies_is_started_again(config, documents, told, monkeypatch):
    monkeypatch.setattr("kazoo_rec.roles.supervisor.RESTART_FIRST_S", 0.01)
    supervisor = Supervisor(config, argv_of(told.file), roles=("engine",))
    supervisor.start()
    os.kill(told("engine started"), signal.SIGKILL)
    told("engine started", count=2)
    supervisor.stop()
    assert told() == ["engine started", "engine started", "engine stopped"]


def test_roles_end_when_their_supervisor_is_killed(config, documents, told, tmp_path):
    script = tmp_path / "supervise.py"
    script.write_text(f"""
from gevent import monkey; monkey.patch_all()
import pathlib, sys
from kazoo_rec.config import Config, RecordingsDir, Switch
from kazoo_rec.roles.supervisor import Supervisor
from kazoo_rec.store.database import Database
from tests.roles.test_supervisor import argv_of
config = Config("fs1", RecordingsDir("/rec", "/rec"), Database(*{tuple(config.database)!r}), (Switch("fs1"),))
supervisor = Supervisor(config, argv_of({str(told.file)!r}), roles=("engine",))
supervisor.start()
supervisor.wait()
""")
    parent = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    told("engine started")
    parent.kill()
    parent.wait()
    told("engine orphaned")


def test_documents_are_taken_in_and_a_faulty_file_changes_nothing(config, documents):
    supervisor = Supervisor(config, argv_of("/dev/null"), roles=())
    supervisor.start()
    documents.write_text("realm: changed.example\n")
    (documents.parent / "users").mkdir()
    (documents.parent / "users" / "ann.yaml").write_text("call_recording: {inbound: {offnet: {format: ogg}}}\n")
    supervisor.take_documents()
    supervisor.stop()
    with closing(Store(config.database)) as store:
        assert [(row["id"], row["body"]) for row in store.documents.since(0)] == [("acme", {"realm": "acme.example"})]


def test_the_log_of_faulty_documents_has_no_word_of_what_they_say(config, documents, capsys):
    supervisor = Supervisor(config, argv_of("/dev/null"), roles=())
    supervisor.start()
    documents.write_text("call_recording: {any: {any: {url: 'ann:hunter2'}}}\n")
    supervisor.take_documents()
    supervisor.stop()
    told = capsys.readouterr().out
    assert "call_recording.any.any.url: must be an http or https URL" in told and "hunter2" not in told


def test_faulty_documents_and_none_of_before_are_an_error_at_the_start(config, documents):
    documents.write_text("realm: [")
    supervisor = Supervisor(config, argv_of("/dev/null"), roles=())
    with pytest.raises(DocumentError):
        supervisor.start()
    supervisor.stop()


def test_a_role_for_which_there_is_no_process_to_be_had_is_tried_again(config, documents, told, monkeypatch):
    faults = [OSError(12, "Cannot allocate memory")]
    popen = subprocess.Popen

    def sometimes(*args, **more):
        if faults:
            raise faults.pop()
        return popen(*args, **more)

    monkeypatch.setattr("kazoo_rec.roles.supervisor.RESTART_FIRST_S", 0.01)
    monkeypatch.setattr("kazoo_rec.roles.supervisor.subprocess.Popen", sometimes)
    supervisor = Supervisor(config, argv_of(told.file), roles=("engine",))
    supervisor.start()
    told("engine started")
    supervisor.stop()


def test_stopping_while_roles_are_being_started_leaves_none(config, documents, told):
    supervisor = Supervisor(config, argv_of(told.file))
    supervisor.start()
    with gevent.Timeout(20):
        supervisor.stop()
    children = list(supervisor._children.values())
    assert [child.poll() is not None for child in children] == [True] * len(children)


def test_a_role_that_cannot_run_beside_another_is_not_started_again(config, documents, told, monkeypatch):
    over = gevent.event.Event()
    refused = f"import sys; open({str(told.file)!r}, 'a').write('refused\\n'); sys.exit(78)"
    supervisor = Supervisor(config, lambda role: [sys.executable, "-c", refused], roles=("engine",), ended=over.set)
    supervisor.start()
    assert over.wait(20)
    supervisor.stop()
    assert isinstance(supervisor.fault, AlreadyActs) and told.file.read_text().count("refused") == 1
