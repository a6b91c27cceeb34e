"""Clients that hold connections without making a request."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import time
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def connections(port: int, number: int, sent: bytes = b"") -> Iterator[list[socket.socket]]:
    """`number` connections to 127.0.0.1 on which only `sent` was sent."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(number):
            connection = stack.enter_context(socket.socket())
            connection.settimeout(30)
            # What is not read fills it soon.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            if sent:
                connection.sendall(sent)
            made.append(connection)
        yield made


def closed_within(made: Sequence[socket.socket], seconds: float) -> int:
    """The number of connections in `made` that the server closes within `seconds`."""
    poll, left = select.poll(), {connection.fileno(): connection for connection in made}
    for descriptor in left:
        poll.register(descriptor, select.POLLIN)
    give_up = time.monotonic() + seconds
    while left and time.monotonic() < give_up:
        for descriptor, _ in poll.poll(max(0.0, give_up - time.monotonic()) * 1000):
            try:
                gone = not left[descriptor].recv(65536)
            except ConnectionError:
                gone = True
            if gone:
                poll.unregister(descriptor)
                del left[descriptor]
    return len(made) - len(left)


def reset_within(made: Sequence[socket.socket], seconds: float) -> int:
    """The number of unread connections in `made` that the server resets within `seconds`."""
    poll, left = select.poll(), {connection.fileno() for connection in made}
    for descriptor in left:
        poll.register(descriptor, 0)
    give_up = time.monotonic() + seconds
    while left and time.monotonic() < give_up:
        for descriptor, _ in poll.poll(max(0.0, give_up - time.monotonic()) * 1000):
            poll.unregister(descriptor)
            left.discard(descriptor)
    return len(made) - len(left)


def timed(port: int, path: str, **headers: str) -> tuple[int, float]:
    """(status, seconds) of one valid request on its own connection."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Connection": "close", **headers})
        response = connection.getresponse()
        response.read()
    return response.status, time.monotonic() - began
