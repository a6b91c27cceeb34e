"""Limits: concurrent streams and the time of a body, in this process, and the rate of a client."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
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
# A request waits this long for the storage of rate limits, then all are counted in this process
# until the storage answers again.
STORAGE_SECONDS = 2.0


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


def limit_rate(app: Flask, limits: str, storage: str = "") -> Callable[[], None]:
    """The check of a request, after which a client whose requests exceed `limits` gets 429.

    Open routes are not counted.

    limits: such as "100 per minute". storage: the URL of a Redis server, where all processes and
    instances count together. Without it, and while it does not answer, each process counts in its
    own memory: with N processes a client then gets up to N times as much.
    """
    # Imported here, because the extension takes longer to import than Flask.
    from flask_limiter import Limiter, RateLimitExceeded

    shared: dict[str, Any] = {}
    if storage:
        shared = {
            "storage_options": {
                "socket_connect_timeout": STORAGE_SECONDS,
                "socket_timeout": STORAGE_SECONDS,
            },
            "in_memory_fallback_enabled": True,
            # Of several requests that find the storage gone at once, all but one are not counted.
            "swallow_errors": True,
        }
    limiter = Limiter(
        client,
        application_limits=[limits],
        storage_uri=storage or "memory://",
        strategy="sliding-window-counter",
        # The extension counts no request without an endpoint, and routes of a catalog have none.
        request_identifier=lambda: request.endpoint or "catalog",
        **shared,
    )
    limiter.request_filter(lambda: group_of_request() is None)
    limiter.init_app(app)
    # Called between two of our own steps instead, before any hook.
    check: Callable[[], None] = app.before_request_funcs[None].pop()  # type: ignore[assignment]

    # Not as on_breach: the extension takes any error of that for a failure of its storage.
    @app.errorhandler(RateLimitExceeded)
    def refuse(_: RateLimitExceeded) -> Response:
        assert limiter.current_limit is not None
        return _refused_rate(limiter.current_limit).response()

    return check


def _refused_rate(breached: "RequestLimit") -> Problem:
    retry_after = 1.0
    # The storage, which is queried here, may have failed since.
    with contextlib.suppress(Exception):
        retry_after = max(retry_after, breached.reset_at - time.time())
    return Problem(
        "too-many-requests",
        f"The rate limit is {breached.limit}; try again later.",
        retry_after=retry_after,
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
