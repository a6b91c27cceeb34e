"""One checkout of a connection, and the pool's record of that connection."""

from __future__ import annotations

import sys
import threading
import traceback
import weakref
from typing import Generic, NamedTuple, Protocol, TypeVar, cast

C = TypeVar("C")


class Holder(NamedTuple):
    """Where a connection was checked out: the thread's name and the stack of the call."""

    thread: str
    stack: traceback.StackSummary

    @classmethod
    def current(cls) -> Holder:
        """The caller of Pool.take(). Source lines are read only when the stack is formatted."""
        stack = traceback.StackSummary.extract(
            traceback.walk_stack(sys._getframe(2)), limit=16, lookup_lines=False
        )
        stack.reverse()
        return cls(threading.current_thread().name, stack)


class Slot(Generic[C]):
    """One connection's record, for as long as the pool owns it. Times are on the pool's clock."""

    __slots__ = (
        *("connection", "expires_at", "generation", "holder", "lease", "pid", "reported", "since"),
    )

    def __init__(self, connection: C, pid: int, generation: int, expires_at: float, since: float):
        self.connection = connection
        self.pid = pid
        self.generation = generation
        self.expires_at = expires_at
        self.since = since  # in use: of its checkout; idle: of its checkin
        self.lease: weakref.ref[Lease[C]] | None = None  # None unless a lease holds it
        self.holder: Holder | None = None
        self.reported = False  # as a leak, during this checkout


class LeaseOwner(Protocol[C]):
    """The part of a pool that its leases call."""

    def end(self, lease: Lease[C], *, evict: bool) -> None: ...


class Lease(Generic[C]):
    """One checkout. It ends with exactly one checkin or evict; `connection` is None afterwards.

    As a context manager it checks the connection in, or evicts it if the body raised a
    BaseException that is not an Exception: the thread or generator was stopped at an unknown point.
    """

    __slots__ = ("__weakref__", "_pool", "_slot", "connection")

    def __init__(self, pool: LeaseOwner[C], slot: Slot[C]):
        self._pool = pool
        self._slot: Slot[C] | None = slot
        self.connection: C = slot.connection
        slot.lease = weakref.ref(self)

    def checkin(self) -> None:
        """Return the connection to the pool. No effect on a lease that has ended."""
        if self._slot is not None:
            self._pool.end(self, evict=False)

    def evict(self) -> None:
        """Close the connection and free its place. No effect on a lease that has ended."""
        if self._slot is not None:
            self._pool.end(self, evict=True)

    def detach(self) -> Slot[C] | None:
        """End the lease, with the pool's lock held. Returns its slot, None if it had ended."""
        slot, self._slot = self._slot, None
        self.connection = cast(C, None)
        if slot is not None:
            slot.lease = None
        return slot

    def __enter__(self) -> Lease[C]:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        if exc_type is None or issubclass(exc_type, Exception):
            self.checkin()
        else:
            self.evict()
