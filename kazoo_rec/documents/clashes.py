"""What two documents cannot both say."""

from kazoo_rec.documents.directory import e164


def clashes(rows: list[dict]) -> list[dict]:
    """Two of one id; a realm, a number, a user name or a SIP user claimed twice; an owner or an account that is not
    there.

    `rows` have kind, account_id, id and body. A fault has `row`, `field` (its dotted path), `message` and `rival`: the
    row that had it first, in which case the message names only what both claim; else None.
    """
    return list(_Claims(rows).faults())


class _Claims:
    def __init__(self, rows):
        self._rows = rows
        self._accounts = {row["id"]: row["body"] for row in rows if row["kind"] == "account"}
        self._realms = {row["body"]["realm"].lower(): row for row in rows
                        if row["kind"] == "account" and row["body"].get("realm")}
        self._users = {(row["account_id"], row["id"]) for row in rows if row["kind"] == "user"}
        self._first: dict[tuple, dict] = {}

    def faults(self):
        for row in self._rows:
            yield from self._claim("the id", (row["kind"], row["account_id"], row["id"]), row, "")
            if row["account_id"] not in self._accounts:
                yield _fault(row, "", f"there is no account {row['account_id']}")
            yield from {"account": self._account, "user": self._user, "device": self._device,
                        "callflow": self._callflow}[row["kind"]](row)

    def _account(self, row):
        body = row["body"]
        if body.get("realm"):
            yield from self._claim("the realm", body["realm"].lower(), row, "realm")
        for number in body.get("numbers") or ():
            yield from self._claim("the number", e164(number, body.get("country")), row, "numbers")

    def _user(self, row):
        if row["body"].get("username"):
            yield from self._claim("the user name", (row["account_id"], row["body"]["username"].lower()), row,
                                   "username")

    def _device(self, row):
        account, sip, owner = row["account_id"], row["body"].get("sip") or {}, row["body"].get("owner_id")
        realm = (sip.get("realm") or self._accounts.get(account, {}).get("realm") or "").lower()
        if sip.get("username"):
            yield from self._claim("the SIP user", f"{sip['username']}@{realm}", row, "sip.username")
        if realm in self._realms and self._realms[realm]["id"] != account:
            yield _fault(row, "sip.realm", f"the realm {realm!r}", self._realms[realm])
        if owner and (account, owner) not in self._users:
            yield _fault(row, "owner_id", f"there is no user {owner!r}")

    def _callflow(self, row):
        for number in row["body"].get("numbers") or ():
            yield from self._claim("the number", (row["account_id"], number), row, "numbers")
        for pattern in row["body"].get("patterns") or ():
            yield from self._claim("the pattern", (row["account_id"], pattern), row, "patterns")

    def _claim(self, what, value, row, field):
        first = self._first.setdefault((what, value), row)
        if first is not row:
            shown = value[-1] if isinstance(value, tuple) else value
            yield _fault(row, field, f"{what} {shown!r}", first)


def _fault(row, field, message, rival=None):
    return {"row": row, "field": field, "message": message, "rival": rival}
