"""Each version of the schema, down to the one before and up again with rows in every table: a new one is held to it."""

import json
from itertools import pairwise

import pytest
from alembic import command
from click.testing import CliRunner
from sqlalchemy import JSON, Boolean, Integer, MetaData, inspect, select
from sqlalchemy.sql.sqltypes import String

from kazoo_rec.cli.database import database as commands
from kazoo_rec.errors import StoreError
from kazoo_rec.store import Store, migrations
from kazoo_rec.store.migrations import downgrade, head, migrate, revision, versions
from tests import database

from .test_store import row

VERSIONS = versions()


@pytest.fixture
def place(tmp_path):
    migrate(database.of(tmp_path))
    return database.of(tmp_path)


class Looked:
    """The tables as they are, filled with so many `rows` before."""

    def __init__(self, place, rows: int = 0):
        engine = place.backend.writing(place.url)
        with engine.begin() as connection:
            metadata = MetaData()
            metadata.reflect(connection)
            if rows:
                _fill(connection, metadata, rows)
            self.rows = {table.name: [dict(one) for one in connection.execute(
                select(table).order_by(*table.primary_key)).mappings()] for table in metadata.sorted_tables}
            inspector = inspect(connection)
            self.columns = {name: {one["name"]: (str(one["type"]), one["nullable"])
                                   for one in inspector.get_columns(name)} for name in inspector.get_table_names()}
            self.indexes = {name: {(one["name"], *one["column_names"]) for one in inspector.get_indexes(name)}
                            for name in self.columns}
        engine.dispose()
        self.rows.pop("alembic_version")

    def common(self, other):
        """The rows, without what the other version has not."""
        return {name: [{key: value for key, value in one.items() if key in other.columns[name]} for one in rows]
                for name, rows in self.rows.items() if name in other.columns}

    def only(self, other):
        """Tables and columns that the other version has not."""
        return {f"{name}.{column}" if name in other.columns else name for name, columns in self.columns.items()
                for column in columns if column not in other.columns.get(name, ())}


def _fill(connection, metadata, rows):
    def value(column, number):
        if isinstance(column.type, JSON):
            return {"name": f"n{number}", "numbers": ["+1555"]}
        if isinstance(column.type, Boolean):
            return number % 2 == 0
        if isinstance(column.type, String):
            return f"{'id' if column.foreign_keys else column.name} {number}"
        assert isinstance(column.type, Integer)
        return number + 1

    for table in metadata.sorted_tables:
        if table.name not in ("change", "sealing", "alembic_version"):
            connection.execute(table.insert(), [{column.name: value(column, number) for column in table.c}
                                                for number in range(rows)])


@pytest.mark.parametrize("version, before", list(pairwise(VERSIONS)))
def test_what_a_version_and_the_one_before_can_hold_goes_down_and_up_again(place, version, before):
    if version != head():
        downgrade(place, version, lose=True)
    held = Looked(place, rows=3)
    found, lost = downgrade(place, lose=True)
    below = Looked(place)
    assert revision(place) == found == before
    assert below.common(held) == held.common(below) and len(below.rows["recordings"]) == 3
    kept = {name for name in held.only(below) if name.partition(".")[0] != "engines"}
    assert kept <= {line.partition(":")[0] for line in lost}
    command.upgrade(migrations._config(place), version)
    again = Looked(place)
    assert (again.columns, again.indexes) == (held.columns, held.indexes)
    assert again.common(below) == below.common(again)


def test_what_a_killed_engine_said_of_itself_is_nothing_to_lose(place):
    store = Store(place)
    store.engines.say("fs1", 0, "10.0.0.1:9000", ["fs1"]).get()
    store.close()
    assert downgrade(place, "0009") == ("0009", [])


def test_nothing_is_lost_unasked(place):
    store = Store(place)
    store.recordings.insert(row("r1", label="sales")).get()
    with pytest.raises(StoreError, match="somebody has the database open"):
        downgrade(place)
    store.close()
    with pytest.raises(StoreError, match=r"cannot hold.*recordings\.label: 1 values.*--lose"):
        downgrade(place, "0001")
    assert revision(place) == head()
    store = Store(place)
    assert store.recordings.get("r1")["label"] == "sales"
    store.close()


def test_only_a_version_below_is_one_to_go_down_to(place):
    for version in (head(), "nonsense"):
        with pytest.raises(StoreError, match="no such version below"):
            downgrade(place, version)


def test_an_older_program_says_how_a_newer_one_s_database_is_taken_down(place):
    engine = place.backend.writing(place.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    for start in (Store, migrate):
        with pytest.raises(StoreError, match=rf"database downgrade --to {head()}"):
            start(place)


def test_the_command_says_what_is_lost(place, tmp_path):
    downgrade(place, "0008", lose=True)
    Looked(place, rows=2)
    (tmp_path / "kazoo_rec.yaml").write_text(json.dumps({
        "node": "fs1", "recordings_dir": "/rec", "switches": [{"password": "x"}], **database.said(tmp_path)}))
    said = ["downgrade", "--config", str(tmp_path / "kazoo_rec.yaml")]
    refused = CliRunner().invoke(commands, said)
    assert "outages: 2 rows" in str(refused.exception) and revision(place) == "0008"
    told = CliRunner().invoke(commands, [*said, "--lose"])
    assert told.output.splitlines()[0] == "lost: outages: 2 rows" and "version 0007" in told.output
    told = CliRunner().invoke(commands, [*said, "--lose"])
    assert "recordings.data_key: 2 values" in told.output and "cannot be heard" in told.output
