"""Documents of accounts, users, devices and callflows, each with the `seq` of its last change."""

from gevent.event import AsyncResult
from sqlalchemy import bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from kazoo_rec.errors import DocumentChanged, DocumentFromFile
from kazoo_rec.store.access import set_credentials, shut_out
from kazoo_rec.store.tables import account_keys, change, documents

#: Asked many times a second, so made once.
_SINCE = select(documents).where(documents.c.seq > bindparam("last")).order_by(documents.c.seq)


class Documents:
    """Reads what changed, takes in what a directory of files holds, and changes one at a time."""

    def __init__(self, read, submit, clock_ms):
        self._read, self._submit, self._clock_ms = read, submit, clock_ms

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
        removed = [row for key, row in known.items() if row["source"] is not None and key not in wanted]

        def write(connection):
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
        keys = account_keys.c
        query = select(keys.account_id, keys.text).where(keys.what == what, keys.key == _key_of(what, said))
        return self._read(lambda connection: [tuple(row) for row in connection.execute(query)])

    def put(self, row: dict, seq: int | None, check, credentials: dict[str, str] | None = None) -> AsyncResult:
        """Writes one document, and what its user logs in with (method → hash; None: as before); the result is its row,
        with the new `seq`.

        `row` has kind, account_id, id and body. `seq` is that of the document that it was made from, None for a new
        one. `check(row, rivals)` is called in the transaction with all that the row could clash with; what it raises
        is raised, and nothing is written. Raises DocumentChanged where `seq` is no longer the document's, and
        DocumentFromFile where a file has it.
        """
        def write(connection):
            _expect(connection, row, seq)
            check(row, _rivals(connection, row))
            _put(connection, [{**row, "source": None, "deleted": False}], self._clock_ms())
            if credentials is not None:
                set_credentials(connection, row["account_id"], row["id"], credentials)
            return _row(connection.execute(_one(row["kind"], row["account_id"], row["id"])).mappings().one())

        return self._submit(write)

    def remove(self, kind: str, account_id: str, document_id: str, seq: int) -> AsyncResult:
        """Deletes one document, with an account all documents of it, and all access by them. Raises as `put`."""
        def write(connection):
            row = {"kind": kind, "account_id": account_id, "id": document_id}
            _expect(connection, row, seq)
            which = documents.c.account_id == account_id
            if kind != "account":
                which &= (documents.c.kind == kind) & (documents.c.id == document_id)
            gone = connection.execute(select(documents).where(which, documents.c.deleted.is_(False))).mappings().all()
            if files := [one["source"] for one in gone if one["source"] is not None]:
                raise DocumentFromFile(files[0])
            _drop(connection, gone, self._clock_ms())
            return len(gone)

        return self._submit(write)


def index_accounts(connection, rows):
    """Makes `account_keys` what the accounts among `rows` say; a deleted one says nothing."""
    keys = account_keys.c
    for row in rows:
        if row["kind"] != "account":
            continue
        known = {tuple(one) for one in connection.execute(
            select(keys.what, keys.text).where(keys.account_id == row["id"]))}
        body = {} if row["deleted"] else row["body"]
        said = {("name", body.get("name")), ("realm", body.get("realm")),
                *(("number", number) for number in body.get("numbers") or ())}
        said = {(what, text) for what, text in said if text}
        for what, text in known - said:
            connection.execute(delete(account_keys).where(keys.account_id == row["id"], keys.what == what,
                                                          keys.text == text))
        if said - known:
            connection.execute(insert(account_keys), [
                {"account_id": row["id"], "what": what, "text": text, "key": _key_of(what, text)}
                for what, text in said - known])


#: Digits of a number's end that are compared: all national forms of it have them.
_LAST_DIGITS = 5


def _key_of(what, text):
    if what == "number":
        return "".join(filter(str.isdecimal, text))[-_LAST_DIGITS:]
    return "".join(text.lower().split())


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
    known = connection.execute(_one(row["kind"], row["account_id"], row["id"])).mappings().first()
    if (known and known["seq"]) != seq:
        raise DocumentChanged(row["id"])
    if known and known["source"] is not None:
        raise DocumentFromFile(known["source"])


def _rivals(connection, row):
    """What could clash with a document: for accounts each other and devices of their realm; for a device accounts, its
    owner and whoever has its SIP user; for what else is in an account that account."""
    same = documents.c.account_id == row["account_id"]
    which = documents.c.kind == "account"
    if row["kind"] == "device":
        username = (row["body"].get("sip") or {}).get("username")
        which = or_(which, same & (documents.c.kind == "user") & (documents.c.id == row["body"].get("owner_id")),
                    (documents.c.kind == "device") & (documents.c.body["sip"]["username"].as_string() == username))
    elif row["kind"] == "account" and row["body"].get("realm"):
        realm = func.lower(documents.c.body["sip"]["realm"].as_string())
        which = or_(which, (documents.c.kind == "device") & (realm == row["body"]["realm"].lower()))
    elif row["kind"] == "callflow":
        which = same & documents.c.kind.in_(("account", "callflow"))
    elif row["kind"] == "user":
        which = same & which
    found = connection.execute(select(documents).where(which, documents.c.deleted.is_(False))).mappings()
    return [dict(one) for one in found if _key(one) != _key(row)]


def _drop(connection, rows, now_ms):
    """Makes tombstones of documents, by which nobody gets in any more."""
    _put(connection, [{**row, "deleted": True} for row in rows], now_ms)
    for row in rows:
        shut_out(connection, row, now_ms)


def _put(connection, rows, now_ms):
    if not rows:
        return
    connection.execute(update(change).values(seq=change.c.seq + len(rows)))
    first = connection.execute(select(change.c.seq)).scalar_one() - len(rows) + 1
    index_accounts(connection, rows)
    upsert = insert(documents)
    connection.execute(upsert.on_conflict_do_update(
        index_elements=["kind", "account_id", "id"],
        set_={name: upsert.excluded[name] for name in ("body", "source", "deleted", "seq", "modified_ms")}),
        [{**row, "created_ms": row.get("created_ms") or now_ms, "modified_ms": now_ms, "seq": seq}
         for seq, row in enumerate(rows, first)])
