"""Answers of servers that would never end."""

import socket
from http.client import HTTPException

import gevent
import pytest

from kazoo_rec.delivery.answer import ANSWER_BYTES, Answer

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture
def said():
    """(the server's end of a connection, the answer to what came by it)."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        answer = Answer(ours, method="PUT")
        yield theirs, answer
        answer.close()


def test_an_answer_within_the_limit_is_heard(said):
    server, answer = said
    server.sendall(CONTINUE * 3 + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsaid")
    answer.begin()
    assert (answer.status, answer.read(ANSWER_BYTES), answer.isclosed()) == (200, b"said", True)


def test_while_what_waits_is_read_others_have_their_turn(said):
    """A socket that has bytes gives them at once: no greenlet would run until there are none."""
    server, answer = said
    server.sendall(CONTINUE * 1000)
    server.close()
    turns = []
    other = gevent.spawn(turns.append, "had")
    with pytest.raises(HTTPException):
        answer.begin()
    assert turns == ["had"]
    other.join()
