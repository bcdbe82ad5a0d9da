"""From an answered call to a delivered file: the engine and the delivery between a simulated switch and a server."""

import io
import json
import wave

import gevent
import numpy as np
import pytest
from falcon.testing import TestClient
from gevent.socket import create_server
from prometheus_client.parser import text_string_to_metric_families

from kazoo_rec.api.app import make_app
from kazoo_rec.config import load
from kazoo_rec.delivery.receiver import Receiver
from kazoo_rec.documents import files
from kazoo_rec.roles.delivery import Delivery
from kazoo_rec.roles.engine import Engine
from kazoo_rec.simulator.script import Phone, Script
from kazoo_rec.simulator.simulator import Simulator
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from tests import database

ALICE_HZ, BOB_HZ, CARRIER_HZ, IVR_HZ = 440, 660, 350, 1000
CAROL = Phone("1002", "acme.example", says=CARRIER_HZ)
ALICE = Phone("1000", "acme.example", says=ALICE_HZ)
BOB = Phone("1001", "acme.example", says=BOB_HZ)
CARRIER = Phone("442071838750", says=CARRIER_HZ)


def phone(who, **habits):
    return Phone(**{"user": who.user, "domain": who.domain, "says": who.says, **habits})


class Site:
    """Everything of one installation in this process."""

    def __init__(self, place):
        self.place = place
        self.simulator = Simulator(recordings=place / "recordings")
        self.simulator.start()
        (place / "recordings").mkdir()
        self.receiver = Receiver(place / "received", create_server(("127.0.0.1", 0)))
        self.receiver.start()
        self.roles, self.store = [], None

    def start(self, config=None, **settings):
        """Records whatever `settings` enable, of the account acme; `config` as of `run`."""
        account = {"realm": "acme.example", "country": "US", "numbers": ["+15550001001"], "call_recording": settings}
        for name, document in (("account", account), ("devices/a", {"sip": {"username": "1000"}}),
                               ("devices/b", {"sip": {"username": "1001"}})):
            file = self.place / "documents" / "acme" / f"{name}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(document))
        return self.run(**config or {})

    def run(self, **more):
        """With the documents that there are; `more` is of the configuration, `switches` those before the simulated."""
        host, port = self.simulator.address
        (self.place / "kazoo_rec.yaml").write_text(json.dumps({
            "node": "fs1", **database.said(self.place), "documents": "documents",
            "recordings_dir": str(self.place / "recordings"), "delivery": {"allow_networks": ["127.0.0.0/8"]}, **more,
            "switches": [*more.get("switches", ()),
                         {"host": host, "port": port, "password": "ClueCon", "command_connections": 2}]}))
        config = load(self.place / "kazoo_rec.yaml")
        migrate(config.database)
        self.store = Store(config.database)
        self.store.documents.take_files(files.read(config.documents)).get()
        self.roles = [Engine(config), Delivery(config)]
        for role in self.roles:
            role.start()
        self.connected(1)
        return self

    def connected(self, times):
        self.simulator.until(lambda: self.simulator.commands.count("show registrations as json") >= times, timeout=20)

    def play(self, caller, *called, **more):
        """Plays one call to its end; the recordings of its legs, finished, in order of rule."""
        call = self.simulator.play(Script(caller, called, **more))
        assert call.wait(20)
        return self.rows(call)

    def rows(self, call):
        legs = {leg.uuid for leg in call.legs}
        with gevent.Timeout(20):
            while True:
                rows = [row for row in self.store.recordings.list() if row["call_id"] in legs]
                if all(row["state"] in ("recorded", "discarded", "failed") for row in rows):
                    return sorted(rows, key=lambda row: (row["rule"], row["call_id"]))
                gevent.idle()

    def arrived(self, row):
        """The delivered file's bytes."""
        with gevent.Timeout(20):
            while True:
                for file in self.receiver.files:
                    if file.recording_id == row["id"]:
                        assert file.verified and file.sha256 == row["sha256"]
                        return (self.place / "received" / file.file).read_bytes()
                gevent.idle()

    def stop(self):
        for role in reversed(self.roles):
            role.stop()
        if self.store:
            self.store.close()
        self.simulator.stop()
        self.receiver.stop()


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.recovery.NEWS_WITHIN_S", 0.5)
    installed = Site(tmp_path)
    yield installed
    installed.stop()


def every(site, **settings):
    """To the site's server, as dual WAV."""
    settings = {"enabled": True, "url": site.receiver.url, "format": "wav", "channels": "dual", **settings}
    return {"any": {"any": settings}}


def talk_ms(row):
    """From the answer to the end, as the switch's events tell."""
    return row["stopped_ms"] - row["answered_ms"]


def heard(wav):
    """The tones of the left and of the right channel, in Hz."""
    with wave.open(io.BytesIO(wav)) as file:
        rate, samples = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    found = []
    for side in samples.reshape(-1, 2).T:
        spectrum = np.abs(np.fft.rfft(side))
        tones = {hz: spectrum[round(hz * len(side) / rate) - 3:round(hz * len(side) / rate) + 4].max()
                 for hz in (ALICE_HZ, BOB_HZ, CARRIER_HZ, IVR_HZ)}
        found.append({hz for hz, level in tones.items() if level > 0.1 * max(tones.values()) > 0})
    return found


def test_left_is_what_the_recorded_leg_says_and_right_what_it_hears(site):
    site.start(account=every(site), endpoint={"inbound": every(site)["any"]})
    of_b, of_a = sorted(site.play(phone(ALICE, hangs_up=1.3), phone(BOB, answers=0.3)), key=lambda row: row["leg"],
                        reverse=True)
    assert (of_a["rule"], of_b["rule"]) == ("account.inbound", "callee.inbound")
    assert heard(site.arrived(of_a)) == [{ALICE_HZ}, {BOB_HZ}]
    assert heard(site.arrived(of_b)) == [{BOB_HZ}, {ALICE_HZ}]
    for row in (of_a, of_b):
        assert abs(row["duration_ms"] - talk_ms(row)) <= 60 and not row["partial"]


def test_an_mp3_is_delivered_where_nothing_else_is_asked_for(site):
    site.start(account={"any": {"any": {"enabled": True, "url": site.receiver.url}}})
    row, = site.play(phone(ALICE, hangs_up=0.8), phone(BOB, answers=0.2))
    mp3 = site.arrived(row)
    assert row["content_type"] == "audio/mpeg" and row["file"].endswith(".mp3") and mp3[0] == 0xFF


def test_early_media_is_not_recorded_the_talk_is(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=1.6), phone(CARRIER, early_media=0.1, answers=0.8))
    assert abs(row["duration_ms"] - talk_ms(row)) <= 60 and talk_ms(row) < 1000
    assert heard(site.arrived(row)) == [{ALICE_HZ}, {CARRIER_HZ}]


def test_an_ivr_that_answers_at_once_is_recorded_by_command(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=1.0), dials="3200", dialplan=("answer", "playback tone_stream://%(5000,0,1000)"))
    assert row["master"].endswith(".f.wav") and 0 < row["duration_ms"] <= 1020
    assert heard(site.arrived(row)) == [{ALICE_HZ}, {IVR_HZ}]


def test_a_call_that_is_announced_to_and_then_bridged_to_the_carrier_is_recorded_from_there(site):
    site.start(endpoint={"outbound": {"offnet": every(site)["any"]["any"]}})
    row, = site.play(phone(ALICE, hangs_up=2.0), phone(CARRIER, answers=0.3),
                     dialplan=("answer", "playback tone_stream://%(600,0,1000)", "bridge"))
    assert (row["rule"], row["destination"]) == ("caller.outbound", "offnet")
    assert row["state"] == "recorded" and 0 < row["duration_ms"] <= 1420


def test_calls_that_are_not_answered_leave_rows_and_no_files(site):
    site.start(account=every(site))
    rows = [*site.play(phone(ALICE, hangs_up=0.4), BOB),
            *site.play(phone(ALICE), phone(BOB, answers=0.2, refuses="USER_BUSY"))]
    assert [row["state"] for row in rows] == ["discarded"] * 2
    assert all(row["state_reason"].startswith("never answered") for row in rows)
    assert not list((site.place / "recordings").rglob("*.wav"))


def test_what_is_too_short_is_discarded_with_its_file(site):
    site.start(account=every(site, record_min_sec=3))
    row, = site.play(phone(ALICE, hangs_up=0.9), phone(BOB, answers=0.2))
    assert row["state"] == "discarded" and "too short" in row["state_reason"]
    with gevent.Timeout(20):
        while list((site.place / "recordings").rglob("*.wav")):
            gevent.idle()


def test_a_hold_shortens_the_recording_of_the_leg_that_holds_and_is_a_span(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=2.2, holds=((0.8, 1.6),)), phone(BOB, answers=0.2))
    (span,) = row["spans"]
    assert span["kind"] == "hold" and abs(span["to_ms"] - span["from_ms"] - 800) <= 1
    assert abs(row["duration_ms"] - (talk_ms(row) - 800)) <= 60 and not row["partial"]


def test_a_leg_without_media_is_reported(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=2.0), phone(BOB, answers=0.2), faults=("no media for 1000",))
    assert (row["state"], row["state_reason"]) == ("failed", "no media")


def test_a_switch_that_is_killed_costs_the_end_of_the_call_and_nothing_else(site):
    site.start(account=every(site))
    call = site.simulator.play(Script(phone(ALICE), (phone(BOB, answers=0.2),), faults=("switch killed at 1.4",)))
    assert call.wait(20)
    site.simulator.start()
    site.connected(2)
    row, = site.rows(call)
    assert row["state"] == "recorded"
    assert 0 < row["duration_ms"] <= 1220
    assert heard(site.arrived(row)) == [{ALICE_HZ}, {BOB_HZ}]


def test_an_engine_that_comes_back_closes_what_ended_without_it(site):
    site.start(account=every(site))
    call = site.simulator.play(Script(phone(ALICE, hangs_up=1.5), (phone(BOB, answers=0.2),)))
    with gevent.Timeout(10):
        while not any(row["state"] == "recording" for row in site.store.recordings.list()):
            gevent.idle()
    engine = site.roles.pop(0)
    config = engine._config
    engine.stop()
    assert call.wait(20)
    site.roles.insert(0, Engine(config))
    site.roles[0].start()
    row, = site.rows(call)
    assert row["state"] == "recorded" and row["file"] and site.arrived(row)


# Oddities of the switch: a line in the script, and what the row says afterwards

def whole(row, heard_ms):
    """Whether the row tells of one recording of that length, and of nothing wrong with it."""
    return (row["state"] == "recorded" and not row["partial"] and row["state_reason"] is None
            and abs(row["duration_ms"] - heard_ms) <= 60)


def on_disk(site):
    return sorted(path.name for path in (site.place / "recordings").rglob("*.wav"))


def test_a_start_that_is_told_twice_is_one_recording(site, monkeypatch):
    monkeypatch.setattr("kazoo_rec.calls.orders.COMMAND_WITHIN_S", 0.3)
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=2.5), dials="3200", dialplan=("answer", "echo"),
                     faults=("the first start waits 0.8",))
    starts = [line for line in site.simulator.commands if " start " in line]
    assert len(starts) == 2 and starts[0] == starts[1]
    assert row["state"] == "recorded" and row["state_reason"].endswith("s before it were missed: the switch began late")
    assert heard(site.arrived(row))[0] == {ALICE_HZ}


def test_a_start_that_races_its_arming_leaves_one_recording_and_one_file(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=2.4), phone(BOB, answers=0.3), faults=("the answer of 1000 waits 0.6",))
    assert row["state"] == "recorded" and row["cause"] == "success-silence"
    assert row["state_reason"].endswith("s before it were missed: the switch began late")
    assert len([line for line in site.simulator.commands if " start " in line or " stop " in line]) == 2
    assert len(on_disk(site)) <= 1 and heard(site.arrived(row)) == [{ALICE_HZ}, {BOB_HZ}]


def test_a_recording_that_a_transfer_takes_along_has_what_its_leg_said_and_no_more(site):
    site.simulator.phones.add(phone(CAROL, answers=0.3))
    site.start(endpoint={"inbound": every(site)["any"]})
    rows = site.play(phone(ALICE, hangs_up=3.0), phone(BOB, answers=0.2),
                     faults=("1001 transfers to 1002 at 1.2, recordings go along",))
    of_b, of_c = sorted(rows, key=lambda row: row["started_ms"])
    assert of_b["state"] == of_c["state"] == "recorded" and abs(of_b["duration_ms"] - 1000) <= 60
    assert [span["kind"] for span in of_b["spans"]] == ["moved"] and heard(site.arrived(of_b)) == [{BOB_HZ}, {ALICE_HZ}]
    assert of_c["duration_ms"] > 1000 and site.arrived(of_c)


def test_who_transfers_after_asking_ends_his_own_recordings_and_no_others(site):
    site.start(account=every(site), endpoint={"inbound": every(site)["any"]})
    first = site.simulator.play(Script(phone(ALICE, hangs_up=3.0), (phone(BOB, answers=0.2, holds=((0.7, 9.0),)),),
                                       faults=("1001 transfers to 1002 at 2.0, attended",)))
    second = site.simulator.play(Script(phone(BOB), (phone(CAROL, answers=0.2),), at=0.9))
    assert first.wait(20) and second.wait(20)
    rows = {row["call_id"]: row for call in (first, second) for row in site.rows(call)}
    stays, holds, asks, reached = (rows[leg.uuid] for leg in (*first.legs, *second.legs))
    assert [span["kind"] for span in holds["spans"]] == ["hold"] and holds["stopped_ms"] < stays["stopped_ms"]
    assert all(whole(row, talk_ms(row)) for row in (stays, asks, reached))
    assert asks["stopped_ms"] < reached["stopped_ms"] and CARRIER_HZ in heard(site.arrived(stays))[1]


def test_a_limit_of_the_switch_in_whole_seconds_never_cuts_below_the_document(site):
    site.start(account=every(site, time_limit=5))
    row, = site.play(phone(ALICE, hangs_up=6.5), phone(BOB, answers=0.2))
    assert (row["state"], row["truncated_by_limit"], row["partial"]) == ("recorded", True, False)
    assert 5000 <= row["duration_ms"] <= 6020


def test_a_leg_that_is_never_bridged_has_an_empty_recording_and_no_file(site):
    site.start(account=every(site, record_on_bridge=True))
    row, = site.play(phone(ALICE, hangs_up=0.8), dials="3200", dialplan=("sleep 200", "answer", "echo"))
    assert (row["state"], row["cause"], on_disk(site)) == ("discarded", "empty-file", [])


def test_what_a_dialplan_sets_for_its_own_recordings_changes_none_of_ours(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=1.4), phone(BOB, answers=0.2), dialplan=(
        "set RECORD_MIN_SEC=30", "set RECORD_READ_ONLY=true", "set RECORD_STEREO_SWAP=true", "set RECORD_APPEND=true",
        "set RECORD_BRIDGE_REQ=true", "bridge"))
    assert whole(row, talk_ms(row)) and row["cause"] == "success-silence"
    assert heard(site.arrived(row)) == [{ALICE_HZ}, {BOB_HZ}]


def test_on_a_disk_that_fills_up_the_row_has_the_length_of_the_file(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=2.2), phone(BOB, answers=0.2), faults=("disk full at 1.2",))
    assert (row["state"], row["cause"], row["partial"]) == ("recorded", "uri-failure", True)
    assert abs(row["duration_ms"] - 1000) <= 120 and row["state_reason"].startswith("partial: ")


def test_on_a_full_disk_nothing_begins_and_the_call_goes_on(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=1.6), phone(BOB, answers=0.2), faults=("disk full at 0.0",))
    assert (row["state"], row["state_reason"]) == ("failed", "no media") and row["cause"].startswith("-ERR")


def test_media_that_leaves_the_switch_makes_a_recording_partial(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=2.2), phone(BOB, answers=0.2), faults=(
        "media of 1000 leaves the switch at 1.2",))
    assert (row["state"], row["partial"]) == ("recorded", True) and abs(row["duration_ms"] - 1000) <= 60


@pytest.mark.parametrize("rules", ["account", "endpoint"])
def test_media_that_bypasses_the_switch_is_not_recorded_and_its_call_not_harmed(site, rules):
    site.start(**{rules: every(site)} if rules == "account" else {rules: {"inbound": every(site)["any"]}})
    call = site.simulator.play(Script(phone(ALICE, hangs_up=1.5), (phone(BOB, answers=0.4),),
                                      faults=("media bypasses the switch",)))
    assert call.wait(10)
    assert {leg.cause for leg in call.legs} == {"NORMAL_CLEARING"} and all(leg.answered for leg in call.legs)
    row, = site.rows(call)
    assert (row["state"], row["state_reason"]) == ("failed", "no media")


def test_an_engine_that_comes_back_keeps_legs_that_show_channels_does_not_show_yet(site):
    """A leg that it gave up would be recorded on, but nobody would end it at its limit."""
    site.start(account=every(site, record_on_bridge=True, time_limit=5))
    row, = site.play(phone(ALICE, hangs_up=7), phone(BOB, answers=0.2), faults=(
        "event sockets end at 0.8", "show channels lags 30"))
    assert row["truncated_by_limit"] and abs(row["duration_ms"] - 5000) <= 200


@pytest.mark.parametrize("event", ["RECORD_START", "RECORD_STOP"])
def test_an_event_that_is_lost_costs_nothing_of_the_recording(site, event):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=1.6), phone(BOB, answers=0.2), faults=(f"{event} is lost",))
    assert row["state"] == "recorded" and not row["partial"] and abs(row["duration_ms"] - 1400) <= 60


@pytest.mark.parametrize("fault", [
    "RECORD_STOP comes twice", "CHANNEL_ANSWER comes twice", "the next RECORD_STOP comes 0.5 late",
    "the next uuid_setvar_multi fails", "event sockets reset at 0.8", "event sockets hang from 0.5 to 1.5"])
def test_what_the_event_socket_does_wrong_costs_nothing_of_the_recording(site, fault):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=1.8), phone(BOB, answers=0.2), faults=(fault,))
    assert whole(row, talk_ms(row))


def test_a_file_that_is_shorter_than_its_recording_says_is_told(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=1.6), phone(BOB, answers=0.2), faults=(
        "files of 1000 are cut to 8044 bytes at 0.8",))
    # 8,044 bytes less a header, which has the recording's comment in it.
    assert (row["state"], row["partial"]) == ("recorded", True) and 240 <= row["duration_ms"] <= 250


def test_a_switch_that_is_shut_down_closes_its_recordings_first(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE), phone(BOB, answers=0.2), faults=("switch shut down at 1.4",))
    assert whole(row, row["stopped_ms"] - row["answered_ms"])


def test_commands_that_stall_delay_no_recording_that_is_armed(site):
    site.start(account=every(site))
    row, = site.play(phone(ALICE, hangs_up=2.0), phone(BOB, answers=0.6), faults=("commands stall from 0.3 to 1.5",))
    assert whole(row, talk_ms(row))


@pytest.mark.parametrize("jump_s", [0, 3600, -3600])
def test_calls_that_the_switch_recovers_after_a_kill_are_recorded_again_and_the_gap_is_told(site, jump_s):
    """Its clock is what the host's is when it starts: that may have jumped since it started before."""
    site.start(account=every(site), endpoint={"inbound": every(site)["any"]})
    call = site.simulator.play(Script(phone(ALICE, hangs_up=4.5), (phone(BOB, answers=0.2),),
                                      faults=("switch killed at 1.4",)))
    assert call.wait(20)
    site.simulator.clock.epoch += jump_s
    site.simulator.start()
    site.connected(2)
    assert site.simulator.api("sofia recover") == "Recovered 2 call(s)\n"
    assert call.wait(20)
    rows = {(row["leg"], any(span["kind"] == "gap" for span in row["spans"])): row for row in site.rows(call)}
    assert set(rows) == {(leg, again) for leg in "AB" for again in (False, True)}
    for leg in "AB":
        before, after = rows[leg, False], rows[leg, True]
        (gap,) = after["spans"]
        assert before["state"] == after["state"] == "recorded" and before["call_id"] == after["call_id"]
        assert before["partial"] and before["state_reason"] == (
            "its end was not heard: the switch was restarted; the switch did not close its file: "
            f"{before['duration_ms']} ms are there")
        assert abs(before["duration_ms"] - before["expected_ms"]) <= 60
        assert 0 < gap["to_ms"] - gap["from_ms"] < 20_000
        assert gap["kind"] == "gap" and after["state_reason"].endswith("the switch was restarted")
        assert abs(after["duration_ms"] - (after["stopped_ms"] - gap["to_ms"])) <= 60
        sides = [{ALICE_HZ}, {BOB_HZ}]
        assert heard(site.arrived(after)) == (sides if leg == "A" else sides[::-1])


def test_an_engine_that_starts_in_mid_call_records_the_rest(site):
    call = site.simulator.play(Script(phone(ALICE, hangs_up=6.0), (phone(BOB, answers=0.2),)))
    with gevent.Timeout(10):
        while not [leg for leg in call.legs if leg.partner]:
            gevent.idle()
    site.start(account=every(site))
    assert call.wait(20)
    row, = site.rows(call)
    (gap,) = row["spans"]
    assert (row["state"], gap["from_ms"]) == ("recorded", row["answered_ms"])
    assert abs(row["duration_ms"] + gap["to_ms"] - gap["from_ms"] - talk_ms(row)) <= 60
    assert heard(site.arrived(row)) == [{ALICE_HZ}, {BOB_HZ}]


# How it is, told to who runs it

def test_a_call_is_in_the_numbers_and_all_is_ready_until_the_switch_is_gone(site, monkeypatch):
    monkeypatch.setattr("kazoo_rec.roles.vitals.SAID_EVERY_MS", 50)
    site.start(account=every(site))
    api = TestClient(make_app(site.store, "fs1", site.place / "recordings", None))
    site.arrived(*site.play(phone(ALICE, hangs_up=0.8), phone(BOB, answers=0.2)))

    def until(told):
        with gevent.Timeout(20):
            while not told():
                gevent.idle()

    def count(name, **labels):
        families = text_string_to_metric_families(api.simulate_get("/metrics").text)
        return sum(sample.value for family in families for sample in family.samples
                   if sample.name == f"kazoo_rec_{name}" and labels.items() <= sample.labels.items())

    until(lambda: count("delivery_attempts_total", outcome="delivered", switch="fs1") == 1)
    until(lambda: count("start_latency_seconds_count") == 1 and not count("legs"))
    assert count("recording_states_total", state="recorded") == 1 and count("command_seconds_count") >= 1
    assert count("lost_audio_seconds_count", kind="short") == 1 and count("disk_free_bytes") > 0
    assert api.simulate_get("/readyz").json["not_ready"] == []
    site.simulator.stop()
    until(lambda: api.simulate_get("/readyz").json["not_ready"] == ["switch fs1"])


def test_while_the_disk_is_nearly_full_nothing_more_is_recorded_of_an_account_over_its_quota(site, monkeypatch):
    for name, value in (("engine.SAID_EVERY_MS", 50), ("vitals.SAID_EVERY_MS", 50), ("delivery.QUOTAS_EVERY_S", 0.05),
                        ("delivery.DISK_EVERY_S", 0.05)):
        monkeypatch.setattr(f"kazoo_rec.roles.{name}", value)
    with create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    monkeypatch.setattr("kazoo_rec.roles.delivery.GB", 1_000_000)  # of audio a kilobyte is over it
    site.start({"disk": {"alarm_below": "99%", "remove_delivered_below": "99%"}, "delivery": {
        "allow_networks": ["127.0.0.0/8"], "account_quota_gb": 0.001}}, account=every(
            site, url=f"http://127.0.0.1:{nobody}/"))
    states = []
    with gevent.Timeout(60):
        while "failed" not in states:
            row, = site.play(phone(ALICE, hangs_up=0.8), phone(BOB, answers=0.2))
            states.append(row["state"])
    assert states[0] == "recorded" and row["state_reason"].startswith("not recorded: the account is over its quota")
    assert not list(site.place.rglob(f"{row['id']}*"))
    site.roles.pop().stop()
    with gevent.Timeout(60):
        while row["state"] == "failed":
            call = site.simulator.play(Script(phone(ALICE, hangs_up=0.8), (phone(BOB, answers=0.2),)))
            assert call.wait(20)
            legs = {leg.uuid for leg in call.legs}
            row, = [row for row in site.store.recordings.list() if row["call_id"] in legs]
    assert row["state"] in ("recording", "stopped"), "nobody says any more that it is refused"
