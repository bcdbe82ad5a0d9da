"""Asking the engines: whoever has the leg, whoever does not answer, and orders that are given once."""

import gevent
import pytest

from kazoo_rec.control import client, place
from kazoo_rec.errors import CommandTimeout, EngineSilent, NotConnected, WrongState
from tests.control.conftest import Calls

ORDER = ("acme", "leg", "mask", {}, "token x")


def test_an_engine_of_another_host_tells_of_its_legs_and_obeys(site):
    calls = site.engine("fs2", "leg", "other")
    assert [leg["uuid"] for leg in site.engines.legs("acme")] == ["leg", "other"]
    assert site.engines.legs("globex") == [] and site.engines.find("globex", "leg") is None
    found = site.engines.find("acme", "leg")
    assert (found.engine.name, found.leg) == ("fs2", {"uuid": "leg"})
    assert site.engines.order(found.engine, *ORDER) == {"uuid": "leg", "obeyed": "mask"}
    assert calls.orders == [("leg", "mask", {}, "token x")]


def test_of_a_users_legs_the_others_are_not_told(site):
    site.engine("fs1", "ann", "bob")
    assert site.engines.legs("acme", "ann") == [{"uuid": "ann"}]
    assert site.engines.legs("acme", "eve") == []


def test_an_engine_makes_one_list_at_a_time(site):
    calls = site.engine("fs1", "leg", "other", here=True)
    asking = [gevent.spawn(site.engines.legs, "acme") for _ in range(10)]
    assert [len(one.get()) for one in asking] == [2] * 10
    assert calls.most_lists == 1


def test_one_of_this_host_is_asked_by_its_socket_and_others_beside_it_over_tls(site):
    near, far = site.engine("fs1", "near", here=True), site.engine("fs2", "far")
    assert {leg["uuid"] for leg in site.engines.legs("acme")} == {"near", "far"}
    for uuid, calls in (("near", near), ("far", far)):
        assert site.engines.order(site.engines.find("acme", uuid).engine, "acme", uuid, *ORDER[2:])
        assert len(calls.orders) == 1


def test_who_has_the_leg_is_heard_while_another_engine_says_nothing(site):
    site.silent("fs1")
    slow, has = site.engine("fs2"), site.engine("fs3", "leg")
    slow.awake.clear()
    assert site.engines.find("acme", "leg").engine.name == "fs3"
    assert slow.uuids == () and has.orders == []
    slow.awake.set()


def test_a_leg_that_nobody_has_is_none_only_when_all_have_said_so(site, monkeypatch):
    site.engine("fs1", here=True)
    site.engine("fs2")
    assert site.engines.find("acme", "leg") is None
    monkeypatch.setattr(client, "HEARD_WITHIN_S", 0.2)
    site.silent("fs3")
    with pytest.raises(EngineSilent) as silent:
        site.engines.find("acme", "leg")
    assert (silent.value.names, silent.value.sent) == (["fs3"], False)


def test_a_list_without_the_legs_of_a_silent_engine_is_none(site, monkeypatch):
    site.engine("fs1", "leg")
    site.store.add("fs3", "127.0.0.1:1")
    monkeypatch.setattr(client, "HEARD_WITHIN_S", 0.5)
    site.silent("fs2")
    with pytest.raises(EngineSilent) as silent:
        site.engines.legs("acme")
    assert silent.value.names == ["fs2", "fs3"]
    assert "within its time" in silent.value.detail and "refused" in silent.value.detail


def test_where_the_store_knows_who_has_the_leg_nobody_else_is_asked(site):
    other, has = site.engine("fs1"), site.engine("fs2", "leg")
    site.store.add("fs2", site.store.rows["fs2"].address, ["pbx7"])
    site.store.nodes["acme", "leg"] = {"pbx7"}
    assert site.engines.find("acme", "leg").engine.name == "fs2"
    has.uuids = ()  # it has just ended
    assert site.engines.find("acme", "leg") is None
    assert not other.asked.is_set()


def test_a_leg_that_is_recorded_where_no_engine_runs_is_not_said_not_to_be(site):
    site.engine("fs1")
    site.store.nodes["acme", "leg"] = {"fs9"}
    with pytest.raises(EngineSilent) as silent:
        site.engines.find("acme", "leg")
    assert silent.value.names == ["fs9"]
    assert site.engines.find("globex", "leg") is None


def test_an_engine_that_does_not_know_yet_whether_it_has_the_leg_does_not_answer(site):
    site.engine("fs1").raises = NotConnected("legs of the switch are not known yet")
    with pytest.raises(EngineSilent, match="legs of the switch are not known yet") as silent:
        site.engines.find("acme", "leg")
    assert silent.value.names == ["fs1"]
    site.engine("fs2", "leg")
    assert site.engines.find("acme", "leg").engine.name == "fs2"


@pytest.mark.parametrize("unknown_first", [True, False])
def test_of_an_engines_switches_the_one_that_has_the_leg_gets_the_order_once_whatever_the_others_know(
        site, unknown_first):
    unknown, known = Calls(), Calls("leg")
    unknown.raises = NotConnected("legs of the switch are not known yet")
    site.engine("fs1", "last", beside=(unknown, known) if unknown_first else (known, unknown))
    found = site.engines.find("acme", "leg")
    assert site.engines.order(found.engine, *ORDER) == {"uuid": "leg", "obeyed": "mask"}
    assert known.orders == [("leg", "mask", {}, "token x")] and not unknown.orders
    for account, uuid in (("acme", "none"), ("globex", "leg")):
        with pytest.raises(EngineSilent, match="legs of the switch are not known yet"):
            site.engines.find(account, uuid)
    unknown.raises = None
    assert site.engines.find("acme", "none") is None


def test_an_order_whose_answer_does_not_come_is_given_once_and_its_end_is_not_known(site, monkeypatch):
    has, other = site.engine("fs1", "leg"), site.engine("fs2", "leg")
    engine = site.store.rows["fs1"]
    monkeypatch.setattr(client, "ANSWER_WITHIN_S", 0.3)
    has.awake.clear()
    with pytest.raises(EngineSilent) as silent:
        site.engines.order(engine, *ORDER)
    assert (silent.value.names, silent.value.sent) == (["fs1"], True)
    has.awake.set()
    with gevent.Timeout(10):
        while not has.orders:
            gevent.sleep(0)
    assert has.orders == [("leg", "mask", {}, "token x")] and not other.orders


def test_an_engine_that_dies_with_an_order_in_its_hands_has_had_it_once(site):
    has = site.engine("fs1", "leg")
    site.engine("fs2", "leg")
    has.awake.clear()
    ordering = gevent.spawn(outcome, site.engines.order, site.store.rows["fs1"], *ORDER)
    assert has.asked.wait(10)
    has.server.stop()
    error = ordering.get(timeout=10)
    assert isinstance(error, EngineSilent) and error.sent


def test_an_order_that_an_engine_does_not_read_was_not_carried_out(site):
    calls = site.engine("fs1", "leg")
    with pytest.raises(EngineSilent, match="400") as silent:
        site.engines.order(site.store.rows["fs1"], "acme", "leg", "start", {"label": "x" * 70_000}, "token x")
    assert not silent.value.sent and not calls.orders


def test_a_leg_without_an_id_is_nobodys(site):
    site.engine("fs1", "leg")
    assert site.engines.find("acme", "") is None


def test_an_order_to_an_engine_that_is_gone_was_not_sent(site):
    site.engine("fs1", "leg")
    found = site.engines.find("acme", "leg")
    site.stop()
    with pytest.raises(EngineSilent) as silent:
        site.engines.order(found.engine, *ORDER)
    assert (silent.value.names, silent.value.sent) == (["fs1"], False)


@pytest.mark.parametrize(("raised", "told"), [
    (WrongState("nothing of this leg is being recorded"), WrongState),
    (CommandTimeout("the switch did not answer"), CommandTimeout)])
def test_what_an_engine_refuses_is_told_in_its_words(site, raised, told):
    site.engine("fs1", "leg").raises = raised
    with pytest.raises(told, match=raised.message):
        site.engines.order(site.store.rows["fs1"], *ORDER)


def test_connections_are_kept_for_questions_and_one_that_has_ended_is_made_again(site):
    met = []
    site.mutual.server.sni_callback = lambda *_: met.append(1)
    calls = site.engine("fs1", "leg")
    for _ in range(5):
        assert site.engines.find("acme", "leg")
    assert len(met) == 1
    calls.server.stop()
    again = site.engine("fs1", "leg", port=calls.port)
    assert site.engines.find("acme", "leg") and again.asked.is_set()
    assert len(met) == 2


def test_an_order_has_a_connection_of_its_own(site):
    calls = site.engine("fs1", "leg")
    assert site.engines.find("acme", "leg")
    calls.server.stop()
    again = site.engine("fs1", "leg", port=calls.port)
    assert site.engines.order(site.store.rows["fs1"], *ORDER) and len(again.orders) == 1


def test_a_kept_connection_is_not_used_for_ever(site):
    met, now = [], [0.0]
    engines = client.Engines(site.store, site.mutual.client, clock=lambda: now[0])
    site.mutual.server.sni_callback = lambda *_: met.append(1)
    site.engine("fs1", "leg")
    for at in range(0, int(client.LIVES_S) + 1, int(client.IDLE_S) - 1):
        now[0] = float(at)
        assert engines.find("acme", "leg")
    assert len(met) == 1
    now[0] += client.IDLE_S - 1
    assert engines.find("acme", "leg") and len(met) == 2
    now[0] += client.IDLE_S
    assert engines.find("acme", "leg") and len(met) == 3


@pytest.mark.parametrize("address", ["", "fs2", "fs2:", "fs2:0", "fs2:65536", "fs2:8085\n", "fs2:80\r\nX: y", ":8085",
                                     "http://fs2:8085", "fs2/x:8085", "-fs2:8085", "fs2 :8085", "[::1:8085", "::1:8085",
                                     "user@fs2:8085", "x" * 300 + ":1", "ü.example:8085", "127.0.0.1:٣"])
def test_what_is_no_address_is_not_connected_to(site, address):
    assert place(address) is None
    site.store.add("fs2", address)
    with pytest.raises(EngineSilent, match="its address is none"):
        site.engines.find("acme", "leg")


def test_what_is_an_address():
    assert place("fs2.example:8085") == ("fs2.example", 8085)
    assert place("192.0.2.7:1") == ("192.0.2.7", 1)
    assert place("[2001:db8::7]:65535") == ("2001:db8::7", 65535)


@pytest.mark.parametrize("name", ["../fs1", "a\nb", "", "x" * 65, "fs 1"])
def test_what_is_no_name_of_an_engine_is_part_of_no_path_and_no_line(site, name):
    site.store.add(name, "127.0.0.1:1")
    with pytest.raises(EngineSilent, match="this is no engine's name") as silent:
        site.engines.legs("acme")
    assert silent.value.names == ["?"]


def test_without_certificates_of_its_own_a_host_asks_its_own_engines_alone(site):
    site.engine("fs1", "leg", here=True)
    site.engine("fs2")
    engines = client.Engines(site.store)
    assert engines.find("acme", "leg")
    with pytest.raises(EngineSilent, match="no `control`") as silent:
        engines.legs("acme")
    assert silent.value.names == ["fs2"]


def outcome(call, *arguments):
    try:
        return call(*arguments)
    except EngineSilent as error:
        return error
