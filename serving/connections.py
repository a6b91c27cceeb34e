"""A client's connection: what has arrived on it, and how far that is from a whole request."""

import os
import select
import socket
import time
from enum import Enum
from typing import Any

READ_BYTES = 65_536
# A longer body is read by a thread, not kept in memory until it is whole.
BUFFERED_BYTES = 1_048_576


class Stage(Enum):
    """How much of a request has arrived.

    HEAD: less than its head. BODY: its head. LONG: its head, and the rest must be read by a thread,
    because the client waits for 100 Continue or the body is long. WHOLE: all of it, or a head that
    the parser will refuse.
    """

    HEAD = 1
    BODY = 2
    LONG = 3
    WHOLE = 4


class Connection:
    """One client's socket, never blocking. Used by one thread at a time.

    received: bytes that no request has consumed; arrived: when the last head was complete, on the
    monotonic clock; ended: the client sends no more; unread: it may still send a body that is not
    wanted. unsent: bytes of a response that the client has not taken; stalled: it took nothing for
    too long. keeps: the connection can take another request; until, waits_for: for the worker's
    main thread.
    """

    __slots__ = (
        *("arrived", "client", "ended", "fd", "keeps", "received", "requests", "server", "sock"),
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
        self._most = longest_head
        self.leave(b"")

    def leave(self, rest: bytes) -> None:
        """A request was taken; `rest` arrived behind it."""
        self.received = bytearray(rest)
        self._head = self._searched = 0
        self._body: int | None = 0

    def receive(self) -> int:
        """Append what has arrived, without waiting; the number of bytes."""
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
        """Reads nothing: looks at what was received."""
        if not self._head and not self._find_head():
            return Stage.HEAD
        if self._body is None:
            return Stage.LONG
        if self._body < 0:
            # The last chunk and its trailers end so. Where a body ends so earlier, a thread reads
            # the rest.
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
            # Not a head: the parser refuses these at once.
            if len(self.received) <= self._most and new.count(b"\n") == new.count(b"\r\n"):
                return False
            self._head = len(self.received)
        else:
            self._head = found + 4
            self._body = _body_of(bytes(self.received[: found + 2]).lower())
        self.arrived = time.monotonic()
        return True

    def wait(self, event: int, seconds: float) -> bool:
        """Whether `event` (select.POLLIN or POLLOUT) comes within `seconds`."""
        poll = select.poll()
        poll.register(self.fd, event)
        return bool(poll.poll(max(0.0, seconds) * 1000))


def _body_of(head: bytes) -> int | None:
    """How many bytes follow this head (in lower case); -1 for chunks, None for those that only a
    thread can read."""
    if b"\r\nexpect:" in head:
        return None
    if b"\r\ntransfer-encoding:" in head:
        return -1
    _, found, rest = head.partition(b"\r\ncontent-length:")
    length = rest.partition(b"\r\n")[0].strip(b" \t")
    if not found or not length.isdigit() or len(length) > 19:
        return 0 if len(length) <= 19 else None
    return int(length) if int(length) <= BUFFERED_BYTES else None
