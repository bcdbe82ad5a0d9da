"""For who runs it: is it ready, and its numbers. Both are made of what engine and delivery said last; nobody's data."""

from gevent import Timeout
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import Metric
from sqlalchemy.exc import SQLAlchemyError

from kazoo_rec.api.envelope import ApiError, succeed_bare
from kazoo_rec.errors import StoreError
from kazoo_rec.store.vitals import GONE_AFTER_MS

#: Seconds for the database to answer.
DATABASE_WITHIN_S = 2.0

#: Milliseconds by which work may be late before whoever should do it cannot be called ready.
LATE_MS = 600_000

ROLES = ("engine", "delivery")


class Ready:
    """200 where all is ready on this node, else 503: {"ready", "not_ready": names, "checks": {name: {"ready", …}}}."""

    def __init__(self, vitals, node: str, clock_ms):
        self._vitals, self._node, self._clock_ms = vitals, node, clock_ms

    def on_get(self, request, response):
        try:
            rows = _said(self._vitals)
        except (StoreError, SQLAlchemyError):
            checks = {"database": {"ready": False}}
        else:
            mine = {row["role"]: row for row in rows if row["node"] == self._node}
            checks = {"database": {"ready": True}, **_checks(mine, self._clock_ms())}
        not_ready = [name for name, check in checks.items() if not check["ready"]]
        response.status = 503 if not_ready else 200
        response.cache_control = ["no-store"]
        succeed_bare(request, response, {"ready": not not_ready, "not_ready": not_ready, "checks": checks})


class Metrics:
    """What the roles counted, in Prometheus' text."""

    def __init__(self, vitals, clock_ms):
        self._vitals, self._clock_ms = vitals, clock_ms

    def on_get(self, request, response):
        try:
            rows = _said(self._vitals)
        except (StoreError, SQLAlchemyError) as silent:
            raise ApiError(503, "datastore_unreachable", {"message": "the database does not answer"}) from silent
        response.content_type, response.data = CONTENT_TYPE_LATEST, generate_latest(_Said(rows, self._clock_ms()))
        response.cache_control = ["no-store"]
        response.set_header("X-Request-ID", request.context.request_id)


class _Said:
    """A registry, for `generate_latest`. What was said too long ago is left out, but for that it was."""

    def __init__(self, rows, now_ms):
        self._rows, self._now_ms = rows, now_ms

    def collect(self):
        up = Metric("kazoo_rec_role_up", "1 where the role said so within the last seconds.", "gauge")
        found = {up.name: up}
        for row in self._rows:
            whose, lives = {"node": row["node"], "role": row["role"]}, _lives(row, self._now_ms)
            up.add_sample(up.name, whose, int(lives))
            for family in row["state"]["metrics"] if lives else ():
                metric = found.setdefault(family["name"], Metric(family["name"], family["help"], family["type"]))
                for name, labels, value in family["samples"]:
                    metric.add_sample(name, {**labels, **whose}, value)
        return found.values()


def _said(vitals):
    with Timeout(DATABASE_WITHIN_S, StoreError("the database does not answer")):
        return vitals.all()


def _lives(row, now_ms):
    return abs(now_ms - row["said_ms"]) <= GONE_AFTER_MS  # said in the future: the clock was put back since


def _checks(mine, now_ms):
    """What the roles of this node said, of those that said it lately."""
    checks = {}
    for role in ROLES:
        row = mine.get(role)
        checks[role] = {"ready": row is not None and _lives(row, now_ms),
                        "heard_ms_ago": None if row is None else now_ms - row["said_ms"]}
    if checks["engine"]["ready"]:
        for name, connected in mine["engine"]["state"]["switches"].items():
            checks[f"switch {name}"] = {"ready": connected}
        for name, load in mine["engine"]["state"].get("load", {}).items():
            checks[f"load {name}"] = {"ready": not load["overloaded"], **load}
        for name, missing in mine["engine"]["state"].get("missing", {}).items():
            # Shown, and no more: one account's leg that cannot be recorded must not take the node away from all others.
            checks[f"legs not recorded {name}"] = {"ready": True, **missing}
    if checks["delivery"]["ready"]:
        state = mine["delivery"]["state"]
        disk = state["disk"]
        checks["disk"] = {"ready": disk["free_bytes"] >= disk["least_bytes"] and not disk.get("refuses"), **disk}
        for name, backlog in state["backlog"].items():
            checks[f"backlog {name}"] = {"ready": backlog["late_ms"] <= LATE_MS, **backlog}
    return checks
