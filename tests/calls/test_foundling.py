"""What runs on a leg, or is armed, though no row tells of it: its engine was killed before the row was written."""

import re

import gevent
import pytest

from kazoo_rec.calls import foundling
from kazoo_rec.calls.files import Files
from kazoo_rec.calls.recovery import NOT_CONNECTED

from .fakes import CODEC, ROOT
from .test_recovery import DOCUMENTS, RUNNING, Site

CALLER = {"sip_authorized": "true", "sip_auth_username": "1002", "sip_auth_realm": "acme.example"}
LOST = "the recording before it had lost its row"


def documents(**settings):
    (_, account, id, body), *phones = DOCUMENTS
    on = {"any": {"any": {"enabled": True, **settings}}}
    return [("account", account, id, {**body, "call_recording": {"account": on}}), *phones]


class Lost(Site):
    """An engine comes to leg `a`, 1002's, of which an engine before it has armed a recording, or begun it by command;
    the rows of that one are `lost`. `said` is what files say: by path."""

    def __init__(self, monkeypatch, by="arming", now=None, begun=True, ago_ms=8000):
        first = Site(monkeypatch, documents())
        first.leg("a", ago_ms=None if by == "arming" else 2000, **CALLER).sweep()
        ((self.id, self.lost),) = first.scene.rows.by_id.items()
        super().__init__(monkeypatch, documents(**now or {}))
        self.said = {}
        self.files._read = lambda path: self.said[path]
        (command,) = first.scene.switch.of("record_session" if by == "arming" else "uuid_record a start")
        armed = {}
        if by == "arming":
            armed = dict(re.findall(r"(execute_on_answer_[0-9a-f-]+)=([^;]+)", command))
        self.path = re.search(rf"{ROOT}/\S+", command)[0]
        self.comment = re.search(r"RECORD_COMMENT=([^,}]+)", command)[0].partition("=")[2]
        self.leg("a", ago_ms=ago_ms, **CALLER, **armed)
        self.running = {"a": [self.path]} if begun else {}

    @property
    def commands(self):
        return [one for one in self.scene.switch.commands
                if "uuid_record" in one or "setvar" in one]

    @property
    def row(self):
        (row,) = self.scene.rows.by_id.values()
        return row


def test_what_was_armed_and_runs_goes_on_under_its_id_and_nothing_is_missing(monkeypatch):
    site = Lost(monkeypatch).sweep()
    assert not site.commands
    assert {name: site.row[name] for name in ("id", "rule", "interaction_id", "settings", "master", "node")} == {
        name: site.lost[name] for name in ("id", "rule", "interaction_id", "settings", "master", "node")}
    assert (site.row["state"], site.row["spans"]) == ("recording", [])
    assert site.row["started_ms"] == site.row["answered_ms"] == site.scene.epoch_ms - 8000
    site.sweep().scene.after(2000).hang_up("a")
    assert (site.row["state"], site.row["expected_ms"], site.row["state_reason"]) == ("stopped", 10_000, None)


def test_what_was_begun_by_command_began_by_the_length_of_its_file(monkeypatch):
    site = Lost(monkeypatch, "command")
    site.said[site.path] = site.comment, 5000
    site.sweep()
    assert not site.commands
    assert (site.row["id"], site.row["state"]) == (site.id, "recording")
    assert site.row["started_ms"] == site.scene.epoch_ms - 5000
    assert [(span["kind"], span["to_ms"] - span["from_ms"]) for span in site.row["spans"]] == [("gap", 3000)]


def test_of_a_leg_on_hold_the_file_ended_as_that_began(monkeypatch):
    site = Lost(monkeypatch, "command")
    held_ms = site.scene.epoch_ms - 2000
    site.legs["a"][0].update({"Channel-Call-State": "HELD", "Caller-Channel-Last-Hold": str(held_ms * 1000)})
    site.said[site.path] = site.comment, 5900
    site.sweep()
    assert site.row["started_ms"] == held_ms - 5900 and not site.row["spans"]
    site.scene.after(1000).event("CHANNEL_UNHOLD", "a").hang_up("a")
    assert site.row["expected_ms"] == 5900


@pytest.mark.parametrize("by", ["arming", "command"])
def test_one_of_other_settings_ends_before_another_begins_which_lacks_nothing_that_it_has(monkeypatch, by):
    site = Lost(monkeypatch, by, now={"format": "wav"})
    site.said[site.path] = site.comment, 8000
    site.sweep()
    assert [" ".join(one.split()[1:4]) for one in site.commands] == ["uuid_record a stop", "uuid_record a start"]
    assert site.path in site.commands[0]
    site.scene.after(40)
    site.started()
    assert site.row["id"] != site.id and site.row["state"] == "recording"
    assert [(span["to_ms"] - span["from_ms"], span["why"]) for span in site.row["spans"]] == [(40, LOST)]


def test_the_other_waits_for_the_end_of_the_first_though_a_stop_is_less_urgent(monkeypatch):
    site = Lost(monkeypatch, now={"format": "wav"})
    with site.scene.slow_switch():
        site.sweep()
        (stop, *stop_args), *_ = ((function, *args) for function, args in site.scene.held_back
                                  if function.__name__ == "_disown")
        start, args = next((function, args) for function, args in site.scene.held_back if function.__name__ == "_do")
        starting = gevent.spawn(start, *args)
        gevent.idle()
        assert not site.commands
        stop(*stop_args)
        starting.join(5)
        assert [one.split()[3] for one in site.commands] == ["stop", "start"]
        site.scene.held_back.clear()


@pytest.mark.parametrize("said", ["", "kazoo_rec/other/x/account.inbound/A////fs1", "somebody's"])
def test_one_whose_file_does_not_tell_ends_first(monkeypatch, said):
    site = Lost(monkeypatch, "command")
    site.said[site.path] = said, 8000
    site.sweep()
    assert [one.split()[3] for one in site.commands] == ["stop", "start"]
    site.started()
    assert site.row["id"] != site.id
    assert [span["why"] for span in site.row["spans"]] == [NOT_CONNECTED], "it may be of another rule"


def test_a_disk_that_hangs_holds_up_no_look_for_long(monkeypatch):
    monkeypatch.setattr(foundling, "DISK_WITHIN_S", 0.001)
    site, asked = Lost(monkeypatch, "command"), []

    def hang(function, args):
        if function is site.files._read:
            asked.append(args)
            gevent.event.Event().wait()
        return True

    site.files._run = hang
    site.running["a"].append(site.path.replace(site.id, f"202611-{'e' * 32}"))
    site.sweep()
    assert len(asked) == 1 and [one.split()[3] for one in site.commands] == ["stop", "stop", "start"]


@pytest.mark.parametrize("refusal", [OSError(5, "Input/output error"), FileNotFoundError()])
def test_a_file_that_cannot_be_read_tells_nothing(refusal):
    def refuse(path):
        raise refusal

    assert Files(ROOT, ROOT, lambda function, args: function(*args), refuse).said("x") == ("", 0)


def test_what_is_armed_stays_armed_and_is_recorded_at_the_answer(monkeypatch):
    site = Lost(monkeypatch, begun=False, ago_ms=None).sweep()
    assert (site.row["id"], site.row["state"]) == (site.id, "armed") and not site.commands
    site.scene.event("CHANNEL_ANSWER", "a", **{**site.legs["a"][0], **CODEC, "Event-Name": "CHANNEL_ANSWER"})
    site.scene.record_start("a", site.id, site.path).after(1000)
    assert (site.row["state"], site.row["spans"]) == ("recording", []) and not site.commands


def test_what_is_armed_with_other_settings_is_disarmed(monkeypatch):
    site = Lost(monkeypatch, begun=False, ago_ms=None, now={"format": "wav"}).sweep()
    assert any(one.endswith(f"execute_on_answer_{site.id}=") for one in site.commands)
    assert site.row["id"] != site.id and not site.row["spans"]


def test_what_is_just_beginning_is_waited_for(monkeypatch):
    site = Lost(monkeypatch, begun=False, ago_ms=20).sweep()
    assert not site.commands
    site.running = {"a": [site.path]}
    site.scene.after(250)
    assert (site.row["id"], site.row["state"], site.row["spans"]) == (site.id, "recording", [])


def test_what_was_armed_and_has_ended_is_not_begun_again_under_its_id(monkeypatch):
    site = Lost(monkeypatch, begun=False).sweep()
    site.started()
    assert site.row["id"] != site.id and site.row["state"] == "recording"
    assert [span["why"] for span in site.row["spans"]] == [NOT_CONNECTED]


def test_one_that_no_rule_wants_any_more_ends(monkeypatch):
    site = Lost(monkeypatch, now={"enabled": False}).sweep()
    assert [one.split()[1:4] for one in site.commands] == [["uuid_record", "a", "stop"]]
    assert not site.scene.rows.by_id and not site.scene.tracker.leg("a").foundlings


def test_of_two_of_one_rule_both_end(monkeypatch):
    site = Lost(monkeypatch, "command")
    second = site.path.replace(site.id, f"202611-{'e' * 32}")
    site.said = dict.fromkeys((site.path, second), (site.comment, 8000))
    site.running["a"].append(second)
    site.sweep()
    assert [one.split()[3] for one in site.commands] == ["stop", "stop", "start"]


def test_of_its_two_files_the_second_ends(monkeypatch):
    site = Lost(monkeypatch)
    second = site.path.replace(".wav", ".f.wav")
    site.running["a"].append(second)
    site.sweep()
    assert [one.split()[1:5] for one in site.commands] == [["uuid_record", "a", "stop", second]]
    assert (site.row["id"], site.row["master"]) == (site.id, site.path.removeprefix(f"{ROOT}/"))


def test_what_its_leg_declined_is_declined(monkeypatch):
    site = Lost(monkeypatch)
    site.scene.rows.insert({**RUNNING, "id": f"202611-{'d' * 32}", "call_id": "a", "state": "stopped", "stopped_ms": 5,
                            "cause": "x", "spans": [{"kind": "declined", "from_ms": 5, "to_ms": 5}],
                            "rule": "caller.outbound"})
    site.sweep()
    row = site.scene.rows.by_id[site.id]
    assert row["spans"][-1]["kind"] == "declined" and [one.split()[3] for one in site.commands] == ["stop"]
    site.scene.record_stop("a", site.id, site.path)
    assert row["state"] == "stopped", "delivery erases it"


def test_what_is_masked_for_all_of_its_leg_masks_it(monkeypatch):
    site, other = Lost(monkeypatch), f"202611-{'d' * 32}"
    site.scene.rows.insert({**RUNNING, "id": other, "call_id": "a", "rule": "caller.outbound",
                            "master": f"acme/20261121/{other}.wav",
                            "spans": [{"kind": "mask", "from_ms": 5, "to_ms": None}]})
    site.running["a"].append(f"{ROOT}/acme/20261121/{other}.wav")
    site.sweep()
    assert {tuple(one.split()[3:]) for one in site.commands} == {("mask", path) for path in site.running["a"]}
    assert [span["kind"] for span in site.scene.rows.by_id[site.id]["spans"]] == ["mask"]


def test_a_database_that_does_not_answer_leaves_the_leg_to_the_next_look(monkeypatch):
    site = Lost(monkeypatch)
    site.scene.rows.get, get = lambda recording_id: 1 / 0, site.scene.rows.get
    with pytest.raises(ZeroDivisionError):
        site.sweep()
    assert not site.scene.tracker.uuids()
    site.scene.rows.get = get
    site.sweep()
    assert not site.commands and site.row["id"] == site.id


def test_an_engine_that_only_observes_looks_into_no_file(monkeypatch):
    site = Lost(monkeypatch, "command")
    site.recovery._observe = site.recorder._observe = True
    site.sweep()
    assert not site.commands and not site.scene.rows.by_id
