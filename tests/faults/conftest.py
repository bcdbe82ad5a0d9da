"""The table of `make faults`, and what is left to it."""

import os

import pytest

from tests.faults.table import Table

TABLE = pytest.StashKey[Table]()


def pytest_configure(config):
    config.stash[TABLE] = Table()
    config.addinivalue_line("markers", "long: takes long, or shows what another does too; only `make faults` runs it")


def pytest_collection_modifyitems(config, items):
    if os.environ.get("KAZOO_REC_FAULTS") != "long":
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def table(request) -> Table:
    """`table.add("what was done", account)`; fails the test where something is broken."""
    return request.config.stash[TABLE]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if "table" in item.fixturenames and report.outcome != "passed":
        item.config.stash[TABLE].untold[item.name] = report.outcome
    return report


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[TABLE].lines or config.stash[TABLE].untold:
        terminalreporter.write_line("")
        terminalreporter.write_line(str(config.stash[TABLE]))
