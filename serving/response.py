"""A response to a client: checked, framed, and sent together with its head."""

import functools
import os
import select
import time
from typing import Any, Protocol

from gunicorn import SERVER, util
from gunicorn.http import wsgi

from serving.connections import Connection

# A longer part is sent after the head: copying it would cost more than a system call.
JOINED_BYTES = 65_536
# The names of headers that are remembered as valid.
MOST_NAMES = 256


class AnsweredRequest(Protocol):
    """The part of a request that its response uses."""

    @property
    def method(self) -> str: ...

    @property
    def version(self) -> tuple[int, int]: ...

    def should_close(self) -> bool: ...

    def skip_body(self) -> bool: ...


class ResponseOwner(Protocol):
    """The part of an exchange that its response uses."""

    stall_seconds: float

    def may_keep(self, size: int, /) -> bool: ...


class ClientResponse(wsgi.Response):  # gunicorn has no types
    """Writes to a non-blocking connection; all bytes pass _send().

    The head is sent with the first part of the body, so that a short response is one packet.
    Keeps the connection open only if the request's body has arrived in full. Blocks for streams
    only: bytes of other responses that the client does not take are left to the main thread.

    must_close: whether the connection ends after the response; final once the head is sent.
    """

    # Of the class, because most responses change few of them.
    status: str | None = None
    headers_sent = False
    must_close = False
    chunked = False
    upgrade = False
    response_length: int | None = None
    sent = 0
    _omits_body = False

    def __init__(self, req: AnsweredRequest, connection: Connection, owner: ResponseOwner) -> None:
        self.req = req
        self._connection = connection
        self._owner = owner

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """As PEP 3333 specifies. gunicorn's method gets what the cheaper tests here do not show to
        be valid."""
        code = _plain_code(status) if self.status is None and not exc_info else 0
        if not code or type(headers) is not list or not self._keep_plain(headers):
            return self._start_by_gunicorn(status, headers, exc_info)
        self.status = status
        self.status_code = code
        if code == 304 or self.req.method == "HEAD":
            self._omits_body = True
        if self.response_length is None:
            self.chunked = self.is_chunked()
        return self.write

    def _keep_plain(self, headers: list[tuple[str, str]]) -> bool:
        """Keep `headers` if all are valid as they are; else keep none, and return False."""
        fields = values = ""
        length: str | None = None
        try:
            for name, value in headers:
                fields += _STARTS[name] + value + "\r\n"
                values += value
                if name == "Content-Length":
                    length = value
        except (KeyError, TypeError, ValueError):
            return False
        # gunicorn strips spaces around a value.
        if not values.isascii() or not values.isprintable() or " \r\n" in fields or ":  " in fields:
            return False
        if length is not None:
            if not length.isdigit():
                return False
            self.response_length = int(length)
        self.headers = headers
        self._fields = fields
        return True

    def _start_by_gunicorn(self, status: str, headers: Any, exc_info: Any) -> Any:
        if self.status is None or exc_info:
            self.headers = []
            self.response_length = None
        write = super().start_response(status, headers, exc_info)
        if self.response_length is not None:
            self.response_length = max(0, self.response_length)
        self._fields = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        return write

    def is_chunked(self) -> bool:
        """Whether the length is neither declared nor ended by closing, and there is a body."""
        ends_itself = self.response_length is not None or self._omits_body
        return not ends_itself and self.req.version > (1, 0)

    def can_sendfile(self) -> bool:
        return False  # sendfile would wait for the client without a limit

    def _head(self) -> bytes:
        """The head, which the caller must send."""
        if self.status is None:
            raise AssertionError("The application did not call start_response.")
        if not self.must_close and not self.req.skip_body():
            self.must_close = True
        self.must_close = closes = self.should_close()
        beginning = _beginning(self.req.version, self.status, closes, int(time.time()))
        coding = "Transfer-Encoding: chunked\r\n" if self.chunked else ""
        self.headers_sent = True
        return f"{beginning}{coding}{self._fields}\r\n".encode("latin-1")

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
        if not self.headers_sent:
            self._send(self._head())
        if self.chunked:
            self._send(b"0\r\n\r\n")

    def _send(self, data: bytes) -> None:
        """Raises TimeoutError if the client takes nothing of a stream for too long; OSError."""
        connection = self._connection
        if connection.unsent:
            connection.unsent += data
            return
        try:
            sent = os.write(connection.fd, data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:])

    def _send_rest(self, left: memoryview) -> None:
        connection = self._connection
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


class _FieldStarts(dict[str, str]):
    """The beginning of a header's line by the header's name.

    Only for a valid name without a meaning for the connection; raises KeyError for any other.
    """

    def __missing__(self, name: str) -> str:
        if not wsgi.TOKEN_RE.fullmatch(name) or util.is_hoppish(name):
            raise KeyError(name)
        # The one spelling that _keep_plain() looks for.
        if name.lower() == "content-length" and name != "Content-Length":
            raise KeyError(name)
        if len(self) < MOST_NAMES:
            self[name] = f"{name}: "
        return f"{name}: "


_STARTS = _FieldStarts()


@functools.lru_cache(maxsize=64)
def _plain_code(status: str) -> int:
    """The status code; 0 for an invalid status, and for one without a body or Content-Length."""
    if not isinstance(status, str) or not wsgi.STATUS_RE.fullmatch(status):
        return 0
    code = int(status[:3])
    return code if code >= 200 and code != 204 else 0


@functools.lru_cache(maxsize=64)
def _beginning(version: tuple[int, int], status: str, closes: bool, second: int) -> str:
    """The head's lines that do not depend on the application, except for its status."""
    return (
        f"HTTP/{version[0]}.{version[1]} {status}\r\nServer: {SERVER}\r\n"
        f"Date: {util.http_date(second)}\r\nConnection: {'close' if closes else 'keep-alive'}\r\n"
    )
