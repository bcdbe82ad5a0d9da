"""Each of the example callflows, from the dialplan's socket to the delivered file."""

import io
import json
import wave
from pathlib import Path

import gevent
import numpy as np
import pytest
import yaml
from gevent.socket import socket

from kazoo_rec.simulator.script import Script
from tests.test_whole_way import ALICE, BOB, CAROL, CARRIER, Site, heard, phone

EXAMPLES = Path("callflows")
FRAME_MS = 20


class Flows(Site):
    """A site whose dialplan hands every call to the engine; its callflows deliver to its own receiver."""

    def begin(self):
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        place = self.place / "documents" / "acme"
        (place / "callflows").mkdir(parents=True)
        account = {"realm": "acme.example", "country": "US"}
        documents = {"account": account, **{f"users/{user}": {} for user in ("alice", "bob", "carol")}, **{
            f"devices/{user}": {"owner_id": user, "sip": {"username": number}}
            for user, number in (("alice", "1000"), ("bob", "1001"), ("carol", "1002"))}}
        for name, document in documents.items():
            file = place / f"{name}.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(document))
        for file in EXAMPLES.glob("*.yaml"):
            text = file.read_text().replace("https://files.example", self.receiver.url)
            (place / "callflows" / file.name).write_text(text)
        return self.run(callflow={"port": self.port})

    def finished(self, count):
        """All rows there are, once they are so many and final."""
        with gevent.Timeout(20):
            while True:
                rows = self.store.recordings.list()
                if len(rows) == count and all(row["state"] in ("recorded", "discarded", "failed") for row in rows):
                    return rows
                gevent.idle()

    def ask(self, number, *called, caller=CAROL, sets=()):
        """Plays one call to a number that a callflow has; its recordings, finished, the oldest first."""
        rows = self.play(caller, *called, dials=number, dialplan=(
            *sets, "set socket_resume=true", f"socket 127.0.0.1:{self.port} async full", "hangup UNALLOCATED_NUMBER"))
        return sorted(rows, key=lambda row: row["created_ms"])


@pytest.fixture
def flows(tmp_path, monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.recovery.NEWS_WITHIN_S", 0.5)
    installed = Flows(tmp_path)
    yield installed.begin()
    installed.stop()


def number_of(name):
    return yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["numbers"][0]


def samples(wav):
    with wave.open(io.BytesIO(wav)) as file:
        return file.getnchannels(), file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")


def strongest_hz(wav):
    channels, rate, sound = samples(wav)
    assert channels == 1
    spectrum = np.abs(np.fft.rfft(sound))
    return round(int(spectrum.argmax()) * rate / len(sound))


def test_sales(flows):
    row, = flows.ask(number_of("sales"), phone(ALICE, answers=0.4, hangs_up=1.6), phone(BOB, answers=None))
    assert (row["origin"], row["label"], row["state"]) == ("callflow : sales", "sales", "recorded")
    assert row["settings"]["time_limit"] == 3600 and flows.arrived(row)[0] == 0xFF


def test_card_number(flows):
    before, after = flows.ask(number_of("card-number"), phone(ALICE, answers=0.2, hangs_up=1.5),
                              caller=phone(CAROL, presses={2.0: "#"}))
    assert [row["label"] for row in (before, after)] == ["before the card", "after the card"]
    assert before["interaction_id"] == after["interaction_id"] and before["stopped_ms"] < after["started_ms"]
    assert 500 not in [strongest_hz(flows.arrived(row)) for row in (before, after)]


def test_announced(flows):
    row, = flows.ask(number_of("announced"), phone(ALICE, answers=0.2, hangs_up=2.0))
    announced = row["spans"][0]
    assert announced["kind"] == "announced" and announced["to_ms"] - announced["from_ms"] >= 580
    assert row["state"] == "recorded" and row["started_ms"] >= announced["to_ms"] and flows.arrived(row)


def test_announced_and_declined(flows):
    row, = flows.ask(number_of("announced"), phone(ALICE, answers=0.2, hangs_up=2.5),
                     caller=phone(CAROL, presses={1.8: "9"}))
    assert row["state"] == "discarded" and "declined" in row["state_reason"]
    assert not flows.receiver.files and not list(flows.place.glob("recordings/**/*.wav"))


def test_voicemail(flows):
    row, = flows.ask(number_of("voicemail"), phone(ALICE, answers=0.2, refuses="USER_BUSY"),
                     caller=phone(CAROL, presses={2.6: "#"}, hangs_up=3.5))
    assert (row["rule"], row["state"], row["content_type"]) == ("record_caller", "recorded", "audio/mpeg")
    assert 1000 < row["duration_ms"] < 2600 and flows.arrived(row)[0] == 0xFF


def test_voicemail_that_ends_with_the_call(flows):
    row, = flows.ask(number_of("voicemail"), phone(ALICE, answers=0.2, refuses="USER_BUSY"),
                     caller=phone(CAROL, hangs_up=2.5))
    assert row["state"] == "recorded" and flows.arrived(row)


def test_agent_only(flows):
    row, = flows.ask(number_of("agent-only"), phone(BOB, answers=0.2, hangs_up=1.4))
    assert row["channels"] == 1
    wav_of = flows.arrived({**row})
    assert wav_of[0] == 0xFF and row["settings"]["track"] == "outbound"


def test_conference(flows):
    dialplan = ("set socket_resume=true", f"socket 127.0.0.1:{flows.port} async full", "hangup UNALLOCATED_NUMBER")
    number = number_of("conference")
    first, second = (
        flows.simulator.play(Script(phone(who, hangs_up=leaves), dials=number, dialplan=dialplan, at=begins))
        for who, begins, leaves in ((ALICE, 0.0, 1.5), (BOB, 0.3, 2.5)))
    assert first.wait(20) and second.wait(20)
    rows = flows.finished(3)
    assert sorted(row["leg"] for row in rows) == ["A", "A", "room"]
    assert len({row["interaction_id"] for row in rows}) == 1 and {row["state"] for row in rows} == {"recorded"}
    room = next(row for row in rows if row["leg"] == "room")
    alone = next(row for row in rows if row["call_id"] == first.legs[0].uuid)
    assert room["duration_ms"] > alone["duration_ms"] + 500  # it outlives who was there first
    assert all(flows.arrived(row) for row in rows)


def test_reception(flows):
    callees = phone(ALICE, answers=0.2, hangs_up=1.2), phone(BOB, answers=0.2, hangs_up=1.2)
    row, = flows.ask(number_of("reception"), *callees, caller=phone(CAROL, presses={0.3: "1"}))
    assert (row["label"], row["state"]) == ("reception", "recorded") and flows.arrived(row)
    assert flows.ask(number_of("reception"), *callees, caller=phone(CAROL, presses={0.3: "2"})) == []


def test_outbound(flows):
    row, = flows.ask(f"9{CARRIER.user}", phone(CARRIER, answers=0.3), caller=phone(ALICE, hangs_up=1.5),
                     sets=["set kazoo_rec_gateway=carrier"])
    assert row["settings"]["channels"] == "dual" and row["settings"]["record_on_bridge"] is True
    assert (row["state"], row["label"]) == ("discarded", "outbound") and "too short" in row["state_reason"]
    assert row["to_uri"].startswith(f"9{CARRIER.user}")


def test_two_copies(flows):
    rows = flows.ask(number_of("two-copies"), phone(ALICE, answers=0.3, hangs_up=1.4))
    archive, listening = sorted(rows, key=lambda row: row["label"])  # both may be of one millisecond
    assert flows.arrived(listening)[0] == 0xFF
    assert heard(flows.arrived(archive)) == [{CAROL.says}, {ALICE.says}]
    assert [file.file for file in flows.receiver.files if file.recording_id == archive["id"]] == ["archive.wav"]


def test_dictation(flows):
    first, second = flows.ask(number_of("dictation"), caller=phone(
        CAROL, presses={1.5: "#", 3.6: "2", 6.0: "#", 8.0: "1"}, hangs_up=10.0))
    assert {first["rule"], second["rule"]} == {"record_caller"}
    assert [strongest_hz(flows.arrived(row)) for row in (first, second)] == [CAROL.says] * 2


def test_every_example_has_its_test():
    tests = [name for name in globals() if name.startswith("test_")]
    assert not [file.stem for file in EXAMPLES.glob("*.yaml")
                if not any(name.startswith(f"test_{file.stem.replace('-', '_')}") for name in tests)]
