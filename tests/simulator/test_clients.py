"""Clients that others wrote, as published, at the simulator: greenswitch and fs_cli."""

import os
import shutil
from importlib.metadata import version

import gevent
import greenswitch
import pytest
from gevent import subprocess
from gevent.server import StreamServer
from greenswitch.esl import OutboundSession

from kazoo_rec.simulator.clock import WallClock
from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import alice, bob

FS_CLI = os.environ.get("FS_CLI") or shutil.which("fs_cli")


@pytest.fixture
def clock():
    return WallClock()


@pytest.fixture
def stock(switch):
    assert version("greenswitch") == "0.0.19"
    client = greenswitch.InboundESL("127.0.0.1", switch.address[1], "ClueCon")
    client.connect()
    yield client
    client.stop()


def test_stock_greenswitch_gets_replies_and_its_handlers_get_events(switch, stock):
    heard, every, ended = [], [], gevent.event.Event()
    stock.register_handle("CHANNEL_CREATE", heard.append)
    stock.register_handle("*", every.append)
    stock.register_handle("CHANNEL_DESTROY", lambda event: ended.set())
    assert stock.send("events plain ALL").data == "+OK event listener enabled plain"
    call = switch.play(Script(alice(name="Jürgen: 100%", hangs_up=0.4), (bob(answers=0.1),)))
    assert ended.wait(5) and call.wait(5)
    assert stock.send(f"api uuid_exists {call.legs[0].uuid}").data == "false"
    assert [event.headers["Unique-ID"] for event in heard] == [leg.uuid for leg in call.legs]
    assert heard[0].headers["Caller-Caller-ID-Name"] == "Jürgen: 100%"
    assert {event.headers["Event-Name"] for event in every} >= {"CHANNEL_ANSWER", "CHANNEL_BRIDGE", "CALL_UPDATE"}


def test_stock_greenswitch_gets_the_result_of_a_background_job(stock):
    done = gevent.event.AsyncResult()
    stock.register_handle("BACKGROUND_JOB", done.set)
    stock.send("events plain BACKGROUND_JOB")
    reply = stock.send("bgapi hostname")
    assert done.get(timeout=5).headers["Job-UUID"] == reply.headers["Job-UUID"]


def test_stock_greenswitch_is_told_of_a_wrong_password(switch):
    client = greenswitch.InboundESL("127.0.0.1", switch.address[1], "wrong")
    with pytest.raises(ValueError, match="Invalid password"):
        client.connect()
    client.stop()


@pytest.mark.skipif(not FS_CLI, reason="no fs_cli on PATH, and FS_CLI names none")
@pytest.mark.parametrize(("command", "printed"), [
    ("hostname", "fs1.example"), ("uuid_exists 0000", "false"), ("uuid_dump 0000", "-ERR No such channel!"),
    ("show channels as json", '{"row_count": 0}'), ("nosuch x", "-ERR nosuch Command not found!"),
    ("global_getvar nope", "-ERR no reply"),
])
def test_fs_cli_prints_what_the_switch_answers(switch, command, printed):
    port = str(switch.address[1])
    done = subprocess.run([FS_CLI, "-H", "127.0.0.1", "-P", port, "-p", "ClueCon", "-x", command],
                          capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout.strip()) == (0, printed)


def test_stock_greenswitchs_outbound_session_controls_a_leg(switch):
    taken = gevent.event.AsyncResult()

    def control(sock, address):
        session = OutboundSession(address, sock)
        session.connect()
        session.myevents()
        session.linger(5)
        session.call_command("answer", block=True, response_timeout=5)
        session.call_command("set", "a=b", block=True, response_timeout=5)
        taken.set(session.uuid)
        session.stop()

    program = StreamServer(("127.0.0.1", 0), control)
    program.start()
    call = switch.play(Script(alice(), dials="7000", dialplan=(
        f"socket 127.0.0.1:{program.server_port} async full", "set came_behind=yes")))
    assert taken.get(timeout=5) == call.legs[0].uuid and call.wait(5)
    assert call.legs[0].answered and {"a": "b", "came_behind": "yes"}.items() <= call.legs[0].variables.items()
    program.stop()
