"""Tokens: 256 random bits that say whose the asker is. Of them the store has the SHA-256 alone."""

import hashlib
import re
import secrets

#: What each role is for; who is more may do what who is less may.
ROLES = ("superadmin", "admin", "user", "listener")

#: Seconds that a token from a log-in lasts (Kazoo's default).
SESSION_S = 3600

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")

#: scrypt's cost: 16 MB and some 50 ms, once at each log-in.
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}


def make(role: str, account_id: str | None, user_id: str | None, made_by: str, expires_ms: int | None,
         methods: list[str] | None = None, paths: list[str] | None = None,
         parent: str | None = None) -> tuple[str, dict]:
    """A new token, and its row for the store; `parent` as its table says."""
    secret = secrets.token_urlsafe(32)
    return secret, {"id": secrets.token_hex(6), "hash": hash_of(secret), "role": role, "account_id": account_id,
                    "user_id": user_id, "methods": methods, "paths": paths, "made_by": made_by,
                    "parent": parent, "expires_ms": expires_ms}


def hash_of(secret: str) -> str | None:
    """What the store knows of a token; None where the text is none."""
    return hashlib.sha256(secret.encode()).hexdigest() if _SECRET.fullmatch(secret) else None


def admits(token: dict, method: str, path: str) -> bool:
    """Whether the token's own restrictions let it through. In a path `*` is one segment, `#` at its end
    any that are left (Kazoo, crossbar/doc/token_restrictions.md). Whoever may GET may HEAD."""
    if token["methods"] is not None and not {method, "GET" if method == "HEAD" else method} & set(token["methods"]):
        return False
    return token["paths"] is None or any(_matches(one.strip("/").split("/"), path.strip("/").split("/"))
                                         for one in token["paths"])


def credentials_hashes(username: str, password: str) -> dict[str, str]:
    """Kazoo's credentials by method: the digest of `username:password`, the name in lower case."""
    text = f"{username.lower()}:{password}".encode()
    return {"md5": hashlib.md5(text, usedforsecurity=False).hexdigest(),
            "sha": hashlib.sha1(text, usedforsecurity=False).hexdigest()}


def credentials_key(account_id: str, credentials: str) -> str:
    """What the store keeps of credentials: with them as they come over the wire nobody can log in. Takes 50 ms."""
    return hashlib.scrypt(credentials.lower().encode(), salt=f"kazoo_rec:{account_id}".encode(), **_SCRYPT).hex()


def _matches(pattern, segments):
    for position, part in enumerate(pattern):
        if part == "#" and position == len(pattern) - 1:
            return True
        if position >= len(segments) or part not in ("*", segments[position]):
            return False
    return len(pattern) == len(segments)
