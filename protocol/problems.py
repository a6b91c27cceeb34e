"""Problem details (RFC 9457): one table of problems, one mapping from exceptions to it."""

import json
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from flask import Response, current_app, g
from werkzeug.exceptions import HTTPException

from database.errors import DatabaseError, DeadlineExceeded, Kind, NotConfigured, Unavailable

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:sql-procedures-api:"
# Of one request; how many more there are is said in an entry of its own.
MOST_FAULTS = 20
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class ProblemType:
    """A kind of problem: its slug (the `type` URI is the prefix and it), status and title."""

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
        ("invalid-query", 400, "Invalid query", "Query parameters are refused; see `errors`."),
        ("invalid-path", 400, "Invalid path", "A value in the path can't be read."),
        ("invalid-header", 400, "Invalid header", "A request header can't be read."),
        ("unauthenticated", 401, "Not authenticated", "See the `WWW-Authenticate` header."),
        ("forbidden", 403, "Forbidden", "The credential does not open this."),
        ("not-found", 404, "Not found", "No such route, or no such row."),
        ("method-not-allowed", 405, "Method not allowed", "See the `Allow` header."),
        ("not-acceptable", 406, "Not acceptable", "See `detail` for the media types offered."),
        ("request-timeout", 408, "Request timeout", "The body did not arrive in time."),
        ("conflict", 409, "Conflict", "A constraint of the database forbids it."),
        ("precondition-failed", 412, "Precondition failed", "The row changed since it was read."),
        ("precondition-required", 428, "Precondition required", "Send If-Match (see the ETag)."),
        ("too-large", 413, "Content too large", "The body exceeds MAX_REQUEST_BYTES."),
        ("unsupported-media-type", 415, "Unsupported media type", "Send application/json."),
        ("invalid-body", 422, "Invalid body", "Values are refused; see `errors`."),
        ("refused-value", 422, "Value refused", "The database refused a value."),
        ("too-many-requests", 429, "Too many requests", "Come back after `Retry-After`."),
        ("procedure-error", 400, "Refused", "The procedure chose status and detail."),
        ("internal", 500, "Internal error", "Ours to mend; quote `instance`."),
        ("not-installed", 501, "Not installed", "The route needs an optional package."),
        ("unavailable", 503, "Database unavailable", "Come back after `Retry-After`."),
        ("not-configured", 503, "Not configured", "No connection string for this database."),
        ("busy", 503, "Busy", "Too much of this is under way; come back after `Retry-After`."),
        ("issuer-unavailable", 503, "Issuer unavailable", "No key to verify the token with."),
        ("deadline", 504, "Deadline exceeded", "It took too long; what ran was cancelled."),
    )
}

# What the database said, by kind: a problem type and a sentence without a word of the driver's.
_BY_KIND = {
    Kind.CONSTRAINT: ("conflict", "A constraint of the database forbids this change."),
    Kind.BAD_VALUE: ("refused-value", "The database refused a value of the request."),
    Kind.TIMED_OUT: ("deadline", "The statement took longer than it may."),
    Kind.CANCELLED: ("unavailable", "The statement was cancelled by the database."),
    Kind.FULL: ("unavailable", "The database has no space left for this change."),
}
_CHOSEN_SLUG = {403: "forbidden", 404: "not-found", 409: "conflict", 412: "precondition-failed"}


class Problem(Exception):
    """An answer that is a problem. `slug` names one of PROBLEM_TYPES.

    detail: for a person, of this occurrence; errors: [{"pointer" or "parameter", "detail"}, …], of
    which the first MOST_FAULTS are listed; more: faults that are not in `errors`, counted only;
    retry_after: seconds.
    """

    def __init__(
        self,
        slug: str,
        detail: str = "",
        *,
        status: int | None = None,
        errors: Sequence[dict] = (),
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
        body = {"type": self.type.uri, "title": self.type.title, "status": self.status}
        if self.detail:
            body["detail"] = self.detail
        if self.errors:
            body["errors"] = self.errors
        body["instance"] = instance(request_id) if request_id else "about:blank"
        return json.dumps(body, ensure_ascii=False)

    def response(self) -> Response:
        """The text as an answer, with the problem's status and headers."""
        text = self.text(g.get("request_id"))
        return Response(text, self.status, self.headers, content_type=MEDIA_TYPE)


def instance(request_id: str) -> str:
    """The URI of a request by its id: one of ours is a UUID, a client's may be anything."""
    if _UUID.fullmatch(request_id):
        return f"urn:uuid:{request_id}"
    return f"{TYPE_PREFIX}request:{request_id}"


def problem_of(error: Exception) -> Problem:
    """The problem that an exception is to the client. What is ours to mend is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException):
        return _of_http(error)
    if isinstance(error, DatabaseError):
        return _of_database(error)
    if isinstance(error, Unavailable):
        log.warning("unavailable: %s", error)
        return Problem(
            "unavailable", "The database can't be asked now.", retry_after=error.retry_after
        )
    if isinstance(error, DeadlineExceeded):
        return Problem("deadline", "The request's deadline passed.")
    if isinstance(error, NotConfigured):
        return Problem("not-configured", str(error))
    # Only the place: the text of an unforeseen error may hold a caller's data.
    log.error("unforeseen %s", type(error).__name__, exc_info=_without_text(error))
    return Problem("internal", "The request could not be answered.")


def _of_database(error: DatabaseError) -> Problem:
    if error.kind is Kind.CHOSEN:
        slug = _CHOSEN_SLUG.get(error.status, "procedure-error")
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
        return Problem(
            "unavailable", "The database can't be asked now.", retry_after=max(1.0, error.wait)
        )
    slug, detail = _BY_KIND.get(error.kind, ("internal", "The request could not be answered."))
    retry_after = max(1.0, error.wait) if slug == "unavailable" else None
    return Problem(slug, detail, retry_after=retry_after)


def _of_http(error: HTTPException) -> Problem:
    status = error.code or 500
    slug = next(
        (p.slug for p in PROBLEM_TYPES.values() if p.status == status),
        "internal" if status >= 500 else "procedure-error",
    )
    kept = {k: v for k, v in error.get_headers() if k in ("Allow", "Retry-After", "Location")}
    detail = {
        404: "There is no such route.",
        405: "The route has no such method.",
        413: "The request body is larger than {MAX_CONTENT_LENGTH} bytes.",
    }.get(status, HTTPStatus(status).phrase + ".")
    if status == 413:
        detail = detail.format_map(current_app.config)
    return Problem(slug, detail, status=status, headers=kept)


def _without_text(error: Exception) -> tuple:
    # Not by calling the type, which may want arguments.
    return (type(error), type(error).__new__(type(error)), error.__traceback__)
