"""The suite runs as the product does: gevent first, then everything else."""

from gevent import monkey

monkey.patch_all()

import pytest
import structlog


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """Commands set it up for their process, which is the suite's here: a line that another test waits for would not
    be written any more."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
