"""What one client, or all of them together, may take of this process."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

from flask import Flask, g, request
from gunicorn.http.errors import ParseException

from connection_manager import Rows
from database.deadline import Deadline, DeadlineWatchdog
from protocol.authorization import group_of_request
from protocol.problems import Problem

if TYPE_CHECKING:
    from flask_limiter import RequestLimit

# What reading raises: gunicorn's own for chunks that are none.
UNREADABLE = (OSError, ParseException)
# A reader that takes nothing of a stream for so long is gone: a connection waits behind it.
STALLED_SECONDS = 60.0


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
    """Bodies arrive within `seconds` or not at all: a slow sender would hold a thread for ever."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watch = DeadlineWatchdog()

    @contextlib.contextmanager
    def arriving(self) -> Iterator[None]:
        """Around the reading of a body. Raises Problem request-timeout, and invalid-json for one
        that breaks off."""
        connection = _socket()
        if connection is None or not (request.content_length or _is_chunked()):
            yield
            return
        # The reader then meets the end of the connection, which can still be answered on.
        shut = lambda: connection.shutdown(socket.SHUT_RD)  # noqa: E731
        with self._watch.guard(Deadline(self._seconds), shut, _nothing) as watched:
            try:
                yield
            except Exception as error:
                if not watched.fired:
                    if isinstance(error, UNREADABLE):
                        raise Problem("invalid-json", "The body can not be read.") from None
                    raise
        if watched.fired:
            raise Problem("request-timeout", "The body took too long to arrive.")

    def close(self) -> None:
        self._watch.close()


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
    """Who is counted: a caller, else an address (without the port that some proxies add)."""
    caller = g.get("caller")
    if caller is not None:
        return f"caller:{caller.issuer}:{caller.subject}"
    address = request.remote_addr or "local"
    if address.count(":") == 1:
        address = address.partition(":")[0]
    return f"address:{address}"


def refuse_stalled_readers() -> None:
    """Have the sending of this answer fail when its reader takes nothing for STALLED_SECONDS."""
    connection = _socket()
    if connection is not None:
        connection.settimeout(STALLED_SECONDS)


def _socket() -> socket.socket | None:
    """The request's connection, where the server shows it: gunicorn and Werkzeug do."""
    return request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")


def _is_chunked() -> bool:
    return "chunked" in request.headers.get("Transfer-Encoding", "").lower()


def _nothing() -> None:
    pass
