"""The Falcon application."""

import falcon


def make_app(store) -> falcon.App:
    """The WSGI application over a `Store`."""
    app = falcon.App()
    app.add_route("/healthz", Health(store))
    return app


class Health:
    """200 while this process serves and its database answers, with recordings by state; 503 otherwise."""

    def __init__(self, store):
        self._store = store

    def on_get(self, _request, response):
        response.media = {"status": "ok", "recordings": self._store.recordings.count_by_state()}
        response.cache_control = ["no-store"]
