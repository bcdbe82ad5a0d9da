"""A recording of an action whose leg is transferred away goes on on the leg that is left, as the traces of the switch
have it: blind_transfer_refer, attended_transfer, blind_transfer_api."""

import pytest

from .fakes import ROOT
from .flows import Flows


class Transfer(Flows):
    """a, 1000, has called b, 1001 of `realm`, and talks with it."""

    def __init__(self, realm="acme.example", **options):
        super().__init__(**options)
        self.phone_calls("a", "1000").rings("b", "a", "1001", realm).answer("b").answer("a")
        self.bridge("a", "b").after(1000)

    def refers(self, uuid):
        """`uuid` sends REFER, and hangs up by it."""
        return self.hang_up(uuid, transfer_disposition="recv_replace")

    def rows_of(self, uuid):
        return [row for row in self.rows.by_id.values() if row["call_id"] == uuid]


def test_the_leg_that_is_left_is_recorded_anew_with_the_same_settings():
    one = Transfer()
    began = one.begin(label="sales", url="https://files.example/", time_limit=600)["id"]
    one.refers("a").rings("c", "b", "1002").answer("c")
    assert not one.rows_of("b")
    one.bridge("b", "c")
    (old,), (new,) = one.rows_of("a"), one.rows_of("b")
    assert (old["state"], new["state"], new["rule"], new["leg"]) == ("stopped", "recording", "callflow", "B")
    assert new["settings"] == old["settings"] and new["label"] == "sales" and new["master"] != old["master"]
    assert new["interaction_id"] == old["interaction_id"] == "a" and new["account_id"] == "acme"
    assert new["reason"] == "Callflow main had it recorded. Leg a was transferred away."
    assert [told["id"] for told in one.end(uuid="b", ids=[began])] == [new["id"]]


def test_the_talk_of_two_legs_of_another_account_is_not_followed():
    one = Transfer(realm="globex.example")
    one.begin()
    one.refers("a").rings("c", "b", "1002", "globex.example").answer("c").bridge("b", "c")
    assert not one.rows_of("b") and not list(one.control.legs("acme")) and one.control.leg("acme", "b") is None


def test_who_called_from_outside_is_followed():
    one = Flows()
    one.carrier_calls("x", "15550009999").rings("a", "x", "1000").answer("a").answer("x").bridge("x", "a").begin("a")
    one.hang_up("a", transfer_disposition="recv_replace").rings("c", "x", "1002").answer("c").bridge("x", "c")
    assert one.recordings() == {("callflow", "a"): "stopped", ("callflow", "x"): "recording"}


def test_a_recorded_leg_that_stays_needs_no_other():
    one = Transfer()
    one.begin()
    one.refers("b").rings("c", "a", "1002").answer("c").bridge("a", "c")
    assert one.states() == ["recording"]


def test_an_attended_transfer_ends_two_legs_and_brings_the_others_together():
    one = Transfer()
    one.begin("b")
    one.phone_calls("c", "1001").rings("d", "c", "1002").answer("d").answer("c").bridge("c", "d")
    one.begin("c", url="https://files.example/")
    one.hang_up("c", transfer_disposition="replaced").refers("b").bridge("a", "d")
    (of_a,), (of_d,) = one.rows_of("a"), one.rows_of("d")
    assert of_a["state"] == of_d["state"] == "recording" and of_d["settings"]["url"]
    assert (of_a["interaction_id"], of_d["interaction_id"]) == ("a", "c")


def test_a_leg_that_is_left_may_be_bridged_before_the_other_hangs_up():
    one = Transfer()
    one.begin("b")
    one.phone_calls("c", "1002").answer("c").bridge("a", "c")
    assert not one.rows_of("a")
    one.refers("b")
    assert [row["state"] for row in one.rows_of("a")] == ["recording"]


@pytest.mark.parametrize(("ago_s", "followed"), [(0, True), (60, False)])
def test_of_uuid_transfer_the_leg_that_is_left_tells(ago_s, followed):
    one = Transfer()
    one.begin()
    source = f"{one.epoch_ms // 1000 - ago_s}:bfbe34a9:bl_xfer:1002/acme.example/XML"
    one.hang_up("a").rings("c", "b", "1002").answer("c").bridge("b", "c", transfer_source=source)
    assert bool(one.rows_of("b")) == followed


def test_a_leg_that_just_hangs_up_is_not_followed_by_the_next_call_of_the_other():
    one = Transfer()
    one.begin()
    one.hang_up("a").rings("c", "b", "1002").answer("c").bridge("b", "c")
    assert not one.rows_of("b")


def test_it_is_followed_from_transfer_to_transfer():
    one = Transfer()
    one.begin()
    one.refers("a").rings("c", "b", "1002").answer("c").bridge("b", "c").after(1000)
    one.refers("b").rings("d", "c", "1000").answer("d").bridge("c", "d")
    assert one.states() == ["stopped", "stopped", "recording"]
    assert {row["interaction_id"] for row in one.rows.by_id.values()} == {"a"}


@pytest.mark.parametrize("why", ["no", "stopped", "limit"])
def test_what_is_not_to_follow_or_had_ended_before_does_not(why):
    one = Transfer()
    id = one.begin(should_follow_transfer=why != "no", record_on_bridge=why == "limit", time_limit=5)["id"]
    if why == "stopped":
        one.end(ids=[id])
    if why == "limit":
        one.after(5000)
    one.refers("a").rings("c", "b", "1002").answer("c").bridge("b", "c")
    assert not one.rows_of("b")


def test_rules_are_asked_anew_and_need_no_following():
    one = Transfer(records=True)
    one.refers("a").rings("c", "b", "1002").answer("c").bridge("b", "c")
    assert [row["rule"] for row in one.rows.by_id.values()] == ["account.inbound", "account.inbound"]


def test_one_whose_stop_was_not_heard_is_followed_all_the_same():
    one = Transfer()
    one.begin()
    one.event("CHANNEL_HANGUP_COMPLETE", "a", variable_transfer_disposition="recv_replace")
    one.rings("c", "b", "1002").answer("c").bridge("b", "c")
    assert [row["state"] for row in one.rows_of("b")] == ["recording"]


def test_what_was_masked_is_masked_behind_the_transfer():
    one = Transfer()
    id = one.begin()["id"]
    one.change("mask", ids=[id])
    one.refers("a").rings("c", "b", "1002").answer("c").bridge("b", "c")
    (new,) = one.rows_of("b")
    assert new["state"] == "armed" and new["spans"][0]["kind"] == "mask" and len(one.switch.of(" start ")) == 1
    one.switch.replies = {"uuid_buglist": "<media-bugs>\n</media-bugs>\n"}
    one.change("unmask", uuid="b", ids=[id])
    one.after(250)
    assert [row["state"] for row in one.rows_of("b")] == ["recording"]


def test_when_both_have_hung_up_nothing_is_kept():
    one = Transfer()
    one.begin()
    leg = one.tracker.leg("b")
    one.hang_up("a").hang_up("b")
    assert leg.bridged_to is None and not one.tracker._following._left and one.states() == ["stopped"]


def test_one_that_the_switch_took_along_and_that_goes_on_is_followed_once():
    one = Transfer()
    one.begin()
    one.event("MEDIA_BUG_START", "b", **{"Media-Bug-Target": f"{ROOT}/{one.row()['master']}"}).after(250)
    assert one.states() == ["stopped", "recording"]
    one.refers("a").rings("c", "b", "1002").answer("c").bridge("b", "c")
    assert [row["state"] for row in one.rows_of("b")] == ["recording"]


def test_what_should_not_have_been_recorded_does_not_follow():
    one = Transfer()
    one.begin()
    (recording,) = one.tracker.leg("a").recordings
    one.switch.obeys = lambda command: None
    one.recorder.drop(recording, "declined", one.now)
    one.event("CHANNEL_HANGUP_COMPLETE", "a", variable_transfer_disposition="recv_replace")
    one.rings("c", "b", "1002").answer("c").bridge("b", "c")
    assert not one.rows_of("b")
