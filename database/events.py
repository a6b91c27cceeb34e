"""Events of database calls. The module where one occurs reports it; subscribers interpret it.

`began` is in seconds of time.monotonic(). `failure` is the exception that ended the operation,
None after a success. The events of every call are dataclasses, which are made faster than tuples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from database.errors import DatabaseError


@dataclass(slots=True)
class Checkout:
    """A connection was checked out after `seconds` of waiting and, if necessary, connecting."""

    database: str
    began: float
    seconds: float


@dataclass(slots=True)
class Usage:
    """A connection was checked in or evicted after `seconds` in use."""

    database: str
    seconds: float


class Connect(NamedTuple):
    """A connection was opened, or the attempt failed."""

    database: str
    began: float
    seconds: float
    failure: BaseException | None


@dataclass(slots=True)
class Attempt:
    """One attempt of a call: checkout, execution, and at least the first rows."""

    database: str
    procedure: str
    began: float
    seconds: float
    failure: BaseException | None


class Retry(NamedTuple):
    """An attempt failed with a transient error, and another follows."""

    database: str
    failure: DatabaseError


@dataclass(slots=True)
class Call:
    """A call succeeded, or failed for good. `engine`: as in database.dialects.

    replayed: the answer was stored for the same Idempotency-Key before.
    """

    database: str
    engine: str
    procedure: str
    began: float
    seconds: float
    failure: BaseException | None
    replayed: bool


class CircuitBreakerOpened(NamedTuple):
    """The circuit breaker opened: several connects in a row failed."""

    database: str


class TokenRequested(NamedTuple):
    """An access token was requested from a credential."""

    failure: Exception | None


class SharedRead(NamedTuple):
    """A read that can be shared was answered. outcome: "asked" (by a database call of its own),
    "shared" (another worker's), "joined" (another thread's) or "kept" (from the cache)."""

    outcome: str


class ToolCall(NamedTuple):
    """A tool of /mcp was called; status: that of its operation's response, as on its own route."""

    tool: str
    status: int


class RoutedRead(NamedTuple):
    """A read of a database with replicas was served. served_by: "replica" or "primary".

    reason: of a replica "current" or "waited" (for the write of the Consistency-Token); of the
    primary "required" (by the client, or because the procedure writes), "behind" (no replica had
    the write in time) or "unavailable" (no replica serves reads).
    """

    database: str
    served_by: str
    reason: str


class ReplicaProbed(NamedTuple):
    """A replica's state was determined. lag: in seconds, None where unknown."""

    replica: str
    ready: bool
    lag: float | None


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
    | ToolCall
    | RoutedRead
    | ReplicaProbed
)
Observe = Callable[[Observation], None]


def unobserved(_: Observation) -> None:
    """Discard the event: the default without a subscriber."""


def kind_of(failure: BaseException) -> str:
    """A failure's kind, from a small fixed set of words: suitable as a metric's label."""
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
