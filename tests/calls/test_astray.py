"""A transfer took a recording along while the engine, or its connection, was down: what others said is not in it."""

import pytest

from kazoo_rec.calls.astray import NOT_TOLD_APART, TAKEN_ALONG, transferred_ms
from kazoo_rec.switch.events import Event

from .fakes import ROOT
from .test_recovery import Site

PARTNER = {"originator": "a", "dialed_user": "1001", "dialed_domain": "acme.example"}


class Left(Site):
    """Alice, a, has called Bob, b, and both are recorded; she goes while nobody listens, and Bob has her recording."""

    def __init__(self, monkeypatch):
        super().__init__(monkeypatch)
        scene = self.scene
        scene.phone_calls("a", "1000").rings("b", "a", "1001").answer("b").answer("a").bridge("a", "b").after(10_000)
        (self.recording,) = scene.tracker.leg("a").recordings
        (self.bobs,) = scene.tracker.leg("b").recordings

    def goes(self, after_ms=5000, **variables):
        """She is transferred away in the middle of it."""
        self.scene.after(after_ms)
        stamp = f"{self.scene.epoch_ms // 1000}:bfbe34a9:bl_xfer:1002/acme.example/XML"
        self.leg("b", "outbound", 15_000, "c", **PARTNER, **(variables or {"transfer_source": stamp}))
        self.running = {"b": [f"{ROOT}/{self.bobs.armed_path}", f"{ROOT}/{self.recording.armed_path}"]}
        self.scene.after(5000)
        return self

    def restart(self, monkeypatch):
        """Another engine, with the rows of this one."""
        site = Site(monkeypatch)
        site.scene.rows.by_id.update(self.scene.rows.by_id)
        site.scene.now, site.legs, site.running = self.scene.now, self.legs, self.running
        return site

    @property
    def row(self):
        return self.scene.rows.by_id[self.recording.id]


@pytest.fixture
def left(monkeypatch):
    return Left(monkeypatch)


@pytest.mark.parametrize("restarted", [False, True])
def test_it_ends_at_the_second_of_the_transfer_and_is_partial(left, monkeypatch, restarted):
    left.recovery.lost()
    left.goes()
    site = left.restart(monkeypatch) if restarted else left
    site.sweep()
    row = site.scene.rows.by_id[left.recording.id]
    assert (row["state"], row["state_reason"], row["partial"]) == ("stopped", TAKEN_ALONG, True)
    assert row["spans"][-1]["kind"] == "moved" and row["master"] == left.recording.armed_path
    assert 14_000 < row["expected_ms"] <= 15_000 and row["stopped_ms"] == row["started_ms"] + row["expected_ms"]
    assert site.scene.rows.by_id[left.bobs.id]["state"] == "recording"
    before = dict(row)
    site.scene.record_stop("b", left.recording.id, f"{ROOT}/{left.recording.armed_path}")
    assert site.scene.rows.by_id[left.recording.id] == before


def test_what_was_silent_when_nobody_listened_counts(left, monkeypatch):
    left.recorder.silence(left.recording, "pause")
    left.goes()
    site = left.restart(monkeypatch).sweep()
    row = site.scene.rows.by_id[left.recording.id]
    assert row["spans"][0]["to_ms"] == row["stopped_ms"] and row["expected_ms"] == 10_000


@pytest.mark.parametrize("restarted", [False, True])
def test_where_the_leg_that_has_it_knows_of_no_transfer_nothing_that_others_said_is_kept(left, monkeypatch, restarted):
    left.goes(unknown="x")
    site = left.restart(monkeypatch) if restarted else left
    site.sweep()
    row = site.scene.rows.by_id[left.recording.id]
    assert (row["state"], row["state_reason"]) == ("failed", NOT_TOLD_APART)


def test_a_leg_that_goes_on_without_its_recording_is_recorded_anew(left):
    left.goes()
    left.leg("a", "inbound", 15_000, "x", sip_authorized="true", sip_auth_username="1000",
             sip_auth_realm="acme.example")
    left.sweep()
    left.scene.after(250)
    assert [path for leg, paths in left.started().items() for path in paths if leg == "a"]
    rows = [row for row in left.scene.rows.by_id.values() if row["call_id"] == "a"]
    assert [row["state"] for row in rows] == ["stopped", "recording"] and rows[0]["expected_ms"] <= 15_000


def test_one_that_was_dropped_before_it_began_ends_no_sweep(left):
    left.scene.phone_calls("c", "1002").rings("d", "c", "1001")
    (recording,) = left.scene.tracker.leg("c").recordings
    left.recorder.drop(recording, "the call went offnet", left.scene.now)
    left.scene.record_start("c", recording.id, f"{ROOT}/{recording.armed_path}")
    left.goes()
    left.running["b"].append(f"{ROOT}/{recording.armed_path}")
    left.sweep()
    assert left.scene.rows.by_id[recording.id]["state"] == "discarded" and left.row["state"] == "stopped"


def test_the_first_transfer_since_then_counts():
    history = ["1795221380:x:att_xfer:1001@127.0.0.1/1000@acme.example", "1795221371:x:bl_xfer:1002/acme.example/XML"]
    dump = Event({"variable_transfer_history": history, "variable_transfer_source": "1795221389:x:uuid_br:y"})
    assert transferred_ms(dump, 1795221375_500) == 1795221380_000
    assert transferred_ms(dump, 1795221380_500) == 1795221380_000  # seconds are cut
    assert transferred_ms(dump, 1795221381_000) == 1795221389_000
    assert transferred_ms(dump, 1795221390_000) is None
    assert transferred_ms(Event({"variable_transfer_source": "never"}), 0) is None


def test_what_others_record_is_left_alone(left):
    left.goes()
    left.running["b"] += ["/theirs/202611-00000000000000000000000000000000.wav",
                          f"{ROOT}/acme/20261121/202611-00000000000000000000000000000000.wav"]
    left.sweep()
    assert len(left.scene.rows.by_id) == 2
