"""Who is told of a recording's state: with the row's change, each time that it is one."""

from .fakes import NO_MEDIA, Scene


def scene(**settings):
    return Scene([("account", "acme", "acme", {"realm": "acme.example", "call_recording": {"account": {"any": {"any": {
        "enabled": True, "status_callback": "https://told.example/", **settings}}}}})])


def test_each_state_that_a_row_gets_is_told_with_it():
    one = scene().phone_calls("a", "1000").answer("a").hang_up("a")
    assert one.rows.told == [(one.row()["id"], "recording"), (one.row()["id"], "stopped")]
    assert one.row()["state"] == "stopped"


def test_one_that_never_begins_is_told_with_its_reason_in_the_row():
    one = scene().phone_calls("a", "1000").hang_up("a", "NO_ANSWER")
    assert one.rows.told == [(one.row()["id"], "discarded")]
    assert one.row()["state_reason"] == "never answered: NO_ANSWER"


def test_who_does_not_ask_is_not_told():
    one = scene(status_callback=None).phone_calls("a", "1000").answer("a").hang_up("a")
    assert one.rows.told == []


def test_a_loss_is_told_and_counted_with_its_reason():
    one = scene()
    one.switch.replies = {"uuid_record": NO_MEDIA}
    one.phone_calls("a", "1000").answer_unarmed("a")
    assert one.rows.told == [(one.row()["id"], "failed")] and one.row()["state_reason"] == "no media"
    assert one.meter.registry.get_sample_value("kazoo_rec_recording_losses_total", {
        "loss": "failed", "reason": "no_media"}) == 1
