"""The numbers of one switch's engine."""

import pytest

from kazoo_rec.calls.meter import Meter
from kazoo_rec.errors import CommandTimeout

from .fakes import Scene

EVERYTHING = {"account": {"any": {"any": {"enabled": True}}}}


def scene(**call_recording):
    return Scene([("account", "acme", "acme", {"realm": "acme.example", "call_recording": call_recording})])


def value(meter, name, **labels):
    return meter.registry.get_sample_value(f"kazoo_rec_{name}", labels)


def test_a_start_is_timed_from_the_answer_and_each_state_is_counted():
    one = scene(**EVERYTHING)
    one.phone_calls("a", "1000").answer("a", start=False).after(40)
    one.record_start("a", one.row()["id"], f"/rec/{one.row()['master']}").after(500).hang_up("a")
    assert value(one.meter, "start_latency_seconds_sum") == pytest.approx(0.04)
    assert [value(one.meter, "recording_states_total", state=state) for state in ("recording", "stopped")] == [1, 1]


def test_what_is_wanted_only_after_the_answer_has_no_start_latency():
    one = scene(endpoint={"outbound": {"offnet": {"enabled": True}}})
    one.phone_calls("a", "1000").answer("a").after(3_000)
    one.rings_carrier("b", "a").record_start("a", one.row()["id"], f"/rec/{one.row()['master']}")
    assert one.row()["state"] == "recording" and value(one.meter, "start_latency_seconds_count") == 0


def test_legs_make_up_calls():
    one = scene().phone_calls("a", "1000").rings("b", "a", "1001").phone_calls("c", "1002")
    assert (len(one.tracker), one.tracker.calls) == (3, 2)


def test_a_command_is_timed_whether_it_is_answered_or_not():
    meter, asked = Meter(), []

    def ask(command, timeout_s):
        asked.append((command, timeout_s))
        if command == "silence":
            raise CommandTimeout("no answer")
        return "+OK"

    send = meter.timed(ask)
    assert send("x", 2.0) == "+OK" and asked == [("x", 2.0)]
    with pytest.raises(CommandTimeout):
        send("silence", 1.0)
    assert value(meter, "command_seconds_count") == 2


def test_what_was_given_up_is_counted_by_its_urgency():
    meter = Meter()
    meter.gave_up({"start": 2, "books": 0})
    meter.gave_up({"start": 5, "books": 1})
    assert [value(meter, "commands_given_up_total", urgency=name) for name in ("start", "books")] == [5, 1]
