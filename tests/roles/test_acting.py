"""Of the engines that watch a switch one acts; the others stand by, or on SQLite are refused."""

import threading
from dataclasses import replace

import gevent
import pytest
from gevent.event import Event
from sqlalchemy.exc import OperationalError

from kazoo_rec.errors import AlreadyActs
from kazoo_rec.roles import acting, reach
from kazoo_rec.roles.engine import Engine
from kazoo_rec.simulator.simulator import Simulator
from kazoo_rec.store import Store, epoch_ms, sqlite
from kazoo_rec.store.vitals import GONE_AFTER_MS
from kazoo_rec.switch.connection import Connection
from tests import database
from tests.roles.test_callflows import config  # noqa: F401
from tests.switch.conftest import said  # noqa: F401
from tests.switch.fakes import PATIENCE_S

on_postgresql = pytest.mark.skipif(not database.SERVER, reason="two engines for one switch want PostgreSQL")


@pytest.fixture
def switch(tmp_path):
    with Simulator(recordings=tmp_path) as simulator:
        yield simulator


@pytest.fixture
def begun(config, switch, monkeypatch):  # noqa: F811
    """`begun()` starts an engine of that switch; its `over` is set when it has ended."""
    monkeypatch.setattr(acting, "LOOK_S", 0.02)
    monkeypatch.setattr(acting, "RETURN_S", 0.1)
    host, port = switch.address
    here = replace(config, callflow=None,
                   switches=tuple(replace(one, host=host, port=port, password="ClueCon") for one in config.switches))
    engines = []

    def begin(**changed):
        over = Event()
        engine = Engine(replace(here, **changed), ended=over.set)
        engine.over = over
        engines.append(engine)
        engine.start()
        return engine

    yield begin
    for engine in engines:
        engine.stop()


def until(condition):
    with gevent.Timeout(PATIENCE_S):
        while not (found := condition()):
            gevent.idle()
    return found


def acts(engine):
    """Whether it has all its connections."""
    return engine._tell()["switches"] == {"fs1": True}


def listening(switch):
    return len(switch.sockets.wanting("CHANNEL_CREATE", None, None))


def stop(engine):
    engine.stop()
    engine.stop = lambda: None


def cut_off(engine, monkeypatch):
    """The session that has the engine's lock ends, and the engine gets no other until that is undone."""
    lock = engine._acting._lock

    def reach():
        if lock._session is not None:
            lock._forget()
        raise OperationalError("SELECT 1", None, OSError("the server is gone"))

    monkeypatch.setattr(lock, "reach", reach)


@pytest.mark.sqlite
def test_on_sqlite_a_second_engine_is_refused_and_told_whose_turn_it_is(begun, monkeypatch):
    monkeypatch.setattr(sqlite, "ENDS_WITHIN_S", 0.1)
    begun()
    second = begun()
    assert second.over.wait(PATIENCE_S)
    assert isinstance(second.fault, AlreadyActs) and "process" in second.fault.detail and "fs1" in second.fault.detail


@pytest.mark.sqlite
def test_on_sqlite_one_whose_predecessor_is_still_ending_waits_for_that(begun, switch):
    first = begun()
    until(lambda: acts(first))
    second = begun()
    stop(first)
    until(lambda: acts(second))
    assert not second.over.is_set()


def test_one_that_observes_is_in_nobody_s_way(begun, config, switch):  # noqa: F811
    first = begun()
    until(lambda: acts(first))
    host, port = switch.address
    watching = Engine(replace(config, callflow=None, switches=tuple(
        replace(one, host=host, port=port, password="ClueCon") for one in config.switches)), observe=True)
    watching.start()
    try:
        until(lambda: listening(switch) == 2)
    finally:
        watching.stop()


@on_postgresql
def test_who_stands_by_is_not_on_the_switch_and_says_nothing_of_itself(begun, switch, said, config):  # noqa: F811
    first = begun()
    until(lambda: acts(first))
    connections = len(switch.sockets.all())
    begun()
    line = said.wait("this engine stands by")
    assert line["switch"] == "fs1" and "kazoo_rec" in line["acting"]
    gevent.sleep(5 * acting.LOOK_S)
    until(lambda: len(switch.sockets.all()) == connections)  # it has looked whether it would reach it
    assert len(said.those("stands by")) == 1 and listening(switch) == 1


@on_postgresql
def test_when_the_one_that_acts_is_stopped_the_other_does_and_the_time_between_is_known(begun, switch, config):  # noqa: F811
    first = begun()
    until(lambda: acts(first))
    second = begun()
    stop(first)
    until(lambda: acts(second))
    store = Store(config.database)
    try:
        until(lambda: [row["role"] for row in store.vitals.all()] == ["engine"])
        (outage,) = until(lambda: [one for one in store.outages.between(0, 1 << 62) if one["until_ms"]])
        assert outage["why"] == "the engine was stopped"
    finally:
        store.close()
    assert listening(switch) == 1


@on_postgresql
@pytest.mark.parametrize(("heard_ms", "age_s", "waits"), [
    (0, 0.05, True), (0, 3600, False), (GONE_AFTER_MS, 0.05, False), (None, 0.05, False)])
def test_where_the_server_has_just_begun_one_that_may_still_act_has_its_turn_first(
        begun, said, config, monkeypatch, heard_ms, age_s, waits):  # noqa: F811
    if heard_ms is not None:
        store = Store(config.database, clock_ms=lambda: epoch_ms() - heard_ms)
        store.vitals.say(config.node, "engine", {}).get()
        store.close()
    monkeypatch.setattr("kazoo_rec.store.postgres.EngineLock.age_s", lambda lock: age_s)
    engine = begun()
    assert engine._acting.acts != waits
    until(lambda: acts(engine))
    assert bool(said.those("the database has just begun")) == waits


@on_postgresql
def test_engines_of_other_switches_act_beside_each_other(begun, config):  # noqa: F811
    first = begun()
    second = begun(node="fs2", switches=tuple(replace(one, name="fs2") for one in config.switches))
    assert first._acting.acts and second._acting.acts


@on_postgresql
def test_who_is_cut_off_from_the_database_goes_on_and_has_its_lock_again(begun, switch, said, config, monkeypatch):  # noqa: F811
    first = begun()
    until(lambda: acts(first))
    with monkeypatch.context() as patch:
        cut_off(first, patch)
        said.wait("it goes on")
        assert acts(first) and first._store.recordings.unsure
    said.wait("the lock of the engine that acts is taken again")
    assert acts(first) and not first.over.is_set()
    until(lambda: not first._store.recordings.unsure)


@on_postgresql
def test_who_has_its_lock_again_is_unsure_until_what_waits_is_written(begun, said, config, monkeypatch):  # noqa: F811
    first = begun()
    until(lambda: acts(first))
    with monkeypatch.context() as patch:
        cut_off(first, patch)
        said.wait("it goes on")
        goes_on = threading.Event()
        waits = first._store._writer.submit(lambda _: goes_on.wait(PATIENCE_S) and first._store.recordings.unsure)
    said.wait("the lock of the engine that acts is taken again")
    gevent.sleep(3 * acting.LOOK_S)
    goes_on.set()
    assert waits.get(timeout=PATIENCE_S)
    until(lambda: not first._store.recordings.unsure)


@on_postgresql
def test_who_is_stopped_as_it_is_about_to_act_does_not(begun, monkeypatch):
    begun()
    second, close, seen = begun(), Store.close, []

    def see(store):
        seen.append(second._acting._greenlet.dead)
        close(store)

    monkeypatch.setattr("kazoo_rec.roles.engine.Engine._note_absence", lambda engine: gevent.sleep(3600))
    monkeypatch.setattr(second._acting._lock, "take", lambda: None)
    until(lambda: second._acting.acts)
    monkeypatch.setattr(Store, "close", see)
    stop(second)
    assert seen == [True]


@on_postgresql
def test_who_is_cut_off_hears_from_the_switch_that_another_acts_and_ends(begun, switch, said, config, monkeypatch):  # noqa: F811
    first = begun()
    until(lambda: acts(first))
    second = begun()
    cut_off(first, monkeypatch)
    assert first.over.wait(PATIENCE_S) and first.fault is None
    assert said.wait("this engine ends")["reason"] == "another engine has begun to act for the switch"
    assert first._watches[0]._pool.connections == []
    until(lambda: acts(second))
    stop(first)
    store = Store(config.database)
    try:
        until(lambda: [row["role"] for row in store.vitals.all()] == ["engine"])
        until(lambda: all(one["until_ms"] for one in store.outages.between(0, 1 << 62)))
        assert [one.name for one in store.engines.running()] == ["fs1"]
    finally:
        store.close()


@on_postgresql
def test_a_fault_of_ours_at_the_lock_ends_no_recording(begun, switch, said, monkeypatch):  # noqa: F811
    engine = begun()
    until(lambda: acts(engine))
    with monkeypatch.context() as patch:
        patch.setattr(engine._acting._lock, "take", lambda: [].pop())
        said.wait("it goes on")
    said.wait("taken again")
    assert acts(engine) and not engine.over.is_set()


@on_postgresql
def test_that_another_has_the_lock_ends_nobody_who_has_the_switch(begun, said, monkeypatch):  # noqa: F811
    first = begun()
    until(lambda: acts(first))
    monkeypatch.setattr("kazoo_rec.roles.watch.Watch._announcement", lambda watch: None)
    second = begun()
    with monkeypatch.context() as patch:
        cut_off(first, patch)
        until(lambda: acts(second))
    said.wait("another engine has the lock: this one goes on")
    gevent.sleep(3 * acting.RETURN_S)
    assert acts(first) and not first.over.is_set() and first._store.recordings.unsure
    monkeypatch.undo()  # what it asks on the switch is answered
    assert first.over.wait(PATIENCE_S) and acts(second)
    assert said.wait("this engine ends")["reason"] == "another engine has begun to act for the switch"


@on_postgresql
def test_that_another_has_the_lock_ends_one_that_has_no_switch(begun, switch, said, monkeypatch):  # noqa: F811
    first = begun()
    until(lambda: acts(first))
    second = begun()
    until(lambda: second._acting._reach.is_any)
    monkeypatch.setattr("kazoo_rec.roles.watch.Watch._announcement", lambda watch: None)
    with monkeypatch.context() as patch:
        cut_off(first, patch)
        until(lambda: second._acting.acts)
        first._watches[0]._link.stop()
    assert first.over.wait(PATIENCE_S)
    assert said.wait("this engine ends")["reason"] == "another engine has the lock, and this one no switch"


@on_postgresql
@pytest.mark.parametrize("fault", ["password", "port"])
def test_who_does_not_reach_the_switch_does_not_act(begun, switch, said, config, monkeypatch, fault):  # noqa: F811
    monkeypatch.setattr(reach, "LOOK_EVERY_S", 0.02)
    first = begun()
    until(lambda: acts(first))
    ((right,), wrong) = first._config.switches, {"password": "wrong"} if fault == "password" else {"port": 9}
    second = begun(switches=(replace(right, **wrong),))
    assert said.wait("an engine that stands by does not reach the switch")["switch"] == "fs1"
    with monkeypatch.context() as patch:
        cut_off(first, patch)
        said.wait("it goes on")
        gevent.sleep(10 * acting.LOOK_S)
        assert not second._acting.acts
    said.wait("the lock of the engine that acts is taken again")
    assert len(said.those("does not reach the switch")) == 1
    stop(first)
    gevent.sleep(10 * acting.LOOK_S)
    assert not second._acting.acts
    second._acting._reach._connect["fs1"] = lambda: Connection(right.host, right.port, right.password)
    until(lambda: second._acting.acts)


@on_postgresql
def test_who_reaches_one_of_its_switches_acts(begun, switch, said, config):  # noqa: F811
    first = begun()
    until(lambda: acts(first))
    (right,) = first._config.switches
    second = begun(switches=(right, replace(right, name="fs2", port=9)))
    said.wait("an engine that stands by does not reach the switch")
    stop(first)
    until(lambda: second._acting.acts)


@on_postgresql
@pytest.mark.parametrize("change", [
    {"Engine-Switch": "fs2"}, {"Engine-Site": "0" * 8}, {"Engine-Term": "0"}, {"Engine-Term": "-1"},
    {"Unique-ID": "5f8f7b68-0f7c-4a0c-9d7a-6b9f6f3b0c52"}])
def test_what_is_no_word_of_a_later_engine_of_this_database_ends_none(begun, switch, config, change):  # noqa: F811
    engine = begun()
    until(lambda: acts(engine))
    word = {"Engine-Switch": "fs1", "Engine-Site": engine._store.secrets.key_id, "Engine-Run": "0" * 32,
            "Engine-Term": str(1 << 60)}
    switch.publish("CUSTOM", lambda: {**word, **change}, acting.SUBCLASS)
    switch.publish("CUSTOM", lambda: {**word, "Engine-Run": engine._acting._run}, acting.SUBCLASS)
    events = engine._watches[0]._meter.events
    until(lambda: events._value.get() >= 2)
    assert not engine.over.is_set()
    switch.publish("CUSTOM", lambda: word, acting.SUBCLASS)
    assert engine.over.wait(PATIENCE_S)


@on_postgresql
def test_who_acts_says_so_again_to_one_that_began_before(begun, switch):
    engine = begun()
    until(lambda: acts(engine))
    said_before = switch._sequence
    assert said_before
    heard = []
    listeners = switch.publish

    def publish(name, headers, subclass=None, of=None):
        if subclass == acting.SUBCLASS:
            heard.append(headers())
        listeners(name, headers, subclass, of)

    switch.publish = publish
    switch.publish("CUSTOM", lambda: {
        "Engine-Switch": "fs1", "Engine-Site": engine._store.secrets.key_id, "Engine-Run": "0" * 32,
        "Engine-Term": "0"}, acting.SUBCLASS)
    until(lambda: len(heard) == 2)
    assert heard[1]["Engine-Run"] == engine._acting._run


@on_postgresql
@pytest.mark.parametrize(("run", "ends"), [("0" * 32, False), ("f" * 32, True)])
def test_of_two_with_one_term_one_ends_and_the_other_answers(begun, switch, run, ends):
    engine = begun()
    until(lambda: acts(engine))
    word = {"Engine-Switch": "fs1", "Engine-Site": engine._store.secrets.key_id, "Engine-Run": run,
            "Engine-Term": str(engine._acting._lock.term)}
    answered = Event()
    engine._watches[0].announce = answered.set
    switch.publish("CUSTOM", lambda: word, acting.SUBCLASS)
    assert (engine.over if ends else answered).wait(PATIENCE_S)
    assert not (answered if ends else engine.over).is_set()
