"""Calls that the engine has not heard begin: it came later, or its connection was gone."""

import signal

import pytest
from pytest import approx

from tests.freeswitch.product import until
from tests.freeswitch.talk import LATE_MS, LENGTH_MS, assert_whole, states, talk

BOTH = ("acme caller.outbound A 1000", "acme callee.inbound B 1001")


@pytest.fixture
def engine(apart, lab):
    lab.obey({})
    apart.obey({"acme/account": {"endpoint": {"any": {"onnet": apart.record()}}}})
    return apart


def assert_from_midcall_on(recording, call, says, hears):
    """What is missing of the talk is what the row says, and no more."""
    (gap,) = recording.row["spans"]
    missed_ms = gap["to_ms"] - gap["from_ms"]
    assert gap["kind"] == "gap" and missed_ms > 0
    assert recording.row["partial"]
    said = f"{missed_ms / 1000:.1f} s before it were missed: the engine was not connected"
    assert recording.row["state_reason"] == said
    wav = recording.wav()
    assert wav.length_ms == approx(call.talk_ms - missed_ms, abs=LENGTH_MS)
    assert (wav.left.tones(), wav.right.tones()) == (says, hears)


def test_an_engine_that_comes_in_mid_call_records_the_rest(engine, alice, bob):
    engine.halt()
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().hear(1000)
    engine.run()
    engine.until_rows(lambda row: row["state"] == "recording")
    talk(call, called, duration_ms=1000)

    found = engine.recordings()
    assert states(found) == dict.fromkeys(BOTH, "recorded")
    assert_from_midcall_on(found[BOTH[0]], call, says=[930], hears=[610])
    assert_from_midcall_on(found[BOTH[1]], called, says=[610], hears=[930])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_recording_goes_on_while_its_engine_is_restarted(engine, alice, bob, how):
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered()
    engine.until_rows(lambda row: row["state"] == "recording")
    engine.halt(how)
    call.hear(500)
    since = engine.log_size()
    engine.run()
    engine.until_logged("recording taken up again", since)
    talk(call, called, duration_ms=500)

    found = engine.recordings()
    assert states(found) == dict.fromkeys(BOTH, "recorded")
    assert_whole(found[BOTH[0]], call.talk_ms, says=[930], hears=[610], longer_ms=LATE_MS)
    assert_whole(found[BOTH[1]], called.talk_ms, says=[610], hears=[930], longer_ms=LATE_MS)


@pytest.mark.parametrize("begun", ["armed", "by command"])
def test_a_recording_whose_row_died_with_its_engine_goes_on_under_its_id(engine, alice, bob, begun):
    if begun == "by command":
        engine.halt()
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered()
    if begun == "by command":
        call.hear(700)
        engine.run()
    engine.until_rows(lambda row: row["state"] == "recording")
    before = {row["call_id"]: row for row in engine.rows()}
    call.hear(500)
    engine.halt(signal.SIGKILL)
    engine.lose_rows(row["id"] for row in before.values())
    since = engine.log_size()
    engine.run()
    engine.until_logged("a recording of which no row told is taken up", since)
    engine.until_rows(lambda row: row["state"] == "recording")
    talk(call, called, duration_ms=500)

    found = engine.recordings()
    assert states(found) == dict.fromkeys(BOTH, "recorded")
    for whose, phone, says, hears in ((BOTH[0], call, [930], [610]), (BOTH[1], called, [610], [930])):
        row, recording = before[found[whose].row["call_id"]], found[whose]
        assert recording.row["id"] == row["id"] and abs(recording.row["started_ms"] - row["started_ms"]) < 100
        assert recording.wav().length_ms == approx(phone.talk_ms - sum(
            span["to_ms"] - span["from_ms"] for span in recording.row["spans"]), abs=LATE_MS)
        assert (recording.wav().left.tones(), recording.wav().right.tones()) == (says, hears)
        assert [span["kind"] for span in recording.row["spans"]] == ["gap"] * (begun == "by command")


def test_calls_that_are_answered_while_the_connection_is_cut_are_recorded(engine, wire, alice, bob, carol):
    # This call rings when the wire is cut, and is armed; the other begins and is answered meanwhile.
    call = alice.call("1001")
    called = bob.rings().ring()
    engine.until_rows(lambda row: row["state"] == "armed")
    since = engine.log_size()
    wire.cut()
    engine.until_logged("switch lost", since)
    called.answer()
    call.answered().hear(300)
    other = carol.call("3400")  # to Bob through a loopback channel
    reached = bob.rings().ring().answer()
    other.answered().hear(1500)
    wire.mend()
    engine.until_logged("switch connected", since)
    until(lambda: len(engine.rows()) == 4 and all(row["state"] == "recording" for row in engine.rows()))
    other.hear(700)
    other.hang_up()
    reached.ended()
    talk(call, called, duration_ms=100)

    until(lambda: all(row["state"] == "recorded" for row in engine.rows()))
    rows = {(row["rule"], row["device_id"], bool(row["partial"])): row for row in engine.rows()}
    assert set(rows) == {("caller.outbound", "dev-acme-1000", False), ("callee.inbound", "dev-acme-1001", False),
                         ("caller.outbound", "dev-acme-1002", True), ("callee.inbound", "dev-acme-1001", True)}
    for whose, phone in ((("caller.outbound", "dev-acme-1000", False), call),
                         (("callee.inbound", "dev-acme-1001", False), called)):
        assert rows[whose]["duration_ms"] == approx(phone.talk_ms, abs=LENGTH_MS)
    for whose, phone in ((("caller.outbound", "dev-acme-1002", True), other),
                         (("callee.inbound", "dev-acme-1001", True), reached)):
        (gap,) = rows[whose]["spans"]
        assert rows[whose]["duration_ms"] + gap["to_ms"] - gap["from_ms"] == approx(phone.talk_ms, abs=LENGTH_MS)
