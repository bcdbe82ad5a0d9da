"""Two hosts with an engine and a switch each, and an API on a third, with one database."""

import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trustme

from kazoo_rec.store import Store
from tests import database
from tests.control.api import Api
from tests.control.certificates import certified, free_port
from tests.faults.site import Site

#: Of an account that is made over the API: those of a site's files are the files' alone.
REALM = "moved.example"


def new_account(api, store) -> str:
    """Its path; `api` comes in as a superadmin."""
    api.come_in(store, "superadmin", None)
    answer = api("PUT", "/v2/accounts", {"name": "moved", "realm": REALM, "country": "US"})
    answer.raise_for_status()
    return f"/v2/accounts/{answer.json()['data']['id']}"


def record_all(api, account: str, enabled: bool):
    """PATCHes its `call_recording`. Raises requests.HTTPError, and AssertionError where an engine that runs did not
    confirm that it obeys."""
    answer = api("PATCH", account, {"call_recording": {"account": {"any": {"any": {"enabled": enabled}}}}})
    answer.raise_for_status()
    assert "not_yet_obeyed_by" not in answer.json(), answer.text


@contextmanager
def two_hosts(place):
    """(fs1, fs2, api, store): over TLS, as they have no sockets in common."""
    authority = trustme.CA()
    first, second, third = hosts = [place / name for name in ("first", "second", "third")]
    for host in hosts:
        host.mkdir()
    shared, beside = database.said(first), database.of(first).beside
    with ExitStack() as running:
        fs1 = running.enter_context(
            Site(first, roles=["engine"], config={"control": certified(first, authority, free_port())}))
        if database.SERVER:
            for host in (second, third):
                shutil.copy(f"{beside}.key", host)
        fs2 = running.enter_context(Site(second, seed=2, roles=["engine"], config={
            **shared, "node": "fs2", "state_dir": str(second), "control": certified(second, authority, free_port())}))
        for socket in (f"{beside}.fs1.control", f"{beside}.fs2.control"):
            Path(socket).unlink(missing_ok=True)  # SQLite: as of hosts that have it not
        api = Api(third, {**shared, "state_dir": str(third)}, authority, place / "log")
        try:
            fs1.until(api.ready, 60, "the api does not serve")
            store = Store(database.of(first))
            try:
                api.come_in(store)
                yield fs1, fs2, api, store
            finally:
                store.close()
        finally:
            api.kill()
