"""The bytes of a request, for gunicorn's parser, from a non-blocking connection."""

import contextlib
import os
import select
import time

from gunicorn.http import errors
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import Unreader

from serving.connections import BUFFERED_BYTES, READ_BYTES, Connection

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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
