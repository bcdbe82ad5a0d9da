"""Replies of `api`, to the byte as FreeSWITCH 1.10.12 gives them."""

import json

import gevent
import pytest

from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import alice, bob, pstn

NO_CHANNEL = "-ERR No such channel!\n"
RECORD_USAGE = "-USAGE: <uuid> [start|stop|mask|unmask] <path> [<limit>] [<recording_vars>]\n"


@pytest.mark.parametrize(("command", "reply"), [
    ("uuid_exists 0000", "false"), ("uuid_exists", "false"),
    ("uuid_dump 0000", NO_CHANNEL), ("uuid_dump 0000 json", NO_CHANNEL), ("uuid_dump", "-USAGE: <uuid> [format]\n"),
    ("uuid_setvar 0000 a b", NO_CHANNEL), ("uuid_setvar 0000", "-USAGE: <uuid> <var> [value]\n"),
    ("uuid_setvar_multi 0000 a=b", NO_CHANNEL + "-USAGE: <uuid> <var>=<value>;<var>=<value>...\n"),
    ("uuid_setvar_multi", "-USAGE: <uuid> <var>=<value>;<var>=<value>...\n"),
    ("uuid_setvar_multi 0000", "-ERR no reply\n"),
    ("uuid_getvar 0000 a", NO_CHANNEL), ("uuid_getvar 0000", "-USAGE: <uuid> <var>\n"),
    ("uuid_kill 0000", NO_CHANNEL), ("uuid_kill", "-USAGE: <uuid> [cause]\n"),
    ("uuid_buglist 0000", "-ERR no reply\n"), ("uuid_buglist", "-USAGE: <uuid>\n"),
    ("uuid_record", RECORD_USAGE), ("uuid_record 0000", RECORD_USAGE), ("uuid_record 0000 start", RECORD_USAGE),
    ("uuid_record 0000 bogus /x.wav", RECORD_USAGE), ("uuid_record 0000 start /x.wav", "-ERR Cannot locate session!\n"),
    ("uuid_record 0000 stop /x.wav", "-ERR Cannot locate session!\n"),
    ("show channels", "\n0 total.\n"), ("show channels as json", '{"row_count": 0}\n'),
    ("show channels as nope", "-ERR Cannot find format nope\n"), ("show registrations as json", '{"row_count": 0}\n'),
    ("hostname", "fs1.example"), ("version", "FreeSWITCH Version 1.10.12-release~64bit ( 64bit)\n"),
    ("global_getvar hostname", "fs1.example"), ("global_getvar nope", "-ERR no reply\n"),
    ("originate user/9999@acme.example &park()", "-ERR SUBSCRIBER_ABSENT\n"), ("uptime", "0\n"),
    ("nosuchcommand x", "-ERR nosuchcommand Command not found!\n"), ("", "-ERR  Command not found!\n"),
])
def test_replies_without_a_call(switch, command, reply):
    assert switch.api(command) == reply


def test_status_says_how_long_it_is_up_and_what_goes_on(switch, clock, talk):
    clock.advance(3723.0 - 0.6)
    lines = switch.api("status").splitlines()
    assert lines[0] == "UP 0 years, 0 days, 1 hour, 2 minutes, 3 seconds, 0 milliseconds, 0 microseconds"
    assert lines[1].startswith("FreeSWITCH (Version 1.10.12-release") and lines[1].endswith("is ready")
    assert lines[2:4] == ["2 session(s) since startup", "2 session(s) - peak 2, last 5min 2 "]


def test_variables_are_set_read_and_taken_away(switch, talk):
    uuid = talk.legs[0].uuid

    def get(name):
        return switch.api(f"uuid_getvar {uuid} {name}")

    for command in ("a b", "ab  c d "):
        assert switch.api(f"uuid_setvar {uuid} {command}") == "+OK\n"
    assert switch.api(f"uuid_setvar_multi {uuid} x=1;y=2;z;q=a=b;r={{k=v,w=2}}") == "+OK\n"
    assert [get(name) for name in ("a", "ab", "x", "y", "z", "q", "r")] == [
        "b", "c d", "1", "2", "_undef_", "a=b", "{k=v,w=2}"]
    assert switch.api(f"uuid_setvar {uuid} a") == switch.api(f"uuid_setvar_multi {uuid} x=") == "+OK\n"
    assert (get("a"), get("x"), get("uuid")) == ("_undef_", "_undef_", uuid)


def test_a_dump_has_the_channel_in_three_forms(switch, talk):
    uuid = talk.legs[0].uuid
    event = json.loads(switch.api(f"uuid_dump {uuid} json"))
    assert (event["Event-Name"], event["Unique-ID"], event["Channel-Call-State"]) == ("CHANNEL_DATA", uuid, "ACTIVE")
    assert event["variable_DP_MATCH"] == ["1001", "1001"]
    plain, bracketed = switch.api(f"uuid_dump {uuid}"), switch.api(f"uuid_dump {uuid} plain")
    assert "\nChannel-Name: sofia/internal/1000%40acme.example\n" in plain and plain.endswith("\n\n")
    assert "\nChannel-Name: [sofia/internal/1000@acme.example]\n" in bracketed and bracketed.endswith("\n\n")


def test_the_bugs_of_a_leg_are_its_recordings(switch, talk, tmp_path):
    uuid, path = talk.legs[0].uuid, f"{tmp_path}/a&b.wav"
    assert switch.api(f"uuid_buglist {uuid}") == "<media-bugs>\n</media-bugs>\n"
    switch.api(f"uuid_record {uuid} start {path}")
    assert switch.api(f"uuid_buglist {uuid}") == (
        "<media-bugs>\n <media-bug>\n  <function>session_record</function>\n"
        f"  <target>{path}</target>\n  <thread-locked>0</thread-locked>\n </media-bug>\n</media-bugs>\n")


@pytest.mark.parametrize("form", ["'{}/a b.wav'", "{}/a\\ b.wav"])
def test_a_path_with_a_blank_is_quoted(switch, talk, tmp_path, form):
    assert switch.api(f"uuid_record {talk.legs[0].uuid} START {form.format(tmp_path)}") == "+OK Success\n"
    assert talk.legs[0].recordings[0].path == f"{tmp_path}/a b.wav"


# show channels

def test_channels_are_shown_a_tenth_of_a_second_late(switch, clock):
    def shown():
        return json.loads(switch.api("show channels as json"))["row_count"]

    call = switch.play(Script(alice(), (bob(),)))
    assert shown() == 0
    clock.advance(0.1)
    assert shown() == 2
    call.legs[0].hangup()
    clock.advance(0.05)
    assert shown() == 2 and switch.api(f"uuid_exists {call.legs[0].uuid}") == "false"
    clock.advance(0.1)
    assert shown() == 0


def test_rows_of_channels_are_the_switchs(switch, clock, talk):
    clock.advance(0.1)
    caller, callee = json.loads(switch.api("show channels as json"))["rows"]
    assert ",".join(caller) == (
        "uuid,direction,created,created_epoch,name,state,cid_name,cid_num,ip_addr,dest,application,application_data,"
        "dialplan,context,read_codec,read_rate,read_bit_rate,write_codec,write_rate,write_bit_rate,secure,hostname,"
        "presence_id,presence_data,accountcode,callstate,callee_name,callee_num,callee_direction,call_uuid,"
        "sent_callee_name,sent_callee_num,initial_cid_name,initial_cid_num,initial_ip_addr,initial_dest,"
        "initial_dialplan,initial_context")
    assert {"direction": "inbound", "state": "CS_EXECUTE", "application": "bridge", "callstate": "ACTIVE",
            "application_data": "user/1001@acme.example", "read_codec": "PCMU"}.items() <= caller.items()
    assert {"direction": "outbound", "state": "CS_EXCHANGE_MEDIA", "presence_id": "1001@acme.example",
            "cid_num": "1000"}.items() <= callee.items()
    assert json.loads(switch.api("show channels like 1001 as json"))["row_count"] == 1


def test_a_name_with_a_line_break_forges_a_line_in_the_table_and_nothing_in_json(switch, clock):
    switch.play(Script(pstn(name="x%0aforged,row"), (bob(),), dials="15550001001"))
    clock.advance(0.2)
    assert any(line.startswith("forged,row") for line in switch.api("show channels").splitlines())
    assert json.loads(switch.api("show channels as json"))["rows"][0]["cid_name"] == "x\nforged,row"


def test_phones_are_registered_with_their_contacts(switch, talk):
    rows = json.loads(switch.api("show registrations as json"))["rows"]
    assert [(row["reg_user"], row["realm"]) for row in rows] == [("1000", "acme.example"), ("1001", "acme.example")]
    assert rows[1]["url"] == "sofia/internal/sip:" + talk.legs[1].variables["sip_req_uri"]


# Ends and beginnings

@pytest.mark.parametrize(("leg", "causes"), [(0, ["USER_BUSY", "NORMAL_CLEARING"]), (1, ["USER_BUSY", "USER_BUSY"])])
def test_kill_ends_both_legs(switch, clock, talk, leg, causes):
    assert switch.api(f"uuid_kill {talk.legs[leg].uuid} USER_BUSY") == "+OK\n"
    clock.advance(0.1)
    assert [each.cause for each in talk.legs] == causes and talk.wait(0)


@pytest.mark.parametrize("phone", [bob(), bob(refuses="USER_BUSY")])
def test_originate_waits_for_the_answer(switch, clock, phone):
    switch.phones.add(phone)
    switch.phones.add(pstn())
    line = "originate {origination_uuid=my-uuid,a=b}user/1001@acme.example &bridge(sofia/gateway/carrier/442079460123)"
    waiting = gevent.spawn(switch.api, line)
    gevent.idle()
    assert switch.api("uuid_getvar my-uuid a") == "b" and not waiting.ready()
    clock.advance(2)
    assert waiting.get(timeout=5) == ("-ERR USER_BUSY\n" if phone.refuses else "+OK my-uuid\n")
    assert len(switch.legs) == (0 if phone.refuses else 2)


def test_a_name_that_is_not_utf_8_is_passed_on_as_it_came(switch, clock):
    switch.play(Script(pstn(name="x%ff"), (bob(),), dials="15550001001"))
    clock.advance(0.2)
    assert json.loads(switch.api("show channels as json"))["rows"][0]["cid_name"] == "x\udcff"
