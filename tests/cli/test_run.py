"""`kazoo-rec run` as a process: serves, reads its documents again, ends cleanly."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import gevent
import pytest
import requests
from gevent.socket import create_server

from kazoo_rec.errors import StoreError
from kazoo_rec.simulator.script import Phone, Script
from kazoo_rec.simulator.simulator import Simulator
from kazoo_rec.store import Store
from kazoo_rec.store.database import Database
from kazoo_rec.store.migrations import migrate
from tests import database

#: As it is installed: the directory that it is started in is not searched for modules.
KAZOO_REC = Path(sys.executable).with_name("kazoo-rec")


@pytest.fixture
def simulator(tmp_path):
    with Simulator(recordings=tmp_path / "recordings") as switch:
        yield switch


@pytest.fixture
def account(tmp_path):
    file = tmp_path / "documents" / "acme" / "account.json"
    file.parent.mkdir(parents=True)

    def say(enabled):
        file.write_text(json.dumps({"realm": "acme.example", "call_recording": {
            "account": {"any": {"any": {"enabled": enabled}}}}}))

    say(False)
    return say


@pytest.fixture
def program(tmp_path, simulator, account):
    """Starts `kazoo-rec run`; told to stop, with its roles, at the end."""
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    host, esl = simulator.address
    (tmp_path / "recordings").mkdir()
    (tmp_path / "kazoo_rec.yaml").write_text(json.dumps({
        "node": "fs1", **database.said(tmp_path), "documents": "documents",
        "recordings_dir": str(tmp_path / "recordings"), "api": {"port": port},
        "switches": [{"host": host, "port": esl, "password": simulator.password, "command_connections": 2}]}))
    started = []

    def start(*flags):
        with open(tmp_path / "log", "w") as log:
            started.append(subprocess.Popen(
                [KAZOO_REC, "run", "--config", str(tmp_path / "kazoo_rec.yaml"), *flags],
                stderr=log, cwd=tmp_path))
        started[0].port, started[0].log = port, tmp_path / "log"
        _until(lambda: "switch connected" in started[0].log.read_text())
        return started[0]

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def _until(condition):
    with gevent.Timeout(30):
        while not condition():
            gevent.idle()


def called(simulator):
    script = Script(Phone("1000", "acme.example", hangs_up=0.6), (Phone("1001", "acme.example", answers=0.2),))
    assert simulator.play(script).wait(20)


def states(tmp_path):
    store = Store(database.of(tmp_path))
    rows = store.recordings.list()
    store.close()
    return [row["state"] for row in rows]


def test_it_records_reads_documents_again_on_sighup_and_ends_on_ctrl_c(program, simulator, account, tmp_path):
    running = program()
    called(simulator)
    assert states(tmp_path) == []
    pid = {role: int(re.search(rf"started={role} pid=(\d+)", running.log.read_text())[1])
           for role in ("engine", "delivery")}
    _until(lambda: os.getpriority(os.PRIO_PROCESS, pid["delivery"]) > os.getpriority(os.PRIO_PROCESS, pid["engine"]))
    assert os.sched_getscheduler(pid["engine"]) == os.SCHED_RR or "no realtime priority" in running.log.read_text()
    account(True)
    os.kill(running.pid, signal.SIGHUP)
    _until(lambda: running.log.read_text().count("documents read") == 2)
    called(simulator)
    _until(lambda: states(tmp_path) == ["recorded"])
    health = requests.get(f"http://127.0.0.1:{running.port}/healthz", timeout=10)
    assert health.json() == {"status": "ok"}
    ready = f"http://127.0.0.1:{running.port}/readyz"
    _until(lambda: requests.get(ready, timeout=10).json()["not_ready"] == [])
    os.kill(running.pid, signal.SIGINT)
    assert running.wait(30) == 0
    assert "Traceback" not in running.log.read_text() and "level=error" not in running.log.read_text()


def test_started_among_other_modules_its_roles_are_still_this_program(program, tmp_path):
    (tmp_path / "kazoo_rec").mkdir()
    (tmp_path / "kazoo_rec" / "__init__.py").write_text("raise SystemExit('a module of somebody else')")
    program()


def test_a_patch_over_http_is_obeyed_by_the_next_call(program, simulator, tmp_path):
    running = program()
    config = str(tmp_path / "kazoo_rec.yaml")
    made = subprocess.run([sys.executable, "-m", "kazoo_rec", "token", "create", "--role", "superadmin", "--config",
                           config], capture_output=True, text=True, check=True)
    http = requests.Session()
    http.headers["X-Auth-Token"] = made.stdout.strip()
    root = f"http://127.0.0.1:{running.port}/v2/accounts"

    def tell(method, path, data):
        answer = http.request(method, f"{root}{path}", json={"data": data}, timeout=20).json()
        assert answer["status"] == "success" and "not_yet_obeyed_by" not in answer, answer
        return answer["data"]["id"]

    _until(lambda: http.get(root, timeout=20).status_code == 200)
    account = tell("PUT", "", {"realm": "globex.example"})
    user = tell("PUT", f"/{account}/users", {"username": "ann"})
    tell("PUT", f"/{account}/devices", {"owner_id": user, "sip": {"username": "2000"}})
    tell("PATCH", f"/{account}/users/{user}", {"call_recording": {"outbound": {"onnet": {"enabled": True}}}})
    script = Script(Phone("2000", "globex.example", hangs_up=0.6), (Phone("2001", "globex.example", answers=0.2),))
    assert simulator.play(script).wait(20)
    _until(lambda: states(tmp_path) == ["recorded"])


def test_observing_says_what_would_be_recorded_and_why_not(program, simulator, account, tmp_path):
    account(True)
    running = program("--observe")
    called(simulator)
    log = running.log.read_text()
    assert "recording planned" in log and 'rule=caller.outbound reason="caller.outbound does not record' in log
    assert not [command for command in simulator.commands if "uuid_" in command] and states(tmp_path) == []


def test_a_configuration_that_cannot_be_obeyed_ends_it_with_a_clear_word(tmp_path):
    (tmp_path / "kazoo_rec.yaml").write_text("node: fs1\n")
    ended = subprocess.run([sys.executable, "-m", "kazoo_rec", "run", "--config", str(tmp_path / "kazoo_rec.yaml")],
                           capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "database: is missing" in ended.stderr and "Traceback" not in ended.stderr


def test_a_certificate_that_cannot_be_read_ends_it_with_a_clear_word(tmp_path):
    (tmp_path / "kazoo_rec.yaml").write_text(json.dumps({
        "node": "fs1", **database.said(tmp_path), "recordings_dir": str(tmp_path),
        "switches": [{"password": "x"}], "api": {"certificate": "api.pem", "key": "api.key"}}))
    ended = subprocess.run([sys.executable, "-m", "kazoo_rec", "run", "--config", str(tmp_path / "kazoo_rec.yaml")],
                           capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert "api.certificate cannot be read" in ended.stderr and f"{tmp_path}/api.pem: No such file" in ended.stderr


@pytest.mark.parametrize("role", ["engine", "delivery", "api"])
def test_a_role_whose_database_says_nothing_ends_when_it_is_told_to(tmp_path, role):
    with create_server(("127.0.0.1", 0)) as mute, open(tmp_path / "log", "w") as log:
        (tmp_path / "recordings").mkdir()
        (tmp_path / "kazoo_rec.yaml").write_text(json.dumps({
            "node": "fs1", "database": f"postgresql://kazoo_rec@127.0.0.1:{mute.getsockname()[1]}/kazoo_rec",
            "state_dir": str(tmp_path), "recordings_dir": str(tmp_path / "recordings"),
            "switches": [{"password": "ClueCon"}]}))
        started = subprocess.Popen([KAZOO_REC, "role", role, "--config", str(tmp_path / "kazoo_rec.yaml")], stderr=log)
        try:
            with gevent.Timeout(30):
                silent, _ = mute.accept()
            started.terminate()
            assert started.wait(4) == 0  # it would give the server 5 s to say something
            silent.close()
        finally:
            started.kill()
            started.wait()


def test_a_database_that_says_nothing_is_given_up(tmp_path):
    with create_server(("127.0.0.1", 0)) as mute:
        silent = Database.of(f"postgresql://kazoo_rec@127.0.0.1:{mute.getsockname()[1]}/kazoo_rec", str(tmp_path))
        with gevent.Timeout(30), pytest.raises(StoreError, match="cannot be reached"):
            Store(silent)


def test_a_role_that_the_database_fails_says_so_in_a_few_lines(tmp_path):
    (tmp_path / "recordings").mkdir()
    (tmp_path / "kazoo_rec.yaml").write_text(json.dumps({
        "node": "fs1", **database.said(tmp_path), "recordings_dir": str(tmp_path / "recordings"),
        "switches": [{"password": "x"}]}))
    migrate(database.of(tmp_path))
    database.change(tmp_path, "DROP TABLE directories")
    ended = subprocess.run([KAZOO_REC, "role", "delivery", "--config", tmp_path / "kazoo_rec.yaml"], cwd=tmp_path,
                           capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == StoreError.exit_code
    assert "error: the database fails" in ended.stderr and "Traceback" not in ended.stderr
