"""A beep now and then."""

from kazoo_rec.errors import CommandFailed

from .fakes import CODEC, Scene


def scene(every_s=15, **settings):
    return Scene([("account", "acme", "acme", {"realm": "acme.example", "call_recording": {
        "account": {"any": {"any": {"enabled": True, "announce": {"beep_every_s": every_s}, **settings}}}}})])


def bridged():
    one = scene().phone_calls("a", "1000").rings("b", "a", "1001").event("CHANNEL_ANSWER", "b", **CODEC)
    return one.answer("a").bridge("a", "b").after(0)


def beeps(one):
    return [command.split()[2] for command in one.switch.of("uuid_displace")]


def test_both_hear_it_each_so_many_seconds_while_it_is_recorded():
    one = bridged().after(14_900)
    assert beeps(one) == []
    one.after(100)
    assert beeps(one) == ["a", "b"]
    one.after(14_900)
    assert beeps(one) == ["a", "b"]
    one.after(100)
    assert beeps(one) == ["a", "b"] * 2
    one.hang_up("b").hang_up("a").after(15_000)
    assert beeps(one) == ["a", "b"] * 2


def test_what_is_not_being_recorded_does_not_beep():
    one = scene().phone_calls("a", "1000").answer("a", start=False).after(60_000)
    assert beeps(one) == []
    one = bridged()
    recording, = one.tracker.leg("a").recordings
    one.recorder.silence(recording, "pause")
    one.after(15_000)
    assert beeps(one) == []
    one.recorder.unsilence(recording, "pause", one.epoch_ms)
    one.after(15_000)
    assert beeps(one) == ["a", "b"]


def test_who_is_on_hold_hears_none():
    one = bridged().event("CHANNEL_HOLD", "b").after(15_000)
    assert beeps(one) == ["a"]


def test_a_leg_without_another_hears_it_alone_and_a_refusal_is_no_end():
    one = scene(5).phone_calls("a", "1000")
    one.switch.replies = {"uuid_displace": CommandFailed("refused", "-ERR")}
    one.answer("a").after(5000).after(5000)
    assert beeps(one) == ["a", "a"]
