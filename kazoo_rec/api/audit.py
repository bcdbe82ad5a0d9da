"""The audit log of an account: who did what, when, from where."""

from kazoo_rec.api.envelope import invalid, succeed
from kazoo_rec.api.listing import key_for, page_size_of, start_key_of


class Audit:
    """The newest first."""

    def __init__(self, store):
        self._store, self.roles = store, {"GET": {"admin"}}

    def on_get(self, request, response, account_id):
        size, key = page_size_of(request), start_key_of(request)
        if key is not None and not key.isdecimal():
            raise invalid("start_key", "error", "Value must be the next_start_key of the page before")
        rows = self._store.access.notes(account_id, key and int(key), size + 1)
        more = {"next_start_key": key_for(str(rows[size - 1]["id"]))} if len(rows) > size else {}
        entries = [{str(name): value for name, value in row.items()} for row in rows[:size]]
        succeed(request, response, entries, page_size=len(entries), **more)
