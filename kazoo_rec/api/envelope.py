"""Crossbar's envelopes around every answer, and the errors that fill them (Kazoo, crossbar/doc/basics.md)."""

import traceback
from datetime import UTC, datetime
from pathlib import PurePath

import falcon
import orjson
import structlog
from sqlalchemy.exc import OperationalError

from kazoo_rec import __version__

log = structlog.get_logger()


class ApiError(Exception):
    """An answer that is no success. `data` tells a program what is wrong where; `retry_after_s` when to come again."""

    def __init__(self, status: int, message: str, data: dict | None = None, retry_after_s: int | None = None):
        super().__init__(message)
        self.status, self.message, self.data, self.retry_after_s = status, message, data or {}, retry_after_s


def not_found(identifier: str = "") -> ApiError:
    """Whatever there is not, or is not the asker's: nothing tells the two apart."""
    return ApiError(404, "bad_identifier", {"message": "bad identifier", "not_found": "The number could not be found",
                                            "cause": identifier} if identifier else {"message": "bad identifier"})


def invalid(path: str, code: str, message: str, **more) -> ApiError:
    """One fault of what was sent, in the form of Crossbar's validation errors."""
    return ApiError(400, "validation error", {path: {code: {"message": message, **more}}})


def conflict(message: str) -> ApiError:
    """A change that cannot be made of what there is."""
    return ApiError(409, "datastore_conflict", {"message": message})


def changed_meanwhile() -> ApiError:
    """The client meant what is there no more."""
    return conflict("it was changed meanwhile: read it again, then change it")


def succeed(request, response, data, status: int = 200, revision: int | None = None, **more):
    """Fills the response; `more` are further members of the envelope (page_size, next_start_key)."""
    if revision is not None:
        more["revision"] = str(revision)
        response.set_header("ETag", f'"{revision}"')
    _fill(request, response, status, {"data": data, "status": "success", **more})


def succeed_bare(request, response, body):
    """For what has a form of its own: no envelope."""
    response.set_header("X-Request-ID", request.context.request_id)
    response.content_type, response.data = falcon.MEDIA_JSON, orjson.dumps(body)


def fail(request, response, error: ApiError, _parameters=None):
    """An error handler of Falcon's."""
    if error.retry_after_s is not None:
        response.set_header("Retry-After", str(error.retry_after_s))
    if error.status == 401:
        response.set_header("WWW-Authenticate", "Bearer")
    _fill(request, response, error.status, {"data": error.data, "error": str(error.status), "message": error.message,
                                            "status": "error"})


def fail_as_falcon(request, response, error: falcon.HTTPError, _parameters=None):
    """What Falcon itself refuses: no such route, no such method, a header that is none."""
    for name, value in (error.headers or {}).items():
        response.set_header(name, value)
    status = error.status_code
    words = {404: "bad_identifier", 405: "invalid_method"}
    fail(request, response, ApiError(status, words.get(status, error.title or "error"), {
        "message": error.description or error.title or "error"}))


def fail_by_database(request, response, refused: OperationalError, _parameters=None):
    """It is locked, or its server away: the request is good later."""
    log.error("the database does not answer", request_id=request.context.request_id, reason=str(refused.orig))
    fail(request, response, ApiError(503, "datastore_unreachable", {"message": "the database does not answer"}))


def fail_unforeseen(request, response, fault: Exception, _parameters=None):
    """A fault of ours: the log has its place and the request's id, the client the id. The path of a link is its
    secret: the log has its template."""
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    log.error("a request failed", request_id=request.context.request_id, method=request.method,
              path=request.uri_template,
              fault=f"{type(fault).__name__} at {PurePath(frame.filename).name}:{frame.lineno} in {frame.name}")
    fail(request, response, ApiError(500, "internal_error", {"message": "a fault of kazoo_rec; its log has more"}))


def _fill(request, response, status, body):
    response.status = status
    response.content_type = falcon.MEDIA_JSON
    response.set_header("X-Request-ID", request.context.request_id)
    response.cache_control = ["no-store"]
    authenticated = {"version": __version__} if getattr(request.context, "token", None) else {}
    response.data = orjson.dumps({
        **body, **authenticated, "request_id": request.context.request_id, "node": request.context.node,
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")})
