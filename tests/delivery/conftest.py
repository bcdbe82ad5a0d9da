import gevent
import pytest
from gevent.threadpool import ThreadPool

from kazoo_rec.delivery import s3
from kazoo_rec.delivery.connections import Connections
from kazoo_rec.delivery.networks import Networks
from kazoo_rec.delivery.settings import DeliverySettings, S3Settings
from tests.faults.child import Child
from tests.objects import KEYS, REGION

#: Seconds in which every test of this room has to end.
PATIENCE_S = 20


@pytest.fixture(autouse=True)
def _patience():
    with gevent.Timeout(PATIENCE_S):
        yield


@pytest.fixture
def pool():
    pool = ThreadPool(4)
    yield pool
    pool.kill()


@pytest.fixture
def connections():
    connections = Connections(16, networks=Networks(["127.0.0.0/8"]))
    yield connections
    connections.close()


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


@pytest.fixture
def objects(s3_settings, pool):
    return s3.opened(DeliverySettings(s3=s3_settings), pool)
