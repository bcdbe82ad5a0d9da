"""URLs of settings and whatever calls say: the host that was checked is the host that is asked, on one line."""

from http.client import HTTPConnection
from urllib.parse import urlsplit

from kazoo_rec.delivery import target
from kazoo_rec.errors import TargetError

PRINTABLE = frozenset(range(0x21, 0x7F))


def one(data: bytes):
    url, *said = data.decode("utf-8", "surrogateescape").split("\x1f")
    said += [""] * (8 - len(said))
    recording = {
        "id": "202611-0123456789abcdef0123456789abcdef", "file": "acme/20261121/x.mp3", "account_id": "acme",
        "settings": {"media_name": said[0]}, "from_uri": said[1], "to_uri": said[2], "caller_id_name": said[3],
        "caller_id_number": said[4], "call_id": said[5], "interaction_id": said[6], "user_id": said[7] or None,
        "started_ms": 1_700_000_000_000, "duration_ms": 2000,
    }
    try:
        host = target.host(url)
    except TargetError:
        assert refused(url, recording)
        return
    for file_name in ("recording_id", "call_id"):
        for query in ("kazoo", "none"):
            built = target.build(url, recording, file_name, query)
            assert PRINTABLE.issuperset(built.encode("ascii"))
            assert target.host(built) == host
            address, _ = target.without_credentials(built)
            parts = urlsplit(address)
            assert "@" not in parts.netloc
            assert not parts.fragment
            name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            assert f"{parts.scheme}://{name}:{parts.port or target.PORTS[parts.scheme]}" == host
            # Refuses a request that would be two, or begin another header.
            HTTPConnection("x")._validate_path(f"{parts.path}?{parts.query}")
    assert ".." not in target.build("http://a.example/", recording, "recording_id", "none").removeprefix(
        "http://a.example/").split("/")


def refused(url, recording):
    try:
        target.build(url, recording)
    except TargetError:
        return True
    return False
