"""The suite runs as the product does: gevent first, then everything else."""

from gevent import monkey

monkey.patch_all()

import pytest
import structlog

from tests import database

pytest_plugins = ["tests.stored"]


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """Commands set it up for their process, which is the suite's here: a line that another test waits for would not
    be written any more."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def databases(request):
    """Those of a test go with it, others with the last test."""
    place = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if place is not None:
        database.drop(place)


def pytest_sessionfinish():
    database.drop()


def pytest_configure(config):
    config.addinivalue_line("markers", "sqlite: of a database that is a file")
    config.addinivalue_line("markers", "postgres: of a database that is a server's")


def pytest_collection_modifyitems(items):
    for item in items:
        if database.SERVER and item.get_closest_marker("sqlite"):
            item.add_marker(pytest.mark.skip(reason="the database is no file"))
        if not database.SERVER and item.get_closest_marker("postgres"):
            item.add_marker(pytest.mark.skip(reason="the database is a file"))
