"""Who comes in, and what they did: a token before every resource, a line in the audit log after."""

import re
import uuid

import structlog
from gevent import Timeout

from kazoo_rec.api import tokens
from kazoo_rec.api.body import envelope_of
from kazoo_rec.api.envelope import ApiError, invalid, not_found
from kazoo_rec.errors import StoreError

#: Seconds for a write to be durable, the entry of the audit log too: an answer that it did not take is not given.
WRITTEN_WITHIN_S = 5.0

#: Seconds for the look-up of a token, which is every request's first: while the database hangs none waits for longer.
ASKED_WITHIN_S = 5.0

#: The largest body that is read for a token.
LARGEST_STRANGERS_BYTES = 64 * 1024

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

log = structlog.get_logger()


class Door:
    """Falcon middleware.

    A resource says in `roles` who may use which of its methods, {"GET": {"admin", "user"}}: superadmins may use all;
    a method that is not in it is for superadmins alone; HEAD is for whom GET is; a resource without `roles` is open to
    everybody. Whoever has an account's token sees nothing of another account, not even that it exists.

    Parameters: the store's `access`, `Throttle`, `node` for the envelopes, `run(function, args)` on a thread.
    """

    def __init__(self, access, throttle, node: str, run):
        self._access, self._throttle, self._node, self._run = access, throttle, node, run

    def process_request(self, request, _response):
        request.context.request_id = uuid.uuid4().hex
        request.context.node, request.context.token, request.context.sent = self._node, None, None
        request.context.entry, request.context.run = None, self._run

    def process_resource(self, request, _response, resource, params):
        if not all(_ID.fullmatch(params[name]) for name in params if name not in ("schema", "call_id")):
            raise not_found()
        if any("\0" in said for said in params.values()):
            raise not_found()
        for name, said in request.params.items():
            if isinstance(said, list):
                raise invalid(name, "error", "Value must be given once")
            if "\0" in name + said:
                raise invalid(name, "error", "Value must have no NUL character")
        roles = getattr(resource, "roles", None)
        if roles is None:
            return
        token = request.context.token = self._token(request)
        account_id = params.get("account_id")
        enter(request, token["account_id"] or account_id, token["id"], token["user_id"])
        whose = roles.get("GET" if request.method == "HEAD" else request.method, ())
        if token["role"] != "superadmin" and account_id is not None and account_id != token["account_id"]:
            raise not_found(account_id)
        if not hasattr(resource, f"on_{request.method.lower()}"):
            return  # Falcon says 405, and in Allow what there is
        if token["role"] not in ("superadmin", *whose):
            raise ApiError(403, "forbidden", {"message": "the token does not allow this"})
        if not tokens.admits(token, request.method, request.path):
            raise ApiError(403, "forbidden", {"message": "the token's restrictions do not allow this"})

    def process_response(self, request, response, resource, _succeeded):
        entry = request.context.entry
        if entry is None:
            return
        entry = {**entry, "remote": request.remote_addr, "method": request.method, "status": int(response.status_code),
                 "sent": request.context.sent, "request_id": request.context.request_id}
        written(self._access.note(entry))

    def _token(self, request):
        hashed = tokens.hash_of(_secret(request) or _secret_of_body(request))
        with Timeout(ASKED_WITHIN_S, ApiError(503, "datastore_unreachable", {"message": "the database hangs"})):
            token = self._access.token(hashed) if hashed else None
        if token is None:
            self._throttle.attempt(request.remote_addr)
            log.warning("a request without a valid token", remote=request.remote_addr, path=request.uri_template)
            raise ApiError(401, "invalid_credentials", {"message": "invalid credentials"})
        return token


def written(result):
    """What a write of the store gives. Raises ApiError (503) where it takes too long, or too many wait already."""
    silent = ApiError(503, "datastore_unreachable", {"message": "the database does not write"})
    try:
        with Timeout(WRITTEN_WITHIN_S, silent):
            return result.get()
    except StoreError as refused:
        raise silent from refused


def enter(request, account_id: str | None, who: str, user_id: str | None, path: str | None = None):
    """What the audit log will say of this request, whatever becomes of it; `path` in place of one with a secret."""
    request.context.entry = {"account_id": account_id, "who": who, "user_id": user_id,
                             "path": (path or request.path)[:2048]}


def _secret(request) -> str:
    """X-Auth-Token, else `auth_token` in the query, else a Bearer."""
    bearer = re.fullmatch(r"[Bb]earer +(\S+)", request.get_header("Authorization") or "")
    return (request.get_header("X-Auth-Token") or request.get_param("auth_token") or (bearer[1] if bearer else ""))


def _secret_of_body(request) -> str:
    """`auth_token` beside `data`, as Kazoo's clients may say it."""
    if not 0 < (request.content_length or 0) <= LARGEST_STRANGERS_BYTES:
        return ""
    try:
        said = envelope_of(request).get("auth_token")
    except ApiError:
        return ""
    return said if isinstance(said, str) else ""
