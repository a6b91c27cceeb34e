"""A client's connection: the bytes received, and how much of a request they are."""

import os
import select
import socket
import time
from enum import Enum
from typing import Any

READ_BYTES = 65_536
# A thread reads a longer body; shorter ones are buffered until they are complete.
BUFFERED_BYTES = 1_048_576
# Instead of a body's length: its chunks tell where it ends; or a thread must read it.
CHUNKED = -1
UNBUFFERED = -2


class Stage(Enum):
    """How much of a request has arrived.

    HEAD: less than its head. BODY: the head, but not all of the body. LONG: the head, and a thread
    must read the rest, because the client waits for 100 Continue or the body is long. WHOLE: all of
    it, or a head that the parser will reject.
    """

    HEAD = 1
    BODY = 2
    LONG = 3
    WHOLE = 4


class KeptHead:
    """What the next requests of a connection share with one that gunicorn has parsed, if only their
    request line is new.

    fields: the bytes after the request line, to the end of the head; body: the length of the body;
    environ: the WSGI environment.
    """

    __slots__ = ("body", "environ", "fields")

    def __init__(self, fields: bytes, body: int, environ: dict[str, Any]) -> None:
        self.fields = fields
        self.body = body
        self.environ = environ


class Connection:
    """One client's socket, never blocking. Used by one thread at a time.

    received: bytes that no request has consumed; head, body: the lengths of the next request's head
    and body, once they are known (body: CHUNKED or UNBUFFERED if no length is); line: the length of
    the request line, if the fields after it are those in `kept`, else 0; arrived: time.monotonic()
    when the last head was complete; ended: the client sends no more; unread: it may still send a
    body that is not needed; unsent: bytes of a response that the client has not taken; stalled: it
    took nothing for too long; keeps: the connection can take another request; until, waits_for: the
    deadline and the event that the worker's main thread waits for.
    """

    __slots__ = (
        *("arrived", "body", "client", "ended", "fd", "head", "keeps", "kept", "line", "received"),
        *("requests", "server", "sock", "stalled", "unread", "unsent", "until", "waits_for"),
        *("_most", "_searched"),
    )

    def __init__(self, sock: socket.socket, client: Any, server: Any, *, longest_head: int) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.client = client
        self.server = server
        self.unsent = b""
        self.stalled = False
        self.unread = False
        self.ended = False
        self.arrived = 0.0
        self.requests = 0
        self.keeps = False
        self.until = 0.0
        self.waits_for: object = None
        self.kept: KeptHead | None = None
        self._most = longest_head
        self.leave(b"")

    def leave(self, rest: bytes | bytearray) -> None:
        """Remove a request from the buffer; `rest` arrived after it."""
        self.received = bytearray(rest)
        self.head = self.body = self.line = self._searched = 0

    def receive(self) -> int:
        """Append the bytes that have arrived, without waiting; returns their number."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self.ended = True
        self.received += data
        return len(data)

    def stage(self) -> Stage:
        """How much of a request has been received. Reads nothing."""
        if not self.head and not self._find_head():
            return Stage.HEAD
        body = self.body
        if body >= 0:
            return Stage.WHOLE if len(self.received) >= self.head + body else Stage.BODY
        if body == UNBUFFERED:
            return Stage.LONG
        # Chunks and trailers end with an empty line. If one comes earlier, a thread reads the rest.
        beyond = len(self.received) - self.head
        if beyond and self.received.endswith(b"\r\n\r\n"):
            return Stage.WHOLE
        return Stage.LONG if beyond > BUFFERED_BYTES else Stage.BODY

    def _find_head(self) -> bool:
        received, kept = self.received, self.kept
        if kept is not None:
            line = received.find(b"\r\n")
            if received.startswith(kept.fields, line):
                self.line = line
                self.head = line + len(kept.fields)
                self.body = kept.body
                self.arrived = time.monotonic()
                return True
        begin = max(0, self._searched - 3)
        found = received.find(b"\r\n\r\n", begin)
        self._searched = len(received)
        if found < 0:
            new = received[begin:]
            # Too long, or a bare LF: no head, so the parser gets it and rejects it.
            if len(received) <= self._most and new.count(b"\n") == new.count(b"\r\n"):
                return False
            self.head = len(received)
        else:
            self.head = found + 4
            self.body = _body_of(bytes(received[: found + 2]).lower())
        self.arrived = time.monotonic()
        return True

    def wait(self, event: int, seconds: float) -> bool:
        """Whether `event` (select.POLLIN or POLLOUT) occurs within `seconds`."""
        poll = select.poll()
        poll.register(self.fd, event)
        return bool(poll.poll(max(0.0, seconds) * 1000))


def _body_of(head: bytes) -> int:
    """The length of the body after this head (in lower case), CHUNKED or UNBUFFERED."""
    if b"\r\nexpect:" in head:
        return UNBUFFERED
    if b"\r\ntransfer-encoding:" in head:
        return CHUNKED
    _, found, rest = head.partition(b"\r\ncontent-length:")
    length = rest.partition(b"\r\n")[0].strip(b" \t")
    if len(length) > 19:
        return UNBUFFERED
    if not found or not length.isdigit():
        return 0
    return int(length) if int(length) <= BUFFERED_BYTES else UNBUFFERED
