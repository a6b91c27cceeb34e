"""Limits of this process: concurrent streams, the time of a body, and the rate of a client."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, NoReturn

from flask import Flask, g, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from authentication.exposure import address_of
from connection_manager import Rows
from protocol.authorization import group_of_request
from protocol.problems import Problem

if TYPE_CHECKING:
    from flask_limiter import RequestLimit

# What reading a body raises; ParseException is gunicorn's for invalid chunks.
UNREADABLE = (OSError, ParseException, ClientDisconnected)
# The smallest network that a site gets (RFC 6177, section 2): one client may own all its addresses.
CLIENT_BITS = 64


class StreamLimit:
    """At most `most` streams at a time, because each holds a connection; 0 disables the limit."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most) if most else None

    def begin(self, begin_rows: Callable[[], Rows]) -> "Rows | LimitedRows":
        """The rows of `begin_rows()`, counted as a stream until they end or are closed.

        Raises Problem busy, and whatever `begin_rows` raises.
        """
        if self._free is None:
            return begin_rows()
        if not self._free.acquire(blocking=False):
            raise Problem(
                "busy", "The maximum number of streams is running; try again later.", retry_after=1
            )
        try:
            return LimitedRows(begin_rows(), self._free)
        except BaseException:
            self._free.release()
            raise


class LimitedRows:
    """Rows that release their slot once, when they end or are closed."""

    def __init__(self, rows: Rows, slot: threading.BoundedSemaphore) -> None:
        self._rows = rows
        self._slot = slot
        self._released = threading.Lock()  # acquired by the first release, never unlocked
        self.columns = rows.columns

    def __iter__(self) -> Iterator[list[str]]:
        try:
            yield from self._rows
        finally:
            self.close()

    def close(self) -> None:
        """Idempotent."""
        self._rows.close()
        if self._released.acquire(blocking=False):
            self._slot.release()


class BodyTime:
    """The time limit of a request's body.

    gunicorn's worker enforces it by itself; the socket of Werkzeug's server (`flask run`) gets a
    timeout here.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """Wrap the reading of a body. Raises Problem request-timeout, or invalid-json."""
        werkzeug_socket = request.environ.get("werkzeug.socket")
        if werkzeug_socket is not None:
            werkzeug_socket.settimeout(self._seconds)
        try:
            yield
        except UNREADABLE as error:
            # Werkzeug replaces the server's error by its own.
            if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
                raise Problem("request-timeout", "The body did not arrive in time.") from None
            raise Problem("invalid-json", "The body is incomplete or malformed.") from None


def limit_rate(app: Flask, limits: str) -> None:
    """Answer 429 to a client whose requests exceed `limits`; open routes are not counted.

    limits: such as "100 per minute". Requests are counted in the memory of this process: with N
    processes a client gets up to N times as much.
    """
    # Imported here, because the extension takes longer to import than Flask.
    from flask_limiter import Limiter

    limiter = Limiter(
        client,
        application_limits=[limits],
        storage_uri="memory://",
        strategy="sliding-window-counter",
        on_breach=_refuse_rate,
    )
    limiter.request_filter(lambda: group_of_request() is None)
    limiter.init_app(app)


def _refuse_rate(breached: "RequestLimit") -> NoReturn:
    raise Problem(
        "too-many-requests",
        f"The rate limit is {breached.limit}; try again later.",
        retry_after=max(1.0, breached.reset_at - time.time()),
    )


def client() -> str:
    """The key under which requests are counted: the caller, else the address of the client.

    IPv6 addresses count by network of CLIENT_BITS. All invalid addresses count as one client.
    """
    caller = g.get("caller")
    if caller is not None:
        return f"caller:{caller.issuer}:{caller.subject}"
    if not request.remote_addr:
        return "address:local"
    address = address_of(request.remote_addr)
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return f"address:{IPv6Network((address, CLIENT_BITS), strict=False)}"
    return f"address:{address}"
