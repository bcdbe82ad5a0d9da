"""An API over a real store."""

from tests.api.conftest import acme, app, client, clock, recording, root, store

__all__ = ["acme", "app", "client", "clock", "recording", "root", "store"]
