"""Engines of other hosts, on loopback, with certificates of an authority that lasts as long as the test."""

import gevent
import pytest
import trustme
from gevent.event import Event
from gevent.socket import create_server

from kazoo_rec import tls
from kazoo_rec.control import client
from kazoo_rec.control.server import Server
from kazoo_rec.store.engines import Running
from tests.control.certificates import write
from tests.switch.conftest import said  # noqa: F401


class Calls:
    """An engine's, as `calls.control.Control`: the legs of acme that it has, each of a user of that name, and the
    orders that it got."""

    def __init__(self, *uuids):
        self.uuids, self.orders = uuids, []
        #: Set: it answers at once.
        self.awake, self.asked = Event(), Event()
        self.awake.set()
        self.raises = None
        self.lists = self.most_lists = 0

    def legs(self, account_id, user_id=None):
        self.lists += 1
        self.most_lists = max(self.most_lists, self.lists)
        for uuid in self.uuids:
            gevent.idle()
            if (leg := self.leg(account_id, uuid)) and user_id in (None, uuid):
                yield leg
        self.lists -= 1

    def leg(self, account_id, uuid):
        self.asked.set()
        self.awake.wait()
        if self.raises:
            raise self.raises
        return {"uuid": uuid} if account_id == "acme" and uuid in self.uuids else None

    def order(self, account_id, uuid, action, settings, who):
        leg = self.leg(account_id, uuid)
        if leg:
            self.orders.append((uuid, action, settings, who))
        return leg and {**leg, "obeyed": action}


class Store:
    """What the client asks of `store.Store`: which engines run, and where a leg is recorded."""

    def __init__(self, place):
        self.beside, self.engines, self.recordings = str(place / "kazoo_rec"), self, self
        self.rows, self.nodes = {}, {}

    def add(self, name, address=None, switches=None):
        self.rows[name] = Running(name, address, frozenset(switches or (name,)))

    def running(self):
        return list(self.rows.values())

    def open_nodes(self, account_id, call_id):
        return self.nodes.get((account_id, call_id), set())


class Site:
    """Engines, and an API's way to them."""

    def __init__(self, place):
        self.place, self.store = place, Store(place)
        self.authority = trustme.CA()
        self.mutual = self.certified("api", "127.0.0.1")
        self.engines = client.Engines(self.store, self.mutual.client)
        self._servers, self._listeners = [], []

    def certified(self, name, *hosts, by=None, trusts=None, **more):
        """Contexts with a certificate for these hosts, by this authority, which trust that one."""
        return tls.mutual("control", *write(self.place, name, by or self.authority, hosts, **more),
                          self.trusted(name, trusts or self.authority))

    def trusted(self, name, authority):
        authority.cert_pem.write_to_path(self.place / f"{name}.ca")
        return self.place / f"{name}.ca"

    def engine(self, name, *uuids, port=0, mutual=None, here=False, beside=()):
        """One that runs, with these legs; its calls. `here`: of this host. `beside`: Calls of its other switches, which
        are asked first."""
        calls = Calls(*uuids)
        server = Server(f"{self.store.beside if here else self.place / 'elsewhere'}.{name}.control", [*beside, calls])
        server.start()
        self._servers.append(server)
        calls.server = server
        if not here:
            calls.port = server.start_for_others("127.0.0.1", port, (mutual or self.mutual).server)
        self.store.add(name, None if here else f"127.0.0.1:{calls.port}")
        return calls

    def silent(self, name):
        """One that takes connections and says nothing."""
        listener = create_server(("127.0.0.1", 0))
        self._listeners.append(listener)
        self.store.add(name, f"127.0.0.1:{listener.getsockname()[1]}")

    def stop(self):
        for server in self._servers:
            server.stop()
        for listener in self._listeners:
            listener.close()


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "HEARD_WITHIN_S", 60.0)  # longer than a test: nothing passes by waiting for it
    built = Site(tmp_path)
    with gevent.Timeout(20):
        yield built
    built.stop()
