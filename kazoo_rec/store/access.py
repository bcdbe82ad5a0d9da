"""Who may use the API: tokens, the credentials of users, and the log of what was done. No secret is kept in clear."""

from gevent.event import AsyncResult
from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from kazoo_rec.store.tables import audit, credentials, links, tokens

_TOKEN = select(tokens).where(
    tokens.c.hash == bindparam("hash"), tokens.c.revoked_ms.is_(None),
    or_(tokens.c.expires_ms.is_(None), tokens.c.expires_ms > bindparam("now_ms")))
_NOTE = audit.insert()


class Access:
    """`read(fn)` runs a query, `submit(fn)` a write (both as `Store` gives them)."""

    def __init__(self, read, submit, clock_ms):
        self._read, self._submit, self._clock_ms = read, submit, clock_ms

    def add_token(self, row: dict) -> AsyncResult:
        """`row` has the table's columns, but `created_ms`."""
        values = {"created_ms": self._clock_ms(), **row}
        return self._submit(lambda connection: connection.execute(tokens.insert(), values).rowcount)

    def token(self, hashed: str) -> dict | None:
        """The token with this hash, None where it is none, expired or revoked."""
        values = {"hash": hashed, "now_ms": self._clock_ms()}
        rows = self._many(_TOKEN, values)
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
        """The link with this hash, whether it still plays or not."""
        rows = self._many(select(links).where(links.c.hash == hashed))
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

    def set_credentials(self, account_id: str, user_id: str, hashes: dict[str, str]) -> AsyncResult:
        """Makes `hashes` (method → hash) all that this user can log in with."""
        rows = [{"account_id": account_id, "user_id": user_id, "method": method, "hash": value}
                for method, value in hashes.items()]

        def write(connection):
            connection.execute(delete(credentials).where(credentials.c.account_id == account_id,
                                                         credentials.c.user_id == user_id))
            if rows:
                connection.execute(insert(credentials), rows)
            return len(rows)

        return self._submit(write)

    def may_log_in(self, account_id: str, user_id: str) -> bool:
        """Whether this user has credentials."""
        query = select(credentials.c.method).where(credentials.c.account_id == account_id,
                                                   credentials.c.user_id == user_id)
        return self._read(lambda connection: connection.execute(query).first() is not None)

    def user_of(self, account_id: str, method: str, hashed: str) -> str | None:
        """Whose credentials these are."""
        query = select(credentials.c.user_id).where(
            credentials.c.account_id == account_id, credentials.c.method == method, credentials.c.hash == hashed)
        found = self._read(lambda connection: connection.execute(query).scalars().all())
        return found[0] if len(found) == 1 else None

    def note(self, row: dict) -> AsyncResult:
        """Adds to the audit log; `row` has the table's columns, but `id` and `at_ms`."""
        values = {"at_ms": self._clock_ms(), **row}
        return self._submit(lambda connection: connection.execute(_NOTE, values).rowcount)

    def notes(self, account_id: str, before: int | None, limit: int) -> list[dict]:
        """The audit log of an account, the newest first, from before the entry `before`."""
        query = select(audit).where(audit.c.account_id == account_id).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        return self._many(query)

    def _many(self, query, values=None):
        return self._read(lambda connection: [dict(row) for row in connection.execute(query, values or {}).mappings()])
