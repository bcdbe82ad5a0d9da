"""What truly happened, from the journals of switch and receiver, and what there is of it in the database."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sqlalchemy import NullPool, create_engine

from kazoo_rec.store import sqlite
from tests import database
from tests.faults.switch import RECORDED


@dataclass(slots=True)
class Talk:
    """A leg as the switch had it. `spoken` are the times [from, to] in which it was answered, ms since the epoch;
    `says` and `hears` are tones, Hz."""

    uuid: str
    user: str
    domain: str
    says: int
    hears: int
    spoken: list = field(default_factory=list)

    @property
    def is_wanted(self) -> bool:
        """Whether the account's documents want it recorded."""
        return self.domain == RECORDED

    @property
    def spoken_ms(self) -> int:
        return sum(until - since for since, until in self.spoken)


def talks(journal: Path) -> dict[str, Talk]:
    """By uuid, those that were answered. A line `killed` ends all that there was."""
    found: dict[str, Talk] = {}
    for line in map(json.loads, journal.read_text().splitlines()):
        if line["what"] == "killed":
            for talk in found.values():
                _close(talk, line["ms"])
            continue
        talk = found.setdefault(line["uuid"], Talk(
            line["uuid"], line["user"], line["domain"], line["says"], line["hears"]))
        if line["what"] in ("answered", "rose"):
            talk.spoken.append([line["ms"], None])
        else:
            _close(talk, line["ms"])
    return {uuid: talk for uuid, talk in found.items() if talk.spoken}


def _close(talk, at_ms):
    if talk.spoken and talk.spoken[-1][1] is None:
        talk.spoken[-1][1] = at_ms


def received(journal: Path) -> dict[str, list[dict]]:
    """By Idempotency-Key, each time that a whole body came."""
    found: dict[str, list] = {}
    for line in map(json.loads, journal.read_text().splitlines()):
        found.setdefault(line["key"], []).append(line)
    return found


class Ledger:
    """The rows, read from outside the product."""

    def __init__(self, place: Path):
        self._place = place

    def rows(self, query: str, *values) -> list[dict]:
        """`values` are for each `?`; JSON is text. Raises SQLAlchemyError."""
        with self._engine.connect() as connection:
            if connection.dialect.name != "sqlite":
                query = query.replace("?", "%s")
            return [{name: json.dumps(value) if isinstance(value, (dict, list)) else value
                     for name, value in row.items()}
                    for row in connection.exec_driver_sql(query, values).mappings()]

    @cached_property
    def _engine(self):
        found = database.of(self._place)
        url = f"sqlite:///file:{found.beside}?mode=ro&uri=true&timeout=5" if found.backend is sqlite else found.url
        return create_engine(url, poolclass=NullPool)

    def recordings(self) -> list[dict]:
        return self.rows("SELECT * FROM recordings ORDER BY created_ms, id")

    def deliveries(self) -> list[dict]:
        return self.rows("SELECT * FROM deliveries ORDER BY id")

    def outages(self) -> list[dict]:
        """Times in which the product knows that it did not hear the switch."""
        return self.rows("SELECT * FROM outages ORDER BY id")

    def open(self) -> int:
        """Recordings that are not finished."""
        return self.rows("SELECT count(*) n FROM recordings "
                         "WHERE state IN ('armed', 'recording', 'paused', 'stopped')")[0]["n"]

    def due(self) -> int:
        return self.rows("SELECT count(*) n FROM deliveries WHERE state = 'due'")[0]["n"]
