import gevent
import pytest
from gevent.threadpool import ThreadPool

from kazoo_rec.delivery import s3
from kazoo_rec.delivery.connections import Connections
from kazoo_rec.delivery.networks import Networks
from kazoo_rec.delivery.settings import DeliverySettings

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


@pytest.fixture
def objects(s3_settings, pool):
    return s3.opened(DeliverySettings(s3=s3_settings), pool)
