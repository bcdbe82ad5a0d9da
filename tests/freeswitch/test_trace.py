"""`kazoo-rec trace` and `kazoo-rec replay` on real calls: what the engine would have done is read from the trace."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.freeswitch.product import DOCUMENTS, until
from tests.freeswitch.talk import talk

ON = {"enabled": True}
SETTINGS = {
    "acme/account": {"call_recording": {"account": {"inbound": {"offnet": ON}, "outbound": {"any": ON}}}},
    "acme/users/usr-acme-1001": {"call_recording": {"inbound": {"any": {**ON, "url": "https://bob:pw@files.example/"}}}},
}
LEGS = [
    ("caller", "onnet", "acme", "authentication", "onnet", "onnet", ["account.outbound"]),
    ("callee", "onnet", "acme", "dialled user", "onnet", "onnet", ["callee.inbound"]),
    ("caller", "onnet", "acme", "authentication", "onnet", "offnet", ["account.outbound"]),
    ("callee", "offnet", "acme", "partner", "onnet", "offnet", []),
    ("caller", "offnet", "acme", "number", "offnet", "onnet", ["account.inbound"]),
    ("callee", "onnet", "acme", "dialled user", "offnet", "onnet", ["callee.inbound"]),
]


def kazoo_rec(*arguments, **environment):
    return subprocess.Popen([sys.executable, "-m", "kazoo_rec", *map(str, arguments)], text=True,
                            env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(process):
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    return output


@pytest.fixture
def documents(tmp_path):
    for name, body in DOCUMENTS.items():
        file = tmp_path / "documents" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**body, **SETTINGS.get(name, {})}))
    return tmp_path / "documents"


def replayed(trace, documents):
    output = ended(kazoo_rec("replay", "--json", trace, "--documents", documents))
    legs = [json.loads(line) for line in output.splitlines()]
    return [(leg["role"], leg["network"], leg["account_id"], leg["known_by"], leg["source"], leg["destination"],
             [one["rule"] for one in leg["recordings"] if one["outcome"] == "recorded"]) for leg in legs]


def test_calls_that_are_traced_are_replayed_masked_or_not(switch, documents, tmp_path, alice, bob, carrier):
    plain, masked = tmp_path / "plain.jsonl", tmp_path / "masked.jsonl"
    where = ("trace", "--seconds", 300, "--host", switch.host, "--port", switch.port)
    taking = [kazoo_rec(*where, "--to", plain, ESL_PASSWORD=switch.password),
              kazoo_rec(*where, "--to", masked, "--mask", "--documents", documents, ESL_PASSWORD=switch.password)]
    until(lambda: plain.exists() and masked.exists(), within_s=30)

    calls = ((alice, "1001", bob), (alice, "442071838750", carrier), (carrier, "15550001001", bob))
    for caller, dials, called in calls:
        call = caller.call(dials)
        talk(call, called.rings().ring().answer(), duration_ms=600)
        until(lambda: switch.api("show channels count").startswith("0 "))
    for one in taking:
        one.send_signal(signal.SIGINT)
    assert all("6 legs begun" in ended(one) for one in taking)

    assert replayed(plain, documents) == LEGS
    assert replayed(masked, f"{masked}.documents") == LEGS
    text = masked.read_text()
    text += "".join(file.read_text() for file in (tmp_path / "masked.jsonl.documents").rglob("*.json"))
    for secret in ("442071838750", "15550001001", "442079460123", "usr-acme", "pw@"):
        assert secret not in text
    assert (plain.stat().st_mode & 0o777, masked.stat().st_mode & 0o777) == (0o600, 0o600)
