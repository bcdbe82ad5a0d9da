"""The engine's picture of all documents: immutable, found by what a leg shows of itself.

A change makes a new Directory from the old one; whoever holds the old one goes on with it.
"""

from collections.abc import Mapping
from functools import lru_cache, partial

import phonenumbers

from kazoo_rec.documents.callflows import Callflows
from kazoo_rec.policy.settings import Grid, account_policy, digest, endpoint_policy
from kazoo_rec.store.urls import masked

#: Characters of the longest text that may be a number; callers choose it, and numbers are kept once compared.
NUMBER_LIMIT = 32

#: An account with nothing said: its endpoints and itself record nothing.
_EMPTY: Mapping = {}
_NOBODY: Grid = account_policy(_EMPTY)


class Directory:
    """Accounts, users and devices, by SIP user, realm, number and id."""

    def __init__(self):
        self.seq = 0
        self._documents: dict[tuple[str, str, str], Mapping] = {}
        self._realms: dict[str, str] = {}
        self._devices: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self._numbers: dict[str, str] = {}
        self._countries: frozenset[str] = frozenset()
        self._endpoints: dict[tuple, Grid] = {}
        self._accounts: dict[str, Grid] = {}
        self._callflows: dict[str, Callflows] = {}
        self._of_accounts: dict[str, dict[str, Mapping]] = {}
        self._of_users: dict[tuple[str, str], list[str]] = {}

    def __len__(self):
        return len(self._documents)

    def apply(self, rows: list[dict]) -> "Directory":
        """A new Directory with the changes of `rows` (as `store.documents.since` gives them) in it."""
        new = Directory()
        new.seq = max((row["seq"] for row in rows), default=self.seq)
        new._documents = dict(self._documents)
        for row in rows:
            key = (row["kind"], row["account_id"], row["id"])
            if row["deleted"]:
                new._documents.pop(key, None)
            else:
                new._documents[key] = row["body"]
        new._index()
        return new

    def _index(self):
        accounts = {key[1]: body for key, body in self._documents.items() if key[0] == "account"}
        self._realms = {body["realm"].lower(): account for account, body in accounts.items() if body.get("realm")}
        self._countries = frozenset(body["country"] for body in accounts.values() if body.get("country"))
        self._numbers = {}
        for account, body in accounts.items():
            for number in map(partial(e164, country=body.get("country")), body.get("numbers") or ()):
                # Two accounts that claim one number: neither may have the other's calls.
                self._numbers[number] = account if self._numbers.get(number, account) == account else None
        self._devices = {}
        for (kind, account, document), body in self._documents.items():
            if kind == "callflow":
                self._of_accounts.setdefault(account, {})[document] = body
            elif kind == "device":
                self._of_users.setdefault((account, body.get("owner_id")), []).append(document)
                sip = self.sip(account, document)
                if sip:
                    self._devices.setdefault(sip, []).append((account, document))

    def by_sip(self, username: str, realm: str) -> tuple[str, str | None, str | None] | None:
        """(account, user, device) ids of a SIP user. A user of an account's realm that no device names is the
        account's all the same, with user and device None. None where the realm is nobody's either, and where two
        devices claim the user: neither may have the other's calls."""
        realm = realm.lower()
        found = self._devices.get((username, realm), ())
        if len(found) == 1:
            account, device = found[0]
            owner = self._documents["device", account, device].get("owner_id")
            return account, owner, device
        account = self._realms.get(realm)
        return (account, None, None) if account and not found else None

    def by_number(self, number: str) -> str | None:
        """The account whose `numbers` hold this number, compared in E.164; national forms by the account's country."""
        if len(number) > NUMBER_LIMIT:
            return None
        for country in (None, *self._countries):
            account = self._numbers.get(e164(number, country))
            if account and (country is None or self._country(account) == country):
                return account
        return None

    def account(self, account_id: str) -> Grid:
        """The account's own policy; one that records nothing where there is no such account."""
        if not self.has_account(account_id):
            return _NOBODY  # the id comes from a channel variable: how many there are must not be a caller's choice
        if account_id not in self._accounts:
            self._accounts[account_id] = account_policy(self._body("account", account_id, account_id))
        return self._accounts[account_id]

    def endpoint(self, account_id: str, user_id: str | None, device_id: str | None) -> Grid:
        """The policy of an endpoint; ids that no document has say nothing."""
        key = (account_id, user_id, device_id)
        if key not in self._endpoints:
            if len(self._endpoints) > 2 * len(self._documents) + 100:
                self._endpoints.clear()  # ids come from channel variables: their number must not be a caller's choice
            user, device = ("user", account_id, user_id), ("device", account_id, device_id)
            self._endpoints[key] = endpoint_policy(self._body("account", account_id, account_id),
                                                   self._documents.get(user), self._documents.get(device))
        return self._endpoints[key]

    def on_no_recording(self, account_id: str) -> str:
        """What the account wants done where a leg of its is not recorded (`calls.vigil`): an alarm, unless it says."""
        return self._body("account", account_id, account_id).get("on_no_recording") or "alarm"

    def settings(self, account_id: str, user_id: str | None, device_id: str | None,
                 digest_of_it: str) -> tuple[dict, dict] | None:
        """The settings of the account, or of this endpoint of it, that have this digest (`policy.settings.digest`), and
        where each comes from. None where there are none such any more."""
        for grid in (self.account(account_id), self.endpoint(account_id, user_id, device_id)):
            for cell in grid.values():
                if digest(masked(cell.settings)) == digest_of_it:
                    return dict(cell.settings), dict(cell.origin)
        return None

    def callflows(self, account_id: str) -> Callflows:
        """Those of the account; none where there is no such account."""
        documents = self._of_accounts.get(account_id)
        if documents is None:
            return Callflows({})
        if account_id not in self._callflows:
            self._callflows[account_id] = Callflows(documents)
        return self._callflows[account_id]

    def sip(self, account_id: str, device_id: str) -> tuple[str, str] | None:
        """(user, realm) by which a device is called; None where there is no such device, it has no SIP user, or it
        says a realm of another account's."""
        sip = self._body("device", account_id, device_id).get("sip") or {}
        realm = (sip.get("realm") or self._body("account", account_id, account_id).get("realm") or "").lower()
        is_ours = self._realms.get(realm, account_id) == account_id
        return (sip["username"], realm) if sip.get("username") and is_ours else None

    def devices(self, account_id: str, user_id: str) -> list[str]:
        """Ids of a user's devices."""
        return list(self._of_users.get((account_id, user_id), ()))

    def has_account(self, account_id: str | None) -> bool:
        return ("account", account_id, account_id) in self._documents

    def _body(self, kind, account_id, document_id):
        return self._documents.get((kind, account_id, document_id), _EMPTY)

    def _country(self, account_id):
        return self._body("account", account_id, account_id).get("country")


@lru_cache(maxsize=50_000)
def e164(number: str, country: str | None = None) -> str:
    """`number` in E.164 (+15550001001). Without a `country` (ISO 3166), a number that does not begin with + is taken
    as international with the + left off, as carriers send it. What is no telephone number stays as it is."""
    try:
        parsed = phonenumbers.parse(number if country or number.startswith("+") else f"+{number}", country)
    except phonenumbers.NumberParseException:
        return number
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
