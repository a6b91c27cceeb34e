"""Opens, validates and closes the connections of a pool."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from database.pool.errors import PoolClosed, PoolError, PoolTimeout
from database.pool.lease import Slot
from database.pool.state import PoolState

C = TypeVar("C")
logger = logging.getLogger(__name__)


class Connections(Generic[C]):
    """The part of a pool that waits for the database, always without the pool's lock.

    Arguments as in Pool; bypass_window is infinite without a ping.
    """

    def __init__(
        self,
        state: PoolState[C],
        *,
        connect: Callable[[float], C],
        close: Callable[[C], None],
        ping: Callable[[C, float], bool] | None,
        lifetime: Callable[[C], float] | None,
        max_lifetime: float,
        bypass_window: float,
        lifetime_jitter: float,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._state = state
        self.open_connection = connect
        self._close_connection = close
        self._ping = ping
        self._lifetime = lifetime
        self._max_lifetime = max_lifetime
        self._bypass_window = bypass_window
        self._lifetime_jitter = lifetime_jitter
        self._clock = clock
        self._random = random

    def connect(self, deadline: float, *, replaced: Iterable[Slot[C]] = ()) -> Slot[C]:
        """Use up a permit, whether connecting succeeds or fails. Closes `replaced` first."""
        state = self._state
        generation = state.generation  # of the credentials that connect() is about to read
        try:
            self.close(replaced)
            began = self._clock()
            if state.closed:
                raise PoolClosed(f"{state!r} was closed.")
            if began >= deadline:
                raise self.timed_out()
            connection = self.open_connection(deadline - began)
        except BaseException as error:
            failure = None
            if isinstance(error, Exception) and not isinstance(error, PoolError):
                failure = _without_frames(error)
            with state.lock:
                state.connecting -= 1
                if failure is not None:
                    state.last_failure = failure
                    state.totals["connect_failures_total"] += 1
                retired = state.assign(self._clock())
            self.close(retired)
            raise
        now = self._clock()
        slot = Slot(connection, state.pid, generation, now + self._lifetime_of(connection), now)
        with state.lock:
            state.connecting -= 1
            state.slots.add(slot)
            state.totals["connects_total"] += 1
            state.last_failure = None
            closed = state.closed
            retired = state.retire(slot, "closed_total") if closed else []
        self.close(retired)
        if closed:
            raise PoolClosed(f"{state!r} was closed.")
        return slot

    def validate(self, slot: Slot[C], deadline: float) -> list[Slot[C]]:
        """Ping. A dead slot is retired and returned; its place becomes the caller's permit."""
        state = self._state
        if self._ping is None or self._clock() - slot.since <= self._bypass_window:
            return []
        try:
            if self._ping(slot.connection, deadline - self._clock()):
                return []
        except Exception:
            logger.debug("%r: ping failed", self._state, exc_info=True)
        except BaseException:
            with state.lock:
                retired = state.evict(slot, self._clock())
            self.close(retired)
            raise
        with state.lock:
            state.connecting += 1
            return state.retire(slot, "validation_failures_total")

    def reclaim_dropped(self) -> None:
        """Close connections whose leases were garbage-collected, and log where they came from."""
        with self._state.lock:
            dropped = self._state.retire_dropped()
            retired = self._state.assign(self._clock()) if dropped else []
        for slot in dropped:
            thread, stack = slot.holder or ("unknown (leak_threshold is off)", None)
            logger.warning(
                "%r: a lease was dropped without checkin; checked out by thread %s%s",
                *(self._state, thread, " at\n" + "".join(stack.format()) if stack else ""),
            )
        self.close([*dropped, *retired])

    def close(self, retired: Iterable[Slot[C]]) -> None:
        """Close connections, without the lock, and wake a close() that waits for the last one."""
        for slot in retired:
            try:
                self._close_connection(slot.connection)
            except Exception:
                logger.debug("%r: close failed", self._state, exc_info=True)
        if self._state.closed:
            with self._state.lock:
                self._state.drained.notify_all()

    def timed_out(self) -> PoolTimeout:
        """The error of a checkout whose time is over, which it counts."""
        state = self._state
        with state.lock:
            state.totals["timeouts_total"] += 1
            now, cause = state.stats(), state.last_failure
        error = PoolTimeout(
            f"Pool {state.name!r}: no connection in time (total {now.size}, in use {now.in_use},"
            f" idle {now.idle}, connecting {now.connecting}, waiting {now.waiting})."
        )
        error.__cause__ = cause
        return error

    def _lifetime_of(self, connection: C) -> float:
        limit = math.inf if self._lifetime is None else self._lifetime(connection)
        return min(self._max_lifetime, limit) * (1 - self._lifetime_jitter * self._random())


def _without_frames(error: BaseException) -> BaseException:
    """A copy without traceback, which would keep the frames of the checkout alive."""
    try:
        # Explicitly: a library may have changed exceptions to copy their traceback.
        return copy.copy(error).with_traceback(None)
    except Exception:
        return PoolError(f"{type(error).__name__}: {error}")
