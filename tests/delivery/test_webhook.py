"""Told of: what becomes of a recording, to who wants to know."""

import json

import pytest

from kazoo_rec.delivery import webhook

from .fakes import RECORDING_ID, Customer, refusing_url
from .test_worker import Site

#: Columns of a row that a webhook tells of and no upload needs.
MORE = {"leg": "A", "rule": "account.inbound", "origin": "inbound from offnet to account", "label": None,
        "direction": "inbound", "callee_id_name": "Bob", "callee_id_number": "1002", "truncated_by_limit": False,
        "channels": None, "sample_rate": None, "content_type": None, "size_bytes": None, "sha256": None}


@pytest.fixture
def site(tmp_path, pool, connections):
    site = Site(tmp_path, pool, connections)
    yield site
    site.worker.stop()


def told_of(state="recording", now_ms=0, **settings):
    recording = {"id": RECORDING_ID, "node": "fs1", "account_id": "acme", "settings": settings}
    return webhook.row(recording, state, now_ms, 60)


def test_who_does_not_want_to_know_is_told_nothing():
    assert told_of() is None and told_of(status_callback=None) is None
    for state in ("armed", "paused", "stopped", "deleted"):
        assert told_of(state, status_callback="https://told.example/") is None


@pytest.mark.parametrize(("state", "status"), [
    ("recording", "in-progress"), ("recorded", "completed"), ("failed", "failed"), ("discarded", "absent"),
    ("missing", "missing")])
def test_each_state_that_is_told_has_its_delivery(state, status):
    one = told_of(state, 5000, status_callback="https://Told.example/x")
    assert (one["kind"], one["host"], one["method"]) == (f"webhook.{status}", "https://told.example:443", "post")
    assert (one["state"], one["next_attempt_ms"], one["give_up_ms"]) == ("due", 5000, 65_000)


def test_a_url_that_can_never_be_is_a_failed_delivery_that_says_so():
    one = told_of(status_callback="ftp://told.example/")
    assert one["state"] == "failed" and "scheme" in one["last_error"]


def test_a_finished_recording_is_told_beside_its_upload_and_the_file_stays_for_that(site):
    site.settings = {"remove_after_delivery": True}
    with Customer() as customer:
        site.stopped(refusing_url(), settings={"status_callback": f"{customer.url}/told?a=b"}, **MORE)
        site.step()
        site.step()
    [(method, path, headers, body)] = customer.requests
    row = site.store.rows[RECORDING_ID]
    assert (method, path, headers["CONTENT_TYPE"]) == ("POST", "/told", "application/json")
    assert headers["IDEMPOTENCY_KEY"] == f"{RECORDING_ID}.completed" and headers["CONTENT_LENGTH"] == str(len(body))
    said = json.loads(body)
    assert (said["recording_id"], said["status"], said["account_id"]) == (RECORDING_ID, "completed", "acme")
    assert (said["from"], said["duration_ms"], said["sha256"]) == (row["from_uri"], 500, row["sha256"])
    assert "url" not in said and "settings" not in said
    upload, told = site.store.uploads.values()
    assert (upload["state"], told["state"], told["status"]) == ("due", "delivered", 200)
    assert site.file().exists()


def test_it_is_tried_again_and_says_the_same(site):
    with Customer([("503 Busy", {}), ("302 Found", {"Location": "/there"})]) as customer:
        site.stopped(None, settings={"status_callback": customer.url}, **MORE)
        site.step()
        site.step()
        told, = site.store.uploads.values()
        assert (told["state"], told["attempts"]) == ("due", 1)
        site.step(later_s=60)
    assert [path for _, path, _, _ in customer.requests] == ["/", "/", "/there"]
    assert len({body for *_, body in customer.requests}) == 1 and told["state"] == "delivered"
    assert {headers["IDEMPOTENCY_KEY"] for _, _, headers, _ in customer.requests} == {f"{RECORDING_ID}.completed"}


def test_of_one_in_progress_nothing_is_told_that_came_later(site):
    with Customer() as customer:
        row = site.stopped(None, settings={"status_callback": customer.url}, **MORE)
        began = webhook.row(row, "recording", site.clock.now_ms, 60)
        site.store.add_upload(**began)
        site.step()
    said = [json.loads(body) for *_, body in customer.requests]
    assert {one["status"]: one["duration_ms"] for one in said} == {"in-progress": None} | (
        {"completed": 500} if len(said) > 1 else {})
    assert webhook.body({**row, "state_reason": "partial"}, "in-progress") == webhook.body(row, "in-progress")


def test_what_was_declined_is_erased_delivered_to_nobody_and_told_as_absent(site):
    with Customer() as customer:
        site.stopped(customer.url, settings={"status_callback": f"{customer.url}/told"}, **MORE, spans=[
            {"kind": "declined", "from_ms": 1, "to_ms": 1}])
        other = site.file().with_name(f"{RECORDING_ID}.f.wav")
        other.touch()
        site.step()
        site.step()
    assert not site.file().exists() and not other.exists()
    row = site.store.rows[RECORDING_ID]
    assert (row["state"], row["state_reason"], row["file"]) == ("discarded", "declined", None)
    [(_, path, _, body)] = customer.requests
    assert path == "/told" and json.loads(body)["status"] == "absent" and json.loads(body)["reason"] == "declined"


def test_what_was_declined_is_erased_before_its_row_says_so(site):
    site.stopped(None, spans=[{"kind": "declined", "from_ms": 1, "to_ms": 1}])
    site.store.refusals = [None, OSError("the database is locked")]
    site.step()
    assert not site.file().exists()


def test_of_one_that_is_missing_it_is_said_that_it_is_and_nothing_that_comes_later(site):
    row = site.stopped(None, settings={"status_callback": "https://told.example"}, **MORE)
    said = json.loads(webhook.body({**row, "state_reason": "no media"}, "missing"))
    assert (said["status"], said["reason"]) == ("missing", "wanted, and not being recorded")
    assert (said["recording_id"], said["call_id"], said["stopped_ms"]) == (RECORDING_ID, row["call_id"], None)
    assert webhook.key(row, "missing") == f"{RECORDING_ID}.missing"


@pytest.mark.parametrize(("gone", "status", "loss"), [
    (False, "completed", ("partial", "short")), (True, "failed", ("failed", "no_file"))])
def test_a_loss_is_told_and_counted_with_its_reason(site, gone, status, loss):
    with Customer() as customer:
        site.stopped(None, settings={"status_callback": customer.url}, **MORE, expected_ms=900, started_ms=1)
        if gone:
            site.file().unlink()
        site.step()
        site.step()
    [(_, _, _, body)] = customer.requests
    said = json.loads(body)
    assert (said["status"], said["partial"]) == (status, loss[0] == "partial") and said["reason"]
    assert site.worker.meter.registry.get_sample_value("kazoo_rec_recording_losses_total", {
        "loss": loss[0], "reason": loss[1]}) == 1
