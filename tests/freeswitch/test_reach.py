"""A live call, ordered about over the API of a host that has neither the switch nor its engine."""

from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import trustme

from kazoo_rec.store import Store
from tests import database
from tests.control.api import Api
from tests.control.certificates import certified, free_port
from tests.freeswitch.product import Product, until

PART_MS = 1500


@pytest.fixture
def far(switch, tmp_path):
    """(the product, an API that reaches it over TLS alone)."""
    authority, elsewhere = trustme.CA(), tmp_path / "elsewhere"
    elsewhere.mkdir()
    product = Product(tmp_path, switch, control=certified(tmp_path, authority, free_port()), callflow={"port": 8087})
    with ExitStack() as running:
        running.callback(product.stop)
        product.start()
        api = Api(elsewhere, database.said(tmp_path), authority, tmp_path / "api.log")
        running.callback(api.kill)
        store = running.enter_context(closing(Store(database.of(tmp_path))))
        until(api.ready, 60)
        Path(f"{store.beside}.lab.control").unlink()  # as where the engine is on another host
        api.come_in(store)
        yield product, api


def test_a_call_is_masked_and_unmasked_from_another_host(far, switch, alice, bob):
    product, api = far
    product.obey({"acme/users/usr-acme-1000": {"outbound": {"onnet": product.record()}}})
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().hear(PART_MS)
    path = f"/v2/accounts/acme/channels/{switch.legs(2)[0]['uuid']}"
    assert len(api("GET", "/v2/accounts/acme/channels").json()["data"]) == 2
    for action, masked in (("mask", True), ("unmask", False)):
        answer = api("PUT", path, {"action": "record", "record": {"action": action}})
        assert answer.status_code == 200, answer.text
        assert [one["masked"] for one in answer.json()["data"]["recordings"]] == [masked]
        call.hear(PART_MS)
    call.hang_up()
    called.ended()
    until(lambda: api("GET", path).status_code == 404)

    recording = product.recordings()["acme caller.outbound A 1000"]
    (span,) = recording.row["spans"]
    wav = recording.wav()
    for channel in (wav.left, wav.right):
        middle = [(at_ms - recording.row["started_ms"]) * channel.rate_hz // 1000
                  for at_ms in (span["from_ms"] + 200, span["to_ms"] - 200)]
        assert middle[1] > middle[0] and not channel.samples[middle[0]:middle[1]].any() and channel.samples.any()
