"""Fixtures: an object store, a process of its own (tests/objects.py) for all tests of a run."""

import pytest

from kazoo_rec.delivery.settings import S3Settings
from tests.faults.child import Child
from tests.objects import KEYS, REGION


@pytest.fixture(scope="session")
def process(tmp_path_factory):
    """An object store with a bucket `calls`."""
    store = Child(tmp_path_factory.mktemp("objects") / "log", "tests.objects", orders=True)
    store.ask("make", bucket="calls")
    yield store
    store.kill()


@pytest.fixture
def stored(process):
    """As a process that others have used before."""
    process.ask("mode", mode="ok")
    process.ask("clear", bucket="calls")
    process.ask("requests")
    return process


@pytest.fixture
def s3_settings(stored):
    return S3Settings(f"http://127.0.0.1:{stored.ask('port')}", REGION, "AKOPERATOR", KEYS["AKOPERATOR"],
                      ("s3://calls/of/{account_id}",), "s3://calls/library")
