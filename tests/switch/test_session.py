"""A leg that FreeSWITCH handed over does one thing after another, and its end is heard by who waits."""

import gevent
import pytest
from gevent import socket

from kazoo_rec.errors import CommandRefused, CommandTimeout, LegGone, NotConnected, ProtocolBroken, SwitchError
from kazoo_rec.switch import commands
from kazoo_rec.switch.session import Session
from tests.callflow.fakes import CHANNEL, FakeLeg
from tests.switch.fakes import PATIENCE_S, outcome


@pytest.fixture
def met():
    """Makes a session and its leg."""
    made = []

    def make(**options):
        ours, theirs = tcp_pair()
        session, leg = Session(ours), FakeLeg(theirs, **options)
        made.append((session, leg))
        return session, leg

    yield make
    for session, leg in made:
        session.close()
        leg.close()


@pytest.fixture
def connected(met):
    def make(**options):
        session, leg = met(**options)
        session.connect()
        return session, leg

    return make


def tcp_pair():
    listener = socket.create_server(("127.0.0.1", 0))
    theirs = socket.create_connection(listener.getsockname())
    ours, _ = listener.accept()
    listener.close()
    return ours, theirs


def test_all_about_the_leg_is_known_once_it_is_connected(met):
    session, leg = met(Caller_Caller_ID_Name="a%0Ab\nUnique-ID: forged\udce9")
    channel = session.connect()
    assert channel.uuid == CHANNEL["Unique-ID"] == session.uuid
    assert channel.get("Caller-Destination-Number") == "8084"
    assert channel.get("Caller-Caller-ID-Name") == "a%0Ab\nUnique-ID: forged\udce9"
    assert not session.answered
    assert leg.commands[:2] == [["connect"], ["myevents json"]]


def test_what_is_executed_is_sent_as_freeswitch_takes_it_and_waited_for(connected):
    session, leg = connected(slow=["playback"])
    done = gevent.spawn(session.execute, "playback", "tone_stream://%(800,0,440)")
    begun = leg.slow_one()
    assert leg.commands[-1] == ["sendmsg", "call-command: execute", "execute-app-name: playback",
                                "execute-app-arg: tone_stream://%(800,0,440)", f"Event-UUID: {begun[2]}"]
    assert not done.ready()
    leg.send(leg.event("CHANNEL_EXECUTE_COMPLETE", Application="playback", Application_UUID="another's"))
    leg.done(begun, variable_read="1")
    assert done.get(timeout=PATIENCE_S).variable("read") == "1"


def test_two_that_wait_get_each_their_own(connected):
    session, leg = connected(slow=["sleep"])
    one, two = gevent.spawn(session.execute, "sleep", "1"), gevent.spawn(session.execute, "sleep", "2")
    first, second = leg.slow_one(), leg.slow_one()
    leg.done(second, variable_n=second[1])
    leg.done(first, variable_n=first[1])
    assert (one.get(timeout=PATIENCE_S).variable("n"), two.get(timeout=PATIENCE_S).variable("n")) == ("1", "2")


def test_a_leg_that_is_answered_by_what_it_executes_is_known_to_be(connected):
    session, _ = connected()
    session.execute("answer")
    assert session.answered


def test_an_answered_leg_is_known_to_be(met):
    session, _ = met(Answer_State="answered")
    session.connect()
    assert session.answered


@pytest.mark.parametrize("end", ["hang_up", "close"])
def test_who_waits_hears_that_the_leg_is_gone_and_so_does_who_comes_later(connected, end):
    session, leg = connected(slow=["bridge"])
    waiting = gevent.spawn(outcome, session.execute, "bridge", "user/1001@acme.example")
    leg.slow_one()
    getattr(leg, end)()
    assert isinstance(waiting.get(timeout=PATIENCE_S), LegGone)
    with pytest.raises(LegGone):
        session.execute("answer")


def test_the_leg_that_hung_up_says_why(connected):
    session, leg = connected(slow=["sleep"])
    waiting = gevent.spawn(outcome, session.execute, "sleep", "1")
    leg.slow_one()
    leg.hang_up("ORIGINATOR_CANCEL")
    assert waiting.get(timeout=PATIENCE_S).detail == "ORIGINATOR_CANCEL"


def test_closing_ends_what_waits_and_the_socket(connected):
    session, leg = connected(slow=["sleep"])
    waiting = gevent.spawn(outcome, session.execute, "sleep", "1")
    leg.slow_one()
    session.close()
    assert isinstance(waiting.get(timeout=PATIENCE_S), LegGone)
    assert leg.ended.get(timeout=PATIENCE_S)


def test_a_leg_that_is_not_done_in_time_is_not_waited_for(connected):
    session, leg = connected(slow=["sleep"])
    with pytest.raises(CommandTimeout):
        session.execute("sleep", "1", timeout_s=0.01)
    leg.done(leg.slow_one())
    assert session.execute("answer").get("Application") == "answer"


def test_hanging_up_names_the_cause(connected):
    session, leg = connected()
    session.hangup("USER_BUSY")
    assert leg.hung_up.get(timeout=PATIENCE_S) == "USER_BUSY"


def test_a_leg_goes_on_at_once_when_its_session_closes(connected):
    session, leg = connected()
    session.close()
    assert leg.ended.get(timeout=PATIENCE_S) and leg.commands[-1] == ["resume"]


@pytest.mark.parametrize("parked", [True, False])
def test_a_leg_that_is_to_finish_something_does_not_go_on_before(connected, parked):
    session, leg = connected()
    if parked:
        session.execute("answer")
    session.keep()
    session.keep()
    assert leg.commands[-1] == [f"api uuid_setvar {leg.uuid} socket_resume"]
    assert leg.executed == (["answer"] if parked else ["set socket_resume=true"])
    session.close()
    assert leg.ended.get(timeout=PATIENCE_S) and leg.commands[-1] != ["resume"]


@pytest.mark.parametrize(("application", "argument"), [
    ("nosuchapp", ""), ("system", "reboot"), ("lua", "x.lua"), ("answer\n", ""), ("set", "a=b\n\nsendmsg"),
    ("set", "a=b\rc"), ("set", "a=${system(reboot)}"), ("set", "a=\\x"), ("set", "a" * 4001)])
def test_an_application_that_is_not_known_or_a_broken_argument_is_never_sent(connected, application, argument):
    session, leg = connected()
    with pytest.raises(CommandRefused):
        session.execute(application, argument)
    session.execute("answer")
    assert leg.executed == ["answer"]


@pytest.mark.parametrize(("said", "message"), [
    ({"Socket_Mode": "static"}, "cannot be led"), ({"Control": "single-channel"}, "cannot be led"),
    ({"Content_Type": "auth/request"}, "no leg"),
    ({"Unique_ID": None}, "no leg"), ({"variable_long": "x" * 1_100_000}, "too much")])
def test_what_is_no_leg_that_can_be_led_is_refused(met, said, message):
    session, _ = met(**said)
    with pytest.raises(ProtocolBroken, match=message):
        session.connect()
    with pytest.raises(SwitchError):
        session.execute("answer")


def test_too_much_is_refused_also_where_its_end_comes_with_it(met, monkeypatch):
    monkeypatch.setattr("kazoo_rec.switch.session.LARGEST_CHANNEL_BYTES", 100)
    session, _ = met()
    with pytest.raises(ProtocolBroken, match="too much"):
        session.connect()


def test_who_never_says_whose_call_it_is_is_given_up(met):
    session, leg = met()
    leg.connect_reply = b"Event-Name: CHANNEL_DATA\n"
    with pytest.raises(NotConnected):
        session.connect(timeout_s=0.01)
    assert leg.ended.get(timeout=PATIENCE_S)


def test_a_socket_that_ends_instead_of_an_answer_is_told(met):
    session, leg = met()
    leg.close()
    with pytest.raises(NotConnected):
        session.connect()


def test_a_leg_that_goes_while_it_is_met_is_gone(met):
    session, leg = met()
    leg.refuses = "myevents json"
    with pytest.raises(LegGone):
        session.connect()


def test_every_application_of_commands_is_one_that_is_sent():
    made = [commands.answer(), commands.variable("a", "b"), commands.variable("a", "b", export=True),
            commands.forget("a"), commands.play("a.wav"), commands.play_recording("/r/a.wav"), commands.wait(1),
            commands.record("/r/a.wav", 5), commands.digits(1, 2, 3, None), commands.conference("r", "default"),
            commands.bridge([commands.Carrier("gw", "1", 5)]), commands.respond(486, "Busy Here")]
    assert {one.name for one in made} == commands.APPLICATIONS
