import gevent
import pytest
from gevent import socket

from kazoo_rec.callflow.server import Owner, Server
from kazoo_rec.documents.directory import Directory
from tests.callflow.fakes import CHANNEL, FakeControl, FakeLeg
from tests.switch.conftest import no_greenlet_dies, patience, said  # noqa: F401

DOCUMENTS = {
    ("account", "acme"): {"realm": "acme.example"},
    ("user", "ann"): {}, ("user", "bob"): {},
    ("device", "a1"): {"owner_id": "ann", "sip": {"username": "1000"}},
    ("device", "b1"): {"owner_id": "bob", "sip": {"username": "1001"}},
    ("device", "b2"): {"owner_id": "bob", "sip": {"username": "1002", "realm": "Home.example"}},
    ("device", "hall"): {"sip": {"username": "1003"}},
    ("device", "mute"): {},
}


class Engine:
    """The server of callflows, with documents and a control of its own."""

    def __init__(self):
        self.control, self.rooms, self.directory = FakeControl(), FakeControl(), Directory()
        self.take(DOCUMENTS)
        self.known = {CHANNEL["Unique-ID"]: Owner("acme", self.control, self.rooms)}
        self.server = Server("127.0.0.1", 0, lambda uuid: self.known.get(uuid), lambda: self.directory)
        self.server.start()
        self._legs = []

    def take(self, documents, account="acme"):
        self.directory = self.directory.apply([
            {"kind": kind, "account_id": account, "id": id, "body": body, "deleted": body is None, "seq": 1}
            for (kind, id), body in documents.items()])

    def flow(self, flow, *, numbers=("8084",), id="cf", **more):
        self.take({("callflow", id): {"id": id, "numbers": list(numbers), "flow": flow, **more}})

    def call(self, **options) -> FakeLeg:
        """A leg whose dialplan has just executed `socket`."""
        leg = FakeLeg(socket.create_connection(self.server.address), **options)
        self._legs.append(leg)
        return leg

    def no_more_flows(self):
        while len(self.server):
            gevent.idle()

    def stop(self):
        self.server.stop()
        for leg in self._legs:
            leg.close()


@pytest.fixture
def engine():
    engine = Engine()
    yield engine
    engine.stop()
