"""Conferences: from an order to the delivered files, through the engine, a simulated switch and the delivery."""

import io
import wave

import gevent
import numpy as np
import pytest

from kazoo_rec.roles.engine import Engine
from kazoo_rec.simulator.script import Script
from tests.test_whole_way import ALICE, ALICE_HZ, BOB, BOB_HZ, CAROL, CARRIER_HZ, Site, phone

ROOM = "3500-acme.example"
CAROL_HZ = CARRIER_HZ


class House(Site):
    @property
    def rooms(self):
        (rooms,) = self.roles[0].rooms.values()
        return rooms

    def record(self, what, **settings):
        return self.rooms.record("acme", ROOM, what, {"format": "wav", "url": self.receiver.url, **settings}, "a test")

    def comes(self, who, **habits):
        return self.simulator.play(Script(phone(who, **habits), dials="3500", dialplan=(f"conference {ROOM}@default",)))

    def finished(self, count):
        """The rows by whose they are, once there are so many and nothing is left to do."""
        with gevent.Timeout(20):
            while True:
                rows = self.store.recordings.list()
                if len(rows) == count and all(row["state"] in ("recorded", "discarded", "failed") for row in rows):
                    return {"room" if row["leg"] == "room" else row["caller_id_number"]: row for row in rows}
                gevent.idle()

    def tones(self, row):
        """What is heard in the delivered file of one channel, or in each of two."""
        with wave.open(io.BytesIO(self.arrived(row))) as file:
            rate, channels = file.getframerate(), file.getnchannels()
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, channels)
        hertz, found = np.fft.rfftfreq(len(samples), 1 / rate), []
        for side in samples.T:
            level = np.abs(np.fft.rfft(side)) / len(side)
            found.append({hz for hz in (ALICE_HZ, BOB_HZ, CAROL_HZ) if level[np.abs(hertz - hz) < 5].max() > 200})
        return found


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.recovery.NEWS_WITHIN_S", 0.5)
    installed = House(tmp_path)
    yield installed
    installed.stop()


def test_a_room_and_its_members_are_delivered_and_the_room_outlives_its_first_member(house):
    house.start()
    assert house.record("both") == []
    calls = [house.comes(ALICE, hangs_up=1.0), house.comes(BOB, hangs_up=2.0), house.comes(CAROL, hangs_up=2.2)]
    for call in calls:
        assert call.wait(20)
    found = house.finished(4)
    assert set(found) == {"room", "1000", "1001", "1002"}
    assert {(row["state"], row["partial"]) for row in found.values()} == {("recorded", False)}
    assert len({row["interaction_id"] for row in found.values()}) == 1
    assert house.tones(found["room"]) == [{ALICE_HZ, BOB_HZ, CAROL_HZ}]
    assert found["room"]["duration_ms"] > 2000 > found["1000"]["duration_ms"]
    for number, hz in (("1000", ALICE_HZ), ("1001", BOB_HZ), ("1002", CAROL_HZ)):
        assert house.tones(found[number]) == [{hz}]


def test_a_member_s_file_has_what_it_says_and_what_it_hears_where_both_are_wanted(house):
    house.start()
    house.record("members", track="both", channels="dual")
    for call in [house.comes(ALICE, hangs_up=1.0), house.comes(BOB, hangs_up=1.0)]:
        assert call.wait(20)
    found = house.finished(2)
    assert house.tones(found["1000"]) == [{ALICE_HZ}, {BOB_HZ}] and house.tones(found["1001"]) == [{BOB_HZ}, {ALICE_HZ}]


def test_an_engine_that_comes_back_ends_what_the_one_before_began(house):
    house.start()
    house.record("both")
    calls = [house.comes(ALICE, hangs_up=4.0), house.comes(BOB, hangs_up=4.0)]
    with gevent.Timeout(20):
        while [row["state"] for row in house.store.recordings.list()] != ["recording"] * 3:
            gevent.idle()
    engine = house.roles.pop(0)
    engine.stop()
    house.roles.insert(0, Engine(engine._config))
    house.roles[0].start()
    for call in calls:
        assert call.wait(20)
    found = house.finished(3)
    assert {(row["state"], row["partial"]) for row in found.values()} == {("recorded", False)}
    assert all(row["duration_ms"] > 3500 for row in found.values())
