"""kill -9 while the database is brought up to date: it is done whole or not at all, and again at the next start."""

import pytest
from alembic import command

from kazoo_rec.store.migrations import _config, head, revision
from tests import database
from tests.faults.site import Site

#: Every step of a migration goes through it.
STEP = "alembic.operations.base:Operations.invoke"

LONG = pytest.mark.long


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """With recordings of before."""
    with Site(tmp_path_factory.mktemp("site"), supervised=True) as site:
        site.call(talk_s=1.5)
        site.wait_quiet()
        yield site


@pytest.mark.parametrize("of, when, nth", [
    pytest.param(STEP, "before", 1, marks=LONG),
    (STEP, "after", 9),
    pytest.param(STEP, "after", 20, marks=LONG),
    pytest.param("alembic.command:upgrade", "after", 1, marks=LONG),
    pytest.param("kazoo_rec.store.documents:Documents.take_files", "before", 1, marks=LONG),
    pytest.param("kazoo_rec.store.documents:Documents.take_files", "done", 1, marks=LONG),
])
def test_a_migration_that_was_killed_is_made_again_and_no_row_is_lost(shared, table, of, when, nth):
    site, url = shared, database.of(shared.place)
    rows = len(site.ledger.recordings())
    site.kill("all")
    command.downgrade(_config(url), "0001")
    site.start("supervisor", {"of": of, "when": when, "nth": nth})
    site.wait_gone("supervisor")
    assert revision(url) in ("0001", head())
    site.start("supervisor")
    site.wait_heard()
    site.call(talk_s=1.5)
    site.wait_row(state="recording")
    site.wait_quiet()
    assert len(site.ledger.recordings()) == rows + 2
    account = site.account()
    assert account.delivered + account.reported == account.wanted
    table.add("supervisor, during a migration", account)
