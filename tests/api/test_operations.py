"""Whether it is ready, and its numbers, for who has no token."""

import gevent
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from kazoo_rec.api.app import make_app
from kazoo_rec.calls.meter import Meter as EngineMeter
from kazoo_rec.delivery.meter import Meter as DeliveryMeter
from kazoo_rec.roles.vitals import families
from kazoo_rec.store.vitals import GONE_AFTER_MS

from .conftest import Client

GB = 10**9
BACKLOG = {"finish": {"waiting": 0, "oldest_ms": 0}, "upload": {"waiting": 7, "oldest_ms": 90_000_000}, "late_ms": 0}


class Roles:
    """Engine and delivery of one node, as they say that they are."""

    def __init__(self, store):
        self.store, self.switches, self.free_bytes = store, {"fs1": True, "fs1-2": True}, GB
        self.load = {"overloaded": False, "commands_waiting": 0, "events_waiting_bytes": 0, "writes_waiting": 0}
        self.missing = {"fs1": {"legs": 0, "longest_ms": 0}}
        self.disk_refuses = False
        self.backlog, self.meter, self.delivery = dict(BACKLOG), EngineMeter(), DeliveryMeter()

    def engine(self, node="fs1"):
        self.store.vitals.say(node, "engine", {
            "switches": self.switches, "missing": self.missing, "load": {"fs1": self.load},
            "metrics": families(self.meter.registry, switch="fs1")}).get()

    def deliver(self, node="fs1"):
        self.store.vitals.say(node, "delivery", {
            "disk": {"free_bytes": self.free_bytes, "least_bytes": GB // 5, "refuses": self.disk_refuses},
            "backlog": {"fs1": self.backlog},
            "metrics": families(self.delivery.registry, switch="fs1")}).get()

    def say(self):
        self.engine()
        self.deliver()


@pytest.fixture
def roles(store):
    return Roles(store)


def not_ready(client):
    answer = client()("GET", "/readyz")
    assert answer.status_code == (503 if answer.json["not_ready"] else 200)
    assert answer.json["ready"] == (answer.json["not_ready"] == []) and answer.headers["cache-control"] == "no-store"
    assert answer.json["not_ready"] == [name for name, one in answer.json["checks"].items() if not one["ready"]]
    return answer.json["not_ready"]


def values(client):
    """{(name, labels): value} of /metrics."""
    answer = client()("GET", "/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    return {(sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text) for sample in family.samples}


def value(client, name, **labels):
    found = [value for (one, said), value in values(client).items()
             if one == name and labels.items() <= dict(said).items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_it_is_ready_when_every_part_said_so_lately(roles, client):
    roles.say()
    assert not_ready(client) == []


def test_nothing_is_ready_before_the_roles_have_said_a_word(client):
    assert not_ready(client) == ["engine", "delivery"]


def test_a_switch_with_more_to_do_than_it_can_is_named_and_what_waits_is_told(roles, client):
    roles.load = {"overloaded": True, "commands_waiting": 700, "events_waiting_bytes": 5, "writes_waiting": 9}
    roles.say()
    assert not_ready(client) == ["load fs1"]
    assert client()("GET", "/readyz").json["checks"]["load fs1"] == {"ready": False, **roles.load}


def test_legs_that_are_not_recorded_are_shown_and_take_the_node_from_nobody(roles, client):
    roles.missing["fs1"] = {"legs": 3, "longest_ms": 61_000}
    roles.say()
    assert not_ready(client) == []
    assert client()("GET", "/readyz").json["checks"]["legs not recorded fs1"] == {
        "ready": True, "legs": 3, "longest_ms": 61_000}


def test_a_switch_that_is_not_connected_is_named(roles, client):
    roles.switches["fs1-2"] = False
    roles.say()
    assert not_ready(client) == ["switch fs1-2"]


def test_a_disk_that_is_nearly_full_is_named_with_what_is_left(roles, client):
    roles.free_bytes = GB // 5 - 1
    roles.say()
    assert not_ready(client) == ["disk"]
    assert client()("GET", "/readyz").json["checks"]["disk"]["free_bytes"] == GB // 5 - 1


def test_a_disk_that_takes_nothing_is_named_whatever_is_free(roles, client):
    roles.disk_refuses = True
    roles.say()
    assert not_ready(client) == ["disk"]


@pytest.mark.parametrize(("late_ms", "named"), [(600_000, []), (600_001, ["backlog fs1"])])
def test_work_that_nobody_takes_up_is_named_and_a_server_that_refuses_is_not(roles, client, late_ms, named):
    roles.backlog["late_ms"] = late_ms
    roles.say()
    assert not_ready(client) == named


def test_a_role_that_has_fallen_silent_is_named_and_its_numbers_are_not_told_any_more(roles, client, clock):
    roles.say()
    clock.now_s += GONE_AFTER_MS / 1000
    assert not_ready(client) == []
    clock.now_s += 0.001
    roles.deliver()
    assert not_ready(client) == ["engine"]
    assert [value(client, "kazoo_rec_role_up", role=role) for role in ("engine", "delivery")] == [0, 1]
    assert not [name for name, _ in values(client) if name == "kazoo_rec_events_total"]


def test_another_nodes_engine_is_no_engine_of_this_one(roles, client):
    roles.engine("fs2")
    roles.deliver()
    assert not_ready(client) == ["engine"]


def test_what_engine_and_delivery_counted_is_told_with_whose_it_is(roles, client):
    roles.meter.events.inc(3)
    roles.meter.began(2_000, 1_930)
    roles.meter.states.labels("discarded").inc()
    roles.delivery.states.labels("discarded").inc(2)
    roles.delivery.finished({"spans": [{"kind": "gap", "from_ms": 0, "to_ms": 1_500}, {"kind": "hold", "from_ms": 2_000,
                                                                                       "to_ms": 9_000}],
                             "expected_ms": 10_000}, {"state": "recorded", "duration_ms": 9_900})
    roles.say()
    engine = {"node": "fs1", "role": "engine", "switch": "fs1"}
    assert value(client, "kazoo_rec_events_total", **engine) == 3
    assert value(client, "kazoo_rec_start_latency_seconds_bucket", le="0.06", **engine) == 0
    assert value(client, "kazoo_rec_start_latency_seconds_bucket", le="0.08", **engine) == 1
    assert value(client, "kazoo_rec_recording_states_total", state="discarded", role="engine") == 1
    assert value(client, "kazoo_rec_recording_states_total", state="discarded", role="delivery") == 2
    assert value(client, "kazoo_rec_lost_audio_seconds_sum", kind="gap") == 1.5
    assert value(client, "kazoo_rec_lost_audio_seconds_sum", kind="short") == pytest.approx(0.1)
    assert value(client, "kazoo_rec_delivery_attempts_total", outcome="given_up") == 0


class Silent:
    """A database that fails, or hangs."""

    def __init__(self, fault=None):
        self._fault = fault

    def all(self):
        if self._fault:
            raise self._fault
        gevent.event.Event().wait()


@pytest.mark.parametrize("fault", [OperationalError("", {}, Exception("disk I/O error")), None], ids=["fails", "hangs"])
def test_a_database_that_does_not_answer_is_named(store, tmp_path, monkeypatch, fault):
    monkeypatch.setattr("kazoo_rec.api.operations.DATABASE_WITHIN_S", 0.01)
    store.vitals = Silent(fault)
    client = Client(make_app(store, "fs1", tmp_path, None))
    assert client("GET", "/readyz").json == {
        "ready": False, "not_ready": ["database"], "checks": {"database": {"ready": False}}}
    assert client("GET", "/metrics").status_code == 503


@pytest.mark.parametrize("fault", [OperationalError("", {}, Exception("the server is away")), None],
                         ids=["fails", "hangs"])
@pytest.mark.parametrize("method, path", [("GET", "/v2/accounts"), ("PUT", "/v2/accounts")])
def test_whoever_asks_while_the_database_does_not_answer_is_told_to_come_again(client, store, monkeypatch, fault,
                                                                               method, path):
    monkeypatch.setattr("kazoo_rec.api.door.ASKED_WITHIN_S", 0.01)
    root = client("superadmin")
    monkeypatch.setattr(store.access, "token", lambda _hashed: Silent(fault).all())
    answer = root(method, path, {})
    assert (answer.status_code, answer.json["message"]) == (503, "datastore_unreachable")
