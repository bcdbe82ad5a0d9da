"""The Falcon application: which resource answers which path."""

import time
from pathlib import Path

import falcon
from sqlalchemy.exc import OperationalError

from kazoo_rec.api.audit import Audit
from kazoo_rec.api.channels import CallRecording, Channel, Channels
from kazoo_rec.api.documents import KINDS, Document, Documents, Editor
from kazoo_rec.api.door import Door
from kazoo_rec.api.envelope import ApiError, fail, fail_as_falcon, fail_by_database, fail_unforeseen
from kazoo_rec.api.links import Link, Linked, Links
from kazoo_rec.api.login import ApiAuth, UserAuth
from kazoo_rec.api.openapi import OpenApi
from kazoo_rec.api.operations import Metrics, Ready
from kazoo_rec.api.recordings import Explain, Peaks, Recording, Recordings
from kazoo_rec.api.schemas import Schema, Schemas
from kazoo_rec.api.sound import Sound
from kazoo_rec.api.throttle import Throttle
from kazoo_rec.control.client import Engines
from kazoo_rec.store import epoch_ms


def make_app(store, node: str, recordings_dir: Path, run, clock=time.monotonic, clock_ms=epoch_ms,
             public_url: str | None = None, encode=None, hashing=None, alarm_below: float = 0.0, engines_tls=None,
             fetch=None) -> falcon.App:
    """The WSGI application over a `Store`; `run(function, args)` runs on a thread what blocks or takes milliseconds,
    `encode` likewise what takes seconds, `hashing` what a stranger's log-in costs (None: as `run`), `public_url` is
    what links begin with, `alarm_below` the share of the disk that is left to calls, `engines_tls` the context by which
    engines of other hosts are asked, `fetch(delivery, recording, file)` brings a master from the library (None: there
    is none)."""
    throttle = Throttle(clock)
    app = _App(middleware=[Door(store.access, throttle, node, run)])
    app.add_error_handler(Exception, fail_unforeseen)
    app.add_error_handler(OperationalError, fail_by_database)
    app.add_error_handler(ApiError, fail)
    app.add_error_handler(falcon.HTTPError, fail_as_falcon)
    app.req_options.auto_parse_qs_csv = False
    app.req_options.strip_url_path_trailing_slash = True
    editor = Editor(store, run)
    app.add_route("/healthz", Health(store))
    app.add_route("/readyz", Ready(store.vitals, node, clock_ms))
    app.add_route("/metrics", Metrics(store.vitals, clock_ms))
    app.add_route("/v2/openapi.json", OpenApi())
    app.add_route("/v2/api_auth", ApiAuth(store, throttle, run, clock, clock_ms))
    app.add_route("/v2/user_auth", UserAuth(store, throttle, hashing or run, clock_ms))
    app.add_route("/v2/schemas", Schemas())
    app.add_route("/v2/schemas/{schema}", Schema())
    app.add_route("/v2/accounts", Documents("account", store, editor))
    app.add_route("/v2/accounts/{account_id}", Document("account", store, editor))
    app.add_route("/v2/accounts/{account_id}/audit", Audit(store))
    recording = "/v2/accounts/{account_id}/recordings/{recording_id}"
    sound = Sound(recordings_dir, run, encode or run, store, alarm_below, fetch)
    app.add_route("/v2/accounts/{account_id}/recordings", Recordings(store))
    app.add_route("/v2/accounts/{account_id}/users/{document_id}/recordings", Recordings(store))
    app.add_route(recording, Recording(store, sound))
    app.add_route(f"{recording}/links", Links(store, clock_ms, public_url))
    app.add_route(f"{recording}/links/{{link_id}}", Link(store))
    app.add_route("/v2/links/{secret}", Linked(store, sound, throttle, clock_ms))
    app.add_route(f"{recording}/peaks", Peaks(store, sound))
    app.add_route(f"{recording}/explain", Explain(store))
    engines = Engines(store, engines_tls)
    app.add_route("/v2/accounts/{account_id}/channels", Channels(engines))
    app.add_route("/v2/accounts/{account_id}/channels/{call_id}", Channel(engines))
    app.add_route("/v2/accounts/{account_id}/calls/{call_id}/recording", CallRecording(engines))
    for name, kind in KINDS.items():
        app.add_route(f"/v2/accounts/{{account_id}}/{name}", Documents(kind, store, editor))
        app.add_route(f"/v2/accounts/{{account_id}}/{name}/{{document_id}}", Document(kind, store, editor))
    return app


class _App(falcon.App):
    """HEAD is answered wherever GET is (RFC 9110, 9.3.2)."""

    def add_route(self, uri_template, resource, **more):
        if hasattr(resource, "on_get"):
            resource.on_head = resource.on_get
        super().add_route(uri_template, resource, **more)


class Health:
    """200 while this process serves and its database answers."""

    def __init__(self, store):
        self._store = store

    def on_get(self, _request, response):
        self._store.answer()
        response.media = {"status": "ok"}
        response.cache_control = ["no-store"]
