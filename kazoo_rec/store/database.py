"""Which database a URL names: SQLite for one host, PostgreSQL for many."""

from importlib.util import find_spec
from typing import NamedTuple

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from kazoo_rec.errors import StoreError
from kazoo_rec.store import postgres, sqlite

#: In the query of a URL, as libpq has them.
_PASSWORDS = "password", "sslpassword"


class Database(NamedTuple):
    """`url` is SQLAlchemy's; what this host has of its own, its key, its locks and the sockets of its engines, are
    files whose names begin with `beside`."""

    url: str
    beside: str

    @classmethod
    def of(cls, said: "str | Database", state_dir: str | None = None) -> "Database":
        """As the configuration has it. Raises StoreError where it is neither, names no database, or is PostgreSQL
        without `state_dir`."""
        if isinstance(said, Database):
            return said
        url = _read(said)
        match url.get_backend_name(), state_dir:
            case "sqlite", _:
                return cls(said, url.database)
            case "postgresql", None:
                raise StoreError("a database of many hosts wants a directory of this one's own", "state_dir",
                                 "say `state_dir: /var/lib/kazoo_rec`")
            case "postgresql", _ if find_spec("psycopg") is None:
                raise StoreError("psycopg, which speaks to PostgreSQL, is not installed", "database",
                                 "pip install 'kazoo_rec[postgres]'")
            case "postgresql", _:
                url = url.set(drivername="postgresql+psycopg")
                return cls(url.render_as_string(hide_password=False), f"{state_dir}/kazoo_rec")
        raise StoreError("this database is not known", url.get_backend_name(), "sqlite:////… or postgresql://…")

    def __repr__(self):
        return f"Database({self.shown})"

    @property
    def shown(self) -> str:
        """For people: without a password."""
        url = make_url(self.url)
        if self.backend is sqlite:
            return url.database
        return url.set(drivername="postgresql").difference_update_query(_PASSWORDS).render_as_string()

    @property
    def backend(self):
        """`store.sqlite` or `store.postgres`, which offer the same."""
        return sqlite if self.url.startswith("sqlite") else postgres


def _read(said):
    try:
        url = make_url(said)
    except (ArgumentError, ValueError):  # their text may have a password
        url = None
    if not url or not url.database:
        raise StoreError("this is no URL of a database", hint="sqlite:////… or postgresql://…")
    return url
