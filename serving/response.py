"""A response to a client: checked, framed, and sent together with its head."""

import functools
import os
import select
import time
from collections.abc import Sequence
from typing import Any, Protocol

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.http.message import Request

from serving.connections import Connection

# A longer part is sent after the head: copying it would cost more than a system call.
JOINED_BYTES = 65_536


class ResponseOwner(Protocol):
    """The part of an exchange that its response uses."""

    stall_seconds: float

    def may_keep(self, size: int, /) -> bool: ...

    def discard(self, body: Any) -> bool: ...


class ClientResponse(wsgi.Response):  # gunicorn has no types
    """Writes to a non-blocking connection; all bytes pass _send().

    The head is sent with the first part of the body, so that a short response is one packet.
    Keeps the connection open only if the request's body has arrived in full. Blocks for streams
    only: bytes of other responses that the client does not take are left to the main thread.
    """

    def __init__(
        self, req: Request, sock: Any, cfg: Any, connection: Connection, owner: ResponseOwner
    ) -> None:
        super().__init__(req, sock, cfg)
        self.headers_sent: bool
        self._connection = connection
        self._owner = owner

    def can_sendfile(self) -> bool:
        return False  # sendfile would wait for the client without a limit

    def process_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Check and keep `headers`. gunicorn checks by regular expressions; here it gets only
        what a cheaper test does not show to be valid."""
        for name, value in headers:
            if type(value) is str and value.isascii() and value.isprintable() and _is_plain(name):
                self.headers.append((name, value.strip(" ")))
            else:
                super().process_headers([(name, value)])

    def send_headers(self) -> None:
        if not self.headers_sent:
            self._send(self._head())

    def _head(self) -> bytes:
        """The head, which the caller must send."""
        if not self.must_close and not self._owner.discard(self.req.body):
            self.force_close()
        connection = "close" if self.should_close() else "keep-alive"
        major, minor = self.req.version
        lines = [
            f"HTTP/{major}.{minor} {self.status}\r\nServer: {self.version}\r\n"
            f"Date: {_date(int(time.time()))}\r\nConnection: {connection}"
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append("\r\n")
        self.headers_sent = True
        return "\r\n".join(lines).encode("latin-1")

    def write(self, data: bytes) -> None:
        """Send a part of the body, cut at the declared length, with the head if that is not sent.

        Raises TypeError for anything but bytes; TimeoutError and OSError as _send() does.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"{data!r} is not a byte")
        head = b"" if self.headers_sent else self._head()
        if self._omits_body or not data:
            data = b""
        elif self.response_length is not None:
            data = data[: self.response_length - self.sent]
        self.sent += len(data)
        # An empty chunk would end the body.
        if data and self.chunked:
            data = b"%X\r\n%b\r\n" % (len(data), data)
        if head and len(data) > JOINED_BYTES:
            self._send(head)
            self._send(data)
        elif head or data:
            self._send(head + data)

    def close(self) -> None:
        self.send_headers()
        if self.chunked:
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        """Raises TimeoutError if the client takes nothing of a stream for too long; OSError."""
        connection, left = self._connection, memoryview(data)
        if connection.unsent:
            connection.unsent += data
            return
        while left:
            try:
                left = left[os.write(connection.fd, left) :]
            except BlockingIOError:
                if self.response_length is not None and self._owner.may_keep(self.response_length):
                    connection.unsent = bytes(left)
                    return
                if not connection.wait(select.POLLOUT, self._owner.stall_seconds):
                    connection.stalled = True
                    raise TimeoutError("The client stopped reading the response.") from None


@functools.lru_cache(maxsize=256)
def _is_plain(name: str) -> bool:
    """Whether `name` is a valid field name that has no meaning for the connection."""
    valid = wsgi.TOKEN_RE.fullmatch(name) is not None
    return valid and name.lower() != "content-length" and not util.is_hoppish(name)


@functools.lru_cache(maxsize=2)
def _date(second: int) -> str:
    return str(util.http_date(second))
