"""The lab: a real FreeSWITCH with the configuration in conf/, phones at it, and the product beside it.

KAZOO_REC_FREESWITCH=host:port:password names its event socket; without it, these tests are skipped.
"""

import json
import os
import re
import signal

import greenswitch
import pytest

from tests.freeswitch.phone import Phone
from tests.freeswitch.product import Product, until
from tests.freeswitch.proxy import Proxy


class Switch:
    """The event socket of the switch, for what a test wants to see or to do there by itself."""

    def __init__(self, host: str, port: int, password: str):
        self.host, self.port, self.password = host, port, password
        self._connection = greenswitch.InboundESL(host, port, password)
        self._connection.connect()

    def api(self, command: str) -> str:
        return self._connection.send(f"api {command}").data.strip()

    @property
    def sessions(self) -> int:
        """How many legs there are. Read from the calls themselves: `show channels` asks a database, which is written
        behind them, may keep a leg for ever that is gone, and is held up by those who ask it often."""
        return int(re.search(r"^(\d+) session\(s\) - peak", self.api("status"), re.MULTILINE)[1])

    def legs(self, count: int) -> list[dict]:
        """Waits until there are `count` legs; their rows of `show channels`, the oldest first."""
        until(lambda: self.sessions == count)
        return until(lambda: rows if len(rows := self._listed()) == count else None)

    def _listed(self):
        rows = json.loads(self.api("show channels as json")).get("rows", ())
        return [row for row in rows if self.api(f"uuid_exists {row['uuid']}") == "true"]

    def stop(self):
        self._connection.stop()


@pytest.fixture(scope="session")
def switch():
    address = os.environ.get("KAZOO_REC_FREESWITCH")
    if not address:
        pytest.skip("KAZOO_REC_FREESWITCH=host:port:password names no switch")
    host, port, password = address.split(":", 2)
    switch = Switch(host, int(port), password)
    if switch.api("global_getvar kazoo_rec_lab") != "1":
        pytest.fail(f"{host}:{port} is not the lab: it does not run tests/freeswitch/conf")
    switch.api("hupall")
    yield switch
    switch.stop()


@pytest.fixture(scope="module")
def wire(switch):
    proxy = Proxy((switch.host, switch.port))
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def apart(switch, wire, tmp_path_factory):
    """A product of its own behind a wire that can be cut."""
    product = Product(tmp_path_factory.mktemp("apart"), switch, wire.address)
    product.start()
    yield product
    product.stop()


@pytest.fixture(scope="session")
def lab(switch, tmp_path_factory):
    product = Product(tmp_path_factory.mktemp("lab"), switch)
    product.start()
    yield product
    product.stop()


@pytest.fixture
def kill(lab):
    """Kills the engine, as nothing that it could prepare for; it is there again for the next test."""
    yield lambda: lab.halt(signal.SIGKILL)
    if not lab.running:
        lab.run()


@pytest.fixture(scope="session")
def _registered(switch):
    phones = {name: Phone(number, domain, tone_hz) for name, number, domain, tone_hz in (
        ("alice", "1000", "acme.example", 930), ("bob", "1001", "acme.example", 610),
        ("carol", "1002", "acme.example", 730), ("zoe", "2000", "globex.example", 1130))}
    for phone in phones.values():
        phone.register()
    phones["carrier"] = Phone("442079460123", "carrier.example", 270, proxy=("127.0.0.1", 5080), port=5090)
    yield phones
    for phone in phones.values():
        phone.close()


@pytest.fixture
def phones(_registered, switch):
    yield _registered
    switch.api("hupall")
    until(lambda: not switch.sessions, within_s=30)
    for phone in _registered.values():
        phone.forget()


@pytest.fixture
def alice(phones):
    return phones["alice"]


@pytest.fixture
def bob(phones):
    return phones["bob"]


@pytest.fixture
def carol(phones):
    return phones["carol"]


@pytest.fixture
def zoe(phones):
    return phones["zoe"]


@pytest.fixture
def carrier(phones):
    return phones["carrier"]
