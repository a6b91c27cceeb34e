"""One request and its response, in a thread: gunicorn's parser and WSGI environment over a
connection that never blocks."""

import contextlib
import json
import os
import select
import time
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Protocol

from gunicorn.http import errors, wsgi
from gunicorn.http.body import Body
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

from serving.arrival import ARRIVED
from serving.connections import BUFFERED_BYTES, READ_BYTES, Connection

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Everything else that the parser raises is a 400.
STATUSES = {
    errors.LimitRequestLine: 414,
    errors.LimitRequestHeaders: 431,
    errors.ExpectationFailed: 417,
    errors.UnsupportedTransferCoding: 501,
    TimeoutError: 408,
}


class ServingWorker(Protocol):
    """The worker of a connection, as far as one request needs it."""

    cfg: Any
    log: Any
    wsgi: Callable[..., Any]

    def stops_after(self, request: Request) -> bool: ...


class Exchange:
    """A connection's next request.

    stall_seconds: a client that takes nothing of a stream for so long is gone.
    body_seconds: longest time for a body, from the arrival of its head.
    may_keep: whether so many bytes of a response may be left for the main thread to send.
    """

    def __init__(
        self,
        worker: "ServingWorker",
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
        """Answer the request. Whether the connection can take another one."""
        connection, cfg = self._connection, self._worker.cfg
        connection.requests += 1
        try:
            request = Request(cfg, self._reader, connection.client, connection.requests)
            if request.version >= (1, 1) and not any(n == "HOST" for n, _ in request.headers):
                raise errors.InvalidHeader("HOST")
        except (errors.ParseException, OSError, StopIteration) as error:
            self._refuse(error)
            return False
        kept = self._respond(request)
        connection.leave(self._reader.take_buffered())
        return kept

    def _respond(self, request: Request) -> bool:
        connection, worker = self._connection, self._worker
        # gunicorn sends it at once, before the request is authorized.
        self._reader.begin_body(expected=request._expected_100_continue)
        request._expected_100_continue = False
        response, environ = wsgi.create(
            request,
            connection.sock,
            connection.client,
            connection.server,
            worker.cfg,
            response_class=ClientResponse,
            response_args=(connection, self),
        )
        environ["wsgi.multithread"] = True
        environ[ARRIVED] = connection.arrived
        if worker.stops_after(request):
            response.force_close()
        began = time.monotonic()
        try:
            worker.cfg.pre_request(worker, request)
            _write_all(worker.wsgi(environ, response.start_response), response)
        except OSError:
            return False  # the client is gone, or takes nothing
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

    def discard(self, body: Body) -> bool:
        """Whether the rest of the body, if any, has arrived: then it is skipped."""
        self._connection.unread = not self._reader.skip(body)
        return not self._connection.unread

    def _refuse(self, error: BaseException) -> None:
        """The parser's messages repeat what was sent, so that only their kind is logged."""
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
        self._connection.unread = True  # maybe
        with contextlib.suppress(OSError):
            os.write(self._connection.fd, problem(status))


class Reader(Unreader):
    """What was received, then what the client still sends; `late` is when it must have come.

    A head is never waited for. Where a body ends early, reading it raises, so that a part of it is
    never taken for the whole.
    """

    def __init__(self, connection: Connection, late: float) -> None:
        super().__init__()
        self.buf.write(connection.received)
        self._connection = connection
        self._late = late
        self._waits = False
        self._expected = False

    def begin_body(self, *, expected: bool) -> None:
        """From here on the client is waited for. expected: it waits for 100 Continue itself."""
        self._waits, self._expected = True, expected

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Raises TimeoutError, and ConnectionError where the client sends no more."""
        connection = self._connection
        if self._waits and self._expected:
            os.write(connection.fd, CONTINUE)
        self._expected = False
        while True:
            try:
                data = os.read(connection.fd, min(max(READ_BYTES, size_hint or 0), BUFFERED_BYTES))
            except BlockingIOError:
                left = self._late - time.monotonic()
                if not self._waits or not connection.wait(select.POLLIN, left):
                    raise TimeoutError("The request took too long to arrive.") from None
                continue
            if not data:
                connection.ended = True
                raise ConnectionAbortedError("The request ended early.")
            if time.monotonic() > self._late:
                raise TimeoutError("The request took too long to arrive.")
            return data

    def skip(self, body: Body) -> bool:
        """Read the rest of `body` from what has arrived; False if that is not all of it."""
        if body.failed or self._expected:
            return False
        self._waits = False
        with contextlib.suppress(OSError, errors.ParseException):
            for _ in range(BUFFERED_BYTES // READ_BYTES):
                if not body.read(READ_BYTES):
                    return True
        return False


class ClientResponse(wsgi.Response):
    """Says whether the connection closes only when the rest of the body is known to be here, and
    blocks for streams only: what the client does not take of another response is left for the
    worker's main thread. All bytes pass _send()."""

    def __init__(
        self, req: Request, sock: Any, cfg: Any, connection: Connection, exchange: Exchange
    ) -> None:
        super().__init__(req, sock, cfg)
        self._connection = connection
        self._exchange = exchange

    def can_sendfile(self) -> bool:
        return False  # it waits for the client without a limit

    def send_headers(self) -> None:
        if self.headers_sent:
            return
        if not self.must_close and not self._exchange.discard(self.req.body):
            self.force_close()
        lines = [*self.default_headers(), *(f"{k}: {v}\r\n" for k, v in self.headers), "\r\n"]
        self.headers_sent = True
        self._send("".join(lines).encode("latin-1"))

    def _emit_body(self, data: bytes) -> None:
        self._send(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def close(self) -> None:
        self.send_headers()
        if self.chunked:
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        connection, left = self._connection, memoryview(data)
        if connection.unsent:
            connection.unsent += data
            return
        while left:
            try:
                left = left[os.write(connection.fd, left) :]
            except BlockingIOError:
                if self.response_length is not None and self._exchange.may_keep(
                    self.response_length
                ):
                    connection.unsent = bytes(left)
                    return
                if not connection.wait(select.POLLOUT, self._exchange.stall_seconds):
                    connection.stalled = True
                    raise TimeoutError("The client takes nothing of the response.") from None


def problem(status: int) -> bytes:
    """A whole response, for what the application never sees."""
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
