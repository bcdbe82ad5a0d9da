"""FreeSWITCH is killed in mid-call, comes back, and recovers the call (`sofia recover`), or nobody does.

KAZOO_REC_FREESWITCH_PROGRAM=/usr/bin/freeswitch names the program; its ports (conf/README.md) have to be free.
"""

import os
from pathlib import Path

import pytest
from gevent.event import Event
from pytest import approx

from tests.freeswitch.fresh_switch import FreshSwitch
from tests.freeswitch.phone import Phone
from tests.freeswitch.product import FINAL, Product, until
from tests.freeswitch.talk import LENGTH_MS

CONF = Path(__file__).parent / "conf"

#: Milliseconds from a killed switch's last frame to the end of its connections: its memory is given back before.
DYING_MS = 400

#: From a kill to the first frame that is recorded again.
AWAY_S = 20


class LabSwitch(FreshSwitch):
    """On the configuration of the lab."""

    def __init__(self, program: str, directory: Path):
        self._program, self._directory, self.conf, self.event_socket_password = program, directory, CONF, "lab-secret"


@pytest.fixture
def fresh(tmp_path):
    program = os.environ.get("KAZOO_REC_FREESWITCH_PROGRAM")
    if not program:
        pytest.skip("KAZOO_REC_FREESWITCH_PROGRAM names no program")
    switch = LabSwitch(program, tmp_path)
    switch.start()
    yield switch
    switch.stop()


@pytest.fixture
def product(fresh, tmp_path):
    (tmp_path / "product").mkdir()
    product = Product(tmp_path / "product", fresh.connected())
    product.start()
    product.obey({"acme/account": {"endpoint": {"any": {"onnet": product.record()}}}})
    yield product
    product.stop()


@pytest.fixture
def call(product):
    """(Alice's call to Bob, Bob's side of it), recorded for two seconds."""
    alice, bob = (Phone(number, "acme.example", tone_hz) for number, tone_hz in (("1000", 930), ("1001", 610)))
    for phone in (alice, bob):
        phone.register()
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().hear(2000)
    product.until_rows(lambda row: row["state"] == "recording")
    yield call, called
    for phone in (alice, bob):
        phone.close()


def finished(product, count):
    return until(lambda: rows if len(rows := product.rows()) == count and all(
        row["state"] in FINAL for row in rows) else None, within_s=30)


def assert_cut(row):
    assert (row["state"], bool(row["partial"])) == ("recorded", True)
    assert row["state_reason"] == "its end was not heard: the switch was restarted; " \
                                  f"the switch did not close its file: {row['duration_ms']} ms are there"
    assert 0 <= row["expected_ms"] - row["duration_ms"] + LENGTH_MS <= DYING_MS and row["duration_ms"] > 1900


def test_what_a_killed_switch_had_written_is_delivered_as_partial_with_its_true_length(fresh, product, call):
    fresh.kill()
    fresh.start()
    fresh.connected()
    rows = finished(product, 2)
    for row in rows:
        assert_cut(row)
    until(lambda: {row["id"] for row in rows} <= product.receiver.bodies.keys())


def test_calls_that_it_recovers_are_recorded_again_and_say_what_is_missing(fresh, product, call):
    mine, called = call
    since = product.log_size()
    fresh.kill()
    fresh.start()
    switch = fresh.connected()
    product.until_logged("switch connected", since)
    assert "Recovered" in switch.api("sofia recover")
    until(lambda: len([row for row in product.rows() if row["state"] == "recording"]) == 2, within_s=30)
    Event().wait(1.5)
    mine.hang_up()
    called.ended()
    rows = finished(product, 4)
    before, after = ([row for row in rows if any(span["kind"] == "gap" for span in row["spans"]) is is_after]
                     for is_after in (False, True))
    assert len(before) == len(after) == 2
    for row in before:
        assert_cut(row)
    for row in after:
        gap = next(span for span in row["spans"] if span["kind"] == "gap")
        missed_s = (gap["to_ms"] - gap["from_ms"]) / 1000
        assert row["partial"] and 0 < missed_s < AWAY_S
        assert f"{missed_s:.1f} s before it were missed: the switch was restarted" in row["state_reason"]
        assert row["duration_ms"] == approx(row["expected_ms"], abs=LENGTH_MS) and row["duration_ms"] > 1000
