"""Orders about a leg's recordings: what the switch is told, what the row says, what is answered."""

import gevent
import pytest
from gevent.event import AsyncResult

from kazoo_rec.calls import execution
from kazoo_rec.calls.control import AT_ONCE, Control
from kazoo_rec.calls.files import Files
from kazoo_rec.errors import CommandFailed, CommandTimeout, NotConnected, StoreError, WrongState

from .fakes import ROOT, Scene, done

REFUSED = CommandFailed("the switch refused", "-ERR Cannot mask recording session!\n")


class Live(Scene):
    """A scene with its control; `order` as account acme about leg a."""

    knows_all = True

    def __init__(self, **settings):
        rules = {"account": {"any": {"any": {"enabled": True, **settings}}}} if settings.pop("records", True) else {}
        super().__init__([("account", "acme", "acme", {"realm": "acme.example", "call_recording": rules})])
        self.control = Control(self.tracker, self.recorder, self.switch.send, Files(ROOT, ROOT, self._run),
                               lambda: self.epoch_ms, lambda: self.now, lambda uuid: self.knows_all)

    def order(self, action, account="acme", uuid="a", **settings):
        return self.control.order(account, uuid, action, settings, "token t")

    def talks(self):
        return self.phone_calls("a", "1000").answer("a")

    def carry_off(self, path, to):
        return self.event("MEDIA_BUG_START", to, **{"Media-Bug-Target": path})


@pytest.mark.parametrize(("begin", "end", "state"), [("mask", "unmask", "recording"), ("pause", "resume", "paused")])
def test_repeating_an_order_makes_one_span_and_tells_the_switch_again(begin, end, state):
    one = Live().talks().after(1000)
    for action in (begin, begin):
        one.order(action)
        (span,) = one.row()["spans"]
        assert (span["kind"], span["to_ms"], one.row()["state"]) == (begin, None, state)
    one.after(2000)
    for action in (end, end):
        (told,) = one.order(action)["recordings"]
    assert told["state"] == one.row()["state"] == "recording" and not told["masked"]
    (span,) = one.row()["spans"]
    assert span["to_ms"] - span["from_ms"] == 2000
    assert [command.split()[3] for command in one.switch.of("uuid_record")] == [begin, begin, end, end]


def test_a_pause_within_a_hold_is_not_counted_twice():
    one = Live().talks().after(1000)
    one.event("CHANNEL_HOLD", "a").after(500).order("pause")
    one.after(1000).event("CHANNEL_UNHOLD", "a").after(500).order("resume")
    one.after(1000).hang_up("a")
    assert one.row()["expected_ms"] == 2000
    assert sorted(span["kind"] for span in one.row()["spans"]) == ["hold", "pause"]


def test_what_is_still_masked_or_paused_when_the_leg_goes_ends_with_it():
    one = Live().talks().after(1000)
    one.order("mask")
    one.order("pause")
    one.after(1000).record_stop("a", one.row()["id"], f"{ROOT}/{one.row()['master']}")
    assert {span["to_ms"] for span in one.row()["spans"]} == {one.row()["stopped_ms"]}
    assert one.row()["expected_ms"] == 1000


def test_a_refused_mask_is_a_wrong_state_and_leaves_no_open_span():
    one = Live().talks()
    one.switch.replies = {" mask ": REFUSED}
    with pytest.raises(WrongState, match="refused: -ERR Cannot mask"):
        one.order("mask")
    assert all(span["to_ms"] == span["from_ms"] for span in one.row()["spans"])


def test_a_mask_that_was_not_answered_counts_as_one():
    one = Live().talks()
    one.switch.replies = {" mask ": CommandTimeout("no reply")}
    with pytest.raises(CommandTimeout):
        one.order("mask")
    assert one.row()["spans"][0]["to_ms"] is None
    assert one.control.leg("acme", "a")["recordings"][0]["masked"]


def test_every_file_that_is_written_of_a_leg_is_masked():
    one = Live().talks()
    second = f"{ROOT}/{one.row()['master']}".replace(".wav", ".f.wav")
    one.record_start("a", one.row()["id"], second).order("mask")
    assert [command.split()[-1] for command in one.switch.of(" mask ")] == [second.replace(".f.wav", ".wav"), second]


def test_a_file_that_begins_while_its_leg_is_masked_is_masked_at_once():
    one = Live().talks()
    one.order("mask")
    second = f"{ROOT}/{one.row()['master']}".replace(".wav", ".f.wav")
    one.record_start("a", one.row()["id"], second)
    assert one.switch.of(f" mask {second}")


def test_a_leg_whose_masked_recording_a_transfer_takes_along_is_recorded_again_once_unmasked():
    one = Live().talks().after(1000)
    one.order("mask")
    one.carry_off(f"{ROOT}/{one.row()['master']}", "b").after(250).after(250).after(250)
    first, second = one.rows.by_id.values()
    assert first["state"] == "stopped" and second["spans"][0]["kind"] == "mask" and second["state"] == "armed"
    assert not one.switch.of(" start ")
    one.switch.replies = {"uuid_buglist": "<media-bugs>\n</media-bugs>\n"}
    one.order("unmask")
    one.after(250)
    assert len(one.switch.of(" start ")) == 1


def test_an_armed_recording_is_disarmed_by_stop_and_no_rule_asks_for_it_again():
    one = Live().phone_calls("a", "1000")
    assert one.armed("a")
    (told,) = one.order("stop")["recordings"]
    assert told["state"] == one.row()["state"] == "discarded" and "token t stopped it" in one.row()["state_reason"]
    assert not one.armed("a")
    one.rings("b", "a", "1001").answer("b").answer("a").bridge("a", "b").after(1000)
    assert len(one.rows.by_id) == 1 and not one.switch.of("uuid_record")
    one.hang_up("a")
    assert one.row()["state"] == "discarded"


def test_what_is_started_while_another_ends_begins():
    one = Live().talks().after(1000)
    (first,) = one.rows.by_id.values()
    one.switch.replies = {" stop ": CommandTimeout("no reply")}
    with pytest.raises(CommandTimeout):
        one.order("stop")
    one.switch.replies = {}
    one.obedient().order("start")
    one.record_stop("a", first["id"], f"{ROOT}/{first['master']}", "success-maxtime").after(1000)
    assert [row["state"] for row in one.rows.by_id.values()] == ["stopped", "recording"]


def test_a_stop_is_answered_when_it_is_durable():
    one = Live().obedient().talks().after(1000)
    one.rows.written = AsyncResult()
    order = gevent.spawn(one.order, "stop")
    gevent.idle()
    assert one.row()["state"] == "stopped" and not order.ready()
    one.rows.written.set(1)
    assert order.get(timeout=5)["recordings"]


@pytest.mark.parametrize("written", [AsyncResult(), done(error=StoreError("too much waits for the database"))])
@pytest.mark.parametrize("talks", [True, False])
def test_a_stop_that_the_database_does_not_write_is_told_as_that(monkeypatch, talks, written):
    monkeypatch.setattr(execution, "DURABLE_WITHIN_S", 0.001)
    one = Live().obedient().phone_calls("a", "1000")
    if talks:
        one.answer("a").after(1000)
    one.rows.written = written
    for _ in range(2):  # said again it is still not written
        with pytest.raises(CommandTimeout, match="database"):
            one.order("stop")
    assert one.row()["state"] == ("stopped" if talks else "discarded")


def test_while_a_stop_waits_for_the_database_other_orders_are_carried_out():
    one = Live().obedient().talks().after(1000)
    one.rows.written = AsyncResult()
    stop = gevent.spawn(one.order, "stop")
    gevent.idle()
    assert one.row()["state"] == "stopped" and not stop.ready()
    one.order("start")
    assert [row["state"] for row in one.rows.by_id.values()] == ["stopped", "recording"] and not stop.ready()
    one.rows.written.set(1)
    assert stop.get(timeout=5)


def test_a_stop_just_after_an_end_by_nobody_s_order_is_one_for_what_would_take_its_place():
    one = Live().obedient().talks().after(5000)
    one.record_stop("a", one.row()["id"], f"{ROOT}/{one.row()['master']}", "success-maxtime")
    assert [span["kind"] for span in one.row()["spans"]] == ["unordered"]  # of which an engine makes another
    one.order("stop")
    one.after(250)
    assert one.row()["state"] == "stopped" and not one.row()["spans"] and not one.switch.of(" start ")


def test_an_arming_that_the_switch_carries_out_after_stop_is_stopped_and_removed():
    one = Live().phone_calls("a", "1000")
    (id, path), = one.armed("a").items()
    one.order("stop")
    one.event("CHANNEL_ANSWER", "a", **{"Channel-Read-Codec-Name": "PCMU"}).record_start("a", id, path)
    assert one.switch.of(f"uuid_record a stop {path}")
    one.record_stop("a", id, path)
    assert one.row()["state"] == "discarded" and one.removed == [path.removeprefix(f"{ROOT}/")]


def test_nothing_begins_on_a_leg_that_rings_and_nothing_is_masked_that_is_not_recorded():
    one = Live(records=False).phone_calls("a", "1000")
    with pytest.raises(WrongState, match="not answered"):
        one.order("start")
    one.answer("a")
    for action in ("mask", "pause", "unmask", "resume", "stop"):
        with pytest.raises(WrongState):
            one.order(action)
    assert not one.rows.by_id


def test_a_start_that_the_switch_refuses_is_a_wrong_state():
    one = Live(records=False).talks()
    one.switch.replies = {" start ": CommandFailed("the switch refused", "-ERR Cannot record session!\n")}
    with pytest.raises(WrongState, match="did not begin: no media"):
        one.order("start")
    assert one.row()["state"] == "failed"


def test_another_account_sees_neither_leg_nor_recording():
    one = Live().talks()
    assert list(one.control.legs("globex")) == [] and one.control.leg("globex", "a") is None
    assert one.order("mask", account="globex") is None and one.order("mask", uuid="x") is None
    assert not one.switch.of(" mask ")


def test_while_many_legs_are_told_of_others_have_their_turn_and_who_hangs_up_meanwhile_is_not_told_of():
    one = Live()
    for number in range(3 * AT_ONCE):
        one.phone_calls(f"a{number}", "1000").answer(f"a{number}")
    told, last = [], f"a{number}"
    for leg in one.control.legs("acme"):
        told.append(leg["uuid"])
        if len(told) == 1:
            gevent.spawn(one.hang_up, last)
    assert len(told) == len(set(told)) == 3 * AT_ONCE - 1 and last not in told


def test_a_user_is_told_of_his_own_legs():
    one = Live()
    for uuid, account, user in (("a", "acme", "ann"), ("b", "acme", "bob"), ("c", "globex", "ann")):
        one.create(uuid, kazoo_rec_account_id=account, kazoo_rec_user_id=user).answer(uuid)
    assert [(leg["uuid"], leg["owner_id"]) for leg in one.control.legs("acme", "ann")] == [("a", "ann")]
    assert [leg["uuid"] for leg in one.control.legs("acme")] == ["a", "b"]


def test_a_leg_that_may_be_there_is_not_said_not_to_be():
    one = Live().talks()
    one.knows_all = False
    assert one.control.leg("acme", "a")
    with pytest.raises(NotConnected):
        one.control.leg("acme", "b")


def test_why_a_leg_is_not_recorded_is_told():
    one = Live(records=False).talks()
    assert {told["rule"] for told in one.control.leg("acme", "a")["not_recorded"]} >= {
        "account.inbound", "account.outbound"}
    assert one.control.leg("acme", "a")["recordings"] == []
