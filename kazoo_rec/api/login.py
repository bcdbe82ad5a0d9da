"""Log-in: a token of an hour for an API key, or for a user's credentials (Kazoo, cb_api_auth.erl, cb_user_auth.erl)."""

import structlog

from kazoo_rec.api import tokens
from kazoo_rec.api.body import data_of
from kazoo_rec.api.door import enter, written
from kazoo_rec.api.envelope import ApiError, invalid, succeed
from kazoo_rec.api.throttle import Throttle
from kazoo_rec.documents.directory import NUMBER_LIMIT, e164

_ACCOUNT_KEYS = ("account_name", "account_realm", "phone_number")

#: Characters of what is said at a log-in.
LONGEST = 255

#: Digits that the national form of a number has before it at most (Mexico's 044, Hungary's 06): the others are in all
#: its forms.
TRUNK_DIGITS = 3

log = structlog.get_logger()


class Login:
    """What both ways have in common. Parameters: the store, `Throttle`, `run(function, args)` on a thread, the wall
    clock."""

    def __init__(self, store, throttle, run, clock_ms):
        self._store, self._throttle, self._run, self._clock_ms = store, throttle, run, clock_ms

    def on_put(self, request, response):
        found = self._whose(data_of(request), request.remote_addr)
        expires_ms = self._clock_ms() + tokens.SESSION_S * 1000
        secret, row = tokens.make(**{
            **found, "made_by": f"log-in from {request.remote_addr}",
            "expires_ms": min(expires_ms, found.get("expires_ms") or expires_ms)})
        written(self._store.access.add_token(row))
        enter(request, row["account_id"], row["id"], row["user_id"])
        succeed(request, response, {"account_id": row["account_id"], "owner_id": row["user_id"], "role": row["role"]},
                201, auth_token=secret)


class ApiAuth(Login):
    """`{"data": {"api_key": a token that `kazoo-rec token create` made}}`; the new one may no more than it, nor
    live longer."""

    def __init__(self, store, throttle, run, clock, clock_ms):
        super().__init__(store, throttle, run, clock_ms)
        self._keys = Throttle(clock)  # apart: who says another key each time has no other guesser forgotten

    def _whose(self, data, address):
        said = _text(data, "api_key")
        guesser, hashed = (address, said), tokens.hash_of(said)
        self._keys.attempt(guesser)
        key = self._store.access.token(hashed) if hashed else None
        if key is None or key["parent"] is not None:
            self._throttle.attempt(address)  # who says another one each time
            raise _unknown("api_auth", address)
        self._keys.succeeded(guesser)
        return {**{name: key[name] for name in ("role", "account_id", "user_id", "methods", "paths", "expires_ms")},
                "parent": key["id"]}


class UserAuth(Login):
    """`{"data": {"credentials": md5 or sha1 of "username:password", "method"?: "md5" | "sha", and one of
    "account_name", "account_realm", "phone_number"}}`."""

    def _whose(self, data, address):
        credentials, method = _text(data, "credentials"), data.get("method", "md5")
        if method not in ("md5", "sha"):
            raise invalid("method", "enum", "Value not found in enumerated list of values", target=["md5", "sha"])
        key = next((key for key in _ACCOUNT_KEYS if key in data), _ACCOUNT_KEYS[0])
        said = _text(data, key, NUMBER_LIMIT if key == "phone_number" else LONGEST)
        guesser = (address, "".join(said.lower().split())), (address, None)
        self._throttle.attempt(*guesser)
        account_id = self._account(key, said)
        hashed = self._run(tokens.credentials_key, (account_id or "", credentials))
        user_id = self._store.access.user_of(account_id, method, hashed) if account_id else None
        user = user_id and self._store.documents.get("user", account_id, user_id)
        if not user:
            raise _unknown("user_auth", address, account_id)
        self._throttle.succeeded(*guesser)
        return {"role": "admin" if user["body"].get("priv_level") == "admin" else "user", "account_id": account_id,
                "user_id": user_id, "parent": hashed}

    def _account(self, key, said):
        if key != "phone_number":
            found = {account_id for account_id, _ in self._store.documents.accounts_by(key[8:], said)}
        else:
            found = {account_id for account_id, number in self._store.documents.accounts_by("number", said)
                     if _alike(number, said) and self._is(account_id, number, said)}
        return found.pop() if len(found) == 1 else None

    def _is(self, account_id, number, said):
        account = self._store.documents.get("account", account_id, account_id)
        country = account and account["body"].get("country")
        return account is not None and e164(number, country) == e164(said, country)


def _alike(number, said):
    """Whether two forms of a number may be of one: it costs no look at the account."""
    one, other = ("".join(filter(str.isdecimal, text)) for text in (number, said))
    count = max(1, min(len(one), len(other)) - TRUNK_DIGITS)
    return one[-count:] == other[-count:]


def _unknown(way, address, account_id=None):
    # Not what was said, not even the name: people write their passwords into every field.
    log.warning("a log-in failed", way=way, remote=address, account_id=account_id)
    return ApiError(401, "invalid_credentials", {"message": "invalid credentials"})


def _text(data, key, longest=LONGEST):
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise invalid(key, "required", "Field is required but missing")
    if len(value) > longest:
        raise invalid(key, "maxLength", f"String must not be more than {longest} characters", target=longest)
    return value
