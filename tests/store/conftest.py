import pytest

from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/kazoo_rec.db"


@pytest.fixture
def store(url):
    migrate(url)
    opened = Store(url, clock_ms=lambda: 1_795_221_338_000)
    yield opened
    opened.close()
