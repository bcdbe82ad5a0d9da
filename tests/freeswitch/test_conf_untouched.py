"""freeswitch-conf/ as it is shipped, before its operator has chosen a password: it lets nobody in.

Needs what tests/freeswitch/test_conf.py needs.
"""

import os
from pathlib import Path

import greenswitch
import pytest
from gevent.socket import create_connection

from tests.freeswitch.fresh_switch import FreshSwitch
from tests.freeswitch.phone import Dialog, Phone
from tests.freeswitch.product import until

#: 127.0.0.1:5060, as the kernel writes it.
SIP = "0100007F:13C4"


@pytest.fixture
def fresh(tmp_path):
    program = os.environ.get("KAZOO_REC_FREESWITCH_PROGRAM")
    if not program:
        pytest.skip("KAZOO_REC_FREESWITCH_PROGRAM names no program")
    fresh = FreshSwitch(program, tmp_path)
    fresh.start()
    yield fresh
    fresh.stop()


def listens():
    try:
        create_connection(("127.0.0.1", 8021)).close()
    except OSError:
        return False
    return True


def registered(password):
    phone = Phone("1000", "acme.example", 930, password=password)
    try:
        return Dialog(phone, "sip:acme.example", "1000").transact("REGISTER", [("Expires", "60")]).code
    finally:
        phone.close()


def test_nobody_gets_in_by_a_password_that_everybody_knows(fresh):
    until(listens, within_s=60)
    for password in ("ClueCon", "", "$${event_socket_password}"):
        with pytest.raises(ValueError, match="Invalid password"):
            greenswitch.InboundESL("127.0.0.1", 8021, password).connect()
    until(lambda: SIP in Path("/proc/net/udp").read_text(), within_s=60)
    assert [registered(password) for password in ("1234", "", "$${sip_password}")] == [403] * 3
