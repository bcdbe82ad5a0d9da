"""The API over a real store, asked through Falcon's test client."""

import pytest
from falcon.testing import TestClient

from kazoo_rec.api import tokens
from kazoo_rec.api.app import make_app
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from kazoo_rec.threads import Threads
from tests import database
from tests.media.sounds import write_talk

ACME = {"name": "Acme", "realm": "acme.example", "country": "US", "numbers": ["+15550001001"]}


class Clock:
    """Seconds, and milliseconds since the epoch, that pass when told to."""

    def __init__(self):
        self.now_s = 1_795_221_338.0

    def __call__(self):
        return self.now_s

    def ms(self):
        return int(self.now_s * 1000)


class Client:
    """Asks as the holder of `token`."""

    def __init__(self, app, token=None):
        self._http, self.token = TestClient(app), token

    def __call__(self, method, path, data=None, headers=None, **more):
        headers = {**({"X-Auth-Token": self.token} if self.token else {}), **(headers or {})}
        if data is not None:
            more["json"] = {"data": data}
        return self._http.simulate_request(method, path, headers=headers, **more)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    url = database.of(tmp_path)
    migrate(url)
    opened = Store(url, clock_ms=clock.ms)
    yield opened
    opened.close()


@pytest.fixture
def app(store, clock, tmp_path):
    threads = Threads(4)
    yield make_app(store, "fs1", tmp_path / "recordings", threads.apply, clock, clock.ms)
    threads.kill()


@pytest.fixture
def client(app, store):
    """`client(role, account, user)`: a client with a token of its own, and the user of the role `user`; `client()` has
    none."""

    def make(role=None, account=None, user=None, **limits):
        if role is None:
            return Client(app)
        user = user if role == "user" else None
        if user and store.documents.get("user", account, user) is None:
            store.documents.put({"kind": "user", "account_id": account, "id": user, "body": {"username": user}}, None,
                                lambda _row, _rivals: None).get()
        secret, row = tokens.make(role, account, user, "test", None, **limits)
        store.access.add_token(row).get()
        return Client(app, secret)

    return make


@pytest.fixture
def root(client):
    return client("superadmin")


@pytest.fixture
def acme(root):
    """The id of an account."""
    return root("PUT", "/v2/accounts", ACME).json["data"]["id"]


@pytest.fixture
def recording(store, tmp_path):
    """`recording(account)` puts a finished recording of two seconds into store and directory; columns as given."""
    count = iter(range(10_000))

    def make(account, state="recorded", settings=None, **columns):
        number = next(count)
        recording_id = f"202611-{number:032x}"
        master = f"{account}/20261121/{recording_id}.wav"
        row = {
            "id": recording_id, "node": "fs1", "account_id": account, "user_id": "ann", "device_id": "desk",
            "call_id": f"leg-{number}", "interaction_id": f"call-{number}", "leg": "A", "rule": "caller.outbound",
            "reason": "caller.outbound records leg A: user call_recording.outbound.offnet enables it.",
            "settings": {"format": "wav", "channels": "dual", "track": "both", "enabled": True,
                         "url": "https://me:secret@files.example/", **(settings or {})},
            "settings_from": {"enabled": "user"}, "source": "onnet", "destination": "offnet", "direction": "inbound",
            "from_uri": "1001@acme.example", "to_uri": "442071838750@acme.example", "caller_id_name": "Ann",
            "caller_id_number": "1001", "callee_id_name": "", "callee_id_number": "442071838750",
            "origin": "outbound to offnet from endpoint", "state": state, "master": master, "armed_ms": 1_000,
            "answered_ms": 2_000, "started_ms": 2_010, "stopped_ms": 4_010, "duration_ms": 2_000, "file": master,
            "content_type": "audio/wav", "sha256": f"{number:064x}", "created_ms": 1_000 + number, **columns}
        store.recordings.insert(row).get()
        write_talk(tmp_path / "recordings" / master)
        return row

    return make
