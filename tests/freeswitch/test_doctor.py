"""The doctor at the real switch: its test recording, and what it says of calls that are up."""

import json
import os

import pytest

from kazoo_rec.config import load
from kazoo_rec.doctor.diagnosis import Diagnosis
from kazoo_rec.store.migrations import migrate
from tests.freeswitch.product import until


@pytest.fixture
def examine(switch, tmp_path):
    """Examines a deployment of its own, to whose account acme only acme.example belongs."""
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    (tmp_path / "documents" / "acme").mkdir(parents=True)
    (tmp_path / "documents" / "acme" / "account.json").write_text(json.dumps({"realm": "acme.example"}))
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    recordings.chmod(0o2770)
    (tmp_path / "kazoo_rec.yaml").write_text(json.dumps({
        "node": "fs1", "recordings_dir": str(recordings), "documents": "documents",
        "database": f"sqlite:///{tmp_path}/kazoo_rec.db",
        "switches": [{"host": switch.host, "port": switch.port, "password": switch.password}]}))
    config = load(tmp_path / "kazoo_rec.yaml")
    migrate(config.database)

    def found():
        findings = Diagnosis(config, lambda: True).run()
        assert not os.listdir(recordings)
        return {(one.name, one.state): one.seen for one in findings if one.switch}

    return found


def test_a_switch_that_is_well_records_and_keeps_nothing_of_it(examine, switch, phones):
    found = examine()
    assert "both sides heard" in found["test recording", "ok"] and ("test delivery", "ok") in found
    assert {name for name, state in found if state == "ok"} == {
        "event socket", "modules", "version", "clock", "same place", "test recording", "test delivery",
        "bypassed media", "other recorders"}
    assert not [name for name, state in found if state in ("warning", "wrong")]
    until(lambda: not switch.sessions)


def test_calls_that_are_up_are_told_of_and_go_on(examine, switch, alice, bob, zoe, tmp_path):
    call, unknown = alice.call("*41001"), zoe.call("3500")
    called = bob.rings().ring().answer()
    call.answered(), unknown.answered()
    (conference,) = (row["uuid"] for row in switch.legs(3) if row["dest"] == "3500")
    switch.api(f"uuid_record {conference} start {tmp_path}/theirs.wav")
    found = examine()
    assert "2 of 3 legs, which cannot be recorded" in found["bypassed media", "warning"]
    assert "1 of 3 legs" in found["placed legs", "warning"] and "globex.example" in found["placed legs", "warning"]
    assert "theirs.wav" in found["other recorders", "warning"]
    assert "theirs.wav" in switch.api(f"uuid_buglist {conference}")
    until(lambda: switch.sessions == 3)
    for one in (call, unknown, called):
        one.drop()
