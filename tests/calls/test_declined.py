"""Declined while the database takes nothing, and the engine killed before it does: the next one knows all the same."""

import re
from copy import deepcopy

import pytest
from structlog.testing import capture_logs

from kazoo_rec.calls.files import Files
from kazoo_rec.calls.recording import mark_of
from kazoo_rec.errors import CommandFailed, NotConnected
from kazoo_rec.media import names

from .fakes import ROOT, Scene
from .test_announcement import Told
from .test_recovery import DOCUMENTS, Site


def documents(**announce):
    (_, account, id, body), *phones = DOCUMENTS
    asks = {"endpoint": {"any": {"any": {"enabled": True, "announce": {"opt_out_digit": "9", **announce}}}}}
    return [("account", account, id, {**body, "call_recording": asks}), *phones]


class Killed:
    """Alice and Bob were recorded; then the database took nothing, `b` declined, and the engine was killed.

    `paths` were recorded to, `marks` and `variables` are what it has left, and `stopped` is what the switch was told to
    stop; `next` is another engine, which has what the database had.
    """

    def __init__(self, monkeypatch, **announce):
        self._monkeypatch, self._documents = monkeypatch, documents(**announce)
        first = Site(monkeypatch, self._documents)
        first.talk().sweep()
        self.paths = {uuid: path for uuid, (path,) in first.started().items()}
        self.rows = deepcopy(first.scene.rows.by_id)
        first.scene.after(5000).event("DTMF", "b", **{"DTMF-Digit": "9"})
        self.marks = {path for path in first.scene.made if path.endswith(".declined")}
        self.variables = {}
        for command in first.asked:
            if said := re.fullmatch(r"api uuid_setvar_multi (\S+) (kazoo_rec_declined)=(\S+)", command):
                self.variables[said[1]] = {said[2]: said[3]}
        self.stopped = {path for command in first.asked for path in re.findall(r"uuid_record \S+ stop (\S+)", command)}

    def next(self, still=(), marks=True, variables=True, rows=True):
        """It comes to the talk, of which the switch still records legs."""
        site = Site(self._monkeypatch, self._documents)
        site.scene.rows.by_id |= deepcopy(self.rows) if rows else {}
        site.marks |= self.marks if marks else set()
        site.talk(ago_ms=17_400)
        for uuid, said in (self.variables if variables else {}).items():
            site.legs[uuid][0].update({f"variable_{name}": value for name, value in said.items()})
        site.running = {uuid: [self.paths[uuid]] for uuid in still}
        return site.sweep()


@pytest.fixture
def killed(monkeypatch):
    return Killed(monkeypatch)


def told_to_stop(site):
    return [command.split()[2] for command in site.asked if re.search(r"uuid_record \S+ stop ", command)]


def is_declined(row):
    return [span["kind"] for span in row["spans"]].count("declined") == 1


def test_a_mark_is_left_beside_each_file_and_the_leg_says_it_itself(killed):
    assert killed.stopped == set(killed.paths.values())
    assert killed.marks == {path.removeprefix(f"{ROOT}/").replace(".f.wav", ".declined")
                            for path in killed.paths.values()}
    assert killed.variables == {"b": {"kazoo_rec_declined": "acme"}}
    assert mark_of("acme/20261121", "x") == f"acme/20261121/{names.declined('x')}"


@pytest.mark.parametrize("left", [{"marks": False}, {"variables": False}, {}], ids=["variable", "mark", "both"])
@pytest.mark.parametrize("still", ["", "a", "ab"])
def test_the_next_engine_ends_what_was_declined_and_begins_nothing(killed, left, still):
    site = killed.next(still, **left)
    assert sorted(told_to_stop(site)) == list(still) and not site.started()
    for uuid in still:
        site.scene.record_stop(uuid, site.rows()[uuid]["id"], killed.paths[uuid])
    assert len(site.scene.rows.by_id) == 2
    for row in site.scene.rows.by_id.values():
        assert row["state"] == "stopped" and is_declined(row), "delivery erases it"
    site.sweep()
    assert not site.started()


@pytest.mark.parametrize("still", ["", "a"])
def test_where_the_rows_were_lost_with_the_engine_the_leg_is_not_recorded_again_either(killed, still):
    site = killed.next(still, rows=False)
    assert told_to_stop(site) == list(still) and not site.started()
    rows = site.scene.rows.by_id.values()
    assert {(row["state"], row["state_reason"]) for row in rows} == {("discarded", "declined")}


def test_who_comes_into_the_call_later_is_not_recorded(killed):
    site = killed.next()
    site.scene.rings("c", "a", "1002").answer("c").bridge("a", "c").after(500)
    assert not site.started() and not site.scene.switch.of("uuid_record c start")


def test_without_a_word_of_it_the_next_engine_goes_on(killed):
    site = killed.next("ab", marks=False, variables=False)
    assert not told_to_stop(site) and {row["state"] for row in site.scene.rows.by_id.values()} == {"recording"}


def test_what_another_account_records_of_the_call_goes_on(killed):
    for row in killed.rows.values():
        row["account_id"] = "other" if row["call_id"] == "a" else "acme"
    site = killed.next("a", marks=False)
    assert not told_to_stop(site)
    assert {uuid: is_declined(row) for uuid, row in site.rows().items()} == {"a": False, "b": True}


def test_what_is_over_is_not_declined_afterwards(killed):
    for row in killed.rows.values():
        row |= {"state": "stopped", "cause": "x", "stopped_ms": 5}
    site = killed.next(marks=False)
    assert [row["state"] for row in site.scene.rows.by_id.values() if is_declined(row)] == []
    assert not site.started()


def test_a_switch_that_did_not_hear_of_it_is_told_again():
    one = Told(opt_out_digit="9").ivr().plays("a")
    one.switch.replies["kazoo_rec_declined"] = NotConnected("no connection")
    one.presses("a", "9").after(500)
    assert len(one.switch.of("kazoo_rec_declined=acme")) == 1
    one.after(500)
    assert len(one.switch.of("kazoo_rec_declined=acme")) == 2
    one.switch.replies.clear()
    one.after(1000).after(5000)
    assert len(one.switch.of("kazoo_rec_declined=acme")) == 3


def test_a_leg_that_is_gone_is_told_nothing_again():
    one = Told(opt_out_digit="9").ivr().plays("a")
    one.switch.replies["kazoo_rec_declined"] = CommandFailed("the switch refused", "-ERR No such channel!")
    one.presses("a", "9").after(5000)
    assert len(one.switch.of("kazoo_rec_declined=acme")) == 1


def test_a_disk_that_takes_no_mark_keeps_no_stop_and_no_row():
    def refuse(function, args):
        if function.__name__ == "_touch":
            raise PermissionError(13, "Permission denied")

    one = Told(opt_out_digit="9")
    one.recorder._orders._files = Files(ROOT, ROOT, refuse)
    one.ivr().plays("a")
    with capture_logs() as said:
        one.presses("a", "9")
    assert len(one.switch.of("uuid_record a stop")) == 1 and one.spans() == [("declined", 0)]
    (error,) = [line["event"] for line in said if line["log_level"] == "error"]
    assert error == "no mark can be left of what was declined"


def test_a_disk_that_hangs_delays_no_stop():
    one = Told(opt_out_digit="9").ivr().plays("a")
    with one.slow_switch():  # each order is a greenlet of its own
        one.presses("a", "9")
        orders = [function.__name__ for function, _ in one.held_back]
    assert sorted(orders) == ["_leave_word", "_mark", "_stop"]


def test_nobody_who_only_looks_leaves_anything():
    scene = Scene(documents(), observe=True)
    scene.phone_calls("a", "1000").rings("b", "a", "1001").answer("a").answer("b").bridge("a", "b")
    scene.event("DTMF", "b", **{"DTMF-Digit": "9"})
    assert not scene.made and not scene.switch.commands
