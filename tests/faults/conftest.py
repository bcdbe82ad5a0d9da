"""The table of `make faults`."""

import pytest

from tests.faults.table import Table


def pytest_configure(config):
    config.stash[TABLE] = Table()


TABLE = pytest.StashKey[Table]()


@pytest.fixture(scope="session")
def table(request) -> Table:
    """`table.add("what was done", account)`; fails the test where something is broken."""
    return request.config.stash[TABLE]


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[TABLE].lines:
        terminalreporter.write_line("")
        terminalreporter.write_line(str(config.stash[TABLE]))
