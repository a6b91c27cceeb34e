"""What happens on the way to an answer, as facts. Whoever sees one says so, and interprets nothing.

Moments are seconds of time.monotonic(), as are the pool's. A `failure` is the exception that
ended what is observed, None where it went well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from database.errors import DatabaseError


class Checkout(NamedTuple):
    """A connection was lent after `seconds`, connecting included where it had to be."""

    database: str
    began: float
    seconds: float


class Usage(NamedTuple):
    """A connection came back, or was evicted, after having been out for `seconds`."""

    database: str
    seconds: float


class Connect(NamedTuple):
    """A connection was made, or failed to be."""

    database: str
    began: float
    seconds: float
    failure: Exception | None


class Attempt(NamedTuple):
    """A procedure was asked once: checkout, execution, and the first rows at least."""

    database: str
    procedure: str
    began: float
    seconds: float
    failure: BaseException | None


class Retry(NamedTuple):
    """An attempt failed in a way that passes, and another follows."""

    database: str
    failure: DatabaseError


class Call(NamedTuple):
    """A procedure gave its answer, or finally failed to. `engine`: as in database.dialects.

    replayed: the answer to a known Idempotency-Key, given again.
    """

    database: str
    engine: str
    procedure: str
    began: float
    seconds: float
    failure: BaseException | None
    replayed: bool


class CircuitBreakerOpened(NamedTuple):
    """So many connects failed in a row that the database is taken to be down."""

    database: str


class TokenRequested(NamedTuple):
    """A credential was asked for an access token."""

    failure: Exception | None


class SharedRead(NamedTuple):
    """A read that can be shared was answered: "asked" of the database, "shared" with another
    that was under way, "joined" to one that was about to begin, or "kept" from before."""

    outcome: str


Observation = (
    Checkout
    | Usage
    | Connect
    | Attempt
    | Retry
    | Call
    | CircuitBreakerOpened
    | TokenRequested
    | SharedRead
)
Observe = Callable[[Observation], None]


def unobserved(_: Observation) -> None:
    """Nobody listens."""


def kind_of(failure: BaseException) -> str:
    """A failure's kind as a word from a small, fixed set: fit for a metric's label."""
    if isinstance(failure, DatabaseError):
        return failure.kind.name.lower()
    return _KINDS.get(type(failure).__name__, "other")


_KINDS = {
    "DeadlineExceeded": "deadline",
    "Unavailable": "unavailable",
    "NotConfigured": "not_configured",
    "PoolTimeout": "pool_timeout",
    "PoolQueueFull": "pool_queue_full",
    "TokenUnavailable": "token",
}
