"""SIP messages (RFC 3261), as far as a phone on loopback needs them."""

import hashlib
import re
import secrets
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """A request or a response. `headers` keeps every line in order as (lower-case name, value)."""

    first: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @classmethod
    def read(cls, datagram: bytes) -> "Message":
        head, _, body = datagram.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":")[::2] for line in lines)
        return cls(first, tuple((name.strip().lower(), value.strip()) for name, value in pairs), body)

    def __getitem__(self, name: str) -> str:
        """The first header of that name, "" where there is none."""
        return next((value for known, value in self.headers if known == name), "")

    @property
    def code(self) -> int:
        """Of a response; 0 for a request."""
        return int(self.first.split()[1]) if self.first.startswith("SIP/2.0") else 0

    @property
    def method(self) -> str:
        return self["cseq"].split()[1] if self.code else self.first.split()[0]

    @property
    def cseq(self) -> int:
        return int(self["cseq"].split()[0])

    def audio(self) -> tuple[str, int] | None:
        """Where the other side wants RTP, from its SDP; None without one."""
        host = re.search(rb"^c=IN IP4 (\S+)", self.body, re.MULTILINE)
        port = re.search(rb"^m=audio (\d+)", self.body, re.MULTILINE)
        return (host[1].decode(), int(port[1])) if host and port else None


def token() -> str:
    return secrets.token_hex(8)


def write(first: str, headers, body: bytes = b"") -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append("Content-Type: application/sdp")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def response(request: Message, code: int, reason: str, tag: str, headers=(), body: bytes = b"") -> bytes:
    """`tag` becomes that of To where it has none yet."""
    copied = [(name, value) for name, value in request.headers
              if name in ("via", "record-route", "from", "to", "call-id", "cseq")]
    if "tag=" not in request["to"]:
        copied = [(name, f"{value};tag={tag}" if name == "to" else value) for name, value in copied]
    return write(f"SIP/2.0 {code} {reason}", [*copied, *headers], body)


def uri(address: str) -> str:
    """The URI of a From, To or Contact."""
    found = re.search(r"<([^>]+)>", address)
    return found[1] if found else address.partition(";")[0]


def authorization(challenge: Message, method: str, target: str, user: str, password: str) -> tuple[str, str]:
    """The header that answers a 401 or 407 (RFC 2617, MD5, qop auth)."""
    name = "www-authenticate" if challenge.code == 401 else "proxy-authenticate"
    told = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge[name]))
    cnonce = token()
    secret = _md5(f"{user}:{told['realm']}:{password}")
    digest = _md5(f"{secret}:{told['nonce']}:00000001:{cnonce}:auth:{_md5(f'{method}:{target}')}")
    value = (f'Digest username="{user}", realm="{told["realm"]}", nonce="{told["nonce"]}", uri="{target}", '
             f'response="{digest}", algorithm=MD5, qop=auth, nc=00000001, cnonce="{cnonce}"')
    return ("Authorization" if challenge.code == 401 else "Proxy-Authorization"), value


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
