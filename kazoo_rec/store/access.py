"""Who may use the API: tokens, the credentials of users, and the log of what was done. No secret is kept in clear."""

from gevent.event import AsyncResult
from sqlalchemy import Text, and_, bindparam, cast, delete, exists, func, insert, or_, select, update

from kazoo_rec.store.statement import Statement
from kazoo_rec.store.tables import audit, credentials, documents, links, tokens

_DOCUMENT, _KEY = documents.alias(), tokens.alias()


def _is_there(kind, account_id, document_id, *more):
    """That there is such a document, and not `enabled` false."""
    enabled = func.coalesce(cast(_DOCUMENT.c.body["enabled"].as_string(), Text), "true")
    return exists().where(_DOCUMENT.c.kind == kind, _DOCUMENT.c.account_id == account_id, _DOCUMENT.c.id == document_id,
                          _DOCUMENT.c.deleted.is_(False), enabled != "0", enabled != "false", *more)


#: That a token is not revoked, and all is there still that it was made from.
_STANDS = and_(
    tokens.c.revoked_ms.is_(None),
    or_(tokens.c.account_id.is_(None), _is_there("account", tokens.c.account_id, tokens.c.account_id)),
    or_(tokens.c.user_id.is_(None), _is_there("user", tokens.c.account_id, tokens.c.user_id, or_(
        tokens.c.role != "admin", _DOCUMENT.c.body["priv_level"].as_string() == "admin"))),
    or_(tokens.c.parent.is_(None), exists().where(_KEY.c.id == tokens.c.parent, _KEY.c.revoked_ms.is_(None)),
        exists().where(credentials.c.account_id == tokens.c.account_id, credentials.c.user_id == tokens.c.user_id,
                       credentials.c.hash == tokens.c.parent)))
_TOKEN = Statement(select(tokens).where(
    tokens.c.hash == bindparam("hash"), _STANDS,
    or_(tokens.c.expires_ms.is_(None), tokens.c.expires_ms > bindparam("now_ms"))))
_LINK = Statement(
    select(links, and_(_STANDS, _is_there("account", links.c.account_id, links.c.account_id)).label("stands"))
    .join(tokens, tokens.c.id == links.c.made_by).where(links.c.hash == bindparam("hash")))
_NOTE = Statement(audit.insert(), [column.name for column in audit.c if column.name != "id"])


class Access:
    """`read(fn)` runs a query, `look_up(statement, values)` one by a key, `submit(fn)` a write (all as `Store` gives
    them)."""

    def __init__(self, read, look_up, submit, clock_ms):
        self._read, self._look_up, self._submit, self._clock_ms = read, look_up, submit, clock_ms

    def add_token(self, row: dict) -> AsyncResult:
        """`row` has the table's columns, but `created_ms`."""
        values = {"created_ms": self._clock_ms(), **row}
        return self._submit(lambda connection: connection.execute(tokens.insert(), values).rowcount)

    def token(self, hashed: str) -> dict | None:
        """The token with this hash; None where it is none, is expired or revoked, or what it stands on is: its key, its
        user's credentials and rank, its user, its account."""
        rows = self._look_up(_TOKEN, {"hash": hashed, "now_ms": self._clock_ms()}).get()
        return rows[0] if rows else None

    def tokens(self) -> list[dict]:
        """Every token that was ever made, the newest first."""
        return self._many(select(tokens).order_by(tokens.c.created_ms.desc(), tokens.c.id))

    def revoke(self, token_id: str) -> AsyncResult:
        """The result is 1, or 0 where there is no such token or it was revoked before."""
        statement = update(tokens).where(tokens.c.id == token_id, tokens.c.revoked_ms.is_(None)).values(
            revoked_ms=self._clock_ms())
        return self._submit(lambda connection: connection.execute(statement).rowcount)

    def add_link(self, row: dict) -> AsyncResult:
        """`row` has the table's columns, but `created_ms`."""
        values = {"created_ms": self._clock_ms(), **row}
        return self._submit(lambda connection: connection.execute(links.insert(), values).rowcount)

    def link(self, hashed: str) -> dict | None:
        """The link with this hash, whether it still plays or not; `stands` is false where the token that made it is no
        longer good, though not for its age."""
        rows = self._look_up(_LINK, {"hash": hashed}).get()
        return rows[0] if rows else None

    def links(self, recording_id: str) -> list[dict]:
        """Every link that was made to a recording, the newest first."""
        return self._many(select(links).where(links.c.recording_id == recording_id).order_by(
            links.c.created_ms.desc(), links.c.id))

    def revoke_link(self, recording_id: str, link_id: str) -> AsyncResult:
        """The result is 0 where there is no such link or it was revoked before."""
        statement = update(links).where(links.c.id == link_id, links.c.recording_id == recording_id,
                                        links.c.revoked_ms.is_(None)).values(revoked_ms=self._clock_ms())
        return self._submit(lambda connection: connection.execute(statement).rowcount)

    def may_log_in(self, account_id: str, user_id: str) -> bool:
        """Whether this user has credentials."""
        query = select(credentials.c.method).where(credentials.c.account_id == account_id,
                                                   credentials.c.user_id == user_id)
        return self._read(lambda connection: connection.execute(query).first() is not None)

    def user_of(self, account_id: str, method: str, hashed: str) -> str | None:
        """Whose credentials these are; None where he or his account is disabled."""
        query = select(credentials.c.user_id).where(
            credentials.c.account_id == account_id, credentials.c.method == method, credentials.c.hash == hashed,
            _is_there("user", account_id, credentials.c.user_id), _is_there("account", account_id, account_id))
        found = self._read(lambda connection: connection.execute(query).scalars().all())
        return found[0] if len(found) == 1 else None

    def note(self, row: dict) -> AsyncResult:
        """Adds to the audit log; `row` has the table's columns, but `id` and `at_ms`."""
        values = {"at_ms": self._clock_ms(), **row}
        return self._submit(lambda connection: _NOTE.execute(connection, values))

    def notes(self, account_id: str, before: int | None, limit: int) -> list[dict]:
        """The audit log of an account, the newest first, from before the entry `before`."""
        query = select(audit).where(audit.c.account_id == account_id).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        return self._many(query)

    def _many(self, query):
        return self._read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])


def set_credentials(connection, account_id: str, user_id: str, hashes: dict[str, str]):
    """Makes `hashes` (method → hash) all that this user can log in with, in a transaction that there is."""
    connection.execute(delete(credentials).where(credentials.c.account_id == account_id,
                                                 credentials.c.user_id == user_id))
    if hashes:
        connection.execute(insert(credentials), [
            {"account_id": account_id, "user_id": user_id, "method": method, "hash": value}
            for method, value in hashes.items()])


def shut_out(connection, row: dict, now_ms: int):
    """Takes all access from a document that goes: a user, or an account with everybody in it."""
    if row["kind"] not in ("account", "user"):
        return
    for table in (credentials, tokens):
        whose = table.c.account_id == row["account_id"]
        if row["kind"] == "user":
            whose &= table.c.user_id == row["id"]
        connection.execute(delete(credentials).where(whose) if table is credentials else
                           update(tokens).where(whose, tokens.c.revoked_ms.is_(None)).values(revoked_ms=now_ms))
