"""The lab: a real FreeSWITCH with the configuration in conf/, phones at it, and the product beside it.

KAZOO_REC_FREESWITCH=host:port:password names its event socket; without it, these tests are skipped.
"""

import json
import os

import greenswitch
import pytest

from tests.freeswitch.phone import Phone
from tests.freeswitch.product import Product, until


class Switch:
    """The event socket of the switch, for what a test wants to see or to do there by itself."""

    def __init__(self, host: str, port: int, password: str):
        self.host, self.port, self.password = host, port, password
        self._connection = greenswitch.InboundESL(host, port, password)
        self._connection.connect()

    def api(self, command: str) -> str:
        return self._connection.send(f"api {command}").data.strip()

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


@pytest.fixture(scope="session")
def lab(switch, tmp_path_factory):
    product = Product(tmp_path_factory.mktemp("lab"), switch)
    product.start()
    yield product
    product.stop()


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


def legs_of(switch) -> list[str]:
    """The legs that there are; the list alone may keep one that is gone, as it is written behind the calls."""
    rows = json.loads(switch.api("show channels as json")).get("rows", ())
    return [row["uuid"] for row in rows if switch.api(f"uuid_exists {row['uuid']}") == "true"]


@pytest.fixture
def phones(_registered, switch):
    yield _registered
    switch.api("hupall")
    until(lambda: not legs_of(switch), within_s=30)
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
