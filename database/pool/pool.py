"""A connection pool for threads: it pools whatever `connect()` returns.

`PoolState` decides under one lock; this module waits, connects, pings and closes outside it. Idle
connections are checked out last in, first out, so that a surplus idles out; waiters are served
first in, first out. All times are seconds on `clock`.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import random as random_module
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from ctypes import py_object, pythonapi
from typing import Any, Generic, TypeVar

from database.pool.lease import Holder, Lease, Slot
from database.pool.maintenance import Housekeeper
from database.pool.state import PoolState, PoolStats, require
from database.pool.waiter import Signal, Waiter

C = TypeVar("C")
logger = logging.getLogger(__name__)
_LONGEST_INTERVAL = 30.0  # between two passes of the housekeeper, in seconds
# Seconds without new connections after the database refused one, while the pool has others.
_REFUSED_PAUSE = 1.0
# How often, in seconds, a waiting caller looks for leases that were dropped without checkin.
_RECLAIM_INTERVAL = 0.25


class PoolError(Exception):
    """The checkout got no connection."""


class PoolTimeout(PoolError):
    """No connection became free in time. `__cause__`: the last connect's error, if it failed."""


class PoolQueueFull(PoolError):
    """`max_waiting` callers are already waiting."""


class PoolClosed(PoolError):
    """The pool was closed."""


class Pool(Generic[C]):
    """Up to max_size connections, each checked out by one thread at a time.

    connect(remaining): opens a connection within the `remaining` seconds of a checkout, or raises.
    close(connection): called once for each connection; its errors are logged.
    ping(connection, remaining): whether a connection that was idle for longer than bypass_window
    still works; the checkout replaces one that does not.
    refused(error): whether an error of connect() means that the database accepts no more
    connections for now. While the pool has others, the checkout then waits for one of them.
    lifetime(connection): seconds after which it must be replaced, such as the rest of its
    credential's validity; max_lifetime is the upper limit. Each connection's lifetime is shortened
    at random by up to the fraction lifetime_jitter, so that connections opened together do not
    expire together.
    max_idle: seconds after which an unused connection above min_size is closed.
    max_waiting: callers that may queue, each for up to acquire_timeout seconds.
    leak_threshold: log a lease held for longer once, with the stack of its checkout; None disables,
    which also saves each checkout the walk up its stack.
    observe(event, seconds): receives "wait_seconds" for each checkout, "usage_seconds" for each
    ended lease, "connect_seconds" for each opened connection.
    housekeeper: call `maintain()` in a daemon thread from the first checkout on; False leaves the
    calls to the owner.

    Raises ValueError for options that contradict each other.
    """

    def __init__(
        self,
        connect: Callable[[float], C],
        *,
        close: Callable[[C], None],
        ping: Callable[[C, float], bool] | None = None,
        refused: Callable[[Exception], bool] | None = None,
        lifetime: Callable[[C], float] | None = None,
        name: str = "pool",
        min_size: int = 0,
        max_size: int = 8,
        max_waiting: int = 64,
        acquire_timeout: float = 10.0,
        max_lifetime: float = 1800.0,
        max_idle: float = 300.0,
        bypass_window: float = 0.5,
        leak_threshold: float | None = None,
        lifetime_jitter: float = 0.05,
        observe: Callable[[str, float], None] | None = None,
        housekeeper: bool = True,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
    ):
        self._state: PoolState[C] = PoolState(
            name=name,
            min_size=min_size,
            max_size=max_size,
            max_waiting=max_waiting,
            max_idle=max_idle,
            leak_threshold=leak_threshold,
        )
        require(
            (
                0 < acquire_timeout < math.inf,
                f"acquire_timeout must be positive and finite, not {acquire_timeout}.",
            ),
            (max_lifetime > 0, f"max_lifetime must be positive, not {max_lifetime}."),
            (bypass_window >= 0, f"bypass_window must not be negative, and is {bypass_window}."),
            (0 <= lifetime_jitter < 1, f"lifetime_jitter {lifetime_jitter} is not in [0, 1)."),
        )
        self.name = name
        self._open_connection = connect
        self._close_connection = close
        self._ping = ping
        self._refused = refused
        self._lifetime = lifetime
        self._acquire_timeout = acquire_timeout
        self._max_lifetime = max_lifetime
        self._bypass_window = math.inf if ping is None else bypass_window
        self._lifetime_jitter = lifetime_jitter
        self._records_holders = leak_threshold is not None
        self._observe = observe
        self._clock = clock
        self._random = random
        soonest = min(max_idle, max_lifetime, leak_threshold or math.inf)
        self._needs_housekeeper = housekeeper and (min_size > 0 or soonest < math.inf)
        self._interval = min(soonest / 2, _LONGEST_INTERVAL)
        self._housekeeper: Housekeeper | None = None
        _pools.add(self)

    def take(self, began: float, timeout: float | None = None) -> Slot[C]:
        """A connection for a caller that ends its use in a `finally`, with give_back().

        It costs less than checkout(), and its caller reports the wait and the usage itself.
        began: the present moment on the pool's clock. Timeout and errors as in checkout().
        """
        state = self._state
        with state.lock:
            slot = state.take_idle(began, self._bypass_window)
        if slot is None:
            slot = self._acquire(began, timeout)
        if self._records_holders:
            slot.reported = False
            slot.holder = Holder.current()
        return slot

    def give_back(self, slot: Slot[C], now: float, *, evict: bool = False) -> None:
        """End a take(), exactly once. evict: close the connection and free its place."""
        state = self._state
        with state.lock:
            retired = state.evict(slot, now) if evict else state.checkin(slot, now)
        if retired:
            self._close_retired(retired)

    def checkout(self, timeout: float | None = None) -> Lease[C]:
        """A lease, within `timeout` seconds (None: acquire_timeout; 0: an idle connection or none).

        Raises PoolTimeout, PoolQueueFull, PoolClosed, or the error of connect().
        """
        began = self._clock()
        lease = Lease(self, self.take(began, timeout))
        if self._observe is not None:
            self._report("wait_seconds", self._clock() - began)
        return lease

    def end(self, lease: Lease[C], *, evict: bool) -> None:
        """Called by a lease's checkin() and evict(), of which only the first has an effect."""
        now = self._clock()
        state = self._state
        with state.lock:
            slot = lease.detach()
            if slot is None:
                return
            used = now - slot.since
            retired = state.evict(slot, now) if evict else state.checkin(slot, now)
        if retired:
            self._close_retired(retired)
        if self._observe is not None:
            self._report("usage_seconds", used)

    def invalidate(self) -> None:
        """Retire every connection opened so far: idle ones now, those in use at their checkin."""
        with self._state.lock:
            retired = self._state.retire_generation("invalidated_total")
        self._close_retired(retired)

    def maintain(self) -> None:
        """One pass of housekeeping: expire, reclaim, report leaks, connect up to min_size."""
        self._reclaim_dropped()
        now = self._clock()
        with self._state.lock:
            retired = self._state.retire_expired(now)
            leaks = self._state.find_leaks(now)
        self._close_retired(retired)
        for holder, held in leaks:
            logger.warning(
                "%r: a connection has been in use for %.1f s, checked out by thread %s at\n%s",
                *(self, held, holder.thread, "".join(holder.stack.format())),
            )
        self._fill()

    def close(self, timeout: float = 0.0) -> bool:
        """Refuse checkouts, fail the waiters, close idle connections now and others at checkin.

        Waits up to `timeout` seconds for the connections in use. True when none is left. Safe to
        call again.
        """
        deadline = time.monotonic() + timeout
        state = self._state

        def remaining() -> float:
            return max(deadline - time.monotonic(), 0.0)

        with state.lock:
            state.closed = True
            retired = state.retire_generation("closed_total")
            state.fail_waiters()
            housekeeper = self._housekeeper
        self._close_retired(retired)
        while True:
            self._reclaim_dropped()
            with state.lock:
                drained = state.drained.wait_for(
                    lambda: not state.slots and not state.connecting,
                    min(remaining(), _RECLAIM_INTERVAL),
                )
            if drained or not remaining():
                break
        if housekeeper is not None:
            # An idle housekeeper ends within a millisecond; one that is connecting may take longer.
            housekeeper.stop(min(max(remaining(), 0.1), threading.TIMEOUT_MAX))
        return drained

    def stats(self) -> PoolStats:
        """All counts, read at one moment."""
        self._reclaim_dropped()
        with self._state.lock:
            return self._state.stats()

    def _acquire(self, began: float, timeout: float | None) -> Slot[C]:
        """The checkout that found no fresh idle connection."""
        state = self._state
        if self._needs_housekeeper and self._housekeeper is None:
            with state.lock:
                if self._housekeeper is None and not state.closed:
                    self._housekeeper = Housekeeper(self, interval=self._interval, name=self.name)
        self._reclaim_dropped()
        deadline = began + (self._acquire_timeout if timeout is None else timeout)
        waiter = self._enqueue(began)
        while (slot := self._complete(waiter, deadline)) is None:
            waiter = self._enqueue_first()
        with state.lock:
            state.checked_out(slot, self._clock())
        return slot

    def _enqueue(self, now: float) -> Waiter[C]:
        """A place in the queue, already served if something was free. Never waits."""
        waiter: Waiter[C] = Waiter()
        state = self._state
        with state.lock:
            if state.closed:
                raise PoolClosed(f"{self!r} is closed.")
            retired = state.enqueue(waiter, now)
            full = len(state.waiters) > state.max_waiting
            if full:
                state.leave_queue(waiter)
                state.totals["rejected_total"] += 1
        self._close_for(waiter, retired)
        if full:
            raise PoolQueueFull(f"{self!r}: {state.max_waiting} callers are already waiting.")
        return waiter

    def _enqueue_first(self) -> Waiter[C]:
        """The first place in the queue, for a caller that has already had its turn."""
        waiter: Waiter[C] = Waiter()
        state = self._state
        with state.lock:
            if state.closed:
                raise PoolClosed(f"{self!r} was closed.")
            retired = state.enqueue(waiter, self._clock(), first=True)
        self._close_for(waiter, retired)
        return waiter

    def _close_for(self, waiter: Waiter[C], retired: list[Slot[C]]) -> None:
        try:
            self._close_retired(retired)
        except BaseException:
            self._abandon(waiter)
            raise

    def _complete(self, waiter: Waiter[C], deadline: float) -> Slot[C] | None:
        """Wait for the waiter's outcome, and turn it into a working connection.

        None: the database refused another connection, and the pool has others to wait for.
        """
        try:
            served = self._wait(waiter, deadline)
        except BaseException:
            self._abandon(waiter)
            raise
        if not served:
            raise self._timed_out()
        outcome = waiter.outcome
        if outcome is Signal.CLOSED:
            raise PoolClosed(f"{self!r} was closed.")
        replaced: list[Slot[C]] = []
        if isinstance(outcome, Slot):
            replaced = self._validate(outcome, deadline)
            if not replaced:
                return outcome
        try:
            return self._connect(deadline, replaced=replaced)
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
        while not waiter.wait(min(left, _RECLAIM_INTERVAL)):
            left -= _RECLAIM_INTERVAL
            if left <= 0:
                with self._state.lock:
                    return not self._state.leave_queue(waiter)
            self._reclaim_dropped()
        return True

    def _abandon(self, waiter: Waiter[C]) -> None:
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
        self._close_retired(retired)

    def _timed_out(self) -> PoolTimeout:
        with self._state.lock:
            self._state.totals["timeouts_total"] += 1
            now, cause = self._state.stats(), self._state.last_failure
        error = PoolTimeout(
            f"Pool {self.name!r}: no connection in time (total {now.size}, in use {now.in_use},"
            f" idle {now.idle}, connecting {now.connecting}, waiting {now.waiting})."
        )
        error.__cause__ = cause
        return error

    def _validate(self, slot: Slot[C], deadline: float) -> list[Slot[C]]:
        """Ping. A dead slot is retired and returned; its place becomes the caller's permit."""
        state = self._state
        if self._ping is None or self._clock() - slot.since <= self._bypass_window:
            return []
        try:
            if self._ping(slot.connection, deadline - self._clock()):
                return []
        except Exception:
            logger.debug("%r: ping failed", self, exc_info=True)
        except BaseException:
            with state.lock:
                retired = state.evict(slot, self._clock())
            self._close_retired(retired)
            raise
        with state.lock:
            state.connecting += 1
            return state.retire(slot, "validation_failures_total")

    def _connect(self, deadline: float, *, replaced: Iterable[Slot[C]] = ()) -> Slot[C]:
        """Use up a permit, whether connecting succeeds or fails. Closes `replaced` first."""
        state = self._state
        generation = state.generation  # of the credentials that connect() is about to read
        try:
            self._close_retired(replaced)
            began = self._clock()
            if state.closed:
                raise PoolClosed(f"{self!r} was closed.")
            if began >= deadline:
                raise self._timed_out()
            connection = self._open_connection(deadline - began)
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
            self._close_retired(retired)
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
        self._close_retired(retired)
        if self._observe is not None:
            self._report("connect_seconds", now - began)
        if closed:
            raise PoolClosed(f"{self!r} was closed.")
        return slot

    def _lifetime_of(self, connection: C) -> float:
        limit = math.inf if self._lifetime is None else self._lifetime(connection)
        return min(self._max_lifetime, limit) * (1 - self._lifetime_jitter * self._random())

    def _reclaim_dropped(self) -> None:
        """Close connections whose leases were garbage-collected, and log where they came from."""
        with self._state.lock:
            dropped = self._state.retire_dropped()
            retired = self._state.assign(self._clock()) if dropped else []
        for slot in dropped:
            thread, stack = slot.holder or ("unknown (leak_threshold is off)", None)
            logger.warning(
                "%r: a lease was dropped without checkin; checked out by thread %s%s",
                *(self, thread, " at\n" + "".join(stack.format()) if stack else ""),
            )
        self._close_retired([*dropped, *retired])

    def _close_retired(self, retired: Iterable[Slot[C]]) -> None:
        """Close connections, without the lock, and wake a close() that waits for the last one."""
        for slot in retired:
            try:
                self._close_connection(slot.connection)
            except Exception:
                logger.debug("%r: close failed", self, exc_info=True)
        if self._state.closed:
            with self._state.lock:
                self._state.drained.notify_all()

    def _fill(self) -> None:
        state = self._state
        while True:
            with state.lock:
                if state.closed or len(state.slots) + state.connecting >= state.min_size:
                    return
                state.connecting += 1
            try:
                slot = self._connect(self._clock() + self._acquire_timeout)
            except PoolClosed:
                return
            except Exception:
                logger.warning("%r: min_size is not reached", self, exc_info=True)
                return
            with state.lock:
                retired = state.checkin(slot, self._clock())
            self._close_retired(retired)

    def _report(self, event: str, seconds: float) -> None:
        assert self._observe is not None
        try:
            self._observe(event, seconds)
        except Exception:
            logger.exception("%r: observe(%r) failed", self, event)

    def _restart_in_child(self) -> None:
        """Set the parent's connections aside and start empty, with new locks."""
        for slot in self._state.slots:
            # An extra reference keeps them alive, even at interpreter exit: deallocating a pyodbc
            # connection in a forked child disconnects the parent's.
            pythonapi.Py_IncRef(py_object(slot.connection))
        self._state.generation += 1
        self._state.reset()
        self._housekeeper = None

    def __repr__(self) -> str:
        return repr(self._state)


def _without_frames(error: BaseException) -> BaseException:
    """A copy without traceback, which would keep the frames of the checkout alive."""
    try:
        # Explicitly: a library may have changed exceptions to copy their traceback.
        return copy.copy(error).with_traceback(None)
    except Exception:
        return PoolError(f"{type(error).__name__}: {error}")


_pools: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool._restart_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
