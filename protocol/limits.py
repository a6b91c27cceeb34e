"""What one client, or all of them together, may take of this process."""

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

# What reading raises: gunicorn's own for chunks that are none.
UNREADABLE = (OSError, ParseException, ClientDisconnected)
# The least that a network is given (RFC 6177, section 2): one client may have all addresses in it.
CLIENT_BITS = 64


class StreamLimit:
    """At most `most` streams at a time, each of which holds a connection; 0 is no limit."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most) if most else None

    def begin(self, begin_rows: Callable[[], Rows]) -> "Rows | LimitedRows":
        """What `begin_rows()` gives, in a place of its own until its end or close().

        Raises Problem busy, and what `begin_rows` does.
        """
        if self._free is None:
            return begin_rows()
        if not self._free.acquire(blocking=False):
            raise Problem("busy", "As many streams as may are under way.", retry_after=1)
        try:
            return LimitedRows(begin_rows(), self._free)
        except BaseException:
            self._free.release()
            raise


class LimitedRows:
    """Rows that give back their place, once, when they end or are closed."""

    def __init__(self, rows: Rows, place: threading.BoundedSemaphore) -> None:
        self._rows = rows
        self._place = place
        self._taken = threading.Lock()
        self.columns = rows.columns

    def __iter__(self) -> Iterator[list[str]]:
        try:
            yield from self._rows
        finally:
            self.close()

    def close(self) -> None:
        """Safe to call twice."""
        self._rows.close()
        if self._taken.acquire(blocking=False):
            self._place.release()


class BodyTime:
    """The body of a request arrives in time and whole, or its reading is a Problem.

    The server stops waiting; Werkzeug's, which serves `flask run`, has to be told to.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """Around the reading of a body. Raises Problem request-timeout, and invalid-json for one
        that breaks off."""
        development = request.environ.get("werkzeug.socket")
        if development is not None:
            development.settimeout(self._seconds)
        try:
            yield
        except UNREADABLE as error:
            # Werkzeug raises an error of its own while it handles that of the server.
            if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
                raise Problem("request-timeout", "The body took too long to arrive.") from None
            raise Problem("invalid-json", "The body can not be read.") from None


def limit_rate(app: Flask, limits: str) -> None:
    """Have `app` answer 429 to a client() that asks oftener than `limits`, from the next function
    before a request on; routes that are open to all are not counted.

    limits: such as "100 per minute". Counted in the memory of this process: with N of them a
    client gets up to N times as much.
    """
    # Here, because the extension takes longer to import than Flask.
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
        f"More than {breached.limit}.",
        retry_after=max(1.0, breached.reset_at - time.time()),
    )


def client() -> str:
    """Who is counted: a caller, else an address, which of IPv6 is a network of 64 bits: one client
    has all of its addresses. What is no address counts as one client."""
    caller = g.get("caller")
    if caller is not None:
        return f"caller:{caller.issuer}:{caller.subject}"
    if not request.remote_addr:
        return "address:local"
    address = address_of(request.remote_addr)
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return f"address:{IPv6Network((address, CLIENT_BITS), strict=False)}"
    return f"address:{address}"
