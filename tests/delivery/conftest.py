import gevent
import pytest
from gevent.threadpool import ThreadPool

from kazoo_rec.delivery.http import new_session

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
def session():
    with new_session(16) as session:
        yield session
