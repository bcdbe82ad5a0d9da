import gevent
import pytest
import structlog

from kazoo_rec.switch.connection import Connection
from tests.switch.fakes import PASSWORD, PATIENCE_S, FakeSwitch, Said


@pytest.fixture
def switch():
    fake = FakeSwitch()
    yield fake
    fake.close()


@pytest.fixture
def dial(switch):
    """Makes connections to the fake switch, not yet connected."""
    made = []

    def make(**options):
        made.append(Connection(options.pop("host", switch.host), options.pop("port", switch.port),
                               options.pop("password", PASSWORD), options.pop("timeout", PATIENCE_S), **options))
        return made[-1]

    yield make
    for connection in made:
        connection.stop()


@pytest.fixture
def connected(switch, dial):
    """A connection that is up, and the switch's side of it."""

    def make(*names, subclasses=(), **options):
        connection = dial(**options)
        connection.connect()
        connection.subscribe(names, subclasses)
        return connection, switch.session()

    return make


@pytest.fixture(autouse=True)
def said():
    said = Said()
    structlog.configure(processors=[said])
    yield said
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def no_greenlet_dies(monkeypatch):
    """Whatever the switch does, no greenlet of ours ends with an exception."""
    deaths = []
    hub = gevent.get_hub()

    def record(context, kind, value, trace):
        if not issubclass(kind, hub.NOT_ERROR):
            deaths.append((context, value))

    monkeypatch.setattr(hub, "handle_error", record)
    yield deaths
    assert not deaths


@pytest.fixture(autouse=True)
def patience():
    """What waits for ever fails."""
    with gevent.Timeout(60, AssertionError("still waiting")):
        yield
