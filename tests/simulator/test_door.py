"""What a simulator is told through its door."""

import json
import re
import socket
import subprocess
import sys

import gevent
import pytest

from kazoo_rec.simulator import door
from tests.simulator.conftest import Client

CALL = {"calls": [{"caller": {"user": "1000", "domain": "acme.example"},
                   "called": {"user": "1001", "domain": "acme.example", "answers": 0.5}}]}


@pytest.fixture
def told(switch):
    """Says a line through the door, gives the answer."""
    inside, outside = socket.socketpair()
    answers = gevent.queue.Queue()
    serving = gevent.spawn(door.serve, switch, inside.fileno(), answers.put)

    def say(line):
        outside.sendall(line.encode() + b"\n")
        return answers.get(timeout=5)

    yield say
    outside.close()
    serving.join(timeout=5)
    assert serving.successful()
    inside.close()


def test_a_sentence_is_of_now_and_of_all_legs(switch, clock, talk, told, tmp_path):
    path = f"{tmp_path}/a.wav"
    switch.api(f"uuid_record {talk.legs[0].uuid} start {path} 0 {{RECORD_PRE_BUFFER_FRAMES=0}}")
    clock.advance(1)
    assert told("media of 1000 leaves the switch at 0.5") == "+OK"
    clock.advance(2)
    switch.api(f"uuid_record {talk.legs[0].uuid} stop {path}")
    assert talk.legs[0].recorded[0].ms == 1500


def test_calls_begin_by_it(switch, clock, told):
    assert told(json.dumps(CALL)) == "+OK"
    clock.advance(1)
    assert [leg.answered for leg in switch.legs.values()] == [True, True]


def test_it_is_open_while_the_switch_is_down(switch, clock, talk, told):
    assert told("switch killed at 0") == "+OK"
    clock.advance(0.1)
    assert not switch.legs
    assert told("switch starts at 0") == "+OK"
    clock.advance(0.1)
    assert Client(switch.address).api("hostname") == "fs1.example"


@pytest.mark.parametrize(("line", "reason"), [
    ("the moon falls at 1", "-ERR no such fault: the moon falls at 1"),
    ("no media for 1000", "-ERR no such fault: no media for 1000"),
    ('{"calls": 7}', "-ERR the file of calls has no list `calls`: "), ("{", "-ERR these calls are no JSON: "),
    ("", "-ERR no such fault: "), ("\x00\udcff".encode("utf-8", "replace").decode(), "-ERR no such fault: ")])
def test_what_it_does_not_understand_it_says(told, line, reason):
    assert told(line).startswith(reason)
    assert told("disk full at 0") == "+OK"


def test_a_process_is_told(tmp_path):
    arguments = ["--port", "0", "--recordings", tmp_path]
    process = subprocess.Popen([sys.executable, "-m", "kazoo_rec", "simulate", *arguments], text=True, bufsize=1,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        address = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        client = Client(("127.0.0.1", int(address[1])))
        client.ask("event json CHANNEL_ANSWER")
        process.stdin.write(json.dumps(CALL) + "\n")
        assert process.stdout.readline() == "+OK\n"
        with gevent.Timeout(10):
            while len(client.events) < 2:
                gevent.idle()
        process.stdin.write("listening sockets end at 0\n")
        client.wait_for_end()
    finally:
        process.kill()
        process.communicate()
