"""A call on one host, ordered about over the API of another: in one process over TLS, and as processes that die."""

import os
import signal
from pathlib import Path

import gevent
import pytest
import trustme
from gevent.socket import create_server

from kazoo_rec import tls
from kazoo_rec.api.app import make_app
from kazoo_rec.control import client
from tests.control.certificates import certified, free_port
from tests.control.hosts import REALM, new_account, record_all, two_hosts
from tests.switch.conftest import said  # noqa: F401
from tests.test_live_calls import Live
from tests.test_whole_way import every


@pytest.fixture
def live(tmp_path, monkeypatch):
    """A site whose API has no socket of the engine's."""
    monkeypatch.setattr("kazoo_rec.calls.recovery.NEWS_WITHIN_S", 0.5)
    installed = Live(tmp_path)
    control = certified(tmp_path, trustme.CA(), free_port())
    installed.call(account=every(installed), config={"control": control})
    installed.recorded()
    os.unlink(f"{installed.store.beside}.fs1.control")
    mutual = tls.mutual("control", *(Path(control[name]) for name in ("certificate", "key", "ca")))
    installed.app = make_app(installed.store, "elsewhere", tmp_path / "none", installed.threads.apply,
                             engines_tls=mutual.client)
    installed.ask = installed.client("admin")
    yield installed
    installed.stop()


def test_a_call_of_another_host_is_masked_and_unmasked(live):
    assert [one["uuid"] for one in live.ask("GET", "acme/channels").json["data"]] == [live.a, live.b]
    assert live.order("mask").json["data"]["recordings"][0]["masked"]
    live.passes(0.4)
    assert not live.order("unmask").json["data"]["recordings"][0]["masked"]
    assert live.order("unmask").status_code == 200
    row, = live.end()
    (span,) = row["spans"]
    assert span["kind"] == "mask" and span["to_ms"] - span["from_ms"] >= 400


def test_without_a_way_to_it_the_engine_is_named(live):
    live.app = make_app(live.store, "elsewhere", live.place / "none", live.threads.apply)
    ask = live.client("admin")
    order = {"action": "record", "record": {"action": "mask"}}
    for answer in (ask("GET", "acme/channels"), ask("GET", f"acme/channels/{live.a}"),
                   ask("PUT", f"acme/channels/{live.a}", order)):
        assert (answer.status_code, answer.json["data"]["engines"]) == (504, ["fs1"])
    assert not live.channel(live.a)["recordings"][0]["masked"]


def test_an_order_that_is_not_answered_in_time_is_not_known_to_have_failed(live, monkeypatch):
    monkeypatch.setattr(client, "ANSWER_WITHIN_S", 0.3)
    live.simulator.stall()
    answer = live.order("mask")
    assert answer.status_code == 504 and answer.json["data"]["engines"] == ["fs1"]
    assert "what became of it is not known" in answer.json["data"]["message"]
    live.simulator.go_on()
    live.until(lambda: live.channel(live.a)["recordings"][0]["masked"])
    assert len(live.store.recordings.list()[0]["spans"]) == 1


@pytest.mark.parametrize("fault", ["certificate", "port"])
def test_an_engine_that_others_cannot_be_let_to_records_all_the_same_until_they_can(
        tmp_path, monkeypatch, said, fault):  # noqa: F811
    monkeypatch.setattr("kazoo_rec.roles.doors.SERVED_AGAIN_S", 0.05)
    site = Live(tmp_path)
    try:
        with create_server(("127.0.0.1", 0)) as taken:
            control = certified(tmp_path, trustme.CA(), taken.getsockname()[1] if fault == "port" else free_port())
            whole = Path(control["certificate"]).read_text()
            if fault == "certificate":
                Path(control["certificate"]).write_text("")
            site.call(account=every(site), config={"control": control}).recorded()
            assert said.wait("no orders can be taken from other hosts")
            assert site.order("mask").status_code == 200
            assert [engine.address for engine in site.store.engines.running()] == [None]
        Path(control["certificate"]).write_text(whole)
        address = f"127.0.0.1:{control['port']}"
        site.until(lambda: [engine.address for engine in site.store.engines.running()] == [address])
        mutual = tls.mutual("control", *(Path(control[name]) for name in ("certificate", "key", "ca")))
        os.unlink(f"{site.store.beside}.fs1.control")
        assert client.Engines(site.store, mutual.client).find("acme", site.a)
    finally:
        site.stop()


def test_a_change_of_a_document_is_obeyed_on_every_host(tmp_path):
    with two_hosts(tmp_path) as (*sites, api, store):
        account, callers = new_account(api, store), {}
        for enabled in (True, False, True):
            record_all(api, account, enabled)
            before = callers.setdefault(enabled, set())
            before |= {site.call(talk_s=0.5, domain=REALM) for site in sites}
            for site in sites:
                site.until(lambda site=site: not site.switch.ask("recorded"), 20, "the call does not end")
        sites[0].until(lambda: {row["call_id"] for row in store.recordings.list()} >= callers[True], 20, "not recorded")
        assert not callers[False] & {row["call_id"] for row in store.recordings.list()}


def test_engines_that_are_frozen_and_killed_are_named_and_the_other_one_obeys(tmp_path):
    with two_hosts(tmp_path) as (fs1, fs2, api, store):
        calls = {"fs1": fs1.call(talk_s=None), "fs2": fs2.call(talk_s=None)}

        def path(node):
            return f"/v2/accounts/acme/channels/{calls[node]}"

        def order(node, action):
            return api("PUT", path(node), {"action": "record", "record": {"action": action}})

        def masked(node):
            answer = api("GET", path(node))
            return answer.status_code == 200 and [one["masked"] for one in answer.json()["data"]["recordings"]]

        for node, site in (("fs1", fs1), ("fs2", fs2)):
            site.until(lambda node=node: order(node, "mask").status_code == 200, 30, "no call to order about")
            assert True in masked(node)
        assert {one["uuid"] for one in api("GET", "/v2/accounts/acme/channels").json()["data"]} >= set(calls.values())

        fs2.freeze("engine")
        asked = [gevent.spawn(order, node, "unmask") for node in ("fs2", "fs1")]
        first = next(iter(gevent.iwait(asked)))
        assert first is asked[1] and first.value.status_code == 200 and True not in masked("fs1")
        answer = asked[0].get()
        assert (answer.status_code, answer.json()["data"]["engines"]) == (504, ["fs2"])
        fs2.thaw("engine")
        fs2.until(lambda: masked("fs2"), 30, "it is not back")
        assert True in masked("fs2")  # what could not be asked about was not ordered

        os.kill(fs2.pid("engine"), signal.SIGKILL)
        fs2.until(lambda: [engine.name for engine in store.engines.running()] == ["fs1"], 30, "it is not gone")
        answer = order("fs2", "unmask")
        assert (answer.status_code, answer.json()["data"]["engines"]) == (504, ["fs2"])
        assert order("fs1", "mask").status_code == 200
        assert len(api("GET", "/v2/accounts/acme/channels").json()["data"]) == 2
