"""The record of one HTTP request: the request, its response, and the events in between."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from typing import Any

from database.errors import DatabaseError
from database.events import Attempt, Call, Checkout, Observation
from observability.random_ids import random_uuid

# An X-Request-Id of any other form is replaced by a generated one.
REQUEST_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
# W3C Trace Context 3.2: version 00; an identifier of zeros only is invalid.
TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
UNMATCHED = "unmatched"  # the route of a request whose path matches none
ENVIRON_KEY = "observability.request"


class RequestRecord:
    """`route` is the template, never the path; `method` one of METHODS, else "OTHER".

    began: time.monotonic(); seconds: until the last part of the response was ready; headers: of the
    response; sent: bytes of its body; complete: whether the body reached its end; began_ns (as
    time.time_ns()) and span: the tracer's, if any.
    """

    __slots__ = (
        *("began", "began_ns", "complete", "events", "headers", "id", "method", "route", "seconds"),
        *("sent", "span", "status", "trace_id"),
    )

    def __init__(self, environ: dict[str, Any]) -> None:
        self.began = time.monotonic()
        given = environ.get("HTTP_X_REQUEST_ID")
        self.id: str = given if given and REQUEST_ID.fullmatch(given) else random_uuid()
        traceparent = environ.get("HTTP_TRACEPARENT")
        found = traceparent and TRACEPARENT.fullmatch(traceparent)
        self.trace_id: str = found[1] if found else ""
        method = environ.get("REQUEST_METHOD", "")
        self.method = method if method in METHODS else "OTHER"
        self.route = UNMATCHED
        self.status = 0
        self.seconds = 0.0
        self.sent = 0
        self.complete = False
        self.headers: Sequence[tuple[str, str]] = ()
        self.events: list[Observation] = []
        self.began_ns = 0
        self.span: Any = None

    def summary(self) -> tuple[int, float, DatabaseError | None, bool]:
        """(attempts, seconds waited, last failure that has a number or SQLSTATE, replayed)."""
        attempts, waited, replayed = 0, 0.0, False
        failure: DatabaseError | None = None
        # One pass, because each request needs all of it.
        for event in self.events:
            if type(event) is Checkout:
                waited += event.seconds
            elif type(event) is Attempt:
                attempts += 1
                if event.failure is not None and isinstance(event.failure, DatabaseError):
                    failure = event.failure
            elif type(event) is Call and event.replayed:
                replayed = True
        return attempts, waited, failure, replayed

    def attempts(self) -> int:
        return [type(event) for event in self.events].count(Attempt)

    def waited(self) -> float:
        """Seconds spent waiting for connections."""
        return sum([event.seconds for event in self.events if isinstance(event, Checkout)])

    def in_database(self) -> float:
        """Seconds of all attempts, without the waits for their connections."""
        attempts = sum([event.seconds for event in self.events if isinstance(event, Attempt)])
        return max(0.0, attempts - self.waited())


class _Current(threading.local):
    request: RequestRecord | None = None


# A request is served by one thread from its first byte to its last.
current = _Current()


def request_record(environ: dict[str, Any]) -> RequestRecord:
    """The record of the request with this WSGI environment; a new one without an observer."""
    found: RequestRecord | None = environ.get(ENVIRON_KEY)
    if found is None:
        found = environ[ENVIRON_KEY] = RequestRecord(environ)
    return found
