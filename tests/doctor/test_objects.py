"""The library, looked at by doctor: over the wire, and nothing is left there."""

import time
from dataclasses import replace

import pytest

from kazoo_rec.delivery import s3
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.doctor import hosts, objects
from kazoo_rec.threads import Threads
from tests.doctor.test_hosts import LOOPBACK


@pytest.fixture
def look(stored, s3_settings):
    """What is found of the library, where the settings are others as said."""
    threads = Threads(2)

    def look(**said):
        settings = replace(s3_settings, **said)
        found = objects.library(settings, s3.opened(DeliverySettings(s3=settings), threads), time.time)
        assert settings.secret_key not in str(found)
        return found

    yield look
    threads.kill()


def test_one_that_does_what_it_is_to_is_well_and_has_nothing_of_it_afterwards(look, stored):
    [found] = look()
    assert (found.state, found.name) == ("ok", "library") and "s3://calls/library" in found.seen
    assert [line.partition(" ")[0] for line in stored.ask("requests")] == ["PUT", "HEAD", "GET", "DELETE"]
    assert not stored.ask("objects", bucket="calls")


def test_where_there_is_none_nothing_is_said(look, stored):
    assert look(library=None) == objects.library(None, None, time.time) == []
    assert not stored.ask("requests")


@pytest.mark.parametrize(("said", "advice"), [
    ({"access_key": "AKNOBODY"}, "s3.access_key"), ({"secret_key": "hunter2"}, "s3.secret_key"),
    ({"library": "s3://nothing-here/x"}, "make the bucket"), ({"region": "us-east-1"}, "s3.region"),
    ({"endpoint": "http://127.0.0.1:9"}, "s3.endpoint")])
def test_what_is_said_wrong_is_named(look, said, advice):
    [found] = look(**said)
    assert found.state == "wrong" and advice in found.advice


@pytest.mark.parametrize(("mode", "advice"), [
    ("skewed", "clock"), ("moved", "s3.region"), ("other", "use another"), ("absent", "use another"),
    ("503", "the store up")])
def test_what_is_wrong_with_the_store_is_named(look, stored, mode, advice):
    stored.ask("mode", mode=mode)
    [found] = look()
    assert found.state == "wrong" and advice in found.advice


def test_urls_of_documents_need_an_object_store():
    def states(url, there):
        return [(one.state, one.advice) for one in hosts.reachable([(url, "account acme")], 0, None, LOOPBACK, there)]

    assert states("s3://calls/x", True) == [("ok", "")]
    assert states("s3://calls/x", False) == [("wrong", "the configuration's `s3`")]
    [(state, advice)] = states("s3://AK:hunter2@Calls/x", True)
    assert state == "wrong" and "hunter2" not in advice
