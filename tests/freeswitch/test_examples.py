"""Each of the example callflows on a real switch: what its comment promises, in what is heard and in what is kept.

The caller is a customer at the carrier, 270 Hz; Alice of the examples is 1000, 930 Hz, and Bob 1001, 610 Hz.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from pytest import approx

from tests.freeswitch.product import until
from tests.freeswitch.sound import mp3_length_ms
from tests.freeswitch.talk import LATE_MS, LENGTH_MS, talk

EXAMPLES = Path("callflows")
CUSTOMER, ALICE, BOB = 270, 930, 610
BEEP = 1000

#: What the lab's dialplan plays behind a callflow.
DIALPLAN = 880

#: An MP3 is longer than its recording: the encoder's delay, and its last frame filled up; of 72 ms each at 8 kHz.
PADDING_MS = 4 * 72


@pytest.fixture
def examples(lab):
    """All of them, as they are, but for where the files go and whose phones ring."""
    place, users = lab.receiver.url, {"alice": "usr-acme-1000", "bob": "usr-acme-1001"}
    lab.callflows = {
        file.stem: yaml.safe_load(re.sub(r"\bid: (alice|bob)\b", lambda user: f"id: {users[user[1]]}",
                                         file.read_text().replace("https://files.example", place)))
        for file in EXAMPLES.glob("*.yaml")}
    lab.obey({})
    yield
    lab.callflows = {}


@pytest.fixture
def comes(examples, carrier):
    """The customer dials an example's number."""
    def comes(name):
        return carrier.call(yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["numbers"][0].removeprefix("+"))

    return comes


def hears(heard, *tones):
    """Waits until the last of what is heard is this."""
    until(lambda: tuple(heard().tones()[-len(tones):]) == tones)


def in_part(channel, *tones_hz):
    """Which of these tones there are for a second or longer; the others must not be there at all."""
    lengths_ms = {hz: channel.has_ms(hz) for hz in tones_hz}
    assert not [hz for hz, length_ms in lengths_ms.items() if 0 < length_ms < 800], lengths_ms
    return {hz for hz, length_ms in lengths_ms.items() if length_ms}


def test_sales_is_recorded_from_the_moment_somebody_answers(lab, comes, alice, bob):
    call = comes("sales")
    ringing, called = alice.rings(), bob.rings()
    ringing.ring(0)
    called.ring(1500).answer()
    talk(call, called, 2000)
    ringing.ended()

    (recording,) = lab.finished()
    (mixed,) = recording.channels()
    assert in_part(mixed, CUSTOMER, BOB, ALICE, 440) == {CUSTOMER, BOB}
    assert recording.row["duration_ms"] == approx(called.talk_ms, abs=2 * LENGTH_MS)
    assert 0 <= mp3_length_ms(recording.body) - recording.row["duration_ms"] <= PADDING_MS
    assert recording.path.startswith("/calls/sales/") and recording.path.endswith(".mp3")
    assert recording.row["origin"] == "callflow : sales"


def test_a_card_s_number_is_in_no_file(lab, comes, alice):
    card, prompt = 1010, 500
    call = comes("card-number").answered()
    heard = call.listen()
    hears(heard, prompt)
    call.say(card)
    call.hear(1500)
    call.say(CUSTOMER)
    call.hear(300)
    call.press("5")
    called = alice.rings().ring().answer()
    talk(call, called, 2000)

    before, after = lab.finished()
    assert [one.row["label"] for one in (before, after)] == ["before the card", "after the card"]
    assert before.row["interaction_id"] == after.row["interaction_id"]
    assert before.row["stopped_ms"] + 1500 < after.row["started_ms"]
    (first,), (second,) = before.channels(), after.channels()
    assert first.has_ms(CUSTOMER) >= 600 and first.has_ms(800) >= 600 and not first.has_ms(ALICE)
    assert second.has_ms(CUSTOMER) >= 1900 and second.has_ms(ALICE) >= 1900 and not second.has_ms(800)
    for channel in (first, second):
        assert channel.has_ms(card) == channel.has_ms(prompt) == 0
    assert all(one.path.startswith("/calls/payments/") for one in (before, after))


def test_who_was_told_is_recorded_from_the_end_of_the_announcement_on(lab, comes, alice):
    call = comes("announced")
    called = alice.rings().ring().answer()
    by_both = call.answered().listen(), called.listen()
    lab.until_rows(lambda row: row["state"] == "recording")
    talk(call, called, 2000)
    for heard, other in zip(by_both, (ALICE, CUSTOMER), strict=True):
        assert 500 <= heard().has_ms(700) <= 800 and heard().tones()[-1] == other  # once

    (recording,) = lab.finished()
    (mixed,) = recording.channels()
    assert in_part(mixed, CUSTOMER, ALICE, 700) == {CUSTOMER, ALICE}
    (told,) = [span for span in recording.row["spans"] if span["kind"] == "announced"]
    # seen both ways: to both at once, or to one after the other
    assert 600 - LENGTH_MS <= told["to_ms"] - told["from_ms"] <= 2 * 600 + 2 * LATE_MS
    assert 0 <= recording.row["started_ms"] - told["to_ms"] <= LATE_MS
    assert recording.row["duration_ms"] == approx(2000, abs=2 * LATE_MS)


@pytest.mark.parametrize("who", ["customer", "alice"])
@pytest.mark.parametrize("when", ["armed", "recording"])
def test_of_who_declines_nothing_is_left(lab, comes, alice, who, when):
    call = comes("announced")
    called = alice.rings().ring().answer()
    heard = call.answered().listen()
    if when == "armed":
        hears(heard, 700)
    lab.until_rows(lambda row: row["state"] == when)
    {"customer": call, "alice": called}[who].press("9")
    lab.until_rows(lambda row: row["state"] == "discarded")
    talk(call, called, 1000)
    (recording,) = lab.finished()  # which sees that there is no file, and nothing sent
    assert (recording.state, recording.row["state_reason"]) == ("discarded", "declined")


class TestVoicemail:
    def leaves_a_message(self, lab, comes, alice, refuses=True):
        call = comes("voicemail")
        ringing = alice.rings()
        if refuses:
            ringing.reject(486, "Busy Here")
        else:
            ringing.ring(11_000)
        heard = call.answered().listen()
        until(lambda: [row["state"] for row in lab.rows()] == ["recording"])
        return call, heard

    def is_the_message(self, recording, duration_ms):
        assert recording.state == "recorded" and recording.row["rule"] == "record_caller"
        assert recording.row["duration_ms"] == approx(duration_ms, abs=2 * LATE_MS)
        assert 0 <= mp3_length_ms(recording.body) - recording.row["duration_ms"] <= PADDING_MS
        (caller,) = recording.channels()
        assert in_part(caller, CUSTOMER, ALICE, 600, BEEP, 900, DIALPLAN) == {CUSTOMER}
        assert recording.path.startswith("/calls/messages/") and recording.path.endswith(".mp3")

    def test_a_key_ends_the_message(self, lab, comes, alice):
        call, heard = self.leaves_a_message(lab, comes, alice)
        call.hear(1500)
        call.press("0")
        call.ended()
        assert heard().tones()[:2] == [600, BEEP] and heard().has_ms(900) and DIALPLAN not in heard().tones()
        (recording,) = lab.finished()
        self.is_the_message(recording, 1500)

    def test_who_hangs_up_has_left_a_message(self, lab, comes, alice):
        call, _ = self.leaves_a_message(lab, comes, alice)
        call.hear(1500)
        call.hang_up()
        (recording,) = lab.finished()
        self.is_the_message(recording, 1500)

    def test_it_is_left_too_where_nobody_answers(self, lab, comes, alice):
        call, _ = self.leaves_a_message(lab, comes, alice, refuses=False)
        call.hear(1200)
        call.hang_up()
        (recording,) = lab.finished()
        self.is_the_message(recording, 1200)

    @pytest.mark.parametrize(("comes_back", "ends"), [
        ("during the message", "by a key"), ("during the message", "with the call"), ("after it", "by a key"),
        ("after the call", "by a key"), ("after the call", "with the call")])
    def test_an_engine_that_is_killed_costs_neither_the_call_nor_the_message(
            self, lab, comes, kill, alice, comes_back, ends):
        call, heard = self.leaves_a_message(lab, comes, alice)
        begun = len(heard().samples)
        call.hear(1000)
        kill()
        call.hear(500)
        if comes_back == "during the message":
            lab.run()
        call.hear(500)
        message_ms = (len(heard().samples) - begun) / 8
        if ends == "by a key":
            call.press("0")
            hears(heard, DIALPLAN)
        else:
            call.hang_up()
        if comes_back == "after it":
            lab.run()
        call.ended()
        assert heard().tones() == [600, BEEP, *([DIALPLAN] if ends == "by a key" else [])]
        if comes_back == "after the call":
            lab.run()
        (recording,) = lab.finished()
        self.is_the_message(recording, message_ms)


def test_of_the_customer_nothing_is_in_a_file_for_training(lab, comes, bob):
    call = comes("agent-only")
    called = bob.rings().ring().answer()
    talk(call, called, 2000)
    (recording,) = lab.finished()
    (agent,) = recording.channels()
    assert in_part(agent, BOB, CUSTOMER) == {BOB}
    assert recording.row["duration_ms"] == approx(called.talk_ms, abs=2 * LENGTH_MS)
    assert recording.path.startswith("/calls/training/")


def test_a_conference_is_recorded_as_a_whole_and_each_who_takes_part(lab, comes, switch, alice):
    first = comes("conference").answered()
    first.hear(1200)
    second = alice.call("15550002006").answered()
    until(lambda: "2 members" in switch.api("conference list"))
    second.hear(1500)
    first.hang_up()
    second.hear(1200)
    second.hang_up()

    found = {(one.row["leg"], one.row["device_id"]): one for one in lab.finished()}
    room, customer, own = (found.pop(whose) for whose in (("room", None), ("A", None), ("A", "dev-acme-1000")))
    assert not found and {one.state for one in (room, customer, own)} == {"recorded"}
    assert room.row["interaction_id"] == customer.row["interaction_id"] == own.row["interaction_id"]
    for recording, tones in ((room, {CUSTOMER, ALICE}), (customer, {CUSTOMER}), (own, {ALICE})):
        (channel,) = recording.channels()
        assert in_part(channel, CUSTOMER, ALICE) == tones
        assert recording.path.startswith("/calls/meetings/")
    (whole,) = room.channels()
    assert room.row["duration_ms"] > customer.row["duration_ms"] + 900  # it outlives who was there first
    told = [hz for hz in whole.tones() if hz]  # 0 is the room's own noise
    assert (told[0], told[-1]) == (CUSTOMER, ALICE)


@pytest.mark.parametrize(("key", "recorded"), [("1", True), ("2", False)])
def test_reception_records_for_sales_and_not_for_the_works_council(lab, comes, alice, bob, key, recorded):
    call = comes("reception").answered()
    hears(call.listen(), 450)
    call.press(key)
    called = (alice if recorded else bob).rings().ring().answer()
    talk(call, called, 1500)
    found = lab.finished()
    if recorded:
        (mixed,) = found[0].channels()
        assert in_part(mixed, CUSTOMER, ALICE, 450) == {CUSTOMER, ALICE}
    assert [one.row["label"] for one in found] == ["reception"] * recorded


@pytest.mark.parametrize(("talk_ms", "state"), [(2000, "discarded"), (5500, "recorded")])
def test_what_goes_out_is_kept_from_five_seconds_on(lab, examples, alice, carrier, talk_ms, state):
    call = alice.call("9442079460123")
    called = carrier.rings().ring(800).answer()
    assert called.number == "442079460123"
    talk(call, called, talk_ms)
    (recording,) = lab.finished()
    assert (recording.state, recording.row["label"]) == (state, "outbound")
    assert recording.row["to_uri"].startswith("9442079460123")
    if state == "recorded":
        said, heard = recording.channels()
        assert (said.tones(), heard.tones()) == ([ALICE], [CUSTOMER])
        assert recording.row["duration_ms"] == approx(call.talk_ms, abs=2 * LENGTH_MS)
        assert recording.path.startswith("/calls/outbound/")
    else:
        assert "too short" in recording.row["state_reason"]


def test_one_call_has_two_files_each_in_its_place(lab, comes, alice):
    call = comes("two-copies")
    called = alice.rings().ring().answer()
    talk(call, called, 2000)
    both = {one.row["label"]: one for one in lab.finished()}
    listening, archive = both["listening"], both["archive"]
    (mixed,) = listening.channels()
    assert in_part(mixed, CUSTOMER, ALICE) == {CUSTOMER, ALICE}
    said, heard = archive.channels()
    assert (said.tones(), heard.tones()) == ([CUSTOMER], [ALICE])
    assert listening.path.startswith("/calls/listening/") and listening.path.endswith(".mp3")
    assert archive.path == "/calls/archive/archive.wav"
    for recording in (listening, archive):
        assert recording.row["duration_ms"] == approx(call.talk_ms, abs=2 * LENGTH_MS)


def test_a_letter_is_heard_again_and_each_attempt_delivered(lab, comes):
    another, menu, kept = 430, 500, 900
    call = comes("dictation").answered()
    heard = call.listen()
    for attempt, tone, choice in ((1, CUSTOMER, "2"), (2, another, "1")):
        until(lambda: [row["state"] for row in lab.rows()][attempt - 1:] == ["recording"])  # noqa: B023
        call.say(tone)
        call.hear(1500)
        call.press("#")
        hears(heard, tone, menu)
        call.press(choice)
    call.ended()
    assert heard().tones()[:6] == [BEEP, CUSTOMER, menu, BEEP, another, menu] and heard().has_ms(kept)
    first, second = lab.finished()
    (once,), (again,) = first.channels(), second.channels()
    assert in_part(once, CUSTOMER, another, BEEP, menu) == {CUSTOMER}
    assert again.has_ms(another) >= 1400 and again.has_ms(BEEP) == again.has_ms(menu) == 0
    assert all(one.path.startswith("/calls/letters/") for one in (first, second))


def test_every_example_is_here():
    told = Path(__file__).read_text()
    assert not [file.stem for file in EXAMPLES.glob("*.yaml")
                if f'comes("{file.stem}")' not in told and file.stem != "outbound"]


@pytest.mark.skipif(shutil.which("sipp") is None, reason="there is no sipp (Debian: sip-tester)")
@pytest.mark.parametrize(("name", "talk_ms", "kept"), [
    ("sales", 3000, ["sales"]), ("card-number", 13_000, ["after the card", "before the card"]),
    ("announced", 4000, ["announced"]), ("voicemail", 15_000, ["Message for Alice"]), ("agent-only", 3000, ["agent"]),
    ("conference", 3000, ["weekly", "weekly"]), ("reception", 16_000, []),
    ("two-copies", 3000, ["archive", "listening"]), ("dictation", 4000, ["Dictation"])])
def test_sipp_calls_it(lab, examples, alice, bob, name, talk_ms, kept):
    number = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["numbers"][0].removeprefix("+")
    called = {"sales": bob, "agent-only": bob}.get(name, alice)
    answers = name not in ("voicemail", "conference", "reception", "dictation")
    caller = subprocess.Popen(
        ["sipp", "-sn", "uac", "127.0.0.1:5080", "-s", number, "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", "5096",
         "-m", "1", "-d", str(talk_ms), "-timeout", "40", "-rtp_echo", "-nostdin"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if answers:
            called.rings(within_s=20).ring().answer()
        caller.wait(timeout=45)
    finally:
        caller.kill()
        caller.wait()
    assert sorted(one.row["label"] for one in lab.finished()) == kept
