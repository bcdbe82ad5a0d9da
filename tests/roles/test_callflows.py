"""The engine runs callflows where the configuration asks for it, and whatever fails there it records all the same."""

from dataclasses import replace

import pytest
from gevent.socket import create_connection, create_server

from kazoo_rec.callflow import server
from kazoo_rec.config import CallflowAddress, Config, RecordingsDir, Switch
from kazoo_rec.roles.engine import Engine
from kazoo_rec.store.migrations import migrate
from tests.callflow.fakes import FakeLeg
from tests.database import of
from tests.switch.conftest import said  # noqa: F401
from tests.switch.fakes import PATIENCE_S, FakeSwitch


@pytest.fixture
def config(tmp_path):
    switch = FakeSwitch()
    database = of(tmp_path)
    migrate(database)
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    yield Config("fs1", RecordingsDir(str(tmp_path), str(tmp_path)), database,
                 (Switch("fs1", switch.host, switch.port, "lab-secret"),), callflow=CallflowAddress("127.0.0.1", port))
    switch.close()


@pytest.fixture
def started():
    engines = []

    def start(config, **options):
        engines.append(Engine(config, **options))
        engines[-1].start()

    yield start
    for engine in engines:
        engine.stop()


def test_a_call_reaches_the_engine_which_leaves_one_that_it_does_not_know_to_its_dialplan(config, started, monkeypatch):
    monkeypatch.setattr(server, "KNOWN_WITHIN_S", 0.01)
    started(config)
    leg = FakeLeg(create_connection((config.callflow.host, config.callflow.port)))
    assert leg.ended.get(timeout=PATIENCE_S) and leg.commands[-1] == ["resume"]


@pytest.mark.parametrize(("changed", "options"), [({"callflow": None}, {}), ({}, {"observe": True})])
def test_nobody_listens_where_it_is_not_asked_for_or_nothing_may_be_commanded(config, started, changed, options):
    started(replace(config, **changed), **options)
    with pytest.raises(ConnectionRefusedError):
        create_connection((config.callflow.host, config.callflow.port))


def test_an_address_that_is_taken_is_told_and_costs_no_recording(config, started, said):  # noqa: F811
    with create_server((config.callflow.host, config.callflow.port)):
        started(config)
    assert said.wait("no callflows can be run")["address"].endswith(str(config.callflow.port))


def test_what_could_not_be_served_is_once_it_can_and_each_is_told_of_once(config, started, said, monkeypatch):  # noqa: F811
    attempts, start = [], server.Server.start

    def fails(callflows):
        attempts.append(1)
        if len(attempts) < 4:
            raise OSError("Cannot assign requested address")
        start(callflows)

    monkeypatch.setattr("kazoo_rec.roles.doors.SERVED_AGAIN_S", 0.01)
    monkeypatch.setattr(server.Server, "start", fails)
    monkeypatch.setattr(server, "KNOWN_WITHIN_S", 0.01)
    started(config)
    assert said.wait("callflows are run")["address"].endswith(str(config.callflow.port))
    assert len(attempts) == 4 and len(said.those("no callflows can be run")) == 1
    leg = FakeLeg(create_connection((config.callflow.host, config.callflow.port)))
    assert leg.ended.get(timeout=PATIENCE_S)
