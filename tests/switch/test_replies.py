"""What FreeSWITCH answers, as measured on 1.10.12."""

import pytest

from kazoo_rec.errors import CommandFailed, ProtocolBroken
from kazoo_rec.switch import replies

BUGS = """<media-bugs>
 <media-bug>
  <function>session_record</function>
  <target>/r/a.wav</target>
  <thread-locked>0</thread-locked>
 </media-bug>
 <media-bug>
  <function>spy</function>
  <target>/r/no.wav</target>
  <thread-locked>0</thread-locked>
 </media-bug>
 <media-bug>
  <function>session_record</function>
  <target>/r/b & c.wav</target>
  <thread-locked>0</thread-locked>
 </media-bug>
</media-bugs>
"""


@pytest.mark.parametrize("reply", [
    "-ERR Cannot locate session!\n", "-ERR no reply\n", "-USAGE: <uuid> <var>=<value>;<var>=<value>...\n",
    "-ERR No such channel!\n-USAGE: <uuid> <var>=<value>;<var>=<value>...\n",
])
def test_a_refusal_is_raised_with_its_text(reply):
    with pytest.raises(CommandFailed) as refusal:
        replies.check(reply)
    assert refusal.value.reply == reply.strip()
    for read in (replies.channels, replies.registrations, replies.leg, replies.recorded, replies.exists):
        with pytest.raises(CommandFailed):
            read(reply)


@pytest.mark.parametrize("reply", ["+OK\n", "+OK Success\n", "true", "", "UP 0 years"])
def test_any_other_reply_is_itself(reply):
    assert replies.check(reply) == reply


def test_the_recordings_of_a_leg_are_read_and_nothing_else_that_listens_to_it():
    assert replies.recorded(BUGS) == ["/r/a.wav", "/r/b & c.wav"]
    assert replies.recorded("<media-bugs>\n</media-bugs>\n") == []


def test_channels_are_rows_and_none_is_no_row():
    one = '{"row_count":1,"rows":[{"uuid":"a","cid_name":"x\\ny Ren\udce9"}]}'
    assert replies.channels(one) == [{"uuid": "a", "cid_name": "x\ny Ren\udce9"}]
    assert replies.channels('{"row_count": 0}') == []


def test_registrations_are_rows():
    assert replies.registrations('{"row_count":1,"rows":[{"reg_user":"1000"}]}') == [{"reg_user": "1000"}]


@pytest.mark.parametrize("reply", ["", "uuid,direction\n", '{"rows":7}', '{"rows":[7]}', '{"rows":[{}]}', "[]"])
def test_what_is_no_list_breaks_the_protocol(reply):
    with pytest.raises(ProtocolBroken):
        replies.channels(reply)


def test_a_leg_reads_as_an_event():
    leg = replies.leg('{"Event-Name":"CHANNEL_DATA","Unique-ID":"a","variable_x":"Ren\udce9"}')
    assert (leg.name, leg.uuid, leg.variable("x")) == ("CHANNEL_DATA", "a", "Ren\udce9")


ROOMS = """[{"conference_name":	"3500", "rate": 8000, "run_time":	6, "conference_uuid": "r1", "members":	[
    {"type": "recording_node", "record_path": "/r/a.wav", "join_time": 1795220355},
    {"type": "caller", "id": 3, "flags": {"can_hear": true, "can_speak": true}, "uuid": "a", "caller_id_name": "\\"]}"},
    {"type": "caller", "id": 2, "flags": {"can_hear": true, "can_speak": false}, "uuid": "b"},
    {"type": "another", "id": 4}]}]"""


def test_rooms_are_read_with_who_may_speak_and_what_is_recorded():
    assert replies.rooms(ROOMS) == [("3500", "r1", 6, {"a": True, "b": False}, {"/r/a.wav": 1795220355})]
    assert replies.rooms("[]\n") == []


@pytest.mark.parametrize("reply", ["", "{}", "7", "[7]", "[{}]", '[{"members":[{}]}]'])
def test_what_is_no_list_of_rooms_breaks_the_protocol(reply):
    with pytest.raises(ProtocolBroken):
        replies.rooms(reply)


def test_a_reply_of_several_lines_is_refused_by_any_of_them():
    assert replies.check_lines("Stopped recording file /r/a.wav\n+OK Stopped recording 0 files\n")
    with pytest.raises(CommandFailed, match="non-existant"):
        replies.check_lines("+OK Pause recording file /r/a.wav\n-ERR non-existant recording '/r/a.wav'\n")


def test_existence_is_true_or_not():
    assert replies.exists("true") and not replies.exists("false")


@pytest.mark.parametrize("reply, version", [
    ("FreeSWITCH Version 1.10.12-release~64bit ( 64bit)\n", (1, 10, 12)), ("FreeSWITCH Version unknown\n", None),
])
def test_a_version_is_three_numbers(reply, version):
    assert replies.version(reply) == version


def test_global_variables_are_one_a_line():
    assert replies.variables("hold_music=tone_stream://%(1,2,3);a=b\ncore_uuid=x\n\n") == {
        "hold_music": "tone_stream://%(1,2,3);a=b", "core_uuid": "x"}


def test_settings_are_those_of_each_profile_and_those_outside():
    reply = """<configuration name="x.conf"><settings><param name="listen-ip" value="::"/></settings><profiles>
        <profile name="internal"><gateways><gateway><param name="password" value="s"/></gateway></gateways>
        <settings><param name="context" value="public"></param></settings></profile></profiles></configuration>"""
    assert list(replies.settings(reply)) == [("", "listen-ip", "::"), ("internal", "context", "public")]


@pytest.mark.parametrize("reply", ["can't find anything\n", "<configuration>", ""])
def test_a_configuration_that_is_no_xml_is_refused(reply):
    with pytest.raises(ProtocolBroken):
        list(replies.settings(reply))


def test_a_time_is_milliseconds_and_nothing_else_is_one():
    assert replies.clock("1795283210161365\n") == 1_795_283_210_161
    for wrong in ("", "soon", "-1", "1e3", "\u0661", "9" * 40):
        with pytest.raises((ProtocolBroken, CommandFailed)):
            replies.clock(wrong)
