import hashlib
import signal
import socket
import subprocess
import sys

import pytest
import requests
from click.testing import CliRunner

from kazoo_rec.cli.receive import receive
from kazoo_rec.errors import ConfigError

PROGRAM = """
from gevent import monkey
monkey.patch_all()
from kazoo_rec.cli.receive import receive
receive()
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_names_each_file_and_ends_cleanly(tmp_path, end):
    directory = tmp_path / "received"
    with subprocess.Popen([sys.executable, "-uc", PROGRAM, "--dir", directory, "--port", "0"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        url = process.stdout.readline().split()[2]
        requests.put(f"{url}a%0Aforged.wav", data=b"body", timeout=10)
        assert process.stdout.readline().split() == [
            "a_forged.wav", "4", "bytes", hashlib.sha256(b"body").hexdigest(), "no", "digest", "sent"]
        process.send_signal(end)
        rest, errors = process.communicate(timeout=10)
    assert (rest, errors, process.returncode) == (f"Files held in {directory}: 1\n", "", 0)
    assert (directory / "a_forged.wav").read_bytes() == b"body"


def test_a_port_that_is_taken_is_a_clear_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = CliRunner().invoke(receive, ["--dir", str(tmp_path), "--port", str(taken.getsockname()[1])])
    assert isinstance(outcome.exception, ConfigError)
    assert "Address already in use" in str(outcome.exception)


def test_its_help_has_an_example():
    assert "kazoo-rec receive --dir" in CliRunner().invoke(receive, ["--help"]).output
