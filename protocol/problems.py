"""Problem details (RFC 9457): the table of problem types, and the mapping of exceptions to it."""

import json
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType

from flask import current_app, g
from werkzeug.exceptions import HTTPException

from database.errors import DatabaseError, DeadlineExceeded, Kind, NotConfigured, Unavailable
from protocol.response import Response

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:sql-procedures-api:"
# Listed for one request; one more entry counts the rest.
MOST_FAULTS = 20
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class ProblemType:
    """One row of the table. The `type` URI is TYPE_PREFIX followed by the slug."""

    slug: str
    status: int
    title: str
    meaning: str

    @property
    def uri(self) -> str:
        return TYPE_PREFIX + self.slug


PROBLEM_TYPES = {
    slug: ProblemType(slug, status, title, meaning)
    for slug, status, title, meaning in (
        ("invalid-json", 400, "Invalid JSON", "The body is not JSON; `detail` says where."),
        ("invalid-query", 400, "Invalid query", "Query parameters are invalid; see `errors`."),
        ("invalid-path", 400, "Invalid path", "A value in the path is invalid; see `detail`."),
        ("invalid-header", 400, "Invalid header", "A request header is invalid; see `detail`."),
        ("unauthenticated", 401, "Not authenticated", "See the `WWW-Authenticate` header."),
        ("forbidden", 403, "Forbidden", "The caller lacks the right; see `detail`."),
        ("not-found", 404, "Not found", "The route or the row does not exist."),
        ("method-not-allowed", 405, "Method not allowed", "See the `Allow` header."),
        ("not-acceptable", 406, "Not acceptable", "See `detail` for the media types."),
        ("request-timeout", 408, "Request timeout", "The body did not arrive within BODY_SECONDS."),
        ("conflict", 409, "Conflict", "The change violates a database constraint."),
        ("precondition-failed", 412, "Precondition failed", "The row changed since it was read."),
        ("precondition-required", 428, "Precondition required", "Send If-Match with the ETag."),
        ("too-large", 413, "Content too large", "The body exceeds MAX_REQUEST_BYTES."),
        ("unsupported-media-type", 415, "Unsupported media type", "Send application/json."),
        ("invalid-body", 422, "Invalid body", "The body has invalid values; see `errors`."),
        ("refused-value", 422, "Value refused", "The database rejected a value."),
        ("too-many-requests", 429, "Too many requests", "Try again after `Retry-After`."),
        ("procedure-error", 400, "Procedure error", "The procedure set the status and `detail`."),
        ("internal", 500, "Internal error", "Server error; include `instance` in a report."),
        ("not-installed", 501, "Not installed", "The route requires an optional package."),
        ("unavailable", 503, "Database unavailable", "Try again after `Retry-After`."),
        ("not-configured", 503, "Not configured", "This database has no connection string."),
        ("busy", 503, "Busy", "A limit is reached; try again after `Retry-After`."),
        (
            "issuer-unavailable",
            503,
            "Issuer unavailable",
            "The signing keys for the token are unavailable.",
        ),
        ("deadline", 504, "Deadline exceeded", "The request took too long and was cancelled."),
    )
}

_UNAVAILABLE = "The database is unavailable; try again later."
_INTERNAL = "The server could not process the request; include `instance` in a report."
# The slug and detail for each kind of database error; driver text never reaches the client.
_BY_KIND = {
    Kind.CONSTRAINT: ("conflict", "The change violates a database constraint."),
    Kind.BAD_VALUE: ("refused-value", "The database rejected a value in the request."),
    Kind.TIMED_OUT: ("deadline", "The database statement timed out."),
    Kind.CANCELLED: ("unavailable", "The database cancelled the statement; try again later."),
    Kind.FULL: ("unavailable", "The database has no space left; try again later."),
}
# Statuses set by a procedure that have a type of their own; all others are procedure-error.
_SLUG_BY_STATUS = {403: "forbidden", 404: "not-found", 409: "conflict", 412: "precondition-failed"}
Fault = dict[str, str]


class Problem(Exception):
    """An error response. `slug` names one of PROBLEM_TYPES.

    detail: a sentence for people about this occurrence. errors: dicts with "detail" and either
    "pointer" or "parameter"; only the first MOST_FAULTS are sent. more: the number of further
    faults that `errors` leaves out. retry_after: seconds.
    """

    def __init__(
        self,
        slug: str,
        detail: str = "",
        *,
        status: int | None = None,
        errors: Sequence[Fault] = (),
        more: int = 0,
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.type = PROBLEM_TYPES[slug]
        self.status = status or self.type.status
        self.detail = detail
        self.errors = list(errors[:MOST_FAULTS])
        more += len(errors) - len(self.errors)
        if more:
            self.errors.append({"detail": f"and {more:,} more"})
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(math.ceil(retry_after))

    def text(self, request_id: str | None) -> str:
        """JSON: {"type", "title", "status", "detail"?, "errors"?, "instance"}."""
        body: dict[str, object] = {
            "type": self.type.uri,
            "title": self.type.title,
            "status": self.status,
        }
        if self.detail:
            body["detail"] = self.detail
        if self.errors:
            body["errors"] = self.errors
        body["instance"] = instance(request_id) if request_id else "about:blank"
        return json.dumps(body, ensure_ascii=False)

    def response(self) -> Response:
        """The text as a response, with the problem's status and headers."""
        text = self.text(g.get("request_id"))
        return Response(text, self.status, self.headers, content_type=MEDIA_TYPE)


def instance(request_id: str) -> str:
    """The URI of a request, from its id: a UUID unless the client sent its own id."""
    if _UUID.fullmatch(request_id):
        return f"urn:uuid:{request_id}"
    return f"{TYPE_PREFIX}request:{request_id}"


def problem_of(error: Exception) -> Problem:
    """The problem to send for `error`. Unexpected errors are logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, DatabaseError):
        return _of_database(error)
    if isinstance(error, Unavailable):
        log.warning("unavailable: %s", error)
        return Problem("unavailable", _UNAVAILABLE, retry_after=error.retry_after)
    if isinstance(error, DeadlineExceeded):
        return Problem("deadline", "The request exceeded its deadline.")
    if isinstance(error, NotConfigured):
        return Problem("not-configured", str(error))
    # Log the traceback without the message: the message may contain a caller's data.
    log.error("unexpected %s", type(error).__name__, exc_info=_without_text(error))
    return Problem("internal", _INTERNAL)


def _of_database(error: DatabaseError) -> Problem:
    if error.kind is Kind.CHOSEN:
        slug = _SLUG_BY_STATUS.get(error.status or 0, "procedure-error")
        return Problem(slug, error.message, status=error.status)
    if error.kind is Kind.RAISED:
        shown = error.message if current_app.config["PROCEDURE_MESSAGES"] else ""
        return Problem("procedure-error", shown or "The procedure refused it.", status=422)
    if error.kind.transient and error.may_have_run:
        return Problem(
            "unavailable",
            "The procedure may have run. Look before you send the request again.",
        )
    if error.kind.transient:
        return Problem("unavailable", _UNAVAILABLE, retry_after=max(1.0, error.wait))
    slug, detail = _BY_KIND.get(error.kind, ("internal", _INTERNAL))
    retry_after = max(1.0, error.wait) if slug == "unavailable" else None
    return Problem(slug, detail, retry_after=retry_after)


def _of_http(error: HTTPException) -> Problem:
    status = error.code or 500
    slug = next(
        (p.slug for p in PROBLEM_TYPES.values() if p.status == status),
        "internal" if status >= 500 else "procedure-error",
    )
    headers = {k: v for k, v in error.get_headers() if k in ("Allow", "Retry-After", "Location")}
    detail = {
        404: "This route does not exist.",
        405: "This route does not support the method; see the Allow header.",
        413: "The request body is larger than {MAX_CONTENT_LENGTH} bytes.",
    }.get(status, HTTPStatus(status).phrase + ".")
    if status == 413:
        detail = detail.format_map(current_app.config)
    return Problem(slug, detail, status=status, headers=headers)


def _without_text(
    error: Exception,
) -> tuple[type[Exception], Exception, TracebackType | None]:
    # __new__ rather than a call: the constructor may require arguments.
    return (type(error), type(error).__new__(type(error)), error.__traceback__)
