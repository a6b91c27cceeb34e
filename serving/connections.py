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


class Connection:
    """One client's socket, never blocking. Used by one thread at a time.

    received: bytes that no request has consumed; arrived: time.monotonic() when the last head was
    complete; ended: the client sends no more; unread: it may still send a body that is not needed;
    unsent: bytes of a response that the client has not taken; stalled: it took nothing for too
    long; keeps: the connection can take another request; until, waits_for: the deadline and the
    event that the worker's main thread waits for; fields: those of the last head, parsed.
    """

    __slots__ = (
        *("arrived", "client", "ended", "fd", "fields", "keeps", "received", "requests", "server"),
        *("sock",),
        *("_body", "_head", "_most", "_searched"),
        *("stalled", "unread", "unsent", "until", "waits_for"),
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
        self.fields: Any = None
        self._most = longest_head
        self.leave(b"")

    def leave(self, rest: bytes) -> None:
        """Remove a request from the buffer; `rest` arrived after it."""
        self.received = bytearray(rest)
        self._head = self._searched = 0
        self._body: int | None = 0

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
        if not self._head and not self._find_head():
            return Stage.HEAD
        if self._body is None:
            return Stage.LONG
        if self._body < 0:
            # Chunks and trailers end with an empty line. If one comes earlier, a thread reads the
            # rest.
            whole = self.received.endswith(b"\r\n\r\n") and len(self.received) > self._head
            if not whole and len(self.received) - self._head > BUFFERED_BYTES:
                return Stage.LONG
        else:
            whole = len(self.received) >= self._head + self._body
        return Stage.WHOLE if whole else Stage.BODY

    def _find_head(self) -> bool:
        begin = max(0, self._searched - 3)
        found = self.received.find(b"\r\n\r\n", begin)
        self._searched = len(self.received)
        if found < 0:
            new = self.received[begin:]
            # Too long, or a bare LF: no head, so the parser gets it and rejects it.
            if len(self.received) <= self._most and new.count(b"\n") == new.count(b"\r\n"):
                return False
            self._head = len(self.received)
        else:
            self._head = found + 4
            self._body = _body_of(bytes(self.received[: found + 2]).lower())
        self.arrived = time.monotonic()
        return True

    def wait(self, event: int, seconds: float) -> bool:
        """Whether `event` (select.POLLIN or POLLOUT) occurs within `seconds`."""
        poll = select.poll()
        poll.register(self.fd, event)
        return bool(poll.poll(max(0.0, seconds) * 1000))


def _body_of(head: bytes) -> int | None:
    """The length of the body after this head (in lower case); -1 if chunked, None if a thread must
    read it."""
    if b"\r\nexpect:" in head:
        return None
    if b"\r\ntransfer-encoding:" in head:
        return -1
    _, found, rest = head.partition(b"\r\ncontent-length:")
    length = rest.partition(b"\r\n")[0].strip(b" \t")
    if not found or not length.isdigit() or len(length) > 19:
        return 0 if len(length) <= 19 else None
    return int(length) if int(length) <= BUFFERED_BYTES else None
