"""The audit log of an account: who did what, when, from where."""

from kazoo_rec.api.envelope import succeed
from kazoo_rec.api.listing import OF_EVERY_LIST, key_for, page_size_of, start_key_of, unknown, whole


class Audit:
    """The newest first."""

    def __init__(self, store):
        self._store, self.roles = store, {"GET": {"admin"}}

    def on_get(self, request, response, account_id):
        size, key = page_size_of(request), start_key_of(request)
        if strange := set(request.params) - set(OF_EVERY_LIST):
            raise unknown(min(strange))
        before = None if key is None else whole("start_key", key, 0, 10**18)
        rows = self._store.access.notes(account_id, before, size + 1)
        more = {"next_start_key": key_for(str(rows[size - 1]["id"]))} if len(rows) > size else {}
        entries = [{str(name): value for name, value in row.items()} for row in rows[:size]]
        succeed(request, response, entries, page_size=len(entries), **more)
