"""The queue of a pool: callers wait in it, first in, first out, for a connection or a permit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from database.pool.connections import Connections
from database.pool.errors import PoolClosed, PoolQueueFull
from database.pool.lease import Slot
from database.pool.state import PoolState
from database.pool.waiter import Signal, Waiter

C = TypeVar("C")
# Seconds without new connections after the database refused one, while the pool has others.
_REFUSED_PAUSE = 1.0
# How often, in seconds, a waiting caller looks for leases that were dropped without checkin.
RECLAIM_INTERVAL = 0.25


class Queue(Generic[C]):
    """Where a checkout waits that found no fresh idle connection. Arguments as in Pool."""

    def __init__(
        self,
        state: PoolState[C],
        connections: Connections[C],
        *,
        refused: Callable[[Exception], bool] | None,
        clock: Callable[[], float],
    ) -> None:
        self._state = state
        self._connections = connections
        self._refused = refused
        self._clock = clock

    def acquire(self, began: float, deadline: float) -> Slot[C]:
        """A connection that works, by `deadline`. Raises as Pool.checkout() does."""
        self._connections.reclaim_dropped()
        waiter = self.enqueue(began)
        while (slot := self.complete(waiter, deadline)) is None:
            waiter = self.enqueue_first()
        state = self._state
        with state.lock:
            state.checked_out(slot, self._clock())
        return slot

    def enqueue(self, now: float) -> Waiter[C]:
        """A place in the queue, already served if something was free. Never waits."""
        waiter: Waiter[C] = Waiter()
        state = self._state
        with state.lock:
            if state.closed:
                raise PoolClosed(f"{state!r} is closed.")
            retired = state.enqueue(waiter, now)
            full = len(state.waiters) > state.max_waiting
            if full:
                state.leave_queue(waiter)
                state.totals["rejected_total"] += 1
        self._close_for(waiter, retired)
        if full:
            raise PoolQueueFull(f"{state!r}: {state.max_waiting} callers are already waiting.")
        return waiter

    def enqueue_first(self) -> Waiter[C]:
        """The first place in the queue, for a caller that has already had its turn."""
        waiter: Waiter[C] = Waiter()
        state = self._state
        with state.lock:
            if state.closed:
                raise PoolClosed(f"{state!r} was closed.")
            retired = state.enqueue(waiter, self._clock(), first=True)
        self._close_for(waiter, retired)
        return waiter

    def _close_for(self, waiter: Waiter[C], retired: list[Slot[C]]) -> None:
        try:
            self._connections.close(retired)
        except BaseException:
            self.abandon(waiter)
            raise

    def complete(self, waiter: Waiter[C], deadline: float) -> Slot[C] | None:
        """Wait for the waiter's outcome, and turn it into a working connection.

        None: the database refused another connection, and the pool has others to wait for.
        """
        try:
            served = self._wait(waiter, deadline)
        except BaseException:
            self.abandon(waiter)
            raise
        if not served:
            raise self._connections.timed_out()
        outcome = waiter.outcome
        if outcome is Signal.CLOSED:
            raise PoolClosed(f"{self._state!r} was closed.")
        replaced: list[Slot[C]] = []
        if isinstance(outcome, Slot):
            replaced = self._connections.validate(outcome, deadline)
            if not replaced:
                return outcome
        try:
            return self._connections.connect(deadline, replaced=replaced)
        except Exception as error:
            if self._refused is None or not self._refused(error):
                raise
            with self._state.lock:
                if not self._state.slots or self._clock() >= deadline:
                    raise
                self._state.refused_until = self._clock() + _REFUSED_PAUSE
            return None

    def _wait(self, waiter: Waiter[C], deadline: float) -> bool:
        """Whether the waiter was served by the deadline; if not, it has left the queue."""
        left = deadline - self._clock()
        while not waiter.wait(min(left, RECLAIM_INTERVAL)):
            left -= RECLAIM_INTERVAL
            if left <= 0:
                with self._state.lock:
                    return not self._state.leave_queue(waiter)
            self._connections.reclaim_dropped()
        return True

    def abandon(self, waiter: Waiter[C]) -> None:
        """Leave the queue, or pass on what the waiter has received."""
        now = self._clock()
        state = self._state
        retired: list[Slot[C]] = []
        with state.lock:
            outcome = waiter.outcome
            if isinstance(outcome, Slot):
                retired = state.checkin(outcome, now)
            elif outcome is Signal.PERMIT:
                state.connecting -= 1
                retired = state.assign(now)
            elif waiter in state.waiters:
                state.leave_queue(waiter)
        self._connections.close(retired)
