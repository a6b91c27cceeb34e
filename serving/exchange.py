"""One request and its response, in a thread, over a non-blocking connection."""

import contextlib
import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Protocol

from gunicorn.http import errors

from serving.arrival import ARRIVED
from serving.connections import Connection
from serving.head import ClientRequest
from serving.reader import Reader
from serving.repeated import RepeatedRequest, repeated_request
from serving.response import ClientResponse

# Other errors of the parser become 400.
STATUSES = {
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.UnsupportedTransferCoding: 501,
    TimeoutError: 408,
}


class ServingWorker(Protocol):
    """The part of a worker that an exchange uses."""

    cfg: Any
    log: Any
    wsgi: Callable[..., Any]

    def stops_after(self, request: Any) -> bool: ...


class Exchange:
    """A connection's next request.

    stall_seconds: limit for a client that takes nothing of a stream.
    body_seconds: limit for the arrival of the body, from the arrival of its head.
    may_keep: whether a response of this many bytes may be left to the main thread.
    """

    def __init__(
        self,
        worker: ServingWorker,
        connection: Connection,
        *,
        stall_seconds: float,
        body_seconds: float,
        may_keep: Callable[[int], bool],
    ) -> None:
        self._worker = worker
        self._connection = connection
        self.stall_seconds = stall_seconds
        self.may_keep = may_keep
        self._body_seconds = body_seconds

    def run(self) -> bool:
        """Serve the request; returns whether the connection can take another one."""
        connection, cfg = self._connection, self._worker.cfg
        connection.requests += 1
        # gunicorn's hooks and access log get a request of gunicorn's.
        repeated = None if cfg.watched else repeated_request(connection, cfg.longest_line)
        if repeated is not None:
            return self._respond(repeated, repeated.environ)
        try:
            reader = Reader(connection, connection.arrived + self._body_seconds)
            request = ClientRequest(cfg, reader, connection)
        except (errors.ParseException, OSError, StopIteration) as error:
            self._refuse(error)
            return False
        kept = self._respond(request, request.make_environ())
        request.leave()
        return kept

    def _respond(self, request: ClientRequest | RepeatedRequest, environ: dict[str, Any]) -> bool:
        worker, cfg = self._worker, self._worker.cfg
        response = ClientResponse(request, self._connection, self)
        environ[ARRIVED] = self._connection.arrived
        if worker.stops_after(request):
            response.force_close()
        began = time.monotonic() if cfg.watched else 0.0
        try:
            if cfg.watched:
                cfg.pre_request(worker, request)
            parts = worker.wsgi(environ, response.start_response)
            try:
                for part in parts:
                    response.write(part)
                response.close()
            finally:
                if hasattr(parts, "close"):
                    parts.close()
        except OSError:
            return False  # the client disconnected or stalled
        except Exception:
            worker.log.exception("Error handling request %s %s", request.method, request.path)
            if not response.headers_sent:
                self._send_problem(500)
            return False
        finally:
            if cfg.watched:
                taken = timedelta(seconds=time.monotonic() - began)
                worker.log.access(response, request, environ, taken)
                cfg.post_request(worker, request, environ, response)
        return not response.must_close

    def _refuse(self, error: BaseException) -> None:
        """Respond with the error's status. Logs its type only: the message repeats the request."""
        status = next((s for kind, s in STATUSES.items() if isinstance(error, kind)), 400)
        address = self._connection.client
        self._worker.log.warning(
            "Invalid request from %s: %s, answered %d",
            address[0] if isinstance(address, tuple) else "a Unix socket",
            type(error).__name__,
            status,
        )
        self._send_problem(status)

    def _send_problem(self, status: int) -> None:
        self._connection.unread = True  # a body may follow
        with contextlib.suppress(OSError):
            os.write(self._connection.fd, problem(status))


def problem(status: int) -> bytes:
    """A complete response to a request that does not reach the application."""
    title = HTTPStatus(status).phrase
    body = json.dumps({"type": "about:blank", "title": title, "status": status}).encode()
    return (
        b"HTTP/1.1 %d %b\r\nConnection: close\r\nCache-Control: no-store\r\n"
        b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%b"
    ) % (status, title.encode(), len(body), body)
