"""Thousands of requests made from the description, valid and not: each answer is as described."""

import shutil
import subprocess
import sys
from pathlib import Path

import gevent
import pytest
from gevent.pywsgi import WSGIServer
from gevent.socket import create_server

from kazoo_rec.api.app import make_app
from kazoo_rec.threads import Threads

PROGRAM = Path(sys.executable).with_name("schemathesis")
#: What a schema cannot say (a realm that is another account's, an owner that is not there) is refused with 400, as
#: Crossbar does.
SETTINGS = """
[parameters]
"path.account_id" = "acme"
"path.recording_id" = "{}"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "413", "416"]
"""
EXAMPLES, SEED, WITHIN_S = 50, 1, 600


@pytest.fixture
def address(store, tmp_path, clock):
    """Of the API, served, and all ready; nobody is held up in it for guessing."""
    passing = iter(range(0, 10**9, 1000))
    store.vitals.say("fs1", "engine", {"switches": {"fs1": True}, "metrics": []}).get()
    store.vitals.say("fs1", "delivery", {
        "disk": {"free_bytes": 2, "least_bytes": 1, "refuses": False}, "backlog": {}, "metrics": []}).get()
    listener = create_server(("127.0.0.1", 0))
    threads = Threads(2)
    app = make_app(store, "fs1", tmp_path / "recordings", threads.apply, lambda: next(passing), clock.ms)
    server = WSGIServer(listener, app, log=None, error_log=None)
    server.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.stop()
    threads.kill()


def test_every_answer_is_as_described(address, root, store, recording, tmp_path):
    store.documents.take_files([{"kind": "account", "account_id": "acme", "id": "acme", "body": {"realm": "a.example"},
                                 "source": "acme/account.yaml"}]).get()
    (tmp_path / "schemathesis.toml").write_text(SETTINGS.format(recording("acme")["id"]))
    assert PROGRAM.exists() or shutil.which("schemathesis")
    with gevent.Timeout(WITHIN_S):
        done = subprocess.run(
            [PROGRAM, "--config-file", tmp_path / "schemathesis.toml", "run", f"{address}/v2/openapi.json", "--header",
             f"X-Auth-Token: {root.token}", "--checks", "all", "--seed", str(SEED), "--max-examples", str(EXAMPLES),
             "--phases", "examples,fuzzing", "--no-color"],
            cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:]
