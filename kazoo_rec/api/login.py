"""Log-in: a token of an hour for an API key, or for a user's credentials (Kazoo, cb_api_auth.erl, cb_user_auth.erl)."""

from kazoo_rec.api import tokens
from kazoo_rec.api.body import data_of
from kazoo_rec.api.envelope import ApiError, invalid, succeed
from kazoo_rec.documents.directory import e164

_ACCOUNT_KEYS = ("account_name", "account_realm", "phone_number")

_UNKNOWN = ApiError(401, "invalid_credentials", {"message": "invalid credentials"})


class Login:
    """What both ways have in common. Parameters: the store, `Throttle`, `run(function, args)` on a thread, the wall
    clock."""

    def __init__(self, store, throttle, run, clock_ms):
        self._store, self._throttle, self._run, self._clock_ms = store, throttle, run, clock_ms

    def on_put(self, request, response):
        self._throttle.check(request.remote_addr)
        found = self._whose(data_of(request))
        if found is None:
            self._throttle.failed(request.remote_addr)
            raise _UNKNOWN
        role, account_id, user_id, limits = found
        secret, row = tokens.make(role, account_id, user_id, f"log-in from {request.remote_addr}",
                                  self._clock_ms() + tokens.SESSION_S * 1000, **limits)
        self._store.access.add_token(row).get()
        self._store.access.note({
            "account_id": account_id, "who": row["id"], "user_id": user_id, "remote": request.remote_addr,
            "method": "PUT", "path": request.path, "status": 201, "request_id": request.context.request_id}).get()
        succeed(request, response, {"account_id": account_id, "owner_id": user_id, "role": role}, 201,
                auth_token=secret)


class ApiAuth(Login):
    """`{"data": {"api_key": a token that `kazoo-rec token create` made}}`; the new one may no more than it."""

    def _whose(self, data):
        hashed = tokens.hash_of(_text(data, "api_key"))
        key = self._store.access.token(hashed) if hashed else None
        return key and (key["role"], key["account_id"], key["user_id"],
                        {"methods": key["methods"], "paths": key["paths"]})


class UserAuth(Login):
    """`{"data": {"credentials": md5 or sha1 of "username:password", "method"?: "md5" | "sha", and one of
    "account_name", "account_realm", "phone_number"}}`."""

    def _whose(self, data):
        credentials, method = _text(data, "credentials"), data.get("method", "md5")
        if method not in ("md5", "sha"):
            raise invalid("method", "enum", "Value not found in enumerated list of values", target=["md5", "sha"])
        account_id = self._account(data)
        key = self._run(tokens.credentials_key, (account_id or "", credentials))
        user_id = self._store.access.user_of(account_id, method, key) if account_id else None
        user = user_id and self._store.documents.get("user", account_id, user_id)
        if not user or user["body"].get("enabled") is False:
            return None
        role = "admin" if user["body"].get("priv_level") == "admin" else "user"
        return role, account_id, user_id, {"methods": None, "paths": None}

    def _account(self, data):
        said = next(((key, data[key]) for key in _ACCOUNT_KEYS if key in data), None)
        if said is None:
            raise invalid("account_name", "required", "Field is required but missing")
        key, value = said
        rows = self._store.documents.page("account", None, None, limit=1_000_000)
        found = [row["id"] for row in rows if _is(row["body"], key, value)]
        return found[0] if len(found) == 1 else None


def _is(account, key, value):
    if not isinstance(value, str):
        return False
    if key == "phone_number":
        return e164(value, account.get("country")) in {
            e164(number, account.get("country")) for number in account.get("numbers") or ()}
    mine = account.get(key.removeprefix("account_"))
    return isinstance(mine, str) and "".join(mine.lower().split()) == "".join(value.lower().split())


def _text(data, key):
    value = data.get(key)
    if not isinstance(value, str) or not value:
        raise invalid(key, "required", "Field is required but missing")
    return value[:512]
