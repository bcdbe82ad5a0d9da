"""Links: URLs that play one recording in one presentation, without a token, for some days at most."""

from kazoo_rec.api import tokens
from kazoo_rec.api.body import corrected, data_of
from kazoo_rec.api.door import enter, written
from kazoo_rec.api.envelope import ApiError, invalid, not_found, succeed
from kazoo_rec.api.recordings import found
from kazoo_rec.api.sound import CHOICES, one_of

#: Seconds that a link may play at most.
LONGEST_S = 7 * 86_400

PLAYERS = {"admin", "user", "listener"}


class Links:
    """Of one recording. `public_url` is what clients reach the API by; None: the Host that they say."""

    def __init__(self, store, clock_ms, public_url: str | None):
        self._store, self._clock_ms, self._public_url = store, clock_ms, public_url
        self.roles = {"GET": {"admin"}, "POST": PLAYERS}

    def on_get(self, request, response, account_id, recording_id):
        row = found(self._store, request, account_id, recording_id)
        succeed(request, response, [_shown(link) for link in self._store.access.links(row["id"])])

    def on_post(self, request, response, account_id, recording_id):
        data = data_of(request)
        row = found(self._store, request, account_id, recording_id)
        unknown = set(data) - {"expires_in_s", *CHOICES}
        if unknown:
            raise ApiError(400, "validation error", {name: {"additionalProperties": {
                "message": "Strict checking of data is enabled; only include schema-defined properties"}}
                for name in sorted(unknown)})
        span_s = corrected(data.get("expires_in_s", 3600))
        if type(span_s) is not int or not 1 <= span_s <= LONGEST_S:
            raise invalid("expires_in_s", "error", f"Value must be from 1 to {LONGEST_S}", target=LONGEST_S)
        secret, token = tokens.make("listener", account_id, None, "", None)
        link = {"id": token["id"], "hash": token["hash"], "account_id": account_id, "recording_id": row["id"],
                **{name: one_of(name, data.get(name), row) for name in CHOICES},
                "made_by": request.context.token["id"], "expires_ms": self._clock_ms() + span_s * 1000}
        written(self._store.access.add_link(link))
        prefix = (self._public_url or request.prefix).rstrip("/")
        succeed(request, response, {**_shown(link), "url": f"{prefix}/v2/links/{secret}"}, 201)


class Link:
    """One, to be revoked."""

    def __init__(self, store):
        self._store, self.roles = store, {"DELETE": {"admin"}}

    def on_delete(self, request, response, account_id, recording_id, link_id):
        row = found(self._store, request, account_id, recording_id)
        if not written(self._store.access.revoke_link(row["id"], link_id)):
            raise not_found(link_id)
        succeed(request, response, {"id": link_id, "revoked": True})


class Linked:
    """What a link plays. Every use, and every attempt after its end, is in the account's audit log."""

    def __init__(self, store, sound, throttle, clock_ms):
        self._store, self._sound, self._throttle, self._clock_ms = store, sound, throttle, clock_ms

    def on_get(self, request, response, secret):
        hashed = tokens.hash_of(secret)
        link = self._store.access.link(hashed) if hashed else None
        if link is None:
            self._throttle.attempt(request.remote_addr)
            raise not_found()
        over = ("revoked" if link["revoked_ms"] is not None or not link["stands"] else
                "expired" if link["expires_ms"] <= self._clock_ms() else None)
        row = self._store.recordings.get(link["recording_id"])
        enter(request, link["account_id"], f"link {link['id']}", None, f"recordings/{row['id']}")
        if over:
            raise ApiError(403, "forbidden", {"message": f"the link has {over}" if over == "expired" else
                                              "the link was revoked"})
        if row["delete_requested_ms"] is not None:
            raise not_found()
        self._sound.play(request, response, row, link["format"], link["channels"], link["track"])


def _shown(link):
    names = ("id", "format", "channels", "track", "made_by", "created_ms", "expires_ms", "revoked_ms")
    return {name: link.get(name) for name in names}
