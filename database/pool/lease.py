"""What one borrower of a pool holds: a lease on a slot, or a place in the queue for one."""

from __future__ import annotations

import sys
import threading
import traceback
from typing import Any, Generic, Protocol, TypeVar

C = TypeVar("C")
Borrower = tuple[str, traceback.StackSummary]  # the thread's name, where it called checkout()

# What a waiter can be given, besides a slot.
PERMIT: Any = "permit"  # the right and duty to make one connection; its place is reserved
CLOSED: Any = "closed"
GAVE_UP: Any = "gave up"


class Slot(Generic[C]):
    """One connection's record, for as long as the pool owns it. Times are on the pool's clock."""

    __slots__ = ("borrower", "connection", "expires_at", "generation", "pid", "reported", "since")

    def __init__(self, connection: C, pid: int, generation: int, expires_at: float, since: float):
        self.connection = connection
        self.pid = pid
        self.generation = generation
        self.expires_at = expires_at
        self.since = since  # of its last checkout while it is out, of its last checkin while idle
        self.borrower: Borrower | None = None
        self.reported = False  # as a leak, in this checkout


class LeaseOwner(Protocol[C]):
    """A pool, as far as its leases need one."""

    def _checkin(self, lease: Lease[C]) -> None: ...

    def _evict(self, lease: Lease[C]) -> None: ...

    def _lose(self, slot: Slot[C]) -> None: ...


class Lease(Generic[C]):
    """One checkout. It ends by exactly one of checkin and evict; `connection` is None afterwards.

    As a context manager it checks in, but evicts when the body was ended by an exception that is
    no `Exception` (the thread or generator died in the middle of something).
    """

    __slots__ = ("_pool", "_slot", "connection")

    def __init__(self, pool: LeaseOwner[C], slot: Slot[C]):
        self._pool = pool
        self._slot: Slot[C] | None = slot
        self.connection: C = slot.connection

    def checkin(self) -> None:
        """Give the connection back. A lease that has ended stays as it is."""
        if self._slot is not None:
            self._pool._checkin(self)

    def evict(self) -> None:
        """Close the connection and free its place. A lease that has ended stays as it is."""
        if self._slot is not None:
            self._pool._evict(self)

    def __enter__(self) -> Lease[C]:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        if exc_type is None or issubclass(exc_type, Exception):
            self.checkin()
        else:
            self.evict()

    def __del__(self) -> None:
        if self._slot is not None and not sys.is_finalizing():
            self._pool._lose(self._slot)


class Waiter:
    """One caller's place in the queue, good for exactly one outcome.

    The outcome is a slot, PERMIT, CLOSED or GAVE_UP; whoever takes `_claim` decides it. No lock is
    held meanwhile, for the garbage collector may end a lease, and serve the queue, at any point.
    """

    __slots__ = ("_bell", "_claim", "outcome")

    def __init__(self) -> None:
        self._claim = threading.Lock()
        self._bell = threading.Lock()
        self._bell.acquire()
        self.outcome: Any = None

    def set(self, outcome: Any) -> bool:
        """Hand `outcome` over; False if there is one already, so that the next in line gets it."""
        if not self._claim.acquire(blocking=False):
            return False
        self.outcome = outcome
        self._bell.release()
        return True

    def wait(self, timeout: float) -> Any:
        """The outcome; GAVE_UP, which refuses every later one, after `timeout` seconds."""
        if self._bell.acquire(timeout=min(max(timeout, 0.0), threading.TIMEOUT_MAX)):
            return self.outcome
        return self.give_up()

    def give_up(self) -> Any:
        """The outcome, GAVE_UP if none has arrived."""
        if self._claim.acquire(blocking=False):
            self.outcome = GAVE_UP
        elif self.outcome is None:
            self._bell.acquire()  # between claim and bell the giver does nothing but assign
        return self.outcome


def current_borrower() -> Borrower:
    """The current thread and the stack that called checkout(); source lines are read when shown."""
    stack = traceback.StackSummary.extract(
        traceback.walk_stack(sys._getframe(2)), limit=16, lookup_lines=False
    )
    stack.reverse()
    return threading.current_thread().name, stack
