"""The observer: it hears everything, knows whose request it belongs to, and passes it on."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from database.events import Observation
from observability.request import ENVIRON_KEY, RequestRecord, current

SERVER_TIMING = ("asked", "always", "never")
PREFERENCE = "server-timing"


class Subscriber(Protocol):
    """What makes something of the facts. `hears` maps a type of observation to its hearer."""

    hears: dict[type, Callable[[Any], None]]

    def began(self, request: RequestRecord, environ: dict) -> None:
        """A request came in."""

    def finished(self, request: RequestRecord) -> None:
        """Its answer is complete, or was broken off."""

    def close(self) -> None:
        """Send on what is held back."""


class Observer:
    """Hears observations (`observe` goes to whoever makes them) and requests (`around` an app).

    server_timing: whether answers carry Server-Timing; "asked" is by `Prefer: server-timing`.
    """

    def __init__(self, *subscribers: Subscriber, server_timing: str = "asked") -> None:
        self._interpreters = subscribers
        self._hearers: dict[type, list[Callable[[Any], None]]] = defaultdict(list)
        for interpreter in subscribers:
            for kind, hearer in interpreter.hears.items():
                self._hearers[kind].append(hearer)
        self._finishers = [interpreter.finished for interpreter in subscribers]
        self._server_timing = server_timing

    def observe(self, event: Observation) -> None:
        request = current.request
        if request is not None:
            request.events.append(event)
        hearers = self._hearers.get(type(event))
        if hearers is not None:
            for hear in hearers:
                hear(event)

    def around(self, app: Callable) -> Callable:
        """A WSGI application that observes each request to `app`, whoever answers it."""

        def observed(environ: dict, start_response: Callable) -> Iterable[bytes]:
            request = environ[ENVIRON_KEY] = current.request = RequestRecord(environ)
            for interpreter in self._interpreters:
                interpreter.began(request, environ)
            timing = self._server_timing == "always" or (
                self._server_timing == "asked" and PREFERENCE in environ.get("HTTP_PREFER", "")
            )

            def start(status: str, headers: list[tuple[str, str]], *more: object) -> Callable:
                request.status = int(status[:3])
                for name, value in headers:
                    if name == "Content-Length":
                        request.length = int(value)
                if timing:
                    headers = [*headers, ("Server-Timing", _timing(request))]
                return start_response(status, headers, *more)

            try:
                return _Body(app(environ, start), request, self._finish)
            except BaseException:
                self._finish(request)
                raise

        return observed

    def close(self) -> None:
        for interpreter in self._interpreters:
            interpreter.close()

    def _finish(self, request: RequestRecord) -> None:
        request.seconds = time.monotonic() - request.began
        for finished in self._finishers:
            finished(request)
        # A failure refers to the frames it went through, and those to this request.
        request.events = []


class _Body:
    """The answer's body, which tells when it is complete *before* it gives its last part.

    So whoever has seen the whole answer finds it counted, in whichever worker.
    """

    __slots__ = ("_finish", "_parts", "_request", "_whole")

    def __init__(
        self,
        whole: Iterable[bytes],
        request: RequestRecord,
        finish: Callable[[RequestRecord], None],
    ) -> None:
        self._whole = whole
        self._parts: Iterator[bytes] = iter(whole)
        self._request = request
        self._finish: Callable[[RequestRecord], None] | None = finish

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        request = self._request
        try:
            part = next(self._parts)
        except StopIteration:
            if self._finish is not None:
                self._end(complete=True)
            raise
        request.sent += len(part)
        if request.sent == request.length and self._finish is not None:
            self._end(complete=True)
        return part

    def close(self) -> None:
        try:
            close = getattr(self._whole, "close", None)
            if close is not None:
                close()
        finally:
            if self._finish is not None:
                self._end(complete=False)
            current.request = None

    def _end(self, *, complete: bool) -> None:
        finish, self._finish = self._finish, None
        self._request.complete = complete
        finish(self._request)


def _timing(request: RequestRecord) -> str:
    """W3C Server Timing; durations in milliseconds."""
    total = time.monotonic() - request.began
    parts = (("wait", request.waited()), ("db", request.in_database()), ("total", total))
    return ", ".join(f"{name};dur={1000 * seconds:.2f}" for name, seconds in parts)
