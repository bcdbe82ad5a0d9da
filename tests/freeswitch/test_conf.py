"""freeswitch-conf/, on a FreeSWITCH that is started on exactly these files.

KAZOO_REC_FREESWITCH_PROGRAM is the path of its program; without it, these tests are skipped. They need the ports 5060,
5080, 5090, 8021 and 8084 of 127.0.0.1 (a network namespace of their own has them free).
"""

import os

import pytest
from gevent.event import AsyncResult, Event
from gevent.server import StreamServer
from pytest import approx

from tests.freeswitch.fresh_switch import Engine, FreshSwitch
from tests.freeswitch.phone import Phone
from tests.freeswitch.product import until
from tests.freeswitch.talk import LENGTH_MS, talk

ANN, BOB, CARRIER = 930, 610, 270


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    program = os.environ.get("KAZOO_REC_FREESWITCH_PROGRAM")
    if not program:
        pytest.skip("KAZOO_REC_FREESWITCH_PROGRAM names no program")
    fresh = FreshSwitch(program, tmp_path_factory.mktemp("fresh"))
    fresh.choose()
    fresh.start()
    yield fresh
    fresh.stop()


@pytest.fixture(scope="module")
def switch(fresh):
    switch = fresh.connected()
    yield switch
    switch.stop()


@pytest.fixture(scope="module")
def _phones(fresh, switch):
    phones = {"ann": Phone("1000", "acme.example", ANN, password=fresh.sip_password),
              "bob": Phone("1001", "acme.example", BOB, password=fresh.sip_password),
              "carrier": Phone("442079460123", "carrier.example", CARRIER, proxy=("127.0.0.1", 5080), port=5090)}
    phones["ann"].register()
    phones["bob"].register()
    yield phones
    for phone in phones.values():
        phone.close()


@pytest.fixture
def phones(_phones, switch):
    yield _phones
    switch.api("hupall")
    until(lambda: not switch.sessions, within_s=30)
    for phone in _phones.values():
        phone.forget()


@pytest.fixture
def ann(phones):
    return phones["ann"]


@pytest.fixture
def bob(phones):
    return phones["bob"]


@pytest.fixture
def carrier(phones):
    return phones["carrier"]


@pytest.fixture(scope="module")
def engine(switch, tmp_path_factory):
    engine = Engine(tmp_path_factory.mktemp("engine"), switch)
    engine.start()
    yield engine
    engine.stop()


def tones(wav):
    return wav.left.tones(), wav.right.tones()


class Callflow:
    """Who is asked at 127.0.0.1:8084, and what he does: `answer(socket)` gets the socket after `connect`."""

    def __init__(self, answer):
        self._answer, self.asked = answer, AsyncResult()
        self._server = StreamServer(("127.0.0.1", 8084), self._serve)

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop()

    def _serve(self, socket, _):
        told = self.say(socket, "connect")
        self.asked.set(told)
        self._answer(socket)
        socket.close()

    @staticmethod
    def say(socket, *lines) -> str:
        """Sends a command; the head of what comes next."""
        socket.sendall("\n".join([*lines, "", ""]).encode())
        told = b""
        while b"\n\n" not in told:
            told += socket.recv(65536) or b"\n\n"
        return told.decode()

    @classmethod
    def execute(cls, socket, application, argument):
        cls.say(socket, "sendmsg", "call-command: execute", f"execute-app-name: {application}",
                f"execute-app-arg: {argument}")


def test_freeswitch_has_nothing_to_complain_of(fresh, switch):
    assert fresh.complaints() == []


def test_a_call_goes_on_where_nobody_listens(ann, bob, carrier):
    for call in (lambda: ann.call("1001"), lambda: carrier.call("15550001001")):
        talk(call(), bob.rings().ring().answer(), 300)


def test_a_call_goes_on_where_its_callflow_has_an_action_that_is_not_ours(switch, ann, bob):
    def unhandled(socket):
        Callflow.execute(socket, "set", "kazoo_rec_unhandled=voicemail")
        Callflow.say(socket, "resume")
    with Callflow(unhandled) as callflow:
        call = ann.call("1001")
        called = bob.rings().ring().answer()
        leg = next(line.partition(": ")[2] for line in callflow.asked.get(timeout=5).splitlines()
                   if line.startswith("Unique-ID: "))
        assert switch.api(f"uuid_getvar {leg} kazoo_rec_unhandled") == "voicemail"
        talk(call, called, 300)


def test_a_call_goes_on_where_the_engine_dies_before_it_said_anything(ann, bob):
    def die(socket):
        pass
    with Callflow(die):
        talk(ann.call("1001"), bob.rings().ring().answer(), 300)


def test_a_call_goes_on_where_the_engine_dies_in_the_middle_of_an_action(ann, bob):
    def die(socket):
        Callflow.execute(socket, "answer", "")
        Callflow.execute(socket, "playback", "tone_stream://%(60000,0,440)")
    with Callflow(die):
        talk(ann.call("1001"), bob.rings().ring().answer(), 300)


def test_a_talk_goes_on_where_the_engine_dies_that_brought_it_about(ann, bob):
    dies = Event()

    def bridge(socket):
        Callflow.execute(socket, "bridge", "user/1001@acme.example")
        assert dies.wait(10)
    with Callflow(bridge):
        call = ann.call("1001")
        called = bob.rings().ring().answer()
        call.answered().hear(300)
        dies.set()
        call.hear(1000)
        talk(call, called, 300)


def test_an_internal_call_is_recorded_for_the_account_and_for_both_phones(engine, ann, bob):
    call = ann.call("1001")
    called = bob.rings().ring().answer()
    talk(call, called)
    found = engine.recorded(3)
    assert {whose: tones(wav) for whose, wav in found.items()} == {
        "account.inbound A ann": ([ANN], [BOB]), "caller.outbound A ann": ([ANN], [BOB]),
        "callee.inbound B bob": ([BOB], [ANN])}
    assert [wav.length_ms for wav in found.values()] == approx([call.talk_ms] * 3, abs=LENGTH_MS)


def test_an_outbound_call_is_recorded(engine, ann, carrier):
    call = ann.call("+442071838750")
    called = carrier.rings().ring().answer()
    talk(call, called)
    assert {whose: tones(wav) for whose, wav in engine.recorded(2).items()} == {
        "account.inbound A ann": ([ANN], [CARRIER]), "caller.outbound A ann": ([ANN], [CARRIER])}


def test_an_inbound_call_is_recorded(engine, carrier, bob):
    call = carrier.call("+15550001001")
    called = bob.rings().ring().answer()
    talk(call, called)
    assert {whose: tones(wav) for whose, wav in engine.recorded(2).items()} == {
        "account.inbound A -": ([CARRIER], [BOB]), "callee.inbound B bob": ([BOB], [CARRIER])}


def test_a_call_to_the_ivr_is_recorded_from_its_answer_on(engine, switch, carrier, bob):
    call = carrier.call("15550003200").answered()
    call.hear(500)
    (leg,) = switch.legs(1)
    switch.api(f"uuid_recv_dtmf {leg['uuid']} 1")
    called = bob.rings().ring().answer()
    talk(call, called)
    found = engine.recorded(2)
    assert {whose: tones(wav) for whose, wav in found.items()} == {
        "account.inbound A -": ([CARRIER], [660, BOB]), "callee.inbound B bob": ([BOB], [CARRIER])}
    assert found["account.inbound A -"].length_ms == approx(call.talk_ms, abs=LENGTH_MS)


def test_both_parties_of_a_conference_are_recorded(engine, ann, bob):
    calls = [phone.call("3500").answered() for phone in (ann, bob)]
    for call in calls:
        call.hear(1500)
    for call in calls:
        call.hang_up()
    found = engine.recorded(4)
    assert found["account.inbound A ann"].left.tones() == [ANN]
    assert BOB in found["account.inbound A ann"].right.tones()


def test_a_stranger_reaches_no_number_of_ours(fresh, switch, carrier, _phones):
    """Whoever is not in the list `carriers` is refused by the dialplan; a phone of nobody by the profile."""
    assert "false" in switch.api("acl 192.0.2.1 carriers") and "true" in switch.api("acl 127.0.0.1 carriers")
    stranger = Phone("1000", "acme.example", ANN, password="1234")
    call = stranger.call("1001").ended()
    stranger.close()
    assert call.code == 403
