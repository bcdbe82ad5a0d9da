"""The api as a server: with a certificate it speaks TLS."""

import subprocess
from pathlib import Path

import pytest
import requests
from gevent.socket import create_server

from kazoo_rec.config import load
from kazoo_rec.roles.api import Api
from kazoo_rec.store.migrations import migrate


@pytest.fixture
def certificate(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "tls.pem"],
                   check=True, capture_output=True)
    return tmp_path / "tls.pem"


def test_it_speaks_tls_with_its_certificate(tmp_path, certificate):
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "kazoo_rec.yaml").write_text(f"""
node: fs1
recordings_dir: /recordings
database: sqlite:///{tmp_path}/kazoo_rec.db
switches: [{{password: x}}]
api: {{port: {port}, certificate: {Path(certificate).name}, key: key.pem}}
""")
    config = load(tmp_path / "kazoo_rec.yaml")
    migrate(config.database)
    api = Api(config)
    api.start()
    try:
        told = requests.get(f"https://127.0.0.1:{port}/healthz", verify=str(certificate), timeout=10)
        assert told.json() == {"status": "ok"}
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10)
    finally:
        api.stop()
