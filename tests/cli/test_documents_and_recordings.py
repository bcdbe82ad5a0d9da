"""`kazoo-rec docs` and `kazoo-rec recordings`, as an operator types them."""

import json

import pytest
from click.testing import CliRunner

from kazoo_rec.cli.docs import docs
from kazoo_rec.cli.recordings import recordings
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from tests import database

from ..store.test_store import row, upload


@pytest.fixture
def site(tmp_path):
    (tmp_path / "kazoo_rec.yaml").write_text(json.dumps({
        "node": "fs1", **database.said(tmp_path), "recordings_dir": "/rec",
        "switches": [{"password": "x"}]}))
    account = tmp_path / "documents" / "acme" / "account.yaml"
    account.parent.mkdir(parents=True)
    account.write_text("realm: acme.example\nnumbers: [0044 20]\n")
    return tmp_path


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_documents_go_in_and_come_out_as_they_were(site):
    config = ("--config", site / "kazoo_rec.yaml")
    assert run(docs, "check", site / "documents").output == "1 documents, no faults\n"
    assert run(docs, "import", site / "documents", *config).output == "1 documents: 1 changed, 0 removed\n"
    assert run(docs, "export", site / "out", *config).exit_code == 0
    assert json.loads((site / "out/acme/account.json").read_text()) == {"realm": "acme.example", "numbers": ["0044 20"]}
    again = run(docs, "export", site / "out", *config)
    assert again.exit_code == 1 and "not empty" in again.output


def test_faults_are_told_and_nothing_is_imported(site):
    (site / "documents/acme/account.yaml").write_text("call_recording: {inbound: {any: {time_limit: 4}}}\n")
    refused = run(docs, "import", site / "documents", "--config", site / "kazoo_rec.yaml")
    assert refused.exit_code == 1
    assert "acme/account.yaml: call_recording.inbound.any.time_limit: must be" in refused.output
    assert not (site / "kazoo_rec.db").exists()


@pytest.fixture
def library(site):
    url = database.of(site)
    migrate(url)
    store = Store(url)
    store.recordings.insert(row("r1", state="stopped"))
    store.recordings.finish("r1", {"state": "recorded", "duration_ms": 2020}, [
        upload("r1", state="failed", attempts=9, last_error="503 from the server")]).get()
    store.recordings.insert(row("r2", state="discarded", state_reason="never answered")).get()
    store.close()
    return "--config", site / "kazoo_rec.yaml"


def test_recordings_are_listed_with_what_became_of_them(library):
    listed = run(recordings, "list", *library).output
    assert "2.02 s" in listed and "failed (9 attempts): 503 from the server" in listed
    assert "discarded: never answered" in listed
    lines = run(recordings, "list", "--json", "--state", "recorded", *library).output.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["r1"]


def test_one_recording_is_shown_whole(library):
    shown = json.loads(run(recordings, "show", "r1", *library).output)
    assert shown["rule"] == "account.inbound" and shown["deliveries"][0]["last_error"] == "503 from the server"
    missing = run(recordings, "show", "nobody", *library)
    assert missing.exit_code == 1 and "no recording 'nobody'" in missing.output


def test_a_failed_delivery_is_due_again_after_retry(library):
    assert run(recordings, "retry", "r1", *library).output == "1 delivery due now\n"
    assert json.loads(run(recordings, "show", "r1", *library).output)["deliveries"][0]["state"] == "due"
    assert run(recordings, "retry", "r2", *library).exit_code == 1


def test_what_is_lost_is_listed_by_itself(site, library):
    store = Store(database.of(site))
    store.recordings.insert(row("r3", state="failed", state_reason="no media"))
    store.recordings.insert(row("r4", state="recorded", partial=True, state_reason="partial: 1 ms of 900 ms")).get()
    store.close()
    failed, partial = (run(recordings, "list", *said, *library).output
                       for said in (("--state", "failed"), ("--partial",)))
    assert "failed: no media" in failed and "r4" not in failed
    assert "recorded: partial: 1 ms of 900 ms" in partial and "r3" not in partial
