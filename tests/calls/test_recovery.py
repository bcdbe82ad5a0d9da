"""Legs in progress: taken in, asked of policy, recorded from then on, and what was missed of them told."""

import json
import re
from functools import partial

import gevent
import pytest
from structlog.testing import capture_logs

from kazoo_rec.calls.clock import SwitchClock
from kazoo_rec.calls.files import Files
from kazoo_rec.calls.recovery import Recovery
from kazoo_rec.errors import CommandFailed, CommandTimeout, NotConnected, ProtocolBroken
from kazoo_rec.policy.settings import DEFAULTS
from kazoo_rec.switch.events import Event

from .fakes import ROOT, Scene

ON = {"any": {"any": {"enabled": True}}}
DOCUMENTS = [("account", "acme", "acme", {"realm": "acme.example", "numbers": ["+15550001001"],
                                          "call_recording": {"endpoint": ON}}),
             *(("device", "acme", f"dev-{user}", {"sip": {"username": user}}) for user in ("1000", "1001", "1002"))]

#: The row of a recording that an engine before has left.
RUNNING = {"node": "fs1", "state": "recording", "account_id": "acme", "started_ms": 1, "settings": dict(DEFAULTS),
           "settings_from": {}, "reason": "a rule", "spans": [], "master": "acme/20261121/x.wav", "leg": "A",
           "rule": "caller.outbound", "interaction_id": "x", "destination": "onnet", "source": "onnet", "armed_ms": 1}

ANSWERED = {"Answer-State": "answered", "Channel-Call-State": "ACTIVE", "Channel-Read-Codec-Name": "PCMU"}


class Site:
    """An engine that comes to a switch on which there are legs; `meanwhile` is run at the first dump of a leg,
    `phantoms` are rows that its list keeps of legs that are gone."""

    def __init__(self, monkeypatch, documents=DOCUMENTS, rows=None, has_files=False, spawn=None):
        monkeypatch.setattr("kazoo_rec.calls.recovery.NEWS_WITHIN_S", 0)
        monkeypatch.setattr("kazoo_rec.calls.recovery.LIST_LAG_S", 0)
        self.files, self.marks = Files(ROOT, ROOT, self._at_disk), set()
        self.scene = Scene(documents, spawn=spawn, send=self.answer, rows=rows,
                           files=self.files if has_files else None)
        self.scene.switch.send = self.answer
        self.legs, self.running, self.asked, self.meanwhile = {}, {}, [], {}
        self.phantoms = []
        self.recorder = self.scene.recorder
        self.recovery = Recovery("fs1", self.scene.tracker, self.recorder, self.scene.registrations, self.scene.rows,
                                 self.files, SwitchClock(lambda: self.scene.epoch_ms, lambda: self.scene.now),
                                 lambda: self.scene.now)

    def _at_disk(self, function, args):
        if function is self.files._read:
            return function(*args)
        return not args[-1].endswith(".declined") or args[-1].removeprefix(f"{ROOT}/") in self.marks

    def leg(self, uuid, direction="inbound", ago_ms=None, partner="", listed=(), **headers):
        """A leg that was answered so long ago (None: it rings) and is bridged to its partner."""
        answered_us = 0 if ago_ms is None else (self.scene.epoch_ms - ago_ms) * 1000
        dump = {"Event-Name": "CHANNEL_DATA", "Unique-ID": uuid, "Call-Direction": direction,
                "Channel-Name": "sofia/internal/x", "Event-Date-Timestamp": str(self.scene.epoch_ms * 1000),
                "Caller-Channel-Answered-Time": str(answered_us),
                "Caller-Channel-Bridged-Time": str(answered_us if partner else 0),
                **(ANSWERED if answered_us else {}), **({"variable_signal_bond": partner} if partner else {}),
                **{key if key[0].isupper() else f"variable_{key}": value for key, value in headers.items()}}
        self.legs[uuid] = dump, {"uuid": uuid, "direction": direction, "call_uuid": "", **dict(listed)}
        return self

    def talk(self, ago_ms=12_400):
        """Alice, 1000, has talked with Bob, 1001, for so long."""
        self.leg("b", "outbound", ago_ms, "a", originator="a", listed={"call_uuid": "a"}, dialed_user="1001",
                 dialed_domain="acme.example")
        return self.leg("a", "inbound", ago_ms, "b", sip_authorized="true", sip_auth_username="1000",
                        sip_auth_realm="acme.example", listed={"call_uuid": "a"}, dialed_user="1001",
                        dialed_domain="acme.example")

    def answer(self, command, timeout_s, into=None):
        self.asked.append(command)
        self.scene.switch.commands.append(command)
        if command == "api show channels as json":
            rows = [row for _, row in self.legs.values()] + self.phantoms
            into(json.dumps({"row_count": len(rows), **({"rows": rows} if rows else {})}, separators=",:").encode())
            return ""
        if command == "api show registrations as json":
            return '{"row_count":0}'
        if command == "api strmicroepoch":
            return f"{self.scene.epoch_ms * 1000}"
        _, name, uuid, *_ = command.split()
        if name == "uuid_exists":
            return "true" if uuid in self.legs else "false"
        if name == "uuid_dump" and uuid in self.meanwhile:
            dumped = self.legs[uuid][0]
            self.meanwhile.pop(uuid)()
            return json.dumps(dumped)
        if uuid not in self.legs:
            raise CommandFailed("the switch refused", "-ERR No such channel!")
        if name == "uuid_dump":
            return json.dumps(self.legs[uuid][0])
        if name == "uuid_buglist":
            bugs = "".join(f"<function>session_record</function>\n <target>{path}</target>"
                           for path in self.running.get(uuid, ()))
            return f"<media-bugs>\n{bugs}</media-bugs>\n"
        return "+OK\n"

    def sweep(self, doubtful=True):
        self.recovery.sweep(self.answer, doubtful)
        return self

    def started(self):
        """{leg: path} started by command, and RECORD_START of each is heard."""
        found = {}
        for command in self.asked:
            if ours := re.fullmatch(r"api uuid_record (\S+) start (\S+) .*kazoo_rec_id=([0-9a-f-]+),.*", command):
                found.setdefault(ours[1], []).append(ours[2])
                self.scene.record_start(ours[1], ours[3], ours[2])
        return found

    def rows(self):
        return {row["call_id"]: row for row in self.scene.rows.by_id.values()}


@pytest.fixture
def site(monkeypatch):
    return Site(monkeypatch)


def test_a_talk_in_progress_is_recorded_from_now_on_and_what_was_missed_is_told(site):
    site.talk(ago_ms=12_400).sweep()
    assert {leg: len(paths) for leg, paths in site.started().items()} == {"a": 1, "b": 1}
    rows = site.rows()
    assert (rows["a"]["rule"], rows["b"]["rule"]) == ("caller.outbound", "callee.inbound")
    for row in rows.values():
        assert (row["state"], row["partial"]) == ("recording", True)
        assert row["state_reason"] == "12.4 s before it were missed: the engine was not connected"
        assert [(span["kind"], span["to_ms"] - span["from_ms"]) for span in row["spans"]] == [("gap", 12_400)]
    site.scene.after(3000).hang_up("a").hang_up("b")
    assert [row["expected_ms"] for row in site.rows().values()] == [3000, 3000]
    assert all(row["state_reason"].startswith("12.4 s before") for row in site.rows().values())


def test_one_that_is_found_running_though_its_start_was_not_heard_began_when_it_was_ordered(site):
    site.talk(ago_ms=12_400).sweep()
    for command in site.asked:
        if ours := re.fullmatch(r"api uuid_record (\S+) start (\S+) .*", command):
            site.running[ours[1]] = [ours[2]]
    site.scene.after(300)
    assert len(site.running) == 2
    for row in site.rows().values():
        assert row["state"] == "recording" and row["spans"][0]["to_ms"] - row["spans"][0]["from_ms"] == 12_400


def test_of_a_called_leg_that_was_heard_to_answer_before_its_caller_was_known_it_is_told_what_was_missed(site):
    site.scene.event("CHANNEL_CREATE", "b", **{
        "Call-Direction": "outbound", "Channel-Name": "sofia/internal/x", "variable_originator": "a",
        "variable_dialed_user": "1001", "variable_dialed_domain": "acme.example"})
    site.scene.event("CHANNEL_ANSWER", "b", **{"Channel-Read-Codec-Name": "PCMU"}).after(4000)
    assert not site.rows()
    site.talk(ago_ms=4000).sweep()
    site.started()
    rows = site.rows()
    assert (rows["b"]["rule"], rows["b"]["state_reason"]) == (
        "callee.inbound", "4.0 s before it were missed: the engine was not connected")


def test_a_leg_that_is_gone_and_listed_for_ever_is_forgotten_by_the_look_after_next(site):
    site.talk().sweep()
    site.running = site.started()
    site.phantoms = [row for _, row in site.legs.values()]
    site.legs, site.running = {}, {}
    site.sweep(doubtful=False).sweep(doubtful=False)
    assert not site.scene.tracker.uuids()
    assert {row["state"] for row in site.rows().values()} == {"stopped"}


def test_what_a_switch_says_that_was_started_during_the_look_ends_no_leg(site):
    site.talk().sweep()
    site.started()
    site.legs, answer = {}, site.answer

    def dies(command, timeout_s, into=None):
        if " uuid_exists " in command:
            site.recovery.lost(site.scene.now)
        return answer(command, timeout_s, into)

    site.recovery.sweep(dies, False)
    assert site.scene.tracker.uuids() == {"a", "b"}
    site.recovery.connected(answer)
    site.recovery.restarted()
    assert {row["spans"][-1]["why"] for row in site.rows().values()} == {"the switch was restarted"}


def test_a_second_look_changes_nothing(site):
    site.talk().sweep()
    site.running = site.started()
    asked = len(site.asked)
    site.sweep().sweep()
    assert not [command for command in site.asked[asked:] if "uuid_record" in command]
    assert len(site.rows()) == len(site.scene.rows.by_id) == 2


def test_a_leg_that_began_before_its_events_were_asked_for_and_is_listed_late_is_taken_in_all_the_same(site):
    answer = site.answer

    def late(command, timeout_s, into=None):
        if command == "api show channels as json" and command not in site.asked:
            site.asked.append(command)
            into(b'{"row_count":0}')
            return ""
        return answer(command, timeout_s, into)

    site.talk().recovery.sweep(late, True)
    assert set(site.started()) == {"a", "b"}


def test_a_leg_that_still_rings_is_armed(site):
    site.leg("b", "outbound", originator="a", dialed_user="1001", dialed_domain="acme.example")
    site.leg("a", sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example").sweep()
    assert site.scene.armed("a") and site.scene.armed("b") and not site.started()
    site.scene.answer("b").answer("a")
    assert {row["state"] for row in site.rows().values()} == {"recording"}
    assert not any(row.get("partial") for row in site.rows().values())


def test_a_callee_is_who_was_called_and_not_whom_it_calls_now(site):
    # After a transfer the called leg of 1001 bears the name of its new target.
    site.leg("b", "outbound", 5000, "c", originator="gone", dialed_user="1002", dialed_domain="acme.example",
             **{"Channel-Presence-ID": "1001@acme.example"})
    site.leg("c", "outbound", 2000, "b", originator="b", dialed_user="1002", dialed_domain="acme.example",
             **{"Channel-Presence-ID": "1002@acme.example"}).sweep()
    assert {uuid: row["device_id"] for uuid, row in site.rows().items()} == {"b": "dev-1001", "c": "dev-1002"}


def test_a_leg_to_the_carrier_is_nobody_s_phone_whatever_its_presence_id_says(site):
    site.talk()
    site.legs["b"][0].update({"variable_sip_gateway_name": "carrier", "Channel-Presence-ID": "1001@acme.example"})
    site.sweep()
    assert {(row["rule"], row["destination"]) for row in site.rows().values()} == {("caller.outbound", "offnet")}


def test_a_number_is_known_though_the_dialplan_has_transferred_its_call(monkeypatch):
    site = Site(monkeypatch, [("account", "acme", "acme", {
        "realm": "acme.example", "country": "US", "numbers": ["+15550001001"],
        "call_recording": {"account": {"inbound": {"offnet": {"enabled": True}}}}})])
    site.leg("a", ago_ms=1000, listed={"initial_context": "public", "initial_dest": "15550001001"},
             **{"Caller-Context": "acme.example", "Caller-Destination-Number": "3200"}).sweep()
    assert site.rows()["a"]["rule"] == "account.inbound"


def test_what_the_row_says_is_silent_is_silenced_by_an_engine_after_it(site, monkeypatch):
    site.talk().sweep()
    site.running = site.started()
    for row in site.rows().values():
        site.scene.rows.update(row["id"], spans=[{"kind": "mask", "from_ms": 1, "to_ms": None}])
    later = Site(monkeypatch)
    later.scene.rows.by_id, later.legs, later.running = site.scene.rows.by_id, site.legs, site.running
    later.sweep()
    assert {command for command in later.asked if "uuid_record" in command} == {
        f"api uuid_record {uuid} mask {path}" for uuid, paths in site.running.items() for path in paths}


@pytest.mark.parametrize("kind", ["mask", "pause"])
def test_what_the_row_says_is_silent_is_silenced_again_when_the_connection_is_back(site, kind):
    site.talk().sweep()
    site.running = site.started()
    (recording,) = site.scene.tracker.leg("a").recordings
    site.recorder.silence(recording, kind)
    site.asked.clear()
    site.recovery.lost()
    site.sweep()
    assert [command for command in site.asked if "uuid_record" in command] == [
        f"api uuid_record a {kind} {path}" for path in site.running["a"]]


def test_a_recording_that_an_engine_before_began_goes_on_and_is_not_doubled(site, monkeypatch):
    site.talk().sweep()
    site.running = site.started()
    later = Site(monkeypatch)
    later.scene.rows.by_id, later.legs, later.running = site.scene.rows.by_id, site.legs, site.running
    later.sweep()
    assert not [command for command in later.asked if "uuid_record" in command]
    assert len(later.rows()) == len(later.scene.rows.by_id) == 2
    later.scene.after(1000).hang_up("a").hang_up("b")
    assert {row["state"] for row in later.rows().values()} == {"stopped"}
    assert all(row["cause"] and row["state_reason"].startswith("12.4 s before") for row in later.rows().values())


def test_of_one_that_ran_twice_before_this_engine_the_second_file_is_removed(site, monkeypatch):
    site.talk().sweep()
    (second,) = site.started()["a"]
    later = Site(monkeypatch)
    later.scene.rows.by_id, later.legs = site.scene.rows.by_id, site.legs
    later.running = site.started() | {"a": [second.replace(".f.wav", ".wav"), second]}
    later.sweep()
    later.scene.after(1000).record_stop("a", later.rows()["a"]["id"], second)
    assert later.scene.removed == [second.removeprefix(f"{ROOT}/")]
    assert later.rows()["a"]["state"] == "recording"


def test_an_engine_that_takes_a_call_up_calls_its_guard_off_as_the_one_before_may_not_have(monkeypatch):
    (_, account, id, body), *phones = DOCUMENTS
    documents = [("account", account, id, {**body, "on_no_recording": "hangup"}), *phones]
    site, later = Site(monkeypatch, documents), Site(monkeypatch, documents)
    site.talk().sweep()
    site.running = site.started()
    later.scene.rows.by_id, later.legs, later.running = site.scene.rows.by_id, site.legs, site.running
    later.sweep()
    assert set(later.scene.switch.of("sched_del")) == {f"api sched_del kazoo_rec_{uuid}" for uuid in "ab"}


def test_a_recording_that_was_heard_to_end_is_not_made_again(site, monkeypatch):
    site.talk().sweep()
    (path,) = site.started()["a"]
    site.scene.after(site.rows()["a"]["settings"]["time_limit"] * 1000)
    site.scene.record_stop("a", site.rows()["a"]["id"], path, "success-maxtime")
    later = Site(monkeypatch)
    later.scene.rows.by_id, later.legs, later.running = site.scene.rows.by_id, site.legs, {"b": site.started()["b"]}
    later.sweep()
    assert not [command for command in later.asked if "uuid_record" in command]


def test_of_a_recording_that_was_armed_before_a_restart_there_is_still_one(site, monkeypatch):
    site.leg("a", sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example")
    site.leg("b", "outbound", originator="a", dialed_user="1001", dialed_domain="acme.example").sweep()
    later = Site(monkeypatch)
    later.scene.rows.by_id, later.legs = site.scene.rows.by_id, site.legs
    for uuid, row in site.rows().items():
        later.legs[uuid][0][f"variable_execute_on_answer_{row['id']}"] = "record_session"
    later.sweep()
    assert not later.scene.switch.of("setvar") and len(later.scene.rows.by_id) == 2
    assert {row["state"] for row in later.rows().values()} == {"armed"}


@pytest.mark.parametrize("heard", [True, False])
def test_what_an_engine_before_armed_and_is_just_beginning_is_waited_for(site, monkeypatch, heard):
    site.leg("a", sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example")
    site.leg("b", "outbound", originator="a", dialed_user="1001", dialed_domain="acme.example").sweep()
    later = Site(monkeypatch)
    later.scene.rows.by_id = site.scene.rows.by_id
    later.talk(ago_ms=20)
    rows = site.rows()
    for uuid, row in rows.items():
        later.legs[uuid][0][f"variable_execute_on_answer_{row['id']}"] = "record_session"
    later.sweep()
    assert not later.scene.switch.of("uuid_record")
    for uuid, row in rows.items():
        later.running[uuid] = [f"{ROOT}/{row['master']}"]
        if heard:
            later.scene.record_start(uuid, row["id"], *later.running[uuid])
    later.scene.after(250)
    assert not later.scene.switch.of("uuid_record") and len(later.scene.rows.by_id) == 2
    assert {(row["state"], len(row["spans"])) for row in later.rows().values()} == {("recording", 0)}


def test_what_happens_while_a_leg_is_asked_about_is_not_lost(site):
    site.leg("a", sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example")
    site.meanwhile["a"] = lambda: (
        site.scene.rings("b", "a", "1001"), site.scene.answer_unarmed("b"), site.scene.answer_unarmed("a"),
        site.scene.bridge("a", "b"))
    site.sweep()
    assert set(site.started()) == {"a", "b"}


@pytest.mark.parametrize("through", ["loopback", "a phone"])
def test_of_a_leg_two_deep_behind_one_that_is_asked_about_nothing_is_lost(site, through):
    scene = site.scene
    site.leg("a", ago_ms=0, sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example")

    def meanwhile():
        if through == "loopback":
            scene.create("la", "outbound", "loopback/1001-a", originator="a", other_loopback_leg_uuid="lb")
            scene.create("lb", "inbound", "loopback/1001-b", other_loopback_leg_uuid="la")
            scene.rings("c", "lb", "1002")
        else:
            scene.rings("b", "a", "1001").rings("c", "b", "1002")
        scene.event("CHANNEL_ANSWER", "c", **ANSWERED).bridge("a", "c")

    site.meanwhile["a"] = meanwhile
    site.sweep(doubtful=False)
    assert {"a", "c"} <= set(site.started()) and not scene.tracker.expects("c")


def test_of_an_answer_that_is_heard_while_a_leg_is_asked_about_the_event_tells_what_was_armed_in_time(site):
    site.scene.phone_calls("a", "1000").rings("b", "a", "1001")
    for uuid, partner in (("a", "b"), ("b", "a")):
        site.leg(uuid, "inbound" if uuid == "a" else "outbound", 0, partner)
        site.legs[uuid][0][f"variable_execute_on_answer_{site.rows()[uuid]['id']}"] = "record_session"
        site.meanwhile[uuid] = partial(site.scene.answer_unarmed, uuid)
    site.sweep()
    assert set(site.started()) == {"a", "b"}  # at once, not when nothing has come for 250 ms
    assert not any(row["spans"] for row in site.rows().values())


def test_a_leg_whose_beginning_is_heard_after_it_was_listed_does_not_wait(site):
    scene, armed = site.scene, []

    def begins():
        scene.phone_calls("a", "1000").rings("b", "a", "1001")
        armed.extend(one for one in scene.switch.commands if "execute_on_answer" in one)

    site.leg("a", sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example")
    site.meanwhile["a"] = begins
    site.sweep()
    assert len(armed) == 2 and len([one for one in scene.switch.commands if "execute_on_answer" in one]) == 2


def test_a_leg_that_ends_while_it_is_asked_about_leaves_nothing(site):
    site.talk()

    def end():
        site.legs.clear()
        site.scene.event("CHANNEL_DESTROY", "a").event("CHANNEL_DESTROY", "b")

    site.meanwhile["a"] = end
    site.sweep()
    assert len(site.scene.tracker) == 0 and not {row["state"] for row in site.rows().values()} & {"armed", "recording"}


def test_a_leg_that_has_ended_before_it_is_asked_about_is_left_out(site):
    site.talk()
    site.meanwhile["a"] = lambda: site.legs.pop("b")
    site.sweep()
    assert site.scene.tracker.uuids() == {"a"}


def test_a_connection_that_is_lost_while_legs_are_asked_about_ends_the_look_and_prints_nothing(site, capfd):
    def lose():
        raise NotConnected("the connection ended")

    site.talk().meanwhile["b"] = lose
    with pytest.raises(NotConnected):
        site.sweep()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("fault", [CommandTimeout("no answer"), ProtocolBroken("no JSON")])
def test_a_leg_that_does_not_answer_is_left_out_asked_again_and_costs_the_others_nothing(site, fault):
    def stuck():
        site.meanwhile["b"] = stuck
        raise fault

    site.talk().leg("c", ago_ms=1000, sip_authorized="true", sip_auth_username="1002", sip_auth_realm="acme.example")
    stuck_row = {**RUNNING, "id": "202611-" + "b" * 32, "call_id": "b", "started_ms": None, "state": "armed"}
    site.scene.rows.insert(stuck_row)
    site.meanwhile["b"] = stuck
    assert site.recovery.sweep(site.answer, True) is False
    assert set(site.started()) == {"a", "c"} and site.scene.tracker.uuids() == {"a", "c"}
    assert site.recovery.knows("nobody's") and not site.recovery.knows("b")
    site.recovery.close_left(site.answer)
    site.recovery.close_left(site.answer)
    assert site.scene.rows.by_id[stuck_row["id"]]["state"] == "armed"
    del site.meanwhile["b"]
    assert site.recovery.sweep(site.answer, False) is True
    assert site.scene.tracker.uuids() == {"a", "b", "c"} and site.recovery.knows("b")


def test_of_a_called_leg_that_is_known_before_its_caller_what_was_missed_is_told(site):
    def stuck():
        raise CommandTimeout("no answer")

    site.meanwhile["a"] = stuck
    assert site.talk(ago_ms=4000).recovery.sweep(site.answer, True) is False
    site.scene.after(2000)
    assert site.recovery.sweep(site.answer, False) is True
    site.started()
    for uuid in "ab":
        (gap,) = site.rows()[uuid]["spans"]
        assert (gap["kind"], gap["to_ms"] - gap["from_ms"]) == ("gap", 6000) and site.rows()[uuid]["partial"]
    assert not site.scene.tracker.leg("a").missed and not site.scene.tracker.leg("b").missed


def test_a_switch_that_tells_of_no_leg_is_not_asked_on_and_on_and_about_others_the_next_time(site):
    answer, asked = site.answer, []

    def slow(command, timeout_s, into=None):
        if " uuid_" in command:
            asked.append(command.split()[2])
            raise CommandTimeout("no answer")
        return answer(command, timeout_s, into)

    for number in range(40):
        site.leg(f"leg-{number}", ago_ms=1000)
    site.recovery.sweep(slow, True)
    first, asked[:] = set(asked), ()
    assert 8 <= len(first) < 12
    site.recovery.sweep(slow, True)
    assert not first & set(asked)
    site.sweep()
    assert len(site.scene.tracker) == 40


def test_of_a_known_leg_that_did_not_answer_the_next_look_asks_what_was_missed(site):
    site.talk().sweep()
    site.running = {"a": site.started()["a"]}

    def stuck():
        raise CommandTimeout("no answer")

    site.meanwhile["b"] = stuck
    assert site.recovery.sweep(site.answer, True) is False
    assert site.rows()["b"]["state"] == "recording"
    assert site.recovery.sweep(site.answer, False) is True
    assert site.rows()["b"]["state"] == "stopped"


def test_a_row_is_left_open_and_a_leg_kept_where_the_switch_does_not_tell_of_them(site):
    site.talk().sweep()
    site.running = site.started()
    site.scene.rows.insert({**RUNNING, "id": "202611-" + "d" * 32, "call_id": "unheard"})
    answer = site.answer

    def deaf(command, timeout_s, into=None):
        if "uuid_exists" in command or command.endswith(" unheard"):
            raise CommandTimeout("no answer")
        return answer(command, timeout_s, into)

    site.legs.clear()
    site.recovery.sweep(deaf, False)
    assert site.scene.tracker.uuids() == {"a", "b"}
    assert site.scene.rows.by_id["202611-" + "d" * 32]["state"] == "recording"
    site.sweep(doubtful=False)
    assert not site.scene.tracker.uuids()
    assert {row["state"] for row in site.scene.rows.by_id.values()} == {"stopped"}


def test_a_look_during_which_the_connection_ended_knows_nothing_and_forgets_nothing(site):
    site.talk().sweep()
    site.running = site.started()
    site.scene.after(4000)

    def lose():
        site.recovery.lost(site.scene.now)
        site.scene.after(1000)

    site.meanwhile["a"] = lose
    site.sweep()
    assert not site.recovery.took_in and not site.recovery.knows("nobody's")
    site.sweep()  # before there is a connection again
    assert not site.recovery.took_in
    site.scene.after(60_000)
    site.legs.clear()
    site.recovery.connected(site.answer)
    site.sweep()
    assert site.recovery.took_in
    assert [row["expected_ms"] for row in site.rows().values()] == [4000, 4000]


@pytest.mark.parametrize("starts", ["of others", "its own"])
def test_a_look_ends_though_the_switch_is_behind_with_starts(site, starts):
    if starts == "of others":
        site.scene.held_back = []
        for number in range(5):
            site.scene.phone_calls(f"new-{number}", "1000").answer_unarmed(f"new-{number}")
            site.leg(f"new-{number}", ago_ms=0)
    site.scene.held_back = []
    for number in range(8):
        site.leg(f"old-{number}", ago_ms=1000, sip_authorized="true", sip_auth_username="1000",
                 sip_auth_realm="acme.example")
    with gevent.Timeout(10):
        site.sweep()
    assert len(site.scene.tracker) == (13 if starts == "of others" else 8)
    assert site.scene.tracker.expects("old-7") is False


def test_of_its_own_starts_a_look_has_only_a_few_under_way_while_the_switch_keeps_up(monkeypatch):
    under_way, most, jobs = 0, 0, []

    def slow(function, *args):
        def run():
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            for _ in range(50):
                gevent.sleep(0)
            function(*args)
            under_way -= 1
        jobs.append(gevent.spawn(run))

    site = Site(monkeypatch, spawn=slow)
    for number in range(40):
        site.leg(f"old-{number}", ago_ms=1000, sip_authorized="true", sip_auth_username="1000",
                 sip_auth_realm="acme.example")
    site.sweep()
    gevent.joinall(jobs, raise_error=True)
    assert most <= 5 and len(site.started()) == 40


def test_other_calls_do_not_wait_for_legs_that_are_taken_in(site):
    site.talk()
    armed = []

    def another_call():
        site.scene.phone_calls("new", "1002").rings("called", "new", "1000")
        armed.extend(site.scene.armed("called"))

    site.meanwhile["a"] = another_call
    site.sweep()
    assert len(armed) == 1


def test_an_answer_that_was_not_heard_is_made_good(site):
    site.scene.phone_calls("a", "1000").rings("b", "a", "1001")
    for uuid, partner in (("a", "b"), ("b", "a")):
        site.leg(uuid, "inbound" if uuid == "a" else "outbound", 3000, partner)
    armed = {uuid: list(site.scene.armed(uuid).values()) for uuid in "ab"}
    site.running = {"a": armed["a"]}  # of b the arming came too late
    for uuid in "ab":
        site.legs[uuid][0][f"variable_execute_on_answer_{site.rows()[uuid]['id']}"] = "record_session"
    site.sweep()
    site.scene.after(250)
    assert set(site.started()) == {"b"}
    rows = site.rows()
    assert {row["state"] for row in rows.values()} == {"recording"}
    assert not rows["a"]["spans"] and rows["b"]["state_reason"].startswith("3.2 s before it were missed")


def test_a_leg_s_end_that_was_not_heard_is_found_and_the_recording_closed(site):
    site.talk().sweep()
    site.started()
    site.legs.clear()
    site.sweep(doubtful=False)
    assert len(site.scene.tracker) == 0
    ends = {(row["state"], row["state_reason"]) for row in site.rows().values()}
    assert ends == {("stopped", "its end was not heard: the switch does not have it")}


def test_what_is_found_running_after_its_leg_was_asked_about_goes_on(site):
    site.talk(ago_ms=0)
    site.scene.phone_calls("a", "1000").rings("b", "a", "1001").bridge("a", "b").answer_unarmed("a").answer_unarmed("b")

    def begins():
        for command in site.asked:
            if ours := re.fullmatch(r"api uuid_record (\S+) start (\S+) .*", command):
                site.running[ours[1]] = [ours[2]]
        site.scene.after(250)

    answer, looked = site.answer, []

    def late(command, timeout_s, into=None):
        reply = answer(command, timeout_s, into)
        if command == "api uuid_buglist a" and not looked:
            looked.append(command)
            begins()
        return reply

    site.recovery.sweep(late, True)
    site.scene.after(250)
    rows = [row for row in site.scene.rows.by_id.values() if row["call_id"] == "a"]
    assert [row["state"] for row in rows] == ["recording"]


def test_a_recording_that_ended_unheard_is_closed_while_its_leg_goes_on(site):
    site.talk().sweep()
    site.running = {"a": site.started()["a"]}
    site.sweep()
    assert (site.rows()["a"]["state"], site.rows()["b"]["state"]) == ("recording", "stopped")


def test_of_a_recording_that_ended_unheard_while_its_leg_goes_on_there_is_another(site):
    site.talk().sweep()
    site.running = {"a": site.started()["a"]}
    first = site.rows()["b"]
    site.scene.after(4000)
    site.sweep().scene.after(250)
    second = site.rows()["b"]
    assert (first["state"], first["partial"], first["state_reason"]) == ("stopped", True, "its end was not heard")
    assert second["id"] != first["id"] and set(site.started()) == {"a", "b"}


def test_one_whose_limit_fell_into_an_outage_has_reached_it_and_its_call_is_not_ended(monkeypatch):
    (_, account, id, body), *phones = DOCUMENTS
    limited = {"endpoint": {"any": {"any": {"enabled": True, "time_limit": 60}}}}
    site = Site(monkeypatch, [("account", account, id, {
        **body, "on_no_recording": "hangup", "call_recording": limited}), *phones])
    site.talk().sweep()
    site.started()
    site.recovery.lost()
    site.scene.after(61_000)
    site.sweep()
    for _ in range(10):
        site.scene.after(1000)
    assert {row["state"] for row in site.rows().values()} == {"stopped"} and len(site.scene.rows.by_id) == 2
    assert all(row["truncated_by_limit"] for row in site.rows().values())
    assert not site.scene.switch.of("uuid_kill") and site.recorder.missing(site.scene.now) == (0, 0)


def test_a_row_that_delivery_has_made_of_a_file_is_closed_where_the_switch_does_not_record_it(site):
    site.talk().sweep()
    site.running = site.started()
    (running,) = site.running["a"]
    made = {"call_id": "a", "node": "fs1", "state": "recording", "account_id": "acme", "started_ms": 1, "settings": {},
            "spans": []}
    rows = site.scene.rows
    for recording_id, master in (("is over", "acme/20261121/over.wav"), ("goes on", "acme/20261121/on.wav")):
        rows.insert({**made, "id": recording_id, "master": master})
    site.running["a"] = [running, f"{ROOT}/acme/20261121/on.wav"]
    site.recovery.close_left(site.answer)
    assert {row["state"] for row in rows.by_id.values()} == {"recording"}, "one look may be before its engine's word"
    site.recovery.close_left(site.answer)
    assert {row["state"] for recording_id, row in rows.by_id.items() if recording_id != "is over"} == {"recording"}
    assert (rows.by_id["is over"]["state"], rows.by_id["is over"]["state_reason"]) == (
        "stopped", "its end was not heard")


def test_what_an_engine_armed_or_began_that_died_before_its_row_was_written_has_no_double(site):
    armed, running, elsewhere = (f"202611-{digit * 32}" for digit in "def")
    site.leg("a", sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example",
             **{f"execute_on_answer_{armed}": f"record_session {ROOT}/acme/20261121/{armed}.wav",
                f"execute_on_answer_{elsewhere}": f"record_session /elsewhere/acme/20261121/{elsewhere}.wav"})
    site.leg("c", ago_ms=1000, sip_authorized="true", sip_auth_username="1002", sip_auth_realm="acme.example")
    site.running = {"c": [f"{ROOT}/acme/20261121/{running}.wav"]}
    site.sweep()
    assert len(site.scene.switch.of(f"execute_on_answer_{armed}")) == 1
    assert not site.scene.switch.of(elsewhere), "it is another engine's"
    assert site.scene.switch.of(f"uuid_record c stop {ROOT}/acme/20261121/{running}.wav")
    assert set(site.rows()) == {"c"} and running not in site.scene.rows.by_id


def before_and_after(monkeypatch):
    """A leg has answered that an engine armed: (the engine after it, which has not looked yet; the row; the path)."""
    (_, account, id, body), *phones = DOCUMENTS
    everything = {**body, "call_recording": {"account": {"any": {"any": {"enabled": True}}}}}
    site, later = (Site(monkeypatch, [("account", account, id, everything), *phones], has_files=True) for _ in range(2))
    caller = {"sip_authorized": "true", "sip_auth_username": "1002", "sip_auth_realm": "acme.example"}
    site.leg("a", dialed_user="1001", dialed_domain="acme.example", **caller).sweep()
    (row,) = site.scene.rows.by_id.values()
    path = f"{ROOT}/{row['master']}"
    later.leg("a", dialed_user="1001", dialed_domain="acme.example", ago_ms=0,
              **caller, **{f"execute_on_answer_{row['id']}": f"record_session {path} +0"})
    later.running = {"a": [path]}
    return later, row, path


def test_a_leg_that_was_armed_by_an_engine_before_is_not_planned_for_as_it_answers(monkeypatch):
    later, row, _ = before_and_after(monkeypatch)
    later.scene.rows.by_id[row["id"]] = row
    later.scene.event("CHANNEL_ANSWER", "a", **{**later.legs["a"][0], "Event-Name": "CHANNEL_ANSWER"})
    assert len(later.scene.rows.by_id) == 1
    later.sweep()
    assert len(later.scene.rows.by_id) == 1 and not later.scene.switch.of("uuid_record")
    assert later.scene.rows.by_id[row["id"]]["state"] == "recording"


def test_what_an_engine_began_whose_row_comes_late_goes_on(monkeypatch):
    """It was cut off from the database."""
    later, row, _ = before_and_after(monkeypatch)
    later.meanwhile["a"] = lambda: later.scene.rows.by_id.update({row["id"]: row})
    later.sweep()
    assert not later.scene.switch.of("uuid_record") and list(later.scene.rows.by_id) == [row["id"]]
    assert row["state"] == "recording"


def test_what_an_engine_began_that_had_not_heard_of_this_one_ends_and_this_one_s_goes_on(monkeypatch):
    """This one has heard of the leg from its beginning."""
    later, row, path = before_and_after(monkeypatch)
    dump = {header: value for header, value in later.legs["a"][0].items() if "execute_on_answer" not in header}
    later.scene.event("CHANNEL_CREATE", "a", **{**dump, "Event-Name": "CHANNEL_CREATE",
                                                "Caller-Channel-Answered-Time": "0", "Answer-State": "ringing"})
    later.scene.rows.by_id[row["id"]] = row
    later.sweep()
    assert later.scene.switch.of(f"uuid_record a stop {path}")
    (own,) = later.scene.rows.by_id.keys() - {row["id"]}
    assert not later.scene.switch.of(f"stop {ROOT}/{later.scene.rows.by_id[own]['master']}")


def test_what_is_closed_as_nothing_of_it_was_recorded_is_told(site):
    one = site.scene
    one.phone_calls("a", "1000").rings("b", "a", "1001")
    ids = list(one.rows.by_id)
    after = Scene(DOCUMENTS)
    recovery = Recovery("fs1", after.tracker, after.recorder, after.registrations, one.rows,
                        Files(ROOT, ROOT, lambda function, args: False),
                        SwitchClock(lambda: one.epoch_ms, lambda: one.now), lambda: one.now,
                        webhook=lambda row, state: f"{row['id']} {state}")
    recovery.sweep(site.answer, True)
    assert {row["state"] for row in one.rows.by_id.values()} == {"failed"}, "nobody knows whether it was answered"
    assert one.rows.told == [(id, f"{id} failed") for id in ids] and ids


@pytest.mark.parametrize(("there", "heard_after_ms", "state"), [
    (True, 0, "discarded"), (True, 3000, "failed"), (False, 0, "failed")])
def test_a_leg_that_ends_unheard_as_it_rings_was_not_recorded_if_armed_in_time(monkeypatch, there, heard_after_ms,
                                                                               state):
    site = Site(monkeypatch, [("account", "acme", "acme", {
        "realm": "acme.example", "call_recording": {"account": {"any": {"any": {"enabled": True}}}}})])
    site.recovery._files = Files(ROOT, ROOT, lambda function, args: False)
    if there:
        site.leg("a")
    made_ms = site.scene.epoch_ms
    site.scene.now += heard_after_ms
    site.scene.event("CHANNEL_CREATE", "a", **{
        "Call-Direction": "inbound", "Channel-Name": "sofia/internal/x", "variable_sip_authorized": "true",
        "variable_sip_auth_username": "1000", "variable_sip_auth_realm": "acme.example",
        "Event-Date-Timestamp": str(made_ms * 1000)})
    site.legs = {}
    site.sweep()
    assert [row["state"] for row in site.scene.rows.by_id.values()] == [state]


def after_a_kill(site, has_files=False):
    """Another engine, with the rows of the one before."""
    after = Site.__new__(Site)
    after.__dict__ |= site.__dict__
    after.scene = Scene(DOCUMENTS, send=after.answer, rows=site.scene.rows)
    after.recorder, after.asked = after.scene.recorder, []
    after.scene.switch.send = after.answer
    after.recovery = Recovery("fs1", after.scene.tracker, after.recorder, after.scene.registrations, after.scene.rows,
                              Files(ROOT, ROOT, lambda function, args: has_files),
                              SwitchClock(lambda: after.scene.epoch_ms, lambda: after.scene.now),
                              lambda: after.scene.now)
    return after


@pytest.mark.parametrize(("has_files", "state"), [(True, "stopped"), (False, "failed")])
def test_of_a_talk_taken_in_by_an_engine_that_dies_at_once_it_is_told_what_was_missed(site, has_files, state):
    site.talk(ago_ms=12_400).sweep()
    after = after_a_kill(site, has_files)
    after.legs = {}
    rows = after.sweep().rows()
    assert {row["state"] for row in rows.values()} == {state}
    for row in rows.values():
        (gap,) = (span for span in row["spans"] if span["kind"] == "gap")
        assert gap["to_ms"] - gap["from_ms"] == 12_400


def test_what_an_engine_started_that_died_at_once_goes_on_with_what_was_missed_before_it(site):
    site.talk(ago_ms=12_400).sweep()
    paths = {row["call_id"]: f"{ROOT}/{row['master'].replace('.wav', '.f.wav')}" for row in site.rows().values()}
    after = after_a_kill(site)
    after.running = {uuid: [path] for uuid, path in paths.items()}
    rows = after.sweep().rows()
    assert len(after.scene.rows.by_id) == 2 and {row["state"] for row in rows.values()} == {"recording"}
    for row in rows.values():
        assert row["state_reason"] == "12.4 s before it were missed: the engine was not connected" and row["partial"]
        assert row["started_ms"] == row["armed_ms"]


def test_a_talk_that_ends_before_the_rest_of_it_could_be_recorded_is_reported(site):
    site.talk(ago_ms=12_400).sweep()
    for uuid in "ab":
        site.scene.hang_up(uuid)
    assert {(row["state"], row["state_reason"]) for row in site.rows().values()} == {
        ("failed", "ended before it started: the engine was not connected")}


def hangs_up(site, uuid):
    dump = site.legs.pop(uuid)[0]
    headers = {name: value for name, value in dump.items() if name not in ("Event-Name", "Unique-ID")}
    site.scene.event("CHANNEL_HANGUP_COMPLETE", uuid, **{
        **headers, "Answer-State": "hangup", "Channel-Call-State": "HANGUP"}).event("CHANNEL_DESTROY", uuid)


@pytest.mark.parametrize("which", ["a", "b", "ab"])
def test_a_leg_that_ends_before_its_turn_has_its_row(site, which):
    site.talk(ago_ms=12_400).leg("0", ago_ms=1000)
    site.meanwhile["0"] = lambda: [hangs_up(site, uuid) for uuid in which]
    with site.scene.slow_switch():
        rows = site.sweep().rows()
    assert set(rows) == {"a", "b"} and set(site.started()) == {"a", "b"} - set(which)
    assert {(rows[uuid]["state"], rows[uuid]["state_reason"]) for uuid in which} == {
        ("failed", "ended before it started: the engine was not connected")}
    assert site.scene.tracker.uuids() == {"0", "a", "b"} - set(which)


def test_of_a_leg_that_ends_before_its_turn_there_is_no_row_but_those_of_the_engine_before(site):
    site.talk(ago_ms=12_400).sweep()
    site.running = site.started()
    after = after_a_kill(site)
    after.leg("0", ago_ms=1000)

    def end():
        for uuid, row in after.rows().items():
            after.scene.record_stop(uuid, row["id"], site.running[uuid][0])
            hangs_up(after, uuid)

    after.meanwhile["0"] = end
    after.sweep()
    assert [row["state"] for row in after.scene.rows.by_id.values()] == ["stopped", "stopped"]


def test_recovered_legs_are_recorded_again_and_the_gap_is_told(site):
    site.talk().sweep()
    site.started()
    before = set(site.scene.rows.by_id)
    site.scene.after(4000)
    site.recovery.lost()
    site.scene.after(2000)
    site.recovery.restarted()
    for uuid in "ba":  # as they come: the called leg first, answered already
        dump = dict(site.legs[uuid][0])
        del dump["Caller-Channel-Bridged-Time"], dump["Event-Date-Timestamp"]
        site.scene.event("CHANNEL_CREATE", uuid, **{key: value for key, value in dump.items() if key != "Event-Name"})
    site.scene.after(140).bridge("a", "b")
    again = {row["call_id"]: row for id, row in site.scene.rows.by_id.items() if id not in before}
    site.started()
    assert {uuid: (row["state"], row["rule"]) for uuid, row in again.items()} == {
        "a": ("recording", "caller.outbound"), "b": ("recording", "callee.inbound")}
    assert again["a"]["state_reason"] == "2.1 s before it were missed: the switch was restarted"
    site.running = {uuid: [f"{ROOT}/{row['master']}"] for uuid, row in again.items()}
    site.sweep()
    assert {site.scene.rows.by_id[id]["state"] for id in before} == {"stopped"}
    assert {row["state"] for row in again.values()} == {"recording"}


def test_a_recovered_leg_that_talks_to_the_switch_is_recorded_when_it_has_media(site):
    site.leg("a", ago_ms=5000, sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example")
    dump = site.legs["a"][0]
    site.scene.event("CHANNEL_CREATE", "a", **{key: value for key, value in dump.items() if key != "Event-Name"})
    assert not site.rows()
    site.scene.after(1000)
    assert site.rows()["a"]["rule"] == "caller.outbound" and site.started()


def test_two_thousand_legs_are_asked_about_a_few_at_a_time(site):
    busy = most = 0

    def slow(command, timeout_s, into=None):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        gevent.sleep(0)
        busy -= 1
        return site.answer(command, timeout_s, into)

    for number in range(2000):
        site.leg(f"leg-{number}", ago_ms=1000)
    site.recovery.sweep(slow, True)
    assert len(site.scene.tracker) == 2000 and most <= 4


@pytest.mark.parametrize("noticed_after_ms", [0, 45_000])
def test_of_a_call_that_ended_while_we_were_away_as_much_is_expected_as_was_heard(site, noticed_after_ms):
    """A peer that is silent is given up 45 s later: what is expected ends where it was heard last."""
    site.talk().sweep()
    site.started()
    site.scene.after(4000 + noticed_after_ms)
    site.recovery.lost(site.scene.now - noticed_after_ms)
    site.legs.clear()
    site.scene.after(60_000)
    site.recovery.connected(site.answer)
    site.sweep()
    for row in site.rows().values():
        assert (row["state"], row["expected_ms"], row["stopped_ms"] - row["started_ms"]) == ("stopped", 4000, 4000)
        assert row["state_reason"] == "its end was not heard: the switch does not have it"
    assert len(site.rows()) == 2


def test_a_recording_whose_switch_was_killed_says_so_and_how_long_it_should_be(site):
    site.talk().sweep()
    site.started()
    site.scene.after(1000)
    site.scene.tracker.feed(Event({"Event-Name": "CHANNEL_HOLD", "Unique-ID": "a", "Event-Date-Timestamp": str(
        site.scene.epoch_ms * 1000)}), site.scene.now)
    site.scene.after(3000)
    site.recovery.lost()
    site.scene.after(60_000)
    site.recovery.restarted()
    rows = site.rows()
    assert {uuid: (row["state"], row["expected_ms"], row["partial"]) for uuid, row in rows.items()} == {
        "a": ("stopped", 1000, True), "b": ("stopped", 4000, True)}  # partial for the talk before
    assert {row["state_reason"] for row in rows.values()} == {"its end was not heard: the switch was restarted"}
    assert not len(site.scene.recorder)


def test_a_row_whose_end_was_heard_while_its_leg_hung_up_is_closed_as_it_is(site):
    site.scene.rows.insert({"id": "202611-" + "0" * 32, "node": "fs1", "call_id": "gone", "state": "recording",
                            "state_reason": None, "master": "acme/20261121/x.wav", "started_ms": 1, "stopped_ms": 5001,
                            "expected_ms": 5000, "spans": [], "settings": {}})
    site.sweep()
    row = site.rows()["gone"]
    assert (row["state"], row["stopped_ms"], row["spans"], row["state_reason"]) == ("stopped", 5001, [], None)


def is_over(site, recording, how):
    if how == "called off":
        site.recorder.call_off(recording, "somebody stopped it before it began", site.scene.now)
    else:
        site.recorder.drop(recording, "the call went offnet", site.scene.now)


@pytest.mark.parametrize("how", ["called off", "dropped"])
def test_what_should_not_be_and_runs_is_ended_by_an_engine_after_it(site, monkeypatch, how):
    site.talk().sweep()
    site.running = site.started()
    (path,) = site.running["a"]
    (recording,) = site.scene.tracker.leg("a").recordings
    is_over(site, recording, how)  # and it is killed before the switch has obeyed
    row = site.rows()["a"]
    assert row["state"] == "discarded"
    later = Site(monkeypatch)
    later.scene.rows.by_id, later.legs, later.running = site.scene.rows.by_id, site.legs, site.running
    later.sweep()
    assert later.scene.switch.of("uuid_record a stop") == [f"api uuid_record a stop {path}"]
    later.scene.after(1000)
    assert len(later.scene.switch.of("uuid_record a stop")) == 2, "until it has ended"
    later.scene.record_stop("a", recording.id, path)
    assert later.scene.removed == [path.removeprefix(f"{ROOT}/")]
    row = later.scene.rows.by_id[recording.id]
    assert (row["state"], row["state_reason"]) == ("discarded", recording.reason)
    of_rule = [one for one in later.scene.rows.by_id.values() if one["call_id"] == "a"]
    assert len(of_rule) == (1 if how == "called off" else 2), "what somebody stopped no rule asks for again"


@pytest.mark.parametrize("how", ["called off", "dropped"])
def test_what_should_not_be_and_is_armed_is_disarmed_by_an_engine_after_it_or_ended(site, monkeypatch, how):
    site.leg("a", sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example")
    site.leg("b", "outbound", originator="a", dialed_user="1001", dialed_domain="acme.example").sweep()
    later = Site(monkeypatch)
    later.scene.rows.by_id, later.legs = site.scene.rows.by_id, site.legs
    (recording,) = site.scene.tracker.leg("a").recordings
    is_over(site, recording, how)
    later.legs["a"][0][f"variable_execute_on_answer_{recording.id}"] = "record_session"
    later.sweep()
    assert later.scene.switch.of(f"uuid_setvar_multi a execute_on_answer_{recording.id}=")
    path = f"{ROOT}/{recording.armed_path}"
    later.scene.record_start("a", recording.id, path)
    assert later.scene.switch.of("uuid_record a stop") == [f"api uuid_record a stop {path}"]
    later.scene.record_stop("a", recording.id, path)
    assert later.scene.rows.by_id[recording.id]["state"] == "discarded"
    assert recording.armed_path in later.scene.removed


def test_what_was_dropped_and_ran_when_the_switch_was_lost_leaves_nothing(site):
    site.talk().sweep()
    site.started()
    for leg in site.scene.tracker.legs():
        for recording in leg.recordings:
            site.recorder.drop(recording, "called off", site.scene.now)
    site.recovery.lost()
    site.recovery.restarted()
    assert {row["state"] for row in site.rows().values()} == {"discarded"}


def test_an_end_that_was_on_its_way_while_the_switch_was_asked_is_no_error(site):
    site.talk().sweep()
    running = site.started()
    site.sweep()  # the switch lists nothing any more
    with capture_logs() as said:
        for uuid, row in site.rows().items():
            site.scene.record_stop(uuid, row["id"], running[uuid][0])
        gevent.idle()
    assert not said and {row["state_reason"] for row in site.rows().values()} == {"its end was not heard"}


def recovered(site):
    """The switch was killed, and has recovered the talk (`sofia recover`)."""
    site.recovery.lost()
    site.scene.after(2000)
    site.recovery.restarted()
    for uuid in "ba":
        dump = dict(site.legs[uuid][0])
        del dump["Caller-Channel-Bridged-Time"], dump["Event-Date-Timestamp"]
        site.scene.event("CHANNEL_CREATE", uuid, **{key: value for key, value in dump.items() if key != "Event-Name"})
    site.scene.after(140).bridge("a", "b")


def taken_in(site):
    """The switch was killed, and was connected again when it had recovered the talk."""
    site.recovery.lost()
    site.scene.after(2000)
    site.recovery.restarted()
    site.running = {}
    site.sweep()


@pytest.mark.parametrize("again", [recovered, taken_in])
@pytest.mark.parametrize("kind", ["mask", "pause"])
def test_what_was_silent_when_its_switch_was_killed_begins_when_that_ends(site, again, kind):
    site.talk().sweep()
    site.started()
    before = site.rows()
    (recording,) = site.scene.tracker.leg("a").recordings
    site.recorder.silence(recording, kind)
    site.asked.clear()
    again(site)
    assert set(site.started()) == {"b"}
    row = site.rows()["a"]
    assert row["id"] != before["a"]["id"] and row["state"] == "armed"
    assert [(span["kind"], span["to_ms"]) for span in row["spans"] if span["kind"] != "gap"] == [(kind, None)]
    site.recorder.unsilence(site.recorder.live(site.scene.tracker.leg("a"))[0], kind, site.scene.epoch_ms)
    site.scene.after(250)
    assert set(site.started()) == {"a", "b"}


@pytest.mark.parametrize("again", [recovered, taken_in])
def test_what_was_stopped_before_its_switch_was_killed_is_not_made_again(site, again):
    site.talk().sweep()
    (path,) = site.started()["a"]
    (recording,) = site.scene.tracker.leg("a").recordings
    site.recorder.ends(recording, site.scene.now)
    site.scene.record_stop("a", recording.id, path)
    site.asked.clear()
    again(site)
    assert set(site.started()) == {"b"}


def test_what_took_the_place_of_one_that_was_ended_for_it_is_made_again(site):
    site.talk().sweep()
    (path,) = site.started()["a"]
    (recording,) = site.scene.tracker.leg("a").recordings
    site.recorder.renew(recording, site.scene.now)
    site.scene.record_stop("a", recording.id, path)
    site.asked.clear()
    recovered(site)
    assert set(site.started()) == {"a", "b"}


@pytest.mark.parametrize("again", [recovered, taken_in])
def test_who_declined_before_the_switch_was_killed_is_not_recorded(monkeypatch, again):
    (_, account, id, body), *phones = DOCUMENTS
    asks = {"endpoint": {"any": {"any": {"enabled": True, "announce": {"opt_out_digit": "9"}}}}}
    site = Site(monkeypatch, [("account", account, id, {**body, "call_recording": asks}), *phones])
    site.talk().sweep()
    site.started()
    site.scene.event("DTMF", "b", **{"DTMF-Digit": "9"})
    site.asked.clear()
    again(site)
    assert not site.started()


def test_a_mask_whose_recording_ended_while_the_engine_was_dead_goes_on_in_the_next(site):
    site.talk().sweep()
    site.running = site.started()
    (recording,) = site.scene.tracker.leg("a").recordings
    site.recorder.silence(recording, "mask")
    del site.running["a"]  # nobody ordered it
    after = after_a_kill(site).sweep()
    assert not after.started()
    spans = [span for row in after.scene.rows.by_id.values() if row["id"] != recording.id for span in row["spans"]]
    assert [span["to_ms"] for span in spans if span["kind"] == "mask"] == [None]
