"""Conferences on the lab's switch: the room, its members, who leaves, who is muted, and an engine that comes back."""

import json
import wave

import numpy as np
import pytest
from pytest import approx

from kazoo_rec.config import load
from kazoo_rec.documents import files
from kazoo_rec.errors import NotConnected
from kazoo_rec.roles.delivery import Delivery
from kazoo_rec.roles.engine import Engine
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from tests.freeswitch.product import until
from tests.freeswitch.sound import Channel

ROOM, ALICE, BOB, CAROL = "3500-acme.example", 930, 610, 730

PART_MS = 1500

#: What is said while nothing is to be recorded.
SECRET = 1500

#: How long a room or a leg may go on after a test has seen its event or order, and a file begin after its order.
EDGE_MS = 250


class House:
    """Engine and delivery in this process: orders about rooms have no other way in yet."""

    def __init__(self, directory, switch):
        self._directory, self._switch = directory, switch
        (directory / "recordings").mkdir()
        account = directory / "documents" / "acme" / "account.json"
        account.parent.mkdir(parents=True)
        account.write_text(json.dumps({"realm": "acme.example"}))
        (directory / "kazoo_rec.yaml").write_text(json.dumps({
            "node": "lab", "database": f"sqlite:///{directory}/kazoo_rec.db", "documents": "documents",
            "recordings_dir": str(directory / "recordings"), "delivery": {"allow_networks": ["127.0.0.0/8"]},
            "switches": [{"host": switch.host, "port": switch.port, "password": switch.password}]}))
        self._config = load(directory / "kazoo_rec.yaml")
        migrate(self._config.database)
        self._store = Store(self._config.database)
        self._store.documents.take_files(files.read(self._config.documents)).get()
        self._delivery = Delivery(self._config)
        self._delivery.start()
        self.begin()

    def begin(self):
        self._engine = Engine(self._config)
        self._engine.start()
        (self.rooms,) = self._engine.rooms.values()
        until(self._knows)

    def _knows(self):
        try:
            return self.rooms.stop("acme", "nobody", "the lab") is None
        except NotConnected:
            return False

    def halt(self):
        self._engine.stop()

    def close(self):
        self.halt()
        self._delivery.stop()
        self._store.close()

    def record(self, what, **settings):
        return self.rooms.record("acme", ROOM, what, {"format": "wav", "channels": "dual", **settings}, "the lab")

    def recordings(self):
        """Waits for the end; {"room" or user: (row, its channels)}."""
        until(lambda: not self._switch.sessions)
        until(lambda: all(row["state"] in ("recorded", "discarded", "failed") for row in self._store.recordings.list()))
        found = {}
        for row in self._store.recordings.list():
            whose = "room" if row["leg"] == "room" else row["caller_id_number"]
            assert whose not in found
            found[whose] = row, row["state"] == "recorded" and self._channels(row)
        return found

    def _channels(self, row):
        with wave.open(str(self._directory / "recordings" / row["file"])) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
            return [Channel(channel, file.getframerate()) for channel in samples.T]


@pytest.fixture
def house(tmp_path, switch):
    house = House(tmp_path, switch)
    yield house
    house.close()


def tones(channel, first_ms, last_ms):
    """All that is heard from one ms to another."""
    cut = channel.samples[first_ms * channel.rate_hz // 1000:last_ms * channel.rate_hz // 1000].astype(float)
    level = np.abs(np.fft.rfft(cut)) / len(cut)
    hertz = np.fft.rfftfreq(len(cut), 1 / channel.rate_hz)
    return {hz for hz in (ALICE, BOB, CAROL) if level[np.abs(hertz - hz) < 8].max() > 300}


def come_in(*phones):
    calls = [phone.call("3500") for phone in phones]
    for call in calls:
        call.answered()
    return calls


def test_a_room_is_recorded_from_its_middle_on_and_its_first_recorder_s_leaving_does_not_end_it(
        house, switch, alice, bob, carol):
    first, second = come_in(alice, bob)
    first.hear(PART_MS)
    told = house.record("both")
    assert [one["what"] for one in told] == ["room", "member", "member"]
    first.hear(PART_MS)
    first.hang_up()
    (third,) = come_in(carol)
    third.hear(PART_MS)
    second.hang_up()
    third.hang_up()

    found = house.recordings()
    assert set(found) == {"room", "1000", "1001", "1002"}
    row, (room,) = found["room"]
    assert (row["state"], row["partial"]) == ("recorded", False)
    assert row["duration_ms"] == approx(row["expected_ms"], abs=60)
    assert row["duration_ms"] >= 2 * PART_MS
    assert tones(room, EDGE_MS, PART_MS - EDGE_MS) == {ALICE, BOB}
    assert tones(room, row["duration_ms"] - PART_MS + EDGE_MS, row["duration_ms"] - EDGE_MS) == {BOB, CAROL}
    for number, hz in (("1000", ALICE), ("1001", BOB), ("1002", CAROL)):
        row, (own,) = found[number]
        assert row["interaction_id"] == found["room"][0]["call_id"] and not row["partial"]
        assert tones(own, EDGE_MS, row["duration_ms"] - EDGE_MS) == {hz}


def test_who_is_muted_is_silent_in_its_own_file_and_a_pause_is_cut_out_of_both(house, switch, alice, bob):
    house.record("both")
    first, second = come_in(alice, bob)
    first.hear(PART_MS)
    switch.api(f"conference {ROOM} mute {member(switch, '1001')}")
    first.hear(PART_MS)
    switch.api(f"conference {ROOM} unmute {member(switch, '1001')}")
    first.hear(PART_MS)
    assert {one["state"] for one in house.rooms.change("acme", ROOM, "pause", "the lab")} == {"paused"}
    first.hear(PART_MS)
    assert {one["state"] for one in house.rooms.change("acme", ROOM, "resume", "the lab")} == {"recording"}
    first.hear(PART_MS)
    told = house.rooms.stop("acme", ROOM, "the lab")
    assert {one["state"] for one in told} == {"stopped"} and len(told) == 3
    first.hang_up()
    second.hang_up()

    found = house.recordings()
    row, (own,) = found["1001"]
    mute, pause = row["spans"]
    assert (mute["kind"], mute["by"], pause["kind"]) == ("mask", "mute", "pause")
    from_ms, to_ms = (mute[name] - row["started_ms"] for name in ("from_ms", "to_ms"))
    assert tones(own, EDGE_MS, from_ms - EDGE_MS) == tones(own, to_ms + EDGE_MS, to_ms + PART_MS - EDGE_MS) == {BOB}
    assert not own.samples[(from_ms + EDGE_MS) * 8:(to_ms - EDGE_MS) * 8].any()
    for row, _ in found.values():
        assert row["duration_ms"] == approx(row["expected_ms"], abs=100) and not row["partial"]
    assert [span["kind"] for span in found["room"][0]["spans"]] == ["pause"]


def test_nothing_that_is_said_during_a_pause_is_in_a_file_and_an_engine_that_comes_back_keeps_it(
        house, switch, alice, bob):
    house.record("both")
    first, second = come_in(alice, bob)
    first.hear(PART_MS)
    assert {one["state"] for one in house.rooms.change("acme", ROOM, "pause", "the lab")} == {"paused"}
    for one in (first, second):
        one.say(SECRET)
    first.hear(PART_MS)
    house.halt()
    first.hear(PART_MS)
    house.begin()
    first.hear(PART_MS)
    for one in (first, second):
        one.say(one.tone_hz)
    first.hear(EDGE_MS)
    assert {one["state"] for one in house.rooms.change("acme", ROOM, "resume", "the lab")} == {"recording"}
    first.hear(PART_MS)
    first.hang_up()
    second.hang_up()

    found = house.recordings()
    assert set(found) == {"room", "1000", "1001"}
    for row, (channel, *_) in found.values():
        assert channel.level(SECRET) == 0
        (pause,) = row["spans"]
        assert pause["kind"] == "pause" and pause["to_ms"] - pause["from_ms"] >= 3 * PART_MS
        assert row["duration_ms"] == approx(row["expected_ms"], abs=EDGE_MS) and not row["partial"]


def test_an_engine_that_comes_back_finds_the_room_s_recording(house, switch, alice, bob):
    house.record("both")
    first, second = come_in(alice, bob)
    first.hear(PART_MS)
    house.halt()
    first.hear(PART_MS)
    house.begin()
    first.hear(PART_MS)
    first.hang_up()
    second.hang_up()

    found = house.recordings()
    assert set(found) == {"room", "1000", "1001"}
    for row, _ in found.values():
        assert (row["state"], row["partial"]) == ("recorded", False)
        assert row["duration_ms"] >= 3 * PART_MS - EDGE_MS
        assert row["duration_ms"] == approx(row["expected_ms"], abs=100)


def test_a_room_whose_end_nobody_heard_is_delivered_by_its_file(house, switch, alice):
    house.record("room")
    (call,) = come_in(alice)
    call.hear(PART_MS)
    house.halt()
    call.hang_up()
    until(lambda: not switch.sessions)
    house.begin()
    row, _ = house.recordings()["room"]
    assert row["state"] == "recorded" and row["duration_ms"] >= PART_MS - EDGE_MS


def member(switch, number):
    """Its id in the room."""
    members = json.loads(switch.api(f"conference {ROOM} json_list"))[0]["members"]
    return next(one["id"] for one in members if one.get("caller_id_number") == number)
