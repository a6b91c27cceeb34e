"""Headers of every response: the request's id, Cache-Control, and on OPTIONS the accepted types."""

from flask import Flask, Response, g, request

from protocol.formats import JSON
from protocol.request_body import FORMS

# A client may store the response but must revalidate it (If-None-Match) before each use.
REVALIDATED = "private, no-cache"
ACCEPTED = ", ".join((JSON, *FORMS))


def install(app: Flask) -> None:
    app.after_request(add_headers)


def add_headers(response: Response) -> Response:
    """X-Request-ID; Cache-Control unless it is set; Accept-Post and Accept-Patch on OPTIONS."""
    # Not by assignment, which searches for an earlier value: nothing else sets this header.
    response.headers.add("X-Request-ID", g.request_id)
    if not has_header(response, "cache-control"):
        succeeded = response.status_code < 400
        response.headers.add("Cache-Control", REVALIDATED if succeeded else "no-store")
    if request.method == "OPTIONS":
        for method in response.allow & {"POST", "PATCH"}:
            response.headers.setdefault(f"Accept-{method.title()}", ACCEPTED)
    return response


def has_header(response: Response, name: str) -> bool:
    """Whether `response` has the header `name`, in lower case. Werkzeug's own test raises and
    catches an exception for a header that is missing."""
    return any(given.lower() == name for given, _ in response.headers)
