"""Documents of accounts, users and devices, each with the `seq` of its last change."""

from gevent.event import AsyncResult
from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.sqlite import insert

from kazoo_rec.store.tables import change, documents

#: Asked many times a second, so made once.
_SINCE = select(documents).where(documents.c.seq > bindparam("last")).order_by(documents.c.seq)


class Documents:
    """Reads what changed, and takes in what a directory of files holds."""

    def __init__(self, read, submit):
        self._read, self._submit = read, submit

    def since(self, seq: int) -> list[dict]:
        """Every document whose last change is above `seq`, tombstones (`deleted`) included, in order of change."""
        return self._read(lambda connection: [
            dict(row) for row in connection.execute(_SINCE, {"last": seq}).mappings()])

    def take_files(self, found: list[dict]) -> AsyncResult:
        """Makes the documents that came from files be exactly `found`, in one transaction.

        `found` rows have kind, account_id, id, body, source (the file). What is unchanged keeps its `seq`; what came
        from a file that is gone becomes a tombstone. The result is (changed, removed) as numbers.
        """
        wanted = {_key(row): row for row in found}
        query = select(documents).where(documents.c.deleted.is_(False))
        known = self._read(lambda connection: {_key(row): dict(row) for row in connection.execute(query).mappings()})
        changed = [{**row, "deleted": False} for key, row in wanted.items()
                   if key not in known or not _same(known[key], row)]
        removed = [{**row, "deleted": True} for key, row in known.items()
                   if row["source"] is not None and key not in wanted]

        def write(connection):
            _put(connection, changed + removed)
            return len(changed), len(removed)

        return self._submit(write)


def _key(row):
    return row["kind"], row["account_id"], row["id"]


def _same(known, row):
    return known["body"] == row["body"] and known["source"] == row["source"]


def _put(connection, rows):
    if not rows:
        return
    connection.execute(update(change).values(seq=change.c.seq + len(rows)))
    first = connection.execute(select(change.c.seq)).scalar_one() - len(rows) + 1
    upsert = insert(documents)
    connection.execute(upsert.on_conflict_do_update(
        index_elements=["kind", "account_id", "id"],
        set_={name: upsert.excluded[name] for name in ("body", "source", "deleted", "seq")}),
        [{**row, "seq": seq} for seq, row in enumerate(rows, first)])
