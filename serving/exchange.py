"""One request and its response, in a thread, by gunicorn's parser and WSGI environment over a
non-blocking connection."""

import contextlib
import json
import os
import select
import time
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Protocol, cast

from gunicorn.http import errors, wsgi
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

from serving.arrival import ARRIVED
from serving.connections import BUFFERED_BYTES, READ_BYTES, Connection
from serving.head import ClientRequest
from serving.response import ClientResponse

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
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

    def stops_after(self, request: Request) -> bool: ...


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
        self._reader = Reader(connection, connection.arrived + body_seconds)

    def run(self) -> bool:
        """Serve the request; returns whether the connection can take another one."""
        connection, cfg = self._connection, self._worker.cfg
        connection.requests += 1
        try:
            request = ClientRequest(cfg, self._reader, connection)
            if request.version >= (1, 1) and not request.names_host:
                raise errors.InvalidHeader("HOST")
        except (errors.ParseException, OSError, StopIteration) as error:
            self._refuse(error)
            return False
        kept = self._respond(request)
        connection.leave(self._reader.take_buffered())
        return kept

    def _respond(self, request: ClientRequest) -> bool:
        connection, worker = self._connection, self._worker
        # gunicorn would send 100 Continue before the request is authorized.
        self._reader.begin_body(expected=request._expected_100_continue)
        request._expected_100_continue = False
        response = ClientResponse(request, connection.sock, worker.cfg, connection, self)
        environ = request.kept_environ() or self._new_environ(request)
        environ[ARRIVED] = connection.arrived
        if worker.stops_after(request):
            response.force_close()
        began = time.monotonic()
        try:
            worker.cfg.pre_request(worker, request)
            _write_all(worker.wsgi(environ, response.start_response), response)
        except OSError:
            return False  # the client disconnected or stalled
        except Exception:
            worker.log.exception("Error handling request %s %s", request.method, request.path)
            if not response.headers_sent:
                self._send_problem(500)
            return False
        finally:
            taken = timedelta(seconds=time.monotonic() - began)
            worker.log.access(response, request, environ, taken)
            worker.cfg.post_request(worker, request, environ, response)
        return not response.should_close()

    def _new_environ(self, request: ClientRequest) -> dict[str, Any]:
        connection = self._connection
        _, environ = wsgi.create(
            *(request, connection.sock, connection.client, connection.server, self._worker.cfg)
        )
        environ["wsgi.multithread"] = True
        # It would write past ClientResponse, and nothing here sends early hints.
        del environ["wsgi.early_hints"]
        request.keep_environ(environ)
        return cast("dict[str, Any]", environ)

    def discard(self, body: Body) -> bool:
        """Skip the rest of the body; False if it has not all arrived."""
        self._connection.unread = not self._reader.skip(body)
        return not self._connection.unread

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


class Reader(Unreader):  # gunicorn has no types
    """gunicorn's source of bytes: those received, then those that still arrive until `deadline`.

    deadline: in seconds of time.monotonic(). Never waits for a head. A body that ends early raises,
    so that a part is never processed as the whole.
    """

    def __init__(self, connection: Connection, deadline: float) -> None:
        super().__init__()
        self.buf.write(connection.received)
        self._connection = connection
        self._deadline = deadline
        self._waits = False
        self._expected = False

    def begin_body(self, *, expected: bool) -> None:
        """Wait for the client from now on. expected: it waits for 100 Continue first."""
        self._waits, self._expected = True, expected

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Raises TimeoutError, or ConnectionError if the client sends no more."""
        connection = self._connection
        if self._waits and self._expected:
            os.write(connection.fd, CONTINUE)
        self._expected = False
        while True:
            try:
                data = os.read(connection.fd, min(max(READ_BYTES, size_hint or 0), BUFFERED_BYTES))
            except BlockingIOError:
                left = self._deadline - time.monotonic()
                if not self._waits or not connection.wait(select.POLLIN, left):
                    raise TimeoutError("The request took too long to arrive.") from None
                continue
            if not data:
                connection.ended = True
                raise ConnectionAbortedError("The request ended early.")
            if time.monotonic() > self._deadline:
                raise TimeoutError("The request took too long to arrive.")
            return data

    def skip(self, body: Body) -> bool:
        """Skip the bytes of `body` that have arrived; False if some are missing."""
        if body.failed or self._expected:
            return False
        if type(body.reader) is LengthReader and not body.reader.length:
            return True
        self._waits = False
        with contextlib.suppress(OSError, errors.ParseException):
            for _ in range(BUFFERED_BYTES // READ_BYTES):
                if not body.read(READ_BYTES):
                    return True
        return False


def problem(status: int) -> bytes:
    """A complete response to a request that does not reach the application."""
    title = HTTPStatus(status).phrase
    body = json.dumps({"type": "about:blank", "title": title, "status": status}).encode()
    return (
        b"HTTP/1.1 %d %b\r\nConnection: close\r\nCache-Control: no-store\r\n"
        b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%b"
    ) % (status, title.encode(), len(body), body)


def _write_all(parts: Any, response: ClientResponse) -> None:
    try:
        for part in parts:
            response.write(part)
        response.close()
    finally:
        if hasattr(parts, "close"):
            parts.close()
