import pytest

from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from tests import database


@pytest.fixture
def url(tmp_path):
    """Of the file itself."""
    if database.SERVER:
        pytest.skip("the database is no file")
    return database.of(tmp_path).url


@pytest.fixture
def store(tmp_path):
    migrate(database.of(tmp_path))
    opened = Store(database.of(tmp_path), clock_ms=lambda: 1_795_221_338_000)
    yield opened
    opened.close()
