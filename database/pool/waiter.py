"""One caller's place in the pool's queue."""

from __future__ import annotations

import threading
from enum import Enum
from typing import Generic, TypeVar

from database.pool.lease import Slot

C = TypeVar("C")


class Signal(Enum):
    """What a waiter can receive other than a connection."""

    PERMIT = "permit"  # to open one connection, whose place in the pool is reserved
    CLOSED = "closed"


class Waiter(Generic[C]):
    """A waiter receives a connection or an error, never both: exactly one outcome.

    The pool serves a waiter, and removes one that timed out, with its lock held, so that a waiter
    outside the queue has an outcome or never gets one.
    """

    __slots__ = ("_served", "outcome")

    def __init__(self) -> None:
        # A lock as a latch: creating an Event takes ten times as long.
        self._served = threading.Lock()
        self._served.acquire()
        self.outcome: Slot[C] | Signal | None = None

    def serve(self, outcome: Slot[C] | Signal) -> None:
        """Set the outcome and wake the waiting thread. Called once, with the pool's lock held."""
        self.outcome = outcome
        self._served.release()

    def wait(self, seconds: float) -> bool:
        """Block for up to `seconds`; whether the waiter was served."""
        return self._served.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX))
