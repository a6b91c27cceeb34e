"""Headers of every response: the request's id, Cache-Control, Vary, and on OPTIONS the accepted
types."""

from protocol.formats import JSON
from protocol.request_body import FORMS
from protocol.response import Response

# A client may store the response but must revalidate it (If-None-Match) before each use.
REVALIDATED = "private, no-cache"
ACCEPTED = ", ".join((JSON, *FORMS))


def add_headers(response: Response, request_id: str, method: str) -> None:
    """Vary; X-Request-ID; Cache-Control unless it is set; on OPTIONS Accept-Post, Accept-Patch."""
    names = response.header_names()
    added = [("X-Request-ID", request_id)]
    if "vary" in names:
        response.vary.add("Accept-Encoding")
    else:
        added.insert(0, ("Vary", "Accept-Encoding"))
    if "cache-control" not in names:
        succeeded = response.status_code < 400
        added.append(("Cache-Control", REVALIDATED if succeeded else "no-store"))
    response.add_headers(added)
    if method == "OPTIONS":
        for allowed in response.allow & {"POST", "PATCH"}:
            response.headers.setdefault(f"Accept-{allowed.title()}", ACCEPTED)
