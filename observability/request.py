"""One HTTP request as it is observed: what came, what was answered, what happened in between."""

from __future__ import annotations

import re
import threading
import time
import uuid

from database.errors import DatabaseError
from database.events import Attempt, Call, Checkout, Observation

# Whatever a proxy or client may sensibly send; anything else is replaced, not repeated.
REQUEST_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
# W3C Trace Context 3.2: version 00, and no identifier of zeros only.
TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
UNMATCHED = "unmatched"  # the route of a request that no route is for
ENVIRON_KEY = "observability.request"


class RequestRecord:
    """`route` is the template, never the path; `method` one of METHODS, else "OTHER".

    began: time.monotonic(); began_ns: time.time_ns(); seconds: until the answer's last part was
    ready; sent: bytes of the body; complete: the body came to its end; span: of the tracer.
    """

    __slots__ = (
        *("began", "began_ns", "complete", "events", "id", "length", "method", "route", "seconds"),
        *("sent", "span", "status", "trace_id"),
    )

    def __init__(self, environ: dict) -> None:
        self.began = time.monotonic()
        self.began_ns = time.time_ns()
        given = environ.get("HTTP_X_REQUEST_ID")
        sane = given is not None and REQUEST_ID.fullmatch(given)
        self.id = given if sane else str(uuid.uuid4())
        traceparent = environ.get("HTTP_TRACEPARENT")
        found = traceparent and TRACEPARENT.fullmatch(traceparent)
        self.trace_id = found[1] if found else ""
        method = environ.get("REQUEST_METHOD", "")
        self.method = method if method in METHODS else "OTHER"
        self.route = UNMATCHED
        self.status = 0
        self.seconds = 0.0
        self.length: int | None = None
        self.sent = 0
        self.complete = False
        self.events: list[Observation] = []
        self.span = None

    def summary(self) -> tuple[int, float, DatabaseError | None, bool]:
        """(attempts, seconds waited, last failure that has a number or SQLSTATE, replayed)."""
        attempts, waited, failure, replayed = 0, 0.0, None, False
        # One pass, for it is made for each request.
        for event in self.events:
            kind = type(event)
            if kind is Checkout:
                waited += event.seconds
            elif kind is Attempt:
                attempts += 1
                if isinstance(event.failure, DatabaseError):
                    failure = event.failure
            elif kind is Call and event.replayed:
                replayed = True
        return attempts, waited, failure, replayed

    def attempts(self) -> int:
        return [type(event) for event in self.events].count(Attempt)

    def waited(self) -> float:
        """Seconds spent waiting for connections."""
        return sum([event.seconds for event in self.events if type(event) is Checkout])

    def in_database(self) -> float:
        """Seconds of all attempts, without the waits for their connections."""
        asked = sum([event.seconds for event in self.events if type(event) is Attempt])
        return max(0.0, asked - self.waited())


class _Current(threading.local):
    request: RequestRecord | None = None


# A request is served by one thread from its first byte to its last.
current = _Current()


def request_record(environ: dict) -> RequestRecord:
    """The request that `environ` came with; one that nobody observes where nothing is around it."""
    found = environ.get(ENVIRON_KEY)
    if found is None:
        found = environ[ENVIRON_KEY] = RequestRecord(environ)
    return found
