"""Documents of accounts, users, devices and callflows, each with the `seq` of its last change. What is written may have
URLs with passwords, what is read has them sealed (`store/secrets.py`)."""

from gevent.event import AsyncResult
from sqlalchemy import bindparam, select, update

from kazoo_rec.errors import DocumentChanged, DocumentFromFile
from kazoo_rec.store.access import set_credentials, shut_out
from kazoo_rec.store.keys import index, key_of, rivals
from kazoo_rec.store.sql import upsert
from kazoo_rec.store.tables import change, document_keys, documents

#: Asked many times a second, so made once.
_SINCE = select(documents).where(documents.c.seq > bindparam("last")).order_by(documents.c.seq)


class Documents:
    """Reads what changed, takes in what a directory of files holds, and changes one at a time."""

    def __init__(self, read, submit, clock_ms, secrets):
        self._read, self._submit, self._clock_ms, self._secrets = read, submit, clock_ms, secrets

    def since(self, seq: int) -> list[dict]:
        """Every document whose last change is above `seq`, tombstones (`deleted`) included, in order of change."""
        return self._read(lambda connection: [
            dict(row) for row in connection.execute(_SINCE, {"last": seq}).mappings()])

    def take_files(self, found: list[dict], check=lambda _found, _others: None) -> AsyncResult:
        """Makes the documents that came from files be exactly `found`, in one transaction.

        `found` rows have kind, account_id, id, body, source (the file). What is unchanged keeps its `seq`; what came
        from a file that is gone becomes a tombstone. `check(found, others)` is called with the documents that no file
        has: what it raises is raised, and nothing is taken. The result is (changed, removed) as numbers.
        """
        found = [{**row, "body": self._secrets.seal(row["body"])} for row in found]
        seq, *plan = self._read(lambda connection: _planned(connection, found, check))

        def write(connection):
            nonlocal seq, plan
            _lock(connection)
            if _seq(connection) != seq:
                seq, *plan = _planned(connection, found, check)
            changed, removed = plan
            _put(connection, changed, self._clock_ms())
            _drop(connection, removed, self._clock_ms())
            return len(changed), len(removed)

        return self._submit(write)

    def get(self, kind: str, account_id: str, document_id: str) -> dict | None:
        """A document as a row, or None where there is none."""
        query = _one(kind, account_id, document_id)
        return self._read(lambda connection: _row(connection.execute(query).mappings().first()))

    def page(self, kind: str, account_id: str | None, after: str | None, limit: int) -> list[dict]:
        """Documents of a kind, of one account or (account_id None) of all, in order of their ids, from behind
        `after`."""
        query = select(documents).where(documents.c.kind == kind, documents.c.deleted.is_(False))
        if account_id is not None:
            query = query.where(documents.c.account_id == account_id)
        if after is not None:
            query = query.where(documents.c.id > after)
        query = query.order_by(documents.c.id).limit(limit)
        return self._read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])

    def accounts_by(self, what: str, said: str) -> list[tuple[str, str]]:
        """(id, text) of the accounts that have `said` as their `what`: "name" or "realm", compared without case and
        blanks; or "number": of those the last digits are compared, and `text` is the number that has them."""
        keys = document_keys.c
        query = select(keys.account_id, keys.text).where(keys.kind == "account", keys.what == what,
                                                         keys.key == key_of(what, said))
        return self._read(lambda connection: [tuple(row) for row in connection.execute(query)])

    def rivals(self, row: dict) -> list[dict]:
        """All that a row could clash with by now."""
        return self._read(lambda connection: rivals(connection, row))

    def put(self, row: dict, seq: int | None, check, credentials: dict[str, str] | None = None) -> AsyncResult:
        """Writes one document, and what its user logs in with (method → hash; None: as before); the result is its row,
        with the new `seq`.

        `row` has kind, account_id, id and body. `seq` is that of the document that it was made from, None for a new
        one. `check(row, rivals)` is called in the transaction with all that the row could clash with; what it raises
        is raised, and nothing is written. Raises DocumentChanged where `seq` is no longer the document's, and
        DocumentFromFile where a file has it.
        """
        row = {**row, "body": self._secrets.seal(row["body"])}

        def write(connection):
            _expect(connection, row, seq)
            check(row, rivals(connection, row))
            _put(connection, [{**row, "source": None, "deleted": False}], self._clock_ms())
            if credentials is not None:
                set_credentials(connection, row["account_id"], row["id"], credentials)
            return _row(connection.execute(_one(row["kind"], row["account_id"], row["id"])).mappings().one())

        return self._submit(write)

    def remove(self, kind: str, account_id: str, document_id: str, seq: int) -> AsyncResult:
        """Deletes one document, with an account all documents of it, and all access by them; a user's devices
        stay, as nobody's. Raises as `put`."""
        def write(connection):
            row = {"kind": kind, "account_id": account_id, "id": document_id}
            _expect(connection, row, seq)
            which = documents.c.account_id == account_id
            if kind != "account":
                which &= (documents.c.kind == kind) & (documents.c.id == document_id)
            gone = connection.execute(select(documents).where(which, documents.c.deleted.is_(False))).mappings().all()
            if files := [one["source"] for one in gone if one["source"] is not None]:
                raise DocumentFromFile(files[0])
            if kind == "user":
                _disown(connection, row, self._clock_ms())
            _drop(connection, gone, self._clock_ms())
            return len(gone)

        return self._submit(write)


def _planned(connection, found, check):
    """(seq at which this holds, rows to put, rows to remove)."""
    seq, wanted = _seq(connection), {_key(row): row for row in found}
    known = {_key(row): dict(row) for row in connection.execute(
        select(documents).where(documents.c.deleted.is_(False))).mappings()}
    check(found, [row for key, row in known.items() if row["source"] is None and key not in wanted])
    return (seq, [{**row, "deleted": False} for key, row in wanted.items()
                  if key not in known or not _same(known[key], row)],
            [row for key, row in known.items() if row["source"] is not None and key not in wanted])


def _lock(connection):
    """PostgreSQL lets others write meanwhile; SQLite has no others."""
    connection.execute(select(change.c.seq).with_for_update())


def _seq(connection):
    return connection.execute(select(change.c.seq)).scalar_one()


def _key(row):
    return row["kind"], row["account_id"], row["id"]


def _same(known, row):
    return known["body"] == row["body"] and known["source"] == row["source"]


def _row(found):
    return None if found is None else dict(found)


def _one(kind, account_id, document_id):
    return select(documents).where(documents.c.kind == kind, documents.c.account_id == account_id,
                                   documents.c.id == document_id, documents.c.deleted.is_(False))


def _expect(connection, row, seq):
    """`seq` is the document's still, and nobody changes one until this is written."""
    _lock(connection)
    known = connection.execute(_one(row["kind"], row["account_id"], row["id"])).mappings().first()
    if (known and known["seq"]) != seq:
        raise DocumentChanged(row["id"])
    if known and known["source"] is not None:
        raise DocumentFromFile(known["source"])


def _disown(connection, user, now_ms):
    """Takes a user that goes from the devices that he owns."""
    owned = connection.execute(select(documents).where(
        documents.c.kind == "device", documents.c.account_id == user["account_id"], documents.c.deleted.is_(False),
        documents.c.body["owner_id"].as_string() == user["id"])).mappings().all()
    if files := [device["source"] for device in owned if device["source"] is not None]:
        raise DocumentFromFile(files[0])
    _put(connection, [{**device, "body": {name: value for name, value in device["body"].items()
                                          if name != "owner_id"}} for device in owned], now_ms)


def _drop(connection, rows, now_ms):
    """Makes tombstones of documents, by which nobody gets in any more."""
    _put(connection, [{**row, "deleted": True} for row in rows], now_ms)
    for row in rows:
        shut_out(connection, row, now_ms)


def _put(connection, rows, now_ms):
    if not rows:
        return
    connection.execute(update(change).values(seq=change.c.seq + len(rows)))
    first = _seq(connection) - len(rows) + 1
    index(connection, rows)
    connection.execute(
        upsert(documents, ("body", "source", "deleted", "seq", "modified_ms")),
        [{**row, "created_ms": row.get("created_ms") or now_ms, "modified_ms": now_ms, "seq": seq}
         for seq, row in enumerate(rows, first)])
