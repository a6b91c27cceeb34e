"""The observer: adds each event to the current request's record and passes it to subscribers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from database.events import Observation
from observability.request import ENVIRON_KEY, RequestRecord, current

SERVER_TIMING = ("asked", "always", "never")
PREFERENCE = "server-timing"
StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Subscriber:
    """Turns events into logs, metrics or traces. A method that a subclass lacks costs nothing.

    handlers: an event type's handler.
    """

    handlers: dict[type, Callable[[Any], None]] = {}

    def began(self, request: RequestRecord, environ: dict[str, Any]) -> None:
        """A request has arrived."""

    def finished(self, request: RequestRecord) -> None:
        """Its response is complete, or ended early (request.complete)."""

    def close(self) -> None:
        """Send what is buffered."""


class Observer:
    """Takes events (call sites get `observe`) and requests (`around` wraps the WSGI app).

    server_timing: which responses carry Server-Timing; "asked" means those to requests with
    `Prefer: server-timing`.
    """

    def __init__(self, *subscribers: Subscriber, server_timing: str = "asked") -> None:
        self._subscribers = subscribers
        self._handlers: dict[type, list[Callable[[Any], None]]] = defaultdict(list)
        for subscriber in subscribers:
            for kind, handler in subscriber.handlers.items():
                self._handlers[kind].append(handler)
        self._began = [s.began for s in subscribers if type(s).began is not Subscriber.began]
        self._finished = [
            s.finished for s in subscribers if type(s).finished is not Subscriber.finished
        ]
        self._server_timing = server_timing

    def observe(self, event: Observation) -> None:
        request = current.request
        if request is not None:
            request.events.append(event)
        for handle in self._handlers[type(event)]:
            handle(event)

    def around(self, app: Application) -> Application:
        """A WSGI application that keeps a record of each request to `app`.

        It finishes the request *before* it returns the last part of the response, so that a client
        that has the whole response finds it counted, whichever worker serves /metrics.
        """
        always, asked = self._server_timing == "always", self._server_timing == "asked"

        def recorded(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            request = environ[ENVIRON_KEY] = current.request = RequestRecord(environ)
            for begin in self._began:
                begin(request, environ)

            def start(status: str, headers: list[tuple[str, str]], *more: object) -> Any:
                request.status = int(status[:3])
                request.headers = headers
                if always or (
                    asked and "HTTP_PREFER" in environ and PREFERENCE in environ["HTTP_PREFER"]
                ):
                    headers = [*headers, ("Server-Timing", _timing(request))]
                return start_response(status, headers, *more)

            try:
                body = app(environ, start)
                if not isinstance(body, (tuple, list)) or len(body) > 1:
                    return _Body(body, request, self._finish)
            except BaseException:
                self._finish(request)
                raise
            for part in body:
                request.sent = len(part)
            request.complete = True
            self._finish(request)
            current.request = None
            return body

        return recorded

    def close(self) -> None:
        for subscriber in self._subscribers:
            subscriber.close()

    def _finish(self, request: RequestRecord) -> None:
        request.seconds = time.monotonic() - request.began
        for finish in self._finished:
            finish(request)
        # An exception's traceback refers to frames, and those to this request: a cycle.
        request.events = []


class _Body:
    """A body of several parts, which finishes the request before it returns the last one."""

    __slots__ = ("_body", "_finish", "_length", "_parts", "_request")

    def __init__(
        self,
        body: Iterable[bytes],
        request: RequestRecord,
        finish: Callable[[RequestRecord], None],
    ) -> None:
        self._body = body
        self._parts: Iterator[bytes] = iter(body)
        self._request = request
        self._finish: Callable[[RequestRecord], None] | None = finish
        self._length: int | None = None

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> bytes:
        request = self._request
        try:
            part = next(self._parts)
        except StopIteration:
            self._end(complete=True)
            raise
        if self._length is None:
            # Not before the first part: until then an application may start its response.
            self._length = _declared_length(request.headers)
        request.sent += len(part)
        if request.sent == self._length:
            self._end(complete=True)
        return part

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._end(complete=False)
            current.request = None

    def _end(self, *, complete: bool) -> None:
        finish, self._finish = self._finish, None
        if finish is not None:
            self._request.complete = complete
            finish(self._request)


def _declared_length(headers: Sequence[tuple[str, str]]) -> int:
    """Content-Length; -1 without it."""
    return next((int(value) for name, value in headers if name == "Content-Length"), -1)


def _timing(request: RequestRecord) -> str:
    """W3C Server Timing; durations in milliseconds."""
    total = time.monotonic() - request.began
    parts = (("wait", request.waited()), ("db", request.in_database()), ("total", total))
    return ", ".join(f"{name};dur={1000 * seconds:.2f}" for name, seconds in parts)
